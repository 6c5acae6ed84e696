"""Each reason for a charge, in a plan where nothing but its cause exists: without the cause nothing is charged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from plan_site import NOON, ask, hourly, promised, site

from dispatch.model.job_outlook import SHOWN_STARTS, ExpectedStart
from dispatch.model.plan import Plan, PlanStep
from dispatch.orders.reservation_book import with_reserved
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.peak.outlook import PeakOutlook
from dispatch.planning.planner import make_plan
from dispatch.wording.catalogue import words

FLAT = hourly([80.0] * 24)
PEAKS: dict[str, Any] = {"tariff": {"demand_eur_per_kw_month": 10.0}}


def charging(plan: Plan) -> list[PlanStep]:
    return [step for step in plan.steps if step.battery_w < -50]


def told(plan: Plan) -> set[str]:
    """The different reasons of its charging steps, without what holds them back."""
    return {words(step.reason).removesuffix(", held to the peak") for step in charging(plan)}


def reserved(inputs: PlanInputs, *there: Any) -> PlanInputs:
    load = with_reserved(inputs.load, there, inputs.now_utc_s)
    return msgspec.structs.replace(inputs, load=load, reservations=there)


def test_nothing_charges_without_a_cause() -> None:
    assert charging(make_plan(ask(site(**PEAKS), FLAT, [20_000], month_peak_w=35_000))) == []


def test_a_price() -> None:
    plan = make_plan(ask(site(), hourly([41.0] * 5 + [96.0] + [50.0] * 18), [10_000]))
    assert told(plan) == {"price 4.1 → 9.6 ct/kWh at 19:00"}
    assert {words(s.reason) for s in plan.steps if s.battery_w > 50} == {"export earns 9.6 ct/kWh"}


def test_a_price_that_is_not_published_is_called_assumed() -> None:
    """The same day before, and nothing of today: the plan trades on it, and says on what."""
    day = [41.0] * 5 + [96.0] + [50.0] * 18
    before = NOON - 86_400
    assert told(make_plan(ask(site(), hourly(day, before), [10_000]))) == {
        "price 4.1 → 9.6 ct/kWh at 19:00, both assumed from past days"
    }
    some = make_plan(ask(site(), hourly([*day, *day[:5]], before), [10_000]))
    assert told(some) == {"price 4.1 → 9.6 ct/kWh at 19:00, 9.6 assumed from past days"}
    assert {words(s.reason) for s in some.steps if s.battery_w > 50} == {
        "export earns 9.6 ct/kWh, assumed from past days"
    }
    none = make_plan(ask(site(**PEAKS), hourly([None] * 24), [20_000], soc_pct=80.0, month_peak_w=35_000))
    assert all("assumed as no price is known" in words(s.reason) for s in none.steps if "ct/kWh" in words(s.reason))


def test_a_time_on_another_day_names_its_day() -> None:
    plan = make_plan(ask(site(), hourly([50.0] * 14 + [41.0] * 5 + [96.0] + [50.0] * 4), [10_000]))
    assert told(plan) == {"price 4.1 → 9.6 ct/kWh at Wed 09:00"}


def test_a_reservation() -> None:
    inputs = ask(site(**PEAKS), FLAT, [20_000], month_peak_w=35_000)
    plan = make_plan(reserved(inputs, promised(NOON + 8 * 3600 + 1200, 2.0, name="render-7")))
    assert told(plan) == {"reservation r1 at 22:20"}
    assert max(step.grid_w for step in plan.steps) <= 35_001
    assert {words(s.reason) for s in plan.steps if s.battery_w > 50} == {
        "keeps import below the month's peak 35.0 kW: reservation r1 since 22:20"
    }
    kept = [
        words(s.reason) for s in plan.steps if s.battery_w == 0 and s.soc_pct > 20 and s.start_utc_s < NOON + 8 * 3600
    ]
    assert all(reason == "kept: reservation r1 at 22:20" for reason in kept)


def test_a_reservation_is_not_blamed_for_a_peak_that_comes_without_it() -> None:
    loads = [20_000] * 32 + [50_000] * 8 + [20_000]
    inputs = ask(site(**PEAKS), FLAT, loads, month_peak_w=35_000)
    assert told(make_plan(inputs)) == {"month's peak 35.0 kW at risk at 22:00"}
    small = reserved(inputs, promised(NOON + 8 * 3600, 2.0, power_w=1_000, name="render-7"))
    assert told(make_plan(small)) == {"month's peak 35.0 kW at risk at 22:00"}
    elsewhere = reserved(inputs, promised(NOON + 3600, 1.0, power_w=5_000, name="render-7"))
    assert told(make_plan(elsewhere)) == {"month's peak 35.0 kW at risk at 22:00"}


def test_the_next_pulse_whenever_it_comes() -> None:
    ready = tuple((0.02,) * 5 if k > 4 else (0.0,) * 5 for k in range(96))
    outlook = PeakOutlook(target_w=55_200, rises=(), usual_w=55_200, ready=ready)
    inputs = ask(site(**PEAKS), FLAT, [20_000], month_peak_w=55_200, peak=outlook)
    assert told(make_plan(inputs)) == {"month's peak 55.2 kW at risk when the next pulse comes"}
    none = msgspec.structs.replace(outlook, ready=((0.0,) * 5,) * 96)
    assert told(make_plan(msgspec.structs.replace(inputs, peak=none))) == set()


def test_a_peak_that_the_plan_lets_rise_is_not_called_the_months() -> None:
    """Found on the first day of a month: "month's peak 36.2 kW at risk", with 0.9 kW so far."""
    loads = [20_000] * 32 + [50_000] * 16 + [20_000]
    plan = make_plan(ask(site(**PEAKS), FLAT, loads, month_peak_w=900))
    assert plan.peak_target_w > 10_000
    (reason,) = {r for r in told(plan) if "at risk" in r}
    assert reason.startswith("planned peak ")


def test_the_fuse() -> None:
    config = site(grid={"fuse_a": 100.0, "contracted_peak_w": 60_000.0})
    plan = make_plan(ask(config, FLAT, [20_000] * 16 + [75_000] * 4 + [20_000]))
    assert told(plan) == {"fuse 69.0 kW at risk at 18:00"}


def test_the_reserve_pv_and_a_price_below_nothing() -> None:
    kept = site(reserve={"hours": 2, "critical_load_w": 9_000})
    assert told(make_plan(ask(kept, FLAT, [10_000], soc_pct=15.0))) == {"back to the reserve, SoC 30 %"}
    sunny = ask(site(grid={"export_limit_w": 0.0}), FLAT, [5_000], pv_w=(25_000.0,) * 8 + (0.0,) * 88)
    assert told(make_plan(sunny)) == {"PV surplus"}
    paid = ask(site(), hourly([-50.0] * 4 + [80.0] * 20), [10_000])
    assert told(make_plan(paid)) == {"import is paid, -5.0 ct/kWh"}


def test_what_is_left_at_the_end_is_for_what_comes_after() -> None:
    resting = site(rest_soc_pct=60.0)
    plan = make_plan(ask(resting, hourly([80.0] * 20 + [70.0] * 4), [10_000]))
    assert told(plan) == {"7.0 ct/kWh, energy for what comes after the plan"}


def test_the_peak_named_is_that_of_its_own_month() -> None:
    start = int(datetime(2025, 9, 30, 12, tzinfo=UTC).timestamp())  # October begins at 22:00 UTC, midnight
    loads = [20_000] * 48 + [50_000] * 4 + [20_000]
    inputs = ask(
        site(**PEAKS), hourly([80.0] * 24, start), loads, now_utc_s=start, month_peak_w=60_000, peak_prior_w=30_000.0
    )
    assert told(make_plan(inputs)) == {"month's peak 30.0 kW at risk at Wed 02:00"}


def waiting(inputs: PlanInputs, *there: ExpectedStart) -> PlanInputs:
    """The same with jobs that are expected to start, in the load."""
    part_w = [0.0] * len(inputs.load.load_w)
    for job in there:
        for k in range(len(part_w)):
            at_s = inputs.load.start_utc_s + 900 * k
            part_w[k] += job.power_w if job.start_utc_s <= at_s < job.end_utc_s else 0.0
    load_w, low_w, high_w = (
        tuple(a + b for a, b in zip(values, part_w, strict=True))
        for values in (inputs.load.load_w, inputs.load.low_w, inputs.load.high_w)
    )
    load = msgspec.structs.replace(inputs.load, load_w=load_w, low_w=low_w, high_w=high_w)
    return msgspec.structs.replace(inputs, load=load, waiting_w=tuple(part_w), expected=there)


def test_waiting_jobs() -> None:
    inputs = ask(site(**PEAKS), FLAT, [20_000], month_peak_w=35_000)
    begins = NOON + 8 * 3600
    large = ExpectedStart("4711", begins, begins + 7200, 20_000.0, "scheduler")
    plan = make_plan(waiting(inputs, large))
    assert told(plan) == {"month's peak 35.0 kW at risk at 22:00: job 4711 is expected from 22:00"}
    assert {words(s.reason) for s in plan.steps if s.battery_w > 50} == {
        "keeps import below the month's peak 35.0 kW: job 4711 is expected from 22:00"
    }
    small = ExpectedStart("4712", begins - 900, begins + 7200, 2_000.0, "queue")
    both = make_plan(waiting(inputs, small, large))
    assert told(both) == {
        "month's peak 35.0 kW at risk at 22:00: jobs that wait are expected, the largest is 4711 from 22:00"
    }


def test_one_of_many_waiting_jobs_is_not_named_alone() -> None:
    """Only the largest are known by name: smaller ones may start beside it."""
    inputs = ask(site(**PEAKS), FLAT, [20_000], month_peak_w=35_000)
    begins, later = NOON + 8 * 3600, NOON + 400 * 3600
    large = ExpectedStart("4711", begins, begins + 7200, 20_000.0, "scheduler")
    others = (ExpectedStart(f"{n}", later, later + 7200, 25_000.0, "queue") for n in range(SHOWN_STARTS - 1))
    assert told(make_plan(waiting(inputs, *others, large))) == {
        "month's peak 35.0 kW at risk at 22:00: jobs that wait are expected, the largest is 4711 from 22:00"
    }


def test_waiting_jobs_are_not_blamed_for_a_load_that_passes_the_peak_without_them() -> None:
    inputs = ask(site(**PEAKS), FLAT, [20_000] * 32 + [40_000] * 8 + [20_000] * 8, month_peak_w=35_000)
    begins = NOON + 8 * 3600
    plan = make_plan(waiting(inputs, ExpectedStart("4711", begins, begins + 7200, 2_000.0, "queue")))
    assert told(plan)
    assert not any("4711" in words(step.reason) for step in plan.steps)
