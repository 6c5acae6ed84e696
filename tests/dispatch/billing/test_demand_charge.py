"""The demand charge as data: windows on local time, what is billed, what costs nothing, what is said of it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.billing.demand_charge import billed_w, free_w, in_words, interval_account
from dispatch.config.demand_terms import DemandTerms, parsed

BERLIN = "Europe/Berlin"


def at(text: str) -> float:
    """POSIX seconds of a local time in Berlin, or of one with its offset."""
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=ZoneInfo(BERLIN))).timestamp()


def counts(window: str, local: str) -> bool:
    return interval_account(DemandTerms(windows=(window,)), BERLIN, at(local)).counts


def test_windows_are_of_local_time_and_end_exclusive() -> None:
    working = "mon-fri 08:00-20:00"
    assert counts(working, "2025-09-16T08:00")
    assert counts(working, "2025-09-16T19:45")
    assert not counts(working, "2025-09-16T20:00")
    assert not counts(working, "2025-09-16T07:45")
    assert not counts(working, "2025-09-20T12:00")  # Saturday
    assert counts("sat-mon 00:00-24:00", "2025-09-21T23:45")  # over the end of the week
    assert not counts("Sat-Mon 00:00-24:00", "2025-09-23T00:00")
    assert counts("22:00-24:00", "2025-09-20T23:45")
    assert interval_account(DemandTerms(), BERLIN, at("2025-09-20T23:45")).counts


def test_windows_follow_the_clock_change() -> None:
    """08:00 is 06:00 UTC in summer and 07:00 in winter; the hour that comes twice counts twice."""
    assert [counts("08:00-20:00", f"2025-10-{d}T{h}:00+00:00") for d, h in ((25, "06"), (26, "06"), (26, "07"))] == [
        True,
        False,
        True,
    ]
    night = DemandTerms(windows=("02:00-03:00",))
    quarters = [interval_account(night, BERLIN, at("2025-10-26T00:00") + 900 * k) for k in range(100)]
    assert sum(p.counts for p in quarters) == 8
    assert {p.day for p in quarters} == {"2025-10-26"}
    spring = [interval_account(night, BERLIN, at("2025-03-30T00:00") + 900 * k) for k in range(92)]
    assert sum(p.counts for p in spring) == 0
    assert {p.day for p in spring} == {"2025-03-30"}


@pytest.mark.parametrize(
    "text", ["8-20", "mon 20:00-08:00", "mon-fri", "foo 08:00-20:00", "08:00-24:30", "25:00-26:00"]
)
def test_what_is_no_window_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match='windows such as "mon-fri 08:00-20:00"'):
        parsed((text,))


def test_accounts_and_periods() -> None:
    late = at("2025-12-31T23:45")
    assert interval_account(DemandTerms(), BERLIN, late)[:3] == ("2025-12", "2025-12-31", "2025-12")
    assert interval_account(DemandTerms(per="year"), BERLIN, late)[:3] == ("2025", "2025-12-31", "2025")
    assert interval_account(DemandTerms(per="year", top_days=3), BERLIN, late + 900)[:3] == (
        "2026",
        "2026-01-01",
        "2026-01-01",
    )


def test_what_is_billed_by_hand() -> None:
    days = [50_000.0, 20_000.0, 44_000.0, 47_000.0]
    assert billed_w(DemandTerms(), days) == 50_000
    assert billed_w(DemandTerms(top_days=3), days) == 47_000
    assert billed_w(DemandTerms(top_days=3), days[:1]) == pytest.approx(50_000 / 3)  # two days are still to come
    assert billed_w(DemandTerms(floor_w=60_000), days) == 60_000
    assert billed_w(DemandTerms(), []) == 0


def test_what_costs_nothing_by_hand() -> None:
    assert free_w(DemandTerms(), [50_000.0]) == 50_000
    top = DemandTerms(top_days=3)
    assert free_w(top, [50_000.0, 20_000.0]) == 0  # today will be one of the three
    assert free_w(top, [50_000.0, 20_000.0], 15_000.0) == 15_000
    assert free_w(top, [50_000.0, 20_000.0, 44_000.0, 47_000.0], 15_000.0) == 44_000
    assert free_w(DemandTerms(floor_w=30_000), [12_000.0]) == 30_000
    assert free_w(DemandTerms(top_days=2, floor_w=30_000), []) == 30_000  # not 60: tomorrow wants its share
    assert free_w(DemandTerms(top_days=2, floor_w=30_000), [40_000.0]) == 20_000  # (40 + 20) / 2


forms = st.builds(
    DemandTerms,
    eur_per_kw=st.just(10.0),
    top_days=st.integers(1, 4),
    floor_w=st.sampled_from([0.0, 25_000.0]),
)
powers = st.floats(0, 80_000)


@given(forms, st.lists(powers, max_size=6), powers, powers)
def test_up_to_what_is_free_nothing_more_is_billed_and_beyond_a_kw_costs_its_share(
    terms: DemandTerms, others: list[float], own: float, more: float
) -> None:
    free = free_w(terms, others, own)
    before = billed_w(terms, [*others, own])
    assert billed_w(terms, [*others, free]) == pytest.approx(before, abs=1e-6)
    after = billed_w(terms, [*others, free + more])
    assert before - 1e-6 <= after <= before + more / terms.top_days + 1e-6
    if not terms.floor_w:
        assert after == pytest.approx(before + more / terms.top_days, abs=1e-6)


def test_in_words() -> None:
    assert in_words(DemandTerms(eur_per_kw=10), 900) == "10 EUR/kW on the month's highest 15-minute mean"
    many = DemandTerms(eur_per_kw=84, per="year", top_days=3, floor_w=20_000, windows=("mon-fri 08:00-20:00",))
    assert in_words(many, 3600) == (
        "84 EUR/kW on the mean of the year's 3 highest days, of each its highest 60 minutes, "
        "at least 20 kW, mon-fri 08:00-20:00 only"
    )
