"""A slow recomputation of an invoice, written apart from the product: loops over steps, decimals, no arrays."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from dispatch.billing.charges.stretch import Metered
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.tariff_terms import TariffTerms

ZONE = ZoneInfo("Europe/Berlin")
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
CENT = Decimal("0.01")


def local(utc_s: int) -> datetime:
    return datetime.fromtimestamp(utc_s, UTC).astimezone(ZONE)


def named_range(text: str, names: list[str]) -> set[str]:
    first, _, last = text.partition("-")
    found = {first}
    while last and first != last:
        first = names[(names.index(first) + 1) % len(names)]
        found.add(first)
    return found


def window_holds(window: TariffWindow, at: datetime) -> bool:
    clock = at.strftime("%H:%M")
    spans = [text.split("-") for text in window.times]
    in_time = not spans or any(a <= clock < b if a < b else clock >= a or clock < b for a, b in spans)
    in_days = not window.days or any(DAYS[at.weekday()] in named_range(text, DAYS) for text in window.days)
    in_months = not window.months or any(MONTHS[at.month - 1] in named_range(text, MONTHS) for text in window.months)
    return in_time and in_days and in_months


def holds(tariff: TariffTerms, charge: Charge, at: datetime) -> bool:
    if not charge.windows:
        return True
    inside = any(window_holds(window, at) for window in tariff.window if window.id in charge.windows)
    return inside != charge.outside


def period_of(charge: Charge, at: datetime) -> str:
    return at.strftime({"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}[charge.period])


def peak_of(charge: Charge, at: datetime, utc_s: int) -> str:
    if charge.peaks_of == "week":
        monday = at.date() - timedelta(days=at.weekday())
        return f"week of {monday}"
    return {"period": "", "day": str(at.date()), "month": at.strftime("%Y-%m"), "interval": str(utc_s)}[charge.peaks_of]


def steps(metered: Metered) -> list[tuple[int, Decimal]]:
    return [(metered.start_utc_s + k * metered.step_s, Decimal(str(kwh))) for k, kwh in enumerate(metered.import_kwh)]


def interval_means(metered: Metered, length_s: int) -> dict[int, Decimal]:
    """kW of each interval, of the steps that are there."""
    sums: dict[int, list[Decimal]] = defaultdict(list)
    for start, kwh in steps(metered):
        sums[start - start % length_s].append(kwh)
    return {start: sum(found) / len(found) * 3600 / metered.step_s for start, found in sums.items()}


def quantity(tariff: TariffTerms, charge: Charge, metered: Metered, metering_s: int) -> dict[str, Decimal]:
    """What each period is billed on."""
    length_s = 60 * charge.interval_min if charge.interval_min else metering_s
    found: dict[str, Decimal] = defaultdict(Decimal)
    if charge.kind == "energy":
        for start, kwh in steps(metered):
            if holds(tariff, charge, local(start)):
                found[period_of(charge, local(start))] += kwh
        return found
    peaks: dict[str, dict[str, Decimal]] = defaultdict(dict)
    above: dict[str, list[Decimal]] = defaultdict(list)
    for start, kw in interval_means(metered, length_s).items():
        at = local(start)
        if holds(tariff, charge, at):
            of = peaks[period_of(charge, at)]
            label = peak_of(charge, at, start)
            of[label] = max(of.get(label, Decimal(0)), kw)
            above[period_of(charge, at)].append(max(kw - Decimal(str(charge.contract_kw or 0)), Decimal(0)))
    if charge.kind == "excess":
        ways = {
            "max": max,
            "sum": sum,
            "root-sum-square": lambda kws: Decimal(math.sqrt(sum(kw * kw for kw in kws))),
            "hours": lambda kws: Decimal(sum(kw > 0 for kw in kws) * length_s) / 3600,
        }
        return {period: Decimal(ways[charge.excess_by](kws)) for period, kws in above.items()}
    floor = Decimal(str(charge.floor_kw))
    return {
        period: max(sum(sorted(of.values(), reverse=True)[: charge.top], Decimal(0)) / charge.top, floor)
        for period, of in peaks.items()
    }


def money(charge: Charge, amount: Decimal) -> Decimal:
    price = Decimal(str(charge.price))
    if not charge.tiers:
        return amount * price
    if charge.tier_on == "whole":
        reached = [p for start, p in charge.tiers if amount >= Decimal(str(start))]
        return amount * Decimal(str(reached[-1])) if reached else Decimal(0)
    total, rest = Decimal(0), amount
    for start, tier_price in sorted(charge.tiers, reverse=True):
        part = max(rest - Decimal(str(start)), Decimal(0))
        total, rest = total + part * Decimal(str(tier_price)), rest - part
    return total


def parts(charge: Charge, period: str) -> Decimal:
    """How often the price is charged in a period."""
    per = charge.price_per or charge.period
    if charge.kind in ("energy",) or per == charge.period or (charge.kind == "excess" and charge.excess_by != "max"):
        return Decimal(1)
    if (charge.period, per) == ("month", "year"):
        return Decimal(1) / 12
    if (charge.period, per) == ("year", "month"):
        return Decimal(12)
    assert (charge.period, per) == ("month", "day")
    year, month = map(int, period.split("-"))
    return Decimal((date(year + month // 12, month % 12 + 1, 1) - date(year, month, 1)).days)


def recomputed(tariff: TariffTerms, metered: Metered, metering_s: int) -> dict[tuple[str, str], Decimal]:
    """(charge, period) -> gross amount, without those of nothing."""
    found = {}
    for charge in tariff.charges:
        for period, billed in quantity(tariff, charge, metered, metering_s).items():
            amount = billed.quantize(Decimal("0.000001"))
            net = (money(charge, amount) * parts(charge, period)).quantize(CENT, ROUND_HALF_UP)
            vat = (net * Decimal(str(charge.vat_pct)) / 100).quantize(CENT, ROUND_HALF_UP)
            found[charge.id, period] = net + vat
    return {key: gross for key, gross in found.items() if gross}
