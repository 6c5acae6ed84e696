"""Writes the invoice of a stretch of metered energy: a line for each charge and period, exact to the cent.

A line's net amount is its quantity, to six digits behind the point, times the price as it is written, times the part
of the price's time that the period is; it is rounded half up to the cent. VAT is of that rounded net, rounded alike;
gross is their sum. Totals add up rounded lines; a line in another currency is turned into that of the total, at the
stated rate, and rounded.

A period is charged whole, however little of it the stretch covers. What lies before the stretch is not known: rolling
years and months that are billed others' peaks say so in `remarks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from dispatch.billing.charges.accounts import eur_per_unit, period_days
from dispatch.billing.charges.amounts import DIGITS, cents, exact
from dispatch.billing.charges.calendar import calendar_of
from dispatch.billing.charges.charge_amounts import Amount, charge_amounts
from dispatch.billing.charges.stretch import Metered, Stretch
from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.reasons import Reason

__all__ = ["Invoice", "Line", "Metered", "Sum", "invoice"]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one charge makes of one period, in its currency. What export earns is negative."""

    charge: str
    kind: str
    period: str  # "2025-09", "2025", "2025-09-16"; a year from 1 October "2025-10-01"
    quantity: float
    unit: str  # kWh, kW, kVA, kvar, kvarh, h; day, month or year of a fixed price
    price: float | None  # of a unit, for the whole period; None: several (tiers), or the market's
    net: Decimal
    vat: Decimal
    gross: Decimal
    currency: str
    set_by_utc_s: tuple[int, ...] = ()  # the intervals that set the quantity, the highest first
    remarks: tuple[Reason, ...] = ()


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """Money with and without VAT."""

    net: Decimal = Decimal(0)
    vat: Decimal = Decimal(0)
    gross: Decimal = Decimal(0)


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """Lines by charge and period; totals in `currency`."""

    lines: tuple[Line, ...]
    by_period: dict[str, Sum]
    total: Sum
    currency: str
    remarks: tuple[Reason, ...] = ()


def invoice(tariff: TariffTerms, timezone: str, metering_interval_s: int, metered: Metered) -> Invoice:
    """Charge metered energy by every charge of a tariff.

    Raises ValueError for a step that does not divide every interval, and where a charge needs what is not there: a
    market price, reactive energy or a power factor, the rate of a currency, a window.
    """
    if not len(metered.import_kwh):
        return Invoice(lines=(), by_period={}, total=Sum(), currency=tariff.currency)
    stretch = Stretch(metered, tariff, calendar_of(tariff, timezone))
    stretch.intervals(metering_interval_s)  # raises where the step does not fit, also without a charge on peaks
    lines = tuple(
        _line(charge, amount, tariff.currency)
        for charge in tariff.charges
        for amount in charge_amounts(charge, stretch, metering_interval_s)
    )
    by_period: dict[str, Sum] = {}
    for line in lines:
        by_period[line.period] = _plus(by_period.get(line.period, Sum()), _in_total(line, tariff))
    total = Sum()
    for amount in by_period.values():
        total = _plus(total, amount)
    return Invoice(
        lines=lines,
        by_period=dict(sorted(by_period.items())),
        total=total,
        currency=tariff.currency,
        remarks=tuple(_partial(stretch, lines, tariff.charges)),
    )


def _line(charge: Charge, amount: Amount, currency: str) -> Line:
    net = cents(amount.net)
    vat = cents(Fraction(net) * exact(charge.vat_pct) / 100)
    return Line(
        charge=charge.id,
        kind=charge.kind,
        period=amount.period,
        quantity=round(amount.billed.quantity, DIGITS),
        unit=amount.unit,
        price=amount.price,
        net=net,
        vat=vat,
        gross=net + vat,
        currency=charge.currency or currency,
        set_by_utc_s=amount.billed.set_by_utc_s,
        remarks=amount.billed.remarks,
    )


def _in_total(line: Line, tariff: TariffTerms) -> Sum:
    """A line in the currency of the total."""
    if line.currency == tariff.currency:
        return Sum(net=line.net, vat=line.vat, gross=line.gross)
    rate = exact(_eur_per(line.currency, tariff)) / exact(_eur_per(tariff.currency, tariff))
    net, vat = cents(Fraction(line.net) * rate), cents(Fraction(line.vat) * rate)
    return Sum(net=net, vat=vat, gross=net + vat)


def _eur_per(currency: str, tariff: TariffTerms) -> float:
    return eur_per_unit(Charge(id="total", kind="fixed", currency=currency), tariff)


def _plus(a: Sum, b: Sum) -> Sum:
    return Sum(net=a.net + b.net, vat=a.vat + b.vat, gross=a.gross + b.gross)


def _partial(stretch: Stretch, lines: Sequence[Line], charges: Sequence[Charge]) -> Iterator[Reason]:
    """The periods of which not all days are in the stretch: they are charged whole."""
    by_id = {charge.id: charge for charge in charges}
    days = stretch.times.days
    told: set[str] = set()
    for line in lines:
        first, after = period_days(by_id[line.charge], line.period)
        inside = sum(first <= day < after for day in days)
        if inside < (after - first).days and line.period not in told:
            told.add(line.period)
            yield Reason("invoice.partial", {"period": line.period, "days": inside, "of_days": (after - first).days})
