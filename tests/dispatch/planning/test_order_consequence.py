"""What an order would break and cost, by hand: an hour from 12:00, 40 kW of load, a contract of 45 kW."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from small_site import site_config

from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.metering_interval import Interval
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.planning.consequence_words import told
from dispatch.planning.order_consequence import SiteNow, consequence
from dispatch.wording.catalogue import words

NOON = 1_758_024_000  # 2025-09-16 14:00 in Berlin
CONFIG = msgspec.structs.replace(
    site_config(contracted_peak_w=45_000), tariff=TariffTerms(demand_eur_per_kw_month=10.0)
)


def a_plan(load_w: float, high_w: float, battery_w: float = 0.0) -> Plan:
    steps = tuple(
        PlanStep(NOON + 900 * n, 0.2, load_w, load_w - 5_000, high_w, 0.0, battery_w, load_w - battery_w, 50.0)
        for n in range(8)
    )
    return Plan(float(NOON), 900, steps, 0.0, 0.0, 0.0)


def an_order(kind: OrderKind, value: float, minutes: float, id: str = "", target: str = "") -> Order:
    return Order(id, kind, value, target, "ada", "", NOON, NOON + 450 + 60 * minutes, 60 * minutes)


RAISED = an_order(OrderKind.RESERVE_LEVEL, 50.0, 60.0)  # to what is stored: the battery has nothing to give


def lines(value: float, *, minutes: float = 30.0, kind: OrderKind = OrderKind.SETPOINT, **site: Any) -> list[str]:
    interval = Interval(NOON, 900, 5_000.0, 0.0, 45_000, 45_000)  # 5 kWh in the first 7.5 min: 40 kW
    given: dict[str, Any] = {"plan": a_plan(40_000.0, 44_000.0), "free_w": 42_000.0} | site
    given = {"net_w": 40_000.0, "interval": interval} | given
    now = SiteNow(config=CONFIG, utc_s=NOON + 450.0, soc_pct=50.0, **given)
    ends_s = NOON + 450 + 60 * minutes
    found = consequence(now, Order("", kind, value, "", "", "", NOON, ends_s, 60 * minutes))
    assert found is not None
    return [words(line) for line in told(found, CONFIG)]


def test_charging_breaks_the_contract_at_a_moment_by_so_much_and_raises_the_peak() -> None:
    # running interval: 5 kWh + 7.5 min x 60 kW = 12.5 kWh, 50 kW; the next: 60 kW, 15 kW above; 11.25 kWh are allowed:
    # 6.25 kWh at 60 kW take 6:15 min from 14:07:30
    energy, mean, peak, contract = lines(-20_000.0)
    assert energy == "until 14:37 takes 10.0 kWh, SoC 50.0 → 59.4 %; import 10.0 kWh more, +2.00 EUR"
    assert mean == "interval of 14:15: mean 60.0 kW (55.0 kW to 64.0 kW)"
    assert peak == "month's peak rises by 18.0 kW, 180 EUR"
    assert contract == "CONTRACT BROKEN at 14:13 by 5.0 kW"


@pytest.mark.parametrize(
    ("value", "site", "contract"),
    [
        (10_000.0, {}, "contract 45.0 kW kept"),
        (0.0, {"plan": a_plan(40e3, 48e3)}, "contract 45.0 kW kept, at the upper end of the band exceeded by 3.0 kW"),
        (0.0, {"plan": a_plan(60e3, 66e3)}, "CONTRACT BROKEN at 14:26 by 15.0 kW"),  # else the battery would hold it
        (
            0.0,
            {"plan": a_plan(60e3, 66e3), "orders": (RAISED,)},
            "CONTRACT BROKEN at 14:26 by 15.0 kW, as it is without the order",
        ),
        (0.0, {"plan": a_plan(60e3, 66e3, 20e3)}, "CONTRACT BROKEN at 14:26 by 15.0 kW"),
    ],
)  # fmt: skip
def test_the_contract_is_kept_at_risk_or_broken(value: float, site: dict[str, Any], contract: str) -> None:
    assert lines(value, **site)[3] == contract


def test_what_is_not_known_is_not_said() -> None:
    energy, mean, peak, _ = lines(-20_000.0, plan=None)
    assert energy.endswith("import 10.0 kWh more"), "no price"
    assert mean == "interval of 14:15: mean 60.0 kW", "no band"
    assert lines(-20_000.0, one_charge=False)[2] == "month's peak rises by 18.0 kW", "a kW has not one price"
    assert peak == "month's peak rises by 18.0 kW, 180 EUR"


def test_a_hold_raises_the_peak_that_the_battery_would_have_held() -> None:
    _, _, peak, contract = lines(0.0, kind=OrderKind.HOLD, plan=None, net_w=60e3, free_w=45e3)
    assert peak == "month's peak rises by 15.0 kW, 150 EUR"
    assert contract.startswith("CONTRACT BROKEN at 14:13")
    assert "without the order" not in contract


def test_after_a_short_order_the_battery_holds_the_limit_as_far_as_it_can() -> None:
    # 5 kWh so far, 2 min at 60 kW: 7 kWh; the 4.25 kWh left take 46.4 kW in the 5.5 min left, and the load is 40 kW
    assert lines(-20_000.0, minutes=2.0)[3] == "contract 45.0 kW kept"


@pytest.mark.parametrize(
    ("price", "value", "said"),
    [
        (-0.2, -20e3, "10.0 kWh more, -2.00 EUR"),
        (-0.2, 20e3, "10.0 kWh less, +2.00 EUR"),
        (0.2, 20e3, "10.0 kWh less, -2.00 EUR"),
    ],
)
def test_the_sign_of_the_cost_is_said(price: float, value: float, said: str) -> None:
    plan = a_plan(40e3, 44e3)
    steps = tuple(msgspec.structs.replace(step, price_eur_per_kwh=price) for step in plan.steps)
    assert lines(value, plan=msgspec.structs.replace(plan, steps=steps))[0].endswith(said)


def test_a_raised_reserve_ends_the_discharge_and_the_order_in_force_is_what_it_is_held_against() -> None:
    assert lines(20e3, orders=(RAISED,))[0].startswith("until 14:37 the battery rests at 50.0 %")
    before = an_order(OrderKind.SETPOINT, 20e3, 60.0, "o1")
    assert ", SoC 50.0 → 50.0 %" not in lines(20e3, orders=(before,))[0]
    assert lines(20e3, orders=(before,))[0].endswith("; import 0.0 kWh more, +0.00 EUR")
    assert lines(0.0, orders=(before,))[0].endswith("; import 10.0 kWh more, +2.00 EUR")
    disabled = [an_order(OrderKind.DISABLE, 0.0, 60.0, target=pcs.id) for pcs in CONFIG.pcs]
    assert "the battery rests" in lines(20e3, orders=tuple(disabled))[0]


def test_an_import_target_follows_the_load_within_its_band() -> None:
    assert (
        lines(30e3, kind=OrderKind.IMPORT_TARGET, minutes=37.5)[1]
        == "interval of 14:00: mean 35.0 kW (35.0 kW to 35.0 kW)"
    )


def test_a_part_that_was_not_metered_and_an_assumed_price_are_not_passed_over() -> None:
    interval = Interval(NOON, 900, 5_000.0, 300.0, 45_000, 45_000)
    found = lines(0.0, interval=interval)
    assert found[3] == "contract 45.0 kW kept by the forecast; 300 s of this interval were not metered"
    plan = a_plan(40e3, 44e3)
    steps = tuple(msgspec.structs.replace(step, assumed=True) for step in plan.steps)
    assert lines(-20e3, plan=msgspec.structs.replace(plan, steps=steps))[0].endswith("10.0 kWh more")


def test_a_new_month_has_a_peak_of_its_own() -> None:
    october = 1_759_269_600.0  # 2025-10-01 00:00 in Berlin
    interval = Interval(october - 900, 900, 5_000.0, 0.0, 45_000, 45_000)
    now = SiteNow(
        config=CONFIG, utc_s=october - 450, net_w=40e3, soc_pct=50.0, interval=interval, free_w=90e3
    )  # fmt: skip
    order = Order("", OrderKind.SETPOINT, -10e3, "", "", "", 0.0, october + 900, 1_350.0)
    found = consequence(now, order)
    assert found is not None
    assert (round(found.peak_rise_w), found.peak_eur) == (10_000, None)


def a_limit(sort: Sort, limit_w: float, quantity: Quantity = Quantity.IMPORT, begin_s: float = NOON) -> Signal:
    return Signal("s1", sort, "acme", quantity, limit_w, begin_s, begin_s + 7200, NOON)


@pytest.mark.parametrize(
    ("value", "signal", "energy", "limit"),
    [
        # 10 kW for half an hour: the grid operator's limit outranks the order
        (0.0, a_limit(Sort.OBLIGATION, 30e3), "gives 5.0 kWh", "acme s1: import at most 30.0 kW kept"),
        # the others' do not: the load of 40 kW stays
        (0.0, a_limit(Sort.MARKET, 30e3), "rests", "acme s1: import at most 30.0 kW EXCEEDED at 14:07 by 10.0 kW"),
        (0.0, a_limit(Sort.ORDER, 41e3), "rests", "acme s1: import at most 41.0 kW kept"),
        (-20e3, a_limit(Sort.OBLIGATION, 10e3, Quantity.CHARGE), "takes 5.0 kWh", "charge at most 10.0 kW"),
        (0.0, a_limit(Sort.MARKET, 1e3, begin_s=NOON + 7200), "rests", "contract"),
    ],
)  # fmt: skip
def test_the_limits_of_signals_and_events_are_counted(value: float, signal: Signal, energy: str, limit: str) -> None:
    found = lines(value, signals=(signal,))
    assert energy in found[0]
    assert limit in found[3]
    assert "contract" in found[-1].lower()


def test_without_an_order_the_battery_keeps_a_limit_from_outside() -> None:
    """So the import that an order costs is more than what the load alone would draw."""
    kept = lines(0.0, signals=(a_limit(Sort.MARKET, 30e3),))
    assert "import 5.0 kWh more" in kept[0]  # 10 kW for half an hour
