"""What a benchmark yields, how it is shown, and the command line that all of them share."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import psutil

from benchmarks.reliability import tell


@dataclass(frozen=True)
class Figure:
    """One measured value and the goal it must not exceed (None: quoted, not judged)."""

    what: str
    got: float
    unit: str
    goal: float | None = None

    @property
    def met(self) -> bool:
        """Whether the goal is kept; True without one."""
        return self.goal is None or self.got <= self.goal


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share `q` of `values` does not exceed (no interpolation)."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def machine() -> str:
    """What was measured on, in a few words. Other work on it shows in the load average."""
    cpus, memory_gib = os.cpu_count(), psutil.virtual_memory().total / 2**30
    return (
        f"{platform.machine()}, {cpus} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned text: what, goal, got, and a mark where the goal was missed."""
    rows = [("figure", "goal", "got", "")]
    for figure in figures:
        goal = "" if figure.goal is None else f"<= {figure.goal:g} {figure.unit}"
        rows.append((figure.what, goal, f"{figure.got:.4g} {figure.unit}", "" if figure.met else "MISSED"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def main(
    description: str, add_options: Callable[[argparse.ArgumentParser], None], measure: Callable[..., list[Figure]]
) -> None:
    """Parse the command line, measure, print; exit 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=description)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON list instead of the table")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    figures = measure(**options)
    for figure in figures:
        tell(f"{figure.unit}: {figure.what.removeprefix('… ')}", figure.got, "max")
    if as_json:
        print(json.dumps([asdict(figure) for figure in figures]))
    else:
        print(f"{machine()}\n\n{table(figures)}")
    sys.exit(0 if all(figure.met for figure in figures) else 1)
