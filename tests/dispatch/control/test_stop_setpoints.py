"""What the PCS get when the gateway stops."""

from __future__ import annotations

import msgspec
import pytest

from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, PcsRatings, RulesConfig
from dispatch.control.fallback import stop_setpoints
from dispatch.model.decision import Decision, Mode, RuleTrace, Setpoint
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import RuleId, plain

CONFIG = DispatchConfig(
    grid=GridConfig(fuse_a=100, contracted_peak_w=50_000),
    timezone="Europe/Berlin",
    batteries=(BatteryConfig(id="b1", energy_kwh=50), BatteryConfig(id="b2", energy_kwh=50)),
    pcs=(
        PcsRatings(id="p1", battery="b1", charge_w=20_000, discharge_w=20_000),
        PcsRatings(id="p2", battery="b2", charge_w=40_000, discharge_w=40_000),
    ),
    rules=RulesConfig(meter_lost_w=12_000),
)


def decision(limits: tuple[float, float], *setpoints: Setpoint) -> Decision:
    """A grid-tied decision whose device limits are `limits`."""
    chain = (
        RuleTrace(RuleId.DEVICE_LIMITS, *limits, None, False, plain("ratings")),
        RuleTrace(RuleId.FUSE, -1_000.0, -1_000.0, None, True, plain("a later rule does not bound the safe value")),
    )
    return Decision(
        1, 0.0, Mode.RULES, IslandState.GRID_TIED, setpoints, None, None, None, RuleId.FUSE, plain(""), chain
    )


def test_shared_by_rating() -> None:
    """12 kW over 20 and 40 kW."""
    given = stop_setpoints(CONFIG, decision((-60e3, 60e3), Setpoint("p1", 0.0), Setpoint("p2", 5.0)))
    assert given == {"p1": pytest.approx(4_000), "p2": pytest.approx(8_000)}


def test_a_pcs_without_a_setpoint_is_left_alone() -> None:
    """A tripped or local PCS got None; it gets nothing at stop either."""
    assert stop_setpoints(CONFIG, decision((-60e3, 60e3), Setpoint("p1", None), Setpoint("p2", 5.0))).keys() == {"p2"}
    assert stop_setpoints(CONFIG, decision((-60e3, 60e3), Setpoint("p1", None), Setpoint("p2", None))) == {}


def test_inside_what_the_devices_allow() -> None:
    """An empty battery is not discharged at stop, whatever the table says."""
    given = stop_setpoints(CONFIG, decision((-60e3, 0.0), Setpoint("p1", 0.0), Setpoint("p2", 0.0)))
    assert set(given.values()) == {0.0}
    full = msgspec.structs.replace(CONFIG, rules=RulesConfig(meter_lost_w=-9_000))
    assert sum(stop_setpoints(full, decision((-3_000.0, 60e3), Setpoint("p1", 0.0))).values()) == -3_000.0


def test_on_a_generator_every_pcs_goes_to_0() -> None:
    """Also where the site file does not know the generator, and has another safe value for the grid."""
    there = decision((-60e3, 60e3), Setpoint("p1", 0.0), Setpoint("p2", 5.0))
    assert stop_setpoints(CONFIG, msgspec.structs.replace(there, island=IslandState.GENSET)) == {"p1": 0.0, "p2": 0.0}
