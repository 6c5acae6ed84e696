"""How fast a grid event is kept: its start -> setpoint in the PCS's register -> import at its target for good.

Two triggers: the start of an event that was announced before, by the clock; and an operator's order that begins at
once, from the moment it is sent, with the audit's write in it. The observer is that of `benchmarks.response`. Load and
PV stand still; the twin's meter has no delay of its own.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import Plant, running
from benchmarks.response import LOOK_S, Register, register
from gateway.api.ask import Conversation

RATE_HZ = 10
DROP_W = 12_000.0
NEAR_W = 500.0  # above the target by no more it is kept
AHEAD_S = 0.7  # of an announced event, before its start
WINDOW_S = 2.5
TOLD_MS, KEPT_MS = 150.0, 1200.0


def measure(events: int = 60) -> list[Figure]:
    """Each trigger in turn."""
    changes = {
        "gateway": {"rate_hz": RATE_HZ},
        "io": {"deadline_s": 0.4 / RATE_HZ},
        "grid": {"ramp_w_per_s": 0.0},
        "plan": {"enabled": False},
        "rules": {"rest_soc_pct": 50.0},
        "twin": {"meter_delay_s": 0.0, "host_node": False, "load_noise": 0.0, "pv_peak_w": 0.0},
    }
    with running(changes, nodes_w=20_000) as plant:
        time.sleep(5)
        with Conversation(plant.socket_path()) as link:
            bench = _Bench(plant, link)
            announced = [bench.one(bench.announce) for _ in range(events)]
            ordered = [bench.one(bench.order) for _ in range(events)]
    return [
        *_figures("start of an announced event", announced),
        *_figures("order of an event sent", ordered),
    ]


def _figures(trigger: str, times_s: list[tuple[float, float]]) -> list[Figure]:
    told_ms, kept_ms = [1000 * told for told, _ in times_s], [1000 * kept for _, kept in times_s]
    return [
        Figure(f"{trigger} -> setpoint on the wire, {RATE_HZ} Hz, p50 of {len(times_s)}", quantile(told_ms, 0.5), "ms"),
        Figure(f"{trigger} -> setpoint on the wire, p99", quantile(told_ms, 0.99), "ms", goal=TOLD_MS),
        Figure(f"{trigger} -> import at its target, p50", quantile(kept_ms, 0.5), "ms"),
        Figure(f"{trigger} -> import at its target, p99", quantile(kept_ms, 0.99), "ms", goal=KEPT_MS),
    ]


class _Bench:
    def __init__(self, plant: Plant, link: Conversation) -> None:
        self._link, self._chance = link, random.Random(1)
        self._setpoint: Register = register(plant, "pcs1", 704, "WSet")
        self._import: Register = register(plant, "grid", None, "W")
        self._ahead_s = self._site_clock()

    def _site_clock(self) -> float:
        """By how much the site's time is ahead of the performance counter: the closest of some looks, in the middle."""
        looks, end_utc_s = [], self._link.request("status")["snapshot"]["utc_s"] + 600
        for _ in range(20):
            asked_s = time.perf_counter()
            given = self._link.request("event.preview", limit_w=0.0, end_utc_s=end_utc_s)["event"]["given_utc_s"]
            took_s = time.perf_counter() - asked_s
            looks.append((took_s, given - asked_s - took_s / 2))
        return min(looks)[1]

    def announce(self, limit_w: float) -> float:
        """An event that begins soon; when it begins, by the performance counter."""
        begins_s = time.perf_counter() + AHEAD_S
        self._start(limit_w, start_utc_s=self._utc_s(begins_s))
        return begins_s

    def order(self, limit_w: float) -> float:
        """An event that begins at once; when it was sent."""
        sent_s = time.perf_counter()
        self._start(limit_w)
        return sent_s

    def _utc_s(self, counter_s: float) -> float:
        """The site's time at a reading of the performance counter."""
        return self._ahead_s + counter_s

    def _start(self, limit_w: float, **start: float) -> None:
        now_utc_s = self._utc_s(time.perf_counter())
        wanted = {"limit_w": limit_w, "end_utc_s": now_utc_s + 600, "ramp_s": 0, **start}
        self._link.request("event.start", seen_utc_s=now_utc_s, reason="benchmark", **wanted)

    def one(self, begin: Callable[[float], float]) -> tuple[float, float]:
        """Seconds from the trigger until the setpoint has moved by half the drop, and until import is kept for good."""
        time.sleep(self._chance.uniform(0.2, 0.2 + 1 / RATE_HZ))  # at any phase of the tick
        setpoint_w, import_w = self._setpoint.read(), self._import.read()
        limit_w = import_w - DROP_W
        begun_s = begin(limit_w)
        told_s: float | None = None
        above_s = begun_s
        while (now_s := time.perf_counter()) < begun_s + WINDOW_S:
            if told_s is None and abs(self._setpoint.read() - setpoint_w) > DROP_W / 2:
                told_s = time.perf_counter() - begun_s
            if self._import.read() > limit_w + NEAR_W:
                above_s = time.perf_counter()
            time.sleep(max(0.0, LOOK_S - (time.perf_counter() - now_s)))
        if told_s is None:
            raise RuntimeError(
                f"no setpoint within {WINDOW_S:g} s of the event's start; it stayed near {setpoint_w:g} W"
            )
        self._end(import_w)
        return told_s, above_s - begun_s

    def _end(self, import_w: float) -> None:
        """Lift the limit, and wait until import is what it was."""
        (state,) = self._link.request("event.list")["standing"]
        self._link.request("event.abort", id=state["event"]["id"], reason="benchmark")
        until_s = time.perf_counter() + 30
        while self._import.read() < import_w - NEAR_W:
            if time.perf_counter() > until_s:
                raise RuntimeError(f"import is not back at {import_w:g} W 30 s after the event")
            time.sleep(0.05)


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--events", type=int, default=60)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
