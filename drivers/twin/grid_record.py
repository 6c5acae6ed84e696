"""A record of a grid in trouble, played by the twin: CSV with t_s,v,hz, volts phase to neutral, seconds from its start.

Between two rows the values go in a straight line. After the last row the grid stays as it was then, until cleared.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("t_s", "v", "hz")


class Row(NamedTuple):
    """Voltage and frequency `t_s` after the record began."""

    t_s: float
    v: float
    hz: float


class RecordError(ValueError):
    """A record that cannot be played: file, line, what was expected."""


def read_record(path: Path) -> tuple[Row, ...]:
    """Read a record. Raises RecordError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from None
    reader = csv.DictReader(lines)
    if reader.fieldnames is None or not set(COLUMNS) <= set(reader.fieldnames):
        raise RecordError(f"{path}, line 1: expected the columns {','.join(COLUMNS)}")
    rows: list[Row] = []
    for number, line in enumerate(reader, 2):
        try:
            row = Row(*(float(line[name]) for name in COLUMNS))
        except (TypeError, ValueError):
            raise RecordError(f"{path}, line {number}: expected three numbers") from None
        if not all(map(math.isfinite, row)) or (rows and row.t_s <= rows[-1].t_s):
            raise RecordError(f"{path}, line {number}: expected finite numbers and a growing t_s")
        rows.append(row)
    if not rows:
        raise RecordError(f"{path}: expected at least one row")
    return tuple(rows)


def player(rows: Sequence[Row], start_s: float) -> Callable[[float], tuple[float, float] | None]:
    """Voltage and frequency at a site time; None before the record begins."""
    times = [row.t_s - rows[0].t_s for row in rows]

    def at(t_s: float) -> tuple[float, float] | None:
        since_s = t_s - start_s
        if since_s < 0:
            return None
        n = bisect_right(times, since_s) - 1
        here = rows[n]
        if n + 1 == len(rows):
            return here.v, here.hz
        share = (since_s - times[n]) / (times[n + 1] - times[n])
        after = rows[n + 1]
        return here.v + share * (after.v - here.v), here.hz + share * (after.hz - here.hz)

    return at
