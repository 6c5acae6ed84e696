"""With how much power jobs may start now, and how many licences a scheduler keeps back for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, promised, site
from soak_sizes import examples

from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.islanding import IslandState
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.orders.reservation_book import with_reserved
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.start_allowance import (
    SETTLES_S,
    Licences,
    Load,
    SettlingJobs,
    StartAllowance,
    StartTerms,
    closed,
    kept_back,
    start_allowance,
)
from dispatch.wording.catalogue import words

H = 3600.0
TO_CONTRACT, TO_PLAN = StartTerms(H, False), StartTerms(H, True)
WHY = Reason("starts.off_grid", {"state": "islanded"})


def contract(**more: Any) -> DispatchConfig:
    """60 kW of contract and no battery: what is free is what the load leaves."""
    config = site(grid={"contracted_peak_w": 60_000.0}, **more)
    return msgspec.structs.replace(config, batteries=(), pcs=(), nameplates=())


def inputs(config: DispatchConfig, load_w: float = 20_000.0, **more: Any) -> PlanInputs:
    return ask(config, hourly([80.0] * 36), [load_w], **more)


def free_kw(told: PlanInputs, load: Load, terms: StartTerms = TO_CONTRACT, plan: Plan | None = None) -> float:
    return start_allowance(told, plan, load, terms).free_w / 1000


def test_what_would_reach_into_a_grid_event_starts_as_far_as_that_leaves_room_without_the_battery() -> None:
    event = Signal("e1", Sort.ORDER, "grid event", Quantity.IMPORT, 30_000.0, NOON + 1800, NOON + 2 * H, NOON)
    with_battery = site(grid={"contracted_peak_w": 60_000.0})
    for config in (contract(), with_battery):
        told = inputs(config, signals=(event,), soc_pct=80.0)
        found = start_allowance(told, None, Load(20_000.0, 4_000.0), TO_CONTRACT)
        assert found.free_w == 6_000, "a job of an hour would draw 30 kW with the load"
    assert "grid event e1 allows an import of 30.0 kW from 14:30, the load is 20.0 kW" in words(found.why)
    assert free_kw(told, Load(31_000.0, 0.0)) == 0, "the load alone is above it"
    export = msgspec.structs.replace(event, quantity=Quantity.EXPORT)
    later = msgspec.structs.replace(event, start_utc_s=NOON + 3700.0)
    bare = free_kw(inputs(contract()), Load(20_000.0, 0.0))
    assert free_kw(inputs(contract(), signals=(export, later)), Load(20_000.0, 0.0)) == bare


def test_what_the_load_leaves_of_the_contract_is_free() -> None:
    told = inputs(contract())
    assert free_kw(told, Load(20_000.0, 0.0)) == pytest.approx(40.0, abs=0.2)
    assert free_kw(told, Load(20_000.0, 15_000.0)) == pytest.approx(25.0, abs=0.2), "kept for jobs that have just begun"
    found = start_allowance(told, None, Load(75_000.0, 0.0), TO_CONTRACT)
    assert found.free_w < 100.0
    assert words(found.why).startswith(
        "no power is free for jobs to start with: an import of 75.0 kW is kept, the load"
    )


def test_a_forecast_of_jobs_that_wait_does_not_keep_them_waiting() -> None:
    """Found on paper: a queue in the load forecast would take up the power that it waits for, for ever."""
    assert free_kw(inputs(contract(), 59_000.0), Load(20_000.0, 0.0)) == pytest.approx(40.0, abs=0.2)


def test_reserved_power_is_not_given_to_others_before_nor_while_it_is_reserved() -> None:
    soon = promised(NOON + 1800, 2.0, 10_000.0)
    assert free_kw(with_reservation(inputs(contract()), soon), Load(20_000.0, 0.0)) == pytest.approx(30.0, abs=0.2)
    now = promised(NOON - 60, 2.0, 10_000.0)
    told = with_reservation(inputs(contract()), now)
    assert free_kw(told, Load(20_000.0, 0.0)) == pytest.approx(30.0, abs=0.2), "its job draws nothing yet"
    assert free_kw(told, Load(30_000.0, 0.0)) == pytest.approx(30.0, abs=0.2), "its job draws it"
    late = promised(NOON + 2 * H, 2.0, 10_000.0)
    assert free_kw(with_reservation(inputs(contract()), late), Load(20_000.0, 0.0)) == pytest.approx(40.0, abs=0.2)


def with_reservation(told: PlanInputs, *there: Reservation) -> PlanInputs:
    load = with_reserved(told.load, there, told.now_utc_s)
    return msgspec.structs.replace(told, load=load, reservations=tuple(there))


def test_the_battery_helps_as_long_as_it_can_and_not_under_an_order() -> None:
    config = site(grid={"contracted_peak_w": 40_000.0})
    full, empty = inputs(config, soc_pct=90.0), inputs(config, soc_pct=10.0)
    load = Load(20_000.0, 0.0)
    assert free_kw(full, load) > free_kw(empty, load) + 5
    assert free_kw(full, load, StartTerms(4 * H, False)) < free_kw(full, load), "for longer it carries less"
    hold = Order("o3", OrderKind.HOLD, 0.0, "", "tech1", "", NOON, NOON + 4 * H, 4 * H)
    held = start_allowance(msgspec.structs.replace(full, orders=(hold,)), None, load, TO_CONTRACT)
    assert held.free_w == pytest.approx(20_000, abs=200)
    assert "o3" in words(held.why)


def test_up_to_the_plans_level_where_the_site_says_so() -> None:
    config = contract(tariff={"demand": DemandTerms(eur_per_kw=10.0)})
    plan = Plan(NOON, 900, (PlanStep(NOON, 0.08, 2e4, 0.0, 0.0, 0.0, 0.0, 2e4, 10.0),), 35_000.0, 0.0, 0.0)
    told, load = inputs(config), Load(20_000.0, 0.0)
    assert free_kw(told, load, TO_PLAN, plan) == pytest.approx(15.0, abs=0.3)
    assert free_kw(told, load, TO_CONTRACT, plan) == pytest.approx(40.0, abs=0.3)


@pytest.mark.parametrize("state", [state for state in IslandState if state is not IslandState.GRID_TIED])
def test_off_the_grid_nothing_starts(state: IslandState) -> None:
    found = closed(state, None)
    assert found is not None
    assert (found.free_w, found.closed, words(found.why)) == (0.0, True, f"no job starts: the site is {state.value}")


def test_nothing_starts_while_a_contact_stops_the_battery() -> None:
    assert closed(IslandState.GRID_TIED, None) is None
    found = closed(IslandState.GRID_TIED, Reason("sets.fuse"))
    assert found is not None
    assert (found.closed, words(found.why)) == (True, "no job starts: fuse")


# ── licences ────────────────────────────────────────────────────────────────────────────────────────────────────────


def allowance(free_w: float, is_closed: bool = False) -> StartAllowance:
    return StartAllowance(free_w, is_closed, WHY)


@pytest.mark.parametrize(
    ("licences", "allowed", "before", "kept"),
    [
        (Licences(400, 0, 0), allowance(40_000.0), 0, 0),
        (Licences(400, 0, 0), allowance(30_000.0), 0, 100),
        (Licences(400, 100, 0), allowance(30_000.0), 0, 0),
        (Licences(400, 100, 0), allowance(20_050.0), 0, 100),
        (Licences(400, 300, 0), allowance(0.0), 0, 100),
        (Licences(400, 450, 0), allowance(0.0), 0, 0),  # fewer configured than jobs hold
        (Licences(400, 100, 0), allowance(0.0, True), 0, 400),
        (Licences(400, 100, 50), allowance(0.0, True), 0, 350),  # more would be refused
        (Licences(400, 0, 500), allowance(0.0), 30, 0),
        (Licences(400, 100, 0), allowance(20_000.0), 98, 100),  # more at once
        (Licences(400, 100, 0), allowance(20_000.0), 103, 103),  # fewer only by a step
        (Licences(400, 100, 0), allowance(20_000.0), 104, 100),
        (Licences(400, 100, 0), allowance(30_000.0), 2, 0),
    ],
)
def test_licences_kept_back(licences: Licences, allowed: StartAllowance, before: int, kept: int) -> None:
    assert kept_back(licences, allowed, before, True) == kept


def test_after_a_start_what_was_kept_back_is_not_given_away_before_it_is_known_who_has_just_begun() -> None:
    assert kept_back(Licences(400, 100, 0), allowance(30_000.0), 100, False) == 100
    assert kept_back(Licences(400, 100, 0), allowance(10_000.0), 100, False) == 200


counts = st.integers(0, 1000)


@given(counts, counts, counts, st.floats(0, 200_000), counts, st.booleans(), st.booleans())
@settings(max_examples=examples(100))
def test_jobs_never_start_with_more_than_is_free(
    total: int, used: int, others: int, free_w: float, before: int, settled: bool, is_closed: bool
) -> None:
    """What is left of the licences beside jobs and all reservations is within what is free; and Slurm takes it."""
    kept = kept_back(Licences(total, used, others), allowance(free_w, is_closed), before, settled)
    assert 0 <= kept <= max(0, total - others)
    left = total - used - others - kept
    assert left <= free_w / 100
    if is_closed:
        assert left <= 0


@given(counts, counts, st.floats(0, 200_000), counts, st.booleans(), st.floats(1, 100_000))
@settings(max_examples=examples(100))
def test_frames_never_start_with_more_than_is_free_and_a_limit_moves_up_by_steps(
    total: int, used: int, free_w: float, before: int, settled: bool, unit_w: float
) -> None:
    """Of a limit that counts frames of any power: `total` less what is kept is the limit."""
    kept = kept_back(Licences(total, used, 0), allowance(free_w), before, settled, unit_w)
    assert 0 <= kept <= total
    assert (total - kept - used) * unit_w <= free_w or kept == 0 or total - kept <= used
    if kept < min(before, total):
        assert settled
        assert kept == 0 or before - kept >= 0.01 * total
    again = kept_back(Licences(total, used, 0), allowance(free_w), kept, settled, unit_w)
    assert again == kept, "the same site again: the limit stays"


def test_the_last_minutes_load_and_jobs_count() -> None:
    jobs = SettlingJobs()
    assert jobs.load(0.0) is None
    jobs.observe_load(0.0, 30_000.0)
    jobs.observe_load(10.0, 20_000.0)
    jobs.observe_used(10.0, 100)
    assert jobs.load(10.0) == Load(30_000.0, 0.0)
    assert not jobs.settled(10.0)
    jobs.observe_used(20.0, 90)
    jobs.observe_used(30.0, 150)
    jobs.observe_load(60.0, 25_000.0)
    assert jobs.load(60.0) == Load(30_000.0, 6_000.0)
    jobs.observe_load(60.0 + SETTLES_S, 26_000.0)
    jobs.observe_used(60.0 + SETTLES_S, 150)
    assert jobs.load(60.0 + SETTLES_S) == Load(26_000.0, 0.0), "those jobs draw what they draw"
    assert jobs.settled(60.0 + SETTLES_S)
    assert jobs.load(1000.0) is None, "nothing was measured lately"


def test_a_job_that_starts_takes_its_power_at_once_and_once() -> None:
    """Licences before, while and after it comes to draw: what others may start with does not change meanwhile."""
    told, jobs, total = inputs(contract()), SettlingJobs(), 600
    left = []
    jobs.observe_used(0.0, 0)
    for mono_s, used, load_w in ((10, 0, 20e3), (20, 150, 20e3), (60, 150, 25e3), (150, 150, 35e3), (300, 150, 35e3)):
        jobs.observe_load(float(mono_s), load_w)
        jobs.observe_used(float(mono_s), used)
        load = jobs.load(float(mono_s))
        assert load is not None
        kept = kept_back(Licences(total, used, 0), start_allowance(told, None, load, TO_CONTRACT), 0, True)
        left.append(total - used - kept)
    assert left[0] == pytest.approx(400, abs=2)
    assert left[1] == pytest.approx(250, abs=2)
    assert max(left[1:]) <= 252
    assert left[-1] == pytest.approx(250, abs=2)
