"""The reads of a map are the fewest that its limits allow."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.maps.requests import Span, joined


@st.composite
def disjoint(draw: st.DrawFn) -> list[Span]:
    spans, address = [], 0
    for gap, size in draw(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=1, max_size=7)):
        address += gap
        spans.append((address, address + size))
        address += size
    return spans


def fewest(spans: list[Span], max_registers: int, max_gap: int) -> int:
    """By trying every way to cut the row of spans."""

    def allowed(group: list[Span]) -> bool:
        gaps = [b[0] - a[1] for a, b in pairwise(group)]
        return group[-1][1] - group[0][0] <= max_registers and all(gap <= max_gap for gap in gaps)

    def best(rest: list[Span]) -> int:
        if not rest:
            return 0
        ends = range(1, len(rest) + 1)
        return min(1 + best(rest[end:]) for end in ends if allowed(rest[:end]))

    return best(spans)


@given(disjoint(), st.integers(4, 12), st.integers(0, 4), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_no_way_of_reading_takes_fewer_requests(spans: list[Span], most: int, gap: int, random: object) -> None:
    shuffled = list(spans)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    reads = list(joined(shuffled, most, gap))
    assert len(reads) == fewest(spans, most, gap)
    assert all(end - first <= most for first, end in reads)
    assert all(sum(first <= a and b <= end for first, end in reads) == 1 for a, b in spans)
