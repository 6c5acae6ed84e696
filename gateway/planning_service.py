"""Makes plans in the background: learns load and PV, solves in a thread, puts a plan in force once it is validated."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import msgspec

from dispatch.forecasting.queue_outlook import QueueSeen
from dispatch.forecasting.service_forecast import ServiceForecast
from dispatch.model.balancing import BalanceDue
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.clock import Clock
from dispatch.model.job_outlook import JobOutlook
from dispatch.model.orders import ON_BATTERY, Order
from dispatch.model.plan import Plan
from dispatch.model.power_caps import CapsView
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation
from dispatch.model.signals import Signal
from dispatch.model.snapshot import Snapshot
from dispatch.planning.inputs import PlanFailed, PlanInputs
from dispatch.planning.order_projection import local_time as clock_time
from dispatch.planning.pipeline import PlanningState, PlanSource
from dispatch.planning.power_admission import shortfall
from dispatch.power_caps.cap_controller import counted_on
from dispatch.wording.catalogue import words
from gateway.event_sink import EventSink
from gateway.orders_in_force import OrdersInForce
from gateway.parts_in_trouble import PartsInTrouble
from gateway.prices_in_force import PricesInForce
from gateway.pv_watch import PvWatch
from gateway.quarter_mean import QuarterMean
from gateway.queue_forecast import QueueForecast
from gateway.site.schema import Site
from gateway.supervised_calls import PartHangs, SupervisedCalls

PLAN_S = 60.0  # machine seconds, after which a plan that is being made counts as hung
CLOSE_S = 3.0  # for a plan under way at the end: an interpreter should not end amid a solver


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What a tick tells the planner. W, Wh."""

    snapshot: Snapshot
    orders: tuple[Order, ...]  # as the tick obeyed them
    signals: tuple[Signal, ...] = ()  # from outside, that are not over
    caps: CapsView | None
    month_peak_w: float
    next_day_peak_w: float
    levels: tuple[ChargeLevel, ...]
    interval_energy_wh: float
    interval_least_w: float = 0.0
    balance: tuple[BalanceDue, ...] = ()  # batteries that may be charged to their BMS's full mark
    billed_before_w: dict[str, float] = {}
    pv_free: bool = True  # PV gives what the sun allows: neither limited by us nor off the grid


class PlanningService:
    """The plan in force, and what makes the next one. A failed, late or invalid plan leaves the last good one."""

    def __init__(
        self,
        site: Site,
        prices: PricesInForce,
        clock: Clock,
        events: EventSink,
        orders: OrdersInForce,
        on_plan: Callable[[Plan], None],
        parts: PartsInTrouble,
        queues: Callable[[], Sequence[QueueSeen]] = tuple,
        co2_g_per_kwh: Callable[[float], float | None] | None = None,
    ) -> None:
        """`queues`: those of the site's schedulers, as they were read last. `co2_g_per_kwh`: as `PlanSource` has it."""
        self.plan: Plan | None = None
        self.error: Reason | None = None  # why there is no newer plan; None while plans are made
        self.at_risk: dict[str, Reason] = {}  # why a reservation, by id, could not be kept as things stand
        self._site, self._prices, self._clock, self._events = site, prices, clock, events
        self._orders, self._on_plan = orders, on_plan
        self._source = PlanSource(site.dispatch, co2_g_per_kwh)
        self._load_mean = QuarterMean(self._source.observe_load)
        self._pv_mean = QuarterMean(lambda start_s, w, _latest_w: self._source.observe_pv(start_s, w))
        self._assumed_pv_mean = QuarterMean(lambda start_s, w, _latest_w: self._source.assume_pv(start_s, w))
        self._pv_watch = PvWatch(site.dispatch, events, self._source.clearness)
        self._last: Observation | None = None
        self._battery_orders: tuple[Order, ...] = ()  # as the last tick had them
        self._signals: tuple[Signal, ...] = ()
        self._calls = SupervisedCalls("planner", max(PLAN_S, 2 * site.plan.deadline_s), parts)
        self._replan = asyncio.Event()  # there is a reason to plan anew before the period is over
        grid = site.dispatch.grid
        self.queues = QueueForecast(
            queues, clock, parts, grid.contracted_peak_w, site.dispatch.carries_w, self._take_queues, self._replan.set
        )

    def observe(self, seen: Observation) -> None:
        """Learn from one tick. A battery order that is new or over: plan anew at once.

        While a PV inverter does not answer, the load is the net load and what the PV usually gives at this time.
        """
        self._last, snapshot = seen, seen.snapshot
        self.queues.note_nodes(snapshot.nodes)
        if not snapshot.utc_known:
            return  # load and PV are learnt by the time of day
        load_w, pv_w, net_w = snapshot.load_w, snapshot.pv_w, snapshot.net_load_w
        assumed_w = self._source.usual_pv_w(snapshot.utc_s) if pv_w is None else pv_w
        if pv_w is None and net_w is not None:
            load_w = net_w + assumed_w
        self._load_mean.add(snapshot.utc_s, load_w)
        self._assumed_pv_mean.add(snapshot.utc_s, assumed_w)
        self._pv_mean.add(snapshot.utc_s, self._learnt_pv_w(snapshot.utc_s, pv_w, seen.pv_free))
        self._pv_watch.add(snapshot, seen.pv_free)
        battery_orders = tuple(order for order in seen.orders if order.kind in ON_BATTERY)
        if (battery_orders, seen.signals) != (self._battery_orders, self._signals):
            self._battery_orders, self._signals = battery_orders, seen.signals
            self._replan.set()

    def _learnt_pv_w(self, utc_s: float, pv_w: float | None, free: bool) -> float | None:
        """What PV could have given, W: where it is limited, not less than is usual. None: that is not learnt."""
        if pv_w is None or free:
            return pv_w
        return None if self._source.pv_by_sun else max(pv_w, self._source.usual_pv_w(utc_s))

    def reserve(self, reservations: Sequence[Reservation]) -> None:
        """Power is promised to these jobs from now on (`PlanSource.reserve`): plan anew at once."""
        self._source.reserve(reservations)
        self.queues.reserve(reservations)
        self._replan.set()

    def take_service(self, forecast: ServiceForecast) -> None:
        """A weather service has told what PV it expects; the next plan uses it."""
        self._source.take_service(forecast)

    def prices_changed(self) -> None:
        """Other prices are in force: plan anew at once."""
        self._replan.set()

    def clock_set(self) -> None:
        """The steps of the plan in force are those of other hours: plan anew at once."""
        self._source.take_queues(None)
        self.queues.forget()
        self._replan.set()

    async def run(self) -> None:
        """Solve every `plan.period_s` of site time, at once without a plan or with a reason to, until cancelled."""
        if not self._site.plan.enabled or not self._site.battery:
            return
        clock, period_s = self._clock, self._site.plan.period_s
        while True:
            self._replan.clear()
            inputs = self.inputs()
            if inputs is None:
                await asyncio.sleep(1 / self._site.gateway.rate_hz)
                continue
            self.queues.planned()
            await self._solve(inputs)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((period_s - clock.mono_s() % period_s) / clock.speed):
                    await self._replan.wait()

    def inputs(self) -> PlanInputs | None:
        """What a plan is made of now, or None while the site is not known well enough. Without a battery SoC is 0."""
        seen = self._last
        if seen is None:
            return None
        snapshot = seen.snapshot
        if not snapshot.utc_known:
            self.error = Reason("no_plan.clock")
            return None
        soc_pct = BatteryBank(self._site.dispatch, snapshot).soc_pct
        net_w = snapshot.net_load_w
        if not self._site.battery:
            soc_pct = 0.0
        if soc_pct is None or net_w is None:
            needed = (
                (Reason("quantity.import"), snapshot.grid.w.good),
                (Reason("quantity.pcs_power"), snapshot.pcs_w),
                (Reason("quantity.soc"), soc_pct),
            )
            self.error = Reason("no_plan.unknown", {"missing": [what for what, value in needed if value is None]})
            return None
        now = PlanningState(
            utc_s=snapshot.utc_s,
            load_w=net_w if snapshot.load_w is None else snapshot.load_w,
            pv_w=snapshot.pv_w,
            soc_pct=soc_pct,
            month_peak_w=seen.month_peak_w,
            next_day_peak_w=seen.next_day_peak_w,
            levels=seen.levels,
            billed_before_w=seen.billed_before_w,
            interval_energy_wh=seen.interval_energy_wh,
            interval_least_w=seen.interval_least_w,
            orders=self._orders.active,
            signals=seen.signals,
            balance=seen.balance,
            caps=counted_on(self._site.dispatch, seen.caps),
        )
        return self._source.inputs(now, self._prices.series)

    def learn(self, load_w: dict[int, float], pv_w: dict[int, float]) -> None:
        """Take in quarter-hour means of the past, keyed by their start, before the first plan."""
        for start_s in sorted(load_w):
            self._source.observe_load(start_s, load_w[start_s])
        for start_s in sorted(pv_w):
            self._source.observe_pv(start_s, pv_w[start_s])

    def _take_queues(self, outlook: JobOutlook) -> bool:
        """Whether the forecast follows what the queues say."""
        self._source.take_queues(outlook)
        return self._source.jobs_share() > 0

    async def _solve(self, inputs: PlanInputs) -> None:
        work = asyncio.create_task(self._calls.call(self._source.make, inputs, self.plan))
        await asyncio.wait([work], timeout=self._site.plan.deadline_s)
        late = not work.done()
        if late:
            self._report_failure(Reason("no_plan.late", {"deadline_s": self._site.plan.deadline_s}))
        try:
            plan, faults = await work
        except PlanFailed as error:
            self._report_failure(error.why)
            return
        except PartHangs as error:
            self._report_failure(Reason("no_plan.hangs", {"error": str(error)}))
            self._source.begin_anew()  # the thread that hangs keeps the solver that it has
            return
        if late:
            return
        if faults:
            self._report_failure(Reason("no_plan.refused", {"found": "; ".join(faults[:3])}))
            return
        if self.error:
            self._events.event("plan", "info", "planner", "plans are made again")
        self.error = None
        self.plan = plan
        self._on_plan(plan)
        with contextlib.suppress(PartHangs):  # said by its alarm
            await self._check_reservations(inputs, plan)

    async def _check_reservations(self, inputs: PlanInputs, plan: Plan) -> None:
        """Find the reservations that could not be kept as things stand; report those that changed."""
        standing = [r for r in inputs.reservations if not r.over(inputs.now_utc_s)]

        def shortfalls() -> dict[str, Reason]:
            return {r.id: why for r in standing if (why := shortfall(r, inputs, plan)) is not None}

        before, self.at_risk = self.at_risk, await self._calls.call(shortfalls) if standing else {}
        for reservation in standing:
            why = self.at_risk.get(reservation.id)
            if (why is None) is not (before.get(reservation.id) is None):
                self._report_risk(reservation, why)

    def _report_risk(self, reservation: Reservation, why: Reason | None) -> None:
        text = f"is at risk: {words(why)}" if why else "can be kept again"
        when = clock_time(reservation.start_utc_s, self._site.dispatch)
        severity = "warning" if why else "info"
        self._events.event("plan", severity, "reservation", f"reservation {reservation.id} at {when} {text}")

    def _report_failure(self, why: Reason) -> None:
        if why != self.error:
            self._events.event("plan", "warning", "planner", f"no new plan: {words(why)}; the last one stays")
        self.error = why

    async def close(self) -> None:
        """Wait for the plan under way, and for the look at the queues, at most `CLOSE_S` each."""
        await asyncio.gather(self._calls.ended(CLOSE_S), self.queues.close(CLOSE_S))
