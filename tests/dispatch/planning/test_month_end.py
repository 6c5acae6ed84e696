"""What a plan says of where the month's billed peak ends is true in every case, or is not said."""

from __future__ import annotations

from typing import Any

import pytest
from plan_site import ask, hourly, site

from dispatch.billing.billed_peaks import BilledPeak
from dispatch.config.demand_terms import DemandTerms
from dispatch.planning.month_end import month_end
from dispatch.planning.peak.outlook import PeakOutlook
from dispatch.wording.catalogue import words

DEMAND = {"demand_eur_per_kw_month": 10.0}
DAYS = "the last 12 days could have been held at 48.1 kW"


def said(ends_kw: tuple[float, float], billed: tuple[BilledPeak, ...] = (), **tariff: Any) -> str:
    outlook = PeakOutlook(0.0, (), 48_100.0, (), (1000 * ends_kw[0], 1000 * ends_kw[1]), 12.0)
    inputs = ask(site(tariff=tariff or DEMAND), hourly([50.0]), [20_000.0], peak=outlook, billed=billed)
    return words(month_end(inputs))


def billed(*peaks_kw: float, before: int = 0) -> tuple[BilledPeak, ...]:
    return tuple(BilledPeak(f"2025-{n:02d}", 1000 * kw, 1.0, n > before) for n, kw in enumerate(peaks_kw, start=1))


@pytest.mark.parametrize(
    ("months", "evidence"),
    [
        (billed(55.2), f"2025-01 was billed 55.2 kW; {DAYS}"),
        (billed(61.0, 55.2, 58.0), f"3 earlier ones, 2025-01 to 2025-03, were billed 55.2 kW to 61.0 kW; {DAYS}"),
        (
            billed(61.0, 55.2, before=1),
            f"2 earlier ones, 2025-01 to 2025-02, were billed 55.2 kW to 61.0 kW; 1 of them before the battery; {DAYS}",
        ),
    ],
)
def test_the_evidence_is_named(months: tuple[BilledPeak, ...], evidence: str) -> None:
    between = "month expected to be billed at 52.0 kW to 58.0 kW, about four times of five: "
    assert said((52.0, 58.0), months) == between + evidence
    assert said((52.0, 52.0), months) == f"month expected to be billed at 52.0 kW, about four times of five: {evidence}"


def test_a_year_is_called_a_year() -> None:
    year = DemandTerms(eur_per_kw=90.0, per="year")
    assert said((52.0, 58.0), billed(55.2), demand=year).startswith("year expected to be billed")


def test_days_alone_are_no_ground_to_expect_anything() -> None:
    unknown = "month to be billed: no earlier one is known, on record or by billed_peaks_kw; "
    assert said((52.0, 58.0)) == unknown + DAYS


def test_nothing_is_said_where_no_single_peak_is_billed_or_nothing_is_known() -> None:
    assert not said((52.0, 58.0), demand=DemandTerms(eur_per_kw=10.0, top_days=3))
    assert not said((52.0, 58.0), demand_eur_per_kw_month=0.0, fee_eur_per_kwh=0.01)
    assert month_end(ask(site(tariff=DEMAND), hourly([50.0]), [20_000.0], billed=billed(55.2))) is None
