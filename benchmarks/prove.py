"""How well the figures of a proof hold: simulated PCS and meters with known delay, lag, ramp and noise.

The PCS is integrated in steps of 5 ms, by other code than the one that estimates. What counts: how far the estimate is
from the truth, and how often its range holds it.

    python -m benchmarks.prove --cases 200
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections import Counter
from typing import NamedTuple

from benchmarks.figures import Figure, main
from dispatch.commissioning.estimator import estimate
from dispatch.commissioning.recording import Recording
from dispatch.model.proofs import Estimate

RATED_W = 60_000.0
SHARES = (0.05, -0.05, 0.15, -0.15, 0.3, -0.3)  # of the rating, as the procedure steps
FINE_S = 0.005
CALM_S = 10.0
TIMES, NAMES = ("dead time", "lag", "meter delay"), ("dead time", "lag", "meter delay", "meter gain", "gain")
GAIN_GOAL = 0.05


class Truth(NamedTuple):
    """One simulated PCS with its meter."""

    dead_s: float
    lag_s: float
    ramp_w_per_s: float
    meter_delay_s: float
    poll_s: float
    refresh_s: float
    noise_w: float  # of the load, one standard deviation
    gain: float = 1.0
    meter_gain: float = 1.0


def drawn(chance: random.Random) -> Truth:
    """A case at random."""
    return Truth(
        dead_s=chance.choice([0.0, chance.uniform(0.02, 1.5)]),
        lag_s=math.exp(chance.uniform(math.log(0.05), math.log(2.0))),
        ramp_w_per_s=math.exp(chance.uniform(math.log(10_000), math.log(500_000))),
        meter_delay_s=chance.uniform(0.0, 1.5),
        poll_s=chance.choice([0.1, 0.2, 0.25, 0.5]),
        refresh_s=chance.choice([0.0, 0.0, 0.1, 0.2]),
        noise_w=chance.choice([0.0, 100.0, 300.0]),
        gain=chance.uniform(0.95, 1.05),
        meter_gain=chance.choice([1.0, 1 / 3, -1.0, 2.0]),
    )


def record(truth: Truth, seed: int) -> Recording:
    """What would be recorded of it."""
    chance, recording = random.Random(seed), Recording()
    hold_s = math.ceil(3.0 + 2.0 + truth.dead_s + 6 * truth.lag_s + 0.3 * RATED_W / truth.ramp_w_per_s)
    asked = [(0.0, 0.0)]
    at_s = CALM_S
    for number, share in enumerate(w for size in SHARES for w in (size, 0.0)):
        at_s += (number % 4) / 4 * truth.poll_s
        asked.append((at_s, share * RATED_W))
        at_s = math.ceil((at_s + hold_s) / truth.poll_s) * truth.poll_s
    end_s = at_s
    power = _powers(truth, asked, end_s)
    load = _load(truth, chance, end_s)
    phase_s = chance.uniform(0, truth.refresh_s)
    for t_s, w in asked:
        recording.ask(t_s, w)

    def pcs(t_s: float) -> float:
        return power[max(min(int(t_s / FINE_S + 1e-6), len(power) - 1), 0)]

    for tick in range(1, int(end_s / truth.poll_s)):
        t_s = tick * truth.poll_s
        seen_s = t_s - 0.012
        if truth.refresh_s:
            seen_s = math.floor((seen_s - phase_s) / truth.refresh_s) * truth.refresh_s + phase_s
        recording.pcs.add(t_s - 0.012, round(pcs(seen_s)))
        true_s = max(t_s - truth.meter_delay_s, 0.0)
        recording.meter.add(t_s, round(load[int(true_s)] - truth.meter_gain * pcs(true_s)))
    return recording


def _powers(truth: Truth, asked: list[tuple[float, float]], end_s: float) -> list[float]:
    """The PCS's power every 5 ms."""
    ramped = w = 0.0
    found, next_step, target = [], 0, 0.0
    share = 1 - math.exp(-FINE_S / truth.lag_s)
    for n in range(int(end_s / FINE_S) + 1):
        found.append(truth.gain * w)
        while next_step < len(asked) and asked[next_step][0] + truth.dead_s <= n * FINE_S + 1e-9:
            target = asked[next_step][1]
            next_step += 1
        most = truth.ramp_w_per_s * FINE_S
        ramped += min(most, max(-most, target - ramped))
        w += (ramped - w) * share
    return found


def _load(truth: Truth, chance: random.Random, end_s: float) -> list[float]:
    """A load for every second: it flutters, each second much like the one before, and drifts a little."""
    flutter, found = 0.0, []
    for second in range(int(end_s) + 2):
        flutter = 0.8 * flutter + 0.6 * chance.gauss(0, truth.noise_w)
        found.append(30_000 + 2.0 * second + flutter)
    return found


def judged(truth: Truth, seed: int) -> dict[str, tuple[float, Estimate]]:
    """Truth and estimate of each figure."""
    found = estimate(record(truth, seed), truth.refresh_s)
    return {
        "dead time": (truth.dead_s, found.dead_time_s),
        "lag": (truth.lag_s, found.lag_s),
        "meter delay": (truth.meter_delay_s - truth.refresh_s / 2, found.meter_delay_s),
        "meter gain": (truth.meter_gain, found.meter_gain),
        "gain": (truth.gain, found.pcs_gain),
    }


def goal_s(name: str, true: float, truth: Truth) -> float:
    """How far an estimate may be from the truth: a quarter of what a reading may be late by, or 5 %."""
    poll_s = max(0.02, (truth.poll_s + truth.refresh_s) / 4)
    return max(poll_s, 0.05 * true) if name in ("lag", "dead time") else poll_s


def measure(cases: int = 200, seed: int = 1) -> list[Figure]:
    """Of each figure the share of cases outside its range, and the largest error as a share of the goal."""
    chance, outside, worst = random.Random(seed), Counter[str](), dict.fromkeys(NAMES, 0.0)
    for case in range(cases):
        truth = drawn(chance)
        for name, (true, found) in judged(truth, seed + case).items():
            off = abs(found.value - true) / (goal_s(name, true, truth) if name in TIMES else GAIN_GOAL)
            worst[name] = max(worst[name], off)
            if not found.low <= true <= found.high:
                outside[name] += 1
                print(f"outside: {name} {true:.4g}, {found}, {truth}", file=sys.stderr, flush=True)
    figures = [
        Figure(f"{name}: outside its range, of {cases}", 100 * outside[name] / cases, "%", 1.0) for name in NAMES
    ]
    return figures + [Figure(f"{name}: worst error, of what is allowed", 100 * worst[name], "%", 100) for name in NAMES]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--cases", type=int, default=200, help="simulated devices")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
