"""What a PCS and its battery can do now, whatever the SoC is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.battery_ratings import ac_of_dc_w
from dispatch.control.pcs_limits import able_now
from dispatch.model.equipment import Battery, DeviceHealth, DeviceProof
from dispatch.model.readings import reading, status
from dispatch.model.snapshot import Snapshot

CONFIG = site_config()
COOL: dict[str, Any] = {"temp_c": reading(20.0)}
CHANGED = DeviceProof("2026-01-01T00:00:00+01:00", "3.51", 0.1, 0.2, 0.3, 60.0, changed_utc_s=1.0)


def powers(site: Snapshot) -> tuple[float, float]:
    (pcs,) = able_now(CONFIG, site).pcs
    return pcs.charge_w, pcs.discharge_w


def battery(soc_pct: float = 50.0, **changes: Any) -> Battery:
    return msgspec.structs.replace(a_battery(soc_pct), **(COOL | changes))


def test_the_rating_holds_where_nothing_limits_it_also_at_the_ends_of_the_soc() -> None:
    for soc_pct in (1.0, 50.0, 99.0):
        assert powers(a_snapshot(pcs=(a_pcs(0.0),), battery=(battery(soc_pct),))) == (60_000.0, 60_000.0)


def test_the_limits_of_the_bms_count_at_the_terminals() -> None:
    cold = battery(charge_limit_w=reading(5_000.0), discharge_limit_w=reading(8_000.0))
    charge_w, discharge_w = powers(a_snapshot(pcs=(a_pcs(0.0),), battery=(cold,)))
    (own,) = CONFIG.batteries
    assert discharge_w == pytest.approx(8_000.0 * ac_of_dc_w(own, 1.0))
    assert charge_w == pytest.approx(-5_000.0 * ac_of_dc_w(own, -1.0))
    frozen = battery(temp_c=reading(-30.0))
    assert powers(a_snapshot(pcs=(a_pcs(0.0),), battery=(frozen,))) == (0.0, 0.0)


def test_one_that_takes_no_setpoint_gives_nothing_and_one_that_was_changed_half() -> None:
    local = a_pcs(0.0, control=status("local"))
    assert powers(a_snapshot(pcs=(local,), battery=(battery(),))) == (0.0, 0.0)
    device = DeviceHealth("pcs1", "pcs", True, 0.1, 9, 0, 0, proof=CHANGED)
    site = msgspec.structs.replace(a_snapshot(pcs=(a_pcs(0.0),), battery=(battery(),)), devices=(device,))
    assert powers(site) == (30_000.0, 30_000.0)
