"""Calculates what each charge makes of each period, exactly: quantity, price, and the amount before rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from dispatch.billing.charges.accounts import (
    day_account,
    eur_per_unit,
    interval_s,
    period_days,
    price_parts,
    share_held,
)
from dispatch.billing.charges.amounts import counted, exact, priced
from dispatch.billing.charges.individual import individual
from dispatch.billing.charges.quantities import (
    Billed,
    energies,
    excess_quantities,
    max_quantities,
    reactive_quantities,
)
from dispatch.billing.charges.stretch import Stretch
from dispatch.billing.charges.years import holds_in_year
from dispatch.config.charges import Charge


class Amount(NamedTuple):
    """What a charge makes of a period, in its currency, without VAT; what export earns is negative."""

    period: str
    billed: Billed
    unit: str
    price: float | None  # of a unit, for the whole period; None: several, or the market's
    net: Fraction


def charge_amounts(charge: Charge, stretch: Stretch, metering_s: int) -> Iterator[Amount]:
    """For each period of the stretch; none for periods in which nothing of the charge came.

    Raises ValueError where the charge needs what is not there.
    """
    labels = dict.fromkeys(day_account(charge, day).period for day in stretch.times.days)
    holding = {
        label: holds_in_year(charge, stretch, period_days(charge, label)[0].year, metering_s) for label in labels
    }
    periods = [p for p, (holds, _) in holding.items() if holds and share_held(charge, p)]
    if charge.kind == "energy":
        amounts = _energy(charge, stretch, periods)
    elif charge.kind == "fixed":
        amounts = _fixed(charge, periods)
    else:
        amounts = _quantities(charge, *_billed(charge, stretch, periods, metering_s))
    for amount in amounts:
        remarks = (*amount.billed.remarks, *holding[amount.period][1])
        yield amount._replace(billed=amount.billed._replace(remarks=remarks))


def _energy(charge: Charge, stretch: Stretch, periods: list[str]) -> Iterator[Amount]:
    found = energies(charge, stretch, periods)
    sign = 1 if charge.flow == "import" else -1
    rate = exact(eur_per_unit(charge, stretch.tariff)) if charge.market_factor else Fraction(1)
    price = None if charge.tiers or charge.market_factor else charge.price
    for period in periods:
        kwh = counted(found.kwh[period])
        if kwh:
            net = priced(charge, kwh) + counted(found.market_eur[period]) / rate
            yield Amount(period, Billed(float(kwh)), "kWh", price, sign * net)


def _fixed(charge: Charge, periods: Sequence[str]) -> Iterator[Amount]:
    per = charge.price_per or ("month" if charge.period == "rolling-12" else charge.period)
    for period in periods:
        parts = price_parts(charge, period) * share_held(charge, period)
        yield Amount(period, Billed(float(parts)), per, charge.price, parts * exact(charge.price))


def _billed(charge: Charge, stretch: Stretch, periods: list[str], metering_s: int) -> tuple[Mapping[str, Billed], str]:
    """What each period is billed on, and its unit."""
    if charge.kind == "reactive":
        return reactive_quantities(charge, stretch, periods), "kvarh"
    if charge.kind == "contract":
        return {period: Billed(charge.contract_kw or 0.0) for period in periods}, charge.basis
    if charge.kind == "excess":
        unit = "h" if charge.excess_by == "hours" else charge.basis
        return excess_quantities(charge, stretch, periods, metering_s), unit
    billed = max_quantities(charge, stretch, periods, metering_s)
    if charge.individual is not None:
        billed = individual(charge, charge.individual, stretch, billed, interval_s(charge, metering_s))
    return billed, charge.basis


def _quantities(charge: Charge, billed: Mapping[str, Billed], unit: str) -> Iterator[Amount]:
    """Quantity times price; without periods on which nothing is billed because nothing counted. What is not known, such
    as the peaks of earlier months or capacitive energy, leaves a line of 0 that says so.
    """
    volume = charge.kind == "reactive" or (charge.kind == "excess" and charge.excess_by != "max")
    for period, found in billed.items():
        if found.quantity or found.set_by_utc_s or found.remarks:
            parts = Fraction(1) if volume else price_parts(charge, period) * share_held(charge, period)
            price = None if charge.tiers else float(exact(charge.price) * parts)
            yield Amount(period, found, unit, price, priced(charge, counted(found.quantity)) * parts)
