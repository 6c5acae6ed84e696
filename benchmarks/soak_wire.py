"""Twin and gateway as processes, a console attached, for hours: memory, open files, overruns, alarms without a cause.

Memory, files and overruns are those after the first half hour, in which memory grows by about 10 MB: SQLite's caches,
the lateness of 10 000 ticks, the first plans and the first packed blocks need their room.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import psutil

from benchmarks.figures import Figure, main
from benchmarks.plant import running
from gateway.api.ask import Conversation

SETTLE_MIN = 30.0
LOOK_S = 1.0
# The demo's load is meant to exceed the contract at times: then the alarm is right.
EXPLAINED = ("peak-exceeded",)


def measure(minutes: float = 60.0, settle: float = SETTLE_MIN) -> list[Figure]:
    """One run: so many minutes after those in which it settles."""
    alarms: dict[str, Any] = {}
    rss_mb: list[tuple[float, float]] = []
    with running({}) as plant, Conversation(plant.socket_path()) as link:
        began_s = time.monotonic()
        opened = most_open = overruns_before = overruns = 0
        while (elapsed_s := time.monotonic() - began_s) < 60 * (settle + minutes):
            state = link.request("status")
            alarms |= {alarm["id"]: alarm for alarm in state["alarms"]}
            overruns = state["loop"]["overruns"]
            files = _files(plant.gateway)
            if elapsed_s >= 60 * settle:
                if not rss_mb:
                    opened, overruns_before = files, overruns
                most_open = max(most_open, files)
                rss_mb.append((elapsed_s / 3600, plant.gateway.memory_info().rss / 1e6))
            time.sleep(LOOK_S)
    unexplained = sorted(id for id in alarms if id.partition(":")[0] not in EXPLAINED)
    return [
        Figure(f"on the wire, after {settle:g} min", minutes, "min"),
        Figure("more memory", _slope(rss_mb), "MB/h", goal=2.0),
        Figure("more open than at first", most_open - opened, "files", goal=0),
        Figure("without a tick", overruns - overruns_before, "periods", goal=0),
        Figure(" ".join(["without a cause", *unexplained]), len(unexplained), "alarms", goal=0),
    ]


def _files(process: psutil.Process) -> int:
    return int(process.num_fds())


def _slope(points: list[tuple[float, float]]) -> float:
    """By least squares."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--settle", type=float, default=SETTLE_MIN, help="minutes before them (30)")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
