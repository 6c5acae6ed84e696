"""A replay in two pictures: blocks for the terminal, and a PNG written with nothing but zlib.

Both show, over the whole stretch: the grid's import and export, load less PV, the battery, and the SoC.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from console.replay.engine import Schedule

BLOCKS = " ▁▂▃▄▅▆▇█"
LABEL = 9  # columns before a strip

WHITE, GREY, BLACK = (255, 255, 255), (208, 208, 208), (64, 64, 64)
BLUE, ORANGE, GREEN = (31, 119, 180), (214, 120, 20), (44, 140, 60)
WIDTH, PANEL, GAP = 1440, 220, 20  # pixels

Colour = tuple[int, int, int]


def terminal(schedule: Schedule, width: int) -> list[str]:
    """Strips of blocks, one line each: highest import, mean load less PV, discharge, charge and mean SoC per column."""
    columns = max(10, width - LABEL - 10)
    battery = schedule.battery_w
    net = [load - pv for load, pv in zip(schedule.load_w, schedule.pv_w, strict=True)]
    grid = [a - b for a, b in zip(net, battery, strict=True)]
    strips = [
        ("import", [max(0.0, *part) / 1000 for part in _parts(grid, columns)], "kW"),
        ("net load", [max(0.0, sum(part) / len(part)) / 1000 for part in _parts(net, columns)], "kW"),
        ("discharge", [max(0.0, *part) / 1000 for part in _parts(battery, columns)], "kW"),
        ("charge", [max(0.0, -min(part)) / 1000 for part in _parts(battery, columns)], "kW"),
        ("SoC", [sum(part) / len(part) for part in _parts(schedule.soc_pct, columns)], "%"),
    ]
    tops = {"kW": max((v for _, values, unit in strips if unit == "kW" for v in values), default=0.0), "%": 100.0}
    return [f"{name:<{LABEL}}{_blocks(values, tops[unit])} {max(values):5.1f} {unit}" for name, values, unit in strips]


def _parts(values: Sequence[float], columns: int) -> list[Sequence[float]]:
    """At most so many parts of nearly equal length, none empty."""
    columns = min(columns, len(values))
    edges = [k * len(values) // columns for k in range(columns + 1)]
    return [values[a:b] for a, b in pairwise(edges)]


def _blocks(values: Sequence[float], top: float) -> str:
    scale = (len(BLOCKS) - 1) / top if top > 0 else 0.0
    return "".join(BLOCKS[min(len(BLOCKS) - 1, max(0, round(v * scale)))] for v in values)


# ── PNG ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Canvas:
    """Pixels, RGB; (0, 0) is the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows = [bytearray(bytes(WHITE) * width) for _ in range(height)]

    def column(self, x: int, y0: int, y1: int, colour: Colour) -> None:
        """A vertical line of one pixel's width, both ends included, in either order; outside is cut off."""
        if not 0 <= x < self.width:
            return
        for y in range(max(0, min(y0, y1)), min(self.height - 1, max(y0, y1)) + 1):
            self._rows[y][3 * x : 3 * x + 3] = bytes(colour)

    def row(self, y: int, colour: Colour) -> None:
        """A horizontal line over the whole width."""
        if 0 <= y < self.height:
            self._rows[y] = bytearray(bytes(colour) * self.width)

    def png(self) -> bytes:
        """The file (PNG 1.2: signature, IHDR, IDAT, IEND; 8 bit RGB, filter 0 on every row)."""
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + bytes(row) for row in self._rows), 9)
        chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path: Path, schedule: Schedule) -> None:
    """Three panels, time to the right, a grey line every 24 h and a black one at zero:

    load less PV (grey) and import (blue); battery (green, up is discharge); SoC (orange, 0 to 100 %).
    """
    net = [load - pv for load, pv in zip(schedule.load_w, schedule.pv_w, strict=True)]
    grid = [a - b for a, b in zip(net, schedule.battery_w, strict=True)]
    canvas = Canvas(min(WIDTH, max(len(net), 240)), 3 * PANEL + 4 * GAP)
    for day in range(86400 // schedule.step_s, len(net), 86400 // schedule.step_s):
        canvas.column(day * canvas.width // len(net), 0, canvas.height, GREY)
    power = (min(0.0, *net, *grid), max(1.0, *net, *grid))
    swing = max(1.0, *(abs(w) for w in schedule.battery_w))
    panels: list[tuple[tuple[float, float], list[tuple[Sequence[float], Colour]]]] = [
        (power, [(net, GREY), (grid, BLUE)]),
        ((-swing, swing), [(schedule.battery_w, GREEN)]),
        ((0.0, 100.0), [(schedule.soc_pct, ORANGE)]),
    ]
    for number, (span, lines) in enumerate(panels):
        top = GAP + number * (PANEL + GAP)
        canvas.row(_y(0.0, span, top), BLACK)
        for values, colour in lines:
            _draw(canvas, top, span, values, colour)
    path.write_bytes(canvas.png())


def _draw(canvas: Canvas, top: int, span: tuple[float, float], values: Sequence[float], colour: Colour) -> None:
    """Each pixel column spans the values it holds and reaches back to the one before it."""
    before: float | None = None
    for x, part in enumerate(_columns(values, canvas.width)):
        low, high = min(part), max(part)
        if before is not None:
            low, high = min(low, before), max(high, before)
        canvas.column(x, _y(low, span, top), _y(high, span, top), colour)
        before = part[-1]


def _columns(values: Sequence[float], width: int) -> list[Sequence[float]]:
    """The values under each pixel column, at least one."""
    result = []
    for x in range(width):
        first = x * len(values) // width
        result.append(values[first : max(first + 1, (x + 1) * len(values) // width)])
    return result


def _y(value: float, span: tuple[float, float], top: int) -> int:
    low, high = span
    return top + round((PANEL - 1) * (high - value) / (high - low))
