"""Currents, voltages and frequency of a meter: one wrong sample beside a right power moves nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from meter_rig import Site, a_meter
from small_site import site_config

from dispatch.config.schema import RulesConfig
from dispatch.model.equipment import Meter
from dispatch.model.readings import Quality, reading

replace = msgspec.structs.replace
Fault = Callable[[Meter], Meter]


def of_all(figure: str, wrong: Callable[[float], float]) -> Fault:
    def fault(meter: Meter) -> Meter:
        raw = getattr(meter, figure)
        new = tuple(reading(wrong(r.value)) for r in raw) if isinstance(raw, tuple) else reading(wrong(raw.value))
        return replace(meter, **{figure: new})

    return fault


def of_one(figure: str, phase: int, wrong: Callable[[float], float]) -> Fault:
    def fault(meter: Meter) -> Meter:
        raw = getattr(meter, figure)
        return replace(
            meter, **{figure: tuple(reading(wrong(r.value)) if n == phase else r for n, r in enumerate(raw))}
        )

    return fault


FAULTS: dict[str, Fault] = {
    "all currents x10": of_all("a", lambda a: 10 * a),
    "all currents 0": of_all("a", lambda a: 0.0),
    "all currents halved": of_all("a", lambda a: a / 2),
    "currents with a sign": of_all("a", lambda a: -a),
    "currents all ones": of_all("a", lambda a: 6553.5),
    "currents not a number": of_all("a", lambda a: float("nan")),
    "L1 x10": of_one("a", 0, lambda a: 10 * a),
    "L2 0": of_one("a", 1, lambda a: 0.0),
    "L3 + 100 A": of_one("a", 2, lambda a: a + 100),
    "L2 not a number": of_one("a", 1, lambda a: float("nan")),
    "L1 reads 1 V": of_one("v", 0, lambda v: 1.0),
    "L2 reads 0 V": of_one("v", 1, lambda v: 0.0),
    "L3 x1.5": of_one("v", 2, lambda v: 1.5 * v),
    "all voltages halved": of_all("v", lambda v: v / 2),
    "line to line voltages": of_all("v", lambda v: 1.732 * v),
    "0 Hz": of_all("hz", lambda hz: 0.0),
    "47 Hz": of_all("hz", lambda hz: 47.0),
}
LOADED_W = 26_000.0  # the import is held below 30 kW, so a narrower fuse would let the battery discharge


def established(power_factor: float = 1.0) -> Site:
    site = Site(site_config(contracted_peak_w=40_000, fuse_a=63))
    for n in range(60):
        site.show(a_meter(LOADED_W + 200 * (n % 3), n, (LOADED_W + 200 * (n % 3)) / power_factor))
    return site


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("power_factor", [1.0, 0.8])
def test_one_wrong_sample_of_currents_voltages_or_frequency_moves_nothing(fault: str, power_factor: float) -> None:
    site = established(power_factor)
    before = site.decisions[-1].battery_w
    seen = site.show(FAULTS[fault](a_meter(LOADED_W, site.n, LOADED_W / power_factor)))
    for now, usual in ((seen.grid.a, LOADED_W / power_factor / 690), (seen.grid.v, 230.0), ((seen.grid.hz,), 50.0)):
        assert [r.value for r in now] == [pytest.approx(usual, rel=0.02)] * len(now)
    for _ in range(5):
        seen = site.show(a_meter(LOADED_W, site.n, LOADED_W / power_factor))
        assert {r.quality for r in (seen.grid.w, seen.grid.hz, *seen.grid.v, *seen.grid.a)} == {Quality.GOOD}
    assert {d.battery_w for d in site.decisions[-6:]} == {before}
    assert 1 <= len(site.events) <= 2, "the figure, and the power where the whole answer is wrong"
    assert not any("more than volts times amperes" in text for text in site.events), "the power was right"


@pytest.mark.parametrize("fault", ["all currents x10", "L1 x10", "L2 0", "L3 + 100 A", "L1 reads 1 V"])
def test_a_power_is_believed_beside_currents_and_voltages_that_are_not(fault: str) -> None:
    site = established()
    assert site.show(FAULTS[fault](a_meter(LOADED_W, site.n))).grid.w.quality is Quality.GOOD


def test_the_event_names_phase_and_figures() -> None:
    site = established()
    site.show(FAULTS["L1 x10"](a_meter(LOADED_W, site.n)))
    site.show(a_meter(LOADED_W, site.n))
    assert site.events == [
        "reading not believed: current L1 376.7 A after 38.26 A: power shows no such step, and no second sample did"
    ]


@pytest.mark.parametrize("factor", [1.0, 0.8, 0.5])
def test_a_step_of_current_with_the_step_of_power_is_followed_in_the_same_tick(factor: float) -> None:
    """`factor`: the share of V x I that the power is; a meter whose share has been steady shows the step itself."""
    site = established(factor)
    seen = site.show(a_meter(48_000, site.n, 48_000 / factor))
    assert seen.grid.w.quality is Quality.GOOD
    assert {r.quality for r in seen.grid.a} == {Quality.GOOD}
    assert site.events == []


def test_a_load_on_one_phase_is_followed_in_the_same_tick() -> None:
    site = established()
    now = a_meter(LOADED_W + 3_000, site.n)
    amps = (LOADED_W / 690 + 3_000 / 230, LOADED_W / 690, LOADED_W / 690)
    seen = site.show(replace(now, a=tuple(reading(a) for a in amps)))
    assert {r.quality for r in (seen.grid.w, *seen.grid.a)} == {Quality.GOOD}


def test_a_load_that_moves_to_another_phase_is_followed_in_the_same_tick() -> None:
    """Volts times amperes fit the power."""
    site = established()
    amps = (LOADED_W / 690 + 20, LOADED_W / 690 - 20, LOADED_W / 690)
    seen = site.show(replace(a_meter(LOADED_W, site.n), a=tuple(reading(a) for a in amps)))
    assert {r.quality for r in seen.grid.a} == {Quality.GOOD}


def test_currents_that_stay_are_followed_at_the_second_distinct_sample() -> None:
    """Reactive power that is switched on: the power does not show it."""
    site = established()
    seen = [site.show(a_meter(LOADED_W, site.n, LOADED_W + 20_000)).grid.a[0].quality for _ in range(3)]
    assert seen == [Quality.SUSPECT, Quality.GOOD, Quality.GOOD]
    assert site.events == []


def test_currents_that_power_contradicts_are_missing_after_a_while_and_the_power_goes_on() -> None:
    """A current transformer that has lost its contact: less than the power needs."""
    rules = RulesConfig(rest_soc_pct=50, meter_lost_hold_s=2.0)
    site = Site(site_config(contracted_peak_w=40_000, fuse_a=63, rules=rules)).settle(LOADED_W, 60)
    shown = [site.show(FAULTS["all currents 0"](a_meter(LOADED_W, site.n))).grid for _ in range(80)]
    assert {g.w.quality for g in shown} == {Quality.GOOD}
    assert {r.quality for r in shown[5].a} == {Quality.SUSPECT}
    assert {r.quality for r in shown[15].a} == {Quality.MISSING}
    assert len(site.events) == 1
    assert "current L1 0 A" in site.events[0]
    assert [d.reading for d in site.decisions[-1].implausible] == ["current"]


def test_currents_that_always_wander_are_not_doubted() -> None:
    """Reactive power, or phases of which one exports: V x I is no multiple of P."""
    site = Site().settle()
    for n in range(100):
        site.show(a_meter(17_000, site.n, 20_000 + 9_000 * (n * 7 % 5)))
    learning = len(site.events)
    seen = [site.show(a_meter(17_000, site.n, 20_000 + 9_000 * (n * 7 % 5))).grid for n in range(200)]
    assert {r.quality for g in seen for r in (g.w, *g.a)} == {Quality.GOOD}
    assert learning <= 3
    assert len(site.events) == learning


def test_a_first_wrong_sample_of_currents_is_not_used_for_the_first_setpoint() -> None:
    site = Site(site_config(contracted_peak_w=40_000, fuse_a=63))
    site.show(FAULTS["all currents x10"](a_meter(LOADED_W, 0)))
    seen = [site.show(a_meter(LOADED_W, n)) for n in range(1, 4)]
    assert [r.quality for s in seen for r in s.grid.a] == [Quality.MISSING] * 3 + [Quality.GOOD] * 6
    assert {d.battery_w for d in site.decisions} <= {None, 0.0}


def test_a_grid_that_goes_dead_is_seen_at_once() -> None:
    """All phases at 0 V while nothing says that this side is live."""
    site = established()
    dead = Meter("grid", reading(0.0), reading(0.0), (reading(0.0),) * 3, (reading(0.0),) * 3)
    now = site.raw(dead)
    absent = tuple(replace(s, grid_voltage=replace(s.grid_voltage, value="absent")) for s in now.switches)
    seen = site.show(dead, switches=absent)
    assert [*seen.grid.v, seen.grid.hz] == [reading(0.0)] * 4
