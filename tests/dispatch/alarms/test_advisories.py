"""What a plan that cannot keep the contract says ahead of time."""

from __future__ import annotations

import msgspec
from plan_site import site

from dispatch.alarms.advisories import PlanAdvice
from dispatch.model.plan import Plan, PlanStep
from dispatch.wording.catalogue import words

START_S = 1_758_006_000  # 2025-09-16 09:00 in Oslo


def plan(*imports_w: float) -> Plan:
    steps = tuple(PlanStep(START_S + 900 * n, 0.2, w, w, w, 0.0, 0.0, w, 50.0) for n, w in enumerate(imports_w))
    return Plan(START_S, 900, steps, 30_000.0, 1.0, 2.0)


def test_a_plan_that_keeps_the_contract_says_nothing() -> None:
    config = site()
    contract_w = config.grid.contracted_peak_w
    advice = PlanAdvice(config)
    assert advice.now(None, START_S) == ()
    assert advice.now(plan(contract_w, contract_w + 40.0), START_S - 1) == ()


def test_it_names_the_first_interval_and_the_worst_of_those_to_come() -> None:
    config = site()
    contract_w = config.grid.contracted_peak_w
    made = plan(contract_w + 9_000.0, contract_w + 2_000.0, 0.0, contract_w + 5_000.0)
    advice = PlanAdvice(config)
    (found,) = advice.now(made, START_S + 60)  # the running interval has an alarm of its own
    assert words(found) == f"plan 2.0 kW above the contract {contract_w / 1000:.1f} kW at 09:15 and 1 more"
    (found,) = advice.now(made, START_S + 2000)
    assert found.figures["more"] is None
    assert advice.now(made, START_S + 2700) == ()


def test_a_metering_interval_is_judged_by_its_mean() -> None:
    config = site()
    hourly = msgspec.structs.replace(config, grid=msgspec.structs.replace(config.grid, metering_interval_s=3600.0))
    w = config.grid.contracted_peak_w
    advice = PlanAdvice(hourly)
    assert advice.now(plan(w + 4_000, w - 4_000, w, w), START_S - 1) == ()
    assert len(advice.now(plan(w + 4_000, w, w, w), START_S - 1)) == 1
    assert advice.now(plan(w, w, w, w, w + 9_000), START_S - 1) == (), "a part of an interval tells nothing"
