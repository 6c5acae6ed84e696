"""Readings on a canvas: figures that show whether they are fresh, and bars in a frame with a limit mark."""

from __future__ import annotations

import msgspec

from console.display.ink import Ink
from console.tui.canvas import Canvas
from console.tui.charts import bar, mark_at
from dispatch.model.readings import Quality, Reading


def reading_ink(reading: Reading) -> Ink:
    """Plain for a value that may be used, dim for one that is missing or only kept for display."""
    return Ink.PLAIN if reading.quality is Quality.GOOD else Ink.DIM


class Gauge(msgspec.Struct, frozen=True):
    """A value on a scale from 0 to `full`, with a limit or reserve marked on it."""

    reading: Reading
    full: float
    mark: float | None = None


def draw_gauge(canvas: Canvas, x: int, y: int, gauge: Gauge, columns: int) -> int:
    """A bar of some columns in its frame, dim where the value is old, of dots where there is none.

    Returns the column after the frame.
    """
    x, value = canvas.put(x, y, "▕", Ink.DIM), gauge.reading.value
    filled = "·" * columns if value is None else bar(value, gauge.full, columns)
    canvas.put(x, y, filled, reading_ink(gauge.reading))
    if gauge.mark is not None:
        at = mark_at(gauge.mark, gauge.full, columns)
        canvas.put(x + at, y, "┊", Ink.PLAIN if filled[at] in " ·" else Ink.MARK)
    return canvas.put(x + columns, y, "▏", Ink.DIM)
