"""A replay in two pictures: blocks for the terminal, and a PNG written with nothing but zlib.

Both show, over the whole stretch: the grid's import and export, load less PV, the battery, and the SoC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from console.replay.canvas import PITCH, Canvas, Colour
from console.replay.engine import Schedule

BLOCKS = " ▁▂▃▄▅▆▇█"
LABEL = 9  # columns before a strip

GREY, BLACK = (208, 208, 208), (64, 64, 64)
BLUE, ORANGE, GREEN = (31, 119, 180), (214, 120, 20), (44, 140, 60)
WIDTH, PANEL, GAP = 1440, 220, 24  # pixels


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


def write_png(path: Path, schedule: Schedule) -> None:
    """Three panels, time to the right, a grey line every 24 h and a black one at zero:

    load less PV (grey) and import (blue); battery (green, up is discharge); SoC (orange, 0 to 100 %).
    """
    net = [load - pv for load, pv in zip(schedule.load_w, schedule.pv_w, strict=True)]
    grid = [a - b for a, b in zip(net, schedule.battery_w, strict=True)]
    canvas = Canvas(min(WIDTH, max(len(net), 240)), 3 * PANEL + 4 * GAP)
    rows_per_day = int(86400 / schedule.step_s)
    for day in range(rows_per_day, len(net), rows_per_day):
        canvas.column(day * canvas.width // len(net), 0, canvas.height, GREY)
    power = (min(0.0, *net, *grid), max(1.0, *net, *grid))
    swing = max(1.0, *(abs(w) for w in schedule.battery_w))
    panels: list[tuple[str, tuple[float, float], list[tuple[Sequence[float], Colour]]]] = [
        (f"import, net load   {_extent(power)}", power, [(net, GREY), (grid, BLUE)]),
        (f"battery   {_extent((-swing, swing))}", (-swing, swing), [(schedule.battery_w, GREEN)]),
        ("SoC   0 to 100 %", (0.0, 100.0), [(schedule.soc_pct, ORANGE)]),
    ]
    for number, (title, span, lines) in enumerate(panels):
        top = GAP + number * (PANEL + GAP)
        canvas.row(_y(0.0, span, top), BLACK)
        for values, colour in lines:
            _draw(canvas, top, span, values, colour)
        canvas.text(4, top - 14, title, lines[-1][1])
    ends = [f"{datetime.fromtimestamp(t_s, UTC):%Y-%m-%d}" for t_s in (schedule.start_s, schedule.end_s)]
    canvas.text(4, canvas.height - 14, ends[0], BLACK)
    canvas.text(canvas.width - PITCH * len(ends[1]), canvas.height - 14, ends[1], BLACK)
    path.write_bytes(canvas.png())


def _extent(span: tuple[float, float]) -> str:
    """From where to where a panel reaches."""
    return f"{span[0] / 1000:.0f} to {span[1] / 1000:.0f} kW"


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
