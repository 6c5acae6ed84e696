"""The running interval under plans that come and go: none breaks the ramp, none raises an alarm of its own."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import Plant, a_plan, a_snapshot, site_config, trace
from soak_sizes import examples

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.plan import Plan
from dispatch.model.reasons import RuleId
from dispatch.wording.catalogue import words

RAMP = 500.0
DEADBAND_W = 250.0


def made_at(t_s: float, peak_target_w: float) -> Plan:
    plan = a_plan(0.0, peak_target_w=peak_target_w)
    return msgspec.structs.replace(plan, made_utc_s=plan.made_utc_s + t_s)


def alarms(plant: Plant) -> set[str]:
    controller = plant.controller
    facts = Facts(config=controller.config, interval=controller.interval)
    found = conditions(plant.snapshot(), plant.decisions[-1], facts)
    return {name for name, condition in found.items() if condition.active and name.startswith("peak")}


def a_plant(load_w: float = 26_000.0, plan: Plan | None = None) -> Plant:
    controller = Controller(site_config(contracted_peak_w=34_000, ramp_w_per_s=RAMP, delay_max_s=1.0))
    return Plant(controller, lambda t_s: load_w, rate_hz=1.0, plan=plan)


@pytest.mark.soak
@given(
    at_s=st.integers(20, 290),
    before_w=st.floats(25_000, 40_000),
    target_w=st.floats(0, 40_000),
    load_w=st.floats(15_000, 33_000),
)
@settings(max_examples=examples(4))
def test_no_new_plan_breaks_the_ramp_or_raises_an_alarm(
    at_s: int, before_w: float, target_w: float, load_w: float
) -> None:
    """Import is below the contract throughout: whatever a plan wants, nothing else is a reason."""
    plant = a_plant(load_w, made_at(0, before_w))
    plant.t_s = 600.0
    plant.run(at_s)
    plant.plan = made_at(at_s, target_w)
    for _ in range(299 - at_s):
        plant.run(1)
        assert not alarms(plant)
        interval = plant.controller.interval
        assert plant.decisions[-1].binding is not RuleId.INTERVAL_BUDGET
        assert interval.limit_w >= interval.energy_wh * 3600 / interval.length_s
    steps = [abs(b - a) for a, b in zip(plant.imports[at_s - 1 :], plant.imports[at_s:], strict=False)]
    assert max(steps) <= RAMP + 2 * DEADBAND_W


def test_a_target_lowered_early_is_kept_and_named() -> None:
    plant = a_plant(plan=made_at(0, 34_000)).run(60)
    plant.plan = made_at(60, 22_000)
    plant.run(60)
    decision = plant.decisions[-1]
    assert decision.binding is RuleId.PLAN
    assert "up to the planned peak 22.0 kW" in words(decision.reason)
    assert plant.controller.interval.limit_w == 22_000
    plant.run(785)
    assert plant.controller.month_peak_w == pytest.approx(22_000, rel=0.02)


def test_a_target_lowered_in_the_last_seconds_changes_nothing() -> None:
    plant = a_plant(plan=made_at(0, 34_000)).run(872)
    before_w = plant.powers[-1]
    plant.plan = made_at(872, 5_000)
    plant.run(27)
    assert max(abs(w - before_w) for w in plant.powers[-27:]) < 500
    assert plant.controller.interval.limit_w == pytest.approx(26_000, abs=600)


def test_the_contract_is_kept_against_the_ramp_and_named() -> None:
    """A pulse far above the contract: there the ramp gives way, for a limit that is one."""
    plant = a_plant(plan=made_at(0, 20_000)).run(600)
    plant.load_w = lambda t_s: 60_000.0
    plant.run(200)
    decision = plant.decisions[-1]
    assert plant.imports[-1] < 34_000
    assert "contracted peak 34.0 kW" in words(trace(decision, "interval budget").reason)


def test_a_month_s_peak_that_the_plan_keeps_is_guarded_like_the_contract() -> None:
    plant = a_plant(load_w=20_000).run(905)
    month_w = plant.controller.month_peak_w
    assert month_w == pytest.approx(20_000, rel=0.02)
    plant.plan, plant.load_w = made_at(905, month_w), lambda t_s: 30_000.0
    plant.run(60)
    reason = words(trace(plant.decisions[-1], "interval budget").reason)
    assert "month's peak" in reason
    assert plant.decisions[-1].binding is RuleId.INTERVAL_BUDGET
    plant.plan = made_at(965, 26_000.0)  # the next plan lets it rise: the contract is all that is guarded
    plant.run(5)
    assert "contracted peak 34.0 kW" in words(trace(plant.decisions[-1], "interval budget").reason)


def test_the_alarm_names_the_peak_that_is_exceeded() -> None:
    controller = Controller(site_config(contracted_peak_w=34_000))
    decision: Decision | None = None
    for t_s in range(800):
        decision = controller.step(a_snapshot(float(t_s), 60_000.0), None)
    facts = Facts(config=controller.config, interval=controller.interval)
    found = conditions(a_snapshot(800.0, 60_000.0), decision, facts)["peak-exceeded"]
    assert found.active
    assert "above the contracted peak 34.0 kW" in words(found.detail)
