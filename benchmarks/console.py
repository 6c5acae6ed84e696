"""What the console costs whoever sits before it, through a real pty: bytes, CPU, start, answer to a key, a slow line.

Idle is a site of 64 GPUs that take the same power all the time; busy is the demo's recorded load. Every view is
measured on 120x40. htop and btop, where they are installed, are measured beside it at the same 1 Hz.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean

from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import SKERRY, running
from benchmarks.slow_terminal import BAUD, LATE_PCT, SlowTerminal
from benchmarks.terminal import Terminal

READY = b"GRID-TIED"  # painted once the first snapshot is on screen
SETTLE_S = 5.0
SWITCHING_B = 300  # more in 0.6 s: a view is still being painted
KEYS = "21" * 20
STARTS = 3
VIEWS = (
    ("1", "Overview"),
    ("2", "Compute"),
    ("3", "Plan"),
    ("4", "Island"),
    ("5", "Alarms"),
    ("6", "Log"),
    ("7", "Devices"),
    ("?", "Help"),
)
IDLE_B_PER_S, BUSY_B_PER_S, SWITCH_B = 500, 2500, 12_000
IDLE_NODES_W = 20_000.0
BESIDE = {"htop": ("htop", "-d", "10"), "btop": ("btop",)}


def measure(seconds: float = 10.0, demo: bool = True, slow: bool = True) -> list[Figure]:
    """Everything at 1 Hz, attached to a gateway of its own process; the demo's start includes twin and gateway."""
    figures: list[Figure] = []
    with running({}, nodes_w=IDLE_NODES_W) as plant:
        command, environment = [*SKERRY, str(plant.site)], _plain(plant.environment)
        figures += _views(command, environment, (120, 40), seconds, "idle", IDLE_B_PER_S)
        figures += _beside(seconds)
        figures += _answers(command, environment)
        if slow:
            figures += _slow_line(command, environment, seconds)
    with running({}) as plant:
        command, environment = [*SKERRY, str(plant.site)], _plain(plant.environment)
        figures += _views(command, environment, (120, 40), seconds, "busy", BUSY_B_PER_S)
        figures += _views(command, environment, (80, 24), seconds, "busy", BUSY_B_PER_S)
    if demo:
        with tempfile.TemporaryDirectory(prefix="skb") as folder:
            environment = _plain({**environment, "XDG_RUNTIME_DIR": folder, "XDG_STATE_HOME": folder})
            figures.append(
                Figure("demo start to first picture", _start_s([*SKERRY, "demo"], environment, 20), "s", goal=3)
            )
    return figures


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """A terminal like any other: 256 colours, UTF-8, no multiplexer."""
    unwanted = ("COLORTERM", "TMUX", "STY", "COLUMNS", "LINES", "NO_COLOR", "SKERRY_SITE", "SKERRY_THEME", "TEXTUAL")
    return {k: v for k, v in environment.items() if k not in unwanted} | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


def _start_s(command: list[str], environment: dict[str, str], limit_s: float) -> float:
    began = time.perf_counter()
    with Terminal(command, environment, 120, 40) as terminal:
        terminal.wait_for(READY, limit_s)
        return time.perf_counter() - began


def _views(
    command: list[str], environment: dict[str, str], size: tuple[int, int], seconds: float, load: str, goal: int
) -> Iterator[Figure]:
    """What each view paints in a second, and what it takes to show it; the CPU of all of them."""
    columns, rows = size
    where = f"{columns}x{rows}, {load}"
    with Terminal(command, environment, columns, rows) as terminal:
        terminal.wait_for(READY, 10)
        terminal.read_for(SETTLE_S)
        largest, cpu_s = 0, 0.0
        for key, name in (*VIEWS[1:], VIEWS[0]):
            before = len(terminal.painted)
            terminal.press(key)
            while terminal.read_for(0.6) > SWITCHING_B:
                pass
            largest = max(largest, len(terminal.painted) - before)
            before_s = terminal.cpu_s()
            painted = terminal.read_for(seconds)
            cpu_s += terminal.cpu_s() - before_s
            if not painted or not terminal.alive:
                raise RuntimeError(f"{name}: {painted} bytes in {seconds:g} s; {bytes(terminal.painted[-600:])!r}")
            yield Figure(f"{name}, {where}", painted / seconds, "B/s", goal=goal)
        cpu_pct = 100 * cpu_s / (seconds * len(VIEWS))
        yield Figure(f"console CPU, all views, {where}", cpu_pct, "% of a core", goal=2)
        yield Figure(f"largest switch of the view, {where}", largest, "B", goal=SWITCH_B)


def _beside(seconds: float) -> Iterator[Figure]:
    """Other programs that show a machine at 1 Hz, as they are installed."""
    for name, command in BESIDE.items():
        if shutil.which(name) is None:
            continue
        with tempfile.TemporaryDirectory(prefix="skb") as folder:
            settings = Path(folder) / "btop" / "btop.conf"
            settings.parent.mkdir()
            settings.write_text("update_ms = 1000\n", encoding="utf-8")
            environment = _plain({"PATH": "/usr/bin:/bin", "HOME": folder, "XDG_CONFIG_HOME": folder})
            with Terminal(command, environment, 120, 40) as terminal:
                terminal.read_for(SETTLE_S)
                cpu_s = terminal.cpu_s()
                painted = terminal.read_for(seconds)
                yield Figure(f"{name} beside it, 120x40", painted / seconds, "B/s")
                yield Figure(f"{name} beside it: CPU", 100 * (terminal.cpu_s() - cpu_s) / seconds, "% of a core")


def _answers(command: list[str], environment: dict[str, str]) -> Iterator[Figure]:
    """Start, attached, and the time from a key to the first byte painted after it."""
    starts = [_start_s(command, environment, 10) for _ in range(STARTS)]
    yield Figure("console start, attached, 120x40", mean(starts), "s", goal=0.6)
    with Terminal(command, environment, 120, 40) as terminal:
        terminal.wait_for(READY, 10)
        terminal.read_for(SETTLE_S)
        answers_ms = [1000 * terminal.press(key) for key in KEYS]
    yield Figure("key to first byte p50, 120x40", quantile(answers_ms, 0.5), "ms")
    yield Figure("key to first byte p95, 120x40", quantile(answers_ms, 0.95), "ms", goal=10)


def _slow_line(command: list[str], environment: dict[str, str], seconds: float) -> Iterator[Figure]:
    """A line of 9600 baud, of whose pieces some are late as if sent again."""
    what = f"{BAUD} baud, {LATE_PCT} % of pieces late, 80x24"
    answers_s = []
    with SlowTerminal(command, environment, 80, 24) as terminal:
        terminal.until(lambda: any("GRID-TIED" in line for line in terminal.cells.lines), 60)
        terminal.read_for(SETTLE_S)
        ages_s = terminal.clock_ages_s(2 * seconds)
        for key, name in 2 * VIEWS[1:6]:
            answers_s.append(terminal.answer_s(key, name))
            ages_s += terminal.clock_ages_s(SETTLE_S)
    later_s = [(age_s - ages_s[0] + 1800) % 3600 for age_s in ages_s]
    oldest_s = max(later_s) - min(later_s)
    yield Figure(f"age of the time that is shown, beyond the least, {what}: worst", oldest_s, "s", goal=5)
    yield Figure(f"key to its answer, {what}: worst of {len(answers_s)}", max(answers_s), "s", goal=1)


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--seconds", type=float, default=10.0, help="in each view")
    parser.add_argument("--no-demo", dest="demo", action="store_false")
    parser.add_argument("--no-slow", dest="slow", action="store_false", help="without the slow line")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
