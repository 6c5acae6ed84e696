"""A plan under manual orders: what they take is given, what they leave is planned, and nothing they ask breaks it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site
from small_site import T0, a_battery, a_plan, a_snapshot, an_order, decide, site_config, started, trace
from soak_sizes import examples

from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig, PcsRatings
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan
from dispatch.model.reasons import plain
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan
from dispatch.wording.catalogue import words

PRICES = hourly([100.0] * 2 + [20.0] * 4 + [300.0] * 4 + [100.0] * 26)
FLAT_W = [30_000.0]


def order(kind: OrderKind, value: float = 0.0, hours: float = 2.0, target: str = "") -> Order:
    return Order("o1", kind, value, target, "anna", "", NOON - 60.0, NOON + 3600 * hours, 0.0)


def under(*orders: Order, soc_pct: float = 50.0, **changes: object) -> tuple[PlanInputs, Plan]:
    """The inputs at noon with 30 kW of load and these orders; the plan, found without fault."""
    inputs = ask(site(**changes), PRICES, FLAT_W, soc_pct=soc_pct, orders=orders)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    return inputs, plan


def test_a_battery_that_is_held_is_planned_from_the_orders_end() -> None:
    _, free = under()
    _, plan = under(order(OrderKind.HOLD, hours=4.0))
    assert any(step.battery_w for step in free.steps[8:16]), "it would charge at 20"
    assert [step.battery_w for step in plan.steps[:16]] == [0.0] * 16
    assert plan.steps[15].soc_pct == pytest.approx(50.0)
    assert words(plan.steps[0].reason) == "order o1 of anna, hold at 0 kW, has the battery until 18:00"
    assert [step.order for step in plan.steps[:17]] == ["o1"] * 16 + [""]
    assert min(step.battery_w for step in plan.steps[16:24]) < -1_000, "two cheap hours are left"
    assert "order" not in words(plan.steps[16].reason)


def test_an_ordered_power_moves_the_soc_and_ends_at_the_reserve() -> None:
    _, plan = under(order(OrderKind.SETPOINT, 20_000.0), reserve={"hours": 1.0, "critical_load_w": 9_000.0})
    # 50 % down to 20 %: 27 kWh at the terminals, 5 kWh in a step
    assert [step.battery_w for step in plan.steps[:8]] == pytest.approx([20_000.0] * 5 + [8_000.0, 0.0, 0.0], abs=1)
    assert plan.steps[7].soc_pct == pytest.approx(20.0, abs=0.01)
    whose = "order o1 of anna, discharge 20.0 kW, has the battery until 16:00"
    assert words(plan.steps[4].reason) == whose
    assert words(plan.steps[5].reason) == f"{whose}; held to discharge 8.0 kW by reserve"


def test_a_full_battery_and_the_fuse_hold_an_order_back() -> None:
    _, plan = under(order(OrderKind.SETPOINT, -60_000.0), soc_pct=85.0)
    assert [step.soc_pct for step in plan.steps[:3]] == pytest.approx([90.0] * 3)
    assert words(plan.steps[1].reason).endswith("; held at 0 kW by device limits")
    _, plan = under(order(OrderKind.SETPOINT, -60_000.0), grid={"fuse_a": 100.0})
    assert plan.steps[0].grid_w == pytest.approx(69_000.0)
    assert words(plan.steps[0].reason).endswith("; held to charge 39.0 kW by fuse")


def test_a_lowered_reserve_is_the_orders_and_only_while_it_stands() -> None:
    lower = msgspec.structs.replace(order(OrderKind.RESERVE_LEVEL, 15.0, hours=0.5), id="o2")
    reserve = {"hours": 1.0, "critical_load_w": 27_000.0}  # 40 %
    _, plan = under(order(OrderKind.SETPOINT, 36_000.0), lower, reserve=reserve)
    assert [step.soc_pct for step in plan.steps[:8]] == pytest.approx([40.0, 30.0] + [30.0] * 6, abs=0.01)
    assert plan.steps[-1].soc_pct >= 40.0 - 0.01, "back to the declared one once the battery is free"


def test_an_import_target_and_a_soc_by_a_time_are_followed() -> None:
    _, plan = under(order(OrderKind.IMPORT_TARGET, 45_000.0, hours=1.0))
    assert [step.grid_w for step in plan.steps[:4]] == pytest.approx([45_000.0] * 4, abs=1)
    _, plan = under(order(OrderKind.SOC_TARGET, 80.0, hours=3.0))
    assert plan.steps[11].soc_pct == pytest.approx(80.0, abs=0.1)
    assert plan.steps[5].soc_pct == pytest.approx(65.0, abs=0.1), "evenly"


def test_of_a_quarter_that_an_order_ends_in_the_rest_is_planned_in_its_direction() -> None:
    _, plan = under(order(OrderKind.SETPOINT, 20_000.0, hours=0.375))
    assert [step.battery_w for step in plan.steps[:2]] == pytest.approx([20_000.0, 10_000.0]), "nothing pays now"
    inputs = ask(site(), hourly([300.0] + [20.0] * 23), [60_000.0], soc_pct=80.0)
    plan = make_plan(msgspec.structs.replace(inputs, orders=(order(OrderKind.HOLD, hours=0.375),)))
    assert [step.battery_w for step in plan.steps[:3]] == pytest.approx([0.0, 30_000.0, 60_000.0], abs=1)
    plan = make_plan(msgspec.structs.replace(inputs, orders=(order(OrderKind.SETPOINT, -20_000.0, hours=0.375),)))
    assert [step.battery_w for step in plan.steps[:3]] == pytest.approx([-20_000.0, -10_000.0, 60_000.0], abs=1)


def test_without_a_pcs_the_plan_has_no_battery_and_a_raised_reserve_is_kept() -> None:
    _, plan = under(order(OrderKind.DISABLE, target="pcs1", hours=4.0))
    assert [step.battery_w for step in plan.steps[:16]] == [0.0] * 16
    assert words(plan.steps[0].reason) == "order o1 of anna, pcs1 disabled, has the battery until 18:00"
    _, plan = under(order(OrderKind.RESERVE_LEVEL, 70.0))
    assert plan.steps[4].soc_pct >= 70 - 0.1, "from 50 %"
    _, plan = under(order(OrderKind.RESERVE_LEVEL, 70.0), soc_pct=75.0)
    assert min(step.soc_pct for step in plan.steps) == pytest.approx(70.0, abs=0.1)
    _, plan = under(order(OrderKind.RESERVE_LEVEL, 5.0))
    assert min(step.soc_pct for step in plan.steps) >= 10 - 0.01, "a lower reserve frees nothing of the plan's"


def test_an_order_that_is_over_says_nothing() -> None:
    _, free = under()
    _, plan = under(order(OrderKind.HOLD, hours=-1.0))
    assert plan.steps == free.steps


def test_what_an_order_takes_of_the_peak_is_in_the_plan() -> None:
    changes = {"tariff": {"demand_eur_per_kw_month": 10.0}}
    _, plan = under(order(OrderKind.SETPOINT, -40_000.0, hours=0.5), soc_pct=20.0, **changes)
    assert plan.peak_target_w == pytest.approx(70_000.0, abs=50)


def test_one_pcs_of_two_disabled_leaves_the_other() -> None:
    halves = tuple(PcsRatings(id=id, battery="bat1", charge_w=30_000, discharge_w=30_000) for id in ("pcs1", "pcs2"))
    config = msgspec.structs.replace(site(), pcs=halves)
    inputs = ask(config, PRICES, FLAT_W, soc_pct=50.0, orders=(order(OrderKind.DISABLE, target="pcs2", hours=3.0),))
    plan = make_plan(inputs)
    assert min(step.battery_w for step in plan.steps[:12]) == pytest.approx(-30_000.0)
    assert not any("order" in words(step.reason) for step in plan.steps), "the battery is free"


# ── from plan to plan ───────────────────────────────────────────────────────────────────────────────────────────────


def sticky() -> DispatchConfig:
    """Keeps a plan that can be followed at any price."""
    return msgspec.structs.replace(site(), plan=msgspec.structs.replace(site().plan, hysteresis_pct=10.0))


def powers(plan: Plan) -> list[float]:
    return [step.battery_w for step in plan.steps]


def test_a_plan_that_contradicts_an_order_is_not_kept_nor_one_of_an_order_that_is_over() -> None:
    free = ask(sticky(), PRICES, FLAT_W, soc_pct=50.0)
    first = make_plan(free)
    assert powers(first)[0] == 0, "it does what a hold asks, by itself, for an hour"
    held = msgspec.structs.replace(free, orders=(order(OrderKind.HOLD, hours=0.5),))
    under_it = make_plan(held, before=first)
    assert under_it.steps[0].order == "o1"
    over = make_plan(free, before=under_it)
    assert [step.order for step in over.steps] == [""] * 96
    another = msgspec.structs.replace(held, orders=(msgspec.structs.replace(held.orders[0], id="o2"),))
    assert words(make_plan(another, before=under_it).steps[0].reason).startswith("order o2")


def test_under_the_same_order_the_rest_of_the_plan_stays() -> None:
    orders = (order(OrderKind.IMPORT_TARGET, 40_000.0, hours=1.0),)
    first = make_plan(ask(sticky(), PRICES, FLAT_W, soc_pct=50.0, orders=orders))
    flipped = hourly([100.0] * 2 + [300.0] * 4 + [20.0] * 4 + [100.0] * 26)
    changed = ask(site(), flipped, [31_000.0], soc_pct=50.0, orders=orders)
    assert powers(make_plan(changed, before=first))[4:] != pytest.approx(powers(first)[4:], abs=1)
    dearer = hourly([100.0] * 2 + [20.1] + [20.0] * 3 + [300.0] * 4 + [100.0] * 26)
    near = ask(sticky(), dearer, [31_000.0], soc_pct=50.0, orders=orders)
    assert powers(make_plan(near))[8:24] != pytest.approx(powers(first)[8:24], abs=1)
    stayed = make_plan(near, before=first)
    assert powers(stayed)[8:24] == pytest.approx(powers(first)[8:24], abs=1)
    assert powers(stayed)[:4] == pytest.approx([-9_000.0] * 4), "the order is followed with the load of now"
    assert check_plan(stayed, near) == []


def test_the_rules_do_not_go_on_with_an_order_that_is_over() -> None:
    steps = tuple(msgspec.structs.replace(step, order="o1", reason=plain("order o1")) for step in a_plan(15_000).steps)
    plan = msgspec.structs.replace(a_plan(15_000), steps=steps)
    calm, busy = a_snapshot(0.0, 20_000), a_snapshot(0.0, 45_000)
    decision = started(site_config(), calm).step(calm, plan)
    assert decision.battery_w == 0
    assert words(trace(decision, "plan").reason) == "order o1 is over: hold until the next plan"
    decision = started(site_config(), busy).step(busy, plan)
    assert decision.battery_w is not None
    assert decision.battery_w > 10_000, "the peak is held all the same"


# ── whatever is asked ───────────────────────────────────────────────────────────────────────────────────────────────

VALUES = st.floats(-150_000, 150_000)
KINDS = st.sampled_from([OrderKind.SETPOINT, OrderKind.IMPORT_TARGET, OrderKind.HOLD, OrderKind.SOC_TARGET])


@pytest.mark.soak
@settings(max_examples=examples(20))
@given(kind=KINDS, value=VALUES, soc_pct=st.floats(40, 70), net_w=st.floats(-70_000, 160_000))
def test_a_step_under_an_order_is_what_the_rules_make_of_it(
    kind: OrderKind, value: float, soc_pct: float, net_w: float
) -> None:
    """Against the rules themselves, at a tick with the forecast's load. SoC is where no limit comes near."""
    config = site_config(contracted_peak_w=200_000, reserve_h=1.0)
    value = abs(value) / 1_500 if kind is OrderKind.SOC_TARGET else value
    asked = an_order(kind, value)
    decision = decide(asked, snapshot=a_snapshot(0.0, net_w, battery=a_battery(soc_pct)), contracted_peak_w=200_000,
                      reserve_h=1.0)  # fmt: skip
    inputs = ask(config, PRICES, [max(0.0, net_w)], now_utc_s=T0 + 2.8, soc_pct=soc_pct, orders=(asked,))
    inputs = msgspec.structs.replace(inputs, pv_w=(max(0.0, -net_w),))
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    assert plan.steps[0].battery_w == pytest.approx(decision.battery_w, abs=5)


@pytest.mark.soak
@settings(max_examples=examples(20), deadline=None)
@given(
    kind=KINDS,
    value=VALUES,
    hours=st.floats(0.001, 30),
    soc_pct=st.floats(0, 100),
    late_s=st.floats(0, 899.999),
    loads_w=st.lists(st.floats(0, 150_000), min_size=1, max_size=96),
    pv_w=st.floats(0, 150_000),
    reserve_h=st.floats(0, 6),
    disabled=st.booleans(),
    reserve_pct=st.none() | st.floats(0, 100),
    demand=st.sampled_from([0.0, 10.0]),
)
def test_no_order_breaks_a_plan(
    kind: OrderKind,
    value: float,
    hours: float,
    soc_pct: float,
    late_s: float,
    loads_w: list[float],
    pv_w: float,
    reserve_h: float,
    disabled: bool,
    reserve_pct: float | None,
    demand: float,
) -> None:
    """Whatever is asked: a plan, balanced and within limits (`check_plan`), whose steps obey the order within these."""
    value = abs(value) / 1_500 if kind is OrderKind.SOC_TARGET else value
    orders = [order(kind, value, hours)]
    orders += [order(OrderKind.DISABLE, target="pcs1", hours=hours / 2)] if disabled else []
    orders += [order(OrderKind.RESERVE_LEVEL, reserve_pct)] if reserve_pct is not None else []
    config = site(
        reserve={"hours": reserve_h, "critical_load_w": 10_000.0}, tariff={"demand_eur_per_kw_month": demand},
        grid={"contracted_peak_w": 60_000.0, "export_limit_w": 40_000.0},
    )  # fmt: skip
    inputs = ask(config, PRICES, loads_w, soc_pct=soc_pct, now_utc_s=NOON + late_s, orders=tuple(orders))
    inputs = msgspec.structs.replace(inputs, pv_w=(pv_w,), interval_energy_wh=3_000.0)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    stands = orders[0].ends_utc_s > inputs.now_utc_s
    held = [step for step in plan.steps if stands and step.start_utc_s < orders[0].ends_utc_s]
    assert [step.order for step in plan.steps] == ["o1"] * len(held) + [""] * (96 - len(held))
    assert all(words(step.reason).startswith("order o1 of anna, ") for step in held)
    for step in held[: -1 if hours < 24 else None]:
        net_w = step.load_w - step.pv_w
        wanted_w = {OrderKind.SETPOINT: value, OrderKind.IMPORT_TARGET: net_w - value}.get(kind, 0.0)
        if kind is not OrderKind.SOC_TARGET and step.battery_w != pytest.approx(wanted_w, abs=50):
            assert "; held " in words(step.reason), "what holds an order back is named"
            off = disabled and step.start_utc_s < orders[1].ends_utc_s
            fuse = step.grid_w == pytest.approx(config.grid.fuse_w, abs=5) or step.battery_w == -60_000
            export = step.grid_w == pytest.approx(-40_000, abs=5) or step.battery_w == 60_000
            empty = step.soc_pct <= max(reserve_soc_pct(config), reserve_pct or 0, 10.0) + 0.1
            full = step.soc_pct >= 90 - 0.1
            assert off or fuse or export or full or empty
