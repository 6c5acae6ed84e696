"""How well the figures of a proof hold: simulated PCS and meters with known delay, lag, ramp and refresh times.

The load has noise and pulses.

The PCS is integrated in steps of 5 ms, by other code than the one that estimates. What counts: how far the estimate is
from the truth, and how often its range holds it. A load that moves so much that the procedure would end the proof is
drawn again.

    python -m benchmarks.prove --cases 200
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.figures import Figure, main
from dispatch.commissioning.estimator import estimate
from dispatch.commissioning.preconditions import FIRST_SHARE
from dispatch.commissioning.procedure import CALM_SHARE, MEAN_S, NOISES, PAIR_OFF
from dispatch.commissioning.recording import Recording, Series
from dispatch.model.proofs import Estimate

RATED_W = 60_000.0
SHARES = (0.05, -0.05, 0.15, -0.15, 0.3, -0.3)  # of the rating, as the procedure steps
FINE_S = 0.005
CALM_S = 10.0
PULSE_EVERY_S = 40.0  # from the end of a pulse of the load to the next, mean
TIMES, NAMES = ("dead time", "lag", "meter delay"), ("dead time", "lag", "meter delay", "meter gain", "gain")
GAIN_GOAL = 0.05


class Truth(NamedTuple):
    """One simulated PCS with its meter."""

    dead_s: float
    lag_s: float
    ramp_w_per_s: float
    meter_delay_s: float  # of a reading that has just been renewed
    poll_s: float
    refresh_s: float  # how often the PCS renews its readings; 0: whenever they are read
    noise_w: float  # of the load, one standard deviation
    gain: float = 1.0
    meter_gain: float = 1.0
    meter_refresh_s: float = 0.0
    memory: float = 0.8  # of one second's noise in the next
    pulse_w: float = 0.0  # by how much the load moves at once, now and then; for how long:
    pulse_s: float = 20.0


def drawn(chance: random.Random) -> Truth:
    """A case at random."""
    return Truth(
        dead_s=chance.choice([0.0, chance.uniform(0.02, 1.5)]),
        lag_s=math.exp(chance.uniform(math.log(0.05), math.log(2.0))),
        ramp_w_per_s=math.exp(chance.uniform(math.log(10_000), math.log(500_000))),
        meter_delay_s=chance.uniform(0.0, 1.5),
        poll_s=chance.choice([0.1, 0.2, 0.25, 0.5]),
        refresh_s=chance.choice([0.0, 0.0, 0.1, 0.2, 1.0]),
        noise_w=chance.choice([0.0, 0.002, 0.005, 0.01]) * RATED_W,
        gain=chance.uniform(0.95, 1.05),
        meter_gain=chance.choice([1.0, 1.0, 1 / 3, -1.0, 2.0]),
        meter_refresh_s=chance.choice([0.0, 0.0, 0.2, 1.0]),
        memory=chance.choice([0.0, 0.8, 0.97]),
        pulse_w=chance.choice([0.0, 0.0, 0.01, 0.03, 0.06]) * RATED_W,
        pulse_s=chance.choice([1.0, 10.0, 40.0]),
    )


def record(truth: Truth, seed: int) -> Recording:
    """What would be recorded of it."""
    chance, recording = random.Random(seed), Recording()
    hold_s = math.ceil(
        3.0 + 2.0 + 4 * truth.refresh_s + truth.dead_s + 6 * truth.lag_s + 0.3 * RATED_W / truth.ramp_w_per_s
    )
    asked = [(0.0, 0.0)]
    at_s = CALM_S
    for number, share in enumerate(w for size in SHARES for w in (size, 0.0)):
        at_s += (number % 4) / 4 * (truth.poll_s + truth.refresh_s)
        asked.append((at_s, share * RATED_W))
        at_s = math.ceil((at_s + hold_s) / truth.poll_s) * truth.poll_s
    end_s = at_s
    power = _powers(truth, asked, end_s)
    load = _load(truth, chance, end_s)
    phase_s, meter_s = chance.uniform(0, truth.refresh_s), chance.uniform(0, truth.meter_refresh_s)
    renews_s = truth.refresh_s * random.Random(seed + 1).uniform(0.97, 1.03)  # by its own clock
    for t_s, w in asked:
        recording.ask(t_s, w)

    def pcs(t_s: float) -> float:
        return power[max(min(int(t_s / FINE_S + 1e-6), len(power) - 1), 0)]

    looked_s = -math.inf
    for tick in range(1, int(end_s / truth.poll_s)):
        t_s = tick * truth.poll_s
        seen_s = t_s - 0.012
        if truth.refresh_s:
            seen_s = math.floor((seen_s - phase_s) / renews_s) * renews_s + phase_s
        if t_s - truth.refresh_s > looked_s - 1e-6:  # a PCS is asked no more often than it renews its values
            looked_s = t_s
            recording.pcs.add(t_s - 0.012, round(pcs(seen_s)))
        shown_s = t_s
        if truth.meter_refresh_s:
            shown_s = math.floor((t_s - meter_s) / truth.meter_refresh_s) * truth.meter_refresh_s + meter_s
        true_s = max(shown_s - truth.meter_delay_s, 0.0)
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
    """A load for every second: noise, each second more or less like the one before, pulses, a little drift."""
    flutter, found, left_s = 0.0, [], 0.0
    fresh = math.sqrt(1 - truth.memory**2)
    for second in range(int(end_s) + 2):
        flutter = truth.memory * flutter + fresh * chance.gauss(0, truth.noise_w)
        left_s -= 1.0
        if left_s <= 0 and chance.random() < 1 / PULSE_EVERY_S:
            left_s = max(chance.expovariate(1 / truth.pulse_s), 1.0)
        found.append(30_000 + 2.0 * second + flutter + (truth.pulse_w if left_s > 0 else 0.0))
    return found


def goes_on(recording: Recording) -> bool:
    """Whether the procedure would have gone on to the end with a load that moves so."""
    asked, first_w = recording.setpoints, FIRST_SHARE * RATED_W
    noise_w = statistics.pstdev(recording.meter.since(0.0, CALM_S))
    if noise_w > CALM_SHARE * first_w:
        return False
    gains = [_moved(recording.meter, t_s, until_s) / w for t_s, until_s, w in _halves(asked, recording.meter.t_s[-1])]
    pairs = zip(gains[::2], gains[1::2], asked[1::2], strict=False)
    return all(abs(out - back) <= max(PAIR_OFF, NOISES * noise_w / abs(w)) for out, back, (_, w) in pairs)


def _halves(asked: list[tuple[float, float]], end_s: float) -> Iterator[tuple[float, float, float]]:
    """Of each step: when, until when it lasts, and by how much."""
    ends_s = [t_s for t_s, _ in asked[2:]] + [end_s]
    for (_, before_w), (t_s, w), until_s in zip(asked, asked[1:], ends_s, strict=False):
        yield t_s, until_s, w - before_w


def _moved(series: Series, t_s: float, until_s: float) -> float:
    return statistics.fmean(series.since(until_s - MEAN_S, until_s)) - statistics.fmean(series.since(t_s - MEAN_S, t_s))


def judged(truth: Truth, seed: int) -> dict[str, tuple[float, Estimate]]:
    """Truth and estimate of each figure. Of a delay that varies as readings are renewed the middle is the truth."""
    recording, again = record(truth, seed), 0
    while not goes_on(recording):
        again += 1
        recording = record(truth, seed + 1_000_003 * again)
    found = estimate(recording, truth.refresh_s, truth.meter_refresh_s)
    return {
        "dead time": (truth.dead_s, found.dead_time_s),
        "lag": (truth.lag_s, found.lag_s),
        "meter delay": (truth.meter_delay_s + (truth.meter_refresh_s - truth.refresh_s) / 2, found.meter_delay_s),
        "meter gain": (truth.meter_gain, found.meter_gain),
        "gain": (truth.gain, found.pcs_gain),
    }


def goal_s(name: str, true: float, truth: Truth) -> float:
    """How far an estimate may be from the truth: a quarter of what a reading may be late by, or 5 %."""
    refresh_s = truth.refresh_s + (truth.meter_refresh_s if name == "meter delay" else 0.0)
    poll_s = max(0.02, (max(truth.poll_s, truth.refresh_s) + refresh_s) / 4)
    return max(poll_s, 0.05 * true) if name in ("lag", "dead time") else poll_s


def measure(cases: int = 200, seed: int = 1) -> list[Figure]:
    """Of each figure the share of cases outside its range, and the error as a share of what is allowed."""
    chance, outside, beyond, worst = random.Random(seed), Counter[str](), Counter[str](), dict.fromkeys(NAMES, 0.0)
    for case in range(cases):
        truth = drawn(chance)
        for name, (true, found) in judged(truth, seed + case).items():
            off = abs(found.value - true) / (goal_s(name, true, truth) if name in TIMES else GAIN_GOAL)
            worst[name] = max(worst[name], off)
            beyond[name] += off > 1
            if not found.low <= true <= found.high:
                outside[name] += 1
                print(f"outside: {name} {true:.4g}, {found}, {truth}", file=sys.stderr, flush=True)
    figures = [
        Figure(f"{name}: outside its range, of {cases}", 100 * outside[name] / cases, "%", 1.0) for name in NAMES
    ]
    for name in NAMES:
        goal = 1.0 if name in TIMES else None  # what a gain may be off by depends on how the load moves
        figures.append(Figure(f"{name}: off by more than allowed", 100 * beyond[name] / cases, "%", goal))
        figures.append(Figure(f"{name}: worst error, of what is allowed", 100 * worst[name], "%"))
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--cases", type=int, default=200, help="simulated devices")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
