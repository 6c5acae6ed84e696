"""The month's peak as a decision under uncertainty, from nothing but the site's own past.

Nobody forecasts the next pulse; but the last two weeks hold many quarters much like the present one, and what followed
each of them. For every past quarter a table says how low the battery could have held the import of the following day,
had it held a given energy just then (by hindsight, recharging below the peak as fast as it allows). From that table
three things follow, none of which needs a constant of the site:

* `target_w`: how far the peak may rise now. It is the level at which four things together cost least over the rest of
  the month: the peak itself, the energy that is short of holding it (GPU caps, or else more peak), the rise when the
  battery runs empty all the same, and the trade that stored energy misses while it is kept for the peak.
* `rises`: what a higher peak costs beyond what the month will cost anyway. The rest of the month is as many days as
  it has left, each drawn from the days seen; a peak that it is likely to exceed later is hardly worth defending now.
* `ready`: what a stored kWh is worth at each coming quarter if the next pulse begins there, layer by layer: the plan
  weighs it against what the energy earns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dispatch.config import DispatchConfig
from dispatch.demand import place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEP_S = 900
DAY = 96
MEMORY = 14 * DAY  # quarters looked back to: whole weeks, short enough to follow a site that changes
LAYERS = 5  # equal parts of the energy between reserve and full
LIKE_NOW = 64  # past quarters taken for like the present one
SAME_TIME = 12  # quarters of the day, either way, within which they are looked for: the sun and people's habits
ENOUGH = 2 * DAY  # quarters with a known following day before any of this means something
BATCH = 16  # quarters whose following day is worked out together
BISECTIONS = 9
PEAKS_TRIED = 24
LASTING_H = (1.0, 2.0, 4.0, 8.0, 16.0, 24.0)
HOURS = STEP_S / 3600
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


class PeakWatch:
    """Feed it each finished quarter hour in order; ask it before each plan."""

    def __init__(self, config: DispatchConfig) -> None:
        highest_kwh = sum(b.soc_max_pct * b.energy_kwh for b in config.batteries) / 100
        self._reserve_kwh = config.reserve_soc_pct / 100 * config.energy_kwh
        self._usable_kwh = max(0.0, highest_kwh - self._reserve_kwh)
        self._charge_kw, self._discharge_kw = config.charge_w / 1000, config.discharge_w / 1000
        self._in = min((b.charge_efficiency for b in config.batteries), default=1.0)
        self._out = min((b.discharge_efficiency for b in config.batteries), default=1.0)
        self._terms, self._timezone = config.tariff.demand_terms, config.timezone
        self._caps, self._demand = config.caps, self._terms.rise_eur_per_kw
        self._first = 0  # quarter number of the first entry of the lists
        self._load_kw: list[float] = []
        self._net_kw: list[float] = []
        self._daily: _Daily | None = None
        self._held: list[list[float]] = []  # for each quarter whose following day is known: peak held, kW, by energy

    def observe(self, start_utc_s: int, load_w: float, pv_w: float) -> None:
        """Take the means of the quarter hour that began at `start_utc_s`. A short gap counts as the load held."""
        quarter = start_utc_s // STEP_S
        following = self._first + len(self._load_kw)
        if self._load_kw and quarter < following:
            return
        if not self._load_kw or quarter - following > GAP:
            self._first = quarter
            self._load_kw, self._net_kw, self._held = [], [], []
        else:
            for _ in range(quarter - following):
                self._load_kw.append(self._load_kw[-1])
                self._net_kw.append(self._net_kw[-1])
        self._load_kw.append(load_w / 1000)
        # in hours that do not count towards the peak nothing is held, and the battery recharges as fast as it can
        counts = place(self._terms, self._timezone, start_utc_s).counts
        self._net_kw.append((load_w - pv_w) / 1000 if counts else -self._charge_kw)
        excess = len(self._load_kw) - MEMORY
        if excess > 0:
            self._first += excess
            del self._load_kw[:excess], self._net_kw[:excess], self._held[:excess]

    def outlook(
        self,
        load_w: float,
        steps: int,
        soc_pct: float,
        energy_kwh: float,
        month_peak_w: float,
        days_left: float,
        trade_eur_per_kwh: float = 0.0,
    ) -> PeakOutlook | None:
        """What the past says; None while it is too short, or where no battery can hold anything or peaks cost nothing.

        `load_w` is the load as last known, `days_left` the days of the billing month still to come,
        `trade_eur_per_kwh` what a kWh of battery earns on prices on a day on which it is not kept for the peak.
        """
        if self._demand <= 0 or self._usable_kwh <= 0 or len(self._load_kw) - DAY < ENOUGH:
            return None
        self._work_out()
        import numpy as np

        stored_kwh = min(max(soc_pct / 100 * energy_kwh - self._reserve_kwh, 0.0), self._usable_kwh)
        held, net = np.array(self._held), np.array(self._net_kw)
        peak_kw = month_peak_w / 1000
        cost = self._cost(peak_kw, days_left, trade_eur_per_kwh)
        like, shift = self._like_now(load_w / 1000, len(held))
        futures = self._futures(held[like + 1] + shift[:, None], stored_kwh, like, float(net[-1]))
        target_kw = self._target(
            held[like + 1] + shift[:, None], futures, stored_kwh, peak_kw, days_left, trade_eur_per_kwh
        )
        ready = self._ready(held, net, like, shift, max(peak_kw, target_kw), cost, steps)
        rises = tuple(Rise(1000 * w, s) for w, s in zip(cost.widths_kw, cost.shares, strict=True))
        return PeakOutlook(1000 * target_kw, rises, 1000 * self._overruns().usual_kw, tuple(map(tuple, ready.tolist())))

    def _work_out(self) -> None:
        """Fill the table for every quarter whose following day has passed, a batch at a time."""
        import numpy as np

        while len(self._held) + BATCH + DAY <= len(self._net_kw):
            first = len(self._held)
            net = np.array(self._net_kw[first : first + BATCH + DAY])
            days = np.lib.stride_tricks.sliding_window_view(net, DAY)[:BATCH]
            stored = np.linspace(0.0, self._usable_kwh, LAYERS + 1)
            peaks = self._hold(np.repeat(days, LAYERS + 1, axis=0), np.tile(stored, BATCH))
            self._held.extend(peaks.reshape(BATCH, LAYERS + 1).tolist())

    def _hold(self, paths_kw: Floats, stored_kwh: Floats) -> Floats:
        """Lowest peak that could have been held over each path from each stored energy: greedy, by bisection."""
        import numpy as np

        low, high = np.zeros(len(paths_kw)), np.maximum(paths_kw.max(axis=1), 0.1)
        columns: Floats = np.ascontiguousarray(paths_kw.T)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            stored, lowest = stored_kwh.copy(), stored_kwh.copy()
            for net in columns:
                over = net - middle
                change = np.where(over > 0, -over / self._out, np.minimum(-over, self._charge_kw) * self._in)
                stored = np.minimum(stored + HOURS * change, self._usable_kwh)
                np.minimum(lowest, stored, out=lowest)
            holds = (lowest >= 0) & (columns.max(axis=0) - middle <= self._discharge_kw)
            high, low = np.where(holds, middle, high), np.where(holds, low, middle)
        held: Floats = high
        return held

    def _cost(self, peak_kw: float, days_left: float, trade_eur_per_kwh: float) -> _PeakCost:
        """What a higher peak costs, given the days still to come.

        Less, the likelier they exceed it anyway; and less what holding it would cost on each of them: a kW of peak
        takes as many kWh of battery as the load is above it for hours, and those then earn nothing on prices.
        """
        import numpy as np

        seen_days = self._overruns()
        grid, overrun, days = seen_days.grid_kw, seen_days.overrun, seen_days.days
        top_kw = max(peak_kw + 1.0, seen_days.usual_kw)
        middle_kw = float(np.interp(-0.5, -overrun, grid))
        tail_kw = max(0.5, (top_kw - middle_kw) / float(np.log(days + 1)))
        edges = np.array([peak_kw, (peak_kw + top_kw) / 2, top_kw, top_kw + tail_kw, top_kw + 3 * tail_kw])
        at = np.append((edges[:-1] + edges[1:]) / 2, edges[-1])
        beyond = 1 / (days + 1)  # the chance that a day exceeds all days seen
        seen = beyond + (1 - beyond) * np.interp(at, grid, overrun)
        chance = np.where(at >= top_kw, beyond * np.exp(-np.maximum(0.0, at - top_kw) / tail_kw), seen)
        above_h = 24 * (np.array(self._net_kw)[:, None] > at).mean(axis=0)
        upkeep = max(0.0, days_left) * above_h * trade_eur_per_kwh / self._demand
        lasting = _fewer(self._terms.top_days, chance, max(0.0, days_left))
        shares = np.maximum.accumulate(lasting * np.maximum(0.0, 1 - upkeep))
        return _PeakCost(peak_kw, [*np.diff(edges).tolist(), 1e3], shares.tolist())

    def _overruns(self) -> _Daily:
        """How the days seen would have gone with each of many peaks held by the battery alone.

        One battery for each peak runs through the whole record, doing nothing else. Worked out again once a batch.
        """
        import numpy as np

        if self._daily is None or self._daily.worked_out != self._first + len(self._held):
            net = np.array(self._net_kw)
            grid = np.linspace(0.0, max(1.0, float(net.max())), PEAKS_TRIED)
            stored = np.full(PEAKS_TRIED, self._usable_kwh)
            days = len(net) // DAY
            failed = np.zeros((days + 1, PEAKS_TRIED), dtype=bool)
            short = np.zeros(PEAKS_TRIED)
            for k, kw in enumerate(net.tolist()):
                over = kw - grid
                change = np.where(over > 0, -over / self._out, np.minimum(-over, self._charge_kw) * self._in)
                stored = np.minimum(stored + HOURS * change, self._usable_kwh)
                failed[k // DAY] |= (stored < 0) | (over > self._discharge_kw)
                short -= np.minimum(stored, 0.0)
                np.maximum(stored, 0.0, out=stored)
            daily_kwh = short * self._out * DAY / len(net)
            worked_out = self._first + len(self._held)
            overrun = failed[:days].mean(axis=0)
            usual_kw = float(grid[int(np.argmin(overrun))])
            self._daily = _Daily(worked_out, grid, overrun, daily_kwh, usual_kw, float(days))
        return self._daily

    def _target(
        self,
        held: Floats,
        futures: _Futures,
        stored_kwh: float,
        peak_kw: float,
        days_left: float,
        trade_eur_per_kwh: float,
    ) -> float:
        """The peak, kW, whose own price and that of holding it are least over the rest of the month.

        Held by caps, and by energy of the battery's that then earns nothing on prices.

        The caps' energy: for the day to come what the futures lack at what is stored, then the mean of the days seen.
        """
        import numpy as np

        seen = self._overruns()
        levels = np.linspace(peak_kw, max(peak_kw + 1.0, float(futures.held_kw.max())), PEAKS_TRIED)
        layer_kwh = self._usable_kwh / LAYERS
        needed = np.empty((len(held), PEAKS_TRIED))
        for k, row in enumerate(held):
            last = max((row[-2] - row[-1]) / layer_kwh, 1e-3)
            inside = np.interp(levels, row[::-1], layer_kwh * np.arange(LAYERS, -1, -1.0))
            needed[k] = inside + np.maximum(0.0, row[-1] - levels) / last
        guessed_kw = futures.held_kw[len(held) :] + stored_kwh * self._out / np.array(LASTING_H)
        guessed = np.array(LASTING_H)[:, None] * np.maximum(0.0, guessed_kw[:, None] - levels)
        lacking = np.maximum(0.0, np.concatenate([needed, guessed / self._out]) - stored_kwh) * self._out
        soon_kwh = (lacking * futures.weights[:, None]).sum(axis=0)
        later_kwh = max(0.0, days_left - 1) * np.interp(levels, seen.grid_kw, seen.short_kwh)
        # a cap is no deeper than its share: once the battery is empty, what is above that rises anyway
        deepest_kw = self._caps.max_share * max(0.0, max(self._load_kw) - self._caps.idle_w / 1000)
        left_kw = np.concatenate([held[:, 0], guessed_kw])[:, None] - deepest_kw - levels
        beyond_kw = (np.where(lacking > 0, np.maximum(0.0, left_kw), 0.0) * futures.weights[:, None]).sum(axis=0)
        above_kwh = 24 * np.maximum(0.0, np.array(self._net_kw)[:, None] - levels).mean(axis=0)  # a day
        upkeep_eur = max(0.0, days_left) * above_kwh * trade_eur_per_kwh
        # without caps, a kW short for a day is a kW of peak
        value = self._caps.value_eur_per_kwh if self._caps.max_share > 0 else self._demand / 24
        short_eur = value * (soon_kwh + later_kwh)
        total = self._demand * (levels - peak_kw + beyond_kw) + short_eur + upkeep_eur
        return float(levels[int(np.argmin(total))])

    def _like_now(self, load_kw: float, known: int) -> tuple[NDArray[np.intp], Floats]:
        """Past quarters like the one just over, the nearest in load, and by how much the load is higher now."""
        import numpy as np

        past = np.arange(known - 1)  # what followed each is in the table
        ahead = len(self._load_kw) - 1 - past
        past = past[np.abs((ahead + DAY // 2) % DAY - DAY // 2) <= SAME_TIME]
        loads = np.array(self._load_kw)[past]
        nearest = np.argsort(np.abs(loads - load_kw), kind="stable")[:LIKE_NOW]
        return past[nearest], load_kw - loads[nearest]

    def _futures(self, held: Floats, stored_kwh: float, like: NDArray[np.intp], net_kw: float) -> _Futures:
        """What the battery could hold with what is stored, in each of the futures.

        A few pulses are all that a fortnight shows, so one more guess stands beside them, with the weight of one more
        day: the present level lasts, for 1, 2, 4, 8, 16 or 24 hours alike.
        """
        import numpy as np

        layer_kwh = self._usable_kwh / LAYERS
        at = stored_kwh / layer_kwh
        guesses_kw = np.maximum(0.0, net_kw - stored_kwh * self._out / np.array(LASTING_H))
        seen_days = len(np.unique(like // DAY))
        weights = np.full(len(like), seen_days / (seen_days + 1) / len(like))
        guessed = np.full(len(LASTING_H), 1 / (seen_days + 1) / len(LASTING_H))
        return _Futures(
            np.concatenate([_between(held, at), guesses_kw]),
            np.concatenate([weights, guessed]),
        )

    def _ready(
        self,
        held: Floats,
        net: Floats,
        like: NDArray[np.intp],
        shift: Floats,
        target_kw: float,
        cost: _PeakCost,
        steps: int,
    ) -> Floats:
        """For each step and layer, what a stored kWh would have spared the futures whose pulse begins just after it."""
        import numpy as np

        ready = np.zeros((steps, LAYERS))
        when = like[:, None] + 1 + np.arange(steps)
        known = when < len(held)
        over = known & (net[np.minimum(when, len(net) - 1)] + shift[:, None] > target_kw)
        some = over.any(axis=1)
        begins = np.minimum(np.maximum(over.argmax(axis=1), 1), steps - 1)[some]
        starts = np.minimum(like[some] + 1 + begins, len(held) - 1)
        prices = cost.total(np.maximum(cost.peak_kw, held[starts] + shift[some][:, None]))
        np.add.at(ready, begins - 1, -np.diff(prices, axis=1) * LAYERS / self._usable_kwh / len(like))
        sorted_: Floats = -np.sort(-np.maximum(ready, 0.0), axis=1)  # the lowest layer is worth most
        return sorted_


class _Daily(NamedTuple):
    """The days seen, for each of many peaks: the share on which the battery alone failed, and the mean it lacked."""

    worked_out: int  # the last quarter of the table then
    grid_kw: Floats
    overrun: Floats
    short_kwh: Floats  # a day, at the AC terminals
    usual_kw: float  # the lowest peak that was never exceeded
    days: float


class _Futures(NamedTuple):
    """For each future: the peak that can be held, how likely it is."""

    held_kw: Floats
    weights: Floats


class _PeakCost:
    """A convex price of peak above the month's, as a share of the demand price."""

    def __init__(self, peak_kw: float, widths_kw: Sequence[float], shares: Sequence[float]) -> None:
        import numpy as np

        self.peak_kw, self.widths_kw, self.shares = peak_kw, widths_kw, shares
        self._edges = peak_kw + np.concatenate([[0.0], np.cumsum(widths_kw)])
        self._totals = np.concatenate([[0.0], np.cumsum(np.array(widths_kw) * np.array(shares))])

    def total(self, kw: Floats) -> Floats:
        """kW, weighted by their shares, above the month's peak."""
        import numpy as np

        totals: Floats = np.interp(kw, self._edges, self._totals)
        return totals


def _fewer(count: int, chance: Floats, days: float) -> Floats:
    """The likelihood that fewer than `count` of `days` days go beyond, each with this chance: then today's counts.

    Binomial; `days` need not be whole. Days that were higher already are not known here, so it is rather too much.
    """
    import numpy as np

    chance = np.minimum(chance, 1 - 1e-9)
    term: Floats = (1 - chance) ** days
    total = term
    for k in range(1, count):
        if days < k:
            break
        term = term * (days - k + 1) / k * chance / (1 - chance)
        total = total + term
    return total


def _between(table: Floats, at: float) -> Floats:
    """Each row of `table` at a fractional column, held at the ends."""
    at = min(max(at, 0.0), table.shape[1] - 1.0)
    left = min(int(at), table.shape[1] - 2)
    values: Floats = table[:, left] + (at - left) * (table[:, left + 1] - table[:, left])
    return values
