"""Bars, braille lines and strips of blocks as plain text: a row of one ink is cheap to send."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"
# bit of each of the 2 x 4 dots of a braille cell, [column][row from the top] (Unicode 10.0, section 21.1)
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))

Series = Sequence[float | None]


def bar(value: float | None, full: float, width: int) -> str:
    """A bar of `width` cells in eighths; blank where the value is missing."""
    if value is None or full <= 0:
        return " " * width
    eighths = round(max(0.0, min(1.0, value / full)) * width * 8)
    return (BLOCKS[8] * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")).ljust(width)


def mark_at(value: float, full: float, width: int) -> int:
    """The cell of a bar in which `value` lies."""
    return max(0, min(width - 1, int(value / full * width))) if full > 0 else 0


def strip(values: Series, low: float | None = None, high: float | None = None) -> str:
    """One block per value, ▁ lowest to █ highest; a blank where a value is missing."""
    known = [v for v in values if v is not None]
    if not known:
        return " " * len(values)
    low = min(known) if low is None else low
    span = (max(known) if high is None else high) - low
    return "".join(" " if v is None else LEVELS[min(7, int((v - low) / span * 8)) if span > 0 else 0] for v in values)


def nice_ceiling(value: float) -> float:
    """The next 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten that is not below `value`."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9))


class Raster:
    """Braille dots, two across and four down per cell, over the values `low` (bottom) to `high` (top)."""

    def __init__(self, width: int, height: int, low: float, high: float) -> None:
        self.width, self.height = width, height
        self.low, self.high = low, high if high > low else low + 1
        self._bits = [[0] * width for _ in range(height)]

    def level(self, value: float) -> int:
        """The dot row from the bottom in which `value` lies; beyond the scale it stays at the edge."""
        dots = self.height * 4
        return max(0, min(dots - 1, round((value - self.low) / (self.high - self.low) * (dots - 1))))

    def dot(self, x: int, level: int) -> None:
        """Set one dot, `x` in half cells from the left."""
        row = self.height - 1 - level // 4
        if 0 <= x < self.width * 2 and 0 <= row < self.height:
            self._bits[row][x // 2] |= DOTS[x % 2][3 - level % 4]

    def line(self, values: Series, start: int = 0) -> None:
        """Join the known values, one per half cell from `start`; a missing one leaves a gap."""
        last: int | None = None
        for n, value in enumerate(values):
            if value is None:
                last = None
                continue
            now = self.level(value)
            step = 0 if last is None else (now > last) - (now < last)
            for level in range(now if not step or last is None else last + step, now + (step or 1), step or 1):
                self.dot(start + n, level)
            last = now

    def dashed(self, values: Series, start: int = 0) -> None:
        """The values as a broken line: what is planned, or a limit."""
        for n, value in enumerate(values):
            if value is not None and (start + n) % 4 < 2:
                self.dot(start + n, self.level(value))

    def band(self, lows: Series, highs: Series, start: int = 0) -> None:
        """Thinly fill between two series."""
        for n, (low, high) in enumerate(zip(lows, highs, strict=True)):
            if low is None or high is None:
                continue
            for level in range(self.level(low), self.level(high) + 1):
                if (start + n) % 2 == 0 and level % 2 == (start + n) // 2 % 2:
                    self.dot(start + n, level)

    def rows(self) -> list[str]:
        """The cells, top row first; a blank where no dot is set."""
        return ["".join(chr(0x2800 + b) if b else " " for b in row) for row in self._bits]
