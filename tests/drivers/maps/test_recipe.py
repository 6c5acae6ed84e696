"""A recipe gives the requests of a power: order, conditions, rounding, clamps; one that may not be is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.maps.recipe import MapWrites, TermMissing, asked_w, encoded, power_terms, writes
from drivers.maps.recipe_schema import Recipe, conditions, faults

GOODWE = {
    "renew_s": 10,
    "revert_s": 0,
    "set": [
        {
            "address": 47511,
            "when": "want_w <= 0",
            "values": [{"type": "u16", "is": 11}, {"type": "u16", "terms": {"charge_w": 1}, "max": 10000}],
        },
        {
            "address": 47511,
            "when": "want_w > 0",
            "values": [{"type": "u16", "is": 12}, {"type": "u16", "terms": {"discharge_w": 1}, "max": 10000}],
        },
    ],
    "leave": [{"address": 47511, "values": [{"type": "u16", "is": 1}, {"type": "u16", "is": 0}]}],
}


def recipe(**changes: Any) -> Recipe:
    return msgspec.convert({**GOODWE, **changes}, Recipe)


def terms(want_w: float, **measured: float | None) -> dict[str, float | None]:
    given = power_terms(want_w, charge_rated_w=5000, discharge_rated_w=5000, revert_s=60, phases=3)
    return {**given, **measured}


@pytest.mark.parametrize(
    ("want_w", "words"),
    [(3000, (12, 3000)), (-3000, (11, 3000)), (0, (11, 0)), (12000, (12, 10000)), (-1.9, (11, 1))],
)
def test_power_is_written_as_mode_and_magnitude_in_one_request(want_w: float, words: tuple[int, ...]) -> None:
    (write,) = writes(recipe().set, terms(want_w), MapWrites())
    assert (write.at, write.address, write.function, write.words) == ("device", 47511, 16, words)
    assert write.clamped == (abs(want_w) > 10000)


def test_a_measured_term_that_is_missing_writes_nothing() -> None:
    entry = [{"address": 37, "values": [{"type": "s16", "terms": {"want_w_l1": -1, "ac_out_w_l1": 1}}]}]
    of = recipe(set=entry)
    (write,) = writes(of.set, terms(-3000, ac_out_w_l1=500.0), MapWrites())
    assert write.words == (1500,)  # 1000 W into the battery and 500 W to the loads, drawn from the grid
    assert of.measured_terms == {"ac_out_w_l1"}
    for missing in (None, float("nan")):
        with pytest.raises(TermMissing, match="ac_out_w_l1"):
            writes(of.set, terms(-3000, ac_out_w_l1=missing), MapWrites())


def test_a_condition_on_a_missing_value_is_not_taken_for_false() -> None:
    entry = [{"address": 1, "when": "want_w > pv_w", "values": [{"type": "u16", "is": 1}]}]
    with pytest.raises(TermMissing, match="pv_w"):
        writes(recipe(set=entry).set, terms(1, pv_w=None), MapWrites())


@given(st.floats(-1e6, 1e6), st.sampled_from([1.0, 10.0, 100.0]), st.sampled_from([0.0, 150.0]))
def test_never_more_is_asked_than_wanted(want_w: float, resolution_w: float, least_w: float) -> None:
    w = asked_w(recipe(resolution_w=resolution_w, least_w=least_w), want_w)
    assert abs(w) <= abs(want_w) + 1e-6
    assert w * want_w >= 0
    assert w == 0 or (abs(w) >= least_w and abs(want_w - w) < resolution_w)


@pytest.mark.parametrize("w", [100.0, -300.0, 29900.0, 0.1 * 3000])
def test_a_power_in_the_resolution_stays_as_it_is(w: float) -> None:
    assert asked_w(recipe(resolution_w=100), w) == pytest.approx(w)


def test_words_follow_the_word_order() -> None:
    assert encoded(-2, "s32") == (0xFFFF, 0xFFFE)
    assert encoded(0x12345678, "u32", "little") == (0x5678, 0x1234)
    assert encoded(1.0, "f32") == (0x3F80, 0)
    with pytest.raises(ValueError, match="does not fit"):
        encoded(70000, "u16")


REFUSED = [
    ({"set": []}, "expected at least one entry"),
    ({"renew_s": 40, "revert_s": 60, "revert_to": "auto"}, "at most half of revert_s"),
    ({"revert_s": 60, "renew_s": 10}, "in words"),
    ({"set": [{"address": 5, "memory": "flash", "values": [{"type": "u16", "is": 1}]}]}, "flash"),
    ({"renew": [{"address": 5, "memory": "flash", "values": [{"type": "u16", "is": 1}]}]}, "flash"),
    (
        {"enter": [{"address": 5, "memory": "flash", "unless_held": False, "values": [{"type": "u16", "is": 1}]}]},
        "only where",
    ),
    ({"set": [{"address": 5, "function": 6, "values": [{"type": "u32", "is": 1}]}]}, "function 6 writes one register"),
    ({"set": [{"address": 649, "values": [{"type": "u32", "is": 1}]}]}, "650..655 are protected"),
    ({"leave": [{"address": 653, "values": [{"type": "u16", "is": 1}]}]}, "650..655 are protected"),
    ({"heartbeat": {"address": 655}}, "650..655 are protected"),
    ({"set": [{"address": 5, "at": "vebus", "values": [{"type": "u16", "is": 1}]}]}, "a name of"),
    ({"set": [{"address": 65535, "values": [{"type": "u32", "is": 1}]}]}, "0..65535"),
    ({"set": [{"address": 5, "values": [{"type": "u16"}]}]}, "either `is` or `terms`"),
    ({"set": [{"address": 5, "values": [{"type": "u16", "is": 1, "terms": {"one": 1}}]}]}, "either `is` or `terms`"),
    ({"set": [{"address": 5, "values": [{"type": "u16", "terms": {"grid_w": 1}}]}]}, "terms.grid_w"),
    ({"set": [{"address": 5, "values": [{"type": "u16", "terms": {"one": 1}, "divide": -1}]}]}, "divide"),
    ({"set": [{"address": 5, "when": "want_w ! 0", "values": [{"type": "u16", "is": 1}]}]}, "TERM OP TERM"),
    ({"set": [{"address": 5, "when": "want_w > x_1", "values": [{"type": "u16", "is": 1}]}]}, "a number or a term"),
    ({"set": [{"address": 5, "found": True, "values": [{"type": "u16", "is": 1}]}]}, "in leave only"),
    ({"leave": [{"address": 5, "values": [{"type": "u16", "terms": {"want_w": 1}}]}]}, "constants"),
]


@pytest.mark.parametrize(("changes", "expected"), REFUSED)
def test_a_recipe_that_may_not_be_is_refused(changes: dict[str, Any], expected: str) -> None:
    found = list(faults(recipe(**changes), {}, [(650, 655)]))
    assert any(expected in what for _, what in found), found


def test_a_sound_recipe_has_no_faults() -> None:
    assert list(faults(recipe(), {}, [(650, 655)])) == []


def test_several_comparisons_must_all_hold() -> None:
    both = conditions("want_w > 0 and want_w <= pv_w")
    assert [(c.left, c.op, c.right) for c in both] == [("want_w", ">", 0.0), ("want_w", "<=", "pv_w")]
