"""Reads the power at the PCC from the record, evenly spaced, and the readings of the meter's registers.

Finer steps come from samples, those of a minute from the roll-ups; what is no longer kept so finely has the mean of its
quarter hour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from storage.reader import POINTS, Archive

GRID, ON_GENSET = "grid.w", "decision.on_genset"
IMPORT_WH, EXPORT_WH = "grid.import_wh", "grid.export_wh"
PIECE = POINTS - 200  # steps of one question, which has no more than `POINTS`
NEAR_S = 600  # a register is read so near to a moment


class Counted(NamedTuple):
    """What the meter's registers grew by, Wh."""

    import_wh: float | None
    export_wh: float | None


def grid_power(archive: Archive, begin_s: int, end_s: int, step_s: int) -> list[float]:
    """W at the PCC in each step of [begin, end), > 0 import; nan where nothing is on record.

    While a generator feeds the site it imports nothing: 0. Raises those of `Archive`.
    """
    found: list[float] = []
    span_s = PIECE * step_s
    for start_s in range(begin_s, end_s, span_s):
        until_s = min(start_s + span_s, end_s)
        signals = archive.history((GRID, ON_GENSET), start_s, until_s, step_s)["signals"]
        found += [
            0.0 if on_genset else math.nan if w is None else w
            for w, on_genset in zip(signals[GRID], signals[ON_GENSET], strict=True)
        ]
    return found


def recorded(archive: Archive, signal: str, begin_s: int, end_s: int, step_s: int) -> list[float | None]:
    """The means of any signal in each step of [begin, end). Raises those of `Archive`."""
    found: list[float | None] = []
    span_s = PIECE * step_s
    for start_s in range(begin_s, end_s, span_s):
        until_s = min(start_s + span_s, end_s)
        found += archive.history((signal,), start_s, until_s, step_s)["signals"][signal]
    return found


def counted(archive: Archive, begin_s: float, end_s: float) -> Counted:
    """What the meter's registers counted between two moments; None where it has none, or one near neither was kept.

    Raises those of `Archive`.
    """
    ends = [_registers(archive, at_s) for at_s in (begin_s, end_s)]
    grown = [None if a is None or b is None or b < a else b - a for a, b in zip(*ends, strict=True)]
    return Counted(*grown)


def _registers(archive: Archive, at_s: float) -> Sequence[float | None]:
    """Both registers at a moment: the reading of the minute that is nearest, up to `NEAR_S` away."""
    minute = int(at_s) // 60 * 60
    minutes = archive.minutes((IMPORT_WH, EXPORT_WH), minute - NEAR_S, minute + NEAR_S)
    found: list[float | None] = []
    for name in (IMPORT_WH, EXPORT_WH):
        # a minute's last reading is that of its end
        nearest = min(minutes[name], key=lambda start_s: abs(start_s + 60 - at_s), default=None)
        found.append(None if nearest is None else minutes[name][nearest][1])
    return found
