"""From when on the site can carry a job: computed by hand, against the linear program, and what is refused."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, promised, site
from soak_sizes import examples

from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig, PcsRatings
from dispatch.model.islanding import IslandState
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reservations import Reservation
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.reservation_book import with_reserved
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.planner import make_plan
from dispatch.planning.power_admission import Grant, PowerRequest, grant, shortfall
from dispatch.wording.catalogue import words

H = 3600.0
FLAT = hourly([80.0] * 36)


def inputs(
    config: DispatchConfig, load_w: float, there: Sequence[Reservation] = (), now: float = NOON, **more: Any
) -> PlanInputs:
    """A load that stands, and what is promised on top."""
    made = ask(config, FLAT, [load_w], now_utc_s=now, **more)
    load = with_reserved(made.load, there, now)
    return msgspec.structs.replace(made, load=load, reservations=tuple(there))


def job(kw: float = 30.0, hours: float = 2.0, within_h: float = 0.0, name: str = "") -> PowerRequest:
    return PowerRequest(power_w=1000 * kw, for_s=hours * H, within_s=within_h * H, name=name)


def keeping(peak_w: float) -> Plan:
    step = PlanStep(NOON, 0.08, 2e4, 2e4, 2e4, 0.0, 0.0, 2e4, 10.0)
    return Plan(NOON, 900, (step,), peak_w, 0.0, 0.0)


def granted(asked: PowerRequest, told: PlanInputs, plan: Plan | None = None) -> Grant:
    return grant(asked, told, plan, IslandState.GRID_TIED, told.reservations)


def refused(asked: PowerRequest, told: PlanInputs, plan: Plan | None = None) -> str:
    with pytest.raises(OrderRefused) as caught:
        granted(asked, told, plan)
    return str(caught.value)


def tight(**more: Any) -> DispatchConfig:
    """40 kW of contract; 20 kW of load leave room for 20 kW of charging."""
    return site(grid={"contracted_peak_w": 40_000.0}, **more)


def test_what_the_grid_carries_starts_at_once() -> None:
    assert granted(job(20.0, within_h=1.0), inputs(tight(), 20_000)) == Grant(NOON, 40_000.0, 0.0, 0.0, None)


def test_a_job_that_would_reach_into_a_grid_event_waits_for_its_end_or_is_refused() -> None:
    event = Signal("e1", Sort.ORDER, "grid event", Quantity.IMPORT, 25_000.0, NOON + H, NOON + 2 * H, NOON)
    told = inputs(tight(), 20_000, signals=(event,), soc_pct=80.0)
    assert granted(job(10.0, hours=1.0), told).start_utc_s == NOON, "over before it"
    assert granted(job(5.0), told).start_utc_s == NOON, "beside the load below its limit"
    waited = granted(job(10.0, within_h=3.0), told)
    assert waited.start_utc_s == NOON + 2 * H
    assert words(waited.why) == (
        "grid event e1 allows an import of 25.0 kW from 15:00: started at once it would have 5.0 kW without the battery"
    )
    line = refused(job(10.0, within_h=1.0), told)
    assert line.startswith("grid event e1 allows an import of 25.0 kW from 15:00, which leaves 5.0 kW of 10.0 kW")
    assert line.endswith("it could start at 16:00: let it wait 2 h")


def test_the_start_waits_for_the_energy() -> None:
    # 50 kW against 40, aimed at 39.6: 10.4 kW for 2 h take 23.1 kWh; 19.6 kW of room store 17.6: 79 min, so at 90
    found = granted(job(within_h=2.0), inputs(tight(), 20_000))
    assert found.start_utc_s == NOON + 90 * 60
    assert (found.rise_w, found.cost_eur) == (0.0, 0.0)
    assert words(found.why) == "started at once it would take an import of 50.0 kW, 40.0 kW is kept"
    assert granted(job(within_h=2.0), inputs(tight(), 20_000, soc_pct=33.3)).start_utc_s == NOON, "it is stored already"


def test_refused_with_the_figure_and_when_it_could_start() -> None:
    # an hour of charging up to 99 % of a level, then 2 h above that: 0.9 (x - 20) = 2 (50 - x) / 0.9, x = 41.35 kW
    line = refused(job(within_h=1.0), inputs(tight(), 20_000))
    assert line == (
        "contract: 30.0 kW for 2 h takes an import of 41.8 kW at best, started at 15:00; 40.0 kW is allowed, "
        "the battery has 0.0 kWh above its reserve now; it could start at 15:30: let it wait 1 h 30 min"
    )
    line = refused(job(30.0, 20.0), inputs(tight(), 20_000))
    assert line.endswith("no start within 24 h would do")
    bare = refused(job(), inputs(tight(battery={"energy_kwh": 0.0}), 20_000))
    assert "takes an import of 50.0 kW at best, started at 14:00; 40.0 kW is allowed, there is no battery" in bare


def test_the_months_peak_is_kept_where_waiting_does_it_and_else_costs_what_it_costs() -> None:
    config = site(grid={"contracted_peak_w": 60_000.0}, tariff={"demand_eur_per_kw_month": 10.0})
    told = inputs(config, 20_000, month_peak_w=38_000)
    waited = granted(job(within_h=2.0), told, keeping(40_000))
    assert (waited.start_utc_s, waited.rise_w) == (NOON + 90 * 60, 0.0)
    paid = granted(job(within_h=1.0), told, keeping(40_000))
    assert paid.start_utc_s == NOON + H
    assert paid.rise_w == pytest.approx(1_770, abs=60)
    assert paid.cost_eur == pytest.approx(17.7, abs=0.6)
    assert words(paid.why).endswith(f"the peak may rise by 1.8 kW to 41.8 kW: {paid.cost_eur:.2f} EUR this month")
    free = site(grid={"contracted_peak_w": 60_000.0})
    assert granted(job(within_h=2.0), inputs(free, 20_000), keeping(40_000)).start_utc_s == NOON, "peaks cost nothing"
    higher = inputs(tight(), 20_000, month_peak_w=50_000)
    assert granted(job(), higher).level_w == 50_000, "the month's peak stands above the contract"


def test_a_job_waits_for_hours_that_do_not_count_or_pays_a_days_share() -> None:
    """40 kW of import, 25 are kept until 15:00; after that the contract of 40 is the limit.

    After t minutes of charging at 5 kW, 15 kW are there until 15:00 if 4.5 t >= 16.7 (60 - t): 47, so at 15:00.
    """
    terms = DemandTerms(eur_per_kw=12.0, top_days=3, windows=("mon-fri 08:00-15:00",))
    told = inputs(tight(tariff={"demand": terms}), 20_000)
    found = granted(job(20.0, hours=0.75, within_h=2.0), told, keeping(25_000))
    assert (found.start_utc_s, found.rise_w) == (NOON + 60 * 60, 0.0)
    soon = granted(job(20.0, hours=0.75), told, keeping(25_000))
    assert soon.start_utc_s == NOON
    assert soon.cost_eur == pytest.approx(soon.rise_w / 1000 * 4.0)
    assert soon.cost_eur == pytest.approx(15 * 4, abs=1)


def test_what_is_promised_to_another_is_not_given_away() -> None:
    # no room to charge; 11.1 kWh for the job now, 33.3 for the reservation in three hours, 33.4 stored
    there = [promised(NOON + 3 * H, 1.0)]
    told = inputs(tight(), 40_000, there, soc_pct=43.4)
    assert refused(job(10.0, 1.0), told).startswith("contract: 10.0 kW for 1 h takes an import of 4")
    assert granted(job(10.0, 1.0), inputs(tight(), 40_000, soc_pct=43.4)).start_utc_s == NOON
    running = inputs(tight(), 20_000, [promised(NOON - 600, 1.0)], soc_pct=10.0 + 0.01)
    assert refused(job(10.0, 0.5), running).startswith("contract:"), "20 kW stand, 30 are promised, 40 allowed"
    assert granted(job(10.0, 0.5, 2.0), running).start_utc_s >= NOON + 50 * 60


def test_a_load_that_breaks_the_contract_by_itself_does_not_forbid_a_job_that_does_not_add_to_it() -> None:
    """The job over before: it is granted, and what it takes of the energy for the load then is told."""
    loads = [20_000] * 8 + [90_000] * 4 + [20_000]
    told = ask(tight(), FLAT, loads)
    found = granted(job(15.0, 1.0), told)
    assert found.start_utc_s == NOON
    # 15 kWh that are not charged, at 90 % each way, are missing in that hour; charging at a higher level mends some
    assert found.rise_w == pytest.approx(15_000 * 0.81 / (1 + 2 * 0.81), abs=100)
    assert "; without the job 47." in words(found.why)
    after = ask(tight(), FLAT, [90_000] * 4 + [20_000])
    assert granted(job(15.0, 1.0, 1.0), after).rise_w == 0, "nothing is left to be had of a load that was before"


def held(kind: OrderKind = OrderKind.HOLD, hours: float = 1.0, target: str = "") -> Order:
    return Order("o3", kind, 0.0, target, "tech1", "", NOON, NOON + hours * H, hours * H)


def ordered(told: PlanInputs, *orders: Order) -> PlanInputs:
    """The same, these orders standing."""
    return msgspec.structs.replace(told, orders=orders)


@pytest.mark.parametrize("order", [held(), held(OrderKind.DISABLE, target="pcs1")])
def test_a_battery_that_an_order_holds_carries_nothing(order: Order) -> None:
    """50 kW against 40, and energy enough: only once the order is over, and the answer names it."""
    told = inputs(tight(), 20_000, soc_pct=60.0)
    asked = job(30.0, 1.0, within_h=2.0)
    assert granted(asked, told) == Grant(NOON, 40_000.0, 0.0, 0.0, None)
    found = granted(asked, ordered(told, order))
    assert found.start_utc_s == NOON + H
    assert "order o3 of tech1, " in words(found.why)
    assert words(found.why).endswith("has the battery until 15:00")
    with pytest.raises(OrderRefused, match=r"takes an import of 50.0 kW .*; order o3 of tech1, .* until 15:00"):
        granted(job(30.0, 1.0), ordered(told, order))
    within = granted(job(10.0, 1.0), ordered(told, order))
    assert within.start_utc_s == NOON, "the grid carries it"
    mine = promised(NOON - 300, 1.0)
    running = inputs(tight(), 20_000, [mine], soc_pct=60.0)
    assert shortfall(mine, running, None) is None
    line = words(shortfall(mine, ordered(running, order), None))
    assert line.startswith("contract allows an import of 40.0 kW, it would take 50.0 kW; order o3 of tech1, ")
    assert shortfall(mine, ordered(running, held(OrderKind.NODE_CAP, target="gpu-01")), None) is None


def test_what_an_order_keeps_in_reserve_carries_no_job() -> None:
    told = inputs(tight(), 20_000, soc_pct=60.0)
    asked, level = job(30.0, 1.0), msgspec.structs.replace(held(OrderKind.RESERVE_LEVEL), value=60.0)
    with pytest.raises(OrderRefused, match=r"the battery has 0\.0 kWh above its reserve now"):
        granted(asked, ordered(told, level))
    mine = promised(NOON - 300, 1.0)
    assert shortfall(mine, ordered(inputs(tight(), 20_000, [mine], soc_pct=60.0), level), None) is not None
    low = msgspec.structs.replace(level, value=5.0)
    assert granted(asked, ordered(told, low)) == granted(asked, told)


def power(w: float, hours: float = 1.0, kind: OrderKind = OrderKind.SETPOINT) -> Order:
    return msgspec.structs.replace(held(kind, hours), value=w)


def test_what_an_order_takes_out_of_the_battery_is_gone() -> None:
    """50 kW against 40 of contract take 11.1 kWh; of 33 above the floor the order takes 27, of which 6 are left."""
    told = inputs(tight(), 40_000, soc_pct=43.0)
    later = job(10.0, 1.0, within_h=2.0)
    assert granted(later, told).start_utc_s == NOON
    drained = ordered(told, power(24_000.0))
    with pytest.raises(OrderRefused, match=r"contract: 10\.0 kW for 1 h takes an import of 4"):
        granted(later, drained)
    assert granted(later, ordered(told, held())).start_utc_s == NOON + H, "a hold leaves it where it is"
    mine = promised(NOON + 2 * H, 1.0, 10_000.0)
    assert shortfall(mine, inputs(tight(), 40_000, [mine], soc_pct=43.0), None) is None
    assert "has the battery until 15:00" in words(shortfall(mine, ordered(inputs(tight(), 40_000, [mine], soc_pct=43.0),
                                                                   power(24_000.0)), None))  # fmt: skip


def test_an_order_that_keeps_an_import_takes_what_the_job_draws_out_of_the_battery() -> None:
    """15 kW for an hour at an import of 20: 16.7 kWh that are not there for the 10 kW above 40 afterwards."""
    loads = [20_000] * 4 + [50_000] * 4 + [40_000]
    told = ask(tight(), FLAT, loads, soc_pct=10 + 100 * 12 / 90)
    assert granted(job(15.0, 1.0), told).rise_w == 0, "the grid carries it, and the battery the rest"
    kept = ordered(told, power(20_000.0, kind=OrderKind.IMPORT_TARGET))
    assert granted(job(15.0, 1.0), kept).rise_w > 5_000


def test_what_an_order_charges_is_import_but_no_level_to_go_by() -> None:
    told = ordered(inputs(tight(), 20_000, soc_pct=20.0), power(-15_000.0))
    assert granted(job(5.0, 1.0, within_h=2.0), told).start_utc_s == NOON, "40 kW in all"
    assert granted(job(10.0, 1.0, within_h=2.0), told).start_utc_s == NOON + H
    above = ordered(inputs(tight(), 20_000, soc_pct=20.0), power(-50_000.0))
    found = granted(job(10.0, 1.0, within_h=2.0), above)
    assert (found.start_utc_s, found.level_w, found.rise_w) == (NOON + H, 40_000.0, 0.0)
    assert refused(job(55.0, 1.0, within_h=2.0), above).startswith("contract:"), "70 kW are the order's, not the job's"
    gentle = ordered(inputs(tight(), 20_000, soc_pct=20.0), power(34.0, kind=OrderKind.SOC_TARGET))
    assert granted(job(10.0, 1.0, within_h=2.0), gentle).start_utc_s == NOON, "it gives way to the peak"


def test_a_pcs_that_is_disabled_carries_nothing_while_it_is() -> None:
    halves = tuple(PcsRatings(id=id, battery="bat1", charge_w=30_000, discharge_w=30_000) for id in ("pcs1", "pcs2"))
    told = inputs(msgspec.structs.replace(tight(), pcs=halves), 20_000, soc_pct=90.0)
    assert granted(job(60.0, 0.5), told).start_utc_s == NOON
    half = ordered(told, held(OrderKind.DISABLE, target="pcs2"))
    assert granted(job(45.0, 0.5), half).start_utc_s == NOON, "25 kW from the other"
    assert granted(job(60.0, 0.5, within_h=1.5), half).start_utc_s == NOON + H


def test_what_the_jobs_energy_is_missing_for_later_is_in_the_answer() -> None:
    """45 kW stand for 24 h against 40 of contract; the battery's 45 kWh lower that to 43.1, less the job's 11."""
    config = tight(tariff={"demand_eur_per_kw_month": 10.0})
    told = inputs(config, 45_000, soc_pct=60.0)
    found = granted(job(5.0, 2.0), told)
    assert found.start_utc_s == NOON
    rise_w = 5_000 * 2 / 24  # of 5 kW for 2 h, spread over the day; the margin of the rules takes its part
    assert found.rise_w == pytest.approx(rise_w, abs=120)
    assert found.cost_eur == pytest.approx(10 * found.rise_w / 1000)
    assert "the battery then lacks its energy later: the peak may rise by 0." in words(found.why)
    assert f"import may reach {found.level_w / 1000:.1f} kW, above the contract of 40.0 kW; without the job 4" in words(
        found.why
    )
    plan = make_plan(inputs(config, 45_000, [promised(NOON, 2.0, 5_000)], soc_pct=60.0))
    assert plan.peak_target_w <= found.level_w + 50
    assert granted(job(5.0, 2.0), inputs(config, 30_000, soc_pct=60.0)).why is None


def test_a_level_above_the_contract_is_told_though_the_months_peak_is_there_already() -> None:
    higher = inputs(tight(), 20_000, month_peak_w=50_000)
    assert words(granted(job(), higher).why) == (
        "import may reach 50.0 kW, above the contract of 40.0 kW; the month's peak is 50.0 kW already"
    )
    assert granted(job(10.0), higher).why is None


REFUSED: list[tuple[PowerRequest, str]] = [
    (job(0.0), "power: 0.0 kW: a job asks for more than 0 kW"),
    (job(-3.0), "power: -3.0 kW"),
    (job(float("nan")), "power: expected a number, got nan"),
    (job(hours=0.0), "duration: 0 s: at least 60 s"),
    (job(hours=-1.0), "duration: -3600 s"),
    (job(within_h=-0.25), "in the past: a start 15 min ago cannot be granted"),
    (job(hours=20.0, within_h=5.0), "plan.horizon_h: 25 h from now to its end; the site plans 24 h ahead"),
    (job(hours=float("inf")), "duration: expected a number"),
    (job(111.0), "fuse: 111.0 kW is more than the 110.4 kW that it carries"),
    (job(name="x" * 33), "name: 'xxx"),
    (job(name="a\nb"), "name: 'a\\nb': expected at most 32 printable characters"),
]


@pytest.mark.parametrize(("asked", "said"), REFUSED)
def test_refused_with_rule_and_figure(asked: PowerRequest, said: str) -> None:
    assert said in refused(asked, inputs(tight(), 20_000))


def test_one_reservation_per_name_and_none_while_islanded() -> None:
    told = inputs(tight(), 5_000, [promised(NOON + H, name="render-7")])
    line = refused(job(1.0, name="render-7"), told)
    assert line == (
        "one reservation per job: render-7 has reservation r1 of tech1, 30.0 kW from 15:00 to 17:00; "
        "withdraw that first"
    )
    assert granted(job(1.0, name="render-8"), told).start_utc_s == NOON
    with pytest.raises(OrderRefused, match="islanding: the site is islanded"):
        grant(job(1.0), told, None, IslandState.ISLANDED, ())


def test_power_is_ready_while_the_site_can_carry_what_is_left_of_it() -> None:
    mine = promised(NOON - 300, 1.0)
    assert shortfall(mine, inputs(tight(), 20_000, [mine], soc_pct=60.0), None) is None
    line = words(shortfall(mine, inputs(tight(), 20_000, [mine]), None))
    assert line == "contract allows an import of 40.0 kW, it would take 50.0 kW"


@pytest.mark.soak
@settings(max_examples=examples(9), deadline=None)
@given(
    st.floats(5_000, 60_000), st.floats(1_000, 60_000), st.floats(0.25, 6), st.floats(0, 6), st.floats(10, 90),
    st.floats(0, 899),
    st.none() | st.tuples(
        st.sampled_from([OrderKind.SETPOINT, OrderKind.IMPORT_TARGET, OrderKind.HOLD]), st.floats(-60_000, 60_000),
        st.integers(1, 16),
    ),
)  # fmt: skip
def test_what_is_granted_the_linear_program_can_keep(
    load_w: float, power_w: float, hours: float, within_h: float, soc_pct: float, into_s: float,
    order: tuple[OrderKind, float, int] | None,
) -> None:  # fmt: skip
    """Also under a manual order: no grant is laxer than the plan. What an order charges by itself is not the job's."""
    config = site(grid={"contracted_peak_w": 60_000.0}, tariff={"demand_eur_per_kw_month": 10.0})
    now = NOON + into_s
    orders = () if order is None else (power(order[1], order[2] / 4, order[0]),)
    orders = tuple(o for o in orders if o.ends_utc_s > now)
    told = ordered(inputs(config, load_w, now=now, soc_pct=soc_pct), *orders)
    asked = PowerRequest(power_w=power_w, for_s=hours * H, within_s=within_h * H)
    try:
        found = granted(asked, told)
    except OrderRefused:
        assert refused(asked, told).startswith("contract:")
        return
    assert now <= found.start_utc_s <= now + within_h * H
    assert found.level_w <= max(60_000, load_w) + 50
    mine = promised(found.start_utc_s, hours, power_w)
    own_w = max((step.grid_w for step in make_plan(told).steps if step.order and step.battery_w < 0), default=0.0)
    level_w = max(found.level_w, own_w)
    told = ordered(inputs(config, load_w, [mine], now=now, soc_pct=soc_pct, month_peak_w=level_w), *orders)
    assert max(step.grid_w for step in make_plan(told).steps) <= level_w + 50


def test_what_the_running_interval_has_had_counts() -> None:
    """Five minutes of it left: unused energy carries a job for so long, an overdrawn one forbids it."""
    config = tight()
    five = PowerRequest(power_w=26_000.0, for_s=300.0)
    told = inputs(config, 20_000, now=NOON + 600)
    assert refused(five, told).startswith("contract:")
    unused = msgspec.structs.replace(told, interval_energy_wh=20_000 * 600 / 3600)  # 6 kW more than 40 for five minutes
    assert granted(five, unused).start_utc_s == NOON + 600
    overdrawn = msgspec.structs.replace(told, interval_energy_wh=42_000 * 600 / 3600)
    assert refused(PowerRequest(power_w=17_000.0, for_s=300.0), overdrawn).startswith("contract:")
    assert granted(PowerRequest(power_w=15_000.0, for_s=300.0), overdrawn).start_utc_s == NOON + 600


@pytest.mark.soak
@settings(max_examples=examples(10))
@given(
    soc_pct=st.floats(10, 90),
    loads_kw=st.lists(st.floats(5, 60), min_size=1, max_size=12),
    kw=st.floats(1, 50),
    hours=st.floats(0.25, 8),
    windows_h=st.tuples(st.floats(0, 3), st.floats(0, 16)),
    peak_kw=st.floats(0, 50),
)
def test_who_may_wait_longer_is_answered_no_worse(
    soc_pct: float,
    loads_kw: list[float],
    kw: float,
    hours: float,
    windows_h: tuple[float, float],
    peak_kw: float,
) -> None:
    """Found: a window of 6 h was refused what one of 20 minutes got, as it had the battery last longer."""
    loads_w = [1000 * kw for kw in loads_kw for _ in range(8)]
    told = ask(
        tight(tariff={"demand_eur_per_kw_month": 10.0}), FLAT, loads_w, soc_pct=soc_pct, month_peak_w=1000 * peak_kw
    )
    plan = keeping(1000 * peak_kw)
    short, long = (job(kw, hours, within_h) for within_h in (windows_h[0], sum(windows_h)))
    try:
        granted(short, told, plan)
    except OrderRefused:
        return
    assert granted(long, told, plan).start_utc_s <= NOON + long.within_s


@pytest.mark.parametrize("within_h", [0.3, 6.0, 12.0, 20.0])
def test_patience_is_not_punished(within_h: float) -> None:
    """46 kW against 40: 30 kWh carry the job's hour, but no seven hours; by then the site is above without it."""
    told = inputs(tight(tariff={"demand_eur_per_kw_month": 10.0}), 46_000, soc_pct=40.0)
    assert granted(job(10.0, 1.0, within_h), told, keeping(40_000)).start_utc_s == NOON
