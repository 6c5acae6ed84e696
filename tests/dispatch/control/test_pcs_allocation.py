"""Splitting a power over several PCS."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.schema import BatteryConfig, PcsRatings
from dispatch.control.pcs_allocation import Share, allocate
from dispatch.control.pcs_limits import units


def _share(n: int, a: float, b: float, soc_pct: float | None) -> Share:
    return Share(f"pcs{n}", min(a, b), max(a, b), soc_pct)


shares = st.lists(
    st.tuples(st.floats(-60_000, 60_000), st.floats(-60_000, 60_000), st.one_of(st.none(), st.floats(0, 100))),
    min_size=1,
    max_size=6,
).map(lambda rows: [_share(n, *row) for n, row in enumerate(rows)])


@given(shares, st.floats(-400_000, 400_000))
def test_parts_are_within_limits_and_sum_to_what_is_possible(units: list[Share], total_w: float) -> None:
    parts = allocate(total_w, units)
    assert all(s.low_w <= p <= s.high_w for s, p in zip(units, parts, strict=True))
    possible = min(max(total_w, sum(s.low_w for s in units)), sum(s.high_w for s in units))
    assert sum(parts) == pytest.approx(possible, abs=1e-3)


@given(st.lists(st.tuples(st.floats(1, 60_000), st.floats(1, 60_000)), min_size=1, max_size=6), st.floats(-1, 1))
def test_nobody_charges_while_another_discharges(limits: list[tuple[float, float]], part: float) -> None:
    units = [Share(f"pcs{n}", -c, d, 50.0) for n, (c, d) in enumerate(limits)]
    total_w = part * (sum(d for _, d in limits) if part > 0 else sum(c for c, _ in limits))
    parts = allocate(total_w, units)
    assert all(p * total_w >= 0 for p in parts)
    assert sum(parts) == pytest.approx(total_w, abs=1e-3)


def test_equal_batteries_share_by_headroom() -> None:
    parts = allocate(30_000, [Share("a", -60_000, 60_000, 50), Share("b", -30_000, 30_000, 50)])
    assert parts == pytest.approx((20_000, 10_000))


def test_the_fuller_one_discharges_more_and_charges_less() -> None:
    units = [Share("full", -60_000, 60_000, 70), Share("low", -60_000, 60_000, 50)]
    out = allocate(40_000, units)
    into = allocate(-40_000, units)
    assert out[0] > out[1] > 0
    assert into[1] < into[0] < 0


def test_what_one_cannot_take_goes_to_the_others() -> None:
    parts = allocate(60_000, [Share("a", -60_000, 60_000, 50), Share("b", 0, 5_000, 90)])
    assert parts == pytest.approx((55_000, 5_000))


def test_limits_that_cross_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="pcs9"):
        allocate(1.0, [Share("pcs9", 2.0, 1.0)])


def test_each_pcs_takes_part_with_the_soc_of_its_own_battery() -> None:
    config = site_config(
        batteries=(BatteryConfig(id="bat1", energy_kwh=100), BatteryConfig(id="bat2", energy_kwh=100)),
        pcs=tuple(PcsRatings(id=f"pcs{n}", battery=f"bat{n}", charge_w=60_000, discharge_w=60_000) for n in (1, 2)),
    )
    batteries = (a_battery(80.0), msgspec.structs.replace(a_battery(20.0), id="bat2"))
    pcs = (a_pcs(0.0), msgspec.structs.replace(a_pcs(0.0), id="pcs2"))
    assert [unit.soc_pct for unit in units(config, a_snapshot(pcs=pcs, battery=batteries), {})] == [80.0, 20.0]
    assert [unit.soc_pct for unit in units(config, a_snapshot(pcs=pcs, battery=batteries[:1]), {})] == [80.0, None]
