"""Decides under uncertainty how far the month's peak may rise, from the site's own past.

Nobody forecasts the next pulse; but the last two weeks contain many quarter hours like the present one, and what
followed each. For every past quarter hour a table says how low the battery could have kept the import of the following
day with a given energy (by hindsight, recharging below the peak as fast as it allows). Three results follow from that
table, none of which needs a constant of the site:

* `target_w`: how far the peak may rise now, where that is not left to the plan's own (`lp_peaks.gives_way_late`). It is
  the level at which four costs together are least over the rest of the month: the peak itself, the energy missing to
  keep it (GPU caps, or else more peak), the rise when the battery runs empty all the same, and what the battery earns
  less on prices while it keeps it (`dispatch.planning.peak.upkeep`). For the next day they are counted over scenarios:
  the load's forecast, with the known jobs in it, each time with the errors of the forecast made at a quarter hour like
  this one.
* `rises`: what a higher peak costs beyond what the month will cost anyway (`dispatch.planning.peak.exceedance`); a peak
  that the rest of the month is likely to exceed is hardly worth defending now.
* `ready`: what a stored kWh is worth at each coming quarter hour if the next pulse begins there, layer by layer; the
  plan weighs it against what the energy earns.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dispatch.billing.billed_peaks import BilledPeak
from dispatch.billing.demand_charge import interval_account
from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from dispatch.billing.peak_charges import main_charge
from dispatch.config.battery_ratings import full_kwh, mean_efficiency, reserve_soc_pct
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig, DispatchConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.planning.peak.exceedance import (
    DAY,
    HOURS,
    WHOLE_MONTH,
    DayStatistics,
    PeakCost,
    Period,
    billed_months,
    peak_cost,
    summarise,
)
from dispatch.planning.peak.upkeep import Upkeep, UpkeepBook

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MEMORY = 14 * DAY  # quarters looked back to: whole weeks, short enough to follow a site that changes
LAYERS = 5  # equal parts of the energy between reserve and full
LIKE_NOW = 64  # past quarters taken for like the present one
SAME_TIME = 12  # quarters of the day, either way, within which they are looked for: the sun and people's habits
ENOUGH = 2 * DAY  # quarters with a known following day before any of this means something
BATCH = 16  # quarters whose following day is worked out together
BISECTIONS = 9
PEAKS_TRIED, FINER = 17, 9
LEVELS = 161  # peaks up to the fuse that a battery is tried on
LASTING = 6  # guesses of how long the present level lasts
GAP = DAY  # a longer gap in the record starts it anew


class Rise(msgspec.Struct, frozen=True):
    """The next `width_w` of peak, and the share of the demand price that they are expected to cost, 0..1."""

    width_w: float
    share: float


class PeakOutlook(msgspec.Struct, frozen=True):
    """What the past says of the month's peak, for one plan."""

    target_w: float  # keep the running interval's mean import here; never below the month's peak so far
    rises: tuple[Rise, ...]  # from the month's peak so far upwards; the last holds for everything above
    usual_w: float  # the lowest peak that the battery alone could have held over all that is remembered
    ready: tuple[tuple[float, ...], ...]  # [step][layer, lowest first]: share of the demand price, kW per kWh stored
    ends_w: tuple[float, float] = (0.0, 0.0)  # between which four months of five like this one end
    days: float = 0.0  # whole days that are remembered


class PeakForecaster:
    """Feed it each finished quarter hour in order; ask it before each plan."""

    def __init__(self, config: DispatchConfig, terms: DemandTerms | None = None) -> None:
        """`terms`: of the charge whose peak is meant; None: of the main one."""
        self._energy_kwh = config.energy_kwh
        self._reserve_kwh = reserve_soc_pct(config) / 100 * config.energy_kwh
        self._usable_kwh = max(0.0, full_kwh(config) - self._reserve_kwh)
        self._charge_kw, self._discharge_kw = config.charge_w / 1000, config.discharge_w / 1000
        self._in, self._out = mean_efficiency(config)
        self.terms, self._timezone = terms or main_charge(config), config.timezone
        self.caps = config.caps  # what may be counted on; nodes that take none come and go
        self._demand = self.terms.rise_eur_per_kw
        self._first = 0  # quarter number of the first entry of the lists
        self._load_kw, self._net_kw = array("d"), array("d")  # numpy takes these over as they are
        self._paths_kw: list[Floats] = []  # load of the following day as it was forecast at the end of each quarter
        self._held: Floats | None = None  # for each quarter whose following day is known: peak held, kW, by energy
        self._levels_kw: Floats | None = None  # peaks that a battery each has held since the record began, if it could
        self._stored_kwh: Floats | None = None  # what each of them has left
        self._lack_kw: list[Floats] = []  # in each quarter, what each lacks to hold its peak
        self._days: dict[bool, DayStatistics] = {}  # summed up without caps and with them
        self._fuse_kw = config.grid.fuse_w / 1000
        self._upkeep = UpkeepBook(config)

    def observe(self, start_utc_s: int, load_w: float, pv_w: float, path_w: Sequence[float] = ()) -> None:
        """Take the means of the quarter hour that began at `start_utc_s`. A short gap counts as the load held.

        `path_w`: what was forecast at its end of the load of the following day; the load held where it is shorter.
        """
        quarter = start_utc_s // QUARTER_S
        following = self._first + len(self._load_kw)
        if self._load_kw and quarter < following:
            return
        if not self._load_kw or quarter - following > GAP:
            self._first, self._held, self._stored_kwh = quarter, None, None
            for kept in (self._load_kw, self._net_kw, self._paths_kw, self._lack_kw):
                del kept[:]
        else:
            for _ in range(quarter - following):
                self._append(self._load_kw[-1], self._net_kw[-1], ())
        net_kw, counts = (load_w - pv_w) / 1000, self._counts(start_utc_s)
        self._upkeep.observe(quarter, net_kw, counts)
        # in hours that do not count towards the peak nothing is held, and the battery recharges as fast as it can
        self._append(load_w / 1000, net_kw if counts else -self._charge_kw, path_w)
        excess = len(self._load_kw) - MEMORY
        if excess > 0:
            self._first += excess
            for kept in (self._load_kw, self._net_kw, self._paths_kw, self._lack_kw):
                del kept[:excess]
            self._held = None if self._held is None else self._held[excess:]

    def _counts(self, start_utc_s: int) -> bool:
        """Whether an interval's mean counts towards the peak."""
        return interval_account(self.terms, self._timezone, start_utc_s).counts

    def _append(self, load_kw: float, net_kw: float, path_w: Sequence[float]) -> None:
        """One more quarter. Each battery that holds a peak does nothing else; one that failed goes on empty."""
        import numpy as np

        self._load_kw.append(load_kw)
        self._net_kw.append(net_kw)
        self._paths_kw.append(_day(path_w, load_kw))
        if self._levels_kw is None:
            self._levels_kw = np.linspace(0.0, self._fuse_kw, LEVELS)
        if self._stored_kwh is None:
            self._stored_kwh = np.full(LEVELS, self._usable_kwh)
        over = net_kw - self._levels_kw
        stored = np.minimum(self._stored_kwh + self._changes_kwh(over), self._usable_kwh)
        lack_kw = np.maximum(0.0, -stored) * self._out / HOURS
        self._lack_kw.append(np.maximum(lack_kw, over - self._discharge_kw))
        self._stored_kwh = np.maximum(stored, 0.0)

    def _changes_kwh(self, over_kw: Floats) -> Floats:
        """What the energy stored changes by in a quarter in which the net load is so far above the peak that is held.

        Of discharging and charging the smaller change is the one meant: both lose energy.
        """
        import numpy as np

        room = -over_kw
        changes: Floats = HOURS * np.minimum(room / self._out, np.minimum(room, self._charge_kw) * self._in)
        return changes

    def net_w(self) -> list[float]:
        """Net load of each quarter hour remembered, W."""
        return [1000 * kw for kw in self._net_kw]

    def outlook(
        self,
        steps: int,
        soc_pct: float,
        month_peak_w: float,
        days_left: float,
        prices: PriceSeries = NO_PRICES,
        path_w: Sequence[float] = (),
        pv_w: Sequence[float] = (),
        billed: Sequence[BilledPeak] = (),
        period: Period = WHOLE_MONTH,
        certain_w: float = 0.0,
    ) -> PeakOutlook | None:
        """What the past says; None while it is too short, or where no battery can hold anything or peaks cost nothing.

        `days_left`: the days of the billing month still to come; `prices`: of the days seen, as far as they
        are known; `path_w`, `pv_w`: what is forecast of load and PV from the quarter after the last one observed on,
        the load held where that is not given; `billed`: what earlier months were billed; `period`: what is left of the
        running one; `certain_w`: the peak that announced jobs make certain.
        """
        if self._demand <= 0 or self._usable_kwh <= 0 or len(self._load_kw) - DAY < ENOUGH:
            return None
        import numpy as np

        held = self._held_peaks()
        stored_kwh = min(max(soc_pct / 100 * self._energy_kwh - self._reserve_kwh, 0.0), self._usable_kwh)
        peak_kw, load_kw = month_peak_w / 1000, self._load_kw[-1]
        upkeep = self._upkeep.ask(prices)
        seen, net_kw = self._day_statistics(self.caps), np.array(self._net_kw)
        ways = [self._day_statistics(CapsConfig()), seen] if self.caps.max_share > 0 else [seen]
        taken_off_kw = max(0.0, float(net_kw.max()) - self._day_statistics(CapsConfig()).usual_kw)
        months = billed_months(billed, taken_off_kw, period)
        certain_kw = certain_w / 1000
        cost = peak_cost(ways, self.terms, net_kw, peak_kw, days_left, upkeep, months, certain_kw)
        like = self._similar_quarters(load_kw, len(held))
        futures = self._futures(like, _day(path_w, load_kw), _day(pv_w, 0.0), peak_kw)
        target_kw = self._target(futures, stored_kwh, max(peak_kw, certain_kw), days_left, upkeep)
        ready = self._readiness(held, like, futures, max(peak_kw, target_kw), cost, steps)
        rises = tuple(Rise(1000 * w, s) for w, s in zip(cost.widths_kw, cost.shares, strict=True))
        return PeakOutlook(
            target_w=1000 * target_kw,
            rises=rises,
            usual_w=1000 * seen.usual_kw,
            days=seen.days,
            ends_w=(1000 * cost.ends_kw[0], 1000 * cost.ends_kw[1]),
            ready=tuple(map(tuple, ready.tolist())),
        )

    def _held_peaks(self) -> Floats:
        """The table of peaks held, for every quarter whose following day has passed; filled a batch at a time."""
        import numpy as np

        held = np.empty((0, LAYERS + 1)) if self._held is None else self._held
        while len(held) + BATCH + DAY <= len(self._net_kw):
            net = np.array(self._net_kw[len(held) : len(held) + BATCH + DAY])
            days = np.lib.stride_tricks.sliding_window_view(net, DAY)[:BATCH]
            stored = np.linspace(0.0, self._usable_kwh, LAYERS + 1)
            peaks = self._hold(np.repeat(days, LAYERS + 1, axis=0), np.tile(stored, BATCH))
            held = np.concatenate([held, peaks.reshape(BATCH, LAYERS + 1)])
        self._held = held
        return held

    def _hold(self, paths_kw: Floats, stored_kwh: Floats) -> Floats:
        """Lowest peak that could have been held over each path from each stored energy: greedy, by bisection."""
        import numpy as np

        low, high = np.zeros(len(paths_kw)), np.maximum(paths_kw.max(axis=1), 0.1)
        columns: Floats = np.ascontiguousarray(paths_kw.T)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            changes, stored, lowest = self._changes_kwh(columns - middle), stored_kwh.copy(), stored_kwh.copy()
            for change_kwh in changes:
                stored += change_kwh
                np.minimum(stored, self._usable_kwh, out=stored)
                np.minimum(lowest, stored, out=lowest)
            holds = (lowest >= 0) & (columns.max(axis=0) - middle <= self._discharge_kw)
            high, low = np.where(holds, middle, high), np.where(holds, low, middle)
        held: Floats = high
        return held

    def _day_statistics(self, caps: CapsConfig) -> DayStatistics:
        """How the days seen would have gone with each peak. Summed up once a batch, without caps and with them."""
        import numpy as np

        capping = caps.max_share > 0
        newest, seen = self._first + len(self._net_kw), self._days.get(capping)
        if seen is None or (capping and seen.caps != caps) or not seen.newest <= newest < seen.newest + BATCH:
            assert self._levels_kw is not None
            whole = len(self._lack_kw) // DAY * DAY
            lack_kw, load_kw = (np.array(kind[-whole:]) for kind in (self._lack_kw, self._load_kw))
            self._days[capping] = seen = summarise(newest, caps, self._levels_kw, lack_kw, load_kw)
        return seen

    def _target(self, futures: _Futures, stored_kwh: float, peak_kw: float, days_left: float, upkeep: Upkeep) -> float:
        """The peak, kW, whose own price and that of holding it are least over the rest of the month.

        Held by caps, and by a battery that then earns less on prices. For the day to come by what the
        futures lack at what is stored, then by the mean of the days seen.
        """
        import numpy as np

        seen, later_days = self._day_statistics(self.caps), max(0.0, days_left - 1)
        capping = self.caps.max_share > 0
        # without caps, a kW short for a day is a kW of peak
        value = self.caps.value_eur_per_kwh if capping else self._demand / 24
        top_kw = max(peak_kw + 1.0, float(futures.net_kw.max()))
        levels = np.linspace(peak_kw, top_kw, PEAKS_TRIED)
        for tried in (PEAKS_TRIED, FINER):
            short_kwh, rise_kw = self._shortfall(futures, levels, stored_kwh)
            soon_kwh, beyond_kw = futures.weights @ short_kwh, futures.weights @ rise_kw
            if capping and later_days > 0:
                beyond_kw = seen.highest_kw(futures.weights, rise_kw, levels, later_days)
            later_kwh = later_days * np.interp(levels, seen.grid_kw, seen.short_kwh)
            upkeep_eur = max(0.0, days_left) * upkeep.eur_at(levels)
            total = self._demand * (levels - peak_kw + beyond_kw) + value * (soon_kwh + later_kwh) + upkeep_eur
            best = int(np.argmin(total))
            target_kw = float(levels[best])
            levels = np.linspace(levels[max(best - 1, 0)], levels[min(best + 1, tried - 1)], FINER)
        return target_kw

    def _shortfall(self, futures: _Futures, levels_kw: Floats, stored_kwh: float) -> tuple[Floats, Floats]:
        """For each future and level: the energy, kWh, that caps give while the battery cannot hold it, and by how many
        kW import rises above it all the same (a cap is no deeper than its share). In steps of half an hour.
        """
        import numpy as np

        hours, shape = 2 * HOURS, (len(futures.net_kw), len(levels_kw))
        short, rise = np.zeros(shape), np.zeros(shape)
        nets, loads = (kw.reshape(shape[0], -1, 2).mean(axis=2).T for kw in (futures.net_kw, futures.load_kw))
        passes = nets.max(axis=0)[:, None] > levels_kw  # a future that never passes a level lacks nothing to hold it
        of, level = np.nonzero(passes)
        over = np.ascontiguousarray(nets[:, of]) - levels_kw[level]  # half hours by rows: added up one after the other
        battery = np.maximum(over, -self._charge_kw)  # what is asked of it, then what it can give
        stored = np.full(len(of), stored_kwh)
        for kw in battery:
            np.minimum(kw, np.minimum(stored * (self._out / hours), self._discharge_kw), out=kw)
            stored -= hours * np.maximum(kw / self._out, kw * self._in)  # both ways lose: the larger draw
            np.minimum(stored, self._usable_kwh, out=stored)
        lack = np.maximum(0.0, over - battery)
        held = lack
        if self.caps.max_share > 0:
            deepest = self.caps.max_share * np.maximum(0.0, loads - self.caps.idle_w / 1000)
            held = np.minimum(lack, np.ascontiguousarray(deepest[:, of]))
            lack = lack - held
        short[passes], rise[passes] = (hours * held).sum(axis=0), lack.max(axis=0)
        return short, rise

    def _similar_quarters(self, load_kw: float, known: int) -> NDArray[np.intp]:
        """Past quarters like the one just over: the nearest in load."""
        import numpy as np

        past = np.arange(known - 1)  # what followed each is in the table
        ahead = len(self._load_kw) - 1 - past
        past = past[np.abs((ahead + DAY // 2) % DAY - DAY // 2) <= SAME_TIME]
        loads = np.array(self._load_kw)[past]
        like: NDArray[np.intp] = past[np.argsort(np.abs(loads - load_kw), kind="stable")[:LIKE_NOW]]
        return like

    def _futures(self, like: NDArray[np.intp], path_kw: Floats, sun_kw: Floats, peak_kw: float) -> _Futures:
        """The day to come as it is forecast, each time with the errors of the forecast made at a quarter like this one.

        A few pulses are all that a fortnight shows, so one more guess stands beside them, with the weight of one more
        day: that the load stays as forecast for a while and then goes. What has been above the peak for some time may
        be expected to last as long again: for how long is drawn so (Pareto, as job lengths are).
        """
        import numpy as np

        load = np.array(self._load_kw)
        after = np.lib.stride_tricks.sliding_window_view(load, DAY)[like + 1]
        errors = after - np.array([self._paths_kw[k] for k in like.tolist()])
        seen = np.clip(path_kw + errors, float(load.min()), max(float(load.max()), float(path_kw.max())))
        lasted_h = self._above_h(peak_kw)
        parts = (np.arange(LASTING) + 0.5) / LASTING
        lasting_h = lasted_h * parts / (1 - parts)
        gone = HOURS * np.arange(DAY) >= lasting_h[:, None]
        guessed = np.where(gone, np.minimum(path_kw, float(np.median(load))), path_kw)
        loads = np.concatenate([seen, guessed])
        alike = self._similarity(like, peak_kw, lasted_h)
        best = np.zeros(MEMORY // DAY + 1)
        np.maximum.at(best, like // DAY, alike)
        days = float(best.sum())
        weights = np.concatenate([days / (days + 1) * alike / alike.sum(), np.full(LASTING, 1 / (days + 1) / LASTING)])
        nets = loads - sun_kw
        if self.terms.windows:
            starts_s = (QUARTER_S * (self._first + len(load) + np.arange(DAY))).tolist()
            free = [not self._counts(s) for s in starts_s]
            nets[:, free] = -self._charge_kw
        return _Futures(loads, nets, weights)

    def _similarity(self, like: NDArray[np.intp], peak_kw: float, lasted_h: float) -> Floats:
        """How similar each of those quarter hours is to now, by how long the load had been as high, 0 to 1."""
        import numpy as np

        net, load = np.array(self._net_kw), np.array(self._load_kw)
        before = like[:, None] - np.arange(DAY)
        shift = self._load_kw[-1] - load[like]
        high = (net[np.maximum(before, 0)] + shift[:, None] > peak_kw) & (before >= 0)
        lasted = np.where(high.all(axis=1), DAY, high.argmin(axis=1))
        apart = np.log2(np.maximum(1, lasted) * HOURS / lasted_h)
        alike: Floats = 1 / (1 + apart**2)
        return alike

    def _above_h(self, peak_kw: float) -> float:
        """For how long the net load has been above the peak, hours; at least a quarter."""
        quarters = 0
        for kw in reversed(self._net_kw[-DAY:]):
            if kw <= peak_kw:
                break
            quarters += 1
        return HOURS * max(1, quarters)

    def _readiness(
        self, held: Floats, like: NDArray[np.intp], futures: _Futures, target_kw: float, cost: PeakCost, steps: int
    ) -> Floats:
        """For each step and layer, what a stored kWh would spare the futures whose pulse begins just after it."""
        import numpy as np

        ready, net, days = np.zeros((steps, LAYERS)), np.array(self._net_kw), futures.net_kw[: len(like)]
        over = days > target_kw
        begins = np.minimum(np.maximum(over.argmax(axis=1), 1), steps - 1)
        some = over.any(axis=1) & (like + 1 + begins < len(held))
        begins, starts = begins[some], (like + 1 + begins)[some]
        higher = days[some, begins] - net[starts]  # now than then; but never than the day's own highest
        needed = np.minimum(held[starts] + higher[:, None], days[some].max(axis=1)[:, None])
        prices = cost.total(np.maximum(cost.peak_kw, needed))
        spares = -np.diff(prices, axis=1) * LAYERS / self._usable_kwh
        if self.caps.max_share > 0:  # where caps could hold it as well, no more than they cost
            highest = futures.load_kw[: len(like)].max(axis=1)[some]
            deep = self.caps.max_share * np.maximum(0.0, highest - self.caps.idle_w / 1000)
            most = np.where(needed[:, 0] - target_kw <= deep, self.caps.value_eur_per_kwh * self._out, np.inf)
            spares = np.minimum(spares, most[:, None] / self._demand)
        np.add.at(ready, begins - 1, spares / len(like))
        sorted_: Floats = -np.sort(-np.maximum(ready, 0.0), axis=1)  # the lowest layer is worth most
        return sorted_


class _Futures(NamedTuple):
    """Days that may come: load and net load in each quarter, kW, and how likely each is."""

    load_kw: Floats
    net_kw: Floats
    weights: Floats


def _day(path_w: Sequence[float], load_kw: float) -> Floats:
    """A day of load, kW; what the forecast does not reach is its last value, without any the present one."""
    import numpy as np

    path_kw = np.full(DAY, path_w[-1] / 1000 if path_w else load_kw)
    path_kw[: len(path_w)] = np.array(path_w[:DAY]) / 1000
    return path_kw
