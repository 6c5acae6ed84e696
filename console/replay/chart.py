"""Formats a replay for the terminal, in strips of blocks: import, net load, battery, SoC. `picture` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from console.replay.engine import Schedule

BLOCKS = " ▁▂▃▄▅▆▇█"
LABEL = 9  # columns before a strip


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
