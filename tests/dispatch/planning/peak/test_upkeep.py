"""What holding a peak costs on a day: checked by hand where the battery is a plain trade on two prices."""

import numpy as np
import pytest
from plan_site import NOON, hourly, site

from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from dispatch.config.schema import DispatchConfig
from dispatch.planning.peak.upkeep import DAY, Upkeep, UpkeepBook

MIDNIGHT = NOON - 43_200
TWO_PRICES = hourly([40.0] * 12 + [100.0] * 12, MIDNIGHT)
BEFORE_NOON = range(DAY // 2)


def asked(
    net_kw: list[float],
    prices: PriceSeries = TWO_PRICES,
    config: DispatchConfig | None = None,
    free: range = range(0),
) -> Upkeep:
    """Of one day; quarter hours in `free` do not count towards the peak."""
    book = UpkeepBook(config or site())
    for k, kw in enumerate(net_kw):
        book.observe(MIDNIGHT // 900 + k, kw, k not in free)
    return book.ask(prices)


def eur(of: Upkeep, kw: float) -> float:
    return float(of.eur_at(np.array([kw]))[0])


def test_room_to_charge_beside_a_steady_load_is_worth_what_it_earns() -> None:
    flat = asked([20.0] * DAY)
    assert eur(flat, 81.0) == pytest.approx(0.0, abs=0.02), "60 kW beside 20: nothing is missing"
    # a kW for twelve hours: bought at 0.04 + 0.01 of wear, 0.81 of it sold at 0.10 - 0.01
    above = int(np.searchsorted(flat.peaks_kw, 20.0))
    (low_kw, high_kw), (low_eur, high_eur) = (kind[above : above + 2] for kind in (flat.peaks_kw, flat.eur))
    assert (low_eur - high_eur) / (high_kw - low_kw) == pytest.approx(12 * (0.81 * 0.09 - 0.05), rel=0.15)
    assert eur(flat, 25.0) < 0.05, "4 kW for twelve hours fill what is empty"
    assert np.diff(flat.eur).max() <= 0


def test_energy_kept_for_a_pulse_costs_what_it_does_not_earn() -> None:
    pulse = [20.0] * 40 + [50.0] * 4 + [20.0] * 52  # at ten, while it is cheap
    assert eur(asked(pulse), 40.0) > eur(asked([20.0] * DAY), 40.0) + 0.05


def test_hours_that_do_not_count_hold_nothing() -> None:
    bound, free = (asked([20.0] * DAY, free=of) for of in (range(0), BEFORE_NOON))
    assert eur(bound, 22.0) > 0.25
    assert eur(free, 22.0) == pytest.approx(0.0, abs=0.02)


def test_a_day_with_a_gap_is_left_out_and_one_without_prices_waits_for_them() -> None:
    assert eur(asked([20.0] * (DAY - 1)), 20.0) == 0.0
    book = UpkeepBook(site())
    for k in (*range(40), *range(41, DAY)):
        book.observe(MIDNIGHT // 900 + k, 20.0, True)
    assert eur(book.ask(TWO_PRICES), 20.0) == 0.0
    for k in (*range(-3 * DAY, -3 * DAY + 40), *range(-2 * DAY + 40, -DAY)):
        book.observe(MIDNIGHT // 900 + k, 20.0, True)
    assert eur(book.ask(hourly([40.0] * 12 + [100.0] * 12, MIDNIGHT - 2 * 86_400)), 20.0) == 0.0, (
        "a whole day is missing"
    )
    for k in range(DAY):
        book.observe(MIDNIGHT // 900 - DAY + k, 20.0, True)
    assert eur(book.ask(NO_PRICES), 20.0) == 0.0
    assert eur(book.ask(hourly([40.0] * 12 + [100.0] * 12, MIDNIGHT - 86_400)), 20.0) > 0.25


def test_a_site_without_battery_or_with_one_price_loses_nothing() -> None:
    assert eur(asked([20.0] * DAY, config=site(battery={"energy_kwh": 0.0})), 5.0) == 0.0
    assert eur(asked([20.0] * DAY, hourly([60.0] * 24, MIDNIGHT)), 21.0) == pytest.approx(0.0, abs=0.02)


def test_what_may_not_be_exported_earns_nothing() -> None:
    """Beside a load of 2 kW a battery sells no more than that, whatever the room to charge."""
    none, free = (
        eur(asked([2.0] * DAY, config=site(grid={"export_limit_w": limit_w})), 2.0) for limit_w in (0.0, 100_000.0)
    )
    assert 0 < none < free - 0.3
