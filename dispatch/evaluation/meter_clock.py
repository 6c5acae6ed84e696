"""Estimates how far the clock of the utility's meter is off, and its scale, from the record's finer power.

Model: the meter's value of the interval that begins at t by its clock is s x the energy of the record in
[t - a, t - a + L). a > 0: the meter's clock is ahead. For each of a lattice of offsets s follows by least squares; the
best offset is then refined by a golden-section search. Its uncertainty is that of non-linear least squares: the
covariance s2 x (J'J)^-1 with the derivative of an interval's energy by the offset, which is the difference of the power
at its two ends (Seber and Wild, Nonlinear Regression, 1989, section 2.1). A load that is the same at both ends of
every interval tells nothing of the clock. Loads numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

REACH_S = 7200  # offsets that are tried, either way: two hours hold a wrong zone with a shifted interval
LATTICE_S = 60
TRIED = 4000  # intervals at most by which offsets are compared first; all of them refine the best
LEAST = 16  # intervals that both know, or nothing is estimated
SIGMAS = 1.96  # 95 %
LEAST_ERROR_S = 1.0  # no estimate is said to be closer than the record's own samples
WORST_SHARE = 1 / 15  # of an interval: an uncertainty above it is no estimate
DISTINCT = 10.0  # squared residuals, in variances, by which a far offset must fit worse
ROUNDING = 1e-9  # of the mean square: residuals below it are those of floating point
GOLDEN = (math.sqrt(5) - 1) / 2


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """The record's power at the PCC: value i is the mean over `step_s` from `start_utc_s + i x step_s`; W, > 0 import.

    nan: not on record.
    """

    start_utc_s: int
    step_s: int
    w: Sequence[float]


class ClockFit(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the meter's clock and scale. Shares are of the squared differences without any correction."""

    intervals: int  # compared
    known: bool  # an offset could be estimated
    why: str = ""  # few | constant | ambiguous: why not
    ahead_s: float = 0.0  # > 0: the meter's clock is ahead of the record's
    error_s: float = 0.0  # +-, 95 %
    scale: float = 1.0  # meter / record, at this offset
    scale_error: float = 0.0
    scale_alone: float = 1.0  # meter / record without an offset
    by_clock: float = 0.0  # share of the differences that the offset alone explains
    by_scale: float = 0.0
    by_both: float = 0.0
    other_s: float = 0.0  # where ambiguous: another offset that fits as well


class Energies:
    """The record's energy over any span, kWh, by its cumulative sum."""

    def __init__(self, power: Power, flow: str) -> None:
        """flow: import, export (both >= 0) or net."""
        import numpy as np

        self.np, self.start_s, self.step_s = np, power.start_utc_s, power.step_s
        w = np.asarray(power.w, dtype=float)
        known = np.isfinite(w)
        w = np.where(known, w, 0.0)
        if flow != "net":
            w = np.maximum(w if flow == "import" else -w, 0.0)
        self.w = w
        self._kwh = np.concatenate(([0.0], np.cumsum(w))) * (power.step_s / 3.6e6)
        self._missing = np.concatenate(([0], np.cumsum(~known)))

    def over(self, begins_s: Any, length_s: float) -> Any:
        """kWh of [begin, begin + length) of each; spans beyond the record end at its ends."""
        return self._at(begins_s + length_s) - self._at(begins_s)

    def whole(self, begins_s: Any, length_s: float, reach_s: float = 0.0) -> Any:
        """Which spans, with so much before and behind, are wholly on record."""
        np = self.np
        first = np.floor((begins_s - reach_s - self.start_s) / self.step_s).astype(int)
        last = np.ceil((begins_s + length_s + reach_s - self.start_s) / self.step_s).astype(int)
        inside = (first >= 0) & (last < len(self._missing))
        first, last = (np.clip(place, 0, len(self._missing) - 1) for place in (first, last))
        return inside & (self._missing[last] == self._missing[first])

    def change(self, begins_s: Any, length_s: float) -> Any:
        """What one second later changes of the energy of each, kWh/s: the difference of the power at its ends."""
        return (self._power(begins_s + length_s) - self._power(begins_s)) / 3.6e6

    def _at(self, t_s: Any) -> Any:
        np = self.np
        place = np.clip((t_s - self.start_s) / self.step_s, 0, len(self._kwh) - 1)
        row = np.minimum(place.astype(int), len(self._kwh) - 2)
        return self._kwh[row] + (place - row) * (self._kwh[row + 1] - self._kwh[row])

    def _power(self, t_s: Any) -> Any:
        np = self.np
        return self.w[np.clip(((t_s - self.start_s) / self.step_s).astype(int), 0, len(self.w) - 1)]


def clock_fit(energies: Energies, starts_utc_s: Sequence[int], kwh: Sequence[float], interval_s: int) -> ClockFit:
    """The offset and scale that fit the meter's intervals best, where the data tell them."""
    np = energies.np
    starts, meter = np.asarray(starts_utc_s, dtype=float), np.asarray(kwh, dtype=float)
    reach_s = REACH_S
    used = energies.whole(starts, interval_s, reach_s)
    if used.sum() < LEAST:
        reach_s = interval_s
        used = energies.whole(starts, interval_s, reach_s)
    starts, meter = starts[used], meter[used]
    n = len(starts)
    if n < LEAST:
        return ClockFit(intervals=n, known=False, why="few")

    def misfit(ahead_s: float, stride: int = 1) -> float:
        return _misfit(meter[::stride], energies.over(starts[::stride] - ahead_s, interval_s))[0]

    def around(offset_s: float) -> float:
        return _refined(misfit, offset_s - LATTICE_S, offset_s + LATTICE_S)

    lattice = np.arange(-reach_s, reach_s + 1, LATTICE_S, dtype=float)
    misfits = np.array([misfit(offset_s, 1 + n // TRIED) for offset_s in lattice])
    ahead_s = around(float(lattice[min(range(len(lattice)), key=lambda k: (misfits[k], abs(lattice[k])))]))
    record = energies.over(starts - ahead_s, interval_s)
    least, scale = _misfit(meter, record)
    variance = max(least / (n - 2), ROUNDING * float((meter * meter).sum()) / n)
    error_s, scale_error = _errors(energies, starts - ahead_s, interval_s, scale, variance)
    bare = energies.over(starts, interval_s)
    alone, scale_alone = _misfit(meter, bare)
    differences = float(((meter - bare) ** 2).sum())
    shifted = float(((meter - record) ** 2).sum())
    why, other_s = "", 0.0
    far = np.abs(lattice - ahead_s) > interval_s / 2
    if error_s > WORST_SHARE * interval_s:
        why = "constant"
    elif far.any():
        other_s = around(float(lattice[int(np.argmin(np.where(far, misfits, np.inf)))]))
        why = "ambiguous" if (misfit(other_s) - least) / variance < DISTINCT else ""
    return ClockFit(
        intervals=n,
        known=not why,
        why=why,
        ahead_s=ahead_s,
        error_s=max(error_s, LEAST_ERROR_S),
        scale=scale,
        scale_error=scale_error,
        scale_alone=scale_alone,
        by_clock=_share(shifted, differences),
        by_scale=_share(alone, differences),
        by_both=_share(least, differences),
        other_s=other_s,
    )


def _misfit(meter: Any, record: Any) -> tuple[float, float]:
    """(sum of squared residuals, scale) of meter = scale x record."""
    squares = float((record * record).sum())
    both = float((meter * record).sum())
    whole = float((meter * meter).sum())
    if squares <= 0:
        return whole, 0.0
    return max(whole - both * both / squares, 0.0), both / squares


def _refined(misfit: Any, low: float, high: float) -> float:
    """The offset with the least misfit in a range that holds one minimum, to a tenth of a second."""
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_a, at_b = misfit(a), misfit(b)
    while high - low > 0.1:
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - GOLDEN * (high - low)
            at_a = misfit(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + GOLDEN * (high - low)
            at_b = misfit(b)
    return (low + high) / 2


def _errors(energies: Energies, begins_s: Any, interval_s: int, scale: float, variance: float) -> tuple[float, float]:
    """+- of offset (s) and scale, 95 %; infinite where the data do not tell."""
    by_offset = scale * energies.change(begins_s, interval_s)
    by_scale = energies.over(begins_s, interval_s)
    aa, ab, bb = (
        float((x * y).sum()) for x, y in ((by_offset, by_offset), (by_offset, by_scale), (by_scale, by_scale))
    )
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb or aa <= 0:
        return math.inf, SIGMAS * math.sqrt(variance / bb) if bb > 0 else math.inf
    return SIGMAS * math.sqrt(variance * bb / determinant), SIGMAS * math.sqrt(variance * aa / determinant)


def _share(left: float, bare: float) -> float:
    return 0.0 if bare <= 0 else 1 - left / bare
