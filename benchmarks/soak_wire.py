"""Twin and gateway as processes, a console attached, for hours: memory, open files, overruns, alarms without a cause.

Memory and files are compared from a tenth of the time on: the first plans and the first packed block need their room.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import psutil

from benchmarks.figures import Figure, main
from benchmarks.plant import running
from gateway.api.ask import Conversation

SETTLED = 0.1
LOOK_S = 1.0
# The demo's load is meant to exceed the contract at times: then the alarm is right.
EXPLAINED = ("peak-exceeded",)


def measure(minutes: float = 60.0) -> list[Figure]:
    """One run."""
    alarms: dict[str, Any] = {}
    rss_mb: list[tuple[float, float]] = []
    with running({}) as plant, Conversation(plant.socket_path()) as link:
        began_s = time.monotonic()
        opened = most_open = overruns_before = overruns = 0
        while (elapsed_s := time.monotonic() - began_s) < 60 * minutes:
            state = link.request("status")
            alarms |= {alarm["id"]: alarm for alarm in state["alarms"]}
            overruns = state["loop"]["overruns"]
            files = _files(plant.gateway)
            if elapsed_s >= 60 * minutes * SETTLED:
                if not rss_mb:
                    opened, overruns_before = files, overruns
                most_open = max(most_open, files)
                rss_mb.append((elapsed_s / 3600, plant.gateway.memory_info().rss / 1e6))
            time.sleep(LOOK_S)
    unexplained = sorted(id for id in alarms if id.partition(":")[0] not in EXPLAINED)
    return [
        Figure("on the wire", minutes, "min"),
        Figure("more memory", _slope(rss_mb), "MB/h", goal=2.0),
        Figure("… of it in the second half", _slope(rss_mb[len(rss_mb) // 2 :]), "MB/h"),
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


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
