"""What is said of each PCS for the case that the gateway dies, and what it is asked to revert to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from small_site import a_pcs, site_config

from dispatch.control.exit_behaviour import LASTS_S, ExitStatements, if_gateway_dies
from dispatch.control.fallback import revert_values
from dispatch.model.decision import Decision, Mode, Setpoint
from dispatch.model.islanding import IslandState
from dispatch.model.readings import MISSING, Reading, reading, status
from dispatch.model.reasons import RuleId, plain
from dispatch.wording.catalogue import words

OURS = {
    "setpoint_w": reading(12_000.0),
    "setpoint_enabled": reading(1.0),
    "revert_after_s": reading(30.0),
    "revert_remaining_s": reading(22.0),
    "revert_to_w": reading(0.0),
}
NONE = {"revert_after_s": MISSING, "revert_remaining_s": MISSING, "revert_to_w": MISSING}
BY_MAP: dict[str, Any] = {**NONE, "revert_after_s": reading(10.0), "revert_by_map": True}


def decided(w: float | None) -> Decision:
    return Decision(
        seq=1,
        utc_s=0.0,
        mode=Mode.RULES,
        island=IslandState.GRID_TIED,
        setpoints=(Setpoint("pcs1", w),),
        battery_w=w,
        net_load_w=None,
        import_target_w=None,
        binding=RuleId.IDLE,
        reason=plain(""),
    )


@pytest.mark.parametrize(
    ("change", "asked_w", "said"),
    [
        ({}, 12_000.0, "pcs1 reverts to 0.0 kW after 30 s (timer read back, not tried)"),
        ({"revert_to_w": reading(-2_000.0)}, 12_000.0, "pcs1 reverts to -2.0 kW after 30 s"),
        ({"revert_to_w": MISSING}, 12_000.0, "to which power is not known"),
        ({"revert_remaining_s": MISSING}, 12_000.0, "pcs1 reverts to 0.0 kW after 30 s"),
        (NONE, 12_000.0, "pcs1 keeps its last setpoint, now 12.0 kW: no reversion timer runs in it"),
        ({"revert_after_s": reading(0.0), "revert_remaining_s": reading(0.0)}, 12_000.0, "keeps its last setpoint"),
        ({"revert_remaining_s": reading(0.0)}, 12_000.0, "keeps its last setpoint"),
        ({"setpoint_enabled": reading(0.0)}, 12_000.0, "it is not enabled"),
        ({"setpoint_enabled": reading(0.0)}, None, "gets no setpoint, and holds none"),
        ({"setpoint_w": MISSING}, 12_000.0, "it is not known"),
        ({"mode": status("grid_forming")}, None, "goes on forming"),
        ({**BY_MAP}, 12_000.0, "drops its setpoint after 10 s (by its device map, not tried)"),
        ({**BY_MAP, "revert_after_s": reading(0.0)}, 12_000.0, "by its device map it never reverts"),
        ({**BY_MAP, "setpoint_w": MISSING, "setpoint_enabled": MISSING}, 12_000.0, "after 10 s (by its device map"),
        ({**BY_MAP, **NONE, "setpoint_w": MISSING}, 12_000.0, "it is not known"),
    ],
)
def test_what_a_pcs_does_without_the_gateway(change: dict[str, Reading], asked_w: float | None, said: str) -> None:
    pcs = msgspec.structs.replace(a_pcs(5_000.0), **{**OURS, **change})
    text = words(if_gateway_dies(pcs, decided(asked_w)))
    assert said in text


def test_a_pcs_reverts_to_its_share_of_the_safe_value() -> None:
    config = site_config()
    assert revert_values(config) == {p.id: 0.0 for p in config.pcs}
    rules = msgspec.structs.replace(config.rules, meter_lost_w=-9_000.0)
    given = revert_values(msgspec.structs.replace(config, rules=rules))
    assert sum(given.values()) == pytest.approx(-9_000.0)
    most = msgspec.structs.replace(config.rules, meter_lost_w=1e9)
    assert revert_values(msgspec.structs.replace(config, rules=most)) == {p.id: p.discharge_w for p in config.pcs}


def test_a_statement_that_does_not_last_is_not_told_each_time() -> None:
    """A second master that enables and disables the setpoint at each look would fill the record."""
    statements, told = ExitStatements(), list[tuple[float, str]]()
    for n in range(600):
        t_s = n / 5
        enabled = reading(float(n % 4 < 2)) if 10 <= t_s < 60 else reading(1.0)
        pcs = a_pcs(12_000.0, **(OURS | {"setpoint_enabled": enabled} | (NONE if t_s >= 80 else {})))
        told += [(t_s, why.code) for _, why in statements.update(t_s, (pcs,), decided(12_000.0))]
    assert [code for _, code in told] == ["dies.reverts", "dies.keeps"]
    assert told[0][0] == 0.0
    assert told[1][0] == pytest.approx(80 + LASTS_S, abs=0.3)
