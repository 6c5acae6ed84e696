"""The control loop: one iteration per tick, in which nothing waits for a disk, a solver, a console or a slow device."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import msgspec

from dispatch.alarms.advisories import PlanAdvice
from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.alarms.states import AlarmBook
from dispatch.billing.peak_charges import main_charge
from dispatch.control.controller import Controller
from dispatch.control.exit_behaviour import ExitStatements
from dispatch.control.fallback import stop_setpoints
from dispatch.control.net_load_estimator import reliable_snapshot
from dispatch.forecasting.pv_asleep import SleepingInverters
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.clock import Clock, ClockState
from dispatch.model.decision import Decision, Mode
from dispatch.model.islanding import JOINED, DrillReport, IslandReply, IslandRequest, IslandState
from dispatch.model.orders import ON_BATTERY
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from gateway import recorded_context
from gateway.alarm_inputs import ClockStepDetector, GrowthPerMinute, clock_event
from gateway.api.alarm_commands import STATE as SHELVED
from gateway.api.alarm_commands import kept
from gateway.api.consoles import Consoles
from gateway.api.protocol import LastDrill, Published, TariffNow
from gateway.api.published_nodes import ConsoleNodes
from gateway.api.queries import no_plan
from gateway.device_io import DeviceIo
from gateway.drill_state import DrillState
from gateway.energy_iq_service import EnergyIqService
from gateway.event_sink import EventLog
from gateway.grid_events_in_force import GridEventsInForce
from gateway.grid_events_in_force import Site as EventSite
from gateway.job_accounting import JobAccounting, Seen
from gateway.orders_in_force import OrdersInForce
from gateway.outputs.trouble import OutputTrouble
from gateway.parts_in_trouble import PartsInTrouble
from gateway.planning_service import Observation, PlanningService
from gateway.price_outlook import PriceOutlook
from gateway.prices_in_force import PricesInForce
from gateway.proving_service import ProvingService
from gateway.queues_in_force import QueuesInForce
from gateway.recorded_market import RecordedMarket
from gateway.reservations_in_force import ReservationsInForce
from gateway.run_statistics import EnergyBalance, Punctuality
from gateway.signals_in_force import SignalsInForce
from gateway.site.schema import Site
from gateway.starts_in_trouble import StartsInTrouble
from gateway.task_supervisor import Work, run_supervised
from storage.audit import AuditLog
from storage.recorder import Recorder

IQ_ALARM_H = 24.0  # of the month on record before its saving may raise an alarm
FIRST_TICK_S = 5.0  # requests wait this long for it, unscaled: devices have `FIRST_CONTACT_S` to answer before it
SAFE_VALUE_S = 4.0  # at the end, for each PCS, all at the same time
LEAD_S = 0.012  # the other devices are asked this long before the grid meter, so that a tick has all their answers

log = logging.getLogger("skerry.gateway")


class ControlLoop:
    """Snapshot, decision, setpoints, record, consoles: at each tick, from `run` until `stop`."""

    def __init__(
        self,
        *,
        site: Site,
        clock: Clock,
        controller: Controller,
        devices: DeviceIo,
        inverters: SleepingInverters,
        events: EventLog,
        recorder: Recorder,
        audit: AuditLog,
        prices: PricesInForce,
        orders: OrdersInForce,
        reservations: ReservationsInForce,
        signals: SignalsInForce,
        grid_events: GridEventsInForce,
        drills: DrillState,
        alarms: AlarmBook,
        planner: PlanningService,
        iq: EnergyIqService,
        consoles: Consoles,
        prover: ProvingService,
        queues: QueuesInForce,
        accounting: JobAccounting,
        after_tick: Sequence[Callable[[int], None]] = (),
        directory_trouble: Callable[[], str] = lambda: "",
        access_trouble: Callable[[], str] = lambda: "",
        parts: PartsInTrouble,
        starts: StartsInTrouble,
        outputs: OutputTrouble,
        clock_state: Callable[[], ClockState] = ClockState,
        market: RecordedMarket | None = None,
    ) -> None:
        """`after_tick` are called at the end of each tick with the number of ticks so far; they must not wait.

        `directory_trouble`: why the state directory cannot be used now; empty: it can. `access_trouble`: why consoles
        have not the access that they should have. `clock_state`: what is known of the time. `market`: what is
        recorded of it.
        """
        self.published: Published | None = None
        self.stop_failed = False  # by a mistake of ours a PCS was not brought to its safe value at the end
        self.punctuality = Punctuality(1 / site.gateway.rate_hz)
        self.balance = EnergyBalance()
        self._site, self._config, self._clock, self._controller = site, site.dispatch, clock, controller
        self._inverters = inverters
        self._devices, self._events, self._recorder, self._audit = devices, events, recorder, audit
        self._market = market or RecordedMarket(site.tariff, prices)
        self._prices, self._price_outlook = prices, PriceOutlook(site.tariff, site.site.timezone, prices)
        self._orders, self._reservations, self._drills, self._alarms = orders, reservations, drills, alarms
        self._signals, self._grid_events = signals, grid_events
        self._planner, self._iq, self._consoles, self._after_tick = planner, iq, consoles, after_tick
        self._prover, self._accounting = prover, accounting
        self._queues, self._console_nodes = queues, ConsoleNodes()
        self._directory_trouble, self._access_trouble, self._parts = directory_trouble, access_trouble, parts
        self._starts, self._outputs = starts, outputs
        self._clock_state, self._clock_seen = clock_state, ClockState()
        self._requests: dict[str, tuple[IslandRequest, Future[IslandReply]]] = {}  # for the next tick
        self._waiting: list[asyncio.Future[Published]] = []  # for what the next tick publishes
        self._stopping, self._ticked = asyncio.Event(), asyncio.Event()
        self._clock_steps = ClockStepDetector(clock.utc_s(), clock.mono_s())
        self._overruns, self._dropped = GrowthPerMinute(), GrowthPerMinute()
        self._exits, self._advice = ExitStatements(), PlanAdvice(self._config)
        self._seq = 0
        self._loop_stats = self.punctuality.stats(0)

    # ── for commands: requests to the state machine, and what comes of a tick ───────────────────────────────────────

    def submit(self, request: IslandRequest) -> Future[IslandReply]:
        """Hand a request to the next tick: drill, abort, fault reset, black start. The future ends with its answer."""
        answer: Future[IslandReply] = Future()
        self._requests[request.id] = (request, answer)
        return answer

    def withdraw(self, id: str) -> bool:
        """Take back a request that no tick has seen yet; False: one has."""
        return self._requests.pop(id, None) is not None

    async def next_tick(self) -> Published:
        """What the next tick publishes: the first that knows of an order given just now."""
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return await future

    async def first_tick(self) -> None:
        """Wait until a tick has been completed; at once after that, at most `FIRST_TICK_S` before."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ticked.wait(), FIRST_TICK_S)

    @property
    def drill_started_utc_s(self) -> float | None:
        """When the drill that is under way began; None without one."""
        drill = self._controller.island.drill
        return None if drill is None else drill.started_utc_s

    # ── ticking ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, background: Sequence[Work] = ()) -> None:
        """Tick until `stop` is called, with `background` and the traffic with devices running as long."""

        await run_supervised([*self._devices.background(), *background], self._ticks, self)

    def failed(self, name: str, error: str, again_s: float) -> None:
        """A part outside the tick has ended by an error, and is begun again."""
        text = f"internal error, begun again in {again_s:g} s: {error}"
        self._events.event("gateway", "alarm", name, text)
        self._parts.died(name, text)

    def works(self, name: str) -> None:
        """It works again."""
        self._events.event("gateway", "info", name, "works again")
        self._parts.works(name)

    def stop(self) -> None:
        """Finish the tick under way, then let `run` return."""
        self._stopping.set()

    async def _ticks(self) -> None:
        loop, period_s = asyncio.get_running_loop(), self.punctuality.period_s
        await self._devices.first_contact()
        due = loop.time()
        while not self._stopping.is_set():
            due += period_s
            behind = int((loop.time() - due) / period_s)
            if behind > 0:
                self.punctuality.overrun(behind)
                due += behind * period_s
            await self._sleep_until(due - LEAD_S)
            self._devices.start_reads()
            await self._sleep_until(due)
            await self._devices.read_grid_meter()
            self.punctuality.tick(loop.time() - due)
            self.tick()
            self._devices.tick_due(due + period_s)

    async def _sleep_until(self, due_s: float) -> None:
        """Sleep to a time of the event loop's clock; awake at once when the gateway is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due_s):
                await self._stopping.wait()

    def tick(self) -> None:
        """One iteration. Nothing here waits."""
        self._watch_clock()
        self._seq += 1
        snapshot = self._with_sleeping_pv(self._devices.snapshot(self._seq))
        if not self._clock_seen.known:
            snapshot = msgspec.structs.replace(snapshot, utc_known=False)
        self._orders.expire()
        if snapshot.utc_known:
            self._reservations.advance()
        decision = self._decide(snapshot)
        snapshot = self._controller.checked(snapshot)
        self._signals.advance(snapshot, decision.contacts, decision.island, self._grid_events.held())
        self._advance_grid_events(snapshot, decision)
        self._update_alarms(snapshot, decision)
        self._tell_exits(snapshot, decision)
        snapshot = reliable_snapshot(snapshot, decision.meter_frozen, decision.load_meter_frozen)
        soc_pct = BatteryBank(self._config, snapshot).soc_pct
        self.balance.add(snapshot, soc_pct)
        self._inform_planner(snapshot, decision)
        self.published = self._state_to_publish(snapshot, decision)
        self._accounting.observe(Seen(snapshot, self._devices.commands.caps_w, self._known_peak_w()))
        self._record(snapshot, decision, soc_pct)
        self._report_storage()
        self._publish(self.published)
        for call in self._after_tick:
            call(self.punctuality.ticks)

    def _advance_grid_events(self, snapshot: Snapshot, decision: Decision) -> None:
        site = EventSite(
            soc_pct=BatteryBank(self._config, snapshot).soc_pct,
            month_peak_w=self._controller.month_peak_w,
            caps=decision.caps,
            plan=self._planner.plan,
            nodes=decision.nodes,
        )
        self._grid_events.advance(snapshot, self._signals.listed(), site)

    def _with_sleeping_pv(self, snapshot: Snapshot) -> Snapshot:
        """PV inverters that are silent because there is no sun count as 0 W, on the grid and on a generator."""
        grid_tied = self.published is not None and self.published.decision.island in JOINED
        silent = {pv.id for pv in snapshot.pv if pv.w.good is None}
        snapshot, fallen = self._inverters.mark(snapshot, grid_tied)
        self._devices.report_silent_pv(silent, {pv.id for pv in snapshot.pv if pv.asleep})
        for id in fallen:
            self._events.event("device", "info", id, "asleep: there is no sun; taken as 0 W until it answers")
        return snapshot

    def _watch_clock(self) -> None:
        """Say when the time is not known, or known again, and when the wall clock is set."""
        before, now = self._clock_seen, self._clock_state()
        self._clock_seen = now
        step_s = self._clock_steps.update(self._clock.utc_s(), self._clock.mono_s())
        if step_s:
            self._orders.follow_clock()
            self._planner.clock_set()
        text = clock_event(before, now, step_s)
        if text:
            self._events.event("gateway", "warning", "clock", text)

    def _decide(self, snapshot: Snapshot) -> Decision:
        """Step the controller; send what it decided, report what it says, answer the requests it was given."""
        asked, self._requests = self._requests, {}
        requests = [request for request, _ in asked.values()]
        orders, failing = self._orders.active, self._devices.commands.failing
        proving = self._prover.step(snapshot, orders)
        self._controller.caps.follow_jobs(self._queues.node_groups)
        self._controller.caps.follow_tiers(self._queues.tolerated_pct)
        self._controller.caps.follow_curves(self._accounting.measured)
        decision = self._controller.step(
            snapshot,
            self._planner.plan,
            requests,
            orders=orders,
            signals=(*self._signals.active(), *self._grid_events.active()),
            failing=failing,
            proving=proving,
        )
        self._devices.submit(decision, orders, proving)
        self._prover.decided(decision, self._controller.interval, self._controller.month_peak_w)
        for event in decision.events:
            self._events.note(event)
        for reply in decision.replies:
            asked[reply.id][1].set_result(reply)
        if decision.report is not None:
            self._drills.end(decision.report)
        return decision

    def _tell_exits(self, snapshot: Snapshot, decision: Decision) -> None:
        """Say for each PCS what it does if the gateway dies, at first and when that has become another thing."""
        for pcs_id, found in self._exits.update(snapshot.mono_s, snapshot.pcs, decision, snapshot.devices):
            severity = "warning" if found.code in ("dies.keeps", "dies.map_keeps", "dies.proven_keeps") else "info"
            self._events.event("device", severity, pcs_id, f"if the gateway dies: {words(found)}")

    def _update_alarms(self, snapshot: Snapshot, decision: Decision) -> None:
        found = conditions(snapshot, decision, self._facts())
        events = self._alarms.update(found, snapshot.utc_s, snapshot.mono_s)
        for event in events:
            self._events.note(event)
        if any(event.kind == "shelf" for event in events):  # its time was up: a restart does not shelve it again
            self._recorder.save_state(SHELVED, kept(self._alarms, snapshot.utc_s, snapshot.mono_s))

    def _facts(self) -> Facts:
        """What alarms need to know besides snapshot and decision."""
        utc_s, mono_s, plan = self._clock.utc_s(), self._clock.mono_s(), self._planner.plan
        return Facts(
            config=self._config,
            interval=self._controller.interval,
            plan_age_s=None if plan is None else utc_s - plan.made_utc_s,
            plan_error=self._planner.error,
            prices_expected=self._price_outlook.expected and self._clock_seen.known,
            prices_end_utc_s=self._prices.end_utc_s,
            price_now=self._prices.series.at(utc_s) is not None,
            prices_overdue=self._prices.overdue if self._clock_seen.known else None,
            price_file_error=self._prices.error,
            written_w=self._devices.written_w,
            withheld=self._devices.withheld,
            overruns_per_min=self._overruns.update(mono_s, self.punctuality.overruns),
            records_dropped_per_min=self._dropped.update(mono_s, self._recorder.dropped),
            records_error=self._recorder.error or self._audit.error or self._directory_trouble(),
            parts=self._parts.now(),
            ballast_missing=self._recorder.ballast_missing,
            audit_changed=self._audit.changed,
            access_trouble=self._access_trouble(),
            drill_due=self._drills.due,
            orders_dropped=self._orders.dropped,
            clock_step_s=self._clock_steps.recent_s(mono_s),
            clock=self._clock_seen,
            month_saved_eur=self._month_saved_eur(),
            balance=self._controller.balance.states() if self._clock_seen.known else (),
            node_caps_w=self._devices.commands.measured_caps_w,
            gpu_limits_not_kept=self._devices.commands.not_kept,
            nodes_unread=self._devices.nodes_unread,
            queue_errors=self._queues.errors(),
            senders_silent=self._signals.silent(),
            limits_exceeded=self._signals.exceeded,
            starts_not_kept=self._starts.failures,
            starts_changed=self._starts.changes,
            outputs_failed=self._outputs.failures,
            gpu_limits_changed=self._devices.commands.changed_by_others,
        )

    def _month_saved_eur(self) -> float | None:
        """What the battery saved this month by the record; None while too little is on record."""
        found = self._iq.now
        if found is None or found.month_pct is None or found.month_known_h < IQ_ALARM_H:
            return None
        return found.month_saved_eur

    def _inform_planner(self, snapshot: Snapshot, decision: Decision) -> None:
        controller = self._controller
        self._planner.observe(
            Observation(
                snapshot=snapshot,
                orders=self._orders.active,
                signals=(*self._signals.listed(), *self._grid_events.ahead()),
                caps=decision.caps,
                month_peak_w=controller.month_peak_w,
                next_day_peak_w=controller.next_day_peak_w,
                levels=controller.charge_levels,
                billed_before_w=controller.billed_before_w,
                interval_energy_wh=controller.interval.energy_wh,
                interval_least_w=controller.interval_least_w,
                balance=controller.balance.wanted(snapshot.utc_s),
                pv_free=decision.island in JOINED and all(limit.w is None for limit in decision.pv_limits),
            )
        )

    def _state_to_publish(self, snapshot: Snapshot, decision: Decision) -> Published:
        if self._seq % max(1, round(1 / self.punctuality.period_s)) == 0:  # about once a second: it sorts all ticks
            self._loop_stats = self.punctuality.stats(self._consoles.count)
        controller = self._controller
        return Published(
            snapshot=self._console_nodes.shortened(snapshot),
            decision=decision,
            alarms=self._alarms.active(),
            interval=controller.interval,
            month_peak_w=controller.month_peak_w,
            tariff=self._price_outlook.now(snapshot.utc_s) if snapshot.utc_known else TariffNow(),
            loop=self._loop_stats,
            pulse_since_utc_s=controller.pulse_since_utc_s,
            pulses_seen=controller.pulses_seen,
            orders=self._orders.active,
            month_unmeasured_s=controller.month_unmeasured_s,
            last_drill=_summary(self._drills.report),
            drill_plan=self._drills.plan,
            reservations=self._reservations.standing(),
            billed_peak_w=controller.billed_peak_w,
            charges=controller.charges_now,
            iq=self._iq.now,
            clock=self._clock_seen,
            node_caps=self._devices.commands.follow_caps(snapshot),
            queues=self._queues.now(),
            node_lists=self._devices.lists.now(),
            signals=self._signals.views(snapshot),
            grid_events=self._grid_events.shown,
            first_out=self._alarms.first_out(),
            alarm_rate=self._alarms.rate,
            shelved=self._alarms.suppressed(snapshot.utc_s, snapshot.mono_s),
            advisories=self._advice.now(self._planner.plan, snapshot.utc_s) if snapshot.utc_known else (),
        )

    def _known_peak_w(self) -> float:
        """The main charge's peak of the bill period so far; where days are averaged there is none, 0."""
        return self._controller.charge_levels[0].free_w if main_charge(self._site.dispatch).top_days == 1 else 0.0

    def _recorded_figures(self, decision: Decision, soc_pct: float | None) -> dict[str, float | None]:
        """Signals for the record that are neither in the snapshot nor in the decision."""
        interval = self._controller.interval
        able = decision.island is IslandState.GRID_TIED and decision.mode not in (Mode.SAFE, Mode.OBSERVE)
        utc_s = decision.utc_s if self._clock_seen.known else None
        on_genset = {"decision.on_genset": float(decision.island is IslandState.GENSET)}
        return {
            "interval.left_w": interval.left_w,
            "interval.limit_w": interval.limit_w,
            "interval.energy_wh": None if interval.never_read else interval.energy_wh,
            "month.peak_w": self._controller.month_peak_w,
            "price.eur_per_kwh": self._price_outlook.last.now_eur_per_kwh if self._clock_seen.known else None,
            **self._market.figures(utc_s),
            "decision.able": float(able),
            **({} if self._config.genset is None else on_genset),
            "decision.ordered": float(any(order.kind in ON_BATTERY for order in self._orders.active)),
            **({"soc_pct": soc_pct} if self._config.batteries else {}),
        }

    def _record(self, snapshot: Snapshot, decision: Decision, soc_pct: float | None) -> None:
        """Hand the tick to the record, with what stands besides."""
        assert self.published is not None
        plan = self._planner.plan
        told = recorded_context.told(self.published, plan, None if plan else no_plan(self._site, self._planner.error))
        figures = self._recorded_figures(decision, soc_pct) | recorded_context.figures(self.published)
        self._recorder.put(snapshot, decision, figures, told)

    def _report_storage(self) -> None:
        """What recorder and audit have to report of themselves."""
        self._events.announce_notices()
        while self._audit.found:
            self._events.event("gateway", "alarm", "audit", self._audit.found.pop(0))

    def _publish(self, published: Published) -> None:
        self._ticked.set()
        self._consoles.publish(published)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(published)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def interrupt_drill(self, why: Reason) -> None:
        """Report a drill under way as failed for this reason. For the end, after the last tick."""
        drill = self._controller.island.drill
        if drill is not None:
            drill.interrupt(why)
            self._drills.end_early(drill.report(self._clock.utc_s()))

    async def to_safe_value(self) -> None:
        """Bring every PCS to the safe value, read back where it can be. Islanded or unknown: a forming PCS is left."""
        decision = None if self.published is None else self.published.decision
        if decision is None or decision.mode is Mode.OBSERVE or decision.island not in JOINED:
            tied = decision is not None and decision.island in JOINED
            why = words(decision.reason) if decision is not None and tied else "the site is not known to be grid-tied"
            text = f"no setpoint sent at stop: {why}"
            self._events.event("gateway", "info", "stop", text)
            return
        given = stop_setpoints(self._config, decision)
        errors = await asyncio.gather(*(self._deliver(device_id, w) for device_id, w in given.items()))
        for (device_id, w), error in zip(given.items(), errors, strict=True):
            shown = self._devices.read_back(device_id)
            done = "set and read back" if shown else "written; the PCS does not show that it holds it"
            text = f"safe value {w / 1000:.1f} kW " + (f"NOT confirmed: {error}" if error else done)
            self._events.event("gateway", "warning" if error else "info", device_id, text)

    async def _deliver(self, device_id: str, w: float) -> str:
        """Why a PCS does not hold it; a mistake in its driver, or one that hangs, does not keep it from the others."""
        try:
            return await asyncio.wait_for(self._devices.deliver(device_id, w), SAFE_VALUE_S)
        except TimeoutError:
            return f"no answer within {SAFE_VALUE_S:g} s"
        except Exception as error:
            log.exception("the safe value of %s", device_id)
            self.stop_failed = True
            return f"internal error: {error!r}"


def _summary(report: DrillReport | None) -> LastDrill | None:
    """The last drill as consoles show it."""
    if report is None:
        return None
    return LastDrill(report.ended_utc_s, report.minutes, report.result, report.why, report.who)
