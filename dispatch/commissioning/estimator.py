"""Estimates from the recorded steps how a PCS answers, and how late and with which gain the grid meter shows it.

The PCS: power = gain x lag(ramp(setpoint, dead time)) + offset, with steps that have settled before the next one; least
squares over dead time, time constant and slowness of the ramp, in which gain and offset are linear. The meter's delay:
import = a level that drifts - gain x the PCS as fitted, `delay` later. The load's noise hangs together from one reading
to the next, so both sides are freed of that first (Cochrane and Orcutt 1949, with the residuals' own coefficient).
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
from numpy.typing import NDArray

from dispatch.commissioning.recording import Recording, Series
from dispatch.model.proofs import Estimate, MeasuredResponse

Vector = NDArray[np.float64]

THRESHOLD = 10.83  # chi squared of one degree of freedom, 99.9 %; with hundreds of readings F is no different
TIME_FLOOR_S = 0.02  # a step of the twin's physics: no range of a time is narrower on either side
RAMP_FLOOR_S = 0.03  # nor of the time that a ramp takes for the largest step
RAMP_RENEWALS = 3.0
RENEWAL_ROOM = 1.5  # nor of a dead time than so many times the mean age of a value that was just renewed
SHARE_FLOOR = 0.02  # nor of a time constant or ramp,
GAIN_FLOOR, METER_GAIN_FLOOR = 0.005, 0.0125  # nor of a gain; a load's noise is not as simple as what is fitted
NOISE_SHARE = 2e-4  # of the largest step: what the form of the model may be wrong by where readings have no noise
LAG_LEAST_S = 1e-3
DEAD_MOST_S, LAG_MOST_S = 20.0, 20.0
METER_EARLIEST_S, METER_LATEST_S = -2.0, 12.0  # of the meter's delay
RAMP_SEEN = 0.25  # a ramp counts as seen where it takes the largest step more than this share of the lag
MOST_ROUNDS, PROFILE_ROUNDS = 40, 8
RECENT = 3  # steps whose answers may not be over
STUDENT = {2: 22.33, 3: 10.21, 4: 7.17, 5: 5.89, 6: 5.21}  # Student's t by degrees of freedom, 99.8 %
FIRST_SIZE, LAST_SIZE = 2e-3, 20.0  # s, of the steps in which the end of a range is looked for


class TooLittle(Exception):
    """The recording does not show enough for an estimate; the text says what is missing."""


class _Shape(NamedTuple):
    """Dead time, time constant, and slowness: seconds per watt, the ramp's inverse."""

    dead_s: float
    lag_s: float
    slow_s_per_w: float


class _Fit(NamedTuple):
    shape: _Shape
    squares: float
    gain: float
    gain_room: float
    noise_w: float


def estimate(recording: Recording, refresh_s: float = 0.0, meter_refresh_s: float = 0.0) -> MeasuredResponse:
    """What a recording tells. Raises TooLittle.

    `refresh_s`, `meter_refresh_s`: how often PCS and grid meter renew their own readings; 0: whenever they are read.
    """
    end_s = recording.steps_end_s
    steps = [(t_s, w) for t_s, w in _steps(recording) if t_s < end_s]
    times, powers = _renewals(recording.pcs.until(end_s), refresh_s)
    if len(steps) < 2 or len(times) < 20:
        raise TooLittle(f"{len(steps)} steps and {len(times)} readings of the PCS; at least 2 and 20 are needed")
    data = _PcsData(times, powers, steps)
    unsure_s = min(refresh_s, _poll_s(recording.pcs)) / 2  # when a value was renewed before it was read, on average
    fit = _with_visible_ramp(data, _fit_pcs(data), 2 * unsure_s)
    dead, lag, slow = (_profile(data, fit, which) for which in range(3))
    dead = Estimate(*(max(at_s - unsure_s, 0.0) for at_s in (dead.value, dead.low, dead.high)))

    levels = [(t_s, ends_s) for (t_s, _), (ends_s, _) in pairwise([*steps, (min(end_s, times[-1]), 0.0)])]
    by_fit = Estimate(fit.gain, fit.gain - fit.gain_room, fit.gain + fit.gain_room)
    asked = _asked(steps)
    pcs_gain = _gain_by_pairs(times - dead.value, powers, asked, levels, by_fit) if refresh_s else by_fit

    def answer(at_s: Vector) -> Vector:
        return pcs_gain.value * _response(at_s, steps, fit.shape)

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


def _ramp(slow: Estimate, shape: _Shape, largest_w: float) -> Estimate | None:
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


def _response(at_s: Vector, steps: Sequence[tuple[float, float]], shape: _Shape) -> Vector:
    """The sum of the answers to steps: each a ramp of the step's height through a lag; older ones are over."""
    step_s, height_w = (np.asarray(part, dtype=float) for part in zip(*steps, strict=True))
    lag_s, begun_s = max(shape.lag_s, LAG_LEAST_S), at_s - shape.dead_s
    ramp_s = np.maximum(np.abs(height_w) * shape.slow_s_per_w, 1e-6)
    begun = np.searchsorted(step_s, begun_s, side="right")  # so many steps
    total = np.concatenate([[0.0], np.cumsum(height_w)])[np.maximum(begun - RECENT, 0)]
    for back in range(1, RECENT + 1):
        which = np.maximum(begun - back, 0)
        late, ramp = np.maximum(begun_s - step_s[which], 0.0), ramp_s[which]
        fading = np.exp(-late / lag_s)
        after = np.exp(-np.maximum(late - ramp, 0.0) / lag_s)
        rising = (late - lag_s * (1 - fading)) / ramp
        risen = 1 - lag_s / ramp * (after - fading)
        total = total + np.where(begun >= back, height_w[which] * np.where(late <= ramp, rising, risen), 0.0)
    return total


def _linear(x: Vector, y: Vector) -> tuple[float, float, Vector]:
    """Gain and offset of y against x by least squares, and what is left of y."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    dx, dy = x - mean_x, y - mean_y
    power = float(dx @ dx)
    gain = float(dx @ dy) / power if power > 0 else 0.0
    return gain, mean_y - gain * mean_x, dy - gain * dx


class _PcsData(NamedTuple):
    """What the PCS read, and the steps asked of it."""

    times: Vector
    powers: Vector
    steps: list[tuple[float, float]]

    @property
    def largest_w(self) -> float:
        return max(abs(w) for _, w in self.steps)

    @property
    def units(self) -> Vector:
        """Of the three figures of a shape: what a search may call a small change of it."""
        return np.array([1.0, 1.0, 1.0 / self.largest_w])

    def left(self, shape: _Shape) -> Vector:
        """What the best gain and offset leave of the readings."""
        return _linear(_response(self.times, self.steps, shape), self.powers)[2]

    def squares(self, shape: _Shape) -> float:
        left = self.left(shape)
        return float(left @ left)


def _fit_pcs(data: _PcsData) -> _Fit:
    """The best shape from several beginnings."""
    middle_s = _half_way(data)
    begins = []
    for share in (0.05, 0.5, 0.95):
        rest_s = max((1 - share) * middle_s, 2 * LAG_LEAST_S)
        begins.append(_Shape(share * middle_s, rest_s / math.log(2), 0.0))
        begins.append(_Shape(share * middle_s, rest_s / 2, rest_s / data.largest_w))
    return _fitted(data, min((_search(data, begin) for begin in begins), key=data.squares))


def _fitted(data: _PcsData, best: _Shape) -> _Fit:
    x = _response(data.times, data.steps, best)
    gain, _, left = _linear(x, data.powers)
    squares = float(left @ left)
    noise_w = max(math.sqrt(squares / max(len(x) - 5, 1)), NOISE_SHARE * data.largest_w)
    room = math.sqrt(THRESHOLD) * noise_w / max(math.sqrt(float(((x - x.mean()) ** 2).sum())), 1e-9)
    return _Fit(best, squares, gain, room, noise_w)


def _with_visible_ramp(data: _PcsData, fit: _Fit, renewal_s: float) -> _Fit:
    """The fit; without its ramp, where that is no longer than a few renewals, which cannot tell a ramp from a lag."""
    ramp_s = fit.shape.slow_s_per_w * data.largest_w
    if not 0 < ramp_s < RAMP_RENEWALS * renewal_s:
        return fit
    lag_s = max(fit.shape.lag_s, ramp_s / 2)
    return _fitted(data, _search(data, _Shape(fit.shape.dead_s, lag_s, 0.0), fixed=2))


def _half_way(data: _PcsData) -> float:
    """How long after a step its half is reached, s: the median of all steps."""
    found = []
    ends_s = [step_s for step_s, _ in data.steps[1:]] + [float(data.times[-1])]
    for (step_s, _), end_s in zip(data.steps, ends_s, strict=True):
        inside = (data.times >= step_s) & (data.times <= end_s)
        if inside.sum() >= 3:
            at_s, w = data.times[inside] - step_s, data.powers[inside]
            moved = np.abs(w - w[0]) >= abs(w[-1] - w[0]) / 2
            found.append(float(at_s[moved.argmax()]))
    if not found:
        raise TooLittle("no step with three readings of the PCS after it")
    return max(float(np.median(found)), 2 * LAG_LEAST_S)


def _search(data: _PcsData, begin: _Shape, fixed: int | None = None, rounds: int = MOST_ROUNDS) -> _Shape:
    """The shape of least squares near `begin` (Levenberg and Marquardt), each figure within its bounds.

    `fixed`: the figure that is to stay as it is.
    """
    free = [which for which in range(3) if which != fixed]
    shape, left = begin, data.left(begin)
    best, damping = float(left @ left), 1e-2
    for _ in range(rounds):
        slopes = _slopes(data, shape, left, free)
        improved = False
        for _ in range(8):
            tried = _stepped(data, shape, slopes, left, free, damping)
            tried_left = data.left(tried)
            found = float(tried_left @ tried_left)
            if found < best:
                improved, damping = best - found > 1e-9 * best, damping / 5
                shape, left, best = tried, tried_left, found
                break
            damping *= 5
        if not improved:
            break
    return shape


def _slopes(data: _PcsData, shape: _Shape, left: Vector, free: list[int]) -> Vector:
    """How what is left changes with each free figure, per unit of it."""
    columns = []
    for which in free:
        small = 1e-4 * data.units[which]
        columns.append((data.left(_moved(data, shape, {which: small})) - left) / 1e-4)
    return np.column_stack(columns)


def _stepped(data: _PcsData, shape: _Shape, slopes: Vector, left: Vector, free: list[int], damping: float) -> _Shape:
    """One damped step; a figure at its bound that would leave it stays, and the others go without it."""
    active = list(range(len(free)))
    while active:
        part = slopes[:, active]
        normal = part.T @ part
        normal[np.diag_indices_from(normal)] *= 1 + damping
        normal[np.diag_indices_from(normal)] += 1e-12 * float(np.trace(normal)) + 1e-12
        step = -np.linalg.solve(normal, part.T @ left)
        stuck = [n for n, by in zip(active, step, strict=True) if shape[free[n]] <= 0 and by < 0]
        if not stuck:
            changes = {free[n]: float(by) * data.units[free[n]] for n, by in zip(active, step, strict=True)}
            return _moved(data, shape, changes)
        active = [n for n in active if n not in stuck]
    return shape


def _moved(data: _PcsData, shape: _Shape, changes: dict[int, float]) -> _Shape:
    mosts = (DEAD_MOST_S, LAG_MOST_S, DEAD_MOST_S / data.largest_w)
    return _Shape(*(min(max(v + changes.get(n, 0.0), 0.0), mosts[n]) for n, v in enumerate(shape)))


def _profile(data: _PcsData, fit: _Fit, which: int) -> Estimate:
    """The range of one figure in which the others, at their best, still explain the readings."""
    low, high = (_end_of_range(data, fit, which, sign) for sign in (-1.0, 1.0))
    middle = (low + high) / 2
    flat = data.squares(_best_with(data, fit.shape, which, middle)) <= fit.squares + fit.noise_w**2
    # where the readings tell none of them apart, the middle is the best guess
    return Estimate(middle if flat else fit.shape[which], low, high)


def _best_with(data: _PcsData, shape: _Shape, which: int, value: float) -> _Shape:
    """The best shape in which one figure has this value."""
    return _search(data, _moved(data, shape, {which: value - shape[which]}), which, PROFILE_ROUNDS)


def _end_of_range(data: _PcsData, fit: _Fit, which: int, sign: float) -> float:
    """Where the range of one figure ends in one direction; 0, or very far, where the readings give it no end."""
    most, unit = fit.squares + THRESHOLD * fit.noise_w**2, float(data.units[which])
    inside, shape, size = fit.shape[which], fit.shape, FIRST_SIZE * unit
    while True:
        outside = max(inside + sign * size, 0.0)
        found = _best_with(data, shape, which, outside)
        if data.squares(found) > most:
            break
        if outside <= 0 or size > LAST_SIZE * unit:
            return outside
        inside, shape, size = outside, found, size * 3
    for _ in range(6):
        middle = (inside + outside) / 2
        found = _best_with(data, shape, which, middle)
        if data.squares(found) > most:
            outside = middle
        else:
            inside, shape = middle, found
    return outside


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
