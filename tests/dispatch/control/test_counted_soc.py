"""A battery whose SoC is counted from energy: each direction goes by the end of what it may be that it is nearer to."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from small_site import a_battery, a_snapshot, an_order, site_config

from dispatch.control.pcs_limits import units
from dispatch.control.rules.manual_order import manual
from dispatch.control.rules.situation import Situation
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.islanding import Islanding, IslandState
from dispatch.model.orders import OrderKind
from dispatch.model.readings import reading
from dispatch.model.reasons import plain
from dispatch.model.rule_chain import Bounds
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing
from dispatch.wording.catalogue import words

CONFIG = site_config()
FREE = Bounds(-60_000.0, 60_000.0)


def counted(low_pct: float, high_pct: float, reported_pct: float) -> Snapshot:
    battery = a_battery(
        low_pct,
        soc_high_pct=reading(high_pct),
        soc_reported_pct=reading(reported_pct),
        soc_state="stands_still",
    )
    return a_snapshot(0.0, 20_000.0, None, battery)


def test_each_direction_ends_where_it_may_be_at_its_end() -> None:
    (unit,) = units(CONFIG, counted(6.0, 60.0, 60.0), {})
    assert (unit.low_w, unit.high_w) == (-60_000, 30_000), "one of the two points above 5 % are left"
    assert words(unit.high_why) == "SoC 6.0 % against soc_min 5 % (counted from energy; bat1 reports 60.0 %)"
    (unit,) = units(CONFIG, counted(60.0, 94.0, 60.0), {})
    assert (unit.low_w, unit.high_w) == (-30_000, 60_000)
    assert words(unit.low_why) == "SoC 94.0 % against soc_max 95 % (counted from energy; bat1 reports 60.0 %)"


def test_the_bank_knows_both() -> None:
    bank = BatteryBank(CONFIG, counted(42.0, 60.0, 60.0))
    assert (bank.soc_pct, bank.soc_high_pct) == (42.0, 60.0)
    assert BatteryBank(CONFIG, a_snapshot()).soc_high_pct == 60.0
    assert BatteryBank(CONFIG, a_snapshot(0.0, 0.0, None, a_battery(None))).soc_high_pct is None


@pytest.mark.parametrize(("target_pct", "way"), [(30.0, 1), (50.0, 0), (60.0, 0), (80.0, -1)])
def test_an_order_to_reach_an_soc_is_done_once_it_may_be_there(target_pct: float, way: int) -> None:
    snapshot = counted(42.0, 60.0, 60.0)
    order = an_order(OrderKind.SOC_TARGET, target_pct, ends_s=36_000.0)
    given: dict[str, Any] = {"budget": None, "units": units(CONFIG, snapshot, {}), "last_w": 0.0}
    situation = Situation(
        config=CONFIG,
        snapshot=snapshot,
        islanding=Islanding(IslandState.GRID_TIED, plain("")),
        net_w=20_000.0,
        soc_pct=42.0,
        soc_high_pct=60.0,
        available_pct=42.0,
        orders=Standing(mono_s=0.0, battery=order),
        **given,
    )
    asked = manual(situation, FREE)
    assert asked.preferred_w is not None
    assert (asked.preferred_w > 0) - (asked.preferred_w < 0) == way
    assert words(asked.reason).endswith("(counted from energy; bat1 reports 60.0 %)")


def test_a_limit_that_limits_nothing_is_no_reason() -> None:
    (unit,) = units(CONFIG, a_snapshot(0.0, 20_000.0, None, a_battery(60.0)), {})
    assert (words(unit.low_why), words(unit.high_why)) == ("rating 60.0 kW", "rating 60.0 kW")


def test_a_cap_is_told_as_one_and_does_not_bind_a_pcs_that_forms_the_grid() -> None:
    (plate,) = CONFIG.pcs
    capped = replace(plate, charge_w=3_000.0, discharge_w=3_000.0)
    config = replace(CONFIG, pcs=(capped,), nameplates=(plate,))
    now = a_snapshot(0.0, 20_000.0, None, a_battery(60.0))
    (unit,) = units(config, now, {})
    assert (unit.low_w, unit.high_w) == (-3_000, 3_000)
    assert words(unit.high_why) == "cap_w of the site file, 3.0 kW of 60.0 kW"
    assert BatteryBank(config, now).discharge_w == BatteryBank(CONFIG, now).discharge_w
