"""Ageing: by hand, against a count of rainflow cycles, and what the site file may not say."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_site import NOON, site

from dispatch.billing.battery_ageing import Ageing, CycleDepths, ageing_eur, ageing_of, schedule_ageing_eur
from dispatch.billing.bill import Flow, bill
from dispatch.config.cross_checks import inconsistencies
from dispatch.config.schema import DispatchConfig

LIFE: dict[str, Any] = {"replacement_eur_per_kwh": 200.0, "cycle_life": ((50.0, 10_000.0), (100.0, 4_000.0))}


def priced(config: DispatchConfig) -> Ageing:
    ageing = ageing_of(config)
    assert ageing is not None
    return ageing


def test_a_cycle_costs_its_share_of_the_battery() -> None:
    ageing = priced(site(battery=LIFE))
    assert ageing.widths_kwh == pytest.approx((50.0, 50.0))
    assert ageing.eur_per_kwh == pytest.approx((0.04, 0.06))  # 200 x (1 / 10 000) / 0.5; 200 x (1 / 4000 - that) / 0.5
    full = ageing_eur(ageing, [100.0, 0.0, 100.0], [1.0, 1.0])
    assert full == pytest.approx(200 * 100 / 4000)
    assert ageing_eur(ageing, [100.0, 50.0, 100.0], [1.0, 1.0]) == pytest.approx(200 * 100 / 10_000)
    assert ageing_eur(ageing, [60.0, 40.0, 60.0, 40.0], [1.0] * 3, (50.0, 10.0)) == pytest.approx(2 * 20 * 0.04)


def test_beyond_the_deepest_point_depth_costs_as_before_it() -> None:
    ageing = priced(site(battery=LIFE | {"cycle_life": ((50.0, 10_000.0), (80.0, 5_000.0))}))
    assert ageing.widths_kwh == pytest.approx((50.0, 30.0, 20.0))
    assert ageing.eur_per_kwh[2] == ageing.eur_per_kwh[1]


def test_several_batteries_count_by_energy() -> None:
    one = site(battery=LIFE)
    (battery,) = one.batteries
    plain = msgspec.structs.replace(battery, id="bat2", energy_kwh=300.0, cycle_life=(), replacement_eur_per_kwh=0.0)
    ageing = priced(msgspec.structs.replace(one, batteries=(battery, plain)))
    assert sum(ageing.widths_kwh) == pytest.approx(400.0)
    assert ageing.eur_per_kwh == pytest.approx((0.01, 0.015))


def test_holding_costs_above_its_mark() -> None:
    config = site(battery={"calendar_soc_pct": 80.0, "calendar_eur_per_kwh_day": 0.24})
    assert schedule_ageing_eur(config, 3600, [0.0] * 2, 90.0) == pytest.approx(2 * 10 * 0.01)
    assert schedule_ageing_eur(config, 3600, [0.0] * 2, 80.0) == 0.0
    assert schedule_ageing_eur(site(), 3600, [0.0] * 2, 90.0) == 0.0


def test_it_is_a_part_of_the_wear_on_the_bill() -> None:
    flow = Flow(
        start_utc_s=NOON, step_s=900, load_w=[9_000.0], pv_w=[0.0], eur_per_mwh=[50.0], battery_w=[9_000.0]
    )  # fmt: skip
    config = site(battery=LIFE)
    aged_eur = schedule_ageing_eur(config, 900, flow.battery_w, 90.0, [0.0])
    assert aged_eur == pytest.approx(9 / 4 / 0.9 * 0.04), "of the first 50 kWh, 40 are left to take out"
    one, other = bill(config, flow), bill(config, flow, ageing_eur=aged_eur)
    assert other.wear_eur == pytest.approx(one.wear_eur + aged_eur)
    assert other.total_eur == pytest.approx(one.total_eur + aged_eur)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=30),
    st.lists(st.floats(1, 50), min_size=1, max_size=4),
    st.lists(st.floats(0, 0.1), min_size=4, max_size=4),
)
def test_it_counts_what_rainflow_counts(socs: list[float], widths: list[float], rises: list[float]) -> None:
    """From full to full every cycle is closed; each costs what its depth does."""
    widths = [*widths, max(100 - sum(widths), 1.0)]
    prices = list(accumulate((rises * 2)[: len(widths)]))
    ageing = Ageing(tuple(widths), tuple(prices))
    full = sum(widths)
    course = [full, *(full * soc / 100 for soc in socs), full]
    counted = sum(_of_depth(ageing, depth) for depth in _rainflow(course))
    assert ageing_eur(ageing, course, [1.0] * (len(course) - 1)) == pytest.approx(counted, abs=1e-9)


def _of_depth(ageing: Ageing, depth: float) -> float:
    total = 0.0
    for width, price in zip(ageing.widths_kwh, ageing.eur_per_kwh, strict=True):
        total += min(width, max(depth, 0.0)) * price
        depth -= width
    return total


def _rainflow(course: list[float]) -> list[float]:
    """Depths of the cycles by the four-point method; what begins and ends full leaves one of them open at most."""
    depths: list[float] = []
    turns: list[float] = []
    for value in course:
        if len(turns) > 1 and (turns[-1] - turns[-2]) * (value - turns[-1]) >= 0:
            turns.pop()
        turns.append(value)
        while len(turns) >= 4 and _inside(*turns[-4:]):
            depths.append(abs(turns[-2] - turns[-3]))
            del turns[-3:-1]
    return depths + [max(before - after, 0.0) for before, after in pairwise(turns)]


def _inside(a: float, b: float, c: float, d: float) -> bool:
    return min(a, d) <= min(b, c) and max(b, c) <= max(a, d)


@given(st.lists(st.floats(-80, 80), max_size=20), st.floats(0, 100))
def test_segments_hold_what_is_stored(moves: list[float], stored: float) -> None:
    depths = CycleDepths(priced(site(battery=LIFE)), stored)
    for change in moves:
        stored += change
        assert depths.move(change) >= 0.0
        assert sum(depths.filled_kwh) == pytest.approx(stored, abs=1e-9)
    depths.follow(30.0)
    assert sum(depths.filled_kwh) == pytest.approx(30.0)


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "cycles that rise with depth": ({"cycle_life": ((50.0, 4_000.0), (80.0, 5_000.0))}, "cycle_life", "at most"),
    "depth that costs less further down": (
        {"cycle_life": ((50.0, 4_000.0), (100.0, 3_000.0))}, "cycle_life", "at most 2000 cycles at 100 %"),
    "depths out of order": ({"cycle_life": ((80.0, 5_000.0), (50.0, 9_000.0))}, "cycle_life", "a depth above 80 %"),
    "a depth above all": ({"cycle_life": ((120.0, 5_000.0),)}, "cycle_life", "at most 100 %"),
    "no cycles": ({"cycle_life": ((80.0, 0.0),)}, "cycle_life", "a number of cycles above 0"),
    "cycles without end": ({"cycle_life": ((80.0, math.inf),)}, "cycle_life", "a number of cycles above 0"),
    "too many points": ({"cycle_life": tuple((10.0 * k, 90_000.0 / k**2) for k in range(1, 8))}, "cycle_life", "5"),
    "no price": ({"replacement_eur_per_kwh": 0.0}, "replacement_eur_per_kwh", "above 0 beside cycle_life"),
    "a price of nothing": ({"cycle_life": ()}, "replacement_eur_per_kwh", "0 without cycle_life"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "expected"), BAD.values(), ids=BAD)
def test_bad_input_is_named(changes: dict[str, Any], key: str, expected: str) -> None:
    found = list(inconsistencies(site(battery=LIFE | changes)))
    assert [(name, expected in words) for name, _, words in found] == [(f"battery[0].{key}", True)]


def test_a_linear_life_is_taken() -> None:
    """Throughput that is the same at every depth: rounded cycles are no contradiction."""
    life = ((33.0, 12_121.0), (66.0, 6_061.0), (100.0, 4_000.0))
    assert list(inconsistencies(site(battery=LIFE | {"cycle_life": life}))) == []
    assert list(inconsistencies(site(battery=LIFE))) == []
