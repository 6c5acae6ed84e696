"""Builds the plan's linear program and solves it with HiGHS; the model is kept, its numbers change between solves.

Everything here is kW, kWh, hours and EUR. highspy and numpy are imported when the first program is solved.

Columns, for each of n steps: charge, discharge, import up to the fuse, import above it, export up to the limit, export
above it, and the stored energy in layers (floor | up to the reserve | equal parts up to the ceiling, one of them cut at
the resting level) whose worth falls from layer to layer, so that they fill in order. Then for each calendar month the
peak in parts: what is paid anyway, what a higher one costs in rising steps, and above the contract. Last, the running
interval's mean above its target. An idle battery is always a solution: what the world may break is a price or leaves
room for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from highspy import _core
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHARGE, DISCHARGE, IMPORT, OVER_FUSE, EXPORT, OVER_EXPORT, LAYER = range(7)
READY_LAYERS = 5  # equal parts between reserve and ceiling, for the worth of being ready
LAYERS = 2 + READY_LAYERS + 1
BLOCKS = LAYER + LAYERS
RISES = 7
PEAKS = 1 + RISES + 1  # for each month: paid anyway, rising steps, above the contract
TIE_EUR_PER_KWH = 1e-5  # throughput is never quite free, and export never quite earns what import costs
BELOW_AFTER_H = 24.0  # after the last step; without it a plan that begins below the reserve would end there
EARLY_EUR_PER_KWH_H = 1e-5  # of equal hours, charge in the first and discharge in the last
REFUSED = "HiGHS refused the model: a number in the inputs is not finite or bounds cross"

# From the last plan's basis, moved along, the primal simplex needs 30 iterations (median 8), the dual 120; from
# nothing the dual is the faster one. Perturbed bounds only cost iterations to be put right again.
DUAL, PRIMAL = 1, 4  # of HiGHS's option simplex_strategy
UNPERTURBED = ("primal_simplex_bound_perturbation_multiplier", 0.0)


Column = list[tuple[int, float]]  # of the matrix: (row, coefficient)


class SolverFailed(Exception):
    """HiGHS gave no optimal solution; says which status it gave."""


@dataclass(frozen=True)
class Metering:
    """One interval of the utility meter inside the horizon. Its mean import is (energy_kwh + own import) / hours."""

    steps: tuple[int, ...]
    month: int
    hours: float
    energy_kwh: float = 0.0  # imported before the horizon begins


@dataclass(frozen=True)
class Month:
    """One calendar month the horizon touches: the peak that is paid for anyway, and what rising above it costs.

    Where the demand charge averages days it is one such day; where it counts at some hours only, the other hours share
    one that does not count: only the contract is kept in it.

    `rises`: (kW, share of the demand price), shares not falling; above the last the whole price is paid.
    """

    base_kw: float
    rises: tuple[tuple[float, float], ...] = ()
    counts: bool = True


@dataclass(frozen=True)
class Problem:
    """All the numbers of one plan. `net_kw` is load - pv; prices are EUR per kWh, all included."""

    hours: tuple[float, ...]
    net_kw: tuple[float, ...]
    buy: tuple[float, ...]
    sell: tuple[float, ...]
    charge_kw: tuple[float, ...]  # limit in each step
    discharge_kw: tuple[float, ...]
    charge_efficiency: float
    discharge_efficiency: float
    stored_kwh: float
    layers_kwh: tuple[float, ...]  # LAYERS widths: floor, to the reserve, then up to the ceiling
    resting_layers: int  # so many of them are below the resting level
    wear: float
    demand: float  # EUR per kW of a month's peak
    fuse_kw: float
    export_limit_kw: float
    contracted_kw: float
    meterings: tuple[Metering, ...]
    months: tuple[Month, ...]
    ready: tuple[tuple[float, ...], ...] = ()  # [step][layer above the reserve]: EUR/kWh stored at the step's end
    target_kw: float | None = None  # mean import the running metering interval is to keep
    quarter: int = 0  # number of the first step: how far the last solution's basis has to move


@dataclass(frozen=True)
class Solution:
    """What HiGHS found. `peaks_kw`: for each month, the interval mean that is paid for."""

    charge_kw: list[float]
    discharge_kw: list[float]
    peaks_kw: list[float]
    seconds: float


@dataclass(frozen=True)
class Penalties:
    """What breaking each soft bound costs, all in proportion to the site's own prices: scaling them changes no plan.

    In order: the fuse (EUR/kWh) outweighs the floor, which outweighs the contract (EUR/kW), which outweighs the month's
    peak. Coming back up to the reserve is worth less than a peak within the hour, more than any spread within hours.
    """

    fuse: float
    floor: float  # EUR per kWh and hour, as the next two
    reserve: float
    ready: float
    contract: float  # EUR per kW
    stored_low: float  # EUR per kWh left at the end, up to the resting level: what it costs to buy again
    stored_high: float  # above it: what it saves


def penalties(problem: Problem) -> Penalties:
    """Price the soft bounds of a problem."""
    span = sum(problem.hours) or 1.0
    mean = max(0.0, sum(p * h for p, h in zip(problem.buy, problem.hours, strict=True)) / span)
    unit = max(0.01, *(abs(p) for p in problem.buy), *(abs(p) for p in problem.sell))
    floor = 100 * (problem.demand + unit)
    low = (mean + problem.wear) / problem.charge_efficiency * 1.001
    return Penalties(
        fuse=100 * floor,
        floor=floor,
        reserve=unit,
        ready=0.002 * mean,
        contract=3 * (problem.demand + unit),
        stored_low=low,
        stored_high=max(0.0, (mean - problem.wear) * problem.discharge_efficiency),
    )


@dataclass
class ModelNumbers:
    cost: Floats
    lower: Floats
    upper: Floats
    rows: Floats  # right-hand sides


class LinearProgram:
    """Holds the HiGHS model between solves. Not for two threads at once; `solve` releases the GIL while it runs."""

    def __init__(self, time_limit_s: float) -> None:
        self._time_limit_s = time_limit_s
        self._highs: _core._Highs | None = None
        self._shape: tuple[object, ...] = ()
        self._last: Problem | None = None  # what the model holds

    def solve(self, problem: Problem) -> Solution:
        """Solve to optimality, from the last solution's basis where the two share hours. Raises SolverFailed."""
        import highspy

        n = len(problem.hours)
        numbers = model_numbers(problem)
        shape = (
            n,
            problem.charge_efficiency,
            problem.discharge_efficiency,
            tuple(m.steps for m in problem.meterings),
            len(problem.months),
            problem.hours[1:],
            tuple(m.hours for m in problem.meterings[1:]),
        )
        before, last = self._highs, self._last
        basis = None if before is None or last is None else shifted_basis(before.getBasis(), last, problem)
        if before is not None and last is not None and shape == self._shape:
            highs = before
            self._update(highs, problem, numbers, tuple(m.month for m in last.meterings))
        else:
            highs = _new_model(problem, numbers, self._time_limit_s)
        self._highs, self._shape, self._last = highs, shape, problem
        warm = basis is not None and _set_basis(highs, basis)
        highs.setOptionValue("simplex_strategy", PRIMAL if warm else DUAL)
        seconds, status = _run(highs, self._time_limit_s)
        if before is not None and status != highspy.HighsModelStatus.kOptimal:
            # a basis from other numbers can leave the simplex without a verdict: forget it and start cold
            highs.clearSolver()
            highs.setOptionValue("simplex_strategy", DUAL)
            more, status = _run(highs, self._time_limit_s)
            seconds += more
        if status != highspy.HighsModelStatus.kOptimal:
            self._highs = None
            raise SolverFailed(f"HiGHS: {highs.modelStatusToString(status)} after {seconds:.1f} s")
        values: list[float] = list(highs.getSolution().col_value)
        peaks = values[BLOCKS * n : -1]
        return Solution(
            charge_kw=values[CHARGE * n : (CHARGE + 1) * n],
            discharge_kw=values[DISCHARGE * n : (DISCHARGE + 1) * n],
            peaks_kw=[sum(peaks[PEAKS * m : PEAKS * (m + 1)]) for m in range(len(problem.months))],
            seconds=seconds,
        )

    @staticmethod
    def _update(highs: _core._Highs, problem: Problem, numbers: ModelNumbers, months: tuple[int, ...]) -> None:
        """New costs, bounds and right-hand sides, and the few coefficients that hold the first step's length, or the
        peak of a metering that was another month's.
        """
        import numpy as np

        n = len(problem.hours)
        columns = np.arange(len(numbers.cost), dtype=np.int32)
        highs.changeColsCost(len(columns), columns, numbers.cost)
        highs.changeColsBounds(len(columns), columns, numbers.lower, numbers.upper)
        rows = np.arange(len(numbers.rows), dtype=np.int32)
        lower = numbers.rows.copy()
        lower[2 * n :] = -np.inf
        highs.changeRowsBounds(len(rows), rows, lower, numbers.rows)  # type: ignore[attr-defined]
        for row, (metering, before) in enumerate(zip(problem.meterings, months, strict=True), start=2 * n):
            for part in range(PEAKS if metering.month != before else 0):
                highs.changeCoeff(row, BLOCKS * n + PEAKS * before + part, 0.0)
                highs.changeCoeff(row, BLOCKS * n + PEAKS * metering.month + part, -metering.hours)
        first, target_row = problem.meterings[0], len(rows) - 1
        highs.changeCoeff(n, CHARGE * n, -problem.charge_efficiency * problem.hours[0])
        highs.changeCoeff(n, DISCHARGE * n, problem.hours[0] / problem.discharge_efficiency)
        for block in (IMPORT, OVER_FUSE):
            highs.changeCoeff(2 * n, block * n, problem.hours[0])
            highs.changeCoeff(target_row, block * n, problem.hours[0])
        for part in range(PEAKS):
            highs.changeCoeff(2 * n, BLOCKS * n + PEAKS * first.month + part, -first.hours)
        highs.changeCoeff(target_row, len(columns) - 1, -first.hours)


def shifted_basis(basis: Any, last: Problem, problem: Problem) -> Any | None:
    """The basis of the last solution at the same instants of the new problem, as `HighsBasis`.

    None where the two have nothing in common. In the hours that both see, the last vertex is nearly the new one.
    """
    import highspy

    n, ahead = len(problem.hours), problem.quarter - last.quarter
    if not basis.valid or len(last.hours) != n or len(last.months) != len(problem.months) or not 0 <= ahead < n:
        return None
    columns, rows = basis.col_status, basis.row_status

    def ahead_of(block: list[Any]) -> list[Any]:
        # the last step is unlike the others, as nothing follows it: it stays the last, the one before it is repeated
        return block[ahead : n - 1] + block[-2:-1] * min(ahead, n - 1) + block[-1:]

    result = highspy.HighsBasis()
    blocks = [ahead_of(columns[b * n : (b + 1) * n]) for b in range(BLOCKS)]
    result.col_status = list(chain(*blocks, columns[BLOCKS * n :]))
    metering_of = {t: row for row, metering in enumerate(last.meterings, 2 * n) for t in metering.steps}
    followed = ahead_of(list(range(n)))
    meterings = [rows[metering_of[followed[metering.steps[0]]]] for metering in problem.meterings]
    result.row_status = ahead_of(rows[:n]) + ahead_of(rows[n : 2 * n]) + meterings + rows[-1:]
    result.valid = True
    return result


def _set_basis(highs: _core._Highs, basis: Any) -> bool:
    """Hand over a basis. Too many or too few of it may be basic: as an alien one it is completed. False: refused."""
    import highspy

    if highs.setBasis(basis) == highspy.HighsStatus.kOk:
        return True
    basis.alien = True
    return bool(highs.setBasis(basis) == highspy.HighsStatus.kOk)


def _run(highs: _core._Highs, time_limit_s: float) -> tuple[float, Any]:
    """Run once; returns (solver seconds, model status). HiGHS counts its run time up over the life of the model."""
    before = highs.getRunTime()
    highs.setOptionValue("time_limit", before + time_limit_s)
    highs.run()
    return highs.getRunTime() - before, highs.getModelStatus()


def model_numbers(problem: Problem) -> ModelNumbers:
    import numpy as np

    n, value = len(problem.hours), penalties(problem)
    hours, buy = np.array(problem.hours), np.array(problem.buy)
    # export may never earn what import costs in the same step, or doing both at once would pay; export above the limit
    # earns nothing (there PV is cut back), so that it is no reason to do anything but store what can be stored
    sell = np.minimum(np.array(problem.sell), buy - TIE_EUR_PER_KWH)
    through = hours * (problem.wear + TIE_EUR_PER_KWH)
    above = LAYERS - problem.resting_layers
    layers = (value.floor, value.reserve) + (value.ready,) * (LAYERS - 2 - above) + (EARLY_EUR_PER_KWH_H,) * above
    left = [value.stored_low] * (LAYERS - above) + [value.stored_high] * above
    left[1] += BELOW_AFTER_H * value.reserve  # what is below the reserve at the end comes back no sooner
    ready = np.zeros((n, LAYERS))
    if problem.ready:
        ready[:, 2:] = problem.ready
    cost = [through, through, hours * buy, hours * (buy + value.fuse), -hours * sell, hours * np.maximum(0.0, -sell)]
    for per_hour, at_end, spares in zip(layers, left, ready.T, strict=True):
        held = -hours * per_hour - spares
        held[-1] -= at_end
        cost.append(held)
    full = np.ones(n)
    # beyond the limits only what load and PV do by themselves: the battery never adds to it, and 0 is always a way out
    net = np.array(problem.net_kw)
    over_fuse = np.maximum(0.0, net - problem.fuse_kw)
    over_export = np.maximum(0.0, -net - problem.export_limit_kw)
    upper = [np.array(problem.charge_kw), np.array(problem.discharge_kw), full * problem.fuse_kw, over_fuse]
    upper += [full * problem.export_limit_kw, over_export]
    upper += [full * width for width in problem.layers_kwh]
    peak_cost, peak_lower, peak_upper = [], [], []
    for month in problem.months:
        widths, prices = _peak_steps(month, problem)
        demand = problem.demand if month.counts else 0.0
        peak_cost += [demand, *prices, demand + value.contract]
        peak_lower += [month.base_kw] + [0.0] * (RISES + 1)
        peak_upper += [month.base_kw, *widths, np.inf]
    own = problem.meterings[0]
    target_kwh = np.inf if problem.target_kw is None else own.hours * problem.target_kw - own.energy_kwh
    dynamics = np.zeros(n)
    dynamics[0] = problem.stored_kwh
    return ModelNumbers(
        cost=np.concatenate([*cost, peak_cost, [value.contract]]),
        lower=np.concatenate([np.zeros(BLOCKS * n), peak_lower, [0.0]]),
        upper=np.concatenate([*upper, peak_upper, [np.inf]]),
        rows=np.concatenate([net, dynamics, [-m.energy_kwh for m in problem.meterings], [target_kwh]]),
    )


def _peak_steps(month: Month, problem: Problem) -> tuple[list[float], list[float]]:
    """Widths, kW, and prices, EUR/kW, of the parts from the month's base up to the contract; cut off there."""
    room = max(0.0, problem.contracted_kw - month.base_kw)
    widths, prices = [], []
    for width, share in (*month.rises[: RISES - 1], (room, 1.0 if len(month.rises) < RISES else month.rises[-1][1])):
        widths.append(min(width, room))
        prices.append(problem.demand * share + TIE_EUR_PER_KWH)
        room -= widths[-1]
    spare = RISES - len(widths)
    return widths + [0.0] * spare, prices + [problem.demand + TIE_EUR_PER_KWH] * spare


def _new_model(problem: Problem, numbers: ModelNumbers, time_limit_s: float) -> _core._Highs:
    """A new HiGHS model of the problem. Raises SolverFailed when HiGHS refuses it."""
    import highspy
    import numpy as np
    from highspy import _core

    columns = _coefficients(problem, len(numbers.cost), len(numbers.rows))
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = len(columns), len(numbers.rows)
    program.col_cost_, program.col_lower_, program.col_upper_ = numbers.cost, numbers.lower, numbers.upper
    equalities = numbers.rows[: 2 * len(problem.hours)]
    program.row_lower_ = np.concatenate([equalities, np.full(len(problem.meterings) + 1, -np.inf)])
    program.row_upper_ = numbers.rows
    fill_matrix(program, columns)
    highs = _core._Highs()  # the bare solver: the wrapper class prints a banner on stdout when it is made
    for option, setting in (("output_flag", False), ("solver", "simplex"), ("time_limit", time_limit_s), UNPERTURBED):
        highs.setOptionValue(option, setting)
    if highs.passModel(program) == highspy.HighsStatus.kError:
        raise SolverFailed(REFUSED)
    return highs


def _coefficients(problem: Problem, column_count: int, row_count: int) -> list[Column]:
    """The matrix by columns. Rows: power balance and stored energy of each step, each metering, the target."""
    columns: list[Column] = [[] for _ in range(column_count)]
    _put_balances(columns, problem)
    for row, metering in enumerate(problem.meterings, start=2 * len(problem.hours)):
        _put_import(columns, row, metering, problem)
        first_part = BLOCKS * len(problem.hours) + PEAKS * metering.month
        for part in range(first_part, first_part + PEAKS):
            columns[part].append((row, -metering.hours))
    running, target_row = problem.meterings[0], row_count - 1
    _put_import(columns, target_row, running, problem)
    columns[-1].append((target_row, -running.hours))
    return columns


def _put_balances(columns: list[Column], problem: Problem) -> None:
    """Rows t: import - export + discharge - charge = net load. Rows n + t: how the stored energy changes."""
    n = len(problem.hours)
    for t, hours in enumerate(problem.hours):
        for block, sign in ((IMPORT, 1), (OVER_FUSE, 1), (EXPORT, -1), (OVER_EXPORT, -1), (DISCHARGE, 1), (CHARGE, -1)):
            columns[block * n + t].append((t, sign))
        columns[CHARGE * n + t].append((n + t, -problem.charge_efficiency * hours))
        columns[DISCHARGE * n + t].append((n + t, hours / problem.discharge_efficiency))
        for layer in range(LAYER, LAYER + LAYERS):
            columns[layer * n + t].append((n + t, 1.0))
            if t + 1 < n:
                columns[layer * n + t].append((n + t + 1, -1.0))


def _put_import(columns: list[Column], row: int, metering: Metering, problem: Problem) -> None:
    """The energy imported in a metering's steps."""
    n = len(problem.hours)
    for t in metering.steps:
        columns[IMPORT * n + t].append((row, problem.hours[t]))
        columns[OVER_FUSE * n + t].append((row, problem.hours[t]))


def fill_matrix(program: Any, columns: Sequence[Column]) -> None:
    """Set the coefficients of a `highspy.HighsLp`."""
    import highspy
    import numpy as np

    matrix = program.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.start_ = np.cumsum([0, *(len(c) for c in columns)])
    matrix.index_ = np.array([row for column in columns for row, _ in column])
    matrix.value_ = np.array([value for column in columns for _, value in column])
