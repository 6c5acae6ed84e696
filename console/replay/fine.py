"""Replays in sub-second steps: the controller at the site's tick rate on the twin's physics, in lock-step.

The load is the trace, the PV too; grid meter and PCS are the twin's, with its delay, lag and ramp. Where the coarse
replay lets the controller see each step's own load, here it sees what a late meter shows: what is proven is how far
import strays from the ramp limit and the interval's budget on a load that jumps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from console.replay.engine import Case, PlanCounts, Schedule
from console.replay.samples import Samples
from console.replay.traces import Publication, Trace, utc
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.battery_ratings import site_soc_pct
from dispatch.control.controller import Controller
from dispatch.forecasting.load import LATEST_S
from dispatch.model.decision import Mode
from dispatch.model.forecast import QUARTER_S
from dispatch.model.plan import Plan
from dispatch.planning.inputs import PlanFailed
from dispatch.planning.pipeline import PlanningState, PlanSource
from drivers.clock import VirtualClock
from drivers.twin.config import TwinConfig
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite
from drivers.twin.pv import TwinPv
from gateway.site.schema import Site

PHYSICS_MS = 20
INSIDE_MS = 0.5  # the physics look at the load when a slice ends; what held in the slice is just before
SECOND_MS = 1000
RAMP_WINDOWS_S = (1, 5, 10)


class FineCase(msgspec.Struct, frozen=True, kw_only=True):
    """What is replayed: a site file, samples of its load, from when to when in which steps."""

    site: Site
    prices: PriceSeries
    load: Samples
    pv: Trace | None
    start_s: int
    end_s: int
    step_ms: int
    soc_pct: float = 50.0
    notes: tuple[str, ...] = ()  # what must be said of the inputs
    meter_delay_s: float | None = None  # None: the site file's [twin], else the middle of what [grid] proves
    pcs_lag_s: float | None = None

    @property
    def twin(self) -> TwinConfig:
        """The physics: the site file's twin where it has one, at this SoC and start."""
        grid = self.site.grid
        changes: dict[str, Any] = {"soc_pct": self.soc_pct, "host_node": False}
        if self.site.twin is None:
            changes["meter_delay_s"] = (grid.meter_delay_min_s + grid.meter_delay_max_s) / 2
        if self.meter_delay_s is not None:
            changes["meter_delay_s"] = self.meter_delay_s
        if self.pcs_lag_s is not None:
            changes["pcs_lag_s"] = self.pcs_lag_s
        changes["start_utc"] = datetime.fromtimestamp(self.start_s, UTC).isoformat()
        return msgspec.structs.replace(self.site.twin or TwinConfig(), **changes)


class TracePv(TwinPv):
    """An inverter whose sun is a trace."""

    def __init__(self, id: str, available_w: Callable[[float], float]) -> None:
        super().__init__(id, 0.0, 0, 0.0, (0.0, 0.0))
        self._available_w = available_w

    def update(self, t_s: float) -> None:
        """Set `available_w` for `t_s`, seconds from the start."""
        self.available_w = self._available_w(t_s)


class FineReplay:
    """One run. `run` yields after each step, so that whoever runs it can stop anywhere."""

    def __init__(self, case: FineCase) -> None:
        _check(case)
        self.case, self.plan_counts = case, PlanCounts()
        self.schedule = Schedule(case.start_s, case.step_ms / 1000)
        site, start_s = case.site, case.start_s
        self._config = site.dispatch
        twin = case.twin
        physics = TwinSite.from_sections(
            twin, site.grid, site.battery, site.pcs, site.meter, (), site.switch, (),
            load_w=lambda t_s: case.load.at(1000 * (start_s + t_s) - INSIDE_MS),
        )  # fmt: skip
        if case.pv is not None:
            physics.pv.append(TracePv("pv", lambda t_s: _at(case.pv, start_s + t_s - INSIDE_MS / 1000)))
        self._clock = VirtualClock(float(start_s))
        self._twin = LockstepSite(physics, self._clock, stale_after_s=site.io.stale_after_s)
        self._controller = Controller(self._config)
        self._source = PlanSource(self._config)
        self._published = Publication(case.prices, self._config.timezone)
        self._plan: Plan | None = None
        self._seq = 0
        self._tick_ms = round(SECOND_MS / site.gateway.rate_hz)

    def run(self) -> Iterator[Schedule]:
        """Step through the case."""
        case, physics = self.case, self._twin.site
        slice_ms = math.gcd(PHYSICS_MS, self._tick_ms, case.step_ms)
        t_ms = 0
        for _ in range((case.end_s - case.start_s) * SECOND_MS // case.step_ms):
            battery = load = pv = 0.0
            for _ in range(case.step_ms // slice_ms):
                if t_ms % self._tick_ms == 0:
                    self._tick(t_ms)
                self._twin.advance(slice_ms / 1000)
                t_ms += slice_ms
                battery += sum(p.w for p in physics.pcs)
                load += physics.load_w
                pv += sum(p.w for p in physics.pv)
            n = case.step_ms // slice_ms
            self.schedule.add(battery / n, load / n, pv / n, self._soc_pct())
            yield self.schedule

    def _tick(self, t_ms: int) -> None:
        """Read, decide, write, as a gateway does; a plan at the start and at each quarter hour."""
        snapshot = self._twin.snapshot(self._seq)
        self._controller.account(snapshot)
        utc_ms = self.case.start_s * SECOND_MS + t_ms
        if self._config.batteries and (self._seq == 0 or utc_ms % (QUARTER_S * SECOND_MS) < self._tick_ms):
            self._make_plan(utc_ms // SECOND_MS)
        decision = self._controller.step(snapshot, self._plan)
        self.plan_counts.safe_steps += decision.mode is Mode.SAFE
        self._twin.apply(decision)
        self._seq += 1

    def _soc_pct(self) -> float:
        return site_soc_pct(self._config, {p.battery.config.id: p.battery.soc_pct for p in self._twin.site.pcs})

    def _make_plan(self, utc_s: int) -> None:
        """From the quarter that has ended, if it was played from its beginning, and what flows now."""
        site, ended_s = self._twin.site, utc_s // QUARTER_S * QUARTER_S
        if ended_s - QUARTER_S >= self.case.start_s:
            rows, latest = (round(s / self.schedule.step_s) for s in (QUARTER_S, LATEST_S))
            load_w = self.schedule.load_w[-rows:]
            self._source.observe_load(ended_s - QUARTER_S, sum(load_w) / rows, sum(load_w[-latest:]) / latest)
            self._source.observe_pv(ended_s - QUARTER_S, sum(self.schedule.pv_w[-rows:]) / rows)
        now = PlanningState(
            utc_s=float(utc_s),
            load_w=site.load_w,
            pv_w=sum(p.w for p in site.pv),
            soc_pct=self._soc_pct(),
            month_peak_w=self._controller.month_peak_w,
            levels=self._controller.charge_levels,
            billed_before_w=self._controller.billed_before_w,
            interval_energy_wh=self._controller.interval.energy_wh,
            interval_least_w=self._controller.interval_least_w,
            balance=self._controller.balance.wanted(float(utc_s)),
        )
        inputs = self._source.inputs(now, self._published.known_at(utc_s))
        try:
            plan, faults = self._source.make(inputs)
        except PlanFailed as error:
            self.plan_counts.failed, self.plan_counts.trouble = self.plan_counts.failed + 1, str(error)
            return
        if faults:
            self.plan_counts.refused, self.plan_counts.trouble = self.plan_counts.refused + 1, "; ".join(faults[:3])
            return
        self.plan_counts.plans += 1
        self.plan_counts.solve_ms.append(plan.solve_ms)
        self._plan = plan

    # ── what it comes to ────────────────────────────────────────────────────────────────────────────────────────────

    def by_second(self) -> tuple[Case, Schedule]:
        """Means over whole seconds, as a case and a schedule, for bill and chart; without an incomplete last second."""
        case, fine = self.case, self.schedule
        step_s = max(1, case.step_ms // SECOND_MS)
        rows = max(1, SECOND_MS // case.step_ms)
        coarse = Schedule(case.start_s, step_s)
        for k in range(0, len(fine) - rows + 1, rows):
            part = slice(k, k + rows)
            battery, load, pv = (sum(w[part]) / rows for w in (fine.battery_w, fine.load_w, fine.pv_w))
            coarse.add(battery, load, pv, fine.soc_pct[k + rows - 1])
        whole = Case(
            config=self._config,
            prices=case.prices,
            load=Trace(case.start_s, step_s, coarse.load_w, case.load.notes),
            pv=Trace(case.start_s, step_s, coarse.pv_w),
            start_s=case.start_s,
            end_s=case.end_s,
            step_s=step_s,
            soc_pct=case.soc_pct,
            notes=case.notes,
        )
        return whole, coarse

    def extremes(self) -> dict[str, Any]:
        """Ramp and interval means, W/s and W, of import with the battery and of load less PV.

        Ramps are between neighbouring means of 1, 5 and 10 s: before delay and lag have passed no battery can hold a
        jump, after them it must. Above the limit counts where import moves faster over 1 s, as sampled.
        """
        net = [a - b for a, b in zip(self.schedule.load_w, self.schedule.pv_w, strict=True)]
        grid = [a - b for a, b in zip(net, self.schedule.battery_w, strict=True)]
        step_s, config = self.schedule.step_s, self._config
        limit = config.grid.ramp_w_per_s
        ramp: dict[str, Any] = {"limit_w_per_s": limit or None}
        for window_s in RAMP_WINDOWS_S:
            rows = max(1, round(window_s / step_s))
            for name, values in (("import", grid), ("net_load", net)):
                steepest = max(mean_slopes(values, rows, step_s), default=0.0)
                ramp[f"{name}_max_w_per_s_of_{window_s}s_means"] = round(steepest, 1)
        if limit:
            rows = max(1, round(1 / step_s))
            allowed = limit + 2 * config.rules.deadband_w / (rows * step_s)  # the rule lets import flicker by that
            above = [s > allowed for s in slopes(grid, rows, step_s)]
            ramp["import_above_limit_s"] = round(sum(above) * step_s, 3)
            ramp["import_longest_above_limit_s"] = round(longest(above) * step_s, 3)
        intervals = [self._means(grid), self._means(net)]
        whole = [
            {"start_utc_s": start, "import_w": round(w, 1), "net_load_w": round(intervals[1][start], 1)}
            for start, w in intervals[0].items()
        ]
        return {
            "twin": {"meter_delay_s": self.case.twin.meter_delay_s, "pcs_lag_s": self.case.twin.pcs_lag_s},
            "tick_s": self._tick_ms / 1000,
            "ramp": ramp,
            "interval": {
                "limit_w": config.grid.contracted_peak_w,
                "whole": len(whole),
                "import_max_w": max((one["import_w"] for one in whole), default=None),
                "net_load_max_w": max((one["net_load_w"] for one in whole), default=None),
                "means": whole,
            },
        }

    def _means(self, values: Sequence[float]) -> dict[int, float]:
        """Mean of what is above 0 over each metering interval played from end to end, by its start."""
        length_s, step_ms = self._config.grid.metering_interval_s, self.case.step_ms
        rows = length_s * SECOND_MS // step_ms
        first_s = -(-self.case.start_s // length_s) * length_s
        found = {}
        for start_s in range(first_s, self.case.end_s - length_s + 1, length_s):
            k = (start_s - self.case.start_s) * SECOND_MS // step_ms
            if k + rows <= len(values):
                found[start_s] = sum(max(w, 0.0) for w in values[k : k + rows]) / rows
        return found


def _at(trace: Trace | None, utc_s: float) -> float:
    """The value of a trace at an instant."""
    if trace is None:
        return 0.0
    return trace.w[min(max(int((utc_s - trace.start_s) // trace.step_s), 0), len(trace.w) - 1)]


def _check(case: FineCase) -> None:
    """Raises ValueError for steps that do not fit into seconds or the metering interval, and for a load that ends."""
    step_ms, length_s = case.step_ms, case.site.grid.metering_interval_s
    fits = step_ms > 0 and (SECOND_MS % step_ms == 0 or (length_s * SECOND_MS) % step_ms == step_ms % SECOND_MS == 0)
    if not fits:
        raise ValueError(
            f"step of {step_ms} ms: expected to divide a second, or whole seconds that divide {length_s} s"
        )
    if case.end_s <= case.start_s or (case.start_s * SECOND_MS) % step_ms or (case.end_s * SECOND_MS) % step_ms:
        raise ValueError(
            f"from {utc(case.start_s)} to {utc(case.end_s)}: expected whole steps of {step_ms} ms between them"
        )


def slopes(values: Sequence[float], rows: int, step_s: float) -> list[float]:
    """How fast a power changes, W/s, over windows of so many rows; without sign."""
    return [abs(b - a) / (rows * step_s) for a, b in zip(values, values[rows:], strict=False)]


def mean_slopes(values: Sequence[float], rows: int, step_s: float) -> list[float]:
    """The same between the mean of so many rows and that of the ones after them."""
    sums = list(accumulate(values, initial=0.0))
    means = [(b - a) / rows for a, b in zip(sums, sums[rows:], strict=False)]
    return slopes(means, rows, step_s)


def longest(flags: Sequence[bool]) -> int:
    """The longest run of True."""
    edges = [-1, *(k for k, flag in enumerate(flags) if not flag), len(flags)]
    return max(b - a - 1 for a, b in pairwise(edges))
