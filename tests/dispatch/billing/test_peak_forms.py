"""Each form of a charge on peaks, in tick, plan, foresight and reservations, against the invoice of the same import."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from plan_site import ask, hourly, site

from dispatch.billing.charge_peaks import ChargePeaks, PeakMemory, Places, places
from dispatch.billing.charges.invoice import Metered, invoice
from dispatch.billing.demand_charge import period_utc_s
from dispatch.billing.month_peaks import MonthSoFar
from dispatch.billing.peak_charges import charge_peaks_w, peak_charges
from dispatch.config.charges import Charge, MonthWeights, TariffWindow
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.islanding import IslandState
from dispatch.planning.pipeline import left_of_period
from dispatch.planning.planner import make_plan
from dispatch.planning.power_admission import PowerRequest, grant
from dispatch.planning.validator import check_plan

BERLIN = "Europe/Berlin"
DAY_S = 86_400
CENT = 0.011  # VAT of a rounded net amount
WINDOWS = (
    TariffWindow(id="evening", days=("mon-fri",), times=("17:00-20:00",)),
    TariffWindow(id="night", times=("22:00-06:00",)),
    TariffWindow(id="winter", months=("nov-feb",)),
    TariffWindow(id="clock change", times=("02:00-03:00",)),
)
MONTHS = MonthWeights(oct=45.0, nov=70.0)
FORMS = {
    "month": Charge(id="c", kind="max", price=6.0, vat_pct=19.0),
    "hours": Charge(id="c", kind="max", price=6.0, interval_min=60),
    "highest hours": Charge(id="c", kind="max", price=6.0, interval_min=60, peaks_of="interval", top=5),
    "highest quarters": Charge(id="c", kind="max", price=6.0, peaks_of="interval", top=5, windows=("night",)),
    "weeks": Charge(id="c", kind="max", price=60.0, peaks_of="week", top=2, period="year", month_weight_pct=MONTHS),
    "rolling weeks": Charge(
        id="c",
        kind="max",
        price=534.0,
        price_per="year",
        peaks_of="week",
        top=5,
        period="rolling-12",
        interval_min=60,
        vat_pct=25.0,
        month_weight_pct=MONTHS,
    ),
    "rolling months": Charge(
        id="c",
        kind="max",
        price=40.4,
        price_per="year",
        peaks_of="month",
        top=12,
        period="rolling-12",
        peak_floor_kw=2.5,
    ),
    "reached twice": Charge(id="c", kind="max", price=6.0, occurs=2, interval_min=60),
    "reached three times": Charge(id="c", kind="max", price=6.0, occurs=3, windows=("night",)),
    "excess": Charge(id="c", kind="excess", price=4.0, contract_kw=30.0, windows=("evening",)),
    "excess outside": Charge(id="c", kind="excess", price=4.0, contract_kw=30.0, windows=("evening",), outside=True),
    "tiers": Charge(id="c", kind="max", tiers=((0, 62.0), (10, 48.0), (40, 36.0)), interval_min=60),
    "whole tiers": Charge(id="c", kind="max", tiers=((0, 79.0), (40, 59.0)), tier_on="whole", windows=("winter",)),
    "apparent": Charge(id="c", kind="max", price=5.0, basis="kVA"),
    "day": Charge(id="c", kind="max", price=0.3, period="day", windows=("clock change",)),
    "year of its own": Charge(id="c", kind="max", price=100.0, period="year", year_from="11-01", peaks_of="day", top=3),
    "by days": Charge(id="c", kind="max", price=0.3, price_per="day"),
    "currency": Charge(id="c", kind="max", price=100.0, currency="SEK"),
}


def at_local(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=ZoneInfo(BERLIN)).timestamp())


def a_site(*charges: Charge, horizon_h: float = 24.0) -> DispatchConfig:
    terms = {"charge": charges, "window": WINDOWS, "power_factor": 0.9, "eur_per": {"SEK": 0.09}}
    return site(tariff=terms, horizon_h=horizon_h)


def take(peaks: ChargePeaks, start_utc_s: int, quarters_w: Sequence[float]) -> Places:
    """Take in quarter hours, one after the other; where the last of them belongs."""
    at: Places = ()
    for k, w in enumerate(quarters_w):
        at = places(peaks.charges, BERLIN, start_utc_s + 900 * k)
        peaks.enter(at)
        peaks.raise_peak(w, 900.0, at)
    return at


def billed(config: DispatchConfig, start_utc_s: int, quarters_w: Sequence[float], period: str = "") -> float:
    """What the invoice has for charges on peaks in a period, or in all, EUR."""
    kwh = [max(w, 0.0) / 4000 for w in quarters_w]
    metered = Metered(start_utc_s=start_utc_s, step_s=900, import_kwh=kwh, eur_per_mwh=[0.0] * len(kwh))
    found = invoice(config.tariff, BERLIN, 900, metered).lines
    gross = (
        float(line.gross) * config.tariff.eur_per.get(line.currency, 1.0)
        for line in found
        if line.kind in ("max", "excess") and period in ("", line.period)
    )
    return sum(gross)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_billed_so_far_is_what_the_invoice_says(form: str) -> None:
    """Over a clock change, a month's end and a restart; and what is free raises no bill, a kW more does."""
    config, start = a_site(FORMS[form]), at_local(2025, 10, 25)
    drawn = random.Random(form)
    quarters_w = [drawn.uniform(0, 50_000) for _ in range(4 * (8 * 24 + 1 + 20))]  # to Sunday 20:00, in November
    peaks, half = ChargePeaks(peak_charges(config), 100_000.0), len(quarters_w) // 8 * 4
    take(peaks, start, quarters_w[:half])
    kept = msgspec.json.decode(msgspec.json.encode(peaks.memory()), type=dict[str, PeakMemory])
    peaks = ChargePeaks(peak_charges(config), 100_000.0)
    peaks.restore(kept)
    at = take(peaks, start + 900 * half, quarters_w[half:])
    now = peaks.now(at, None)
    assert now is not None
    assert now.eur == pytest.approx(billed(config, start, quarters_w, at[0].period), abs=CENT)
    after = places(peaks.charges, BERLIN, start + 900 * len(quarters_w))
    if not after[0].counts:
        return
    free_w, whole = peaks.limit(after).w, FORMS[form].interval_min == 60
    for more_w, dearer in ((0.0, False), (1000.0, True)):
        longer = quarters_w + [free_w + more_w] * (4 if whole else 1)
        risen = billed(config, start, longer, at[0].period) - billed(config, start, quarters_w, at[0].period)
        assert (risen > CENT) is dearer, (more_w, risen)


def test_an_interval_is_one_of_those_that_reach_a_peak_only_once() -> None:
    """Where its mean is proven in steps; after it was taken back; and where two processes saw one each."""
    charges = peak_charges(a_site(msgspec.structs.replace(FORMS["month"], occurs=2)))
    start, first, second = at_local(2025, 10, 25), ChargePeaks(charges, 100_000.0), ChargePeaks(charges, 100_000.0)
    take(first, start, [40_000.0])
    at = take(first, start, [50_000.0])
    assert first.limit(at).w == 0.0
    take(first, start + 900, [60_000.0])
    assert first.limit(at).w == 50_000.0
    first.take_back()
    assert first.limit(at).w == 0.0
    take(second, start + 1800, [45_000.0])
    second.recover(first.memory())
    assert second.limit(at).w == 45_000.0


@pytest.mark.parametrize(
    "form", ["month", "hours", "weeks", "reached twice", "excess", "excess outside", "apparent", "year of its own"]
)
def test_a_plan_pays_for_its_peaks_what_the_invoice_has_more(form: str) -> None:
    """After ten days, for the 24 hours of 9 October: a month with a weight."""
    energy = Charge(id="energy", kind="energy", price=0.1)
    config, start, now = a_site(FORMS[form], energy), at_local(2025, 9, 29), at_local(2025, 10, 9)
    drawn = random.Random(3)
    past_w = [drawn.uniform(5_000, 20_000) for _ in range((now - start) // 900)]
    peaks = ChargePeaks(peak_charges(config), 100_000.0)
    take(peaks, start, past_w)
    at = places(peaks.charges, BERLIN, now)
    peaks.enter(at)
    loads_w = [w for k in range(24) for w in [30_000 + 14_000 * math.sin(k / 2)] * 4]
    inputs = ask(
        config,
        hourly([0.0] * 24, now),
        loads_w,
        now_utc_s=now,
        soc_pct=60.0,
        levels=peaks.levels(at),
        month_peak_w=peaks.limit(at).w,
    )
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    paid = sum(0.25 * (max(s.grid_w, 0.0) * 0.1 + abs(s.battery_w) * 0.01) / 1000 for s in plan.steps)
    stored = (plan.steps[-1].soc_pct - 60.0) * (0.1 - 0.01) * 0.9
    risen = billed(config, start, past_w + [s.grid_w for s in plan.steps]) - billed(config, start, past_w)
    assert plan.cost_eur - (paid - stored) == pytest.approx(risen, abs=0.02)


def test_a_job_outside_a_window_pays_nothing_for_it() -> None:
    """20 kW from 13 to 14 o'clock, 30 kW of load, no battery: the evening's 30 kW are free, 40 kW at other times."""
    both = (Charge(id="all", kind="max", price=6.0), Charge(id="high", kind="max", price=9.0, windows=("evening",)))
    config = site(tariff={"charge": both, "window": WINDOWS}, battery={"energy_kwh": 0.0})
    now = at_local(2025, 9, 16, 13)
    levels = (ChargeLevel("high", False, 30e3, 30e3, 30e3), ChargeLevel("all", True, 40e3, 40e3, 40e3))
    inputs = ask(config, hourly([100.0] * 24, now), [30e3], now_utc_s=now, levels=levels, month_peak_w=40e3)
    found = grant(PowerRequest(power_w=20_000, for_s=3600), inputs, make_plan(inputs), IslandState.GRID_TIED, ())
    assert found.cost_eur == pytest.approx(10 * 6.0, abs=0.1)


def test_foresight_weighs_each_month_of_a_year() -> None:
    """20 kW on 30 November count 14 kW, on 1 December all: the battery's energy is for December."""
    config = a_site(msgspec.structs.replace(FORMS["weeks"], peaks_of="period", top=1))
    start, net_w = at_local(2025, 11, 30), [20_000.0 if h % 24 in (10, 11) else 1_000.0 for h in range(48)]
    quarters_w = [w for w in net_w for _ in range(4)]
    found = perfect_battery_w(config, 900, quarters_w, [0.0] * 192, idle_schedule(config, start, 900, 192, 50.0))
    grid_w = [net - w for net, w in zip(quarters_w, found, strict=True)]
    peaks_w = charge_peaks_w(config, start, 900, grid_w)
    assert peaks_w["2025@c"] == pytest.approx(max(0.7 * max(grid_w[:96]), max(grid_w[96:])), abs=1)
    assert max(grid_w[:96]) * 0.7 == pytest.approx(max(grid_w[96:]), rel=0.05)


def test_a_charge_of_some_hours_takes_over_no_peak_of_all_hours() -> None:
    kept = {"": PeakMemory("2025-09", MonthSoFar(peak_w=33_000.0), {})}
    for charge, free_w in ((FORMS["month"], 33_000.0), (FORMS["excess"], 30_000.0)):
        peaks = ChargePeaks(peak_charges(a_site(charge)), 100_000.0)
        peaks.restore(kept)
        at = places(peaks.charges, BERLIN, at_local(2025, 9, 16, 18))
        peaks.enter(at)
        assert peaks.limit(at).w == free_w


@pytest.mark.parametrize(
    ("form", "begin", "end", "hours"),
    [
        ("month", (2025, 10, 1), (2025, 11, 1), 31 * 24 + 1),  # the clock goes back in it
        ("rolling months", (2025, 10, 1), (2025, 11, 1), 31 * 24 + 1),
        ("weeks", (2025, 1, 1), (2026, 1, 1), 365 * 24),
        ("year of its own", (2024, 11, 1), (2025, 11, 1), 365 * 24),
        ("year from April", (2025, 4, 1), (2026, 4, 1), 365 * 24),
        ("day", (2025, 10, 26), (2025, 10, 27), 25),
    ],
)
def test_a_period_begins_and_ends_when_the_charge_says(
    form: str, begin: tuple[int, int, int], end: tuple[int, int, int], hours: int
) -> None:
    """At both ends and on a day on which the clock goes back. The plan knows that 4.5 h are left."""
    april = Charge(id="c", kind="max", price=100.0, period="year", year_from="04-01")
    config = a_site(april if form == "year from April" else FORMS[form])
    (terms,) = peak_charges(config)
    for at in (at_local(2025, 10, 26, 12), at_local(*begin), at_local(*end) - 1):
        assert period_utc_s(terms, BERLIN, at) == (at_local(*begin), at_local(*end))
    left = left_of_period(at_local(*end) - 4.5 * 3600, config)
    assert 24 * left.length_days == pytest.approx(hours)
    assert hours * left.share_left == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("per", "begin", "end"),
    [
        ("month", (2025, 2, 1), (2025, 3, 1)),
        ("month", (2025, 12, 1), (2026, 1, 1)),
        ("year", (2024, 1, 1), (2025, 1, 1)),
    ],
)
def test_a_plain_demand_charge_is_of_months_or_years_of_the_calendar(
    per: str, begin: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    terms = DemandTerms(per=per)  # type: ignore[arg-type]
    for at in (at_local(*begin), at_local(*end) - 1):
        assert period_utc_s(terms, BERLIN, at) == (at_local(*begin), at_local(*end))
