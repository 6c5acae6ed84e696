"""Perfect foresight: by hand, within bounds, and in the right direction when the site changes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, site

from dispatch.billing.bill import Bill, Flow, bill, stored_change_kwh
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.curtailment import curtailed_w
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w


def foreseen(config: DispatchConfig, net_w: list[float], prices: list[float], soc_pct: float = 50.0) -> list[float]:
    idle = idle_schedule(config, NOON, 900, len(net_w), soc_pct)
    return perfect_battery_w(config, 900, net_w, prices, idle)


def cost(config: DispatchConfig, net_w: list[float], prices: list[float], battery_w: list[float]) -> Bill:
    flow = Flow(
        start_utc_s=NOON,
        step_s=900,
        load_w=[max(w, 0.0) for w in net_w],
        pv_w=[max(-w, 0.0) for w in net_w],
        eur_per_mwh=prices,
        battery_w=battery_w,
    )
    return bill(config, flow, stored_change_kwh(config, 900, battery_w))


def soc_after(config: DispatchConfig, battery_w: list[float], soc_pct: float = 50.0) -> list[float]:
    steps = [stored_change_kwh(config, 900, [w]) for w in battery_w]
    return [soc_pct + 100 * sum(steps[: k + 1]) / config.energy_kwh for k in range(len(steps))]


def test_two_prices_by_hand() -> None:
    """Two hours at 50, two at 250 EUR/MWh, load 40 kW: fill up (40 kWh in the cells), then empty to where it began."""
    config = site()
    net_w, prices = [40_000.0] * 16, [50.0] * 8 + [250.0] * 8
    battery_w = foreseen(config, net_w, prices)
    charged_kwh = -sum(w for w in battery_w if w < 0) / 4000
    discharged_kwh = sum(w for w in battery_w if w > 0) / 4000
    assert charged_kwh == pytest.approx(40 / 0.9)
    assert discharged_kwh == pytest.approx(40 * 0.9)
    assert all(w <= 0 for w in battery_w[:8])
    assert all(w >= 0 for w in battery_w[8:])


def test_a_peak_is_shaved_as_far_as_the_energy_goes() -> None:
    """One hour of 60 kW in a flat day of 20 kW, 10 EUR/kW: as low as recharging for it allows."""
    config = site(tariff={"demand_eur_per_kw_month": 10.0})
    net_w = [20_000.0] * 40 + [60_000.0] * 4 + [20_000.0] * 40
    battery_w = foreseen(config, net_w, [100.0] * len(net_w))
    peak_w = max(n - b for n, b in zip(net_w, battery_w, strict=True))
    # held flat: (60 - p) x 1 h = 0.81 x (p - 20) x 20 h, and never more than 80 kWh x 0.9 out of the cells
    assert peak_w == pytest.approx(1000 * (60 + 0.81 * 20 * 20) / (1 + 0.81 * 20), rel=1e-4)


def test_a_dear_hour_is_exported_into_up_to_the_limit_and_only_at_a_price_that_pays() -> None:
    """20 kW for an hour at 900 EUR/MWh; at 40, less the margin of 30, losses and wear eat it."""
    config = site(grid={"export_limit_w": 20_000.0}, tariff={"export_margin_eur_per_kwh": 0.03})
    net_w, prices = [0.0] * 16, [50.0] * 8 + [900.0] * 4 + [50.0] * 4
    battery_w = foreseen(config, net_w, prices)
    assert battery_w[8:12] == pytest.approx([20_000.0] * 4)
    assert cost(config, net_w, prices, battery_w).export_kwh == pytest.approx(20)
    assert foreseen(config, net_w, [5.0] * 8 + [40.0] * 8) == pytest.approx([0.0] * 16, abs=1e-3)


def test_without_a_battery_there_is_nothing_to_do() -> None:
    assert foreseen(site(battery={"energy_kwh": 0.0}), [10_000.0] * 8, [100.0] * 8) == [0.0] * 8


def test_negative_prices_burn_nothing() -> None:
    """Import is paid for: more of it would pay, by charging and discharging at once. No battery can."""
    config = site()
    net_w, prices = [5_000.0] * 24, [-200.0] * 24
    battery_w = foreseen(config, net_w, prices)
    assert min(soc_after(config, battery_w)) >= 10 - 1e-4
    assert soc_after(config, battery_w)[-1] == pytest.approx(50, abs=1e-3)


days = st.lists(st.tuples(st.floats(-40_000, 60_000), st.floats(-100, 400)), min_size=8, max_size=48)


@given(days)
@settings(max_examples=40, deadline=None)
def test_what_is_foreseen_can_be_done(day: list[tuple[float, float]]) -> None:
    """Powers within ratings, SoC between reserve and soc_max, and never dearer than doing nothing."""
    config = site(reserve={"hours": 1.0, "critical_load_w": 9_000.0}, tariff={"demand_eur_per_kw_month": 5.0})
    net_w, prices = [w for w, _ in day], [p for _, p in day]
    battery_w = foreseen(config, net_w, prices)
    assert max(map(abs, battery_w)) <= 60_000 + 1
    soc = soc_after(config, battery_w)
    assert min(soc) >= reserve_soc_pct(config) - 1e-3
    assert max(soc) <= 90 + 1e-3
    idle = cost(config, net_w, prices, [0.0] * len(net_w)).total_eur
    assert cost(config, net_w, prices, battery_w).total_eur <= idle + 0.01


@given(days, st.floats(1.1, 4.0))
@settings(max_examples=30, deadline=None)
def test_more_battery_never_costs_more(day: list[tuple[float, float]], more: float) -> None:
    """Same SoC limits in kWh at the low end, the ceiling higher: everything the small one does, the large one can.

    Prices stay positive: where import pays, a site may not burn energy, and the proof does not hold for its rule.
    """
    net_w, prices = [w for w, _ in day], [abs(p) + 1 for _, p in day]
    terms = {"demand_eur_per_kw_month": 5.0}
    small = site(tariff=terms)
    floor, stored = 10 / more, 50 / more  # the same kWh in the larger one
    large = site(tariff=terms, battery={"energy_kwh": 100 * more, "soc_min_pct": floor})
    least = cost(small, net_w, prices, foreseen(small, net_w, prices)).total_eur
    less = cost(large, net_w, prices, foreseen(large, net_w, prices, stored)).total_eur
    assert less <= least + 0.01


@given(days, st.floats(0.5, 5))
@settings(max_examples=30, deadline=None)
def test_scaling_every_price_scales_the_cost(day: list[tuple[float, float]], factor: float) -> None:
    net_w, prices = [w for w, _ in day], [p for _, p in day]

    def least(scale: float) -> float:
        config = site(tariff={"demand_eur_per_kw_month": 5 * scale}, battery={"wear_eur_per_kwh": 0.01 * scale})
        market = [scale * p for p in prices]
        return cost(config, net_w, market, foreseen(config, net_w, market)).total_eur

    assert least(factor) == pytest.approx(factor * least(1.0), abs=0.05, rel=1e-3)


def test_a_step_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="step of 840 s"):
        perfect_battery_w(site(), 840, [1.0], [1.0], idle_schedule(site(), NOON, 840, 1, 50.0))


def test_below_the_reserve_the_start_is_the_floor() -> None:
    config = site(reserve={"hours": 2.0, "critical_load_w": 18_000.0})
    battery_w = foreseen(config, [30_000.0] * 16, [50.0] * 8 + [250.0] * 8, soc_pct=20.0)
    assert min(soc_after(config, battery_w, 20.0)) >= 20 - 1e-3


def test_what_costs_to_export_is_not_given_by_pv_that_can_be_limited() -> None:
    """30 kW of surplus, then 20 kW of load: what there is room for is stored, and room is not made at a loss."""
    config, prices = site(tariff={"demand_eur_per_kw_month": 0.0}), [-100.0] * 8 + [100.0] * 8
    net_w, most_w = [-30_000.0] * 8 + [20_000.0] * 8, [30_000.0] * 8 + [0.0] * 8
    idle = idle_schedule(config, NOON, 900, len(net_w), 50.0)
    limited = msgspec.structs.replace(idle, curtail_w=most_w)
    battery_w = perfect_battery_w(config, 900, net_w, prices, limited)
    less_w = curtailed_w(config, idle.starts_utc_s, prices, net_w, battery_w, most_w)
    assert less_w[:8] == pytest.approx([30_000.0] * 8), "import pays, too"
    dear = msgspec.structs.replace(config, tariff=msgspec.structs.replace(config.tariff, fee_eur_per_kwh=0.2))
    battery_w = perfect_battery_w(dear, 900, net_w, prices, limited)
    less_w = curtailed_w(dear, idle.starts_utc_s, prices, net_w, battery_w, most_w)
    grid_w = [net + less - battery for net, less, battery in zip(net_w, less_w, battery_w, strict=True)]
    assert grid_w[:8] == pytest.approx([0.0] * 8, abs=1)
    assert sum(less_w) > 0
