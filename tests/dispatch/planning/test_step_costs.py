"""What a plan's steps buy, with the battery and without: by hand, and whatever the plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.model.plan import Plan, PlanStep
from dispatch.planning.step_costs import hours, step_costs

NOON = 1_758_016_800  # 2025-09-16T10:00:00Z


def plan(*powers_w: tuple[float, float], made_utc_s: float = NOON, target_w: float = 0.0, start: int = NOON) -> Plan:
    """A plan of (grid, battery) powers at 0.20 EUR/kWh."""
    steps = tuple(
        PlanStep(start + 900 * n, 0.2, grid + battery, 0.0, 0.0, 0.0, battery, grid, 50.0)
        for n, (grid, battery) in enumerate(powers_w)
    )
    return Plan(made_utc_s, 900, steps, target_w, 0.0, 0.0)


def test_a_quarter_by_hand() -> None:
    """47 kW imported with 34 kW from the battery: without it 81 kW, 25.8 kW above a peak of 55.2 kW."""
    found = step_costs(plan((47_000.0, 34_000.0)), 900, 55_200.0, "Europe/Oslo")[0]
    assert found.import_kwh == pytest.approx(11.75)
    assert found.import_eur == pytest.approx(2.35)
    assert found.bare_import_w == 81_000.0
    assert found.bare_import_eur == pytest.approx(4.05)
    assert found.peak_rise_w == pytest.approx(25_800.0)


def test_export_is_no_import_and_earns_nothing_here() -> None:
    found = step_costs(plan((-5_000.0, 9_000.0)), 900, 0.0, "UTC")[0]
    assert (found.import_w, found.import_kwh, found.import_eur) == (0.0, 0.0, 0.0)
    assert found.bare_import_w == 4_000.0


def test_the_running_quarter_counts_for_what_is_left_of_it() -> None:
    made = plan((40_000.0, 0.0), (40_000.0, 0.0), made_utc_s=NOON + 600)
    assert (hours(made, 0), hours(made, 1)) == (pytest.approx(1 / 12), 0.25)
    assert step_costs(made, 900, 0.0, "UTC")[0].import_kwh == pytest.approx(40 / 12)


def test_of_an_interval_covered_in_part_no_peak_is_told() -> None:
    """80 kW without the battery in the last minute is no interval of 80 kW."""
    late = plan((40_000.0, 40_000.0), (40_000.0, 40_000.0), made_utc_s=NOON + 840)
    assert [w.peak_rise_w for w in step_costs(late, 900, 40_000.0, "UTC")] == [0.0, 40_000.0]


def test_a_peak_is_the_mean_of_the_metering_interval() -> None:
    """One quarter of 60 kW in an hour of 20 kW else is a peak of 30 kW by the hour."""
    pulse = plan((20_000.0, 0.0), (20_000.0, 40_000.0), (20_000.0, 0.0), (20_000.0, 0.0))
    assert [w.peak_rise_w for w in step_costs(pulse, 3600, 25_000.0, "UTC")] == pytest.approx([5_000.0] * 4)
    assert [w.peak_rise_w for w in step_costs(pulse, 900, 25_000.0, "UTC")] == pytest.approx([0.0, 35_000.0, 0.0, 0.0])


def test_what_the_plan_raises_itself_is_no_merit_of_the_battery() -> None:
    assert step_costs(plan((50_000.0, 5_000.0), target_w=50_000.0), 900, 30_000.0, "UTC")[0].peak_rise_w == 5_000.0


def test_the_peak_so_far_ends_with_the_month() -> None:
    """2025-09-30T21:45Z is 23:45 in Oslo: the second step is October's, whose own highest import is 20 kW."""
    start = 1_759_268_700
    found = step_costs(plan((20_000.0, 20_000.0), (20_000.0, 20_000.0), start=start), 900, 55_000.0, "Europe/Oslo")
    assert [w.peak_rise_w for w in found] == [0.0, 20_000.0]


powers = st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)), max_size=12)


@given(powers, st.sampled_from([300, 600, 900, 1800, 3600]), st.floats(0, 1e5), st.floats(0, 3600))
def test_whatever_the_plan(steps: list[tuple[float, float]], interval_s: int, peak_w: float, late_s: float) -> None:
    made = plan(*steps, made_utc_s=NOON + late_s)
    found = step_costs(made, interval_s, peak_w, "Europe/Oslo")
    assert len(found) == len(steps)
    for w, (grid_w, battery_w) in zip(found, steps, strict=True):
        assert w.import_kwh >= 0
        assert w.bare_import_kwh >= 0
        assert w.peak_rise_w >= 0
        if battery_w <= 0:
            assert w.bare_import_w <= max(0.0, grid_w)
        if interval_s <= 900 and w.peak_rise_w > 0:
            assert battery_w > 0
