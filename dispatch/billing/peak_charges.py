"""Gives the charges on peaks, in the form in which tick, plan and perfect foresight read them.

Each is `DemandTerms`: a price for a kW of what a period is billed, of how many peaks the mean, what is billed at least,
in which windows. The demand charge of `[tariff]` is written so. A charge of `[[tariff.charge]]` becomes
`ChargeTerms` (`demand_charge`), which know their charge and its calendar (`dispatch.billing.charges`).

What differs from the bill, so that one figure stands for one kW more:

* an excess charge is a charge on the peak whose floor is `contract_kw`. Where the sum, the root of the sum of squares
  or the hours above it are billed (`adds`), plan, perfect foresight, caps and reservations price each interval's
  excess (`added_eur`); the outlook takes it as the highest excess;
* tiers of which each is dearer than the one before are one charge for each, above its begin. Of others plan
  (`lp_tiers`) and perfect foresight try each; what asks for one figure takes that of the highest. Of a price pair by
  full-load hours the one of the expected hours is meant, or of many (`full_load_hours`); perfect foresight tries both;
* an individual fee is two charges: on the peak of its high-load windows, and on the period's peak until the gap between
  them is reached (`Gap`), for the plan also where it will be (`lp_peaks.levels_of`); perfect foresight tries both,
  Energy IQ takes the fee as granted;
* where a month's peak is billed in later months as well (rolling-12, `set_in`), their bills are in the price;
* a charge per kVA is taken at the stated power factor, or at 1;
* a charge on longer intervals than the meter's is kept by keeping each of the meter's below the longer one's peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, pairwise, product
from typing import Literal

import msgspec

from dispatch.billing.charges.accounts import eur_per_unit, interval_s, rise_eur_per_kw
from dispatch.billing.charges.calendar import Calendar, calendar_of
from dispatch.billing.charges.full_load_hours import expected_h, holds_at
from dispatch.billing.demand_charge import (
    ChargeTerms,
    Gap,
    billed_by_period_w,
    demand_eur,
    interval_account,
    quantity_w,
)
from dispatch.billing.excess import HOURS, joined, measure
from dispatch.config.charges import Charge
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S

Fee = Literal["open", "granted", "refused"]
COMING_DAYS = 31  # a month ahead: until then a season that begins has no peak to plan for
DAY_S = 86_400
MOST_WAYS = 12  # choices of tiers that perfect foresight tries
MONTHS_BILLED = 12.0  # a month's peak is billed so often where the period is a rolling year


def main_charge(config: DispatchConfig) -> DemandTerms:
    """The charge on peaks with the highest price of a kW: the one whose end of the period is estimated."""
    return peak_charges(config)[0]


def peak_charges(config: DispatchConfig, fee: Fee = "open") -> tuple[DemandTerms, ...]:
    """The charges on peaks, the main one first; where nothing is charged, one of no price.

    fee: whether individual fees are granted; open: both of their charges.
    """
    tariff = config.tariff
    if not tariff.charge:
        return (tariff.demand_terms,)
    calendar = calendar_of(tariff, config.timezone)
    pair = any(charge.full_load_h_from for charge in tariff.charge if charge.kind == "max")
    hours = expected_h(tariff)
    listed: list[DemandTerms] = [] if tariff.demand_terms.eur_per_kw <= 0 else [tariff.demand_terms]
    for charge in tariff.charge:
        if charge.kind in ("max", "excess") and charge.basis != "kvar" and (holds_at(charge, hours) or not pair):
            listed += _each(charge, config, calendar, fee)
    priced = [terms for terms in listed if terms.eur_per_kw > 0 or any(price > 0 for _, price in _tiers(terms))]
    return tuple(sorted(priced, key=lambda terms: -terms.rise_eur_per_kw)) or (DemandTerms(),)


def coming_charges(config: DispatchConfig, utc_s: float) -> tuple[DemandTerms, ...]:
    """The charges on peaks, those first that count at some time of the next `COMING_DAYS`: the first is the plan's main
    one, whose end of the period is estimated. A winter's charge is not in summer, however dear it is.
    """
    charges = peak_charges(config)
    return charges if len(charges) == 1 else _coming(charges, config.timezone, int(utc_s // DAY_S))


@lru_cache(maxsize=8)  # asked for by each plan
def _coming(charges: tuple[DemandTerms, ...], timezone: str, day: int) -> tuple[DemandTerms, ...]:
    ahead = range(day * DAY_S, (day + COMING_DAYS) * DAY_S, QUARTER_S)
    later = {terms.id for terms in charges if not any(interval_account(terms, timezone, t).counts for t in ahead)}
    return tuple(sorted(charges, key=lambda terms: terms.id in later))


def interval_length_s(terms: DemandTerms, config: DispatchConfig, step_s: int) -> int:
    """Length of the intervals whose means are billed: the charge's, or the meter's; never less than a step's."""
    meters_s = config.grid.metering_interval_s
    return max(interval_s(terms.charge, meters_s) if isinstance(terms, ChargeTerms) else meters_s, step_s)


def account_key(terms: DemandTerms, account: str) -> str:
    """The name of an account among those of all charges: of a listed charge "2025-09@grid"."""
    return f"{account}@{terms.id}" if terms.id else account


def own_accounts(terms: DemandTerms, peaks_w: Mapping[str, float]) -> dict[str, float]:
    """Of the peaks of all charges those of one, by its accounts."""
    named = ((key.partition("@"), w) for key, w in peaks_w.items())
    return {account: w for (account, _, id), w in named if id == terms.id}


def joined_w(
    charges: Sequence[DemandTerms], one_w: Mapping[str, float], other_w: Mapping[str, float]
) -> dict[str, float]:
    """The peaks of two stretches of time together, by `account_key`: the higher one; where an excess adds up, both."""
    adding = {terms.id: terms for terms in charges if terms.adds}
    result = dict(one_w)
    for key, w in other_w.items():
        terms, before_w = adding.get(key.partition("@")[2]), result.get(key)
        if terms is None or before_w is None:
            result[key] = max(w, before_w or 0.0)
        else:
            result[key] = terms.floor_w + joined(terms.adds, before_w - terms.floor_w, w - terms.floor_w)
    return result


def risen_eur(charges: Sequence[DemandTerms], peaks_w: Mapping[str, float], paid_w: Mapping[str, float]) -> float:
    """What peaks, by `account_key`, cost more than others that are billed anyway: EUR of all periods."""
    return sum(_periods_eur(terms, peaks_w) - _periods_eur(terms, paid_w) for terms in charges)


def _periods_eur(terms: DemandTerms, peaks_w: Mapping[str, float]) -> float:
    """What one charge comes to in all periods together, EUR."""
    billed = billed_by_period_w(terms, own_accounts(terms, peaks_w))
    if isinstance(terms, ChargeTerms) and terms.tiers_w:
        return sum(demand_eur(terms, w - (terms.floor_w if terms.above else 0.0)) for w in billed.values())
    return (sum(billed.values()) - (terms.floor_w * len(billed) if terms.above else 0.0)) / 1000 * terms.eur_per_kw


def by_tier(charges: Sequence[DemandTerms]) -> list[tuple[DemandTerms, ...]]:
    """The charges with one price each, for each choice of tiers; beyond `MOST_WAYS` choices at that of the highest.

    Where each further part of the demand is cheaper, what is billed is the least of the tiers' own straight lines, so
    that the cheapest bill of all choices is the least cost.
    """
    each = [list(_of_tiers(terms)) for terms in charges]
    if math.prod(map(len, each)) > MOST_WAYS:
        return [tuple(charges)]
    return [tuple(way) for way in product(*each)]


def _of_tiers(terms: DemandTerms) -> Iterator[DemandTerms]:
    """The charge at the price of each tier; where all of it has that price, billed from the tier's begin on."""
    if not isinstance(terms, ChargeTerms) or not terms.tiers_w:
        yield terms
        return
    whole = terms.charge.tier_on == "whole" and not terms.above
    for start_w, price in terms.tiers_w:
        least_w = max(terms.floor_w, start_w) if whole else terms.floor_w
        yield msgspec.structs.replace(terms, eur_per_kw=price, floor_w=least_w, tiers_w=())


def charge_peaks_w(config: DispatchConfig, start_utc_s: int, step_s: int, grid_w: Sequence[float]) -> dict[str, float]:
    """Highest mean import of the intervals of each account of each charge (`account_key`), W, times its weight.

    Export earns nothing back. A period in which no interval counts has an account of its own name, at 0. The mean of a
    step stands for intervals that are shorter.
    """
    peaks_w: dict[str, float] = {}
    for terms in peak_charges(config, "granted"):
        length_s = interval_length_s(terms, config, step_s)
        added: dict[str, float] = {}
        for number, mean_w in _means_w(length_s, start_utc_s, step_s, grid_w):
            at = interval_account(terms, config.timezone, number * length_s)
            account, w = (at.account, at.weight * mean_w) if at.counts else (at.period, 0.0)
            key = account_key(terms, account)
            if terms.adds:
                above_w = max(0.0, w - terms.floor_w)
                added[key] = added.get(key, 0.0) + measure(terms.adds, above_w, length_s / 3600)
            else:
                peaks_w[key] = max(peaks_w.get(key, 0.0), w)
        peaks_w |= {key: quantity_w(terms, each) for key, each in added.items()}
    return peaks_w


def _means_w(length_s: int, start_utc_s: int, step_s: int, grid_w: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Number and mean import of each interval."""
    numbered = ((start_utc_s + k * step_s) // length_s for k in range(len(grid_w)))
    for number, steps in groupby(zip(numbered, grid_w, strict=True), key=lambda step: step[0]):
        imported_w = [max(w, 0.0) for _, w in steps]
        yield number, sum(imported_w) / len(imported_w)


def _each(charge: Charge, config: DispatchConfig, calendar: Calendar, fee: Fee) -> Iterator[ChargeTerms]:
    """A charge as one; one with an individual fee as that of the high-load windows, and that of the whole period."""
    individual = charge.individual
    if individual is None:
        yield from (_terms(part, config, calendar) for part in _parts(charge))
        return
    if fee != "refused":
        yield _terms(msgspec.structs.replace(charge, windows=individual.windows, outside=False), config, calendar)
    if fee != "granted":
        whole = msgspec.structs.replace(charge, id=f"{charge.id} without individual fee")
        gap = Gap(charge.id, individual.gap_pct, 1000 * individual.gap_kw) if fee == "open" else None
        yield msgspec.structs.replace(_terms(whole, config, calendar), gap=gap)


def _parts(charge: Charge) -> Iterator[Charge]:
    """Tiers that are dearer each are a charge on the peak, and one on what is above the begin of each further tier."""
    tiers = charge.tiers if not charge.tiers or charge.tiers[0][0] == 0 else ((0.0, 0.0), *charge.tiers)
    prices = [price for _, price in tiers]
    once = charge.kind == "max" and charge.top == 1 and not charge.set_in and charge.tier_on == "part"
    if not once or charge.period == "rolling-12" or prices != sorted(prices) or len(prices) < 2:
        yield charge
        return
    yield msgspec.structs.replace(charge, tiers=(), price=prices[0])
    for (_, below), (start, price) in pairwise(tiers):
        id = f"{charge.id} above {start:g} {charge.basis}"
        yield msgspec.structs.replace(
            charge,
            id=id,
            kind="excess",
            tiers=(),
            price=price - below,
            contract_kw=max(start, charge.floor_kw),
            floor_kw=0.0,
        )


def _tiers(terms: DemandTerms) -> tuple[tuple[float, float], ...]:
    return terms.tiers_w if isinstance(terms, ChargeTerms) else ()


def _eur_per_kw(charge: Charge, config: DispatchConfig) -> float:
    """What one kW more of a peak costs, in all the bills that it is part of."""
    price = rise_eur_per_kw(charge, config.tariff)
    if charge.period == "rolling-12":
        price *= MONTHS_BILLED
    elif charge.set_in:
        price *= MONTHS_BILLED / len(charge.set_in)
    if charge.basis == "kVA" and _adds(charge) != HOURS:
        price /= config.tariff.power_factor or 1.0
    return price


def _adds(charge: Charge) -> str:
    return charge.excess_by if charge.kind == "excess" and charge.excess_by != "max" else ""


def _tiers_w(charge: Charge, config: DispatchConfig, w_per_unit: float) -> tuple[tuple[float, float], ...]:
    """Where each tier begins, W, and its price for a kW of what is billed."""
    if not charge.tiers or _adds(charge):
        return ()
    unit = _eur_per_kw(msgspec.structs.replace(charge, tiers=(), price=1.0), config) * charge.top
    return tuple((w_per_unit * start, unit * price) for start, price in charge.tiers)


def _terms(charge: Charge, config: DispatchConfig, calendar: Calendar) -> ChargeTerms:
    tariff, meters_s = config.tariff, config.grid.metering_interval_s
    w_per_unit = 1000 * (tariff.power_factor or 1.0) if charge.basis == "kVA" else 1000.0
    above = charge.kind == "excess"
    return ChargeTerms(
        id=charge.id,
        eur_per_kw=_eur_per_kw(charge, config) * charge.top,
        per="year" if charge.period == "year" else "month",
        top_days=charge.top,
        floor_w=w_per_unit * ((charge.contract_kw or 0.0) if above else charge.floor_kw),
        windows=charge.windows,
        charge=charge,
        calendar=calendar,
        above=above,
        adds=_adds(charge),
        tiers_w=_tiers_w(charge, config, w_per_unit),
        rolling=charge.period == "rolling-12",
        peak_floor_w=w_per_unit * charge.peak_floor_kw,
        interval_s=interval_s(charge, meters_s),
        parts=max(1, interval_s(charge, meters_s) // meters_s),
        w_per_unit=w_per_unit,
        eur_per_unit=eur_per_unit(charge, tariff) * (1 + charge.vat_pct / 100),
    )
