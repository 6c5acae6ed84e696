"""A price of CO2: plan, foresight and Energy IQ do with it what a fee of that amount has them do; no bill has it."""

from __future__ import annotations

import pytest
from plan_site import NOON, ask, hourly, site

from dispatch.billing.bill import Flow, bill
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.energy_iq import Iq, Quarter, assess
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.planning.peak.upkeep import DAY, UpkeepBook
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

CO2, FEE = {"co2_g_per_kwh": 400.0, "co2_eur_per_tonne": 250.0}, {"fee_eur_per_kwh": 0.1}
MARKET = [40.0] * 12 + [80.0] * 12  # the spread pays for the losses at these prices; with 10 ct on both it does not


def sites() -> tuple[DispatchConfig, ...]:
    """With a price of CO2, with a fee of that amount, with neither."""
    return site(tariff=CO2), site(tariff=FEE), site()


def test_the_plan_trades_as_with_a_fee_of_that_amount_and_states_what_is_paid() -> None:
    loads = [10_000.0] * 32 + [30_000.0] * 16 + [10_000.0] * 48
    asked = [ask(one, hourly(MARKET), loads) for one in sites()]
    co2, fee, bare = (make_plan(inputs) for inputs in asked)
    battery_w = [step.battery_w for step in co2.steps]
    assert battery_w == pytest.approx([step.battery_w for step in fee.steps], abs=1.0)
    assert max(step.battery_w for step in bare.steps) > 1_000 > max(battery_w)
    assert [step.reason and step.reason.code for step in co2.steps] == [
        step.reason and step.reason.code for step in fee.steps
    ]
    assert [step.price_eur_per_kwh for step in co2.steps] == [step.price_eur_per_kwh for step in bare.steps]
    assert check_plan(co2, asked[0]) == []
    assert co2.cost_eur + co2.co2_eur == pytest.approx(fee.cost_eur)
    assert co2.co2_eur == pytest.approx(0.1 * (10 * 20 + 30 * 4))
    assert (bare.co2_eur, bare.co2_eur_per_tonne) == (0.0, 0.0)


def test_what_holding_a_peak_costs_counts_it() -> None:
    lost = []
    for one in sites():
        book = UpkeepBook(one)
        for k in range(DAY):
            book.observe((NOON + 43_200) // 900 + k, 10.0, True)
        lost.append(book.ask(hourly(MARKET * 8, NOON)).eur[0])
    assert lost[0] == pytest.approx(lost[1])
    assert lost[0] < lost[2]


def test_foresight_minimises_what_the_plan_does() -> None:
    net_w, prices = [10_000.0] * 48, [40.0] * 24 + [80.0] * 24
    found = [
        perfect_battery_w(one, 900, net_w, prices, idle_schedule(one, NOON, 900, len(net_w), 50.0)) for one in sites()
    ]
    assert found[0] == pytest.approx(found[1], abs=1.0)
    assert max(found[2]) > 1_000 > max(found[0])


def test_no_bill_has_it() -> None:
    flow = Flow(
        start_utc_s=NOON,
        step_s=900,
        load_w=[8_000.0] * 4,
        pv_w=[0.0] * 4,
        eur_per_mwh=[50.0] * 4,
        battery_w=[2_000.0] * 2 + [0.0] * 2,
    )
    co2, fee, bare = (bill(one, flow, -1.0) for one in sites())
    assert co2.total_eur == bare.total_eur
    assert co2.co2_eur == pytest.approx(0.1 * 7 + 0.1 / 0.9), "7 kWh imported, and one kWh to be stored again"
    assert co2.minimised_eur == pytest.approx(fee.total_eur)
    assert bare.minimised_eur == bare.total_eur


def test_the_energy_iq_is_that_of_what_was_minimised_and_its_saving_that_of_the_bill() -> None:
    battery_w = [-10_000.0] * 8 + [8_100.0] * 8 + [0.0] * 16
    done: list[Quarter] = []
    soc_pct = 50.0
    for k, w in enumerate(battery_w):
        after_pct = soc_pct - w / 4000 * (0.9 if w < 0 else 1 / 0.9)
        price = 40.0 if k < 8 else 80.0 if k < 16 else 400.0
        done.append(Quarter(NOON + 900 * k, 40_000.0, 0.0, w, soc_pct, after_pct, price))
        soc_pct = after_pct

    def judged(config: DispatchConfig) -> Iq:
        return assess(config, done, NOON, NOON + 900 * len(done))

    co2, fee, bare = map(judged, sites())
    assert co2.iq_pct == pytest.approx(fee.iq_pct)
    assert co2.iq_pct != pytest.approx(bare.iq_pct, abs=1.0)
    assert co2.saved_eur == pytest.approx(bare.saved_eur)
    assert co2.none is not None
    assert bare.none is not None
    assert (co2.none.total_eur, co2.none.co2_eur) == pytest.approx((bare.none.total_eur, 0.1 * 320))
    assert co2.loss is not None
    assert fee.loss is not None
    assert co2.loss.forecast_eur == pytest.approx(fee.loss.forecast_eur)
