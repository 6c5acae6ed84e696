"""Fits how a PCS answers to steps: power = gain x lag(ramp(setpoint, dead time)) + offset.

The steps have settled before the next one. Least squares over dead time, time constant and slowness of the ramp, in
which gain and offset are linear. The range of each figure: `estimator`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dispatch.commissioning.recording import TooLittle
from dispatch.model.proofs import Estimate

Vector = NDArray[np.float64]

THRESHOLD = 10.83  # chi squared of one degree of freedom, 99.9 %; with hundreds of readings F is no different
RAMP_RENEWALS = 3.0  # a ramp that takes fewer of them cannot be told from a lag
NOISE_SHARE = 2e-4  # of the largest step: what the form of the model may be wrong by where readings have no noise
LAG_LEAST_S = 1e-3
DEAD_MOST_S, LAG_MOST_S = 20.0, 20.0
MOST_ROUNDS, PROFILE_ROUNDS = 40, 8
RECENT = 3  # steps whose answers may not be over
FIRST_SIZE, LAST_SIZE = 2e-3, 20.0  # s, of the steps in which the end of a range is looked for


class Shape(NamedTuple):
    """Dead time, time constant, and slowness: seconds per watt, the ramp's inverse."""

    dead_s: float
    lag_s: float
    slow_s_per_w: float


class Fit(NamedTuple):
    """The best shape, the sum of squares that it leaves, W², and gain with its range to either side."""

    shape: Shape
    squares: float
    gain: float
    gain_room: float
    noise_w: float


def response(at_s: Vector, steps: Sequence[tuple[float, float]], shape: Shape) -> Vector:
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


class PcsData(NamedTuple):
    """What the PCS read, and the steps asked of it."""

    times: Vector
    powers: Vector
    steps: list[tuple[float, float]]

    @property
    def largest_w(self) -> float:
        """The height of the largest step."""
        return max(abs(w) for _, w in self.steps)

    @property
    def units(self) -> Vector:
        """Of the three figures of a shape: what a search may call a small change of it."""
        return np.array([1.0, 1.0, 1.0 / self.largest_w])

    def left(self, shape: Shape) -> Vector:
        """What the best gain and offset leave of the readings."""
        return _linear(response(self.times, self.steps, shape), self.powers)[2]

    def squares(self, shape: Shape) -> float:
        """The sum of squares of what is left, W²."""
        left = self.left(shape)
        return float(left @ left)


def fit_pcs(data: PcsData) -> Fit:
    """The best shape from several beginnings."""
    middle_s = _half_way(data)
    begins = []
    for share in (0.05, 0.5, 0.95):
        rest_s = max((1 - share) * middle_s, 2 * LAG_LEAST_S)
        begins.append(Shape(share * middle_s, rest_s / math.log(2), 0.0))
        begins.append(Shape(share * middle_s, rest_s / 2, rest_s / data.largest_w))
    return _fitted(data, min((_search(data, begin) for begin in begins), key=data.squares))


def _fitted(data: PcsData, best: Shape) -> Fit:
    x = response(data.times, data.steps, best)
    gain, _, left = _linear(x, data.powers)
    squares = float(left @ left)
    noise_w = max(math.sqrt(squares / max(len(x) - 5, 1)), NOISE_SHARE * data.largest_w)
    room = math.sqrt(THRESHOLD) * noise_w / max(math.sqrt(float(((x - x.mean()) ** 2).sum())), 1e-9)
    return Fit(best, squares, gain, room, noise_w)


def with_visible_ramp(data: PcsData, fit: Fit, renewal_s: float) -> Fit:
    """The fit; without its ramp, where that is no longer than a few renewals, which cannot tell a ramp from a lag."""
    ramp_s = fit.shape.slow_s_per_w * data.largest_w
    if not 0 < ramp_s < RAMP_RENEWALS * renewal_s:
        return fit
    lag_s = max(fit.shape.lag_s, ramp_s / 2)
    return _fitted(data, _search(data, Shape(fit.shape.dead_s, lag_s, 0.0), fixed=2))


def _half_way(data: PcsData) -> float:
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


def _search(data: PcsData, begin: Shape, fixed: int | None = None, rounds: int = MOST_ROUNDS) -> Shape:
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


def _slopes(data: PcsData, shape: Shape, left: Vector, free: list[int]) -> Vector:
    """How what is left changes with each free figure, per unit of it."""
    columns = []
    for which in free:
        small = 1e-4 * data.units[which]
        columns.append((data.left(_moved(data, shape, {which: small})) - left) / 1e-4)
    return np.column_stack(columns)


def _stepped(data: PcsData, shape: Shape, slopes: Vector, left: Vector, free: list[int], damping: float) -> Shape:
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


def _moved(data: PcsData, shape: Shape, changes: dict[int, float]) -> Shape:
    mosts = (DEAD_MOST_S, LAG_MOST_S, DEAD_MOST_S / data.largest_w)
    return Shape(*(min(max(v + changes.get(n, 0.0), 0.0), mosts[n]) for n, v in enumerate(shape)))


def profile(data: PcsData, fit: Fit, which: int) -> Estimate:
    """The range of one figure in which the others, at their best, still explain the readings."""
    low, high = (_end_of_range(data, fit, which, sign) for sign in (-1.0, 1.0))
    middle = (low + high) / 2
    flat = data.squares(_best_with(data, fit.shape, which, middle)) <= fit.squares + fit.noise_w**2
    # where the readings tell none of them apart, the middle is the best guess
    return Estimate(middle if flat else fit.shape[which], low, high)


def _best_with(data: PcsData, shape: Shape, which: int, value: float) -> Shape:
    """The best shape in which one figure has this value."""
    return _search(data, _moved(data, shape, {which: value - shape[which]}), which, PROFILE_ROUNDS)


def _end_of_range(data: PcsData, fit: Fit, which: int, sign: float) -> float:
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
