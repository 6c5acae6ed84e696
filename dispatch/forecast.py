"""What the site's own past says of the next hours: load with its 90 % band, PV, and where the month's peak will end.

Measured on traces of GPU clusters: a quarter ahead nothing in the load's history predicts a pulse, and the last quarter
held has the best median error. So the forecast is the last quarter, drawn towards the same-time profile of the last
week by a share that is learnt online for each horizon, with the spread of its own past errors around it. Every
forecast is a function of what was observed before it; nothing here knows a clock.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config import DispatchConfig

STEP_S = 900
DAY_STEPS = 96
PROFILE_DAYS = 7
PROFILE_MIN_DAYS = 3  # same-time values needed before a profile means anything
HISTORY_STEPS = (PROFILE_DAYS + 3) * DAY_STEPS
PROBES = (1, 2, 4, 8, 16, 32, 64, 96, 144)  # horizons, in quarters, whose errors are followed
RESIDUALS = PROFILE_DAYS * DAY_STEPS  # errors kept for each horizon
RESIDUALS_MIN = 48  # below these the band is the load's own range
TAIL = 0.05  # on either side of a 90 % band
DEFAULT_MARGIN = 0.25  # of the load, on either side of the range seen, while the errors are not yet known


class Forecast(msgspec.Struct, frozen=True):
    """Mean load of each quarter hour from `start_utc_s` on, with its 90 % band. Watts at the AC terminals, >= 0."""

    start_utc_s: int
    load_w: tuple[float, ...]
    low_w: tuple[float, ...]
    high_w: tuple[float, ...]
    step_s: int = STEP_S
    note: str = ""


class _Guess(msgspec.Struct, frozen=True):
    """What was thought, at some moment, of the load at one horizon; kept until it is known."""

    predicted_w: float
    last_w: float
    profile_w: float | None
    pull_w: float | None  # change of the known jobs' power until then; None: no jobs are known to us


class _Horizon:
    """Past errors at one horizon, and the shares of profile and known jobs that would have made them smallest."""

    def __init__(self) -> None:
        self.errors: deque[float] = deque()
        self.sorted: list[float] = []
        self._agree = 0.0
        self._norm = 0.0
        self._jobs = [0.0] * 5  # weight, pull, pull squared, change, change x pull; sums that forget

    def learn(self, actual_w: float, guess: _Guess) -> None:
        """Take in what came of a guess."""
        last_w, profile_w = guess.last_w, guess.profile_w
        error = actual_w - guess.predicted_w
        self.errors.append(error)
        bisect.insort(self.sorted, error)
        if len(self.errors) > RESIDUALS:
            del self.sorted[bisect.bisect_left(self.sorted, self.errors.popleft())]
        if profile_w is not None:
            forget = 1 - 1 / RESIDUALS
            pull = profile_w - last_w
            self._agree = forget * self._agree + (actual_w - last_w) * pull
            self._norm = forget * self._norm + pull * pull
        if guess.pull_w is not None:
            change, forget = actual_w - last_w, 1 - 1 / RESIDUALS
            now = (1.0, guess.pull_w, guess.pull_w**2, change, change * guess.pull_w)
            self._jobs = [forget * a + b for a, b in zip(self._jobs, now, strict=True)]

    def jobs(self) -> tuple[float, float]:
        """(share of the known jobs' change to believe, 0..1; what comes unannounced, W), by least squares."""
        n, x, xx, y, xy = self._jobs
        if n < RESIDUALS_MIN:
            return 0.0, 0.0
        spread = xx - x * x / n
        share = min(1.0, max(0.0, (xy - x * y / n) / spread)) if spread > 1e-6 * max(xx, 1.0) else 0.0
        return share, (y - share * x) / n

    @property
    def share(self) -> float:
        """Least-squares weight of the profile against persistence, 0..1; 0 while nothing is known."""
        return min(1.0, max(0.0, self._agree / self._norm)) if self._norm > 0 else 0.0

    def band(self) -> tuple[float, float] | None:
        """5 % and 95 % quantiles of the errors, finite-sample corrected; None while there are too few."""
        n = len(self.sorted)
        if n < RESIDUALS_MIN:
            return None
        rank = min(n, math.ceil((n + 1) * (1 - TAIL)))
        return self.sorted[n - rank], self.sorted[rank - 1]


class LoadForecaster:
    """Feed it each finished quarter hour in order; ask it for the next ones."""

    def __init__(self) -> None:
        self._loads: dict[int, float] = {}  # quarter number -> mean load, W
        self._last: int | None = None
        self._horizons = {h: _Horizon() for h in PROBES}
        self._pending: dict[int, list[tuple[int, _Guess]]] = {}

    def observe(self, start_utc_s: int, mean_w: float, known_w: Sequence[float] | None = None) -> bool:
        """Take the mean load of the quarter hour that began at `start_utc_s`.

        `known_w`: what was known at its end of the jobs' power, W, in this quarter and each after it (`JobModel`), as
        far as the farthest horizon; with it the forecast learns how much to believe of it.
        Returns False, and learns nothing, for a quarter that is not newer than the last one (the wall clock was set
        back). A quarter without a trustworthy mean is simply not reported: gaps are allowed.
        Raises ValueError for a start off the quarter hour or a mean that is not a number >= 0.
        """
        if start_utc_s % STEP_S:
            raise ValueError(f"load quarter starts at {start_utc_s}: expected a multiple of {STEP_S} s")
        if not math.isfinite(mean_w) or mean_w < 0:
            raise ValueError(
                f"mean load of quarter {start_utc_s} is {mean_w}: expected watts >= 0; leave unknown quarters out"
            )
        quarter = start_utc_s // STEP_S
        if self._last is not None and quarter <= self._last:
            return False
        for missed in [q for q in self._pending if q < quarter]:
            del self._pending[missed]
        for horizon, guess in self._pending.pop(quarter, ()):
            self._horizons[horizon].learn(mean_w, guess)
        self._loads[quarter] = mean_w
        self._last = quarter
        while (oldest := next(iter(self._loads))) <= quarter - HISTORY_STEPS:
            del self._loads[oldest]
        for horizon in PROBES:
            profile_w = self._profile(quarter + horizon)
            pull_w = None if known_w is None or horizon >= len(known_w) else known_w[horizon] - known_w[0]
            predicted_w = self._expected(horizon, mean_w, profile_w, pull_w)
            self._pending.setdefault(quarter + horizon, []).append(
                (horizon, _Guess(predicted_w, mean_w, profile_w, pull_w))
            )
        return True

    def _expected(self, ahead: int, last_w: float, profile_w: float | None, pull_w: float | None) -> float:
        """Load so many quarters ahead: by the known jobs where their change is believed, else by the profile."""
        before, after, weight = _neighbours(ahead)
        if pull_w is not None:
            (share, extra), (later, later_extra) = self._horizons[before].jobs(), self._horizons[after].jobs()
            share, extra = (1 - weight) * share + weight * later, (1 - weight) * extra + weight * later_extra
            if share > 0:
                return max(0.0, last_w + share * pull_w + extra)
        return _blend(last_w, profile_w, self._share(ahead))

    def predict(
        self, start_utc_s: int, steps: int, now_w: float | None = None, known_w: Sequence[float] | None = None
    ) -> Forecast:
        """Forecast `steps` quarters from the one that holds `start_utc_s` (usually the running one).

        `now_w`, the load at this moment, stands in for the last quarter where none before the running one was observed:
        at the start, or after a gap. Otherwise the quarter's mean is the better word. Horizons count from the last
        quarter observed, so that a gap widens the band. With nothing known at all the load is taken as 0 and the note
        says so. `known_w`: the known jobs' power, W, in the last quarter observed and each after it.
        Raises ValueError for a negative number of steps.
        """
        if steps < 0:
            raise ValueError(f"{steps} steps: expected 0 or more")
        first = start_utc_s // STEP_S
        if self._last is None:
            load_w = max(0.0, now_w or 0.0)
            low_w, high_w = (1 - 2 * DEFAULT_MARGIN) * load_w, (1 + 2 * DEFAULT_MARGIN) * load_w
            note = (
                "no quarter hour observed yet: present load held" if now_w is not None else "no load known: 0 W assumed"
            )
            return Forecast(first * STEP_S, (load_w,) * steps, (low_w,) * steps, (high_w,) * steps, note=note)
        last_w = self._loads[self._last]
        if now_w is not None and first - self._last > 1:
            last_w = max(0.0, now_w)
        loads, lows, highs = [], [], []
        for quarter in range(first, first + steps):
            ahead = max(1, quarter - self._last)
            pull_w = None if not known_w else known_w[min(ahead, len(known_w) - 1)] - known_w[0]
            load_w = self._expected(ahead, last_w, self._profile(quarter), pull_w)
            below, above = self._spread(ahead, load_w)
            loads.append(load_w)
            lows.append(max(0.0, min(load_w, load_w + below)))
            highs.append(max(load_w, load_w + above))
        calibrated = sum(1 for state in self._horizons.values() if state.band() is not None)
        note = ""
        if calibrated < len(PROBES):
            note = f"load band: from past errors for {calibrated} of {len(PROBES)} horizons, else from the load's range"
        return Forecast(first * STEP_S, tuple(loads), tuple(lows), tuple(highs), note=note)

    def _profile(self, quarter: int) -> float | None:
        """Mean at this time of day on the last seven days known (UTC), or None while there are fewer than three."""
        days = (quarter - day * DAY_STEPS for day in range(1, PROFILE_DAYS + 3))
        seen = [self._loads[q] for q in days if q in self._loads][:PROFILE_DAYS]
        return sum(seen) / len(seen) if len(seen) >= PROFILE_MIN_DAYS else None

    def _share(self, ahead: int) -> float:
        before, after, weight = _neighbours(ahead)
        return (1 - weight) * self._horizons[before].share + weight * self._horizons[after].share

    def _spread(self, ahead: int, load_w: float) -> tuple[float, float]:
        """Band around `load_w`, as (below <= 0, above >= 0), between the two followed horizons next to `ahead`."""
        before, after, weight = _neighbours(ahead)
        default: tuple[float, float] | None = None
        ends = []
        for horizon in (before, after):
            band = self._horizons[horizon].band()
            if band is None:
                default = default or self._range(load_w)
                band = default
            ends.append(band)
        (below, above), (later_below, later_above) = ends
        return (1 - weight) * below + weight * later_below, (1 - weight) * above + weight * later_above

    def _range(self, load_w: float) -> tuple[float, float]:
        """The stated default band: all that was seen in the last ten days, and a quarter of the load more."""
        margin = DEFAULT_MARGIN * max(load_w, *self._loads.values())
        return min(self._loads.values()) - margin - load_w, max(self._loads.values()) + margin - load_w


def _blend(last_w: float, profile_w: float | None, share: float) -> float:
    return last_w if profile_w is None else (1 - share) * last_w + share * profile_w


def _neighbours(ahead: int) -> tuple[int, int, float]:
    """The followed horizons on either side of `ahead` and the weight of the later one."""
    index = bisect.bisect_left(PROBES, ahead)
    if index >= len(PROBES):
        return PROBES[-1], PROBES[-1], 0.0
    after = PROBES[index]
    before = PROBES[max(0, index - 1)]
    return before, after, 1.0 if after == before else (ahead - before) / (after - before)


class PvForecaster:
    """PV from its own recent days: the mean at the same time of day, scaled by how the last hour compares with it.

    Knows neither weather nor clear sky. Before there are two days of history the last value is held until local noon
    and then falls with a half sine from 6 to 18 h local time, never above the last value.
    """

    MIN_DAYS = 2
    FADE_STEPS = 12  # how long the last hour's ratio lasts, quarters

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._powers: dict[int, float] = {}
        self._last: int | None = None

    def observe(self, start_utc_s: int, mean_w: float) -> bool:
        """Take the mean PV power of a finished quarter hour. As `LoadForecaster.observe`."""
        if start_utc_s % STEP_S:
            raise ValueError(f"PV quarter starts at {start_utc_s}: expected a multiple of {STEP_S} s")
        if not math.isfinite(mean_w) or mean_w < 0:
            raise ValueError(
                f"mean PV power of quarter {start_utc_s} is {mean_w}: expected watts >= 0; leave unknown ones out"
            )
        quarter = start_utc_s // STEP_S
        if self._last is not None and quarter <= self._last:
            return False
        self._powers[quarter] = mean_w
        self._last = quarter
        while (oldest := next(iter(self._powers))) <= quarter - HISTORY_STEPS:
            del self._powers[oldest]
        return True

    def predict(self, start_utc_s: int, steps: int, now_w: float | None = None) -> tuple[float, ...]:
        """Mean PV power, W >= 0, of `steps` quarters from the one that holds `start_utc_s`.

        `now_w`, the power at this moment, is what fades before any quarter has been observed.
        """
        first = start_utc_s // STEP_S
        if self._last is None:
            return tuple(self._fading(max(0.0, now_w or 0.0), first, first + k) for k in range(steps))
        ratio = self._ratio()
        result = []
        for quarter in range(first, first + steps):
            mean_w = self._mean(quarter)
            if mean_w is None:
                result.append(self._fading(self._powers[self._last], self._last, quarter))
            else:
                fade = math.exp(-max(0, quarter - self._last) / self.FADE_STEPS)
                result.append(mean_w * (1 + (ratio - 1) * fade))
        return tuple(result)

    def _mean(self, quarter: int) -> float | None:
        days = (quarter - day * DAY_STEPS for day in range(1, PROFILE_DAYS + 3))
        seen = [self._powers[q] for q in days if q in self._powers][:PROFILE_DAYS]
        return sum(seen) / len(seen) if len(seen) >= self.MIN_DAYS else None

    def _ratio(self) -> float:
        """The last hour against the same hour's mean, 0..2; 1 where there was no sun to compare."""
        assert self._last is not None
        pairs = [
            (self._powers[q], mean_w)
            for q in range(self._last - 3, self._last + 1)
            if q in self._powers and (mean_w := self._mean(q)) is not None
        ]
        expected = sum(mean_w for _, mean_w in pairs)
        return min(2.0, sum(w for w, _ in pairs) / expected) if expected > 0 else 1.0

    def _fading(self, w: float, seen: int, quarter: int) -> float:
        """Power `w` of quarter `seen`, let down with the sun until `quarter`."""
        now, then = self._sun(seen), self._sun(quarter)
        return w * min(1.0, then / now) if now > 0 else 0.0

    def _sun(self, quarter: int) -> float:
        local = datetime.fromtimestamp(quarter * STEP_S + STEP_S / 2, UTC).astimezone(self._zone)
        return max(0.0, math.sin(math.pi * (local.hour + local.minute / 60 - 6) / 12))


def held_peak_w(net_loads_w: Sequence[float], config: DispatchConfig) -> float:
    """The lowest quarter-hour import that the battery could have held over past net loads (load - pv), by hindsight.

    A prior for where the month's peak will end: it starts each month's plan at a peak worth defending. Greedy is exact
    here: above the peak discharge, below it recharge as fast as the peak allows; found to 10 W by bisection. Starts
    full. Returns 0 without any load.
    """
    if not net_loads_w:
        return 0.0
    low, high = 0.0, max(0.0, *net_loads_w)
    while high - low > 10.0:
        middle = (low + high) / 2
        if _holds(net_loads_w, middle, config):
            high = middle
        else:
            low = middle
    return high


def _holds(net_loads_w: Sequence[float], peak_w: float, config: DispatchConfig) -> bool:
    top_wh = sum(b.energy_kwh * b.soc_max_pct for b in config.batteries) * 10
    floor_wh = config.reserve_soc_pct * config.energy_kwh * 10
    charging = min((b.charge_efficiency for b in config.batteries), default=1.0)
    discharging = min((b.discharge_efficiency for b in config.batteries), default=1.0)
    charge_w, discharge_w = config.charge_w, config.discharge_w  # sums over the PCS: not again for every quarter
    hours = STEP_S / 3600
    stored_wh = max(top_wh, floor_wh)
    for net_w in net_loads_w:
        excess_w = net_w - peak_w
        if excess_w > discharge_w:
            return False
        if excess_w > 0:
            stored_wh -= excess_w * hours / discharging
            if stored_wh < floor_wh:
                return False
        else:
            stored_wh = min(top_wh, stored_wh + min(-excess_w, charge_w) * hours * charging)
    return True
