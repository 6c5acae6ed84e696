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
from dispatch.planning.order_consequence import SiteNow, consequence, told
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


def lines(value: float, *, minutes: float = 30.0, kind: OrderKind = OrderKind.SETPOINT, **site: Any) -> list[str]:
    interval = Interval(NOON, 900, 5_000.0, 0.0, 45_000, 45_000)  # 5 kWh in the first 7.5 min: 40 kW
    given: dict[str, Any] = {"plan": a_plan(40_000.0, 44_000.0), "free_w": 42_000.0} | site
    now = SiteNow(config=CONFIG, utc_s=NOON + 450.0, net_w=40_000.0, soc_pct=50.0, interval=interval, **given)
    ends_s = NOON + 450 + 60 * minutes
    found = consequence(now, Order("", kind, value, "", "", "", NOON, ends_s, 60 * minutes))
    assert found is not None
    return [words(line) for line in told(found, CONFIG)]


def test_charging_breaks_the_contract_at_a_moment_by_so_much_and_raises_the_peak() -> None:
    # running interval: 5 kWh + 7.5 min x 60 kW = 12.5 kWh, 50 kW; the next: 60 kW, 15 kW above; 11.25 kWh are allowed:
    # 6.25 kWh at 60 kW take 6:15 min from 14:07:30
    energy, mean, peak, contract = lines(-20_000.0)
    assert energy == "until 14:37 takes 10.0 kWh, SoC 50.0 → 59.4 %; import 10.0 kWh more, 2.00 EUR"
    assert mean == "interval of 14:15: mean 60.0 kW (55.0 kW to 64.0 kW)"
    assert peak == "month's peak rises by 18.0 kW, 180 EUR"
    assert contract == "CONTRACT BROKEN at 14:13 by 5.0 kW"


@pytest.mark.parametrize(
    ("value", "site", "contract"),
    [
        (10_000.0, {}, "contract 45.0 kW kept"),
        (0.0, {"plan": a_plan(40e3, 48e3)}, "contract 45.0 kW kept, at the upper end of the band exceeded by 3.0 kW"),
        (0.0, {"plan": a_plan(60e3, 66e3)}, "CONTRACT BROKEN at 14:26 by 15.0 kW, as it is without the order"),
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
