"""The value axis at the left of a chart."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.ink import Ink
from console.tui.canvas import Canvas

AXIS_COLUMNS = 6  # labels and line


def draw_value_axis(canvas: Canvas, top: int, labels: Sequence[str]) -> None:
    """The line, and a label for each row from `top` down."""
    last = len(labels) - 1
    for n, text in enumerate(labels):
        canvas.right(AXIS_COLUMNS - 2, top + n, text, Ink.DIM)
        canvas.put(AXIS_COLUMNS - 1, top + n, "┤" if n in (0, last) else "│", Ink.DIM)
