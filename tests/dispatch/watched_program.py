"""A linear program that keeps what it was asked and what it found, for tests of its objective."""

from __future__ import annotations

import pytest

from dispatch.planning.lp_model import Problem, Solution
from dispatch.planning.lp_solver import LinearProgram


class Watched(LinearProgram):
    """Keeps the problem, the solution and the objective of the last solve."""

    def __init__(self) -> None:
        super().__init__(5.0)
        self.told: list[tuple[Problem, Solution, float]] = []

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        assert self._highs is not None
        self.told.append((problem, solution, self._highs.getObjectiveValue()))
        return solution


class AlsoCold(LinearProgram):
    """Solves each problem from the last basis, and from nothing: both find the same least cost.

    Whole plans are not compared. A second problem of the same plan depends on the solution of the first (which way each
    step may go, what a peak is priced at), and where solutions are of equal cost, either may have been found.
    """

    def __init__(self) -> None:
        super().__init__(60.0)

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        cold = LinearProgram(60.0).solve(problem)
        assert solution.objective_eur == pytest.approx(cold.objective_eur, rel=1e-6, abs=1e-3)
        return solution
