"""What the fleet's screen costs whoever sits before it, through a real pty: bytes, CPU, answer to a key.

The sites are simulated in its process, each with figures of its own that change with every answer. No link is measured.
A program that only sends each key back is asked in turn with the screen: its time is that of the machine, which other
programs keep busy or not.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from benchmarks.figures import Figure, main, quantile
from benchmarks.terminal import Terminal
from dispatch.model.readings import reading
from fleet.sites import SiteAddress
from gateway.api.protocol import VERSION, Welcome
from gateway.api.site_overview import KindOfAlarm, SiteOverview

SIZES = (("80x24", 80, 24, 20), ("120x40", 120, 40, 100))  # and how many sites
OUTPUT_B_S, CPU_PCT, KEY_MS = 3000, 3, 15  # the goals
SETTLE_S = 12.0  # more than until every site has answered twice
DOWN, UP = "j", "k"
KEYS = (DOWN * 10 + UP * 10) * 2
ECHO = "import os, tty; tty.setraw(0); os.write(1, b'ready')\nwhile key := os.read(0, 1): os.write(1, key)"


class SimulatedSite:
    """A site's end of the link."""

    def __init__(self, number: int) -> None:
        self.welcome = Welcome(VERSION, f"Site {number}", "UTC", "bench", 1, 0.0, 1.0, False, 5.0)
        self.client, self.said = self, ""
        self._number = number

    async def request(self, method: str, **params: Any) -> Any:
        """Its overview at this moment."""
        n, now_s = self._number, time.time()
        swing = math.sin(now_s / (10 + n % 7) + n)
        alarms = (KindOfAlarm("device-lost", "medium", 1, 1, now_s - 60),) if n % 10 == 3 else ()
        return msgspec.to_builtins(
            SiteOverview(
                utc_s=now_s,
                site=f"Site {n}",
                timezone="UTC",
                island="islanded" if n % 25 == 7 else "grid-tied",
                mode="plan",
                import_w=reading(40_000 + 30_000 * swing),
                peak_w=75_000.0,
                soc_pct=reading(50 + 30 * math.sin(now_s / 600 + n)),
                energy_kwh=100.0,
                pv_w=5_000 + 4_000 * swing,
                load_w=60_000 + 20_000 * swing,
                price_eur_per_kwh=0.08 + n / 10_000,
                iq_today_pct=90.0,
                cost_today_eur=20.0 + n + now_s % 86_400 / 1000,
                jobs_running=n % 9,
                alarms=alarms,
            )
        )

    async def close(self) -> None:
        """Nothing is open."""


async def connect(address: SiteAddress, ssh: Sequence[str]) -> SimulatedSite:
    """Attached at once, but not all at the same moment: real sites do not answer together either."""
    number = int(address.name.rpartition("-")[2])
    await asyncio.sleep(number % 50 / 10)
    return SimulatedSite(number)


def run_screen(count: int) -> None:
    """The screen, in this terminal."""
    from console.tui.fleet_app import FleetApp
    from fleet.watch import Watch

    sites = [SiteAddress(f"site-{n:03}") for n in range(count)]
    FleetApp(Watch(sites, connect=connect), lambda site: ["true"]).run()


def measure(seconds: float = 30.0) -> list[Figure]:
    """Everything for each size."""
    unwanted = ("COLORTERM", "TMUX", "STY", "COLUMNS", "LINES", "NO_COLOR", "TEXTUAL")
    environment = {k: v for k, v in os.environ.items() if k not in unwanted}
    environment |= {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    figures: list[Figure] = []
    for size, columns, rows, count in SIZES:
        command = [sys.executable, "-m", "benchmarks.fleet", "--screen", str(count)]
        with Terminal(command, environment, columns, rows) as terminal:
            terminal.wait_for(b" answer", 30)
            terminal.read_for(SETTLE_S)
            cpu_s, since = terminal.cpu_s(), time.perf_counter()
            painted = terminal.read_for(seconds)
            elapsed_s = time.perf_counter() - since
            cpu_pct = 100 * (terminal.cpu_s() - cpu_s) / elapsed_s
            echoes_ms, answers_ms = _answers(terminal, environment)
        what = f"fleet screen, {size}, {count} sites"
        figures += [
            Figure(f"{what}: output", painted / elapsed_s, "B/s", goal=OUTPUT_B_S),
            Figure(f"{what}: CPU", cpu_pct, "% of a core", goal=CPU_PCT),
            Figure(f"{what}: key to first byte p50", quantile(answers_ms, 0.5), "ms"),
            Figure(f"{what}: key to first byte p95", quantile(answers_ms, 0.95), "ms", goal=KEY_MS),
            Figure(f"{what}: key sent back by a program that does nothing else, p95", quantile(echoes_ms, 0.95), "ms"),
        ]
    return figures


def _answers(screen: Terminal, environment: Mapping[str, str]) -> tuple[list[float], list[float]]:
    """From a key to the first byte, ms: of a program that sends it back, and of the screen, in turn."""
    echoes_ms, answers_ms = [], []
    with Terminal([sys.executable, "-c", ECHO], environment, 80, 24) as echo:
        echo.wait_for(b"ready", 30)
        for key in KEYS:
            echoes_ms.append(1000 * echo.press(key))
            answers_ms.append(1000 * screen.press(key))
    return echoes_ms, answers_ms


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--seconds", type=float, default=30.0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--screen"]:
        run_screen(int(sys.argv[2]))
    else:
        main(__doc__ or "", options, measure)
