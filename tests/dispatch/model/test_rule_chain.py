"""Rules narrow, never widen; what cannot be met is resolved by priority and said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.model.reasons import RuleId, plain
from dispatch.model.rule_chain import Ask, Chain
from dispatch.wording.catalogue import words

ORDER = [*RuleId][1:]
watts = st.floats(-80_000, 80_000)
asks = st.builds(
    lambda a, b, p: Ask(plain("because of 1 W"), min(a, b), max(a, b), p),
    st.one_of(st.just(-math.inf), watts),
    st.one_of(st.just(math.inf), watts),
    st.one_of(st.none(), watts),
)


@given(st.lists(asks, max_size=10))
def test_bounds_only_narrow_and_the_outcome_is_inside(chain_asks: list[Ask]) -> None:
    chain = Chain(-50_000, 60_000)
    before = chain.bounds
    for n, ask in enumerate(chain_asks):
        chain.apply(ORDER[n], ask)
        assert before.low_w <= chain.bounds.low_w <= chain.bounds.high_w <= before.high_w
        before = chain.bounds
    outcome = chain.outcome()
    assert outcome.w is not None
    assert before.low_w <= outcome.w <= before.high_w
    assert sum(t.bound for t in outcome.traces) <= 1
    assert all(t.preferred_w is None or t.low_w <= t.preferred_w <= t.high_w for t in outcome.traces)


@given(st.lists(asks, min_size=1, max_size=6), asks)
def test_an_earlier_rule_that_can_be_met_is_met_whatever_follows(first: list[Ask], last: Ask) -> None:
    chain = Chain(-50_000, 60_000)
    for n, ask in enumerate(first):
        chain.apply(ORDER[n], ask)
    kept = chain.bounds
    chain.apply(RuleId.IDLE, last)
    w = chain.outcome().w
    assert w is not None
    assert kept.low_w <= w <= kept.high_w


def test_an_empty_interval_goes_to_the_nearest_edge_and_says_so() -> None:
    chain = Chain(-60_000, 60_000)
    chain.apply(RuleId.DEVICE_LIMITS, Ask(plain("BMS allows 20.0 kW"), -20_000, 20_000))
    chain.apply(RuleId.INTERVAL_BUDGET, Ask(plain("1.9 kWh left"), low_w=35_000))
    chain.apply(RuleId.PLAN, Ask(plain("plan asks 0 kW"), preferred_w=0.0))
    outcome = chain.outcome()
    assert outcome.w == 20_000
    assert outcome.binding == RuleId.DEVICE_LIMITS
    assert "cannot be met: asks at least 35.0 kW, held at 20.0 kW by device limits" in words(outcome.reason)
    assert [t.bound for t in outcome.traces] == [True, False, False]
    assert [t.unmet for t in outcome.traces] == [False, True, False]


def test_an_ask_without_command_wins_over_everything() -> None:
    chain = Chain(-1.0, 1.0)
    chain.apply(RuleId.ISLANDING, Ask(plain("switch pcc is open"), command=False))
    chain.apply(RuleId.PLAN, Ask(plain("plan"), preferred_w=1.0))
    outcome = chain.outcome()
    assert (outcome.w, outcome.binding, words(outcome.reason)) == (None, RuleId.ISLANDING, "switch pcc is open")


def test_a_bound_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="rule interval budget"):
        Chain(-1.0, 1.0).apply(RuleId.INTERVAL_BUDGET, Ask(plain(""), low_w=math.nan))
