"""Estimates from the recorded steps how a PCS answers, and how late and with which gain the grid meter shows it.

The PCS: `pcs_fit`. The meter's delay: import = a level that drifts - gain x the PCS as fitted, `delay` later. The noise
of the load hangs together from one reading to the next, so both sides are freed of that first (Cochrane and Orcutt
1949, with the residuals' own coefficient).
A device that renews its values every so often gives each of them several times: what counts is the first reading of
each, renewed at some time since the one before (`_renewals`).

A range is where the sum of squares, with the other figures at their best, is below the threshold of the F distribution
for a range of 99.9 %: the profile likelihood. It is never narrower than what a physics of 20 ms or a reading can tell.
The meter's gain has its range from how far the pairs of steps, out and back, agree (`_gain_by_pairs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dispatch.commissioning.pcs_fit import (
    NOISE_SHARE,
    THRESHOLD,
    PcsData,
    Shape,
    Vector,
    fit_pcs,
    profile,
    response,
    with_visible_ramp,
)
from dispatch.commissioning.recording import Recording, Series, TooLittle
from dispatch.model.proofs import Estimate, MeasuredResponse

TIME_FLOOR_S = 0.02  # a step of the twin's physics: no range of a time is narrower on either side
RAMP_FLOOR_S = 0.03  # nor of the time that a ramp takes for the largest step
RENEWAL_ROOM = 1.5  # nor of a dead time than so many times the mean age of a value that was just renewed
SHARE_FLOOR = 0.02  # nor of a time constant or ramp,
GAIN_FLOOR, METER_GAIN_FLOOR = 0.005, 0.0125  # nor of a gain; a load's noise is not as simple as what is fitted
METER_EARLIEST_S, METER_LATEST_S = -2.0, 12.0  # of the meter's delay
RAMP_SEEN = 0.25  # a ramp counts as seen where it takes the largest step more than this share of the lag
STUDENT = {2: 22.33, 3: 10.21, 4: 7.17, 5: 5.89, 6: 5.21}  # Student's t by degrees of freedom, 99.8 %


def estimate(recording: Recording, refresh_s: float = 0.0, meter_refresh_s: float = 0.0) -> MeasuredResponse:
    """What a recording tells. Raises TooLittle.

    `refresh_s`, `meter_refresh_s`: how often PCS and grid meter renew their own readings; 0: whenever they are read.
    """
    end_s = recording.steps_end_s
    steps = [(t_s, w) for t_s, w in _steps(recording) if t_s < end_s]
    times, powers = _renewals(recording.pcs.until(end_s), refresh_s)
    if len(steps) < 2 or len(times) < 20:
        raise TooLittle(f"{len(steps)} steps and {len(times)} readings of the PCS; at least 2 and 20 are needed")
    data = PcsData(times, powers, steps)
    unsure_s = min(refresh_s, _poll_s(recording.pcs)) / 2  # when a value was renewed before it was read, on average
    fit = with_visible_ramp(data, fit_pcs(data), 2 * unsure_s)
    dead, lag, slow = (profile(data, fit, which) for which in range(3))
    dead = Estimate(*(max(at_s - unsure_s, 0.0) for at_s in (dead.value, dead.low, dead.high)))

    levels = [(t_s, ends_s) for (t_s, _), (ends_s, _) in pairwise([*steps, (min(end_s, times[-1]), 0.0)])]
    by_fit = Estimate(fit.gain, fit.gain - fit.gain_room, fit.gain + fit.gain_room)
    asked = _asked(steps)
    pcs_gain = _gain_by_pairs(times - dead.value, powers, asked, levels, by_fit) if refresh_s else by_fit

    def answer(at_s: Vector) -> Vector:
        return pcs_gain.value * response(at_s, steps, fit.shape)

    meter = _fit_meter(*_renewals(recording.meter.until(end_s), meter_refresh_s), answer, levels)
    phases = tuple(
        _fit_meter(*_renewals(series.until(end_s), meter_refresh_s), answer, levels, meter.delay_s.value, share=1 / 3)
        for series in recording.phases
        if series.t_s
    )
    meter_unsure_s = min(meter_refresh_s, _poll_s(recording.meter)) / 2
    late_s = meter_refresh_s / 2 - meter_unsure_s - (refresh_s / 2 - unsure_s)  # of all readings, not the first ones
    delay = Estimate(*(at_s + late_s for at_s in (meter.delay_s.value, meter.delay_s.low, meter.delay_s.high)))
    return MeasuredResponse(
        pcs_gain=_at_least(pcs_gain, GAIN_FLOOR),
        meter_gain=meter.gain,
        phase_gains=tuple(phase.gain for phase in phases),
        dead_time_s=_at_least(dead, TIME_FLOOR_S + RENEWAL_ROOM * unsure_s, 0.0),
        lag_s=_at_least(lag, max(SHARE_FLOOR * lag.value, TIME_FLOOR_S + unsure_s), 0.0),
        ramp_w_per_s=_ramp(slow, fit.shape, data.largest_w) if fit.shape.slow_s_per_w else None,
        meter_delay_s=_wider(delay, (refresh_s + meter_refresh_s) / 2, TIME_FLOOR_S + unsure_s + meter_unsure_s),
    )


def _at_least(found: Estimate, room: float, lowest: float = -math.inf) -> Estimate:
    low, high = min(found.low, found.value - room), max(found.high, found.value + room)
    return Estimate(float(found.value), float(max(low, lowest)), float(high))


def _wider(found: Estimate, varies: float, room: float) -> Estimate:
    """The range of something that varies by as much either way, besides what is not known of it."""
    found = _at_least(found, room)
    return Estimate(found.value, found.low - varies, found.high + varies)


def _ramp(slow: Estimate, shape: Shape, largest_w: float) -> Estimate | None:
    """The ramp of the slowness; None where it might as well be none, or takes too little of the lag to be seen."""
    room = max(RAMP_FLOOR_S / largest_w, SHARE_FLOOR * slow.value)
    slow = _at_least(slow, room)
    if slow.low <= 0 or slow.value * largest_w < RAMP_SEEN * shape.lag_s:
        return None
    return Estimate(1 / slow.value, 1 / slow.high, 1 / slow.low)


def _steps(recording: Recording) -> list[tuple[float, float]]:
    """When the setpoint changed, and by how much, W."""
    asked = recording.setpoints
    return [(t_s, w - before) for (_, before), (t_s, w) in pairwise(asked)]


def _asked(steps: Sequence[tuple[float, float]]) -> Callable[[Vector], Vector]:
    """What was asked at some times, W, apart from what it was at first."""
    step_s, height_w = (np.asarray(part, dtype=float) for part in zip(*steps, strict=True))
    asked_w = np.concatenate([[0.0], np.cumsum(height_w)])
    return lambda at_s: asked_w[np.searchsorted(step_s, at_s, side="right")]


def _arrays(series: Series) -> tuple[Vector, Vector]:
    return np.asarray(series.t_s, dtype=float), np.asarray(series.w, dtype=float)


def _poll_s(series: Series) -> float:
    """Between two readings, s: the median."""
    return float(np.median(np.diff(series.t_s))) if len(series.t_s) > 1 else 0.0


def _renewals(series: Series, refresh_s: float) -> tuple[Vector, Vector]:
    """Readings of a device that renews its values every `refresh_s`: each value once, when it was first read.

    It was renewed since the reading before, and no longer ago than `refresh_s`. A value that stays the same counts once
    in each `refresh_s`.
    """
    times, powers = _arrays(series)
    if refresh_s <= 0 or len(times) < 2:
        return times, powers
    kept, last_s = [], -math.inf
    for n in range(1, len(times)):
        changed = powers[n] != powers[n - 1]
        if not changed and times[n] - last_s < refresh_s:
            continue
        last_s = float(times[n])
        kept.append(n)
    return times[kept], powers[kept]


class _MeterFit(NamedTuple):
    gain: Estimate
    delay_s: Estimate


def _fit_meter(
    times: Vector,
    powers: Vector,
    answer: Callable[[Vector], Vector],
    levels: Sequence[tuple[float, float]],
    delay_s: float | None = None,
    share: float = 1.0,
) -> _MeterFit:
    """Gain, against `share` of the PCS, and delay of a meter; `delay_s`: the delay, where it is known.

    `levels`: from when until when each setpoint was asked.
    """
    if len(times) < 20:
        raise TooLittle(f"{len(times)} readings of the meter; at least 20 are needed")
    drift = np.column_stack([np.ones_like(times), (times - times[0]) / max(times[-1] - times[0], 1e-9)])

    def solve(at_s: float, memory: float) -> tuple[float, float, float, Vector]:
        """Sum of squares, gain, its standard error per noise, and what is left."""
        x = np.column_stack([-share * answer(times - at_s), drift])
        a, b = x[1:] - memory * x[:-1], powers[1:] - memory * powers[:-1]
        found, *_ = np.linalg.lstsq(a, b, rcond=None)
        spread = math.sqrt(abs(float(np.linalg.pinv(a.T @ a)[0, 0])))
        left = b - a @ found
        return float(left @ left), float(found[0]), spread, powers - x @ found

    def best(memory: float) -> float:
        if delay_s is not None:
            return delay_s
        return _least(lambda at_s: solve(at_s, memory)[0], METER_EARLIEST_S, METER_LATEST_S)

    memory = 0.0
    for _ in range(2):
        memory = _memory(solve(best(memory), memory)[3])
    best_s = best(memory)
    squares = solve(best_s, memory)[0]
    largest_w = float(np.ptp(answer(times))) * share
    noise_w = max(math.sqrt(squares / max(len(times) - 5, 1)), NOISE_SHARE * largest_w)
    # the gain by the levels, not by the slopes: those tell of the PCS's response, too
    left_w2, gain, spread, _ = solve(best_s, 0.0)
    level_noise_w = math.sqrt(left_w2 / max(len(times) - 5, 1) * (1 + memory) / (1 - memory))
    room = max(math.sqrt(THRESHOLD) * level_noise_w * spread, METER_GAIN_FLOOR)
    by_levels = Estimate(gain, gain - room, gain + room)
    gains = _gain_by_pairs(times - best_s, powers, lambda at_s: -share * answer(at_s), levels, by_levels)
    most = squares + THRESHOLD * noise_w**2
    ends = (best_s, best_s)
    if delay_s is None:
        ends = tuple(_edge(lambda at_s: solve(at_s, memory)[0] > most, best_s, sign) for sign in (-1.0, 1.0))  # type: ignore[assignment]
    return _MeterFit(gains, Estimate(best_s, *ends))


def _gain_by_pairs(
    times: Vector,
    powers: Vector,
    answer: Callable[[Vector], Vector],
    levels: Sequence[tuple[float, float]],
    otherwise: Estimate,
) -> Estimate:
    """The gain by each level of import against the mean of those before and after it: no drift is left in that.

    A load that moves by itself makes the pairs differ, and by that the range is judged (Student's t), however the load
    moves. `times`: without the meter's delay; `otherwise`: where there are too few pairs.
    """
    means = []
    for begins_s, ends_s in levels:
        inside = (times >= (begins_s + ends_s) / 2) & (times <= ends_s)
        if inside.any():
            means.append((float(answer(times[inside]).mean()), float(powers[inside].mean())))
    level = np.asarray(means).reshape(-1, 2)
    bends = level[1:-1] - (level[:-2] + level[2:]) / 2
    x, y = max((bends[first::2] for first in (0, 1)), key=lambda pairs: float((pairs[:, 0] ** 2).sum())).T
    freedom = len(x) - 1
    if freedom not in STUDENT:
        return otherwise
    power = float(x @ x)
    gain = float(x @ y) / power
    left = y - gain * x
    noise_w = math.sqrt(float(left @ left) / freedom)
    room = STUDENT[freedom] * noise_w / math.sqrt(power)
    return _at_least(Estimate(gain, gain - room, gain + room), (otherwise.high - otherwise.low) / 2)


def _memory(left: Vector) -> float:
    """How much of a reading's noise the next one has still, 0..1."""
    power = float(left[:-1] @ left[:-1])
    return min(max(float(left[1:] @ left[:-1]) / power, 0.0), 0.999) if power > 0 else 0.0


def _least(squares: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one figure is least: a grid of 0.1, then finer ones around the best."""
    step = 0.1
    best = min(np.arange(low, high + step / 2, step), key=squares)
    while step > 1e-3:
        step /= 4
        best = min((best + n * step for n in range(-4, 5)), key=squares)
    return float(best)


def _edge(beyond: Callable[[float], bool], inside: float, sign: float) -> float:
    """How far from `inside` a range goes, until `beyond`; to 2 ms, and at most 8 s."""
    size = 2e-3
    while size < 8.0 and not beyond(inside + sign * size):
        size *= 2
    near, far = size / 2, size
    for _ in range(7):
        middle = (near + far) / 2
        near, far = (near, middle) if beyond(inside + sign * middle) else (middle, far)
    return inside + sign * far
