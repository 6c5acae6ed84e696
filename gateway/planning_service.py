"""Keeps a plan in force: learns the load, solves beside the tick, lets independent code check, swaps plans in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dispatch.billing.prices import PriceSeries
from dispatch.forecasting.load import LATEST_S
from dispatch.model.orders import ON_BATTERY, Order
from dispatch.model.plan import Plan
from dispatch.model.reservations import Reservation
from dispatch.model.snapshot import Snapshot
from dispatch.planning.inputs import PlanFailed, PlanInputs
from dispatch.planning.order_projection import clock
from dispatch.planning.pipeline import QUARTER_S, Now, PlanSource
from dispatch.planning.power_admission import short_of
from dispatch.power_caps.cap_controller import counted_on
from gateway.site.schema import Site

if TYPE_CHECKING:
    from gateway.control_loop import Gateway


class QuarterMean:
    """The mean of a power over each quarter hour of UTC, weighted by time; one less than half seen is not given.

    `observe` gets the quarter's start, its mean, and the mean of its last `LATEST_S` (None if not half of it was seen).
    """

    def __init__(self, observe: Callable[[int, float, float | None], bool]) -> None:
        self._observe = observe
        self._quarter: int | None = None
        self._whole, self._end = _Mean(), _Mean()
        self._last_s: float | None = None

    def add(self, utc_s: float, w: float | None) -> None:
        """One sample; None (unknown) lets time pass without weight."""
        quarter = int(utc_s // QUARTER_S) * QUARTER_S
        if quarter != self._quarter:
            if self._quarter is not None and self._whole.seen_s > QUARTER_S / 2:
                latest_w = self._end.w if self._end.seen_s > LATEST_S / 2 else None
                self._observe(self._quarter, self._whole.w, latest_w)
            self._quarter, self._whole, self._end = quarter, _Mean(), _Mean()
        elif self._last_s is not None and w is not None and 0 < utc_s - self._last_s < 60:
            self._whole.add(w, utc_s - self._last_s)
            if utc_s > quarter + QUARTER_S - LATEST_S:
                self._end.add(w, utc_s - self._last_s)
        self._last_s = utc_s


class _Mean:
    """A mean weighted by time, W >= 0."""

    def __init__(self) -> None:
        self._energy_ws = self.seen_s = 0.0

    def add(self, w: float, for_s: float) -> None:
        """A power, and for how long it was."""
        self._energy_ws += w * for_s
        self.seen_s += for_s

    @property
    def w(self) -> float:
        """The mean; asked only once something was seen."""
        return max(0.0, self._energy_ws / self.seen_s)


class PlanKeeper:
    """The plan in force, and what makes the next one. A failed, late or faulty plan leaves the last good one."""

    def __init__(self, site: Site, prices: PriceSeries, on_plan: Callable[[Plan], None]) -> None:
        self.plan: Plan | None = None
        self.error = ""
        self._site, self._prices, self._on_plan = site, prices, on_plan
        self._source = PlanSource(site.dispatch)
        self._load_mean = QuarterMean(self._source.observe_load)
        self._pv_mean = QuarterMean(lambda start_s, w, _latest_w: self._source.observe_pv(start_s, w))
        self._last: Snapshot | None = None
        self._orders: tuple[Order, ...] = ()  # of the battery, as the last tick had them
        self._thread = ThreadPoolExecutor(1, "planner")
        self.at_risk: dict[str, str] = {}  # why a reservation, by id, could not be kept as things stand
        self._news = asyncio.Event()  # a reason to plan anew before the period is over

    def observe(self, snapshot: Snapshot) -> None:
        """Learn from one snapshot."""
        self._last = snapshot
        self._load_mean.add(snapshot.utc_s, snapshot.load_w)
        self._pv_mean.add(snapshot.utc_s, snapshot.pv_w)

    def reserve(self, reservations: Sequence[Reservation]) -> None:
        """Power is promised to these jobs from now on (`PlanSource.reserve`): plan anew at once."""
        self._source.reserve(reservations)
        self._news.set()

    def ordered(self, orders: Sequence[Order]) -> None:
        """These orders stand. One of the battery that is new or over: plan anew at once."""
        standing = tuple(order for order in orders if order.kind in ON_BATTERY)
        if standing != self._orders:
            self._orders = standing
            self._news.set()

    async def run(self, gateway: Gateway) -> None:
        """Solve every `plan.period_s` of site time, at once without a plan or on news, until cancelled."""
        if not self._site.plan.enabled or not self._site.battery:
            return
        clock, period_s = gateway.clock, self._site.plan.period_s
        while True:
            self._news.clear()
            inputs = self.inputs(gateway)
            if inputs is None:
                await asyncio.sleep(gateway.punctuality.period_s)
                continue
            await self._solve(gateway, inputs)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), (period_s - clock.mono_s() % period_s) / clock.speed)

    def inputs(self, gateway: Gateway) -> PlanInputs | None:
        """What a plan is made of now, or None while the site is not known well enough. Without a battery SoC is 0."""
        snapshot = self._last
        if snapshot is None:
            return None
        soc_pct, load_w, pv_w = snapshot.soc_pct, snapshot.load_w, snapshot.pv_w
        if not self._site.battery:
            soc_pct = 0.0
        if soc_pct is None or load_w is None or pv_w is None:
            return None
        now = Now(
            utc_s=snapshot.utc_s,
            load_w=load_w,
            pv_w=pv_w,
            soc_pct=soc_pct,
            month_peak_w=gateway.controller.month_peak_w,
            next_day_peak_w=gateway.controller.next_day_peak_w,
            interval_energy_wh=gateway.controller.interval.energy_wh,
            orders=gateway.orders.active,
            caps=counted_on(self._site.dispatch, gateway.published.decision.caps if gateway.published else None),
        )
        return self._source.inputs(now, self._prices)

    def learn(self, load_w: dict[int, float], pv_w: dict[int, float]) -> None:
        """Take in quarter-hour means of the past, keyed by their start, before the first plan."""
        for start_s in sorted(load_w):
            self._source.observe_load(start_s, load_w[start_s])
        for start_s in sorted(pv_w):
            self._source.observe_pv(start_s, pv_w[start_s])

    async def _solve(self, gateway: Gateway, inputs: PlanInputs) -> None:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self._source.make, inputs, self.plan)
        try:
            plan, faults = await asyncio.wait_for(asyncio.shield(work), self._site.plan.deadline_s)
        except TimeoutError:
            self._failed(gateway, f"no plan within {self._site.plan.deadline_s:g} s; the last one stays")
            await asyncio.wait([work])
            return
        except PlanFailed as error:
            self._failed(gateway, f"no plan: {error}; the last one stays")
            return
        if faults:
            self._failed(gateway, f"plan refused by its check: {'; '.join(faults[:3])}")
            return
        if self.error:
            gateway.event("plan", "info", "planner", "plans are made again")
        self.error = ""
        self.plan = plan
        self._on_plan(plan)
        await self._watch_promises(gateway, inputs, plan)

    async def _watch_promises(self, gateway: Gateway, inputs: PlanInputs, plan: Plan) -> None:
        """Say when a reservation could no longer be kept, as things stand, and when it can again."""
        standing = [r for r in inputs.reservations if not r.over(inputs.now_utc_s)]

        def look() -> dict[str, str]:
            return {r.id: short_of(r, inputs, plan) for r in standing}

        loop = asyncio.get_running_loop()
        before, self.at_risk = self.at_risk, await loop.run_in_executor(self._thread, look) if standing else {}
        for r in standing:
            why, was = self.at_risk[r.id], before.get(r.id, "")
            if bool(why) != bool(was):
                text = f"is at risk: {why}" if why else "can be kept again"
                when = clock(r.start_utc_s, self._site.dispatch)
                severity = "warning" if why else "info"
                gateway.event("plan", severity, "reservation", f"reservation {r.name} at {when} {text}")

    def _failed(self, gateway: Gateway, error: str) -> None:
        if error != self.error:
            gateway.event("plan", "warning", "planner", error)
        self.error = error

    def close(self) -> None:
        """Join the solver's thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
