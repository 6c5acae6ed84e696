"""Of several limits the one that binds is named, and no other."""

from __future__ import annotations

import math

import pytest

from dispatch.model.signals import Limits, Quantity, Signal, Sort, both, tightest


def a_signal(id: str, limit_w: float, quantity: Quantity = Quantity.IMPORT) -> Signal:
    return Signal(id, Sort.ORDER, "event", quantity, limit_w, 0.0, 3600.0, 0.0)


@pytest.mark.parametrize("first_w", [20_000.0, 30_000.0])
def test_of_several_events_the_lowest_is_named(first_w: float) -> None:
    limits = tightest((a_signal("e1", first_w), a_signal("e2", 25_000.0), a_signal("e3", 40_000.0)))
    assert limits == Limits(import_w=min(first_w, 25_000.0), by=("event e1" if first_w < 25_000.0 else "event e2",))


def test_limits_of_different_kinds_are_all_named() -> None:
    limits = tightest((a_signal("e1", 20_000.0), a_signal("s2", 5_000.0, Quantity.EXPORT)))
    assert (limits.import_w, limits.export_w, limits.by) == (20_000.0, 5_000.0, ("event e1", "event s2"))
    assert tightest(()) == Limits()


@pytest.mark.parametrize(
    ("first", "second", "by"),
    [
        (Limits(import_w=10.0, by=("wire",)), Limits(import_w=20.0, by=("s1",)), ("wire",)),
        (Limits(import_w=20.0, by=("wire",)), Limits(import_w=10.0, by=("s1",)), ("s1",)),
        (Limits(import_w=10.0, by=("wire",)), Limits(import_w=20.0, export_w=1.0, by=("s1",)), ("wire", "s1")),
        (Limits(), Limits(import_w=20.0, by=("s1",)), ("s1",)),
        (Limits(import_w=10.0, by=("wire",)), Limits(), ("wire",)),
    ],
)
def test_of_two_sets_those_that_bind_are_named(first: Limits, second: Limits, by: tuple[str, ...]) -> None:
    found = both(first, second)
    assert found.by == by
    assert found.import_w == min(first.import_w, second.import_w)
    assert found.production_w == math.inf
