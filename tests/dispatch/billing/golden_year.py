"""A year of quarter hours that is easy to reason about: 40 kW all the time, but for events that each test names.

What a bill should be is worked out in the tests from the sheet's figures, in decimals, step by step; nothing here uses
the code under test but `billed`, which runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dispatch.billing.charges.invoice import Invoice, Metered, invoice
from drivers.tariffs import price_sheets

BASE_KW = 40
QUARTER_S = 900
# Hours of the months of 2026 where the clock goes forward in March and back in October.
HOURS = (744, 672, 743, 720, 744, 720, 744, 744, 720, 745, 720, 744)
DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
WEEKDAYS = (22, 20, 22, 22, 21, 22, 23, 21, 22, 22, 21, 23)  # Monday to Friday, holidays among them; 261
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Event(NamedTuple):
    """For some minutes from a local time on, so much is imported instead of the base."""

    at: str  # "2026-01-14 17:00"; "... again" is the second of an hour that comes twice
    kw: float
    minutes: int = 15
    kvar: float | None = None  # None: the base


def year(
    zone: str,
    events: Iterable[Event],
    *,
    first: str = "2026-01-01",
    after: str = "2027-01-01",
    kvar: float = 0.0,
    eur_per_mwh: float | None = None,
) -> Metered:
    """The quarter hours of the local days from `first` until the day before `after`."""
    start, end = _utc_s(f"{first} 00:00", zone), _utc_s(f"{after} 00:00", zone)
    count = (end - start) // QUARTER_S
    imported, reactive = [BASE_KW / 4] * count, [kvar / 4] * count
    for event in events:
        begin = (_utc_s(event.at, zone) - start) // QUARTER_S
        for index in range(begin, begin + event.minutes // 15):
            imported[index] = event.kw / 4
            if event.kvar is not None:
                reactive[index] = event.kvar / 4
    prices = () if eur_per_mwh is None else (eur_per_mwh,) * count
    return Metered(
        start_utc_s=start, step_s=QUARTER_S, import_kwh=imported, reactive_kvarh=reactive, eur_per_mwh=prices
    )


def _utc_s(text: str, zone: str) -> int:
    local = datetime.fromisoformat(text.removesuffix(" again")).replace(tzinfo=ZoneInfo(zone))
    return int(local.replace(fold=int(text.endswith(" again"))).timestamp())


def billed(sheet: str, metered: Metered) -> Invoice:
    """The invoice of a sheet that comes with Skerry."""
    read = price_sheets.load(sheet)
    return invoice(read.tariff, read.sheet.timezone, QUARTER_S, metered)


def nets(bill: Invoice) -> dict[str, Decimal]:
    """Net amount of each charge over all its periods."""
    total: dict[str, Decimal] = {}
    for line in bill.lines:
        total[line.charge] = total.get(line.charge, Decimal(0)) + line.net
    return total


def of_charge(bill: Invoice, charge: str) -> dict[str, Decimal]:
    """Net amount of each period of one charge."""
    return {line.period: line.net for line in bill.lines if line.charge == charge}


def gross(bill: Invoice) -> Decimal:
    """What is to be paid."""
    return sum((line.gross for line in bill.lines), Decimal(0))


def cents(amount: Decimal) -> Decimal:
    """Rounded as a bill is: half a cent up."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def lines(quantities: Iterable[Decimal | int | float], price: str) -> list[Decimal]:
    """One amount a month, rounded each. Quantities are binary fractions, exact as decimals."""
    return [cents(Decimal(quantity) * Decimal(price)) for quantity in quantities]


def monthly(quantities: Iterable[Decimal | int | float], price: str) -> Decimal:
    """The sum of twelve amounts, each rounded."""
    return sum(lines(quantities, price), Decimal(0))


def kwh(extra: Mapping[str, float], hours: Iterable[float] = HOURS) -> list[float]:
    """Energy of the months: 40 kW in so many hours of each, and what the events of a month add, in kWh."""
    return [BASE_KW * count + extra.get(month, 0) for month, count in zip(MONTHS, hours, strict=True)]


def with_vat(amounts: Iterable[Decimal], pct: str) -> Decimal:
    """The sum of net amounts and of the VAT on each, rounded each."""
    return sum((net + cents(net * Decimal(pct) / 100) for net in amounts), Decimal(0))
