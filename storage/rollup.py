"""Calculates roll-ups of one minute and of a quarter hour: minimum, maximum, mean, last value and count.

Those of minutes are made from every tick, those of quarter hours from the minutes. Where a crash lost a minute, and for
signals that are sampled once a minute, the samples take their place. The mean is the mean of the values present, not
weighted by time: ticks are evenly spaced, and a gap is no evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from storage.signals import MISSING, to_raw

MINUTE_S = 60
QUARTER_S = 900


class Summary(NamedTuple):
    """What one signal did in one minute, in its own unit. `n` >= 1 samples."""

    mn: float
    mx: float
    mean: float
    last: float
    n: int


class Minute:
    """The roll-up of the minute that starts at `t` (UTC s), growing as ticks arrive.

    `base` is what the file already holds of this minute (a restart within it, a clock that stepped back into it).
    """

    def __init__(self, t: int) -> None:
        self.t = t
        self.base: dict[str, Summary] | None = None  # None: the file has not been asked yet
        self.changed = False  # holds what the file does not
        self.rows = 0  # it has in the file
        self._own: dict[str, list[float]] = {}  # name -> [min, max, sum, last, n]

    def add(self, values: Mapping[str, float | None]) -> None:
        """Take one tick in. Values are finite; a missing one leaves no trace."""
        own = self._own
        self.changed = True
        for name, value in values.items():
            if value is None:
                continue
            cell = own.get(name)
            if cell is None:
                own[name] = [value, value, value, value, 1]
                continue
            if value < cell[0]:
                cell[0] = value
            elif value > cell[1]:
                cell[1] = value
            cell[2] += value
            cell[3] = value
            cell[4] += 1

    def names(self) -> Iterable[str]:
        """The signals that had a value in it since this process began the minute."""
        return self._own.keys()

    def summaries(self) -> dict[str, Summary]:
        """The minute as it stands, with what the file held before."""
        result = {name: Summary(c[0], c[1], c[2] / c[4], c[3], int(c[4])) for name, c in self._own.items()}
        for name, before in (self.base or {}).items():
            now = result.get(name)
            if now is not None:
                result[name] = merged(before, now)
        return result


def merged(before: Summary, after: Summary) -> Summary:
    """Combine two partial aggregates of the same minute; `after` was recorded later."""
    n = before.n + after.n
    mean = (before.mean * before.n + after.mean * after.n) / n
    return Summary(min(before.mn, after.mn), max(before.mx, after.mx), mean, after.last, n)


def rolled(times_us: Iterable[int], raw: Sequence[int], width_us: int) -> dict[int, Summary]:
    """Roll-ups of scaled samples, by the number of the bucket of `width_us` they fall in. MISSING is no sample."""
    buckets: dict[int, list[int]] = {}
    for t, value in zip(times_us, raw, strict=True):
        if value != MISSING:
            buckets.setdefault(t // width_us, []).append(value)
    return {k: Summary(min(v), max(v), sum(v) / len(v), v[-1], len(v)) for k, v in buckets.items()}


def raw_rows(
    t: int, summaries: Mapping[str, Summary], known: dict[str, tuple[int, float]]
) -> Iterator[tuple[int, ...]]:
    """Rows of r1m, in order of signal id so that they land in the tree where the cursor already is."""
    for name in sorted(summaries, key=known.__getitem__):
        sid, scale = known[name]
        mn, mx, mean, last, n = summaries[name]
        row = (to_raw(mn, scale), to_raw(mx, scale), to_raw(mean, scale), to_raw(last, scale))
        if MISSING not in row:
            yield t, sid, *row, n
