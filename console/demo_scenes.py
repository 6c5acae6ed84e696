"""The scenes of `skerry demo --scene NAME`: a moment of the recorded load and prices, and commands given in it.

A scene changes nothing but `[twin] start_utc` and `soc_pct` of the demo's site file. Its commands are those that a
person would type in a second terminal, run as processes of their own against the demo's gateway and twin.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.api.socket_file import listening
from gateway.site import paths

START_LIMIT_S = 30.0  # for the demo's gateway to listen
COMMAND_LIMIT_S = 30.0


class Order(NamedTuple):
    """A command of `skerry`, without `--site`, given `after_s` of the site's clock after the gateway listens."""

    after_s: float
    words: tuple[str, ...]


class Scene(NamedTuple):
    """Where the twin starts: `start_utc` (ISO 8601) with `soc_pct`; what is to be seen; what is ordered."""

    name: str
    start_utc: str
    soc_pct: float
    shows: str
    orders: tuple[Order, ...] = ()


SCENES = (
    Scene(
        "pulse",
        "2025-09-18T13:14:35Z",
        65,
        "a job of 7 kW starts 25 s after the start, with the metering interval; the battery charges less",
    ),
    Scene("valley", "2025-09-16T10:00:00Z", 35, "noon of a sunny day, spot price below zero; the battery charges"),
    Scene(
        "drill",
        "2025-09-17T11:00:00Z",
        70,
        "a drill of 3 minutes: the switch opens, the site runs on its battery, and returns to the grid",
        (Order(15, ("drill", "start", "--minutes", "3", "--reason", "scene of the demo")),),
    ),
    Scene(
        "outage",
        "2025-09-17T18:00:00Z",
        70,
        "the grid fails for 3 minutes in the evening; the battery carries the load, then the switch closes again",
        (Order(15, ("fault", "outage", "--for", "180s")),),
    ),
    Scene(
        "event",
        "2025-09-17T09:58:30Z",
        70,
        "a grid event: import at most 12 kW from 12:00 to 12:15, announced a minute before",
        (
            Order(
                10,
                (
                    "event",
                    "start",
                    "--import-kw",
                    "12",
                    "--from",
                    "12:00",
                    "--to",
                    "12:15",
                    "--reason",
                    "scene of the demo",
                ),
            ),
        ),
    ),
)


def scene_named(name: str) -> Scene:
    """The scene of this name, one of `SCENES`. Raises KeyError."""
    return {scene.name: scene for scene in SCENES}[name]


def set_in(text: str, scene: Scene) -> str:
    """The demo's site file with the start and the SoC of the scene."""
    text = re.sub(r"(?m)^start_utc = .*$", f'start_utc = "{scene.start_utc}"', text)
    return re.sub(r"(?m)^soc_pct = .*$", f"soc_pct = {scene.soc_pct:g}", text)


def scene_lines() -> Iterator[str]:
    """The scenes as text: each with its moment and the commands that it gives."""
    for scene in SCENES:
        yield f"{scene.name:<8} {scene.shows}"
        yield f"         from {scene.start_utc}, SoC {scene.soc_pct:g} %"
        for order in scene.orders:
            yield f"         after {order.after_s:g} s: skerry {' '.join(order.words)}"


def give_orders(scene: Scene, site_path: Path, speed: float, say: Callable[[str], None]) -> None:
    """Wait for the gateway of `site_path`, then give the scene's orders in time. `say` is told of one that failed."""
    socket, until = paths.socket_path(site_path), time.monotonic() + START_LIMIT_S
    while not listening(socket):
        if time.monotonic() > until:
            return  # the demo says itself that its gateway did not start
        time.sleep(0.1)
    begun = time.monotonic()
    for order in scene.orders:
        time.sleep(max(0.0, begun + order.after_s / speed - time.monotonic()))
        command = [sys.executable, "-P", "-m", "skerry", *order.words, "--site", str(site_path)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            say(f"scene {scene.name}: skerry {' '.join(order.words)}: no answer within {COMMAND_LIMIT_S:g} s")
            continue
        if done.returncode:
            why = (done.stderr or done.stdout).strip()
            say(f"scene {scene.name}: skerry {' '.join(order.words)}: exit code {done.returncode}: {why}")


def order_beside(scene: Scene, site_path: Path, speed: float, say: Callable[[str], None]) -> None:
    """Give the scene's orders from a thread of its own, which ends with the process."""
    threading.Thread(target=give_orders, args=(scene, site_path, speed, say), daemon=True, name="scene").start()
