"""Caps by the price of lost GPU-hours: the cheapest watt first, tiers kept, never dearer than what they save."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.config.schema import CapsConfig, NodeTerms
from dispatch.model.equipment import Gpu, Node
from dispatch.model.readings import reading
from dispatch.power_caps.pricing import Member, Prices, choose, cost, linear, member_of, without_cap
from dispatch.power_caps.throughput import AT_LIMIT, Curve

PRICES = Prices(eur_per_gpu_h=2.0, value_eur_per_kwh=0.3)
CAPS = CapsConfig(price_eur_per_gpu_hour=2.0, max_share=0.5)


def member(id: str = "gpu1", *gpus_w: float, **changes: object) -> Member:
    drawn = gpus_w or (400.0,) * 8
    return msgspec.structs.replace(
        Member(id=id, base_w=800 + sum(drawn), gpus_w=drawn, host_w=600.0, per_gpu=True), **changes
    )


def test_what_a_limit_costs() -> None:
    found = cost((member(),), 280.0, PRICES)
    assert (found.shed_w, found.limit_w) == (960.0, 280.0)
    assert found.lost_gpus == pytest.approx(8 * 0.1485), "66.5 % of the power is drawn"
    assert found.eur_per_h == pytest.approx(2 * 8 * 0.1485)
    idle = cost((member("gpu1", 400.0, 60.0, 60.0, 60.0),), 280.0, PRICES)
    assert idle.lost_gpus == pytest.approx(0.1485), "GPUs below the limit lose nothing"


def test_a_job_over_several_nodes_is_as_slow_as_its_slowest_gpu() -> None:
    both = cost((member("a", 400.0, 400.0), member("b", 300.0, 300.0)), 280.0, PRICES)
    assert both.slowdown == pytest.approx(0.1485)
    assert both.lost_gpus == pytest.approx(4 * 0.1485)
    assert [(one.node, one.lost_gpus) for one in both.costs()] == [
        ("a", pytest.approx(0.297)),
        ("b", pytest.approx(0.297)),
    ]


def test_the_lowest_price_of_a_watt_goes_first() -> None:
    """An H100 gives more watts than an A40 for the same share of its throughput."""
    large, small = member("h100", *(700.0,) * 8), member("a40", *(300.0,) * 8)
    (first,) = choose([(small,), (large,)], 400.0, PRICES)
    assert [m.id for m in first.members] == ["h100"]
    assert 400 <= first.shed_w <= 400 + 8 * 350 / 12
    every = choose([(small,), (large,)], 3_000.0, PRICES)
    assert {m.id for one in every for m in one.members} == {"h100", "a40"}
    assert sum(one.shed_w for one in every) >= 3_000


def test_a_dear_node_is_spared_and_a_cheap_curve_goes_first() -> None:
    flat = Curve(((0.5, 0.95), (1.0, 1.0)))
    (chosen,) = choose([(member("steep"),), (member("flat", curve=flat),)], 1_000.0, PRICES)
    assert [m.id for m in chosen.members] == ["flat"]


@pytest.mark.parametrize(("tolerated", "lowest_w"), [(0.0, 400.0), (0.1, 324.2), (0.25, 266.4), (0.5, 210.5)])
def test_tiers(tolerated: float, lowest_w: float) -> None:
    one = member(tolerated=tolerated)
    assert one.lowest_w() == pytest.approx(lowest_w, abs=0.1)
    chosen = choose([(one,)], 1e6, PRICES)
    assert [c.limit_w for c in chosen] == ([pytest.approx(lowest_w, abs=0.1)] if tolerated else [])
    assert all(one.cap_w(c.limit_w) >= 600 + 8 * lowest_w - 1e-6 for c in chosen), "rounded up, not down"


def test_neither_the_nodes_own_bound_nor_the_share_is_passed() -> None:
    assert member(floor_w=3_000.0).lowest_w() == pytest.approx(300.0), "600 W for the host, 8 x 300"
    assert member(max_share=0.2).lowest_w() == pytest.approx(300.0), "a fifth of 4 kW"
    whole = member(per_gpu=False, floor_w=3_200.0)
    assert whole.lowest_w() == pytest.approx(300.0)
    assert whole.cap_w(300.0) == 3_200.0
    assert member("gpu1", 400.0, 60.0, 60.0, 60.0, floor_w=1_500.0).lowest_w() == pytest.approx(225.0)


def test_a_node_without_gpus_costs_its_energy() -> None:
    plain = Member(id="cpu", base_w=500.0, gpus_w=(500.0,), curve=None, floor_w=300.0)
    (chosen,) = choose([(plain,)], 150.0, PRICES)
    assert plain.cap_w(chosen.limit_w) == 350.0
    assert chosen.eur_per_h == pytest.approx(0.15 * 0.3)
    assert (chosen.lost_gpus, [one.basis for one in chosen.costs()]) == (0.0, [""])
    assert not choose([(msgspec.structs.replace(plain, tolerated=0.0),)], 150.0, PRICES)


def test_what_costs_less_than_the_energy_is_capped_without_a_peak_and_what_costs_more_than_the_peak_is_not() -> None:
    """The first tenth of 400 W costs 2.1 % of a GPU-hour for 40 W: 1.05 EUR/kWh; the next 1.60."""
    saved = msgspec.structs.replace(PRICES, saved_eur_per_kwh=1.2)
    (chosen,) = choose([(member(),)], 0.0, saved)
    assert chosen.limit_w == pytest.approx(400 - 2 * (400 - 400 * 0.5 / 0.95) / 12)
    assert chosen.eur_per_h <= chosen.shed_w / 1000 * 1.2
    assert not choose([(member(),)], 0.0, PRICES)
    assert not choose([(member(),)], 0.0, msgspec.structs.replace(PRICES, saved_eur_per_kwh=1.0))
    bounded = msgspec.structs.replace(PRICES, most_eur_per_kwh=1.2)
    (chosen,) = choose([(member(),)], 1e6, bounded)
    assert chosen.limit_w > 350
    assert not choose([(member(),)], 1e6, msgspec.structs.replace(PRICES, most_eur_per_kwh=1.0))


def test_the_last_give_only_what_the_others_cannot() -> None:
    cheap, dear = member("cheap", *(700.0,) * 8), member("dear", *(300.0,) * 8)
    (chosen,) = choose([(cheap,), (dear,)], 500.0, PRICES, last=["cheap"])
    assert [m.id for m in chosen.members] == ["dear"]


def test_a_capped_node_is_known_as_it_would_be_without() -> None:
    node = Node(
        "n", w=reading(1_160.0), gpus=tuple(Gpu(n, "A", w=reading(w)) for n, w in enumerate((280.0, 275.0, 60.0)))
    )
    term = NodeTerms(id="n", cap_w=800, gpus=3, host_w=300.0, per_gpu=True)
    now = member_of(node, term, CAPS, 1_160.0, 25)
    assert (now.gpus_w, now.tolerated, now.per_gpu) == ((280.0, 275.0, 60.0), 0.25, True)
    before = member("n", 400.0, 390.0, 350.0)
    free = without_cap(now, before, 280.0)
    assert free.gpus_w == (400.0, 390.0, 60.0), "the third has less to do by itself"
    assert free.base_w == 1_160.0 + 120 + 115


def test_gpus_that_are_not_read_share_what_the_host_leaves() -> None:
    term = NodeTerms(id="n", cap_w=800, gpus=4, host_w=200.0)
    assert member_of(Node("n"), term, CAPS, 1_400.0, None).gpus_w == (300.0,) * 4
    assert member_of(Node("n"), NodeTerms(id="n", cap_w=800), CAPS, 1_400.0, None).curve is None


def test_a_plan_sees_a_price_per_kwh_and_the_depth_of_the_tier() -> None:
    old = CapsConfig(value_eur_per_kwh=0.3, max_share=0.5)
    assert linear(old) is old
    deep = linear(CAPS)
    assert (deep.max_share, deep.value_eur_per_kwh) == (0.5, pytest.approx(2 * 0.4 / 0.2))
    tier = linear(msgspec.structs.replace(CAPS, slowdown_pct=10))
    assert tier.max_share == pytest.approx(0.23)
    assert tier.value_eur_per_kwh < deep.value_eur_per_kwh
    assert linear(msgspec.structs.replace(CAPS, slowdown_pct=0)).max_share == 0


@given(
    st.lists(st.lists(st.floats(0, 700), min_size=1, max_size=8), min_size=1, max_size=4),
    st.floats(0, 5_000),
    st.floats(0, 3),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
)
def test_whatever_is_asked_the_bounds_hold(
    nodes: list[list[float]], wanted_w: float, saved: float, tier: float
) -> None:
    offers = [(member(f"n{n}", *gpus_w, tolerated=tier, max_share=0.4),) for n, gpus_w in enumerate(nodes)]
    prices = msgspec.structs.replace(PRICES, saved_eur_per_kwh=saved, most_eur_per_kwh=40.0)
    for chosen in choose(offers, wanted_w, prices):
        (one,) = chosen.members
        assert one.curve is not None
        assert chosen.shed_w <= 0.4 * one.base_w + 1e-6
        drawn_w = AT_LIMIT * chosen.limit_w
        assert all(
            one.curve.slowdown(drawn_w, w, careful=True) <= tier + 1e-6 for w in one.gpus_w if w > chosen.limit_w
        )
        assert chosen.eur_per_h <= chosen.shed_w / 1000 * 40.0 + 1e-6
