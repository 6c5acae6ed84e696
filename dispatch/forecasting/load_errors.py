"""Learns from past load forecasts of one horizon: how far they were off, and whom to believe how much.

The band is that of past errors; how many of them it leaves out on either side follows what it missed (adaptive
conformal inference, Gibbs and Candès 2021).
"""

from __future__ import annotations

import bisect
import math
from collections import deque

import msgspec

RESIDUALS = 7 * 96  # errors kept for each horizon
RESIDUALS_MIN = 48  # below these the band is the load's own range
# Times the squared errors. With 1 the forecasts of four months in which jobs are the load were up to 3 % worse at 12 h.
CLEARLY = 1.25
TAIL = 0.05  # on either side of a 90 % band
TAIL_STEP = 0.01  # how far one miss moves the share that is left out


class PastForecast(msgspec.Struct, frozen=True):
    """What was thought, at some moment, of the load at one horizon; kept until it is known."""

    predicted_w: float
    low_w: float
    high_w: float
    last_w: float
    profile_w: float | None
    pull_w: float | None  # change of the known jobs' power until then; None: no jobs are known to us
    moved: bool | None  # whether the load had changed within the hour; None: not told apart
    by_profile_w: float  # what the profile said
    by_jobs_w: float | None  # what the known jobs said; None: nothing yet


class Trust(msgspec.Struct, frozen=True):
    """What to believe at one horizon."""

    profile: float  # weight of the profile against persistence, 0..1
    jobs: float  # share of the known jobs' change, 0..1; 0: the profile is believed instead
    unannounced_w: float  # comes on top of it
    jobs_learnt: float  # the share that would have been best, believed or not
    band: tuple[float, float] | None  # what the 90 % band leaves below (<= 0) and above; None: too few errors


class _Tail:
    """One end of the band: the share of past errors it leaves out, so that TAIL of the coming ones lie outside."""

    def __init__(self) -> None:
        self.share = TAIL

    def learn(self, missed: bool) -> None:
        """Wider after a miss, a little narrower after each hit."""
        self.share = min(0.5, max(0.0, self.share + TAIL_STEP * (TAIL - missed)))


class _Errors:
    """The last errors of one kind of forecast, in W."""

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, error: float) -> None:
        """The newest one."""
        self._order.append(error)
        bisect.insort(self._sorted, error)
        if len(self._order) > RESIDUALS:
            del self._sorted[bisect.bisect_left(self._sorted, self._order.popleft())]

    def beyond(self, share: float, side: int) -> float:
        """The error that `share` of the past ones, finite-sample corrected, lie beyond on one side."""
        n = len(self._sorted)
        rank = min(n, max(1, math.ceil((n + 1) * (1 - share))))
        return self._sorted[rank - 1] if side > 0 else self._sorted[n - rank]


class Horizon:
    """Past errors at one horizon, and the shares of profile and known jobs that would have made them smallest."""

    def __init__(self) -> None:
        self.errors = _Errors()
        self._told_apart = {False: _Errors(), True: _Errors()}  # with known jobs: whether the load had just moved
        self.below, self.above = _Tail(), _Tail()
        self._trust: dict[bool | None, Trust] = {}
        self._agree = 0.0
        self._norm = 0.0
        self._jobs = [0.0] * 5  # weight, pull, pull squared, change, change x pull; sums that forget
        self._profile_off = self._jobs_off = 0.0  # squared errors of both; sums that forget

    def learn(self, actual_w: float, guess: PastForecast) -> None:
        """Take in what came of a guess."""
        self._trust.clear()
        last_w, profile_w = guess.last_w, guess.profile_w
        if len(self.errors) >= RESIDUALS_MIN:
            self.below.learn(actual_w < guess.low_w)
            self.above.learn(actual_w > guess.high_w)
        error = actual_w - guess.predicted_w
        self.errors.add(error)
        if guess.moved is not None:
            self._told_apart[guess.moved].add(error)
        forget = 1 - 1 / RESIDUALS
        if profile_w is not None:
            pull = profile_w - last_w
            self._agree = forget * self._agree + (actual_w - last_w) * pull
            self._norm = forget * self._norm + pull * pull
        self._profile_off, self._jobs_off = forget * self._profile_off, forget * self._jobs_off
        if profile_w is not None and guess.by_jobs_w is not None:
            self._profile_off += (actual_w - guess.by_profile_w) ** 2
            self._jobs_off += (actual_w - guess.by_jobs_w) ** 2
        if guess.pull_w is not None:
            change = actual_w - last_w
            now = (1.0, guess.pull_w, guess.pull_w**2, change, change * guess.pull_w)
            self._jobs = [forget * a + b for a, b in zip(self._jobs, now, strict=True)]

    def trust(self, moved: bool | None = None) -> Trust:
        """What the past errors say; the weights by least squares. Worked out once for each thing learnt.

        Where the profile has told the load clearly better than the known jobs did, as in a load that is mostly not
        theirs, it is believed: to know jobs must make no forecast worse.
        """
        found = self._trust.get(moved)
        if found is None:
            learnt, unannounced_w = self._known()
            jobs = learnt if self._jobs_off <= CLEARLY * self._profile_off else 0.0
            profile = min(1.0, max(0.0, self._agree / self._norm)) if self._norm > 0 else 0.0
            errors = self._alike(moved)
            enough = len(errors) >= RESIDUALS_MIN
            band = (errors.beyond(self.below.share, -1), errors.beyond(self.above.share, 1)) if enough else None
            found = self._trust[moved] = Trust(profile, jobs, unannounced_w, learnt, band)
        return found

    def _alike(self, moved: bool | None) -> _Errors:
        """Those made when the load had, or had not, moved; all of them while there are too few."""
        if moved is not None and len(self._told_apart[moved]) >= RESIDUALS_MIN:
            return self._told_apart[moved]
        return self.errors

    def _known(self) -> tuple[float, float]:
        """(share of the known jobs' change to believe, 0..1; what comes unannounced, W)."""
        n, x, xx, y, xy = self._jobs
        if n < RESIDUALS_MIN:
            return 0.0, 0.0
        spread = xx - x * x / n
        share = min(1.0, max(0.0, (xy - x * y / n) / spread)) if spread > 1e-6 * max(xx, 1.0) else 0.0
        return share, (y - share * x) / n

    @property
    def jobs_seen(self) -> float:
        """Quarters learnt from with known jobs; older ones count less."""
        return self._jobs[0]

    def quantile(self, share: float, moved: bool | None = None) -> float | None:
        """The error, W, that this share of the past ones did not exceed; None while there are too few."""
        errors = self._alike(moved)
        return errors.beyond(1 - share, 1) if len(errors) >= RESIDUALS_MIN else None
