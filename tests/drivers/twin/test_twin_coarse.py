"""The battery in steps of minutes: exact energy, limits that hold for the whole step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.config.schema import BatteryConfig, PcsRatings
from drivers.twin.coarse import CoarseBattery

CONFIG = BatteryConfig(id="bat1", energy_kwh=100, charge_efficiency=0.9, discharge_efficiency=0.8)
RATINGS = PcsRatings(id="pcs1", battery="bat1", charge_w=40_000, discharge_w=60_000)


def test_an_hour_of_charging_and_one_of_discharging() -> None:
    battery = CoarseBattery(CONFIG, [RATINGS], 50)
    assert battery.step({"pcs1": -10_000}, 3600) == -10_000
    assert battery.stored_kwh == pytest.approx(59.0)
    assert battery.step({"pcs1": 8_000}, 3600) == 8_000
    assert battery.stored_kwh == pytest.approx(49.0)


def test_limits_are_what_lasts_for_the_step() -> None:
    """45 kWh above soc_min give 36 at the terminals; 45 below soc_max take 50."""
    battery = CoarseBattery(CONFIG, [RATINGS], 50)
    assert battery.limits_w(300) == {"pcs1": (40_000, 60_000)}
    charge_w, discharge_w = battery.limits_w(2 * 3600)["pcs1"]
    assert (charge_w, discharge_w) == (pytest.approx(25_000), pytest.approx(18_000))


@given(st.lists(st.tuples(st.floats(-90_000, 90_000), st.sampled_from((60, 300, 900, 3600))), max_size=60))
def test_soc_stays_within_its_limits(steps: list[tuple[float, int]]) -> None:
    battery = CoarseBattery(CONFIG, [RATINGS], 50)
    for w, dt_s in steps:
        flowed_w = battery.step({"pcs1": w}, dt_s)
        assert -40_000 <= flowed_w <= 60_000
        assert 5 - 1e-9 <= battery.soc_pct <= 95 + 1e-9


def test_two_pcs_share_what_is_there() -> None:
    """As their ratings; together they take no more than one would, and one that is not asked goes on."""
    small = PcsRatings(id="pcs2", battery="bat1", charge_w=20_000, discharge_w=30_000)
    battery = CoarseBattery(CONFIG, [RATINGS, small], 50)
    limits = battery.limits_w(2 * 3600)
    assert limits["pcs1"][1] == pytest.approx(12_000)
    assert limits["pcs2"][1] == pytest.approx(6_000)
    assert battery.step({"pcs1": 99_000, "pcs2": 99_000}, 2 * 3600) == pytest.approx(18_000)
    assert battery.soc_pct == pytest.approx(5)
    battery.step({"pcs1": -5_000, "pcs2": -3_000}, 3600)
    assert battery.step({"pcs1": -1_000}, 3600) == pytest.approx(-4_000)
