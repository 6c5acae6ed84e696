"""Makes a price series of the rows of a price file, and says what was done where rows are missing.

One rule, whatever the length of a hole: a file that leaves out the rows that repeat the price before is filled with
that price up to the next row. Any other hole is a gap, without a price. Both are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import NamedTuple

from dispatch.billing.market_prices import PriceSeries
from dispatch.wording.formatting import span

LONGEST_STEP_S = 3600  # day-ahead prices are hourly or finer
# A price is held over missing rows for no longer: a whole day that is missing is a day that was not loaded.
LONGEST_FILLED_S = 86_400
LEAST_ALIKE = 3  # hourly rows between quarter-hourly ones are rows of an hour, not holes, from so many in a row on


class Hole(NamedTuple):
    """From a row to the next one, which comes later than the step of the rows before it says. POSIX seconds."""

    start_s: int
    step_s: int
    end_s: int

    @property
    def missing_s(self) -> int:
        """How long no row tells a price."""
        return self.end_s - self.start_s - self.step_s


def price_series(
    entries: Sequence[tuple[int, float]], *, repeats_left_out: bool = True
) -> tuple[PriceSeries, tuple[str, ...]]:
    """The series of sorted (start, EUR/MWh), gaps as entries without a price; and what must be said of its holes.

    The last row lasts as long as the step before it. `repeats_left_out`: False where each hole is a gap.
    """
    steps = steps_of([start for start, _ in entries])
    holes = {hole.start_s: hole for hole in _holes(entries, steps)}
    fill = repeats_left_out and bool(holes) and _repeats_left_out(entries, steps)
    filled, gaps = [], []
    starts: list[int] = []
    prices: list[float | None] = []
    for start, price in entries:
        starts.append(start)
        prices.append(price)
        hole = holes.get(start)
        if hole is None:
            continue
        if fill and hole.end_s - hole.start_s <= LONGEST_FILLED_S:
            filled.append(hole)
            continue
        gaps.append(hole)
        starts.append(start + hole.step_s)
        prices.append(None)
    series = PriceSeries(tuple(starts), tuple(prices), entries[-1][0] + steps[-1])
    return series, tuple(_remarks(filled, gaps))


def steps_of(starts: Sequence[int]) -> list[int]:
    """How long each row lasts by the rows around it, s: the spacing of rows that follow each other regularly."""
    spacings = [b - a for a, b in pairwise(starts)]
    usual = [s for s in spacings if s <= LONGEST_STEP_S]
    common_s = Counter(usual).most_common(1)[0][0] if usual else LONGEST_STEP_S
    regular: list[int | None] = []
    for spacing_s, run in groupby(spacings):
        length = len(list(run))
        at_an_end = not regular or len(regular) + length == len(spacings)
        alike = length >= LEAST_ALIKE or (length == LEAST_ALIKE - 1 and at_an_end)
        one = spacing_s <= common_s or (spacing_s <= LONGEST_STEP_S and alike)
        regular += [spacing_s if one else None] * length
    found: list[int] = []
    before = next((s for s in regular if s is not None), common_s)
    for spacing in [*regular, None]:
        before = before if spacing is None else spacing
        found.append(before)
    return found


def _holes(entries: Sequence[tuple[int, float]], steps: Sequence[int]) -> Iterator[Hole]:
    """Where the next row comes later than a step."""
    for k, step_s in enumerate(steps[:-1]):
        if entries[k + 1][0] - entries[k][0] > step_s:
            yield Hole(entries[k][0], step_s, entries[k + 1][0])


def _repeats_left_out(entries: Sequence[tuple[int, float]], steps: Sequence[int]) -> bool:
    """Whether the rows look as if those were left out that repeat a price: none repeats one, all are on one raster."""
    raster_s = min(steps)
    return all(a[1] != b[1] and (b[0] - a[0]) % raster_s == 0 for a, b in pairwise(entries))


def _remarks(filled: Sequence[Hole], gaps: Sequence[Hole]) -> Iterator[str]:
    if filled:
        longest = max(filled, key=lambda hole: hole.end_s - hole.start_s)
        yield (
            f"no row repeats the price before it, so rows are taken to be left out where the price stays: "
            f"{_holes_in_words(len(filled))} filled with the price before, the longest price holds "
            f"{span(longest.end_s - longest.start_s)} from {_stamp(longest.start_s)} on"
        )
    if gaps:
        longest = max(gaps, key=lambda hole: hole.missing_s)
        yield (
            f"{_holes_in_words(len(gaps))} without a price: rows are missing, the longest "
            f"{span(longest.missing_s)} from {_stamp(longest.start_s + longest.step_s)} on"
        )


def _holes_in_words(count: int) -> str:
    return f"{count} {'hole' if count == 1 else 'holes'}"


def _stamp(utc_s: int) -> str:
    return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
