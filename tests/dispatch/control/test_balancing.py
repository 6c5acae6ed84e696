"""When a battery counts as full, what is kept of it, and when the tick lets it be charged above soc_max."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from small_site import T0, a_battery, a_pcs, a_plan, a_snapshot, an_order, site_config, started, trace

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.config.cross_checks import inconsistencies
from dispatch.config.schema import BatteryConfig, DispatchConfig, PlanConfig
from dispatch.control.balancing import AHEAD_S, BalanceWatch
from dispatch.control.controller import Controller
from dispatch.model.balancing import BalanceDue, BalanceMemory
from dispatch.model.decision import Decision
from dispatch.model.equipment import Battery
from dispatch.model.islanding import IslandState
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan
from dispatch.model.readings import reading, status
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing
from dispatch.wording.catalogue import words

DAY_S = 86_400.0
TERMS: dict[str, Any] = {"id": "bat1", "energy_kwh": 100.0, "balance_every_days": 14.0, "balance_hold_s": 1800.0}


def a_site(**changes: Any) -> DispatchConfig:
    return site_config(batteries=(BatteryConfig(**(TERMS | changes)),), contracted_peak_w=90_000)


def seen(config: DispatchConfig, batteries: list[Battery], every_s: float = 600.0) -> BalanceWatch:
    watch = BalanceWatch(config)
    for k, battery in enumerate(batteries):
        watch.update(a_snapshot(every_s * k, battery=battery))
    return watch


def test_a_battery_is_full_once_it_was_held_there() -> None:
    config, full = a_site(), a_battery(99.6)
    assert seen(config, [full] * 3).states() == (BalanceDue("bat1", T0 + DAY_S, None),), "20 min are not enough"
    (state,) = seen(config, [full] * 4).states()
    assert state == BalanceDue("bat1", T0 + 1800.0 + 14 * DAY_S, T0 + 1800.0)
    for gap in (a_battery(99.0), a_battery(None)):
        assert seen(config, [full, full, gap, full, full, full]).states()[0].last_utc_s is None


@pytest.mark.parametrize(
    ("soc_pct", "changes", "full"),
    [
        (96.0, {"charge_limit_w": reading(500.0)}, True),
        (94.0, {"charge_limit_w": reading(500.0)}, False),
        (96.0, {"charge_limit_w": reading(5_000.0)}, False),
        (96.0, {"charge_limit_w": reading(0.0), "temp_c": reading(43.0)}, False),
        (96.0, {"charge_limit_w": reading(0.0), "contactor": status("open")}, False),
        (96.0, {}, False),
    ],
    ids=["takes no more", "below soc_max", "takes more", "hot", "off its bus", "no limit told"],
)
def test_a_bms_that_takes_no_more_power_is_full(soc_pct: float, changes: dict[str, Any], full: bool) -> None:
    watch = seen(a_site(), [a_battery(soc_pct, **changes)] * 4)
    assert (watch.states()[0].last_utc_s is not None) is full


def test_what_is_kept_outlives_a_restart_and_the_later_one_counts() -> None:
    config = a_site()
    before = Controller(config)
    for k in range(4):
        before.step(a_snapshot(600.0 * k, battery=a_battery(100.0)), None)
    memory = before.memory()
    assert memory.balance == {"bat1": BalanceMemory(T0 + 1800.0, True)}
    after = Controller(config)
    after.balance.update(a_snapshot(5000.0))
    after.recover(msgspec.convert(msgspec.to_builtins(memory), type(memory)))
    assert after.balance.states() == before.balance.states()
    after.balance.restore({"bat1": BalanceMemory(T0 - 5000.0, True), "gone": BalanceMemory(T0, True)})
    assert after.balance.states() == before.balance.states()


def test_nothing_is_watched_where_nothing_is_asked_or_the_time_is_not_known() -> None:
    assert seen(site_config(), [a_battery(100.0)] * 4).states() == ()
    watch = BalanceWatch(a_site())
    watch.update(a_snapshot(0.0, utc_known=False))
    assert watch.states() == ()


def test_a_plan_may_choose_its_hours_before_it_is_due() -> None:
    watch = seen(a_site(), [a_battery(100.0)] * 4)
    due_s = watch.states()[0].due_utc_s
    assert watch.wanted(due_s - AHEAD_S - 1) == ()
    assert watch.wanted(due_s - AHEAD_S) == watch.states() == watch.wanted(due_s + 9 * DAY_S)


def test_one_that_is_balanced_each_day_is_not_wanted_all_day() -> None:
    watch = seen(a_site(balance_every_days=1.0), [a_battery(100.0)] * 4)
    due_s = watch.states()[0].due_utc_s
    assert watch.wanted(due_s - 0.6 * DAY_S) == ()
    assert watch.wanted(due_s - 0.4 * DAY_S) == watch.states()


def test_a_battery_that_does_not_get_full_is_tried_on_one_day_of_three() -> None:
    watch = seen(a_site(), [a_battery(100.0)] * 4)
    due_s = watch.states()[0].due_utc_s
    tried = [day for day in range(9) if watch.wanted(due_s + (day + 0.5) * DAY_S)]
    assert tried == [0, 3, 6]
    at_95 = a_snapshot(2.0, grid_w=20_000.0, battery=a_battery(95.0))
    for day, charged in ((0, True), (1, False), (3, True)):
        controller = started(a_site(), at_95)
        last = BalanceMemory(T0 - (14 + day + 0.5) * DAY_S, True)
        controller.balance.restore({"bat1": last})
        config = controller.balance.in_step(charging(98.0).steps[0], at_95.utc_s, IslandState.GRID_TIED, Standing())
        assert (config.batteries[0].soc_max_pct > 95.0) is charged


def test_a_time_kept_by_a_wrong_clock_does_not_count() -> None:
    watch = BalanceWatch(a_site())
    watch.restore({"bat1": BalanceMemory(T0 + 900 * DAY_S, True)})
    watch.update(a_snapshot(0.0))
    assert watch.states() == (BalanceDue("bat1", T0 + DAY_S, None),)


def test_a_small_battery_beside_a_large_one_is_charged_to_its_mark() -> None:
    site = a_site()
    small = msgspec.structs.replace(site.batteries[0], energy_kwh=3.0)
    large = msgspec.structs.replace(site.batteries[0], id="bat2", balance_every_days=0.0)
    watch = BalanceWatch(msgspec.structs.replace(site, batteries=(small, large)))
    watch.update(a_snapshot(0.0))
    due = T0 + DAY_S

    def marks(soc_pct: float) -> list[float]:
        step = charging(soc_pct).steps[0]
        config = watch.in_step(step, due, IslandState.GRID_TIED, Standing())
        return [b.soc_max_pct for b in config.batteries]

    assert marks(95.14) == [100.0, 95.0], "3 kWh of 103 at 100 %, the rest at 95 %"
    assert marks(95.0) == [95.0, 95.0]


# ── the tick ────────────────────────────────────────────────────────────────────────────────────────────────────────


def charging(soc_pct: float) -> Plan:
    plan = a_plan(-20_000, peak_target_w=80_000, grid_w=40_000)
    return msgspec.structs.replace(
        plan, steps=tuple(msgspec.structs.replace(step, soc_pct=soc_pct) for step in plan.steps)
    )


def decided(config: DispatchConfig, plan: Plan, snapshot: Snapshot, orders: tuple[Order, ...] = ()) -> Decision:
    controller = started(config, snapshot)
    for n in range(15):
        now = msgspec.structs.replace(snapshot, utc_s=snapshot.utc_s + 0.2 * n, mono_s=snapshot.mono_s + 0.2 * n)
        decision = controller.step(now, plan, orders=orders)
    return decision


def test_the_tick_charges_above_soc_max_only_where_the_plan_does_for_balancing() -> None:
    at_95 = a_snapshot(2.0, grid_w=20_000.0, battery=a_battery(95.0))
    assert decided(a_site(), charging(98.0), at_95).battery_w == pytest.approx(-20_000)
    assert decided(a_site(), charging(95.0), at_95).battery_w == 0
    assert decided(a_site(balance_every_days=0.0), charging(98.0), at_95).battery_w == 0
    assert (
        decided(a_site(balance_soc_pct=96.0), charging(98.0), a_snapshot(2.0, battery=a_battery(96.0))).battery_w == 0
    )
    decision = decided(a_site(), charging(98.0), a_snapshot(2.0, battery=a_battery(100.0)))
    assert decision.battery_w == 0
    assert "100" in words(trace(decision, "device limits").reason)


def test_an_order_keeps_soc_max() -> None:
    at_95 = a_snapshot(2.0, grid_w=20_000.0, battery=a_battery(95.0))
    order = an_order(OrderKind.SETPOINT, -20_000)
    assert decided(a_site(), charging(98.0), at_95, (order,)).battery_w == 0


def test_off_the_grid_nothing_is_lifted() -> None:
    island = a_snapshot(2.0, battery=a_battery(95.0), pcs=a_pcs(0.0, mode=a_pcs(0.0).mode), switch="open")
    assert decided(a_site(), charging(98.0), island).battery_w in (None, 0)


# ── the alarm ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_overdue_is_told_a_day_later() -> None:
    def told(last_utc_s: float | None, due_utc_s: float) -> tuple[bool | None, str]:
        facts = Facts(config=a_site(), balance=(BalanceDue("bat1", due_utc_s, last_utc_s),))
        found = conditions(a_snapshot(), None, facts)["balance-overdue:bat1"]
        return found.active, words(found.detail)

    assert told(None, T0 - DAY_S + 1)[0] is False
    assert told(None, T0 - DAY_S - 1) == (True, "not seen full yet; to be full every 14 days")
    assert told(T0 - 16 * DAY_S, T0 - 2 * DAY_S) == (True, "last full 2025-08-31 10:00; to be full every 14 days")
    assert conditions(a_snapshot(), None, Facts(config=a_site())).get("balance-overdue:bat1") is None


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mark_below_soc_max_or_no_plan_is_refused() -> None:
    def found(config: DispatchConfig) -> list[str]:
        return [f"{key}: {expected}" for key, _, expected in inconsistencies(config)]

    assert found(a_site()) == []
    assert found(a_site(balance_soc_pct=90.0)) == ["battery[0].balance_soc_pct: at least soc_max_pct = 95"]
    assert found(a_site(balance_soc_pct=90.0, balance_every_days=0.0)) == []
    idle = msgspec.structs.replace(a_site(), plan=PlanConfig(enabled=False))
    assert found(idle) == [
        "battery[0].balance_every_days: 0 with [plan] enabled = false: only a plan finds the hours for it"
    ]
