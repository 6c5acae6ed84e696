"""The physics: balance, energy, taper, dynamics, islanding."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin_sites import BATTERY, site_of

from drivers.twin.battery import TwinBattery
from drivers.twin.faults import Fault
from drivers.twin.grid import Position
from drivers.twin.pcs import InvSt, OpCtl
from drivers.twin.physics import RIGHT, Ct, TwinSite
from drivers.twin.pv import Clouds, clear_sky


def command(site: TwinSite, w: float) -> None:
    control = site.pcs[0].control
    control.setpoint_w = w
    control.enable(True)


def imbalance_w(site: TwinSite) -> float:
    return abs(site.load_w - site.grid_w - sum(p.w for p in site.pcs) - sum(p.w for p in site.pv))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-80_000, 80_000), st.floats(0, 90_000), st.booleans()), min_size=1, max_size=12))
def test_balance_always_holds(moves: list[tuple[float, float, bool]]) -> None:
    site = site_of(20_000.0)
    for setpoint_w, step_w, outage in moves:
        command(site, setpoint_w)
        site.load.step_w = step_w
        if outage:
            site.faults.put(Fault("outage", until_s=site.t_s + 0.7))
        for _ in range(10):
            site.advance(0.1)
            assert imbalance_w(site) < 1e-6
            assert site.joined or site.grid_w == 0


@settings(max_examples=50, deadline=None)
@given(
    soc_pct=st.floats(0, 100),
    charge_efficiency=st.floats(0.5, 1),
    discharge_efficiency=st.floats(0.5, 1),
    steps=st.lists(st.tuples(st.floats(-1, 1), st.floats(0.001, 600)), max_size=40),
)
def test_soc_follows_the_energy_exactly(
    soc_pct: float, charge_efficiency: float, discharge_efficiency: float, steps: list[tuple[float, float]]
) -> None:
    config = type(BATTERY)(
        id="b", energy_kwh=10, charge_efficiency=charge_efficiency, discharge_efficiency=discharge_efficiency
    )
    battery = TwinBattery(config, 20_000, 20_000, soc_pct, 18)
    into_wh, out_wh = [], []
    for share, dt_s in steps:
        charge_w, discharge_w = battery.limits_w(dt_s)
        w = share * (discharge_w if share > 0 else charge_w)
        battery.step(w, dt_s)
        (out_wh if w > 0 else into_wh).append(abs(w) * dt_s / 3600)
        assert 0 <= battery.energy_wh <= battery.capacity_wh
    expected_wh = 100 * soc_pct + math.fsum(into_wh) * charge_efficiency - math.fsum(out_wh) / discharge_efficiency
    assert battery.energy_wh == pytest.approx(expected_wh, abs=1e-6)
    assert battery.soc_pct == pytest.approx(expected_wh / 100, abs=1e-8)


def test_power_tapers_near_full_near_empty_and_when_warm() -> None:
    battery = TwinBattery(BATTERY, 60_000, 50_000, 50, 18)
    assert battery.limits_w(1.0) == (60_000, 50_000)
    battery.energy_wh = 97_000
    assert battery.limits_w(1.0)[0] == pytest.approx(30_000)
    battery.energy_wh = 100_000
    assert battery.limits_w(1.0)[0] == 0
    battery.energy_wh = 1_000
    assert battery.limits_w(1.0)[1] == pytest.approx(12_500)
    battery.energy_wh, battery.temp_c = 50_000, 42.5
    assert battery.limits_w(1.0) == pytest.approx((30_000, 25_000))
    battery.temp_c = 45.0
    assert battery.limits_w(1.0) == (0, 0)


def test_battery_warms_with_its_losses_and_cools() -> None:
    battery = TwinBattery(BATTERY, 60_000, 60_000, 50, 18)
    for _ in range(20):
        battery.step(60_000, 60)
    warm_c = battery.temp_c
    assert 20 < warm_c < 40
    battery.step(0, 3600)
    assert battery.temp_c - 18 == pytest.approx((warm_c - 18) / math.e)


def test_lag_and_dead_time() -> None:
    site = site_of(pcs_lag_s=0.5, pcs_dead_time_s=0.2, pcs_ramp_w_per_s=1e9)
    command(site, 10_000)
    site.advance(0.2)
    assert site.pcs[0].w == 0
    site.advance(0.5)
    assert site.pcs[0].w == pytest.approx(10_000 * (1 - math.exp(-1)), rel=0.05)


def test_ramp() -> None:
    site = site_of(pcs_lag_s=0.0, pcs_ramp_w_per_s=10_000)
    command(site, -30_000)
    site.advance(1.0)
    assert site.pcs[0].w == pytest.approx(-10_000)
    site.advance(5.0)
    assert site.pcs[0].w == pytest.approx(-30_000)
    assert site.pcs[0].state is InvSt.RUNNING


def test_setpoint_beyond_rating_is_throttled() -> None:
    site = site_of()
    command(site, 75_000)
    site.advance(3.0)
    assert site.pcs[0].w == pytest.approx(60_000, rel=1e-3)
    assert site.pcs[0].state is InvSt.THROTTLED


def test_standby_and_start() -> None:
    site = site_of()
    unit = site.pcs[0]
    command(site, 10_000)
    unit.operate(OpCtl.ENTER_STANDBY)
    site.advance(2.0)
    assert (unit.state, unit.w) == (InvSt.STANDBY, 0.0)
    unit.operate(OpCtl.EXIT_STANDBY)
    site.advance(1.0)
    assert unit.state is InvSt.STARTING
    site.advance(4.0)
    assert unit.state is InvSt.RUNNING
    assert unit.w == pytest.approx(10_000, rel=0.01)


def test_meter_shows_what_was_true_before_its_delay() -> None:
    site = site_of(lambda t_s: 10_000.0 if t_s < 5 else 50_000.0, meter_delay_s=1.0)
    meter = site.meters[1]
    assert meter.reading.w == 10_000  # from the first moment
    site.advance(5.5)
    assert (site.load_w, meter.reading.w) == (50_000, 10_000)
    site.advance(1.0)
    assert meter.reading.w == 50_000
    assert meter.reading.t_s == pytest.approx(site.t_s - 1.0, abs=0.03)


@pytest.mark.parametrize(
    ("cts", "share"),
    [
        (RIGHT, 1.0),
        ((Ct(0), Ct(1, -1.0), Ct(2)), 1 / 3),
        ((Ct(0, 2.0), Ct(1, 2.0), Ct(2, 2.0)), 2.0),
        ((Ct(1), Ct(0), Ct(2)), 0.0),
        ((Ct(1), Ct(2), Ct(0)), -0.5),
    ],
)
def test_a_meter_with_wrong_current_transformers_shows_another_step(cts: tuple[Ct, ...], share: float) -> None:
    site = site_of(20_000.0, without=("pv",), pcs_lag_s=0.0)
    meter = site.meters[0]
    meter.cts = cts
    site.advance(1.0)
    before_w, before = meter.reading.w, meter.phases_w
    command(site, 12_000.0)
    site.advance(2.0)
    assert meter.reading.w - before_w == pytest.approx(-12_000 * share, abs=1)
    assert sum(meter.phases_w) - sum(before) == pytest.approx(-12_000 * share, abs=1)


def test_meter_counts_energy_both_ways() -> None:
    site = site_of(10_000.0, without=("pv",), pcs_lag_s=0.0)
    site.advance(36.0)
    command(site, 40_000)
    site.advance(36.0)
    grid = site.meters[0].reading
    assert grid.import_wh == pytest.approx(100, rel=0.01)
    assert grid.export_wh == pytest.approx(300, rel=0.02)


def test_outage_opens_the_switch_and_the_battery_carries_the_load() -> None:
    site = site_of(30_000.0)
    site.faults.put(Fault("outage", until_s=10.0))
    site.advance(1.0)
    assert site.islanded
    assert site.switches[0].position is Position.OPEN
    assert site.switches[0].last_transfer_ms == 20
    assert site.pcs[0].forming
    assert site.load_w == 30_000
    assert site.meters[0].reading.v == 0
    site.advance(30.0)
    assert not site.joined, "the grid is back, but the wait is not over"
    assert site.meters[0].reading.v > 200
    site.advance(12.0)
    assert site.joined
    assert site.switches[0].position is Position.CLOSED
    assert not site.pcs[0].forming


def test_overloaded_island_goes_dark_and_comes_back_with_the_grid() -> None:
    site = site_of(90_000.0, reconnect_wait_s=2.0)
    site.faults.put(Fault("outage", until_s=5.0))
    site.advance(2.0)
    assert site.blackout
    assert (site.load_w, site.pcs[0].w, site.pv[0].w, site.hz) == (0, 0, 0, 0)
    assert site.pcs[0].state is InvSt.FAULT
    assert site.load.dark, "and no node says that it draws anything"
    site.advance(8.0)
    assert not site.blackout
    assert not site.load.dark
    assert site.load_w == 90_000
    assert site.pcs[0].state is InvSt.RUNNING
    assert site.unserved_wh == pytest.approx(90_000 * 7.1 / 3600, rel=0.05)


def test_without_a_switch_an_outage_is_a_blackout() -> None:
    site = site_of(without=("switches",))
    site.faults.put(Fault("outage", until_s=3.0))
    site.advance(1.0)
    assert site.blackout
    assert not site.islanded
    site.advance(6.0)
    assert not site.blackout
    assert site.pcs[0].ready


def test_island_with_too_much_sun_curtails_it_by_frequency() -> None:
    site = site_of(1_000.0, soc_pct=100.0)
    site.faults.put(Fault("outage"))
    site.advance(1.0)
    assert site.pv[0].available_w > 5_000
    assert site.pv[0].w == pytest.approx(1_000, rel=0.01)
    assert 50.2 < site.hz <= 51.5


def test_drill_by_command_stays_open_until_told_to_close() -> None:
    site = site_of()
    switch = site.switches[0]
    switch.order(1, grid_present=True)
    assert switch.position is Position.MOVING
    site.advance(100.0)
    assert site.islanded
    switch.order(2, grid_present=True)
    site.advance(1.0)
    assert site.islanded, "it compares both sides first"
    site.advance(2.0)
    assert site.joined


def test_local_control_refuses_the_switch_command() -> None:
    site = site_of()
    switch = site.switches[0]
    switch.local = True
    switch.order(1, grid_present=True)
    site.advance(1.0)
    assert site.joined
    assert switch.faults == 1


def test_nodes_share_the_trace_and_obey_caps() -> None:
    site = site_of(None)
    load, twin_nodes = site.load, site.load.nodes
    site.advance(1.5)
    free_w = [n.w for n in twin_nodes]
    assert load.w == pytest.approx(sum(free_w) * 1.2 + 800)
    assert twin_nodes[0].gpus_busy == 8
    assert free_w[0] > free_w[-1]
    twin_nodes[0].cap_w = 3_000
    twin_nodes[1].suspended = True
    load.refresh()
    site.advance(0.1)
    assert twin_nodes[0].w == 3_000
    assert twin_nodes[1].w < free_w[1]
    assert twin_nodes[1].gpus_busy == 0


def test_sun_rises_at_the_right_time_and_clouds_repeat() -> None:
    day = 1_758_153_600  # 2025-09-18T00:00Z; in Germany the sun rises about 04:55 UTC and is highest about 11:15
    output = [clear_sky(day + 60 * minute, 51, 10) for minute in range(1440)]
    first, highest = next(m for m, x in enumerate(output) if x > 0), max(range(1440), key=output.__getitem__)
    assert 290 < first < 325
    assert 670 < highest < 680
    assert 0.65 < output[highest] < 0.95
    one, two, other = Clouds("7/pv1"), Clouds("7/pv1"), Clouds("8/pv1")
    skies = [[sky.transmittance(t) for t in range(0, 7200, 10)] for sky in (one, two, other)]
    assert skies[0] == skies[1] != skies[2]
    assert 0.2 < min(skies[0]) < 0.8
    assert max(skies[0]) <= 1


def test_the_grid_meter_counts_on_from_where_its_registers_were() -> None:
    sites = [site_of(20_000.0, import_wh=import_wh, export_wh=70.0) for import_wh in (0.0, 5_000.0)]
    for site in sites:
        for _ in range(30):
            site.advance(1.0)
    fresh, later = ([meter.reading for meter in site.meters] for site in sites)
    assert fresh[0].import_wh > 20
    assert later[0].import_wh - fresh[0].import_wh == pytest.approx(5_000.0)
    assert later[0].export_wh == 70.0
    assert later[1:] == fresh[1:], "the other meters begin at 0"
