"""A recipe gives the requests of a power: order, conditions, rounding, clamps; one that may not be is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.maps.checks import faults
from drivers.maps.recipe import TermMissing, asked_w, needed_terms, power_terms, writes
from drivers.maps.schema import DeviceMap, Recipe
from tests.drivers.maps.recipes import map_with

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


def made(**changes: Any) -> tuple[DeviceMap, Recipe]:
    return map_with({**GOODWE, **changes})


def terms(want_w: float, **measured: float | None) -> dict[str, float | None]:
    given = power_terms(want_w, charge_rated_w=5000, discharge_rated_w=5000, revert_s=60)
    return {**given, **measured}


@pytest.mark.parametrize(
    ("want_w", "words"),
    [(3000, (12, 3000)), (-3000, (11, 3000)), (0, (11, 0)), (12000, (12, 10000)), (-1.9, (11, 1))],
)
def test_power_is_written_as_mode_and_magnitude_in_one_request(want_w: float, words: tuple[int, ...]) -> None:
    device_map, recipe = made()
    (write,) = writes(device_map, recipe.set, terms(want_w))
    assert (write.at, write.address, write.function, write.words) == ("device", 47511, 16, words)
    assert write.clamped == (abs(want_w) > 10000)


def test_a_measured_term_that_is_missing_writes_nothing() -> None:
    entry = [{"address": 37, "values": [{"type": "s16", "terms": {"want_w_l1": -1, "ac_out_w_l1": 1}}]}]
    device_map, recipe = made(set=entry)
    (write,) = writes(device_map, recipe.set, terms(-3000, ac_out_w_l1=500.0))
    assert write.words == (1500,)  # 1000 W into the battery and 500 W to the loads, drawn from the grid
    assert needed_terms(recipe.set) == {"want_w_l1", "ac_out_w_l1"}
    for missing in (None, float("nan")):
        with pytest.raises(TermMissing, match="ac_out_w_l1"):
            writes(device_map, recipe.set, terms(-3000, ac_out_w_l1=missing))


def test_a_condition_on_a_missing_value_is_not_taken_for_false() -> None:
    entry = [{"address": 1, "when": "want_w > pv_w", "values": [{"type": "u16", "is": 1}]}]
    device_map, recipe = made(set=entry)
    with pytest.raises(TermMissing, match="pv_w"):
        writes(device_map, recipe.set, terms(1, pv_w=None))


@given(st.floats(-1e6, 1e6), st.sampled_from([1.0, 10.0, 100.0]), st.sampled_from([0.0, 150.0]))
def test_never_more_is_asked_than_wanted(want_w: float, resolution_w: float, least_w: float) -> None:
    w = asked_w(made(resolution_w=resolution_w, least_w=least_w)[1], want_w)
    assert abs(w) <= abs(want_w) + 1e-6
    assert w * want_w >= 0
    assert w == 0 or (abs(w) >= least_w and abs(want_w - w) < resolution_w)


@pytest.mark.parametrize("w", [100.0, -300.0, 29900.0, 0.1 * 3000])
def test_a_power_in_the_resolution_stays_as_it_is(w: float) -> None:
    assert asked_w(made(resolution_w=100)[1], w) == pytest.approx(w)


def test_a_share_of_the_rating_and_a_scale_register_are_divided_by() -> None:
    value = {"type": "s16", "terms": {"want_w": 100.0}, "divide_by": "charge_rated_w", "scale_register": 7}
    device_map, recipe = made(set=[{"address": 5, "values": [value]}])
    (write,) = writes(device_map, recipe.set, terms(-2500), {("device", 7): -2})
    assert write.words == (0x10000 - 5000,)  # half of 5000 W: -50.00 %


REFUSED = [
    ({"set": []}, "at least one"),
    ({"renew_s": 60, "revert_s": 60}, "below revert_s"),
    ({"set": [{"address": 5, "memory": "flash", "values": [{"type": "u16", "is": 1}]}]}, "flash"),
    ({"renew": [{"address": 5, "memory": "flash", "values": [{"type": "u16", "is": 1}]}]}, "flash"),
    ({"set": [{"address": 5, "function": 6, "values": [{"type": "u32", "is": 1}]}]}, "function 16"),
    ({"set": [{"address": 649, "values": [{"type": "u32", "is": 1}]}]}, "protected 650..655"),
    ({"leave": [{"address": 653, "values": [{"type": "u16", "is": 1}]}]}, "protected 650..655"),
    ({"heartbeat": {"address": 655, "every_s": 1, "counts": True}}, "protected 650..655"),
    ({"set": [{"address": 5, "values": [{"type": "u16", "terms": {"grid_w": 1}}]}]}, "unknown term 'grid_w'"),
    ({"set": [{"address": 5, "values": [{"type": "u16", "terms": {"pv_w": 1}}]}]}, "'pv_w' is not read"),
    ({"set": [{"address": 5, "found": True, "values": [{"type": "u16", "is": 1}]}]}, "in leave only"),
    ({"leave": [{"address": 5, "found": True, "size": 1}]}, "when nothing is known"),
    ({"leave": [{"address": 5, "values": [{"type": "u16", "terms": {"want_w": 1}}]}]}, "nothing is wanted"),
]


@pytest.mark.parametrize(("changes", "expected"), REFUSED)
def test_a_recipe_that_may_not_be_is_refused(changes: dict[str, Any], expected: str) -> None:
    found = [fault for fault in faults(made(**changes)[0]) if fault[0][0] == "recipe"]
    assert any(expected in f"{what}; {wanted}" for _, what, wanted in found), found


def test_a_sound_recipe_has_no_faults() -> None:
    assert [fault for fault in faults(made()[0]) if fault[0][0] == "recipe"] == []
