"""Readings of which only the bounds are known: setpoints read back, voltages, frequencies, PV beside its rating."""

from __future__ import annotations

import msgspec
import pytest
from meter_rig import Site, a_meter
from small_site import a_pcs, site_config

from dispatch.config.schema import PvTerms, RulesConfig
from dispatch.model.equipment import Switch
from dispatch.model.readings import MISSING, Quality, Reading, reading, status
from dispatch.plausibility.bounded_readings import BusFigures
from dispatch.plausibility.bounds import SiteBounds


def shown(site: Site, **changes: object) -> object:
    """The PCS as checked at a tick at which it says this."""
    pcs = a_pcs(0.0, **({"v": reading(230.0), "hz": reading(50.0), "setpoint_w": reading(0.0)} | changes))
    return site.show(a_meter(17_000, site.n), pcs=(pcs,)).pcs[0]


@pytest.mark.parametrize(
    ("field", "value", "usual", "says"),
    [
        ("setpoint_w", 4_294_967_295.0, 0.0, "setpoint as read back 4294967.3 kW is outside"),
        ("setpoint_w", -3_276_800.0, 0.0, "setpoint as read back -3276.8 kW is outside"),
        ("setpoint_w", float("nan"), 0.0, "setpoint as read back"),
        ("v", 6_553.5, 230.0, "voltage 6554 V is outside 0 to 460 V (site file: [grid] voltage_v)"),
        ("v", -1.0, 230.0, "voltage -1 V is outside"),
        ("hz", 655.35, 50.0, "frequency 655.4 Hz is outside 45 to 55 Hz (site file: [island] hz_low, hz_high)"),
        ("hz", 0.0, 50.0, "frequency 0 Hz is outside"),
    ],
)
def test_what_no_pcs_can_hold_or_measure_is_not_believed(field: str, value: float, usual: float, says: str) -> None:
    site = Site(site_config(rules=RulesConfig(rest_soc_pct=50, meter_lost_hold_s=2.0)))
    for _ in range(5):
        assert getattr(shown(site), field) == reading(usual)
    for _ in range(5):
        found = getattr(shown(site, **{field: reading(value)}), field)
        assert (found.value, found.quality) == (usual, Quality.SUSPECT)
    for _ in range(60):
        found = getattr(shown(site, **{field: reading(value)}), field)
    assert (found.value, found.quality) == (None, Quality.MISSING)
    (event,) = site.events
    assert says in event
    (doubt,) = site.decisions[-1].implausible
    assert (doubt.device_id, doubt.reading in event) == ("pcs1", True)
    assert getattr(shown(site), field) == reading(usual)


def test_an_absurd_setpoint_is_not_adopted_at_the_start() -> None:
    """The gateway takes over what a PCS holds; what it cannot hold it does not."""
    absurd, plain = Site(), Site()
    for site, held in ((absurd, reading(4e9)), (plain, MISSING)):
        for _ in range(10):
            shown(site, setpoint_w=held, setpoint_enabled=reading(1))
    assert absurd.decisions[-1].battery_w == plain.decisions[-1].battery_w
    assert absurd.decisions[-1].contested == ()


@pytest.mark.parametrize("hz", [0.0, 655.35])
def test_a_dead_bus_has_any_frequency(hz: float) -> None:
    site = Site()
    for _ in range(3):
        found = shown(site, v=reading(2.0), hz=reading(hz))
    assert found.hz == reading(hz)  # type: ignore[attr-defined]
    assert not [text for text in site.events if "frequency" in text]


def test_a_doubt_of_the_frequency_ends_once_the_bus_is_known_to_be_dead() -> None:
    """Found: an alarm "pcc reports values that cannot be true" for as long as an outage lasted."""
    bus = BusFigures("pcc", SiteBounds(site_config()), "grid ")
    bus.check(reading(230.0), reading(50.0), 0.0, 5.0)
    bus.check(reading(0.0), reading(0.0), 1.0, 5.0, refused=True)
    _, hertz = bus.histories
    assert hertz.doubted
    for second in range(2, 60):
        v, hz = bus.check(reading(0.0), reading(0.0), float(second), 5.0)
    assert (v.value, hz.value) == (0.0, 0.0)
    assert [one.often(60.0) for one in bus.histories] == [None, None]


def test_a_switch_that_measures_an_impossible_grid_voltage_does_not_show_a_live_grid() -> None:
    site = Site()
    for v in (230.0, 230.0, 6_553.5):
        switch = Switch("pcc", position=status("closed"), grid_voltage=status("present"), grid_v=reading(v))
        seen = site.show(a_meter(17_000, site.n), switches=(switch,))
    assert seen.switches[0].grid_v == Reading(230.0, pytest.approx(0.2), Quality.SUSPECT)
    assert "grid voltage 6554 V is outside" in site.events[0]


@pytest.mark.parametrize("follows", [True, False])
def test_a_switch_that_says_absent_and_0_v_beside_a_live_meter_is_held_back_while_the_pcs_follow(follows: bool) -> None:
    site = Site()
    mode = status("grid_following" if follows else "grid_forming")
    for word, v in (("present", 230.0), ("present", 230.0), ("absent", 0.0)):
        switch = Switch("pcc", position=status("closed"), grid_voltage=status(word), grid_v=reading(v))
        pcs = a_pcs(0.0, v=reading(230.0), mode=mode)
        seen = site.show(a_meter(17_000, site.n), switches=(switch,), pcs=(pcs,)).switches[0]
    assert (seen.grid_voltage.good, seen.grid_v.good) == (("present", 230.0) if follows else ("absent", 0.0))
    assert seen.grid_v.doubted == seen.grid_voltage.doubted == follows
    for _ in range(26):  # who says so for more than 5 s is believed
        seen = site.show(a_meter(17_000, site.n), switches=(switch,), pcs=(pcs,)).switches[0]
    assert (seen.grid_voltage.good, seen.grid_v.good) == ("absent", 0.0)


def test_a_switch_that_says_absent_beside_a_dead_meter_is_believed_at_once() -> None:
    site = Site()
    for word, v in (("present", 230.0), ("present", 230.0), ("absent", 0.0)):
        switch = Switch("pcc", position=status("closed"), grid_voltage=status(word), grid_v=reading(v))
        pcs = a_pcs(0.0, v=reading(230.0))
        meter = a_meter(0.0, site.n, v=(reading(v),) * 3, a=(reading(0.0),) * 3)
        seen = site.show(meter, switches=(switch,), pcs=(pcs,)).switches[0]
    assert (seen.grid_voltage.confirmed, seen.grid_v.confirmed) == ("absent", 0.0)


@pytest.mark.parametrize(
    ("rated_w", "most_w", "key"),
    [(None, 26_000, "peak_w"), (15_000.0, 26_000, "peak_w, rated_w"), (30_000.0, 33_000, "peak_w, rated_w")],
)
def test_pv_gives_what_panels_or_inverter_can(rated_w: float | None, most_w: float, key: str) -> None:
    config = msgspec.structs.replace(site_config(), pv=(PvTerms(id="pv1", peak_w=20_000, rated_w=rated_w),))
    allowed = SiteBounds(config).pv_w("pv1")
    assert allowed is not None
    assert allowed.high == pytest.approx(most_w)
    assert allowed.key == f"[[pv]] pv1: {key}"
    assert SiteBounds(config).grid_w(True).low <= -most_w


@pytest.mark.parametrize("word", ["present", None])
def test_a_dead_grid_voltage_beside_another_word_is_held_back_too(word: str | None) -> None:
    """Found: 21 V beside a word that was neither absent nor present, good at once on a site fed by the grid."""
    site = Site()
    a_bus = {"v": (reading(230.0),) * 3}
    following = a_pcs(0.0, v=reading(230.0), hz=reading(50.0), mode=status("grid_following"))

    def seen(v: float, said: str | None) -> Switch:
        switch = Switch("pcc", position=status("closed"), grid_voltage=status(said), grid_v=reading(v))
        meter = msgspec.structs.replace(a_meter(17_000, site.n), **a_bus)
        return site.show(meter, pcs=(following,), switches=(switch,)).switches[0]

    for _ in range(5):
        assert seen(230.0, "present").grid_v.good == 230.0
    assert (seen(21.0, word).grid_v.value, seen(21.0, word).grid_v.doubted) == (230.0, True)
    for _ in range(30):
        found = seen(21.0, word)
    assert found.grid_v.good == 21.0, "believed once it has stood for five seconds"
