"""Charges that add up what intervals have above a contract: tick, plan, foresight and Energy IQ, against the bill."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import ask, hourly, site

from dispatch.billing.bill import Flow, bill, stored_change_kwh
from dispatch.billing.billing_memory import Billing
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.billing.peak_charges import charge_peaks_w, joined_w, peak_charges, risen_eur
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.schema import CapsConfig, DispatchConfig, GridConfig
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.islanding import IslandState
from dispatch.model.plan import Plan
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.lp_solver import LinearProgram
from dispatch.planning.planner import make_plan
from dispatch.planning.power_admission import Grant, PowerRequest, grant
from dispatch.planning.validator import check_plan
from dispatch.power_caps.ski_rental import CapInputs, CapsDecision, CapsLedger, decide
from dispatch.wording.catalogue import words

HOUR = 3600
BERLIN = "Europe/Berlin"
MIDNIGHT = int(datetime(2025, 9, 16, tzinfo=ZoneInfo(BERLIN)).timestamp())
DAYTIME = TariffWindow(id="day", times=("08:00-20:00",))
SUM, ROOT, HOURS = "sum", "root-sum-square", "hours"
FLAT = hourly([100.0] * 48, MIDNIGHT)


def excess(by: str, price: float = 1.0, id: str = "excess", **changes: Any) -> Charge:
    return Charge(id=id, kind="excess", excess_by=by, price=price, contract_kw=30.0, **changes)  # type: ignore[arg-type]


def a_site(*charges: Charge, **changes: Any) -> DispatchConfig:
    return site(tariff={"charge": charges, "window": (DAYTIME,)}, **changes)


def cost_eur(config: DispatchConfig, net_w: Sequence[float], battery_w: Sequence[float], step_s: int = 900) -> float:
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=step_s,
        load_w=net_w,
        pv_w=[0.0] * len(net_w),
        eur_per_mwh=[100.0] * len(net_w),
        battery_w=battery_w,
    )
    return bill(config, flow, stored_change_kwh(config, step_s, battery_w)).total_eur


# ── the tick ────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(interval: MeteringInterval, quarters_w: Sequence[float]) -> None:
    """Import of quarter hours from midnight on, to just beyond the last one's end."""
    for t_s in range(0, 900 * len(quarters_w) + 4, 4):
        interval.advance(MIDNIGHT + t_s, t_s, [*quarters_w, 0.0][t_s // 900])


@pytest.mark.parametrize(
    ("by", "added", "eur"),
    [(SUM, 30e3, 30.0), (ROOT, 100e6 + 400e6, 500**0.5), (HOURS, 0.5, 0.5)],
)
def test_what_has_added_up_is_kept_and_frees_nothing(by: str, added: float, eur: float) -> None:
    config = a_site(excess(by))
    grid = GridConfig(fuse_a=160, contracted_peak_w=60_000)
    interval = MeteringInterval(grid, BERLIN, 250, peak_charges(config))
    run(interval, [40_000.0, 20_000.0, 50_000.0])
    kept = msgspec.json.decode(msgspec.json.encode(interval.billing()), type=Billing)
    restarted = MeteringInterval(grid, BERLIN, 250, peak_charges(config))
    restarted.restore(kept)
    restarted.advance(MIDNIGHT + 2800, 2800, 0.0)
    for each in (interval, restarted):
        (level,) = each.levels
        assert level.added == pytest.approx(added, rel=0.02)
        assert (level.free_w, level.later_w) == (30_000, 30_000)
        assert each.charges_now is not None
        assert each.charges_now.eur == pytest.approx(eur, rel=0.01)


# ── the bill, and what stands for it ────────────────────────────────────────────────────────────────────────────────

KINDS = st.sampled_from([SUM, ROOT, HOURS])
LOADS = st.lists(st.floats(0, 60_000), min_size=8, max_size=8)


@given(KINDS, LOADS, st.integers(1, 7), st.sampled_from([None, 60]))
@settings(max_examples=25, deadline=None)
def test_what_peaks_cost_more_is_what_the_bill_says(
    by: str, load_w: list[float], cut: int, minutes: int | None
) -> None:
    """Also of two stretches, each by itself."""
    config = a_site(excess(by, 3.0, vat_pct=19.0, interval_min=minutes))
    terms, grid_w = peak_charges(config), [w for w in load_w for _ in range(4)]
    own_w = charge_peaks_w(config, MIDNIGHT, 900, grid_w)
    idle = [0.0] * len(grid_w)
    energy = a_site(msgspec.structs.replace(excess(by), price=1e-12))
    eur = cost_eur(config, grid_w, idle) - cost_eur(energy, grid_w, idle)
    assert risen_eur(terms, own_w, {}) == pytest.approx(eur, abs=1e-3)
    parts = [
        charge_peaks_w(config, MIDNIGHT + 4 * 900 * n, 900, part)
        for n, part in ((0, grid_w[: 4 * cut]), (cut, grid_w[4 * cut :]))
    ]
    assert joined_w(terms, *parts) == pytest.approx(own_w)


# ── caps, and power for jobs ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("by", "before", "eur"),
    [(SUM, 0.0, 14.0), (ROOT, 0.0, 14.0), (ROOT, (48e3) ** 2, 2.0), (HOURS, 0.0, 0.25)],
)
def test_caps_pay_where_they_cost_no_more_than_the_excess_that_they_spare(by: str, before: float, eur: float) -> None:
    """14 kW above 30 kW for a quarter hour, taken by a cap: 3.5 kWh. sqrt(48^2 + 14^2) is 50."""
    (terms,) = peak_charges(a_site(excess(by)))
    level = ChargeLevel("excess", True, 30e3, 30e3, 30e3, before)
    need = CapInputs(
        utc_s=MIDNIGHT,
        step_s=900.0,
        load_w=60e3,
        import_w=44e3,
        import_max_w=30e3,
        month_peak_w=30e3,
        levels=(level,),
    )

    def decided(eur_per_kwh: float, ledger: CapsLedger) -> CapsDecision:
        caps = CapsConfig(value_eur_per_kwh=eur_per_kwh, max_share=0.5, idle_w=0.0)
        return decide(caps, [terms], BERLIN, need, ledger)

    ledger = CapsLedger()
    for _ in range(3):  # at a price that is worth it they go on; the peaks' rent stays 0
        found = decided(0.99 * eur / 3.5, ledger)
        ledger = found.ledger
        assert (found.cap_w, found.reason.code) == (14e3, "caps.excess")
        assert found.reason.figures["excess_eur_per_h"] == pytest.approx(4 * eur)
        assert ledger.rent_eur == pytest.approx(ledger.paid_eur)
    for _ in range(2):  # at a higher one, never
        found = decided(1.01 * eur / 3.5, ledger)
        assert (found.cap_w, found.reason.code) == (0.0, "caps.let_excess")
        assert found.reason.figures["rent_eur_per_h"] == pytest.approx(4 * 1.01 * eur)


@pytest.mark.parametrize(("by", "eur"), [(SUM, 8 * 15.0), (ROOT, (8 * 225.0) ** 0.5), (HOURS, 2.0)])
@pytest.mark.parametrize("rises", [False, True])
def test_a_job_pays_for_each_interval_above_the_contract(by: str, eur: float, rises: bool) -> None:
    """20 kW for 2 h on 25 kW and an empty battery. With a peak of 60 kW that is paid already no peak rises."""
    peak = Charge(id="peak", kind="max", price=1000.0)
    config = a_site(excess(by), peak, battery={"energy_kwh": 0.0})
    levels = (
        ChargeLevel("peak", True, 25e3 if rises else 60e3, 60e3, 60e3),
        ChargeLevel("excess", True, 30e3, 30e3, 30e3),
    )
    inputs = ask(config, FLAT, [25_000.0], now_utc_s=MIDNIGHT, levels=levels, month_peak_w=30e3)
    asked = PowerRequest(power_w=20_000, for_s=2 * HOUR)
    found = grant(asked, inputs, make_plan(inputs), IslandState.GRID_TIED, ())
    assert found.cost_eur == pytest.approx(eur + (20_000.0 if rises else 0.0), rel=0.01)
    assert f"{eur:.2f} EUR more this month for what intervals have above a contract" in words_of(found)


def test_a_job_waits_for_the_start_at_which_less_is_above_the_contract() -> None:
    """The load falls from 25 to 15 kW after an hour: 20 kW for an hour then have 5 kW above, at once 15. Of a battery
    with 9 kWh to give they would have nothing above then.
    """
    loads_w = [25_000.0] * 4 + [15_000.0]
    costs = []
    for kwh in (0.0, 12.5):
        config = a_site(excess(SUM), battery={"energy_kwh": kwh})
        inputs = ask(config, FLAT, loads_w, now_utc_s=MIDNIGHT, soc_pct=90.0, month_peak_w=30e3)
        asked = PowerRequest(power_w=20_000, for_s=HOUR, within_s=2 * HOUR)
        found = grant(asked, inputs, make_plan(inputs), IslandState.GRID_TIED, ())
        assert found.start_utc_s == MIDNIGHT + HOUR or kwh
        costs.append(found.cost_eur)
    assert costs == pytest.approx([4 * 5.0, 0.0], abs=0.01)


def words_of(found: Grant) -> str:
    return words(found.why) if found.why is not None else ""


# ── the plan ────────────────────────────────────────────────────────────────────────────────────────────────────────


def planned(
    config: DispatchConfig, loads_w: Sequence[float], program: LinearProgram | None = None, **changes: Any
) -> tuple[PlanInputs, Plan]:
    inputs = ask(config, FLAT, loads_w, **({"now_utc_s": MIDNIGHT, "soc_pct": 60.0} | changes))
    plan = make_plan(inputs, program)
    assert check_plan(plan, inputs) == []
    return inputs, plan


def above_kw(plan: Plan) -> list[float]:
    return [max(0.0, step.grid_w / 1000 - 30.0) for step in plan.steps]


def test_squares_are_spread_and_hours_are_given_up_whole() -> None:
    """50 kWh in the battery above its minimum, 45 kWh of them to use: 4 h of 10 kW and 1 h of 60 kW above."""
    loads_w = [40_000.0] * 16 + [90_000.0] * 4 + [10_000.0] * 4 + [30_000.0]
    battery = {"energy_kwh": 100.0, "soc_max_pct": 60.0}
    found = {
        by: above_kw(planned(a_site(excess(by, price), battery=battery), loads_w)[1])
        for by, price in ((ROOT, 5.0), (HOURS, 20.0), (SUM, 5.0))
    }
    assert sum(kw > 0.02 for kw in found[HOURS]) == 4  # the hour of 60 kW, the others are kept
    assert found[ROOT][:20] == pytest.approx([10.0] * 16 + [15.0] * 4, abs=0.05)  # all of it where it is highest
    assert sum(found[SUM]) == pytest.approx(4 * (40 + 60 - 45), rel=0.02)


def test_a_kw_above_costs_less_once_much_has_added_up() -> None:
    """10 kW for an hour: 20 EUR at first, 0.5 x 20^2 / 400 = 0.5 EUR in a month that has 400 kW already.

    To keep them costs 3 EUR of wear and saves 1 EUR of import.
    """
    config, loads_w = (
        a_site(excess(ROOT), battery={"wear_eur_per_kwh": 0.30}),
        [30_000.0] * 20 + [40_000.0] * 4 + [5_000.0],
    )
    _, first = planned(config, loads_w)
    level = ChargeLevel("excess", True, 30e3, 30e3, 430e3, (400e3) ** 2)
    _, late = planned(config, loads_w, levels=(level,), month_peak_w=30e3)
    assert max(above_kw(first)) < 0.1
    assert max(above_kw(late)) == pytest.approx(10, abs=0.1)
    assert late.targets_w["excess"] == pytest.approx(30_000)


@given(KINDS, LOADS, st.floats(0.2, 10.0), st.floats(0, 50.0))
@settings(max_examples=12, deadline=None)
def test_the_plan_pays_for_what_is_above_what_the_bill_does(
    by: str, load_w: list[float], price: float, before_kw: float
) -> None:
    config = a_site(excess(by, price), Charge(id="peak", kind="max", price=4.0, windows=("day",)))
    before = {SUM: before_kw * 1e3, ROOT: (before_kw * 1e3) ** 2, HOURS: before_kw}[by]
    levels = tuple(
        ChargeLevel(t.id, True, 30e3, 30e3, 30e3, before if t.id == "excess" else 0.0) for t in peak_charges(config)
    )
    _, plan = planned(config, [w for w in load_w for _ in range(12)], levels=levels, month_peak_w=30e3)
    terms = peak_charges(config)
    grid_w = [
        30e3 + (1e3 * kw if kw > 0.01 else 0.0) if kw else step.grid_w
        for kw, step in zip(above_kw(plan), plan.steps, strict=True)
    ]
    own = charge_peaks_w(config, MIDNIGHT, 900, grid_w)
    paid = {"2025-09@excess": 30e3 + (1e3 * before_kw), "2025-09@peak": 30e3}
    energy = 0.0
    for step in plan.steps:
        energy += 0.25 * (max(step.grid_w, 0.0) * step.price_eur_per_kwh + abs(step.battery_w) * 0.01) / 1000
    stored = (plan.steps[-1].soc_pct - 60.0) / 100 * 100 * (0.1 - 0.01) * 0.9
    exported = sum(0.25 * min(step.grid_w, 0.0) / 1000 * 0.1 for step in plan.steps)
    more_eur = risen_eur(terms, joined_w(terms, paid, own), paid)
    assert plan.cost_eur - (energy + exported - stored) == pytest.approx(more_eur, abs=0.05)


def test_the_model_is_kept_while_charges_that_add_up_take_turns() -> None:
    """Contracts of day and night share a row; planned in the middle of quarters, as a fresh model would."""
    config = a_site(
        Charge(id="peak", kind="max", price=4.0),
        excess(ROOT, 3.0, "in", windows=("day",)),
        excess(ROOT, 1.0, "out", windows=("day",), outside=True),
    )
    levels = tuple(ChargeLevel(t.id, True, 30e3, 30e3, 30e3, 1e8) for t in peak_charges(config))
    kept, models = LinearProgram(5.0), []
    for minutes in (0, 7, 15, 44, 45, 60):
        loads_w = [30_000 + 900.0 * ((k + minutes // 15) * 37 % 41) for k in range(96)]
        changes = {"now_utc_s": MIDNIGHT + 60.0 * minutes, "levels": levels, "month_peak_w": 30e3}
        _, plan = planned(config, loads_w, kept, **changes)
        _, fresh = planned(config, loads_w, LinearProgram(5.0), **changes)
        assert plan.cost_eur == pytest.approx(fresh.cost_eur, rel=0.02, abs=0.2)
        assert kept._last is not None
        assert len(kept._last.excesses) == 96
        models.append(kept._highs)
    assert all(model is models[0] for model in models)


# ── perfect foresight ───────────────────────────────────────────────────────────────────────────────────────────────


def foreseen(config: DispatchConfig, net_w: list[float], step_s: int = 900) -> list[float]:
    return perfect_battery_w(
        config, step_s, net_w, [100.0] * len(net_w), idle_schedule(config, MIDNIGHT, step_s, len(net_w), 50.0)
    )


@given(KINDS, LOADS, LOADS, st.floats(0.5, 20.0))
@settings(max_examples=15, deadline=None)
def test_foresight_is_never_dearer_than_with_another_form_of_the_charge(
    by: str, load_w: list[float], more_w: list[float], price: float
) -> None:
    """The bill of what it finds is no higher than that of what it finds for the others, or of a battery at rest.

    By hours there may be a cheaper one: the bill is at most that at rest.
    """
    net_w = [w for pair in zip(load_w, more_w, strict=True) for w in pair for _ in range(4)]
    config = a_site(excess(by, price))
    own = cost_eur(config, net_w, foreseen(config, net_w))
    others = [[0.0] * len(net_w)]
    if by != HOURS:
        others += [foreseen(a_site(excess(form, price)), net_w) for form in ("max", SUM, ROOT) if form != by]
    assert own <= min(cost_eur(config, net_w, other) for other in others) + 0.002 * price * 30 + 0.01


def test_foresight_keeps_the_hours_that_can_be_kept() -> None:
    """20 quarter hours of 5 kW above can be kept, 8 of 70 kW cannot with 60 kW: in these it may even charge."""
    net_w = [35_000.0] * 8 + [100_000.0] * 8 + [35_000.0] * 12 + [10_000.0] * 20
    config = a_site(excess(HOURS, 50.0))
    battery_w = foreseen(config, net_w)
    above = [w - b > 30_000 for w, b in zip(net_w, battery_w, strict=True)]
    assert sum(above) == 8


def test_foresight_levels_squares() -> None:
    """Two hours of 45 and 60 kW, and too little energy for both: what is left above is level."""
    net_w = [10_000.0] * 8 + [45_000.0] * 4 + [60_000.0] * 4 + [10_000.0] * 24
    config = a_site(excess(ROOT, 20.0), battery={"energy_kwh": 30.0})
    above = [max(0.0, (w - b) / 1000 - 30) for w, b in zip(net_w, foreseen(config, net_w), strict=True)]
    root = sum(kw * kw for kw in above) ** 0.5
    least = (sum(above) ** 2 / 8) ** 0.5
    assert min(above[8:16]) > 1
    assert root == pytest.approx(least, rel=1e-3)
