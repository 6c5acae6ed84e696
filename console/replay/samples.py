"""Holds a load sampled many times per second: unevenly spaced instants, each value held until the next."""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from console.replay.traces import MOST_W, cell, optional_cell, power_column, raise_any, table

COLUMNS = ("load_w", "power_w", "gpu_power_w")
GAP_MS = 2_000  # a value held for longer is reported


class Samples:
    """Power, W, from `times_ms[i]` (POSIX milliseconds, ascending) until the next one, the last for as long as usual.

    `repeat`: before the first and after the last sample the record is played again.
    """

    def __init__(self, times_ms: Sequence[int], w: Sequence[float], notes: tuple[str, ...] = ()) -> None:
        self.times_ms, self.w, self.notes = array("q", times_ms), array("d", w), notes
        gaps = sorted(b - a for a, b in pairwise(times_ms))
        self.end_ms = times_ms[-1] + gaps[len(gaps) // 2]
        self.repeat = False

    @property
    def start_ms(self) -> int:
        """The first sample."""
        return self.times_ms[0]

    def at(self, utc_ms: float) -> float:
        """The power at an instant."""
        if self.repeat:
            utc_ms = self.start_ms + (utc_ms - self.start_ms) % (self.end_ms - self.start_ms)
        return self.w[max(bisect.bisect_right(self.times_ms, utc_ms) - 1, 0)]


def read_samples(path: Path, scale: float = 1.0) -> Samples:
    """Read `start_utc` and the first of COLUMNS that is there, times `scale`. Raises TraceFileError, OSError."""
    header, rows = table(path)
    value = power_column(path, header, COLUMNS)
    when, what = header.index("start_utc"), header.index(value)
    times_ms: list[int] = []
    watts: list[float] = []
    errors: list[str] = []
    for line, row in rows:
        try:
            t_ms = _instant_ms(cell(row, when, header))
            w = _watts(value, optional_cell(row, what))
            if times_ms and t_ms <= times_ms[-1]:
                raise ValueError(f"start_utc = {row[when]!r}: expected an instant after the row before it")
        except ValueError as error:
            errors.append(f"{path}:{line}: {error}")
            continue
        times_ms.append(t_ms)
        watts.append(w * scale)
    if len(times_ms) < 2 and not errors:
        errors.append(f"{path}: expected at least two rows with a power >= 0, found {len(times_ms)}")
    raise_any(path, errors)
    held = [b - a for a, b in pairwise(times_ms) if b - a > GAP_MS]
    notes = [f"{path.name}: {len(held)} gaps of up to {max(held) / 1000:.1f} s: the last value held"] if held else []
    if value == "gpu_power_w":
        notes.append(f"{path.name}: the power of its GPUs alone (gpu_power_w), times {scale:g}")
    return Samples(times_ms, watts, tuple(notes))


def _instant_ms(text: str) -> int:
    """POSIX milliseconds of an ISO 8601 instant in UTC. Raises ValueError saying what was expected."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"start_utc = {text!r}: expected ISO 8601 such as 2025-09-16T06:00:00.100Z") from None
    if when.utcoffset() != timedelta(0):
        raise ValueError(f"start_utc = {text!r}: expected UTC, ending in Z")
    return round(when.timestamp() * 1000)


def _watts(column: str, text: str) -> float:
    try:
        w = float(text)
    except ValueError:
        w = math.nan
    if not 0 <= w <= MOST_W:
        raise ValueError(f"{column} = {text!r}: expected a power in W, >= 0 and at most {MOST_W:g}")
    return w
