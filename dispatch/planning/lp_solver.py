"""Solves the plan's linear program with HiGHS; the model is kept, and its numbers change between solves.

highspy and numpy are imported when the first program is solved.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from dispatch.planning.lp_ageing import shape_of
from dispatch.planning.lp_model import (
    BLOCKS,
    CHARGE,
    DISCHARGE,
    EXCESS_PARTS,
    IMPORT,
    OVER_FUSE,
    PEAKS,
    Column,
    ModelNumbers,
    Problem,
    Solution,
    coefficients,
    first_excess,
    target_column,
    target_row,
)

if TYPE_CHECKING:
    from highspy import _core

# From the last plan's basis, moved along, the primal simplex needs 30 iterations (median 8), the dual 120; from
# nothing the dual is the faster one. Perturbed bounds only cost iterations to be put right again.
DUAL, PRIMAL = 1, 4  # of HiGHS's option simplex_strategy
UNPERTURBED = ("primal_simplex_bound_perturbation_multiplier", 0.0)
REFUSED = "HiGHS refused the model: a number in the inputs is not finite or bounds cross"


class SolverFailed(Exception):
    """HiGHS gave no optimal solution; says which status it gave."""


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
        numbers = problem.numbers
        shape = (
            n,
            problem.charge_efficiency,
            problem.discharge_efficiency,
            tuple(m.steps for m in problem.meterings),
            len(problem.months),
            problem.hours[1:],
            tuple(m.hours for m in problem.meterings if 0 not in m.steps),
            shape_of(problem.ageing),
            len(problem.excesses),
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
        peaks = values[BLOCKS * n : target_column(problem)]
        return Solution(
            charge_kw=values[CHARGE * n : (CHARGE + 1) * n],
            discharge_kw=values[DISCHARGE * n : (DISCHARGE + 1) * n],
            peaks_kw=[sum(peaks[PEAKS * m : PEAKS * (m + 1)]) for m in range(len(problem.months))],
            seconds=seconds,
            excess_kw=_excess_kw(problem, values),
            objective_eur=highs.getInfo().objective_function_value,
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
        highs.changeRowsBounds(len(rows), rows, numbers.rows_lower, numbers.rows)  # type: ignore[attr-defined]
        for row, (metering, before) in enumerate(zip(problem.meterings, months, strict=True), start=2 * n):
            for part in range(PEAKS if metering.month != before else 0):
                highs.changeCoeff(row, BLOCKS * n + PEAKS * before + part, 0.0)
                highs.changeCoeff(row, BLOCKS * n + PEAKS * metering.month + part, -metering.hours)
        first, last_row = problem.meterings[0], target_row(problem)
        highs.changeCoeff(n, CHARGE * n, -problem.charge_efficiency * problem.hours[0])
        highs.changeCoeff(n, DISCHARGE * n, problem.hours[0] / problem.discharge_efficiency)
        running = [(row, m) for row, m in enumerate(problem.meterings, start=2 * n) if 0 in m.steps]
        for block in (IMPORT, OVER_FUSE):
            for row in (*(row for row, _ in running), last_row):
                highs.changeCoeff(row, block * n, problem.hours[0])
        _update_excesses(highs, problem)
        for row, metering in running:
            for part in range(PEAKS):
                highs.changeCoeff(row, BLOCKS * n + PEAKS * metering.month + part, -metering.hours)
        highs.changeCoeff(last_row, target_column(problem), -first.hours)


def _excess_kw(problem: Problem, values: Sequence[float]) -> tuple[float, ...]:
    """What a solution has above the contract in each `Excess`."""
    first = first_excess(problem)
    starts = range(first, first + EXCESS_PARTS * len(problem.excesses), EXCESS_PARTS)
    return tuple(sum(values[column : column + EXCESS_PARTS]) for column in starts)


def _update_excesses(highs: _core._Highs, problem: Problem) -> None:
    """The coefficients of the running interval that hold the first step's length."""
    n = len(problem.hours)
    for k, excess in enumerate(problem.excesses):
        row, column = 2 * n + len(problem.meterings) + k, first_excess(problem) + EXCESS_PARTS * k
        if 0 in excess.steps:
            for block in (IMPORT, OVER_FUSE):
                highs.changeCoeff(row, block * n, problem.hours[0])
            for part in range(EXCESS_PARTS):
                highs.changeCoeff(row, column + part, -excess.hours)


def shifted_basis(basis: Any, last: Problem, problem: Problem) -> Any | None:
    """The basis of the last solution at the same instants of the new problem, as `HighsBasis`.

    None where the two have nothing in common. In the hours that both see, the last vertex is nearly the new one.
    """
    import highspy

    n, ahead = len(problem.hours), problem.quarter - last.quarter
    if not basis.valid or len(last.hours) != n or len(last.months) != len(problem.months) or not 0 <= ahead < n:
        return None
    if shape_of(last.ageing) != shape_of(problem.ageing) or len(last.excesses) != len(problem.excesses):
        return None
    columns, rows = basis.col_status, basis.row_status

    def ahead_of(block: list[Any]) -> list[Any]:
        # the last step is unlike the others, as nothing follows it: it stays the last, the one before it is repeated
        return block[ahead : n - 1] + block[-2:-1] * min(ahead, n - 1) + block[-1:]

    result = highspy.HighsBasis()

    def all_ahead(statuses: list[Any], begin: int, end: int) -> list[Any]:
        return list(chain(*(ahead_of(statuses[k : k + n]) for k in range(begin, end, n))))

    followed, first, after = ahead_of(list(range(n))), first_excess(last), target_column(last)
    excesses = _followed_excesses(last, problem, followed)
    above = [columns[first + EXCESS_PARTS * k : first + EXCESS_PARTS * (k + 1)] for k in excesses]
    result.col_status = [
        *all_ahead(columns, 0, BLOCKS * n),
        *columns[BLOCKS * n : first],
        *chain(*above),
        columns[after],
        *all_ahead(columns, after + 1, len(columns)),
    ]
    charge_of = [month.charge for month in last.months]
    metering_of = {
        (charge_of[metering.month], t): row
        for row, metering in enumerate(last.meterings, 2 * n)
        for t in metering.steps
    }
    charge_of = [month.charge for month in problem.months]
    meterings = [rows[metering_of[charge_of[m.month], followed[m.steps[0]]]] for m in problem.meterings]
    after = target_row(last)
    result.row_status = [
        *all_ahead(rows, 0, 2 * n),
        *meterings,
        *(rows[2 * n + len(last.meterings) + k] for k in excesses),
        rows[after],
        *all_ahead(rows, after + 1, len(rows)),
    ]
    result.valid = True
    return result


def _followed_excesses(last: Problem, problem: Problem, followed: list[int]) -> list[int]:
    """For each excess row the one of the last problem at the same time."""
    slots: dict[int, int] = {}  # so many rows of a step were seen
    row_of: dict[tuple[int, int], int] = {}
    for k, excess in enumerate(last.excesses):
        slot = slots[excess.steps[0]] = slots.get(excess.steps[0], -1) + 1
        row_of |= {(slot, t): k for t in excess.steps}
    slots, result = {}, []
    for excess in problem.excesses:
        slot = slots[excess.steps[0]] = slots.get(excess.steps[0], -1) + 1
        result.append(row_of[slot, followed[excess.steps[0]]])
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


def _new_model(problem: Problem, numbers: ModelNumbers, time_limit_s: float) -> _core._Highs:
    """A new HiGHS model of the problem. Raises SolverFailed when HiGHS refuses it."""
    import highspy
    from highspy import _core

    columns = coefficients(problem, len(numbers.cost))
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = len(columns), len(numbers.rows)
    program.col_cost_, program.col_lower_, program.col_upper_ = numbers.cost, numbers.lower, numbers.upper
    program.row_lower_, program.row_upper_ = numbers.rows_lower, numbers.rows
    fill_matrix(program, columns)
    highs = _core._Highs()  # the bare solver: the wrapper class prints a banner on stdout when it is made
    for option, setting in (("output_flag", False), ("solver", "simplex"), ("time_limit", time_limit_s), UNPERTURBED):
        highs.setOptionValue(option, setting)
    if highs.passModel(program) == highspy.HighsStatus.kError:
        raise SolverFailed(REFUSED)
    return highs


def fill_matrix(program: Any, columns: Sequence[Column]) -> None:
    """Set the coefficients of a `highspy.HighsLp`."""
    import highspy
    import numpy as np

    matrix = program.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.start_ = np.cumsum([0, *(len(c) for c in columns)])
    matrix.index_ = np.array([row for column in columns for row, _ in column])
    matrix.value_ = np.array([value for column in columns for _, value in column])
