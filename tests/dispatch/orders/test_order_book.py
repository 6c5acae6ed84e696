"""Manual orders in the chain of rules: what they move, what wins over them, how they end."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import T0, Plant, a_battery, a_pcs, a_plan, a_snapshot, an_order, decide, site_config, started, trace
from soak_sizes import examples

from dispatch.config.schema import BatteryConfig, NodeTerms, PcsRatings
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision, Mode
from dispatch.model.equipment import Node
from dispatch.model.orders import Order, OrderKind, Wanted, slot
from dispatch.model.readings import reading, status
from dispatch.model.reasons import RuleId
from dispatch.model.rule_chain import LIMITS
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import OrderBook, soc_power_w
from dispatch.orders.validation import preview
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import span

# ── effect ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "value", "battery_w"),
    [
        (OrderKind.SETPOINT, 20_000.0, 20_000.0),
        (OrderKind.SETPOINT, -12_345.0, -12_345.0),
        (OrderKind.SETPOINT, 100.0, 100.0),  # within the deadband of what was asked before: to the watt all the same
        (OrderKind.IMPORT_TARGET, 5_000.0, 15_000.0),
        (OrderKind.IMPORT_TARGET, -4_000.0, 24_000.0),
        (OrderKind.HOLD, 0.0, 0.0),
    ],
)
def test_the_first_tick_with_an_order_obeys_it_and_says_whose_it_is(
    kind: OrderKind, value: float, battery_w: float
) -> None:
    decision = decide(an_order(kind, value))
    assert decision.battery_w == pytest.approx(battery_w)
    assert decision.mode is Mode.MANUAL
    assert decision.binding == RuleId.MANUAL
    assert "order o1 of alice" in words(decision.reason)
    assert "feeder test" in words(decision.reason)


def test_an_order_outranks_peak_ramp_and_plan_and_the_chain_says_so() -> None:
    snapshot = a_snapshot(0.0, 14_000)
    controller = started(site_config(contracted_peak_w=15_000, ramp_w_per_s=500), snapshot)
    controller.step(snapshot, a_plan(9_000))
    later = msgspec.structs.replace(snapshot, utc_s=T0 + 0.2, mono_s=0.2)
    decision = controller.step(later, a_plan(9_000), orders=[an_order(OrderKind.SETPOINT, -10_000)])
    assert decision.battery_w == -10_000
    assert "cannot be met" in words(trace(decision, "grid ramp").reason)
    assert words(trace(decision, "plan").reason) == "not in force: order o1 steers"


@pytest.mark.soak
@settings(max_examples=examples(60))
@given(
    kind=st.sampled_from([OrderKind.SETPOINT, OrderKind.IMPORT_TARGET, OrderKind.SOC_TARGET, OrderKind.HOLD]),
    value=st.floats(-80_000, 80_000),
    soc_pct=st.floats(0, 100),
    grid_w=st.floats(-60_000, 140_000),
    bms_w=st.floats(0, 60_000),
    control=st.sampled_from(["remote", "local"]),
    switch=st.sampled_from(["closed", "open", None]),
    reserve_h=st.sampled_from([0.0, 2.0]),
)
def test_limits_and_safety_always_win(
    kind: OrderKind,
    value: float,
    soc_pct: float,
    grid_w: float,
    bms_w: float,
    control: str,
    switch: str | None,
    reserve_h: float,
) -> None:
    """Whatever is ordered, the battery stays inside what rules 0 to 4 leave, and gets nothing where they forbid it."""
    if kind is OrderKind.SOC_TARGET:
        value = abs(value) / 1000
    pcs = a_pcs(0.0, control=status(control), charge_limit_w=a_pcs(bms_w).w, discharge_limit_w=a_pcs(bms_w).w)
    snapshot = a_snapshot(0.0, grid_w, pcs, a_battery(soc_pct), switch)
    decision = decide(an_order(kind, value), snapshot=snapshot, reserve_h=reserve_h)
    before = decide(snapshot=snapshot, reserve_h=reserve_h)
    limits = [t for t in decision.chain if t.rule in LIMITS]
    assert [(t.low_w, t.high_w) for t in limits] == [(t.low_w, t.high_w) for t in before.chain if t.rule in LIMITS]
    assert (decision.battery_w is None) == (before.battery_w is None)
    if decision.battery_w is not None:
        assert limits[-1].low_w - 1e-6 <= decision.battery_w <= limits[-1].high_w + 1e-6
        if decision.mode is Mode.MANUAL and kind is OrderKind.SETPOINT and abs(decision.battery_w - value) > 1:
            assert decision.binding != RuleId.MANUAL, "what holds an order back is named"


def test_an_order_ends_with_its_time_and_the_rules_are_back() -> None:
    book, controller = OrderBook(), started(site_config(), a_snapshot(0.0, 20_000))
    book.put(an_order(OrderKind.SETPOINT, 20_000, ends_s=1.0))
    modes = []
    for n in range(12):
        snapshot = a_snapshot(0.2 * n, 20_000)
        over = book.expire(snapshot.mono_s)
        modes.append(controller.step(snapshot, None, orders=book.active).mode)
        assert [o.id for o in over] == (["o1"] if n == 5 else [])
    assert modes == [Mode.MANUAL] * 5 + [Mode.RULES] * 7


def test_while_the_last_command_is_held_the_reason_is_the_meter_not_the_order() -> None:
    """Found with the meter hanging: header SAFE over `manual: order …`, as both ask for the same power."""
    order = an_order(OrderKind.SETPOINT, 12_000.0)
    controller = started(site_config(), a_snapshot(0.0, 20_000))
    controller.step(a_snapshot(0.0, 20_000), None, orders=[order])
    decision = controller.step(a_snapshot(0.2, None), None, orders=[order])
    assert decision.battery_w == 12_000.0
    assert decision.mode is Mode.SAFE
    assert decision.binding == RuleId.SAFE_VALUE
    assert "no reading from grid meter" in words(decision.reason)


def test_meter_lost_the_safe_value_wins() -> None:
    decision = decide(an_order(OrderKind.SETPOINT, 20_000), snapshot=a_snapshot(0.0, None))
    assert decision.mode is Mode.SAFE
    assert decision.binding == RuleId.SAFE_VALUE
    assert "manual cannot be met: asks at least 20.0 kW" in words(decision.reason)


# ── SoC, reserve, devices ───────────────────────────────────────────────────────────────────────────────────────────


class Ordered(Controller):
    """A controller with an order for as long as it lasts."""

    orders: tuple[Order, ...] = ()

    def step(self, snapshot: Snapshot, plan: object, **_: object) -> Decision:
        return super().step(snapshot, None, orders=[o for o in self.orders if snapshot.mono_s < o.ends_mono_s])


@pytest.mark.parametrize(("start_pct", "target_pct"), [(60.0, 63.0), (60.0, 57.0)])
def test_a_soc_target_is_reached_by_its_time(start_pct: float, target_pct: float) -> None:
    controller = Ordered(site_config(contracted_peak_w=60_000))
    controller.orders = (an_order(OrderKind.SOC_TARGET, target_pct, ends_s=600.0),)
    plant = Plant(controller, lambda t: 20_000, soc_pct=start_pct, rate_hz=2.0).run(595)
    assert plant.soc_pct == pytest.approx(target_pct, abs=0.3)
    first, half = plant.powers[20], plant.powers[600]
    assert half == pytest.approx(first, rel=0.1), "evenly"


def test_a_soc_target_gives_way_to_the_peak_while_there_is_time() -> None:
    """30 kW contracted, 28 kW load: with an hour left the peak is held, with just enough time it is not."""
    early = decide(an_order(OrderKind.SOC_TARGET, 70, ends_s=3600.0), snapshot=a_snapshot(0.0, 28_000))
    assert trace(early, "manual").preferred_w == pytest.approx(soc_power_w(site_config(), 60, 70, 3597.2), rel=0.01)
    assert early.battery_w is not None
    assert 28_000 - early.battery_w <= 30_000
    late = decide(an_order(OrderKind.SOC_TARGET, 70, ends_s=660.0), snapshot=a_snapshot(0.0, 28_000))
    assert late.battery_w == pytest.approx(-58_250, rel=0.01)
    assert "no time left to give way" in words(late.reason)


def test_a_reserve_level_moves_rule_4() -> None:
    soc_55 = a_snapshot(0.0, 20_000, battery=a_battery(55.0))
    raised = an_order(OrderKind.RESERVE_LEVEL, 70)
    decision = decide(raised, an_order(OrderKind.SETPOINT, 20_000, id="o2"), snapshot=soc_55, reserve_h=1)
    assert decision.battery_w is not None
    assert decision.battery_w <= 0
    assert "reserve 70.0 % (order o1 of alice" in words(trace(decision, "reserve").reason)
    assert "reserve" in words(decision.reason)
    none_declared = decide(raised, snapshot=soc_55)
    assert "refill while import stays under" in words(trace(none_declared, "reserve").reason)


def test_a_disabled_pcs_goes_to_zero_and_the_other_carries() -> None:
    two = (
        PcsRatings(id="pcs1", battery="bat1", charge_w=30_000, discharge_w=30_000),
        PcsRatings(id="pcs2", battery="bat2", charge_w=30_000, discharge_w=30_000),
    )
    batteries = (BatteryConfig(id="bat1", energy_kwh=50), BatteryConfig(id="bat2", energy_kwh=50))
    snapshot = a_snapshot(
        0.0,
        20_000,
        (a_pcs(10_000.0), msgspec.structs.replace(a_pcs(10_000.0), id="pcs2")),
        (a_battery(60.0), msgspec.structs.replace(a_battery(60.0), id="bat2")),
    )
    orders = (an_order(OrderKind.SETPOINT, 20_000), an_order(OrderKind.DISABLE, target="pcs1", id="o2"))
    decision = decide(*orders, snapshot=snapshot, pcs=two, batteries=batteries)
    assert {s.device_id: s.w for s in decision.setpoints} == {"pcs1": 0.0, "pcs2": 20_000.0}


# ── book and preview ────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_order_per_slot() -> None:
    book = OrderBook()
    first, second = an_order(OrderKind.SETPOINT, 1.0), an_order(OrderKind.HOLD, id="o2")
    cap = an_order(OrderKind.NODE_CAP, 900.0, "gpu-01", id="o3")
    assert (book.put(first), book.put(cap), book.put(second)) == (None, None, first)
    assert book.active == (cap, second)
    assert slot(OrderKind.IMPORT_TARGET, "") == second.slot == "battery"
    assert book.end("o2") == second
    with pytest.raises(LookupError, match="no order 'o2' is in force: o3"):
        book.end("o2")


@pytest.mark.parametrize("step_s", [-86_400.0, -1.0, 3_600.0])
def test_an_order_ends_when_it_would_have_whatever_the_clock_is_set_to(step_s: float) -> None:
    """Found: an hour ahead, the plan took an order as over that had half an hour to go, and "until" was past."""
    book, order = OrderBook(), an_order(OrderKind.HOLD)
    book.put(order)
    left_s = order.left_s(0.0) - 60
    book.follow_clock(order.given_utc_s + 60 + step_s, order.ends_mono_s - left_s)
    (after,) = book.active
    assert after.ends_utc_s == pytest.approx(order.given_utc_s + 60 + step_s + left_s)
    assert after.ends_utc_s - after.given_utc_s == pytest.approx(order.ends_utc_s - order.given_utc_s)
    assert book.expire(after.ends_mono_s - 1) == ()
    assert book.expire(after.ends_mono_s) == (after,)


def test_preview_shows_old_new_range_and_what_sets_it() -> None:
    config = site_config(reserve_h=2)
    snapshot = a_snapshot(0.0, 20_000, battery=a_battery(40.0))
    decision = decide(snapshot=snapshot, reserve_h=2)
    shown = preview(Wanted(OrderKind.IMPORT_TARGET, 45_000, reason="abc"), config, snapshot, decision, ())
    assert (words(shown.old), words(shown.new), shown.for_s) == ("import 20.0 kW", "import 45.0 kW", 900.0)
    assert (shown.low, shown.high) == (pytest.approx(-20_000), pytest.approx(80_000))
    assert words(shown.low_why).startswith("fuse: import at most")
    assert words(shown.high_why) == "ratings of the PCS in the site file"
    (note,) = shown.notes
    assert words(note) == "import of 45.0 kW is above the contracted peak 30.0 kW: an order outranks the budget"


@pytest.mark.parametrize(("declared", "read"), [(True, False), (False, True), (False, False)])
def test_a_cap_on_a_critical_node_says_so(declared: bool, read: bool) -> None:
    config = msgspec.structs.replace(site_config(), nodes=(NodeTerms(id="gpu-01", critical=declared),))
    snapshot = a_snapshot(0.0, 20_000, nodes=(Node("gpu-01", critical=read),))
    decision = Controller(config).step(snapshot, None)
    asked = Wanted(OrderKind.NODE_CAP, 900, "gpu-01", "heat")
    shown = preview(asked, config, snapshot, decision, (), frozenset({"gpu-01"}))
    assert tuple(words(note) for note in shown.notes) == (("gpu-01 is critical",) if declared or read else ())


@pytest.mark.parametrize(("drawn_w", "told"), [(8_200.0, True), (300.0, False), (None, False)])
def test_a_cap_says_what_the_node_draws_now_where_that_is_more(drawn_w: float | None, told: bool) -> None:
    config, snapshot = site_config(), a_snapshot(0.0, 20_000, nodes=(Node("gpu-01", w=reading(drawn_w)),))
    asked = Wanted(OrderKind.NODE_CAP, 600, "gpu-01", "heat")
    shown = preview(asked, config, snapshot, Controller(config).step(snapshot, None), (), frozenset({"gpu-01"}))
    line = "gpu-01 draws 8.2 kW now: its jobs slow down"
    assert tuple(words(note) for note in shown.notes) == ((line,) if told else ())


@pytest.mark.parametrize(("seconds", "said"), [(45, "45 s"), (900, "15 min"), (3600, "1 h"), (9000, "2 h 30 min")])
def test_spans(seconds: float, said: str) -> None:
    assert span(seconds) == said
