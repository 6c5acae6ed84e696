"""The report of a grid event: intervals against the limit, cost against the plan before it, the month's peak."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plan_site import NOON, site

from dispatch.config.schema import CapsConfig, DispatchConfig
from dispatch.events.baseline import Baseline
from dispatch.events.model import EventFigures, EventState, GridEvent, Phase
from dispatch.events.report import EventReport, Recorded, report

NOTICE, START, END, RAMP_S = NOON, NOON + 3600, NOON + 7200, 900.0
STEPS = (7200 + 900) // 60
Watts = list[float | None]


def state(**changed: Any) -> EventState:
    """30 kW from 13:00 to 14:00 UTC, notice at noon, a ramp of 15 min; over."""
    event = GridEvent(
        id="e1", source="order", who="ada",
        limit_w=changed.pop("asked_w", 30_000.0), drop_w=changed.pop("drop_w", None),
        given_utc_s=NOTICE, notice_utc_s=NOTICE, start_utc_s=START, end_utc_s=END, ramp_s=RAMP_S,
    )  # fmt: skip
    return EventState(**({"event": event, "phase": Phase.OVER, "limit_w": 30_000.0} | changed))


def recorded(battery_w: list[tuple[int, float]], load_w: float = 40_000.0, **changed: Any) -> Recorded:
    """Minutes from the notice on; `battery_w`: from which minute on which power."""
    powers: Watts = []
    for n in range(STEPS):
        powers.append(next(w for first, w in reversed(battery_w) if n >= first))
    terms: dict[str, Any] = {
        "start_utc_s": NOTICE, "step_s": 60, "battery_w": powers,
        "grid_w": [load_w - (w or 0.0) for w in powers], "price": [0.3] * STEPS,
    }  # fmt: skip
    return Recorded(**(terms | changed))


KEEPS = [(0, -5_000.0), (60, 12_000.0), (120, 0.0)]  # charges an hour, gives an hour, rests


def made(
    config: DispatchConfig | None = None, of: EventState | None = None, rows: Recorded | None = None
) -> EventReport:
    found = report(config or site(), of or state(), rows or recorded(KEEPS))
    assert found is not None
    return found


def test_each_metering_interval_is_settled() -> None:
    found = made()
    assert [one.start_utc_s for one in found.intervals] == [START + 900 * n for n in range(4)]
    assert {one.import_w for one in found.intervals} == {28_000.0}
    assert {one.shortfall_w for one in found.intervals} == {0.0}
    assert {one.delivered_w for one in found.intervals} == {None}  # "drop to" has no baseline
    assert (found.result, found.known_pct, found.within_pct) == ("kept", 100.0, 100.0)
    assert (found.delivered_kwh, found.shortfall_kwh) == (None, 0.0)


def test_what_is_above_the_limit_is_missing() -> None:
    found = made(rows=recorded([(0, 0.0), (60, 12_000.0), (105, 4_000.0), (120, 0.0)]))
    assert [one.shortfall_w for one in found.intervals] == [0.0, 0.0, 0.0, 6_000.0]
    assert found.result == "short"
    assert found.shortfall_kwh == pytest.approx(1.5)
    assert found.worst_shortfall_w == 6_000.0
    assert found.within_pct == 75.0


def test_below_the_baseline_is_delivered() -> None:
    drop = state(asked_w=None, drop_w=10_000.0, baseline_w=40_000.0)
    found = made(of=drop)
    assert {one.delivered_w for one in found.intervals} == {12_000.0}
    assert found.delivered_kwh == pytest.approx(12.0)
    similar = Baseline(START, (50_000.0, 50_000.0, 38_000.0, 38_000.0), ("2025-09-15",), 1.1, 1.1)
    other = report(site(), drop, recorded(KEEPS), similar)
    assert other is not None
    assert [one.delivered_w for one in other.intervals] == [22_000.0, 22_000.0, 10_000.0, 10_000.0]
    assert (other.days, other.factor) == (("2025-09-15",), 1.1)
    assert {one.limit_w for one in other.intervals} == {30_000.0}


def test_an_interval_that_is_not_on_record_is_not_taken_as_kept() -> None:
    rows = recorded(KEEPS)
    gone: Watts = [None if 75 <= n < 82 else w for n, w in enumerate(rows.grid_w)]  # 7 of 15 min
    found = made(rows=msgspec.structs.replace(rows, grid_w=gone))
    assert found.intervals[1].import_w is None
    assert found.intervals[1].shortfall_w is None
    assert found.result == "not known"
    assert found.known_pct == pytest.approx(100 * 53 / 60)
    assert found.cost.unknown_s == 7 * 60
    fewer: Watts = [None if 75 <= n < 80 else w for n, w in enumerate(rows.grid_w)]
    assert made(rows=msgspec.structs.replace(rows, grid_w=fewer)).result == "kept"


def test_an_event_that_does_not_begin_on_the_clock_is_clipped() -> None:
    event = msgspec.structs.replace(state().event, start_utc_s=START + 300, end_utc_s=END - 300)
    found = made(of=msgspec.structs.replace(state(), event=event))
    assert [(one.start_utc_s - START, one.end_utc_s - START) for one in found.intervals] == [
        (300, 900), (900, 1800), (1800, 2700), (2700, 3300),
    ]  # fmt: skip


def test_the_cost_is_against_the_plan_before_the_notice() -> None:
    config = site()  # 90 % each way, wear 1 ct/kWh
    plan = (0.0,) * 4 + (2_000.0,) * 4 + (0.0,) * 4
    found = made(config, state(plan_before=plan, plan_before_utc_s=float(NOTICE))).cost
    assert found.against == "plan"
    assert found.energy_eur == pytest.approx(0.3 * (5 - 10))  # 5 kWh more before, 10 less while it was held
    assert found.stored_eur == pytest.approx(0.3 * (10 / 0.9 - 5 * 0.9) / 0.9)
    assert found.wear_eur == pytest.approx(0.01 * (5 + 10))
    assert found.compute_eur == 0
    assert (found.prepared_kwh, found.discharged_kwh) == pytest.approx((5.0, 10.0))
    assert found.total_eur == pytest.approx(found.energy_eur + found.stored_eur + found.wear_eur)


def test_where_no_plan_was_kept_the_battery_counts_as_at_rest() -> None:
    found = made().cost
    assert found.against == "rest"
    assert found.energy_eur == pytest.approx(0.3 * (5 - 12))


def test_what_was_done_as_planned_costs_nothing() -> None:
    plan = (-5_000.0,) * 4 + (12_000.0,) * 4
    found = made(of=state(plan_before=plan, plan_before_utc_s=float(NOTICE))).cost
    assert found.total_eur == pytest.approx(0.0)
    assert (found.prepared_kwh, found.discharged_kwh) == (0.0, 0.0)


def test_what_caps_withheld_costs_what_the_site_says_or_has_no_price() -> None:
    capped = state(figures=EventFigures(shed_wh=4_000.0, capped_s={"n1": 600.0}))
    assert made(of=capped).cost.compute_eur is None
    priced = msgspec.structs.replace(site(), caps=CapsConfig(value_eur_per_kwh=2.0, max_share=0.5))
    assert made(priced, capped).cost.compute_eur == pytest.approx(8.0)


def test_minutes_without_a_price_count_at_the_mean_of_the_rest() -> None:
    rows = recorded(KEEPS)
    some: Watts = [None if n < 60 else 0.3 for n in range(STEPS)]
    found = made(rows=msgspec.structs.replace(rows, price=some)).cost
    assert found.energy_eur == pytest.approx(0.3 * (5 - 12))
    assert found.unpriced_s == 3600


def test_the_months_peak_is_said_before_and_after() -> None:
    config = site(tariff={"demand_eur_per_kw_month": 10.0})
    peaks = EventFigures(month_peak_at_notice_w=42_000.0, month_peak_after_w=45_000.0)
    found = made(config, state(figures=peaks)).peak
    assert found.rise_w == 3_000.0
    assert found.rise_eur == pytest.approx(30.0)
    assert found.measured_w == 45_000.0  # while it charged
    assert found.by_plan_w == 40_000.0
    still = made(config, state(figures=EventFigures(month_peak_at_notice_w=50e3, month_peak_after_w=50e3))).peak
    assert (still.rise_w, still.rise_eur) == (0.0, 0.0)
    assert made().peak.rise_w is None


def test_an_event_that_was_aborted_or_goes_on_is_not_called_kept() -> None:
    assert made(of=state(aborted_utc_s=END - 900.0, aborted_by="ada")).result == "aborted"
    assert len(made(of=state(aborted_utc_s=END - 900.0)).intervals) == 3
    assert made(of=state(phase=Phase.HELD)).result == "running"


def test_an_event_that_was_not_held_has_no_report() -> None:
    assert report(site(), state(limit_w=None), recorded(KEEPS)) is None
    assert report(site(), state(aborted_utc_s=START - 60.0), recorded(KEEPS)) is None


def test_a_record_that_ends_early_is_counted_as_far_as_it_goes() -> None:
    rows = recorded(KEEPS)
    short = msgspec.structs.replace(rows, grid_w=rows.grid_w[:70], battery_w=rows.battery_w[:70], price=rows.price[:70])
    found = made(of=state(phase=Phase.HELD), rows=short)
    assert found.intervals[0].import_w == 28_000.0
    assert found.intervals[1].import_w is None
