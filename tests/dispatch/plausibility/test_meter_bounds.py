"""Meters: what is out of bounds, impossible beside its other figures, or a step that only one sample shows."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from meter_rig import Site, a_meter
from small_site import a_snapshot, site_config

from dispatch.config.schema import DispatchConfig, GridConfig, MeterTerms, PvTerms, RulesConfig
from dispatch.model.equipment import Meter, Node, Pv
from dispatch.model.readings import Quality, Reading, reading
from dispatch.plausibility.bounds import SiteBounds
from dispatch.wording.catalogue import words

replace = msgspec.structs.replace
FUSE_W = 160 * 230 * 3


def test_one_sample_that_fuse_and_batteries_cannot_make_moves_nothing_and_is_logged_once() -> None:
    config = site_config(contracted_peak_w=30_000, fuse_a=100)
    site = Site(config).settle()
    before = site.decisions[-1].battery_w
    seen = site.show(a_meter(-170_000, site.n))
    assert seen.grid.w.quality is Quality.SUSPECT
    assert seen.grid.w.value == 17_000
    assert seen.grid.w.age_s == pytest.approx(0.2)
    for _ in range(20):
        site.show(a_meter(17_000, site.n))
    assert {d.battery_w for d in site.decisions[-21:]} == {before}
    assert site.events == [
        "reading not believed: power -170.0 kW is outside -73.0 kW to 207.0 kW (site file: [grid] fuse_a, "
        "[[pcs]] discharge_w, [[pv]] peak_w)"
    ]


@pytest.mark.parametrize("w", [-170_000.0, 400_000.0, 32_767_000.0, float("nan"), float("inf")])
def test_what_is_rejected_for_long_is_missing_and_raises_an_alarm_with_the_key(w: float) -> None:
    site = Site(site_config(fuse_a=100, rules=RulesConfig(rest_soc_pct=50, meter_lost_hold_s=2.0))).settle()
    shown = [site.show(a_meter(w, site.n, 17_000)).grid.w for _ in range(80)]
    assert [r.quality for r in shown[:10]] == [Quality.SUSPECT] * 10
    assert {r.quality for r in shown[12:]} == {Quality.MISSING}
    assert len(site.events) == 1, "one event, however long it lasts"
    doubt = site.decisions[-1].implausible[0]
    assert doubt.device_id == "grid"
    assert "[grid] fuse_a" in words(doubt.why)


def test_an_overload_of_the_fuse_is_a_reading_and_the_battery_helps() -> None:
    """Below three times the fuse: followed at once where volts and amperes show it, else at the second sample."""
    site = Site(site_config(contracted_peak_w=30_000)).settle()
    seen = site.show(a_meter(1.3 * FUSE_W, site.n))
    assert seen.grid.w.quality is Quality.GOOD
    assert site.decisions[-1].battery_w == pytest.approx(60_000)
    assert site.events == []


def test_a_step_without_witness_is_followed_at_the_second_distinct_sample() -> None:
    site = Site()
    bare = {"v": (), "a": ()}
    for _ in range(10):
        site.show(a_meter(17_000, site.n, **bare))
    first = site.show(a_meter(45_000, 100, **bare))
    same = [site.show(a_meter(45_000, 100, **bare)) for _ in range(3)]
    second = site.show(a_meter(45_100, 101, **bare))
    assert [s.grid.w.quality for s in (first, *same)] == [Quality.SUSPECT] * 4, "the same second is one sample"
    assert second.grid.w == reading(45_100)
    assert site.events == []


def test_the_same_figures_after_the_refresh_time_are_a_second_sample() -> None:
    site = Site()
    for _ in range(10):
        site.show(a_meter(17_000, site.n, v=(), a=()))
    shown = [site.show(a_meter(45_000, 100, v=(), a=())).grid.w.quality for _ in range(7)]
    assert shown == [Quality.SUSPECT] * 5 + [Quality.GOOD] * 2


@pytest.mark.parametrize(
    ("w", "va"),
    [
        (170_000, 17_000),  # a scale factor off by one
        (47_000, 17_000),  # + 30 kW in the power alone
        (32_767, 17_000),  # the largest int16
    ],
)
def test_power_beyond_volts_times_amperes_is_never_used_however_often_it_is_said(w: float, va: float) -> None:
    site = Site().settle()
    before = site.decisions[-1].battery_w
    shown = [site.show(a_meter(w, site.n, va)).grid.w for _ in range(20)]
    assert all(r.quality is not Quality.GOOD for r in shown)
    assert site.decisions[-1].battery_w == before
    assert len(site.events) == 1
    assert site.show(a_meter(17_000, site.n)).grid.w.quality is Quality.GOOD


def test_a_power_that_changes_its_sign_alone_is_no_step_that_volts_and_amperes_show() -> None:
    site = Site().settle()
    assert site.show(a_meter(-17_000, site.n)).grid.w.quality is Quality.SUSPECT
    assert site.show(a_meter(17_000, site.n)).grid.w.quality is Quality.GOOD
    assert len(site.events) == 1


def bare(w: float, n: int, **changes: object) -> Meter:
    """A meter that gives power and frequency only."""
    return replace(a_meter(w, n), **{"v": (), "a": (), "import_wh": reading(None)} | changes)


@pytest.mark.parametrize("samples", [1, 2, 5, 40, 150])
@pytest.mark.parametrize("meter", [a_meter, bare])
def test_a_sign_that_changes_for_some_samples_is_not_believed_where_the_load_would_be_negative(
    meter: Callable[..., Meter], samples: int
) -> None:
    """Without a load meter: what PCS and PV give is less than the site would export. The load goes on wandering."""
    rules = RulesConfig(rest_soc_pct=50, meter_lost_hold_s=2.0)
    site = Site(site_config(contracted_peak_w=30_000, rules=rules))
    for n in range(20):
        site.show(meter(17_000 + 20 * (n % 3), n))
    before = site.decisions[-1].battery_w
    seen = [site.show(meter(-17_000 - 60 * n, site.n)).grid.w for n in range(samples)]
    assert {r.quality for r in seen[:10]} == {Quality.SUSPECT}
    assert {r.quality for r in seen[11:]} <= {Quality.MISSING}
    assert site.show(meter(17_000, site.n)).grid.w.quality is Quality.GOOD
    assert {d.battery_w for d in site.decisions[-samples - 1 :]} == {before}
    assert len(site.events) == 1
    assert ("load would be -17" in site.events[0]) == (samples > 10), site.events


def test_a_sign_that_changes_while_the_sources_can_give_as_much_is_believed_once_it_has_stood() -> None:
    """The battery gives 30 kW: 17 kW of export are as possible as 17 kW of import."""
    site = Site()
    site.pcs_w = 30_000
    for n in range(20):
        site.show(bare(17_000, n))
    shown = [site.show(bare(-17_000 - n % 2, site.n)).grid.w.quality for n in range(40)]
    assert shown[:24] == [Quality.SUSPECT] * 24
    assert shown[-10:] == [Quality.GOOD] * 10
    assert site.events == []


@pytest.mark.parametrize("counts", ["import_wh", "export_wh"])
def test_the_energy_registers_tell_the_direction_of_a_sign_that_has_changed(counts: str) -> None:
    site = Site()
    site.pcs_w = 30_000
    wh = 1_000_000.0
    for n in range(20):
        site.show(bare(17_000, n, import_wh=reading(wh), export_wh=reading(wh)))
    good = []
    for n in range(60):
        moved = {"import_wh": reading(wh), "export_wh": reading(wh)} | {counts: reading(wh + 17_000 * 0.2 * n / 3600)}
        good.append(site.show(bare(-17_000 - n % 2, site.n, **moved)).grid.w.quality is Quality.GOOD)
    assert any(good) == (counts == "export_wh")


def test_zero_volts_on_a_live_side_is_no_answer_and_on_a_dead_side_it_is_one() -> None:
    zero = {"w": reading(0.0), "hz": reading(0.0), "v": (reading(0.0),) * 3, "a": (reading(0.0),) * 3}
    site = Site().settle(ticks=40)
    seen = site.show(Meter("grid", **zero))  # type: ignore[arg-type]
    assert seen.grid.w.quality is seen.grid.v[0].quality is seen.grid.hz.quality is Quality.SUSPECT
    assert (seen.grid.w.value, seen.grid.hz.value) == (17_000, pytest.approx(50, abs=0.1))
    assert any("0 V on a side of the switch" in text for text in site.events)
    site.settle(ticks=5)
    dead = msgspec.structs.replace
    now = a_snapshot(0.0)
    absent = tuple(dead(s, grid_voltage=msgspec.structs.replace(s.grid_voltage, value="absent")) for s in now.switches)
    seen = site.show(Meter("grid", **zero), switches=absent)  # type: ignore[arg-type]
    assert seen.grid.v[0].quality is Quality.GOOD


def test_a_block_of_random_registers_is_not_used_though_its_power_is_near() -> None:
    site = Site().settle()
    seen = site.show(a_meter(17_500, site.n, hz=reading(813.5)))
    assert seen.grid.w.quality is Quality.SUSPECT
    assert seen.grid.hz.value == pytest.approx(50, abs=0.1)
    assert any("frequency 813.5 Hz" in text for text in site.events)


def test_export_is_bounded_by_what_the_sources_can_give() -> None:
    pv = DispatchConfig(
        grid=GridConfig(fuse_a=160, contracted_peak_w=30_000),
        timezone="Europe/Berlin",
        pcs=site_config().pcs,
        batteries=site_config().batteries,
        pv=(PvTerms(id="pv1", peak_w=20_000),),
        meters=(MeterTerms(id="grid", side="grid"),),
    )
    bounds = SiteBounds(pv)
    assert bounds.grid_w(True).low == -(1.2 * 60_000 + 1.3 * 20_000 + 1_000)
    assert bounds.grid_w(False).low == -3 * FUSE_W, "a PV inverter of unknown size"
    assert bounds.grid_w(True).high == 3 * FUSE_W


def test_a_sleeping_inverter_that_says_327_kw_adds_no_load() -> None:
    config = msgspec.structs.replace(site_config(), pv=(PvTerms(id="pv1", peak_w=10_000),))
    site = Site(config)
    for n in range(10):
        site.show(a_meter(17_000, n), pv=(Pv("pv1", reading(0.0)),))
    seen = site.show(a_meter(17_000, 11), pv=(Pv("pv1", reading(327_670.0)),))
    assert seen.pv[0].w == Reading(0.0, pytest.approx(0.2), Quality.SUSPECT)  # type: ignore[arg-type]
    assert any("[[pv]] pv1: peak_w" in text for text in site.events)


def test_nothing_is_written_before_two_samples_of_meter_and_pcs_agree() -> None:
    site = Site(site_config(contracted_peak_w=30_000))
    site.show(a_meter(-60_000, 0))
    site.show(a_meter(45_000, 1))
    assert [d.battery_w for d in site.decisions] == [None, None]
    site.settle(45_000, ticks=8)
    assert site.decisions[-1].battery_w is not None
    assert site.events == []


def test_currents_that_stand_still_are_no_witness() -> None:
    """A map that serves constants for what it does not measure: a real overload is followed all the same."""
    constant = {"a": (reading(53.0), reading(54.0), reading(55.0))}
    site = Site(site_config(contracted_peak_w=30_000))
    for n in range(10):
        assert site.show(a_meter(17_000 + 40 * (n % 3), n, **constant)).grid.w.value is not None
    site.show(a_meter(60_000, 20, **constant))
    assert site.show(a_meter(60_050, 21, **constant)).grid.w == reading(60_050)
    assert site.events == []


def test_a_share_of_volts_times_amperes_that_power_does_not_keep_is_no_witness() -> None:
    """One phase exports while another imports: V x I is no multiple of P."""
    site = Site().settle()
    seen = [site.show(a_meter(17_000 + 300 * (n % 3), site.n, 18_000 + 2_500 * (n % 5))) for n in range(120)]
    assert {s.grid.w.quality for s in seen[60:]} == {Quality.GOOD}
    assert site.events == []


@pytest.mark.parametrize("w", [4_294_967_295.0, 525_288.0, -40.0, 18_000.0])
def test_a_node_does_not_take_more_than_the_load_nor_jump_in_one_sample(w: float) -> None:
    site = Site()
    for n in range(10):
        site.show(a_meter(17_000, n), nodes=(Node("gpu-01", reading(900.0 + n)),))
    seen = site.show(a_meter(17_000, 11), nodes=(Node("gpu-01", reading(w)),))
    assert seen.nodes[0].w.quality is Quality.SUSPECT
    assert seen.nodes[0].w.value == 909
    site.show(a_meter(17_000, 12), nodes=(Node("gpu-01", reading(910.0)),))
    assert len(site.events) == 1


def test_a_load_that_the_load_meter_does_not_see_is_believed_after_a_minute_where_volts_and_amperes_show_it() -> None:
    """The part of the site that it does not see was constant so far."""
    site = Site()

    def show(grid_w: float) -> Quality:
        load = replace(a_meter(16_000, site.n), id="load")
        return site.show(a_meter(grid_w, site.n), load=load).grid.w.quality

    for n in range(60):
        show(17_000 + 20 * (n % 3))
    seen = [show(28_000 + 20 * (n % 3)) for n in range(400)]
    assert Quality.GOOD not in seen[:290]
    assert set(seen[320:]) == {Quality.GOOD}
    assert show(17_000) is Quality.SUSPECT, "the balance is another one now"
    assert show(28_000) is Quality.GOOD
