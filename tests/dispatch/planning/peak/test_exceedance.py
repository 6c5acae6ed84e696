"""The days seen: how likely a peak lasts, what caps can give of what is lacking, and what a higher peak costs."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.billing.billed_peaks import BilledPeak
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig
from dispatch.planning.lp_model import RISES
from dispatch.planning.peak.exceedance import (
    DAY,
    LEAST_SHARE,
    BilledMonths,
    DayStatistics,
    PeakCost,
    Period,
    beta_binomial_fewer,
    billed_months,
    peak_cost,
    summarise,
)
from dispatch.planning.peak.upkeep import no_upkeep

GRID = np.linspace(0.0, 80.0, 81)
TERMS = DemandTerms(eur_per_kw=10.0)


def seen_of(highest_kw: list[float], caps: CapsConfig | None = None) -> DayStatistics:
    """Days with one quarter each in which the battery left import at so many kW."""
    net = np.zeros(len(highest_kw) * DAY)
    net[40::DAY] = highest_kw
    lack = np.maximum(0.0, net[:, None] - GRID)
    return summarise(0, caps or CapsConfig(), GRID, lack, net)


def cost_of(highest_kw: list[float], peak_kw: float = 20.0, left: float = 30.0) -> PeakCost:
    return peak_cost([seen_of(highest_kw)], TERMS, np.zeros(DAY), peak_kw, left, no_upkeep())


def test_the_highest_of_ten_days_lasts_a_month_one_time_in_four() -> None:
    """In whatever order forty like days come, the highest is among the first ten: 10 of 40."""
    once, none = np.array([1.0]), np.array([10.0])
    assert beta_binomial_fewer(1, once, none, 30.0)[0] == pytest.approx(10 / 40)
    assert beta_binomial_fewer(1, once, none, 0.0)[0] == pytest.approx(1.0)


@given(st.floats(0.1, 20), st.floats(0.1, 20), st.floats(0, 40))
def test_more_days_that_count_keep_a_peak_billed_for_longer(over: float, under: float, draws: float) -> None:
    shares = [float(beta_binomial_fewer(n, np.array([over]), np.array([under]), draws)[0]) for n in (1, 2, 5)]
    assert all(0 <= a <= b + 1e-9 <= 1 + 2e-9 for a, b in itertools.pairwise(shares))


def test_prices_rise_and_fit_the_plans_program() -> None:
    cost = cost_of([50.0, 30.0, 45.0, 40.0, 52.0, 30.0, 38.0, 41.0, 30.0, 47.0])
    assert len(cost.shares) == len(cost.widths_kw) == RISES
    assert cost.shares == sorted(cost.shares)
    assert cost.shares[0] == pytest.approx(LEAST_SHARE, rel=0.1), "every day was higher, and yet it is not free"
    assert cost.shares[-1] > 0.7
    assert cost.total(np.array([20.0, 52.0]))[1] - cost.total(np.array([20.0]))[0] < 10, "less than the whole rise"


def test_a_spell_of_high_days_tells_less_than_as_many_that_come_and_go() -> None:
    spell, mixed = [50.0] * 6 + [30.0] * 6, [50.0, 30.0] * 6
    assert cost_of(spell).total(np.array([45.0]))[0] > cost_of(mixed).total(np.array([45.0]))[0]


def test_caps_give_no_more_than_their_depth_of_what_is_lacking() -> None:
    caps = CapsConfig(value_eur_per_kwh=0.3, max_share=0.25, idle_w=20_000)
    with_caps, without = seen_of([60.0, 30.0], caps), seen_of([60.0, 30.0])
    at = int(np.searchsorted(GRID, 55.0))
    assert with_caps.short_kwh[at] == pytest.approx(5.0 / 4 / 2)  # all of it, a quarter of an hour on one day of two
    assert with_caps.overrun[at] == 0
    assert without.overrun[at] == 0.5
    deep = int(np.searchsorted(GRID, 45.0))
    assert with_caps.short_kwh[deep] == pytest.approx(10.0 / 4 / 2)  # a quarter of 40 kW
    assert with_caps.rise_kw[:, deep].tolist() == pytest.approx([0.0, 5.0])


@pytest.mark.parametrize("eur_per_kwh", [0.01, 0.3, 3.0])
def test_an_option_to_cap_makes_a_low_peak_worth_no_less(eur_per_kwh: float) -> None:
    highest = [50.0, 30.0, 45.0, 40.0, 52.0, 30.0, 38.0, 41.0, 30.0, 47.0]
    caps = CapsConfig(value_eur_per_kwh=eur_per_kwh, max_share=0.25, idle_w=20_000)
    both = peak_cost([seen_of(highest), seen_of(highest, caps)], TERMS, np.zeros(DAY), 20.0, 30.0, no_upkeep())
    levels = np.linspace(20.0, 60.0, 9)
    more = both.total(levels) - cost_of(highest).total(levels)
    assert more.min() > -0.2, "kW, the width of a step"
    assert eur_per_kwh > 1 or more.max() > 1


def test_the_highest_rise_over_many_days_is_that_of_the_highest_day() -> None:
    seen, one = seen_of([60.0, 30.0, 40.0]), np.array([1.0])
    levels = np.array([35.0, 59.0, 70.0])
    many = seen.highest_kw(one, np.zeros((1, 3)), levels, 1000.0)
    assert many.tolist() == pytest.approx([25.0, 1.0, 0.0])
    soon = seen.highest_kw(one, np.full((1, 3), 30.0), levels, 1000.0)
    assert soon.tolist() == pytest.approx([30.0, 30.0, 30.0])


def test_a_rise_costs_the_more_the_fewer_days_are_left_and_the_rarer_it_was() -> None:
    highest = [20.0] * 10 + [40.0] * 4
    soon, late = (cost_of(highest, left=left) for left in (1.0, 20.0))
    levels = np.linspace(20.0, 60.0, 9)
    for cost in (soon, late):
        assert (np.diff(cost.total(levels), 2) >= -1e-9).all(), "convex"
    assert (soon.total(levels) >= late.total(levels) - 1e-9).all()
    assert late.total(levels)[4] < 0.3 * 20 < soon.total(levels)[4], "20 to 40 kW came on four days of 14"


def billed_at(*peaks_kw: float, left: float = 1.0) -> BilledMonths:
    return BilledMonths(np.array(peaks_kw), np.ones(len(peaks_kw)), Period(left, 31.0))


def ends_of(
    highest_kw: list[float], billed: BilledMonths | None, peak_kw: float = 20.0, left: float = 30.0
) -> PeakCost:
    return peak_cost([seen_of(highest_kw)], TERMS, np.zeros(DAY), peak_kw, left, no_upkeep(), billed)


QUIET = [28.0, 29.0, 30.0] * 4


def test_without_earlier_months_nothing_changes() -> None:
    assert billed_months((), 5.0, Period(1.0, 31.0)) is None


def test_a_month_from_before_the_battery_is_lowered_by_what_it_takes_off() -> None:
    one = BilledPeak("2026-03", 57_000.0, 0.5)
    both = billed_months((one, msgspec.structs.replace(one, with_battery=False)), 6.0, Period(1.0, 31.0))
    assert both is not None
    assert both.peaks_kw.tolist() == [57.0, 51.0]


def test_months_that_ended_high_make_a_rise_cheaper_after_quiet_days_the_more_of_them_there_are() -> None:
    level = np.array([50.0])
    costs = [ends_of(QUIET, billed_at(*([57.0] * n))).total(level)[0] for n in (1, 3, 6, 12)]
    assert costs == sorted(costs, reverse=True)
    assert costs[3] < 0.4 * costs[0]


def test_months_that_ended_low_keep_a_peak_worth_defending_after_one_high_day() -> None:
    days, level = [30.0] * 11 + [55.0], np.array([50.0])
    assert ends_of(days, billed_at(*([35.0] * 12))).total(level)[0] > 1.2 * ends_of(days, None).total(level)[0]


def test_low_months_say_nothing_of_a_level_that_every_recent_day_exceeds() -> None:
    days, level = [50.0] * 12, np.array([45.0])
    alone, told = (ends_of(days, billed).total(level)[0] for billed in (None, billed_at(*([35.0] * 12))))
    assert told == pytest.approx(alone, rel=0.02)


def test_the_month_ends_where_months_ended_the_surer_the_more_there_are() -> None:
    few, many = (ends_of(QUIET, billed_at(*peaks)).ends_kw for peaks in ([57.0], [55.0, 56.0, 57.0, 58.0, 59.0] * 4))
    assert few[0] < 35 < 56 < few[1]
    assert 50 < many[0] < 57 < many[1] < 62


def test_at_a_months_end_its_peak_is_what_it_is() -> None:
    low_kw, high_kw = ends_of(QUIET, billed_at(*([57.0] * 12), left=0.0), peak_kw=40.0, left=0.0).ends_kw
    assert low_kw == pytest.approx(40.0, abs=0.5)
    assert high_kw == pytest.approx(40.0, abs=0.5)
