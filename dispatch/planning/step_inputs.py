"""What each step of a plan is given: prices, load with its band, PV. What is not known is filled in, and noted."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from dispatch.billing.charges.energy_prices import energy_prices, uses_market
from dispatch.billing.market_prices import PriceSeries, filled, mean_published, published
from dispatch.model.forecast import QUARTER_S
from dispatch.model.reasons import Reason
from dispatch.planning.inputs import PlanFailed, PlanInputs

FLAT_EUR_PER_MWH = 100.0  # stands in for every price when none is known: equal everywhere, so nothing is traded on it
MARKET_EUR_PER_MWH = (-500.0, 4000.0)  # harmonised limits of European day-ahead trading (ACER decision 01/2023)


class StepPrices(msgspec.Struct, frozen=True):
    """What a kWh costs and earns in each step, EUR, all included; what of it is not published.

    `buy` is what is paid; the plan adds the price of CO2 (`TariffTerms.co2_eur_per_kwh`).
    """

    buy: list[float]
    sell: list[float]
    assumed: list[bool]
    known: bool  # any of them at all
    notes: list[Reason]


def step_prices(inputs: PlanInputs, starts: list[int]) -> StepPrices:
    tariff, timezone = inputs.config.tariff, inputs.config.timezone
    instants = [max(float(starts[0]), inputs.now_utc_s), *map(float, starts[1:])]
    if not uses_market(tariff):
        fixed = energy_prices(tariff, timezone, instants)
        return StepPrices(fixed.buy, fixed.sell, [False] * len(instants), known=True, notes=[])
    market, known, notes = _marketstep_prices(inputs, instants)
    prices = energy_prices(tariff, timezone, instants, market)
    return StepPrices(
        buy=prices.buy,
        sell=prices.sell,
        assumed=[published(inputs.prices, t) is None for t in instants],
        known=known,
        notes=notes,
    )


def _marketstep_prices(inputs: PlanInputs, instants: list[float]) -> tuple[list[float], bool, list[Reason]]:
    """Market price at each instant, EUR/MWh, whether any is known, and what must be said of them."""
    market, missing = filled(inputs.prices, instants, inputs.config.timezone)
    if market is None:
        note = Reason("plan.no_prices", {"flat_eur_per_mwh": FLAT_EUR_PER_MWH})
        return [FLAT_EUR_PER_MWH] * len(instants), False, [note]
    market = _step_means(inputs.prices, instants, market)
    notes = (
        [_beyond_market_note(market)]
        if min(market) < MARKET_EUR_PER_MWH[0] or max(market) > MARKET_EUR_PER_MWH[1]
        else []
    )
    if missing:
        end = datetime.fromtimestamp(inputs.prices.end_utc_s, UTC).astimezone(ZoneInfo(inputs.config.timezone))
        near = 0 <= end.timestamp() - instants[0] < 6 * 86400
        local = end.isoformat(timespec="minutes")
        known = Reason("prices.until_day", {"local": local}) if near else Reason("prices.until_date", {"local": local})
        if published(inputs.prices, instants[0]) is None:
            known = Reason("prices.none_now", {"known": known})
        notes.append(Reason("plan.prices_end", {"known": known, "steps": missing}))
    return market, True, notes


def _step_means(prices: PriceSeries, instants: list[float], market: list[float]) -> list[float]:
    """The mean price of each step, as prices may be finer than one; `market` where a step is not wholly published."""
    ends = [*instants[1:], instants[-1] + QUARTER_S]
    means = [mean_published(prices, begin, end) for begin, end in zip(instants, ends, strict=True)]
    return [price if mean is None else mean for price, mean in zip(market, means, strict=True)]


def _beyond_market_note(market: list[float]) -> Reason:
    low, high = MARKET_EUR_PER_MWH
    return Reason(
        "plan.beyond_market",
        {
            "least_eur_per_mwh": min(market),
            "most_eur_per_mwh": max(market),
            "low_eur_per_mwh": low,
            "high_eur_per_mwh": high,
        },
    )


class StepForecasts(msgspec.Struct, frozen=True):
    """What is forecast for each step, W."""

    load_w: list[float]
    low_w: list[float]
    high_w: list[float]
    pv_w: list[float]
    net_w: list[float]  # load less PV
    notes: list[Reason]


def step_forecasts(inputs: PlanInputs, starts: list[int]) -> StepForecasts:
    """Load, its band and PV for each step, aligned by time; what the forecast does not reach is held."""
    forecast, notes = inputs.load, list[Reason]()
    offset = (starts[0] - forecast.start_utc_s) // QUARTER_S
    last = len(forecast.load_w) - 1
    if forecast.start_utc_s % QUARTER_S or not 0 <= offset <= last:
        raise PlanFailed(
            Reason("no_plan.forecast_start", {"start_utc_s": forecast.start_utc_s, "expected_utc_s": starts[0]})
        )
    if offset + len(starts) - 1 > last:
        notes.append(Reason("plan.load_ends", {"steps": offset + len(starts) - 1 - last}))
    picks = [min(offset + k, last) for k in range(len(starts))]
    pv = inputs.pv_w or (0.0,)
    pv_w = [max(0.0, pv[min(offset + k, len(pv) - 1)]) for k in range(len(starts))]
    load_w = [forecast.load_w[k] for k in picks]
    return StepForecasts(
        load_w=load_w,
        low_w=[forecast.low_w[k] for k in picks],
        high_w=[forecast.high_w[k] for k in picks],
        pv_w=pv_w,
        net_w=[load - pv for load, pv in zip(load_w, pv_w, strict=True)],
        notes=notes,
    )
