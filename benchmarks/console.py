"""What the console costs whoever sits before it, through a real pty: bytes, CPU, start, answer to a key."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from statistics import mean

from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import SKERRY, running
from benchmarks.terminal import Terminal

SIZES = (("120x40", 120, 40, 2500), ("80x24", 80, 24, 1500))  # and the goal in bytes per second
READY = b"GRID-TIED"  # painted once the first snapshot is on screen
SETTLE_S = 5.0
KEYS = "21" * 20
STARTS = 3


def measure(seconds: float = 30.0, demo: bool = True) -> list[Figure]:
    """Everything at 1 Hz, attached to a gateway of its own process; the demo's start includes twin and gateway."""
    figures: list[Figure] = []
    with running({}) as plant:
        command = [*SKERRY, str(plant.site)]
        for size, columns, rows, goal in SIZES:
            figures += _cost(command, _plain(plant.environment), size, columns, rows, goal, seconds)
    if demo:
        with tempfile.TemporaryDirectory(prefix="skb") as folder:
            environment = _plain({**plant.environment, "XDG_RUNTIME_DIR": folder, "XDG_STATE_HOME": folder})
            figures.append(
                Figure("demo start to first picture", _start_s([*SKERRY, "demo"], environment, 20), "s", goal=3)
            )
    return figures


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """A terminal like any other: 256 colours, UTF-8, no multiplexer."""
    unwanted = ("COLORTERM", "TMUX", "STY", "COLUMNS", "LINES", "NO_COLOR", "SKERRY_SITE", "TEXTUAL")
    return {k: v for k, v in environment.items() if k not in unwanted} | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


def _start_s(command: list[str], environment: dict[str, str], limit_s: float) -> float:
    began = time.perf_counter()
    with Terminal(command, environment, 120, 40) as terminal:
        terminal.wait_for(READY, limit_s)
        return time.perf_counter() - began


def _cost(
    command: list[str], environment: dict[str, str], size: str, columns: int, rows: int, goal: int, seconds: float
) -> list[Figure]:
    starts = [_start_s(command, environment, 10) for _ in range(STARTS)]
    with Terminal(command, environment, columns, rows) as terminal:
        terminal.wait_for(READY, 10)
        terminal.read_for(SETTLE_S)
        cpu_s, since = terminal.cpu_s(), time.perf_counter()
        painted = terminal.read_for(seconds)
        elapsed_s = time.perf_counter() - since
        cpu_pct = 100 * (terminal.cpu_s() - cpu_s) / elapsed_s
        if not painted or not terminal.alive:
            raise RuntimeError(
                f"the console painted {painted} bytes in {seconds:g} s; last: {bytes(terminal.painted[-600:])!r}"
            )
        answers_ms = [1000 * terminal.press(key) for key in KEYS]
    return [
        Figure(f"console output, {size} at 1 Hz", painted / elapsed_s, "B/s", goal=goal),
        Figure(f"console CPU, {size} at 1 Hz", cpu_pct, "% of a core", goal=2),
        Figure(f"console start, attached, {size}", mean(starts), "s", goal=0.7),
        Figure(f"key to first byte p50, {size}", quantile(answers_ms, 0.5), "ms"),
        Figure(f"key to first byte p95, {size}", quantile(answers_ms, 0.95), "ms", goal=15),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--no-demo", dest="demo", action="store_false")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
