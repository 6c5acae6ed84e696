"""What consoles say of demand charges that are not the month's highest interval."""

from __future__ import annotations

import msgspec
import scenes

from console.cli.status_text import lines
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.overview_panels import MonthPanel
from console.tui.plan_view import PlanView
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.charge_levels import ChargesNow

TERMS = DemandTerms(eur_per_kw=84.0, per="year", top_days=3)


def shown(terms: DemandTerms | None) -> Model:
    scene = scenes.read("calm")
    told = msgspec.structs.replace(scene.published, billed_peak_w=None if terms is None else 27_400.0)
    return received(Model(welcome=msgspec.structs.replace(scene.welcome, demand=terms), plan=scene.plan), told)


def month(terms: DemandTerms | None) -> list[str]:
    canvas = Canvas(58, 5)
    MonthPanel().paint(canvas, shown(terms))
    return [" ".join(line.split()) for line in canvas.lines()]


def test_the_month_or_year_and_what_it_costs_so_far() -> None:
    plain = month(None)
    assert plain[0] == "Month"
    assert plain[1] == "peak so far 31.7 kW"
    assert plain[3] == "demand charge 317 EUR (10 EUR/kW)"
    averaged = month(TERMS)
    assert averaged[0] == "Year 3 highest days' mean 27.4 kW"
    assert averaged[1] == "free today 31.7 kW"
    assert averaged[3] == "demand charge 2302 EUR (84 EUR/kW)"  # 84 x 27.4


def test_a_planned_peak_above_the_contract_is_marked() -> None:
    model = shown(None)
    contracted_w = model.limit("contracted_peak_w")
    assert contracted_w is not None
    assert model.plan is not None
    for above_w, mark in ((0.0, ""), (2_200.0, " ▲H +2.2 kW")):
        plan = msgspec.structs.replace(model.plan, peak_target_w=contracted_w + above_w)
        canvas = Canvas(58, 5)
        MonthPanel().paint(canvas, msgspec.structs.replace(model, plan=plan))
        said = " ".join(canvas.lines()[4].split())
        assert said == f"planned peak {(contracted_w + above_w) / 1000:.1f} kW{mark}"


def test_the_status_says_whose_peak_it_is() -> None:
    model = shown(TERMS)
    assert model.published is not None
    assert model.welcome is not None
    interval = next(line for line in lines(model.published, model.welcome) if line.startswith("Interval"))
    assert interval.endswith("year's 3 highest days 27.4 kW")


def test_a_peak_that_is_a_lower_bound_says_so_in_plan_and_status() -> None:
    """Found: "month's peak 0.8 kW" as a fact, with half the month not measured."""
    for terms, exact, bound in (
        (None, "month's peak 31.7 kW", "month's peak at least 31.7 kW"),
        (TERMS, "year's 3 highest days 27.4 kW", "year's 3 highest days at least 27.4 kW"),
    ):
        model = shown(terms)
        assert model.published is not None
        assert model.welcome is not None
        told = msgspec.structs.replace(model.published, month_unmeasured_s=7200.0)
        for published, said, head in ((model.published, exact, "peak so far"), (told, bound, "peak at least")):
            interval = next(line for line in lines(published, model.welcome) if line.startswith("Interval"))
            assert interval.endswith(said)
            PlanView().paint(canvas := Canvas(80, 16), msgspec.structs.replace(model, published=published))
            assert head in canvas.lines()[0]
            assert "planned 31.7 ·  contract 32.0 ╌ kW" in canvas.lines()[0]
            assert canvas.lines()[0].rstrip().endswith("← →" if len(head) < 12 else "kW")


def test_a_peak_that_is_one_day_of_three_costs_a_third() -> None:
    """And in hours that do not count it costs nothing."""
    model = shown(TERMS)
    assert model.plan is not None
    first = msgspec.structs.replace(model.plan.steps[0], grid_w=30_000.0, battery_w=20_000.0, load_w=50_000.0)
    plan = msgspec.structs.replace(model.plan, steps=(first, *model.plan.steps[1:]))
    model = msgspec.structs.replace(model, plan=plan)

    def last_line(terms: DemandTerms) -> str:
        welcome = msgspec.structs.replace(model.welcome, demand=terms)
        canvas = Canvas(80, 16)
        PlanView().paint(canvas, msgspec.structs.replace(model, welcome=welcome))
        return canvas.lines()[15].rstrip()

    assert last_line(TERMS).endswith("peak +18.3 kW 513 EUR")  # 18.3 x 28
    assert "peak" not in last_line(msgspec.structs.replace(TERMS, windows=("sat 08:00-20:00",)))


def test_of_several_charges_the_one_that_limits_now_is_named() -> None:
    """In the overview, in the status, and while none counts."""
    model = shown(None)
    assert model.published is not None
    assert model.welcome is not None
    now = ChargesNow("high load", 31_700.0, model.published.snapshot.utc_s // 3600 * 3600 + 7200, 412.3, 3)

    def said(now: ChargesNow) -> tuple[list[str], str]:
        assert model.published is not None
        assert model.welcome is not None
        told = msgspec.structs.replace(model.published, charges=now)
        canvas = Canvas(58, 5)
        MonthPanel().paint(canvas, msgspec.structs.replace(model, published=told))
        status = next(line for line in lines(told, model.welcome) if line.startswith("Interval"))
        return [" ".join(line.split()) for line in canvas.lines()], status

    overview, status = said(now)
    until = overview[0].removeprefix("Month high load until ")
    assert len(until) == len("14:00")
    assert overview[1] == "free now 31.7 kW"
    assert overview[3] == "demand charges 412 EUR (3 counted)"
    assert status.endswith(f"high load until {until}: 31.7 kW free")
    overview, status = said(msgspec.structs.replace(now, charge="", until_utc_s=None))
    assert overview[:2] == ["Month no charge on peaks", "free now — kW"]
    assert status.endswith("no charge on peaks")
