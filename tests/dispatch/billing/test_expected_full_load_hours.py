"""Prices by full-load hours before the year is over: those expected in the plan, both in foresight."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from plan_site import site

from dispatch.billing.bill import Flow, bill, stored_change_kwh
from dispatch.billing.charges.energy_prices import energy_prices
from dispatch.billing.charges.tariff_checks import tariff_checks
from dispatch.billing.peak_charges import main_charge
from dispatch.config.charges import Charge
from dispatch.config.schema import DispatchConfig
from dispatch.config.tariff_terms import TariffTerms
from dispatch.evaluation.energy_iq import Quarter, assess
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w

MIDNIGHT = int(datetime(2025, 9, 16, tzinfo=ZoneInfo("Europe/Berlin")).timestamp())
FEW: dict[str, Any] = {"full_load_h_below": 2500.0}
MANY: dict[str, Any] = {"full_load_h_from": 2500.0}
PAIR = (  # Stadtwerke Malchow, 2025, as a month's prices
    Charge(id="power-few", kind="max", price=21.49 / 12, **FEW),
    Charge(id="power-many", kind="max", price=119.08 / 12, **MANY),
    Charge(id="energy-few", kind="energy", price=0.05, **FEW),
    Charge(id="energy-many", kind="energy", price=0.0109, **MANY),
)


def a_site(hours: float | None = None, **changes: Any) -> DispatchConfig:
    return site(tariff={"charge": PAIR, "full_load_h": hours}, **changes)


@pytest.mark.parametrize(
    ("hours", "kw", "kwh"), [(None, 119.08, 0.0109), (2500.0, 119.08, 0.0109), (2499.0, 21.49, 0.05)]
)
def test_the_plan_s_prices_are_those_of_the_expected_hours(hours: float | None, kw: float, kwh: float) -> None:
    config = a_site(hours)
    assert main_charge(config).eur_per_kw == pytest.approx(kw / 12)
    assert energy_prices(config.tariff, config.timezone, [MIDNIGHT], [0.0]).buy == [pytest.approx(kwh)]


def cost_eur(config: DispatchConfig, net_w: list[float], battery_w: list[float]) -> float:
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=900,
        load_w=net_w,
        pv_w=[0.0] * len(net_w),
        eur_per_mwh=[0.0] * len(net_w),
        battery_w=battery_w,
    )
    return bill(config, flow, stored_change_kwh(config, 900, battery_w)).total_eur


@pytest.mark.parametrize("pulse_w", [60_000.0, 100_000.0])
def test_foresight_tries_few_and_many_hours(pulse_w: float) -> None:
    """20 kW and an hour of a pulse: as it is kept, the day has some 3000 full-load hours or more, or less than 2500."""
    net_w = [20_000.0] * 40 + [pulse_w] * 4 + [20_000.0] * 52
    config = a_site()

    def foreseen(of: DispatchConfig) -> list[float]:
        return perfect_battery_w(of, 900, net_w, [0.0] * 96, idle_schedule(of, MIDNIGHT, 900, 96, 50.0))

    alone = [
        site(
            tariff={
                "charge": tuple(msgspec.structs.replace(c, full_load_h_below=None, full_load_h_from=None) for c in pair)
            }
        )
        for pair in (PAIR[::2], PAIR[1::2])
    ]
    best = cost_eur(config, net_w, foreseen(config))
    assert best == pytest.approx(min(cost_eur(config, net_w, foreseen(of)) for of in alone), abs=0.01)


def test_a_day_s_energy_iq_is_judged_by_the_expected_hours() -> None:
    """A day of few full-load hours in a year of many: both parts of the bill have the prices of many."""
    day = [Quarter(MIDNIGHT + 900 * k, 90_000.0 if k == 40 else 10_000.0, 0.0, 0.0, 50.0, 50.0, 0.0) for k in range(96)]
    found = assess(a_site(), day, MIDNIGHT, MIDNIGHT + 86_400)
    assert found.own is not None
    assert found.own.energy_eur == pytest.approx((90 + 95 * 10) / 4 * 0.0109)
    assert found.own.peak_eur == pytest.approx(90 * 119.08 / 12)
    assert found.iq_pct == pytest.approx(0.0, abs=1e-6)


def test_expected_hours_without_a_price_by_them_are_told() -> None:
    tariff = TariffTerms(full_load_h=2000.0)
    found = [finding[0] for check in tariff_checks(tariff, 900) for finding in check()]
    assert found == ["tariff.full_load_h"]
