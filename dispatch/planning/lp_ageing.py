"""The part of a linear program that counts ageing (`dispatch.billing.battery_ageing`): for plan and foresight alike.

Columns, for each segment of depth: the energy in it after each of n steps, and what was taken out of it in each; then
for each price of holding the energy above its mark. Rows: the segments hold what is stored (n rows, where there are
segments), what leaves a segment is taken out of it (n for each), what is above a mark is held above it (n for each).
numpy is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatch.billing.battery_ageing import Ageing, CycleDepths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AgeingPart:
    """What the columns are made from; energy is counted as the program counts it.

    begins_kwh: the energy in each segment before a step, by that step's number: of step 0, and of each after a gap.
    """

    ageing: Ageing
    begins_kwh: Mapping[int, Sequence[float]]

    @property
    def shape(self) -> tuple[int, int]:
        """Segments, and prices of holding: a program with others is another one."""
        return len(self.ageing.widths_kwh), len(self.ageing.holds)

    @property
    def row_blocks(self) -> int:
        """Blocks of n rows."""
        segments, holds = self.shape
        return (1 + segments if segments else 0) + holds

    def costs(self, hours: Sequence[float]) -> Floats:
        """EUR by column."""
        import numpy as np

        parts, n = [np.zeros(0)], len(hours)
        for price in self.ageing.eur_per_kwh:
            parts += [np.zeros(n), np.full(n, price)]
        parts += [np.array(hours) * price for _, price in self.ageing.holds]
        return np.concatenate(parts)

    def bounds(self, n: int) -> tuple[Floats, Floats]:
        """Lower and upper bounds of the columns. The deepest segment has none: what a wrong SoC says is its."""
        import numpy as np

        segments, holds = self.shape
        lower, upper = np.zeros((2 * segments + holds, n)), np.full((2 * segments + holds, n), np.inf)
        for segment, width in enumerate(self.ageing.widths_kwh[:-1]):
            upper[2 * segment] = width
        if segments:
            lower[2 * (segments - 1)] = -np.inf
        return lower.ravel(), upper.ravel()

    def rows(self, n: int) -> tuple[Floats, Floats]:
        """Lower and upper bounds of the rows."""
        import numpy as np

        segments, holds = self.shape
        taken = np.zeros((segments, n))
        for step, filled in self.begins_kwh.items():
            taken[:, step] = [-kwh for kwh in filled]
        held = [np.full(n, above) for above, _ in self.ageing.holds]
        sums = np.zeros(n if segments else 0)
        upper = np.concatenate([sums, taken.ravel(), *held])
        return np.concatenate([sums, np.full((segments + holds) * n, -np.inf)]), upper

    def entries(
        self, first_column: int, first_row: int, stored_columns: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, int, float]]:
        """Coefficients as (column, row, value). stored_columns: for each step those that add up to what is stored."""
        n, (segments, holds) = len(stored_columns), self.shape
        for segment in range(segments):
            yield from self._segment_entries(first_column + 2 * segment * n, first_row, segment, n)
        for hold in range(holds):
            row = first_row + (self.row_blocks - holds + hold) * n
            for t, stored in enumerate(stored_columns):
                yield first_column + (2 * segments + hold) * n + t, row + t, -1.0
                yield from ((column, row + t, 1.0) for column in stored)
        if segments:
            yield from ((column, first_row + t, -1.0) for t, stored in enumerate(stored_columns) for column in stored)

    def _segment_entries(
        self, first_column: int, first_row: int, segment: int, n: int
    ) -> Iterator[tuple[int, int, float]]:
        for t in range(n):
            inside, row = first_column + t, first_row + (1 + segment) * n + t
            yield inside, first_row + t, 1.0
            yield inside, row, -1.0
            yield inside + n, row, -1.0
            if t + 1 < n and t + 1 not in self.begins_kwh:
                yield inside, row + 1, 1.0

    def values(self, stored_kwh: Sequence[float]) -> list[float]:
        """The columns' values for a course of one run: stored energy before the first step and after each."""
        inside: list[list[float]] = [[] for _ in self.ageing.widths_kwh]
        taken: list[list[float]] = [[] for _ in self.ageing.widths_kwh]
        depths = CycleDepths(self.ageing, stored_kwh[0], self.begins_kwh[0])
        for after in stored_kwh[1:]:
            before = list(depths.filled_kwh)
            depths.follow(after)
            for segment, kwh in enumerate(depths.filled_kwh):
                inside[segment].append(kwh)
                taken[segment].append(max(0.0, before[segment] - kwh))
        held = [[max(0.0, after - above) for after in stored_kwh[1:]] for above, _ in self.ageing.holds]
        return [v for pair in zip(inside, taken, strict=True) for part in pair for v in part] + [
            v for part in held for v in part
        ]


def shape_of(part: AgeingPart | None) -> tuple[int, int]:
    """Of a program with this part: those of other shapes share no basis."""
    return (0, 0) if part is None else part.shape


def above_bottom(ageing: Ageing, filled_kwh: Sequence[float], bottom_kwh: float) -> AgeingPart:
    """The part of a program that counts energy from a bottom, kWh, which is never taken out."""
    widths, filled = list(ageing.widths_kwh), list(filled_kwh)
    for parts in (widths, filled):
        left = bottom_kwh
        for k in range(len(parts) - 1, -1, -1):
            cut = min(left, parts[k])
            parts[k] -= cut
            left -= cut
    holds = tuple((max(0.0, above - bottom_kwh), price) for above, price in ageing.holds)
    return AgeingPart(Ageing(tuple(widths), ageing.eur_per_kwh, holds), {0: tuple(filled)})
