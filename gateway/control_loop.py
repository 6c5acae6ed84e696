"""The gateway: one circle per tick. Owns the devices; planner, records and link run beside the tick, never in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from dispatch.alarms.conditions import Facts, conditions
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.states import AlarmBook
from dispatch.billing.prices import PriceSeries
from dispatch.control.controller import Controller
from dispatch.control.fallback import stop_setpoints
from dispatch.control.net_load_estimator import believed
from dispatch.model.clock import Clock
from dispatch.model.decision import Decision, Mode
from dispatch.model.equipment import Part
from dispatch.model.events import Event
from dispatch.model.islanding import DrillReport, IslandReply, IslandRequest, IslandState
from dispatch.model.orders import ON_BATTERY, Order
from dispatch.model.reservations import Reservation
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import OrderBook, words
from dispatch.orders.reservation_book import ReservationBook
from dispatch.wording.formatting import kw, span
from drivers.modbus.errors import DeviceError
from drivers.nodes.actuators import make_actuators
from gateway.alarm_inputs import ClockWatch, LastMinute
from gateway.api.protocol import DrillPlan, LastDrill, Published
from gateway.command_senders import Hands, node_caps
from gateway.energy_iq_service import IqKeeper
from gateway.planning_service import PlanKeeper
from gateway.poller import Poller
from gateway.price_outlook import TariffStrip
from gateway.run_statistics import Balance, Punctuality
from gateway.setpoint_sender import Actuator
from gateway.site.schema import Site
from gateway.snapshot_builder import snapshot_of
from gateway.task_supervisor import Work, run_beside
from storage.recorder import Recorder

NODE_PERIOD_S = 1.0  # compute nodes are read once a second, unscaled
IQ_ALARM_H = 24.0  # of the month on record before its saving may raise an alarm
FIRST_CONTACT_S = 2.0  # at most; a device that is not there does not keep the others waiting
LEAD_S = 0.012  # the other devices are asked this long before the grid meter, so that a tick has all their answers


class Gateway:
    """Everything that lives between `start` and `stop` of one site."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        drivers: Sequence[Any],
        recorder: Recorder,
        prices: PriceSeries,
        publish: Callable[[Published], None],
        announce: Callable[[Event], None],
        planner: PlanKeeper,
    ) -> None:
        self.site, self.clock, self.recorder, self.prices = site, clock, recorder, prices
        self._config = site.dispatch
        self.controller = Controller(self._config)
        self.alarms = AlarmBook(DEFINITIONS)
        self.planner = planner
        self.iq: IqKeeper | None = None
        self.punctuality = Punctuality(1 / site.gateway.rate_hz)
        self.balance = Balance()
        self.published: Published | None = None
        self.consoles: Callable[[], int] = lambda: 0
        self.after_tick: Callable[[], None] = lambda: None
        self.orders = OrderBook()
        self.order_over: Callable[[Order, str, str], None] = lambda order, why, who: None
        self.reservations = ReservationBook()
        self.reservation_over: Callable[[Reservation], None] = lambda reservation: None
        self.audit_error: Callable[[], str] = lambda: ""
        self.audit_found: list[str] = []  # what the audit has to say of itself
        self._awaiting: list[asyncio.Future[Published]] = []
        self._publish, self._announce = publish, announce
        self._pollers = [
            Poller(d, clock, self._stale_after_s(d.kind), DeviceError, self._device_changed) for d in drivers
        ]
        self._grid = next(p for p in self._pollers if p.driver.kind == "meter")
        self._others = [p for p in self._pollers if p.driver.kind not in ("meter", "node")]
        self._slow = [p for p in self._pollers if p.driver.kind == "node"]
        self._actuators = {
            d.id: Actuator(d, clock, DeviceError, self._actuator_changed, self._actuator_noted)
            for d in drivers
            if d.kind == "pcs"
        }
        nodes = make_actuators(site.node, {d.id: d for d in drivers if d.kind == "node"})
        self.hands = Hands(drivers, nodes, DeviceError, self._hand_reported)
        self.drill_report: DrillReport | None = None  # the last one's, also of a run before this one
        self.drill_over: Callable[[DrillReport], None] = lambda report: None
        self.drill_plan: DrillPlan | None = None
        self.drill_due = ""  # a drill waits for somebody to start it: since when
        self.beside: list[Work] = []  # more that runs beside the tick
        self._requests: dict[str, tuple[IslandRequest, Future[IslandReply]]] = {}  # for the next tick
        self._noted: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._clock_watch = ClockWatch(clock.utc_s(), clock.mono_s())
        self._overruns, self._dropped = LastMinute(), LastMinute()
        self._seq = 0
        self._loop_stats = self.punctuality.stats(0)
        self._tariff = TariffStrip(site.tariff, prices)

    def _stale_after_s(self, kind: str) -> float:
        """Nodes are read once a second: theirs grow a second older before they count as stale."""
        return self.site.io.stale_after_s + (NODE_PERIOD_S if kind == "node" else 0.0)

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        """Record something that happened and tell the consoles."""
        self.note(Event(self.clock.utc_s(), kind, severity, subject, text, who))

    def note(self, event: Event, durable: bool = False) -> Future[int]:
        """Record an event and tell the consoles. The future ends once it is committed, or raises NotRecorded."""
        recorded = self.recorder.event(event, durable)
        self._announce(event)
        return recorded

    def _device_changed(self, poller: Poller, online: bool) -> None:
        text = "answers" if online else f"lost: {poller.error or 'no answer yet'}"
        self.event("device", "info" if online else "warning", poller.driver.id, text)

    def _actuator_changed(self, device_id: str, error: str) -> None:
        text = f"setpoint not accepted: {error}" if error else "setpoint accepted again"
        self.event("device", "warning" if error else "info", device_id, text)

    def _actuator_noted(self, device_id: str, note: str) -> None:
        if self._noted.get(device_id) != note:  # a note that repeats itself is one event
            self._noted[device_id] = note
            self.event("device", "warning", device_id, note)

    def _hand_reported(self, severity: str, device_id: str, text: str) -> None:
        self.event("node" if any(n.id == device_id for n in self.site.node) else "device", severity, device_id, text)

    def ask(self, request: IslandRequest) -> Future[IslandReply]:
        """Hand a request to the next tick: drill, abort, fault reset, black start. The future ends with its answer."""
        answer: Future[IslandReply] = Future()
        self._requests[request.id] = (request, answer)
        return answer

    def withdraw(self, id: str) -> bool:
        """Take back a request that no tick has heard yet; False: one has."""
        return self._requests.pop(id, None) is not None

    # ── the circle ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Tick until `stop` is asked for."""
        work: list[Work] = [(f"setpoints of {a.driver.id}", a.run) for a in self._actuators.values()]
        work += [(f"orders to {c.id}", c.run) for c in self.hands.carriers]
        work += [("node polling", self._poll_slow)]
        work += [("planner", lambda: self.planner.run(self))]
        work += self.beside
        if (iq := self.iq) is not None:
            work += [("Energy IQ", lambda: iq.run(self))]
        await run_beside(work, self._ticks, lambda name, text: self.event("gateway", "alarm", name, text))

    def stop(self) -> None:
        """Finish the tick under way, then let `run` return."""
        self._stopping.set()

    async def _ticks(self) -> None:
        loop, period_s = asyncio.get_running_loop(), self.punctuality.period_s
        # everybody is asked once beforehand: to connect takes longer than to answer, and the first tick shall know all
        await asyncio.wait([poller.start() for poller in self._pollers], timeout=FIRST_CONTACT_S)
        due = loop.time()
        while not self._stopping.is_set():
            due += period_s
            behind = int((loop.time() - due) / period_s)
            if behind > 0:
                self.punctuality.overrun(behind)
                due += behind * period_s
            await self._until(due - LEAD_S)
            for poller in self._others:
                poller.start()
            await self._until(due)
            await asyncio.wait([self._grid.start()], timeout=self.site.io.deadline_s)
            self.punctuality.tick(loop.time() - due)
            self.tick()

    async def _until(self, due_s: float) -> None:
        """Sleep to a time of the loop's clock; at once awake when the gateway is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), max(0.0, due_s - asyncio.get_running_loop().time()))

    async def _poll_slow(self) -> None:
        while True:
            for poller in self._slow:
                poller.start()
            await asyncio.sleep(NODE_PERIOD_S)

    def tick(self) -> None:
        """Snapshot, decide, order, record, publish. Nothing here waits."""
        self._watch_clock()
        snapshot = self._snapshot()
        for order in self.orders.expire(snapshot.mono_s):
            self._over(order, "its time is up")
        self._turn_reservations(snapshot.utc_s)
        asked, self._requests = self._requests, {}
        requests = [request for request, _ in asked.values()]
        orders, failing = self.orders.active, self.hands.failing
        decision = self.controller.step(snapshot, self.planner.plan, requests, orders=orders, failing=failing)
        self.hands.submit(decision, node_caps(decision, orders))
        for event in decision.events:
            self.note(event)
        for reply in decision.replies:
            asked[reply.id][1].set_result(reply)
        if decision.report is not None:
            self.end_drill(decision.report)
        for setpoint in decision.setpoints:
            if (actuator := self._actuators.get(setpoint.device_id)) is not None:
                actuator.submit(setpoint.w)
        for event in self.alarms.update(conditions(snapshot, decision, self._facts()), snapshot.utc_s, snapshot.mono_s):
            self.note(event)
        snapshot = believed(snapshot, decision.meter_frozen)
        self.balance.add(snapshot)
        self.planner.observe(snapshot)
        self.planner.ordered(orders)
        if self._seq % max(1, round(1 / self.punctuality.period_s)) == 0:
            self._loop_stats = self.punctuality.stats(self.consoles())
        self.published = Published(
            snapshot=snapshot,
            decision=decision,
            alarms=self.alarms.active(),
            interval=self.controller.interval,
            month_peak_w=self.controller.month_peak_w,
            tariff=self._tariff.now(snapshot.utc_s),
            loop=self._loop_stats,
            pulse_since_utc_s=self.controller.pulse_since_utc_s,
            pulses_seen=self.controller.pulses_seen,
            orders=self.orders.active,
            month_unmeasured_s=self.controller.month_unmeasured_s,
            last_drill=_last_drill(self.drill_report),
            drill_plan=self.drill_plan,
            reservations=self.reservations.standing(snapshot.utc_s),
            billed_peak_w=self.controller.billed_peak_w,
            iq=None if self.iq is None else self.iq.now,
        )
        self.recorder.put(snapshot, decision, self._extras(decision))
        for event in self.recorder.notices():
            self._announce(event)  # the recorder has recorded these itself
        while self.audit_found:
            self.event("gateway", "alarm", "audit", self.audit_found.pop(0))
        self._publish(self.published)
        awaiting, self._awaiting = self._awaiting, []
        for future in awaiting:
            if not future.done():
                future.set_result(self.published)
        self.after_tick()

    async def next_tick(self) -> Published:
        """What the next tick publishes: the first that knows of an order given just now."""
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._awaiting.append(future)
        return await future

    def end_drill(self, report: DrillReport) -> None:
        """A drill is over: this is the last one now, and goes on record."""
        self.drill_report = report
        self.drill_over(report)

    def end_order(self, id: str, why: str, who: str = "") -> Order:
        """Take an order out of force, from the next tick on. Raises LookupError."""
        order = self.orders.end(id)
        self._over(order, why, who)
        return order

    def _turn_reservations(self, utc_s: float) -> None:
        """Say which have begun and which are over."""
        begun, over = self.reservations.turn(utc_s)
        for r in begun:
            text = f"reservation {r.name} begins: {kw(r.power_w)} for {span(r.end_utc_s - utc_s)}"
            self.event("plan", "info", "reservation", text)
        for r in over:
            self.event("plan", "info", "reservation", f"reservation {r.name} is over: {kw(r.power_w)} are free again")
            self.reservation_over(r)

    def _over(self, order: Order, why: str, who: str = "") -> None:
        lasted = span(max(self.clock.utc_s() - order.given_utc_s, 0.0))
        what = words(order.kind, order.value, order.target)
        text = f"order {order.id} of {order.who} is over after {lasted}: {what}; {why}"
        self.event("command", "info", "order", text, who)
        self.order_over(order, why, who)

    def _extras(self, decision: Decision) -> dict[str, float | None]:
        interval = self.controller.interval
        able = decision.island is IslandState.GRID_TIED and decision.mode not in (Mode.SAFE, Mode.OBSERVE)
        return {
            "interval.left_w": interval.left_w,
            "interval.limit_w": interval.limit_w,
            "interval.energy_wh": interval.energy_wh,
            "month.peak_w": self.controller.month_peak_w,
            "price.eur_per_kwh": self._tariff.last.now_eur_per_kwh,
            "decision.able": float(able),
            "decision.ordered": float(any(order.kind in ON_BATTERY for order in self.orders.active)),
        }

    def _watch_clock(self) -> None:
        step_s = self._clock_watch.look(self.clock.utc_s(), self.clock.mono_s())
        if step_s:
            text = f"wall clock stepped by {step_s:+.1f} s; deadlines are unaffected"
            self.event("gateway", "warning", "clock", text)

    def _snapshot(self) -> Snapshot:
        self._seq += 1
        parts: list[Part] = []
        for poller in self._pollers:
            parts.extend(poller.parts())
            if (actuator := self._actuators.get(poller.driver.id)) is not None:
                poller.writes = actuator.writes
        devices = tuple(p.health() for p in self._pollers)
        return snapshot_of(self.site, self._seq, self.clock, self._grid.driver.id, parts, devices)

    def _facts(self) -> Facts:
        mono_s, plan = self.clock.mono_s(), self.planner.plan
        utc_s = self.clock.utc_s()
        return Facts(
            config=self._config,
            interval=self.controller.interval,
            plan_age_s=None if plan is None else utc_s - plan.made_utc_s,
            plan_error=self.planner.error,
            prices_expected=bool(self.site.tariff.file),
            prices_end_utc_s=self.prices.end_utc_s if self.prices.start_utc_s else None,
            price_now=self.prices.at(utc_s) is not None,
            written_w={id_: a.held_w for id_, a in self._actuators.items() if a.held_w is not None},
            overruns_per_min=self._overruns.grown(mono_s, self.punctuality.overruns),
            records_dropped_per_min=self._dropped.grown(mono_s, self.recorder.dropped),
            records_error=self.recorder.error or self.audit_error(),
            drill_due=self.drill_due,
            clock_step_s=self._clock_watch.recent_s(mono_s),
            month_saved_eur=self._month_saved_eur(),
        )

    def _month_saved_eur(self) -> float | None:
        """What the battery saved this month by the record; None while that says too little."""
        found = None if self.iq is None else self.iq.now
        enough = found is not None and found.month_pct is not None and found.month_known_h >= IQ_ALARM_H
        return found.month_saved_eur if found is not None and enough else None

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def to_safe_value(self) -> None:
        """Bring every PCS to the safe value and read it back. Islanded or unknown: leave the forming PCS alone."""
        decision: Decision | None = self.published.decision if self.published is not None else None
        if decision is None or decision.mode is Mode.OBSERVE or decision.island is not IslandState.GRID_TIED:
            self.event("gateway", "info", "stop", "no setpoint sent at stop: the site is not known to be grid-tied")
            return
        for device_id, w in stop_setpoints(self._config, decision).items():
            actuator = self._actuators[device_id]
            held = await actuator.deliver(w)
            text = f"safe value {w / 1000:.1f} kW " + (
                "set and read back" if held else f"NOT confirmed: {actuator.error}"
            )
            self.event("gateway", "info" if held else "warning", device_id, text)

    async def close(self) -> None:
        """Lift the power caps, hang up on every device."""
        await self.hands.lift()
        if self.iq is not None:
            await asyncio.to_thread(self.iq.close)
        for poller in self._pollers:
            if (task := poller.in_flight) is not None:
                await task
            await poller.driver.close()

    @property
    def reads(self) -> int:
        """Good answers so far."""
        return sum(p.reads for p in self._pollers)

    @property
    def writes(self) -> int:
        """Setpoint writes so far, renewals included."""
        return sum(a.writes for a in self._actuators.values())


def _last_drill(report: DrillReport | None) -> LastDrill | None:
    if report is None:
        return None
    return LastDrill(report.ended_utc_s, report.minutes, report.result, report.why, report.who)
