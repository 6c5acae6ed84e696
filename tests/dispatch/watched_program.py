"""A linear program that keeps what it was asked and what it found, for tests of its objective."""

from __future__ import annotations

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
