"""Peaks of bills and of the record as evidence: which count, how much, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from plan_site import site

from dispatch.billing.billed_peaks import evidence, findings, remarks
from dispatch.billing.demand_charge import interval_account
from dispatch.billing.month_peaks import MonthPeaks, MonthSoFar
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig

BILLS = {"2026-01": 57.0, "2026-02": 55.0}
MONTH_S = 31 * 86_400.0


def billed(since: str = "2026-01", **changes: Any) -> DispatchConfig:
    """A site with these bills, of a demand charge per month."""
    peaks = changes.pop("peaks", BILLS)
    return site(grid={"billed_peaks_kw": peaks, "battery_since": since}, **changes)


def test_the_bill_counts_for_a_month_that_is_on_record_too() -> None:
    found = evidence(billed(), {"2026-02": 54_200.0, "2026-03": 50_000.0}, "2026-04")
    assert [(one.period, one.peak_w, one.on_record) for one in found] == [
        ("2026-01", 57_000, False),
        ("2026-02", 55_000, False),
        ("2026-03", 50_000, True),
    ]


def test_a_month_says_half_as_much_a_year_later_and_half_again_before_the_battery() -> None:
    one_year, month = evidence(billed(peaks={"2025-03": 50.0, "2026-02": 50.0}, since="2025-03"), {}, "2026-03")
    assert one_year.weight == pytest.approx(0.5)
    assert month.weight == pytest.approx(0.5 ** (1 / 12))
    before, since = evidence(billed(since="2026-02"), {}, "2026-03")
    assert (before.with_battery, since.with_battery) == (False, True)
    assert before.weight == pytest.approx(0.5 * 0.5 ** (2 / 12))
    assert all(one.with_battery for one in evidence(billed(since="", battery={"energy_kwh": 0.0}), {}, "2026-03"))


def test_what_is_not_over_is_no_evidence_and_is_told() -> None:
    config = billed()
    assert [one.period for one in evidence(config, {"2026-02": 9.0, "2027-01": 9.0}, "2026-02")] == ["2026-01"]
    assert [reason.figures for reason in remarks(config, "2026-02")] == [{"period": "2026-02"}]
    assert not remarks(config, "2026-03")


def test_a_yearly_charge_has_years() -> None:
    tariff = {"demand": DemandTerms(eur_per_kw=90.0, per="year")}
    config = billed(peaks={"2024": 58.0, "2025": 61.0}, since="2024", tariff=tariff)
    assert list(findings(config)) == []
    assert [one.weight for one in evidence(config, {}, "2026")] == [0.25, 0.5]
    assert [key for key, _, _ in findings(billed(tariff=tariff))] == [
        "grid.billed_peaks_kw.2026-01",
        "grid.billed_peaks_kw.2026-02",
        "grid.battery_since",
    ]


@pytest.mark.parametrize(
    ("peaks", "since", "blamed", "expected"),
    [
        ({"2026-1": 57.0}, "2026-01", "grid.billed_peaks_kw.2026-1", '"2026-03" = 55.2'),
        ({"2026-13": 57.0}, "2026-01", "grid.billed_peaks_kw.2026-13", '"2026-03" = 55.2'),
        ({"March": 57.0}, "2026-01", "grid.billed_peaks_kw.March", '"2026-03" = 55.2'),
        ({"2026-01": 111.0}, "2026-01", "grid.billed_peaks_kw.2026-01", "at most 110.4"),
        ({"2026-01": 57.0}, "", "grid.battery_since", "first whole period"),
        ({"2026-01": 57.0}, "spring", "grid.battery_since", '"2026-03"'),
    ],
)
def test_what_is_wrong_is_refused_with_what_was_expected(
    peaks: dict[str, float], since: str, blamed: str, expected: str
) -> None:
    (found,) = findings(billed(peaks=peaks, since=since))
    assert found[0] == blamed
    assert expected in found[2]


def test_a_month_of_the_record_counts_once_it_was_measured_almost_whole() -> None:
    terms = DemandTerms(eur_per_kw=10.0)
    months = MonthPeaks(terms)
    earlier = {"2025-07": MonthSoFar(40_000.0, 0.5 * MONTH_S), "2025-08": MonthSoFar(41_000.0, 0.99 * MONTH_S)}
    months.restore("2025-09", MonthSoFar(30_000.0, 9_000.0), earlier)
    assert months.billed_before_w() == {"2025-08": 41_000.0}
    at = interval_account(terms, "Europe/Berlin", 1_752_000_000)  # a clock set back to July
    months.enter(at.period)
    assert months.billed_before_w() == {}, "what lies ahead of the clock was not billed before"


def test_where_days_are_averaged_a_month_of_the_record_is_their_mean() -> None:
    months = MonthPeaks(DemandTerms(eur_per_kw=10.0, top_days=2))
    days_w = {"2025-08-03": 40_000.0, "2025-08-09": 30_000.0}
    months.restore("2025-09", MonthSoFar(), {"2025-08": MonthSoFar(40_000.0, MONTH_S, days_w)})
    assert months.billed_before_w() == {"2025-08": 35_000.0}
