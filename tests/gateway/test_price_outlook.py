"""The import price as consoles show it: of the market, and by windows without any market."""

from __future__ import annotations

import pytest

from dispatch.billing.market_prices import PriceSeries
from dispatch.config.charges import Charge, TariffWindow
from drivers.config import TariffConfig
from gateway.price_outlook import PriceOutlook
from gateway.prices_in_force import PricesInForce

NOON = 1_777_975_200  # 2026-05-05 12:00 in Berlin
HOUR = 3600
PRICES = PriceSeries(tuple(NOON + HOUR * k for k in range(-2, 5)), (90, 100, 100, 100, 50, None, 70), NOON + 5 * HOUR)


def outlook(prices: PriceSeries | None = None, **terms: object) -> PriceOutlook:
    held = PricesInForce() if prices is None else PricesInForce(prices)
    return PriceOutlook(TariffConfig(**terms), "Europe/Berlin", held)  # type: ignore[arg-type]


def test_the_market_with_fees_changes_only() -> None:
    now = outlook(PRICES, fee_eur_per_kwh=0.02).now(NOON + 60)
    assert now.now_eur_per_kwh == pytest.approx(0.12)
    assert now.ahead == ((NOON, 0.12), (NOON + 2 * HOUR, 0.07), (NOON + 4 * HOUR, 0.09))
    assert now.ends_utc_s == NOON + 5 * HOUR
    assert outlook().now(NOON) == outlook().last


def test_prices_by_windows_need_no_market_and_do_not_end() -> None:
    pair = [
        Charge(id="day", kind="energy", price=0.3, windows=("day",)),
        Charge(id="night", kind="energy", price=0.2, windows=("day",), outside=True),
    ]
    window = (TariffWindow(id="day", times=("06:00-22:00",)),)
    now = outlook(charge=tuple(pair), window=window).now(NOON)
    assert now.now_eur_per_kwh == 0.3
    hours = [(round((start - NOON) / HOUR, 2), price) for start, price in now.ahead]
    assert hours == [(-0.75, 0.3), (10, 0.2), (18, 0.3), (34, 0.2)]
    assert now.ends_utc_s is not None
    assert now.ends_utc_s > NOON + 7 * 86400
    both = outlook(PRICES, charge=(*pair, Charge(id="spot", kind="energy", market_factor=1)), window=window).now(NOON)
    assert both.now_eur_per_kwh == pytest.approx(0.4)
    assert both.ends_utc_s == NOON + 5 * HOUR
