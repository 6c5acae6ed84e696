"""What the gateway costs: CPU of its process at 5 Hz with 4 devices and 8 nodes, no console attached."""

from __future__ import annotations

import argparse
import time
import tomllib

from benchmarks.figures import Figure, main
from benchmarks.plant import DEMO, PlantFailed, running
from gateway.api.ask import ask

SETTLE_S = 10.0  # the first plan is made meanwhile


def measure(seconds: float = 60.0) -> list[Figure]:
    """CPU time over wall time of the gateway process, planner included, in percent of one core; and its memory."""
    demo = tomllib.loads(DEMO.read_text(encoding="utf-8"))
    grid_meter = [meter for meter in demo["meter"] if meter["role"] == "grid"]
    nodes = [{"id": f"gpu-{n:02}", "source": "modbus", "unit": n, "critical": n == 1} for n in range(1, 9)]
    devices = [*grid_meter, *demo["pcs"], *demo["pv"], *demo["switch"]]
    assert len(devices) == 4, "the goal is stated for 4 devices: meter, PCS, PV, switch"
    changes = {"gateway": {"rate_hz": 5}, "meter": grid_meter, "node": nodes, "twin": {"nodes": 8}}
    with running(changes) as plant:
        time.sleep(SETTLE_S)
        before, since = plant.gateway.cpu_times(), time.monotonic()
        time.sleep(seconds)
        after, elapsed_s = plant.gateway.cpu_times(), time.monotonic() - since
        snapshot = ask(plant.socket_path(), "status")["snapshot"]
        lost = [device["id"] for device in snapshot["devices"] if not device["online"]]
        if lost or len(snapshot["devices"]) != 12:
            raise PlantFailed(f"12 devices and nodes expected online; {len(snapshot['devices'])} there, lost: {lost}")
        memory_mib = plant.gateway.memory_info().rss / 2**20
    used_s = after.user + after.system - before.user - before.system
    return [
        Figure("gateway CPU at 5 Hz, 4 devices, 8 nodes", 100 * used_s / elapsed_s, "% of a core", goal=15),
        Figure("gateway memory", memory_mib, "MiB"),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--seconds", type=float, default=60.0)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
