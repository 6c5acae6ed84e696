"""Prices one day by a tariff: energy price and what counts in each quarter hour, and the peaks of the day."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from dispatch.billing.charges.accounts import (
    IntervalAccount,
    eur_per_unit,
    interval_account,
    interval_s,
    price_parts,
)
from dispatch.billing.charges.amounts import counted, priced
from dispatch.billing.charges.calendar import Calendar, calendar_of, in_force
from dispatch.billing.charges.energy_prices import import_price
from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms

QUARTER_S = 900
PEAKS = ("max", "excess")


class Row(NamedTuple):
    """A part of the day in which price and charges stay. Prices per kWh, VAT included, in the shown currency."""

    begin_utc_s: int
    end_utc_s: int
    load_w: float
    price: float
    parts: tuple[tuple[str, float], ...]  # energy charges in force, with what each adds
    counting: tuple[str, ...]  # charges on peaks for which this time counts


class DayPeak(NamedTuple):
    """The highest interval of the day that counts for a charge."""

    charge: str
    kw: float
    begin_utc_s: int
    amount: float  # of each bill that counts it among its peaks; VAT included


class PricedDay(msgspec.Struct, frozen=True, kw_only=True):
    """One local day. `currency`: of all amounts."""

    rows: tuple[Row, ...]
    peaks: tuple[DayPeak, ...]
    import_kwh: float
    energy_amount: float
    currency: str


def priced_day(
    tariff: TariffTerms,
    timezone: str,
    metering_interval_s: int,
    begin_s: int,
    load_w: Sequence[float],
    market: Sequence[float] | None,
) -> PricedDay:
    """Price a day. load_w: mean load of each quarter hour from `begin_s` on, W; market: its price, EUR/MWh, or none.

    Raises ValueError for a currency without a rate.
    """
    shown = _in_own_currency(tariff)
    quarters = _quarters(shown, timezone, begin_s, load_w, market)
    kwh = [max(q.load_w, 0.0) / 4000 for q in quarters]
    return PricedDay(
        rows=tuple(_joined(quarters)),
        peaks=tuple(_peaks(shown, calendar_of(tariff, timezone), metering_interval_s, begin_s, load_w)),
        import_kwh=sum(kwh),
        energy_amount=sum(one * q.price for one, q in zip(kwh, quarters, strict=True)),
        currency=tariff.currency if shown is not tariff else "EUR",
    )


def _quarters(
    tariff: TariffTerms, timezone: str, begin_s: int, load_w: Sequence[float], market: Sequence[float] | None
) -> list[Row]:
    """Each quarter hour of the day."""
    calendar = calendar_of(tariff, timezone)
    parts = [(charge.id, _alone(tariff, charge)) for charge in tariff.charges if _import(charge)]
    peaks = [charge for charge in tariff.charges if charge.kind in PEAKS]
    found = []
    for n, w in enumerate(load_w):
        at = begin_s + n * QUARTER_S
        each = [(name, _price(one, timezone, at, market, n)) for name, one in parts]
        counting = tuple(charge.id for charge in peaks if in_force(charge, calendar, at))
        holding = tuple(part for part in each if part[1])
        found.append(Row(at, at + QUARTER_S, w, sum(price for _, price in each), holding, counting))
    return found


def _price(tariff: TariffTerms, timezone: str, utc_s: int, market: Sequence[float] | None, n: int) -> float:
    """What a kWh costs in a quarter hour, without the market's price where that is not known."""
    return import_price(tariff, timezone, utc_s, 0.0 if market is None else market[n]) or 0.0


def _import(charge: Charge) -> bool:
    return charge.kind == "energy" and charge.flow == "import"


def _in_own_currency(tariff: TariffTerms) -> TariffTerms:
    """A tariff in another currency than EUR whose rate is not stated is shown in its own."""
    if tariff.currency == "EUR" or tariff.currency in tariff.eur_per:
        return tariff
    return msgspec.structs.replace(tariff, eur_per={**tariff.eur_per, tariff.currency: 1.0})


def _alone(tariff: TariffTerms, charge: Charge) -> TariffTerms:
    """A tariff of which imported energy has this one charge."""
    return TariffTerms(
        charge=(charge,),
        window=tariff.windows,
        holidays=tariff.holidays,
        currency=tariff.currency,
        eur_per=tariff.eur_per,
    )


def _joined(quarters: Sequence[Row]) -> list[Row]:
    """Quarter hours that follow each other and do not differ but in load, as one row."""
    found = []
    for _, run in groupby(quarters, lambda row: (row.parts, row.counting)):
        rows = list(run)
        mean_w = sum(row.load_w for row in rows) / len(rows)
        found.append(rows[0]._replace(end_utc_s=rows[-1].end_utc_s, load_w=mean_w))
    return found


def _peaks(
    tariff: TariffTerms, calendar: Calendar, metering_interval_s: int, begin_s: int, load_w: Sequence[float]
) -> list[DayPeak]:
    """Of each charge on peaks the highest interval that counts; intervals below a quarter hour are taken as one.

    Where a peak must have been reached several times (`occurs`), the last of so many highest.
    """
    found = []
    for charge in tariff.charges:
        each = max(interval_s(charge, metering_interval_s) // QUARTER_S, 1)
        means = [
            (sum(load_w[n : n + each]) / len(load_w[n : n + each]) / 1000, begin_s + n * QUARTER_S)
            for n in range(0, len(load_w), each)
            if _has_peak(charge) and in_force(charge, calendar, begin_s + n * QUARTER_S)
        ]
        if len(means) >= charge.occurs:
            kw, at = sorted(means, key=lambda one: (-one[0], one[1]))[charge.occurs - 1]
            found.append(
                DayPeak(charge.id, kw, at, _amount(charge, tariff, interval_account(charge, calendar, at), kw))
            )
    return found


def _has_peak(charge: Charge) -> bool:
    """Whether it is charged on a highest power that follows from the load."""
    return (charge.kind == "max" and charge.basis != "kvar") or (charge.kind == "excess" and charge.excess_by == "max")


def _amount(charge: Charge, tariff: TariffTerms, at: IntervalAccount, kw: float) -> float:
    """What a peak adds to each bill that counts it among its peaks: by its weight and tier, with VAT."""
    kw /= (tariff.power_factor or 1.0) if charge.basis == "kVA" else 1.0
    billed = max(kw - (charge.contract_kw or 0.0), 0.0) if charge.kind == "excess" else at.weight * kw
    net = float(priced(charge, counted(billed)) * price_parts(charge, at.period)) / charge.top
    return net * eur_per_unit(charge, tariff) * (1 + charge.vat_pct / 100)
