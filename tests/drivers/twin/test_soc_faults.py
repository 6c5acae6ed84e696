"""An SoC that the BMS reports wrong, in lock-step: on the grid and off it, by moments, for good, and standing still."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_copies import Copies
from soak_sizes import examples

from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, PcsRatings, ReserveConfig
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.equipment import Battery
from dispatch.model.readings import MISSING, reading
from dispatch.wording.catalogue import words
from drivers.clock import VirtualClock
from drivers.config import MeterDevice, SwitchDevice
from drivers.node_config import NodeDevice
from drivers.twin.config import TwinConfig
from drivers.twin.faults import Fault
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite

TICK_S = 0.4
OUTAGE_S = 20.0
Wrong = Callable[[Battery], dict[str, Any]]


class Site:
    """100 kWh at 80 % unless told otherwise, a load of 12 kW, eight nodes, and an outage after 20 s if asked for."""

    def __init__(
        self,
        energy_kwh: float = 100.0,
        load_w: float = 12_000.0,
        outage: bool = True,
        cap_w: float | None = 1000.0,
        **twin: Any,
    ) -> None:
        grid = GridConfig(fuse_a=160, contracted_peak_w=60_000)
        battery = BatteryConfig(id="bat1", energy_kwh=energy_kwh)
        pcs = PcsRatings(id="pcs1", battery="bat1", charge_w=60_000, discharge_w=60_000)
        nodes = tuple(
            NodeDevice(id=f"gpu-0{n}", source="modbus", unit=n, critical=n < 3, cap_w=cap_w) for n in range(1, 9)
        )
        self.config = DispatchConfig(
            grid=grid,
            timezone="Europe/Berlin",
            reserve=ReserveConfig(hours=1, critical_load_w=8_000),
            batteries=(battery,),
            pcs=(pcs,),
            switches=("pcc",),
            nodes=tuple(n.terms for n in nodes),
        )
        meters = (MeterDevice(id="grid", url="twin"), MeterDevice(id="load", role="load", url="twin"))
        switches = (SwitchDevice(id="pcc", url="twin"),)
        settings = TwinConfig(**({"soc_pct": 80.0, "host_node": False, "pv_peak_w": 0} | twin))
        self.twin = TwinSite.from_sections(
            settings, grid, (battery,), (pcs,), meters, (), switches, load_w=lambda t_s: load_w
        )
        self.lockstep = LockstepSite(self.twin, VirtualClock(self.twin.start_utc_s), step_s=TICK_S)
        self.controller = Controller(self.config)
        self.outage, self.ticks = outage, 0
        self.decisions: list[Decision] = []

    @property
    def t_s(self) -> float:
        return self.ticks * TICK_S

    def run(self, seconds: float, wrong: Wrong = lambda battery: {}) -> Site:
        """`wrong`: what the BMS says instead."""
        replace = msgspec.structs.replace
        for _ in range(round(seconds / TICK_S)):
            self.ticks += 1
            self.lockstep.advance(TICK_S)
            if self.outage and self.ticks == round(OUTAGE_S / TICK_S):
                self.twin.faults.put(Fault("outage"))
            snapshot = self.lockstep.snapshot(self.ticks)
            snapshot = replace(snapshot, batteries=tuple(replace(b, **wrong(b)) for b in snapshot.batteries))
            self.decisions.append(self.controller.step(snapshot, None))
            self.lockstep.apply(self.decisions[-1])
        return self

    @property
    def steps(self) -> list[int]:
        """Steps of load shedding in the order in which they were taken."""
        found = [0]
        for d in self.decisions:
            if d.ride is not None and d.ride.rung != found[-1]:
                found.append(d.ride.rung)
        return found[1:]

    def said(self, word: str) -> list[str]:
        """Events with that word."""
        return [e.text for d in self.decisions for e in d.events if word in e.text]


@cache
def _in_the_outage(cap_w: float | None) -> Copies[Site]:
    site = Site(cap_w=cap_w).run(120)
    assert site.steps == site.said("SoC") == []
    del site.decisions[:-1]
    return Copies(site)


def in_the_outage(cap_w: float | None = 1000.0) -> Site:
    """A site of its own after 120 s, the last hundred without the grid; of its decisions it has the last one only."""
    return _in_the_outage(cap_w).copy()


def says(soc_pct: float, **limits: float) -> Wrong:
    """The BMS reports this SoC, and perhaps limits."""
    changed = {"soc_pct": reading(soc_pct)} | {name: reading(w) for name, w in limits.items()}
    return lambda battery: changed


@pytest.mark.parametrize("seconds", [TICK_S, 1.0, 5.0, 9.6])
def test_an_soc_of_0_for_a_moment_shuts_nothing_down(seconds: float) -> None:
    site = in_the_outage().run(seconds, says(0.0)).run(30)
    assert site.steps == []
    assert site.said("recalibration") == []
    assert len(site.said("SoC 0.0 %")) == 1
    ride = site.decisions[-1].ride
    assert ride is not None
    assert ride.runtime_s == pytest.approx(6.0 * 3600, rel=0.02)


def test_registers_of_the_battery_that_all_read_0_for_a_moment_shut_nothing_down() -> None:
    wrong = says(0.0, discharge_limit_w=0.0, charge_limit_w=0.0)
    for seconds in (TICK_S, 1.0, 4.6):  # an overload of 5 s caps the critical nodes
        site = in_the_outage().run(seconds, wrong).run(30)
        assert site.steps in ([], [2], [2, 3]), "an overload for that time, but nothing of the critical nodes"


def test_an_soc_of_0_that_stays_begins_at_the_first_step() -> None:
    site = in_the_outage().run(9.8, says(0.0))
    assert site.steps == []
    site.run(2, says(0.0))
    assert site.steps == [2]
    assert len(site.said("SoC 0.0 % is taken as a recalibration")) == 1
    site.run(240, says(0.0))
    assert site.steps == [2, 3], "critical nodes and shutdown wait for another witness"
    ride = site.decisions[-1].ride
    assert ride is not None
    assert ride.shutdown_in_s is not None
    assert ride.shutdown_in_s > 3 * 3600
    (waits,) = site.said("nothing is shut down for it")
    assert "by the SoC that the BMS reports the battery lasts 0 min, by the energy counted 6." in waits


@pytest.mark.parametrize("cap_w", [1000.0, None])
@pytest.mark.parametrize(
    ("report", "seconds"),
    [
        (lambda t_s, true_pct: 0.0 if t_s < 180 else true_pct, 240),
        (lambda t_s, true_pct: 0.0 if int(t_s) % 2 else true_pct, 120),
        (lambda t_s, true_pct: 0.0 if int(t_s / 20) % 2 == 0 else true_pct, 120),
        (lambda t_s, true_pct: 0.0 if int(t_s / 15) % 2 == 0 else 30.0, 120),
        (lambda t_s, true_pct: 0.0 if t_s < 30 else None if t_s < 60 else true_pct, 120),
        (lambda t_s, true_pct: max(true_pct - 30 * t_s / 60, 0.0), 240),
    ],
    ids=["3 min", "each s", "each 20 s", "0 or 30", "then missing", "sinks"],
)
def test_no_report_alone_touches_critical_nodes(
    report: Callable[[float, float], float | None], seconds: float, cap_w: float | None
) -> None:
    site = in_the_outage(cap_w)
    from_s = site.t_s

    def wrong(battery: Battery) -> dict[str, Any]:
        pct = report(site.t_s - from_s, battery.soc_pct.good or 0.0)
        return {"soc_pct": MISSING if pct is None else reading(pct)}

    site.run(seconds, wrong)
    assert all(step <= 3 for step in site.steps)


def test_an_soc_of_0_for_good_shuts_down_once_the_energy_counted_is_used_up() -> None:
    site = Site(energy_kwh=10.0, load_w=12_000.0, soc_pct=40.0).run(60)
    while 6 not in site.steps:
        site.run(1, says(0.0))
        assert site.t_s < 900
    assert site.steps == [2, 3, 5, 6]
    left_pct = site.twin.pcs[0].battery.soc_pct - 2
    assert 2 * 375 > left_pct / 100 * 10_000 * 0.94 / site.twin.pcs[0].w * 3600 > 300, "enough for the shutdown"


def test_limits_that_fall_minutes_after_a_drop_confirm_it() -> None:
    site = in_the_outage()

    def sunk(battery: Battery) -> dict[str, Any]:
        return {"soc_pct": reading((battery.soc_pct.good or 0.0) - 76)}

    site.run(120, sunk)
    assert site.steps == [2, 3]
    site.run(15, lambda battery: sunk(battery) | {"discharge_limit_w": reading(30_000.0)})
    assert site.steps == [2, 3, 6]


def test_an_soc_that_was_low_from_the_start_shuts_down_once_it_has_stood_for_five_minutes() -> None:
    site = Site(soc_pct=6.0, load_w=6_000.0).run(OUTAGE_S + 299)
    assert site.steps == [2, 3]
    assert len(site.said("critical nodes are touched once it has stood for 5 min")) == 1
    site.run(3)
    assert site.steps == [2, 3, 6]


def test_an_soc_of_0_that_the_bms_limits_confirm_shuts_down_in_time() -> None:
    site = Site(load_w=6_000.0).run(120).run(15, says(2.0, discharge_limit_w=7_000.0))
    assert site.steps[-1] == 6


def test_a_recalibration_in_an_outage_is_followed() -> None:
    site = in_the_outage()
    site.run(60, lambda battery: {"soc_pct": reading((battery.soc_pct.good or 0.0) - 30)})
    assert site.steps == []
    ride = site.decisions[-1].ride
    assert ride is not None
    assert ride.runtime_s == pytest.approx((49 - 2) * 940 / 12_000 * 3600, rel=0.05)
    assert len(site.said("recalibration")) == 1


SMALL: dict[str, Any] = {"soc_pct": 40.0, "energy_kwh": 30.0}


@cache
def clean_run(outage: bool) -> Site:
    """The same without a wrong report."""
    return Site(outage=outage, **SMALL).run(80)


@pytest.mark.parametrize("outage", [False, True])
@pytest.mark.soak
@settings(max_examples=examples(4, times=20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    wrong=st.one_of(st.floats(0, 100), st.sampled_from([0.0, 19.0, 21.0, 100.0, 100.4, 127.0, -1.0])),
    at_s=st.floats(25, 60),
    seconds=st.sampled_from([TICK_S, 1.0, 3.0, 9.6]),
)
def test_a_wrong_soc_of_less_than_ten_seconds_moves_no_setpoint_and_takes_no_step(
    outage: bool, wrong: float, at_s: float, seconds: float
) -> None:
    clean = clean_run(outage)
    site = Site(outage=outage, **SMALL).run(at_s).run(seconds, says(wrong))
    site.run(80 - site.t_s)
    for a, b in zip(clean.decisions, site.decisions, strict=True):
        assert (a.battery_w is None) is (b.battery_w is None)
        if a.battery_w is not None and b.battery_w is not None:
            assert abs(a.battery_w - b.battery_w) <= site.config.rules.deadband_w
    assert site.steps == clean.steps
    assert [d.nodes for d in site.decisions] == [d.nodes for d in clean.decisions]


def test_an_soc_that_stands_still_in_an_outage_is_told_and_reckoned_on() -> None:
    """5 kWh at 90 %, 15 kW: 16 points later."""
    site = Site(energy_kwh=5.0, load_w=15_000.0, soc_pct=90.0).run(22)
    site.run(180, says(site.twin.pcs[0].battery.soc_pct))
    assert site.twin.pcs[0].battery.soc_pct < 82
    told = site.said("stands still")
    assert len(told) == 1
    assert site.said("recalibration") == []
    ride = site.decisions[-1].ride
    assert ride is not None
    true_pct = site.twin.pcs[0].battery.soc_pct
    assert ride.runtime_s == pytest.approx((true_pct - 2) / 100 * 5_000 * 0.94 / 15_000 * 3600, rel=0.1)


def test_an_soc_that_stands_still_on_the_grid_does_not_spend_the_reserve() -> None:
    """A load of 80 kW against a peak of 60: the battery gives 20 kW down to the reserve, by energy."""
    site = Site(energy_kwh=12.0, load_w=80_000.0, soc_pct=95.0, outage=False).run(5)
    site.run(240, says(95.0))
    reserve_pct = 5 + 100 * 8 / (0.94 * 12)
    assert site.twin.pcs[0].battery.soc_pct == pytest.approx(reserve_pct, abs=1.5)
    assert "SoC 75.9 % (counted from energy; bat1 reports 95.0 %), reserve 75.9 %" in words(site.decisions[-1].reason)
