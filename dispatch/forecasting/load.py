"""Forecasts the load of the next hours with a 90 % band, from the site's own past and known jobs.

Measured on traces of GPU clusters: a quarter hour ahead nothing in the load's history predicts a pulse, and the last
value has the best median error. So the forecast is the load at the end of the last quarter hour, moved towards the
profile of the same time in the last week, or towards the known jobs, by weights that are learnt online for each
horizon. The band is that of the forecast's own past errors; how many of them it leaves out on either side follows what
it missed (adaptive conformal inference, Gibbs and Candès 2021), so that it covers what it states on a load that
changes. Every forecast is a function of what was observed before it; no clock is read.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from dispatch.forecasting.load_errors import RESIDUALS, RESIDUALS_MIN, Horizon, PastForecast, Trust
from dispatch.model.forecast import QUARTER_S, Forecast
from dispatch.model.reasons import Reason

LATEST_S = 300  # how much of the end of a quarter tells where it left the load
DAY_STEPS = 96
PROFILE_DAYS = 7
PROFILE_MIN_DAYS = 3  # same-time values needed before a profile means anything
HISTORY_STEPS = (PROFILE_DAYS + 3) * DAY_STEPS
PROBES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 144)  # horizons, in quarters, whose errors are followed
MOVED_STEPS = 4  # an hour
MOVED_SHARE = 0.01  # of the load's range in ten days: less is noise of meters and fans
YOUNG_STEPS = 8.0  # quarters in which a forecast from less than a day of record goes over to the record's mean
DEFAULT_MARGIN = 0.25  # of the load, on either side of the range seen, while the errors are not yet known


def quarter_of(what: str, start_utc_s: int, mean_w: float) -> int:
    """The number of a quarter hour whose mean is reported. Raises ValueError for a start off the quarter, no mean."""
    if start_utc_s % QUARTER_S:
        raise ValueError(f"{what} quarter starts at {start_utc_s}: expected a multiple of {QUARTER_S} s")
    if not math.isfinite(mean_w) or mean_w < 0:
        raise ValueError(f"mean {what} of quarter {start_utc_s} is {mean_w}: expected watts >= 0; leave out unknown")
    return start_utc_s // QUARTER_S


class _LatestLoad:
    """How much of the step within the last quarter to believe: its mean, or where its end left the load."""

    def __init__(self) -> None:
        self._agree = self._norm = 0.0
        self._mean_w: float | None = None
        self._step_w = 0.0

    def learn(self, mean_w: float, latest_w: float | None) -> float:
        """Take in a finished quarter; returns the load that it leaves behind, W."""
        if self._mean_w is not None and self._step_w:
            forget = 1 - 1 / RESIDUALS
            self._agree = forget * self._agree + (mean_w - self._mean_w) * self._step_w
            self._norm = forget * self._norm + self._step_w**2
        self._mean_w, self._step_w = mean_w, 0.0 if latest_w is None else latest_w - mean_w
        share = min(1.0, max(0.0, self._agree / self._norm)) if self._norm > 0 else 0.0
        return mean_w + share * self._step_w

    def forget(self) -> None:
        """A gap: what comes next follows from nothing."""
        self._mean_w = None


class _CachedForecast(msgspec.Struct):
    """A forecast, W, as far as it was worked out; asked for again before the next quarter, it is only carried on."""

    first: int  # number of its first quarter
    last_w: float  # the load that it starts from
    known_w: tuple[float, ...]  # power of the known jobs
    load_w: list[float] = []
    low_w: list[float] = []
    high_w: list[float] = []


class LoadForecaster:
    """Feed it each finished quarter hour in order; ask it for the next ones."""

    def __init__(self) -> None:
        self._loads: dict[int, float] = {}  # quarter number -> mean load, W
        self._last: int | None = None
        self._last_w = 0.0  # load as the last quarter left it
        self._latest = _LatestLoad()
        self._horizons = {h: Horizon() for h in PROBES}
        self._pending: dict[int, list[tuple[int, PastForecast]]] = {}
        self._profiles: dict[tuple[int, bool], float | None] = {}  # by quarter number; worked out once
        self._moved: bool | None = None  # whether the load changed within the hour; None: no jobs are known
        self._reserved = False  # all of these jobs have reserved hours
        self._extent_w: tuple[float, float] | None = None  # lowest and highest load; worked out when it is needed
        self._cached: _CachedForecast | None = None

    def observe(
        self,
        start_utc_s: int,
        mean_w: float,
        known_w: Sequence[float] | None = None,
        latest_w: float | None = None,
        reserved: bool = False,
    ) -> bool:
        """Take the mean load of the quarter hour that began at `start_utc_s`.

        `known_w`: what was known at its end of the jobs' power, W, just before and in each quarter after it
        (`JobModel.known_w`), as far as the farthest horizon; with it the forecast learns how much to believe of it.
        `latest_w`: the mean of its last `LATEST_S`, where it is known. `reserved`: all of the jobs have reserved hours,
        and what comes unannounced is not bounded.
        Returns False, and learns nothing, for a quarter that is not newer than the last one (the wall clock was set
        back). A quarter without a trustworthy mean is simply not reported: gaps are allowed.
        Raises ValueError for a start off the quarter hour or a mean that is not a number >= 0.
        """
        quarter = quarter_of("load", start_utc_s, mean_w)
        if self._last is not None and quarter <= self._last:
            return False
        for missed in [q for q in self._pending if q < quarter]:
            del self._pending[missed]
        for horizon, guess in self._pending.pop(quarter, ()):
            self._horizons[horizon].learn(mean_w, guess)
        if self._last is not None and quarter > self._last + 1:
            self._latest.forget()
        self._last_w = self._latest.learn(mean_w, latest_w)
        self._loads[quarter] = mean_w
        self._last = quarter
        while (oldest := next(iter(self._loads))) <= quarter - HISTORY_STEPS:
            del self._loads[oldest]
        self._extent_w = self._cached = None
        self._moved, self._reserved = self._has_moved(quarter, known_w), reserved
        most_w = self._most_w()
        for horizon, state in self._horizons.items():
            profile_w, trust = self._profile(quarter + horizon), state.trust(self._moved)
            pull_w = None if known_w is None or horizon >= len(known_w) else known_w[horizon] - known_w[0]
            predicted_w = _expected(trust, self._last_w, profile_w, pull_w, most_w)
            below, above = (-math.inf, math.inf) if trust.band is None else trust.band
            guess = PastForecast(
                predicted_w,
                predicted_w + below,
                predicted_w + above,
                self._last_w,
                profile_w,
                pull_w,
                self._moved,
                by_profile_w=_by_profile(trust, self._last_w, profile_w),
                by_jobs_w=None
                if pull_w is None or not trust.jobs_learnt
                else _by_jobs(trust, self._last_w, pull_w, most_w),
            )
            self._pending.setdefault(quarter + horizon, []).append((horizon, guess))
        return True

    def predict(
        self,
        start_utc_s: int,
        steps: int,
        now_w: float | None = None,
        known_w: Sequence[float] | None = None,
        usual_most_w: float | None = None,
    ) -> Forecast:
        """Forecast `steps` quarters from the one that holds `start_utc_s` (usually the running one).

        `now_w`, the load at this moment, stands in for the last quarter where none before the running one was observed:
        at the start, or after a gap. Otherwise the quarter's word is the better one. Horizons count from the last
        quarter observed, so that a gap widens the band. With nothing known at all the load is taken as 0 and the note
        says so. `known_w`: the known jobs' power, W, at the end of the last quarter observed and in each after it.
        `usual_most_w`: what the site draws at most for long, W. With it a record of less than a day is not taken for
        more than it is: within hours the forecast goes to the record's mean, and to no more than this; else a
        pulse at the site's first minute would be expected for as long as the plan goes.
        Raises ValueError for a negative number of steps.
        """
        if steps < 0:
            raise ValueError(f"{steps} steps: expected 0 or more")
        first = start_utc_s // QUARTER_S
        if self._last is None:
            return _young_forecast(_held_forecast(first, steps, now_w), now_w, usual_most_w)
        last_w, known = self._last_w, tuple(known_w or ())
        if now_w is not None and first - self._last > 1:
            last_w = max(0.0, now_w)
        drawn = self._cached
        if drawn is None or (drawn.first, drawn.last_w, drawn.known_w) != (first, last_w, known):
            drawn = self._cached = _CachedForecast(first, last_w, known)
        self._extend(drawn, steps)
        calibrated = sum(1 for state in self._horizons.values() if state.trust().band is not None)
        notes: tuple[Reason, ...] = ()
        if calibrated < len(PROBES):
            notes = (Reason("load.band", {"calibrated": calibrated, "horizons": len(PROBES)}),)
        load_w, low_w, high_w = (tuple(values[:steps]) for values in (drawn.load_w, drawn.low_w, drawn.high_w))
        forecast = Forecast(first * QUARTER_S, load_w, low_w, high_w, notes=notes)
        if len(self._loads) >= (RESIDUALS_MIN if known else DAY_STEPS):
            return forecast
        return _young_forecast(forecast, sum(self._loads.values()) / len(self._loads), usual_most_w)

    def _extend(self, drawn: _CachedForecast, steps: int) -> None:
        """Work a forecast out up to this many steps."""
        assert self._last is not None
        known_w = drawn.known_w
        moved = self._moved if known_w else None
        most_w = self._most_w()
        trusts = {horizon: state.trust(moved) for horizon, state in self._horizons.items()}
        for quarter in range(drawn.first + len(drawn.load_w), drawn.first + steps):
            ahead = max(1, quarter - self._last)
            before, after, weight = _neighbours(ahead)
            one, two = trusts[before], trusts[after]
            pull_w = None if not known_w else known_w[min(ahead, len(known_w) - 1)] - known_w[0]
            profile_w = self._profile(quarter)
            of_one_w = _expected(one, drawn.last_w, profile_w, pull_w, most_w)
            load_w = of_one_w + weight * (_expected(two, drawn.last_w, profile_w, pull_w, most_w) - of_one_w)
            below, above = _band_between(one, two, weight) or self._range(load_w)
            drawn.load_w.append(load_w)
            drawn.low_w.append(max(0.0, min(load_w, load_w + below)))
            drawn.high_w.append(max(load_w, load_w + above))

    @property
    def end_utc_s(self) -> int | None:
        """Of the last quarter hour observed."""
        return None if self._last is None else (self._last + 1) * QUARTER_S

    def jobs_share(self, ahead: int) -> tuple[float | None, float]:
        """How much of what known jobs change within `ahead` quarters is in the forecast, 0..1; None: too few were seen.

        Then the number of quarters that were seen with known jobs, of `RESIDUALS_MIN` that are needed.
        """
        state = self._horizons[_neighbours(max(1, ahead))[1]]
        return (state.trust().jobs if state.jobs_seen >= RESIDUALS_MIN else None), state.jobs_seen

    def quantile_w(self, start_utc_s: int, share: float, known_w: Sequence[float] | None = None) -> float:
        """The mean load, W, that the quarter of `start_utc_s` stays below with the probability `share`; 0..1."""
        forecast = self.predict(start_utc_s, 1, known_w=known_w)
        if self._last is None:
            return forecast.high_w[0]
        nearest = _neighbours(max(1, start_utc_s // QUARTER_S - self._last))[1]
        error_w = self._horizons[nearest].quantile(share, self._moved if known_w else None)
        return forecast.high_w[0] if error_w is None else max(0.0, forecast.load_w[0] + error_w)

    def _profile(self, quarter: int) -> float | None:
        """Mean at this time of day on the last seven days known (UTC), or None while there are fewer than three."""
        assert self._last is not None
        of = quarter, quarter - DAY_STEPS <= self._last  # nothing that is observed later changes it
        if of not in self._profiles:
            days = (quarter - day * DAY_STEPS for day in range(1, PROFILE_DAYS + 3))
            seen = [self._loads[q] for q in days if q in self._loads][:PROFILE_DAYS]
            self._profiles[of] = sum(seen) / len(seen) if len(seen) >= PROFILE_MIN_DAYS else None
            if quarter - 2 * DAY_STEPS > self._last:
                return self._profiles.pop(of)
            if len(self._profiles) > HISTORY_STEPS:
                del self._profiles[next(iter(self._profiles))]
        return self._profiles[of]

    def _has_moved(self, quarter: int, known_w: Sequence[float] | None) -> bool | None:
        """Whether the load of one of the last quarters was not that which the last one left; None without known jobs.

        A load of jobs that has changed within the hour goes on changing: users submit several, a job that fails is
        started again. After a quiet hour nine in ten quarters bring nothing.
        """
        if known_w is None:
            return None
        low_w, high_w = self._extent()
        recent = (self._loads.get(q) for q in range(quarter - MOVED_STEPS + 1, quarter + 1))
        return any(w is not None and abs(w - self._last_w) > MOVED_SHARE * (high_w - low_w) for w in recent)

    def _most_w(self) -> float:
        """What comes unannounced takes the load no higher: the highest of late, unless all jobs have reserved hours."""
        return math.inf if self._reserved else self._extent()[1]

    def _extent(self) -> tuple[float, float]:
        """Lowest and highest load in ten days."""
        if self._extent_w is None:
            self._extent_w = min(self._loads.values()), max(self._loads.values())
        return self._extent_w

    def _range(self, load_w: float) -> tuple[float, float]:
        """The band before errors are known: the range of the load in ten days, wider by a quarter of the load."""
        low_w, high_w = self._extent()
        margin = DEFAULT_MARGIN * max(load_w, high_w)
        return low_w - margin - load_w, high_w + margin - load_w


def _expected(trust: Trust, last_w: float, profile_w: float | None, pull_w: float | None, most_w: float) -> float:
    """Load at some horizon: by the known jobs where their change is believed, else by the profile."""
    if pull_w is not None and trust.jobs > 0:
        return _by_jobs(trust, last_w, pull_w, most_w)
    return _by_profile(trust, last_w, profile_w)


def _by_jobs(trust: Trust, last_w: float, pull_w: float, most_w: float) -> float:
    """The known jobs', and what usually comes unannounced: that takes the load no higher than it has been, `most_w`."""
    known_w = last_w + trust.jobs_learnt * pull_w
    return max(0.0, min(known_w + trust.unannounced_w, max(known_w, most_w)))


def _by_profile(trust: Trust, last_w: float, profile_w: float | None) -> float:
    return last_w if profile_w is None else (1 - trust.profile) * last_w + trust.profile * profile_w


def _band_between(one: Trust, two: Trust, weight: float) -> tuple[float, float] | None:
    """What the 90 % band leaves on either side, between two followed horizons; `weight`, 0..1, is that of the later."""
    if one.band is None or two.band is None:
        return None
    rest = 1 - weight
    return rest * one.band[0] + weight * two.band[0], rest * one.band[1] + weight * two.band[1]


def _held_forecast(first: int, steps: int, now_w: float | None) -> Forecast:
    """The forecast before any quarter was observed: the present load, held."""
    load_w = max(0.0, now_w or 0.0)
    low_w, high_w = (1 - 2 * DEFAULT_MARGIN) * load_w, (1 + 2 * DEFAULT_MARGIN) * load_w
    note = Reason("load.held") if now_w is not None else Reason("load.unknown")
    return Forecast(first * QUARTER_S, (load_w,) * steps, (low_w,) * steps, (high_w,) * steps, notes=(note,))


def _young_forecast(forecast: Forecast, mean_w: float | None, usual_most_w: float | None) -> Forecast:
    """A forecast from less than a day of record, gone over to the record's mean, but to no more than is usual."""
    if mean_w is None or usual_most_w is None:
        return forecast
    usual_w = min(max(0.0, mean_w), usual_most_w)
    notes = forecast.notes
    if forecast.load_w and abs(forecast.load_w[0] - usual_w) > 1:
        notes = (*notes, Reason("load.young", {"usual_w": usual_w}))
    shares = [math.exp(-k / YOUNG_STEPS) for k in range(len(forecast.load_w))]
    load_w = tuple(usual_w + share * (w - usual_w) for w, share in zip(forecast.load_w, shares, strict=True))
    return msgspec.structs.replace(
        forecast,
        load_w=load_w,
        low_w=tuple(map(min, forecast.low_w, load_w)),
        high_w=tuple(map(max, forecast.high_w, load_w)),
        notes=notes,
    )


@lru_cache(maxsize=1024)
def _neighbours(ahead: int) -> tuple[int, int, float]:
    """The followed horizons on either side of `ahead` and the weight of the later one."""
    index = bisect.bisect_left(PROBES, ahead)
    if index >= len(PROBES):
        return PROBES[-1], PROBES[-1], 0.0
    after = PROBES[index]
    before = PROBES[max(0, index - 1)]
    return before, after, 1.0 if after == before else (ahead - before) / (after - before)
