"""Gives the charges on peaks, in the form in which tick, plan and perfect foresight read them.

Each is `DemandTerms`: a price for a kW of what a period is billed, of how many peaks the mean, what is billed at least,
in which windows. The demand charge of `[tariff]` is written so. A charge of `[[tariff.charge]]` becomes
`ChargeTerms` (`demand_charge`), which know their charge and its calendar (`dispatch.billing.charges`).

What differs from the bill, so that one figure stands for one kW more:

* an excess charge is a charge on the peak whose floor is `contract_kw`; the sum, the root of the sum of squares and the
  hours above it are taken as the highest excess;
* of tiers, the price of the highest is meant; of a price pair by full-load hours, the one of many hours;
* an individual fee is two charges: on the peak of its high-load windows, and on the period's peak until the gap between
  them is reached (`Gap`); perfect foresight tries both, Energy IQ takes the fee as granted;
* where a month's peak is billed in later months as well (rolling-12, `set_in`), their bills are in the price;
* a charge per kVA is taken at the stated power factor, or at 1;
* a charge on longer intervals than the meter's is kept by keeping each of the meter's below the longer one's peak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from dispatch.billing.charges.accounts import eur_per_unit, interval_s, rise_eur_per_kw
from dispatch.billing.charges.calendar import Calendar, calendar_of
from dispatch.billing.demand_charge import ChargeTerms, Gap, billed_by_period_w, interval_account
from dispatch.config.charges import Charge
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig

Fee = Literal["open", "granted", "refused"]
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
    listed: list[DemandTerms] = [] if tariff.demand_terms.eur_per_kw <= 0 else [tariff.demand_terms]
    for charge in tariff.charge:
        if charge.kind in ("max", "excess") and charge.basis != "kvar" and not (pair and charge.full_load_h_below):
            listed += _each(charge, config, calendar, fee)
    priced = [terms for terms in listed if terms.eur_per_kw > 0]
    return tuple(sorted(priced, key=lambda terms: -terms.rise_eur_per_kw)) or (DemandTerms(),)


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


def risen_eur(charges: Sequence[DemandTerms], peaks_w: Mapping[str, float], paid_w: Mapping[str, float]) -> float:
    """What peaks, by `account_key`, cost more than others that are billed anyway: EUR of all periods."""
    return sum((_billed_w(terms, peaks_w) - _billed_w(terms, paid_w)) / 1000 * terms.eur_per_kw for terms in charges)


def _billed_w(terms: DemandTerms, peaks_w: Mapping[str, float]) -> float:
    """What one charge bills in all periods together, W."""
    billed = billed_by_period_w(terms, own_accounts(terms, peaks_w))
    return sum(billed.values()) - (terms.floor_w * len(billed) if terms.above else 0.0)


def charge_peaks_w(config: DispatchConfig, start_utc_s: int, step_s: int, grid_w: Sequence[float]) -> dict[str, float]:
    """Highest mean import of the intervals of each account of each charge (`account_key`), W, times its weight.

    Export earns nothing back. A period in which no interval counts has an account of its own name, at 0. The mean of a
    step stands for intervals that are shorter.
    """
    peaks_w: dict[str, float] = {}
    for terms in peak_charges(config, "granted"):
        length_s = interval_length_s(terms, config, step_s)
        for number, mean_w in _means_w(length_s, start_utc_s, step_s, grid_w):
            at = interval_account(terms, config.timezone, number * length_s)
            account, w = (at.account, at.weight * mean_w) if at.counts else (at.period, 0.0)
            key = account_key(terms, account)
            peaks_w[key] = max(peaks_w.get(key, 0.0), w)
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
        yield _terms(charge, config, calendar)
        return
    if fee != "refused":
        yield _terms(msgspec.structs.replace(charge, windows=individual.windows, outside=False), config, calendar)
    if fee != "granted":
        whole = msgspec.structs.replace(charge, id=f"{charge.id} without individual fee")
        gap = Gap(charge.id, individual.gap_pct, 1000 * individual.gap_kw) if fee == "open" else None
        yield msgspec.structs.replace(_terms(whole, config, calendar), gap=gap)


def _terms(charge: Charge, config: DispatchConfig, calendar: Calendar) -> ChargeTerms:
    tariff, meters_s = config.tariff, config.grid.metering_interval_s
    price, w_per_unit = rise_eur_per_kw(charge, tariff), 1000.0
    if charge.period == "rolling-12":
        price *= MONTHS_BILLED
    elif charge.set_in:
        price *= MONTHS_BILLED / len(charge.set_in)
    if charge.basis == "kVA":
        price, w_per_unit = price / (tariff.power_factor or 1.0), 1000 * (tariff.power_factor or 1.0)
    floor_kw, above = charge.floor_kw, charge.kind == "excess"
    if above:
        floor_kw = charge.contract_kw or 0.0
    return ChargeTerms(
        id=charge.id,
        eur_per_kw=price * charge.top,
        per="year" if charge.period == "year" else "month",
        top_days=charge.top,
        floor_w=w_per_unit * floor_kw,
        windows=charge.windows,
        charge=charge,
        calendar=calendar,
        above=above,
        rolling=charge.period == "rolling-12",
        peak_floor_w=w_per_unit * charge.peak_floor_kw,
        interval_s=interval_s(charge, meters_s),
        parts=max(1, interval_s(charge, meters_s) // meters_s),
        w_per_unit=w_per_unit,
        eur_per_unit=eur_per_unit(charge, tariff) * (1 + charge.vat_pct / 100),
    )
