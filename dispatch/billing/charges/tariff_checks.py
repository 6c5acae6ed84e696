"""Checks the charges and windows of a tariff: what contradicts itself, never comes, or means nothing.

Each check stands alone and gives (key, value, what was expected), keys from `[tariff]` on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from functools import partial
from itertools import pairwise

import msgspec

from dispatch.billing.charges.accounts import eur_per_unit, interval_s
from dispatch.billing.charges.calendar import public_holidays, window_on
from dispatch.billing.charges.energy_coverage import coverage_faults, some_days
from dispatch.billing.charges.full_load_hours import by_full_load_hours
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.window_times import a_date, month_day, month_numbers, window_faults, window_times

Finding = tuple[str, object, str]
Check = Callable[[], Iterator[Finding]]

YEARS = frozenset(("period", "year_from", "full_load_h_from", "full_load_h_below", "from_date", "to_date"))
EVERY_KIND = frozenset(("id", "kind", "price", "currency", "vat_pct", *YEARS))
TIERED = frozenset(("tiers", "tier_on"))
IN_WINDOWS = frozenset(("windows", "outside"))
FIELDS: dict[str, frozenset[str]] = {
    "energy": EVERY_KIND | TIERED | IN_WINDOWS | {"market_factor", "flow"},
    "max": EVERY_KIND
    | TIERED
    | IN_WINDOWS
    | {"price_per", "basis", "interval_min", "peaks_of", "top", "month_weight_pct", "set_in", "floor_kw"}
    | {"peak_floor_kw", "individual", "free_pct", "occurs", "past_only"},
    "excess": EVERY_KIND | TIERED | IN_WINDOWS | {"price_per", "basis", "interval_min", "excess_by", "contract_kw"},
    "contract": EVERY_KIND | TIERED | {"price_per", "basis", "contract_kw"},
    "reactive": EVERY_KIND | TIERED | IN_WINDOWS | {"free_pct", "reactive"},
    "fixed": EVERY_KIND | {"price_per"},
}
HIGH_EUR_PER_KWH = 1.0  # above any price of a sheet; one in ct, öre or of a MWh is higher
HIGH_KW = 20_000.0  # contracted at voltages that Skerry is not for; one in W is higher
SEAM_DAYS = 31  # a longer time without the price may be meant: a season
LENGTHS = ("interval", "day", "week", "month", "year")  # of peaks and periods, the shortest first


def tariff_remarks(tariff: TariffTerms, today: date) -> Iterator[str]:
    """What is no error and should be known: charges that do not hold yet, or no more."""
    for charge in tariff.charge:
        if charge.from_date > today.isoformat():
            yield f"tariff: charge {charge.id} holds from {charge.from_date} on: it is not billed yet"
        if charge.to_date and charge.to_date < today.isoformat():
            yield f"tariff: charge {charge.id} held until {charge.to_date}: it is billed no more"
        yield from _another_unit(charge, tariff)
    for window in tariff.window:
        ends = [span.last for span in window_times(window).dates or ()]
        if ends and all(last[0] and last < today.timetuple()[:3] for last in ends):
            yield f"tariff: window {window.id} has dates of the past only: it comes no more"
    yield from _seams(tariff.charge)


def _another_unit(charge: Charge, tariff: TariffTerms) -> Iterator[str]:
    """Figures that look as if their unit were another."""
    highest = max([abs(charge.price), *(abs(price) for _, price in charge.tiers)])
    if charge.kind == "energy" and highest * eur_per_unit(charge, tariff) > HIGH_EUR_PER_KWH:
        currency = charge.currency or tariff.currency
        yield f"tariff: charge {charge.id} asks {highest:g} {currency} per kWh: is the price one of 100ths or of a MWh?"
    if 0 < charge.vat_pct < 1:
        yield f"tariff: charge {charge.id} has {charge.vat_pct:g} % VAT: is it a share, not percent?"
    if charge.contract_kw is not None and charge.contract_kw >= HIGH_KW:
        yield f"tariff: charge {charge.id} has {charge.contract_kw:g} kW contracted: are they W?"


def _seams(charges: tuple[Charge, ...]) -> Iterator[str]:
    """Where one price follows another by date: days that have both or neither."""
    for a in charges:
        for b in charges:
            alike = (a.kind, a.flow, a.windows, a.outside, a.basis) == (b.kind, b.flow, b.windows, b.outside, b.basis)
            if a is b or not (alike and a.to_date and b.from_date):
                continue
            days = (date.fromisoformat(b.from_date) - date.fromisoformat(a.to_date)).days
            if days == 0:
                yield f"tariff: charges {a.id} and {b.id} both hold on {a.to_date}: that day is billed twice"
            elif 1 < days <= SEAM_DAYS and a.from_date < b.from_date:
                yield f"tariff: after {a.to_date} and before {b.from_date} neither charge {a.id} nor {b.id} holds"


def tariff_checks(tariff: TariffTerms, metering_interval_s: int) -> Iterator[Check]:
    """Every check of a tariff, each to be made by itself.

    One that cannot be made, because of what another one finds, finds nothing.
    """
    for n, window in enumerate(tariff.window):
        yield partial(_window_texts, n, window)
    for k, charge in enumerate(tariff.charge):
        yield partial(_dates, k, charge)
        yield partial(_unknown_windows, k, charge, tariff)
        yield partial(_meaningless, k, charge)
        yield partial(_needed, k, charge, tariff)
        yield partial(_tiers, k, charge)
        yield partial(_lengths, k, charge)
        yield partial(_interval, k, charge, metering_interval_s)
        yield partial(_if_readable, partial(_edges, k, charge, tariff, metering_interval_s))
        yield partial(_rate, k, charge, tariff)
    yield partial(_total_currency, tariff)
    yield partial(_names, tariff)
    yield partial(_co2_price, tariff)
    yield partial(_holidays, tariff)
    for n, window in enumerate(tariff.window):
        yield partial(_if_readable, partial(_never, n, window, tariff))
    yield partial(_full_load_hours, tariff)
    yield partial(_if_readable, partial(_coverage, tariff))


def _if_readable(check: Check) -> Iterator[Finding]:
    """Windows, dates and holidays that cannot be read have findings of their own."""
    with suppress(ValueError):
        yield from check()


def _window_texts(n: int, window: TariffWindow) -> Iterator[Finding]:
    for key, text, expected in window_faults(window):
        yield f"tariff.window[{n}].{key}", text, expected


def _dates(k: int, charge: Charge) -> Iterator[Finding]:
    for key, read in (("from_date", a_date), ("to_date", a_date), ("year_from", month_day)):
        text = getattr(charge, key)
        try:
            if text:
                read(text)
        except ValueError as error:
            yield f"tariff.charge[{k}].{key}", text, str(error)
    for month in charge.set_in:
        try:
            month_numbers((month,))
        except ValueError as error:
            yield f"tariff.charge[{k}].set_in", month, str(error)
    if charge.to_date and charge.to_date < charge.from_date:
        yield f"tariff.charge[{k}].to_date", charge.to_date, f"no day before from_date = {charge.from_date}"


def _co2_price(tariff: TariffTerms) -> Iterator[Finding]:
    if tariff.co2_eur_per_tonne and tariff.co2_g_per_kwh is None:
        expected = "tariff.co2_g_per_kwh as well: the CO2 of an imported kWh that is priced"
        yield "tariff.co2_eur_per_tonne", tariff.co2_eur_per_tonne, expected


def _unknown_windows(k: int, charge: Charge, tariff: TariffTerms) -> Iterator[Finding]:
    known = {window.id for window in tariff.window}
    there = ", ".join(sorted(known)) or "there is none"
    lists = [("windows", charge.windows)]
    if charge.individual is not None:
        lists.append(("individual.windows", charge.individual.windows))
    for key, names in lists:
        for name in names:
            if name not in known:
                yield f"tariff.charge[{k}].{key}", name, f"the id of a [[tariff.window]]: {there}"


def _meaningless(k: int, charge: Charge) -> Iterator[Finding]:
    """Keys that change nothing for a charge of its kind."""
    allowed = FIELDS[charge.kind]
    for field in msgspec.structs.fields(charge):
        value = getattr(charge, field.name)
        if field.name not in allowed and value != field.default:
            kinds = ", ".join(kind for kind, names in FIELDS.items() if field.name in names)
            yield f"tariff.charge[{k}].{field.name}", value, f"only where kind is one of: {kinds}"
    for key, value, expected in _without_effect(charge):
        if key in allowed:
            yield f"tariff.charge[{k}].{key}", value, expected


def _without_effect(charge: Charge) -> Iterator[Finding]:
    """Keys that change nothing beside the others, or contradict them."""
    yield from (
        (key, value, expected)
        for key, value, wrong, expected in (
            ("outside", True, charge.outside and not charge.windows, "windows that it is outside of"),
            ("tier_on", charge.tier_on, charge.tier_on != "part" and not charge.tiers, "tiers beside it"),
            ("price", charge.price, charge.price and charge.tiers, "tiers or a price, not both"),
            ("basis", charge.basis, charge.basis == "kvar" and charge.kind != "max", 'kind = "max"'),
            ("free_pct", charge.free_pct, charge.free_pct and _active(charge), 'basis = "kvar"'),
            *_of_periods(charge),
        )
        if wrong
    )


def _active(charge: Charge) -> bool:
    return charge.kind == "max" and charge.basis != "kvar"


def _of_periods(charge: Charge) -> Iterator[tuple[str, object, object, str]]:
    """Keys that ask for a certain period: key, value, whether it is wrong, what was expected."""
    yield "year_from", charge.year_from, charge.year_from != "01-01" and charge.period != "year", 'period = "year"'
    yield "top", charge.top, charge.top > 1 and charge.peaks_of == "period", 'peaks_of beside it, such as "day"'
    yield "set_in", list(charge.set_in), charge.set_in and charge.period != "month", 'period = "month"'
    yield "individual", "a table", charge.individual is not None and charge.period != "year", 'period = "year"'
    rolling = charge.period == "rolling-12"
    yield "period", charge.period, rolling and charge.kind != "max", 'kind = "max"'
    yield "past_only", charge.past_only, charge.past_only and not rolling, 'period = "rolling-12"'
    each = charge.peaks_of == "interval"
    yield "occurs", charge.occurs, charge.occurs > 1 and each, 'another peaks_of than "interval", such as "day"'
    yield "basis", charge.basis, rolling and charge.basis == "kvar", "another period beside it"


def _needed(k: int, charge: Charge, tariff: TariffTerms) -> Iterator[Finding]:
    """Keys that a charge cannot be billed without."""
    if charge.kind in ("contract", "excess") and charge.contract_kw is None:
        yield f"tariff.charge[{k}].contract_kw", None, f"the contracted power: kind is {charge.kind}"
    reactive = (charge.kind == "reactive" and charge.reactive == "inductive") or charge.basis != "kW"
    if reactive and charge.kind != "contract" and tariff.power_factor is None:
        yield "tariff.power_factor", None, f"the power factor of the import: charge {charge.id} is on reactive power"


def _tiers(k: int, charge: Charge) -> Iterator[Finding]:
    starts = [start for start, _ in charge.tiers]
    if not all(math.isfinite(number) for tier in charge.tiers for number in tier):
        yield f"tariff.charge[{k}].tiers", charge.tiers, "finite numbers"
    elif any(start < 0 for start in starts) or any(b <= a for a, b in pairwise(starts)):
        yield f"tariff.charge[{k}].tiers", charge.tiers, "pairs of [from, price] with ascending from, 0 or more"


def _lengths(k: int, charge: Charge) -> Iterator[Finding]:
    period = "year" if charge.period == "rolling-12" else charge.period
    if charge.peaks_of != "period" and LENGTHS.index(charge.peaks_of) > LENGTHS.index(period):
        yield f"tariff.charge[{k}].peaks_of", charge.peaks_of, f"nothing longer than the period, {charge.period}"


def _interval(k: int, charge: Charge, metering_interval_s: int) -> Iterator[Finding]:
    if interval_s(charge, metering_interval_s) % metering_interval_s:
        expected = f"a multiple of the meter's interval: grid.metering_interval_s = {metering_interval_s}"
        yield f"tariff.charge[{k}].interval_min", charge.interval_min, expected


def _edges(k: int, charge: Charge, tariff: TariffTerms, metering_interval_s: int) -> Iterator[Finding]:
    """Intervals count by their begin: a window that ends within one would be billed by chance."""
    length_min = interval_s(charge, metering_interval_s) // 60
    inside = (*charge.windows, *(charge.individual.windows if charge.individual is not None else ()))
    for n, window in enumerate(tariff.window):
        minutes = window_times(window).minutes or ()
        if window.id in inside and any(edge % length_min for span in minutes for edge in span):
            expected = f"ends of whole intervals of charge {charge.id}, {length_min} min"
            yield f"tariff.window[{n}].times", window.times, expected


def _rate(k: int, charge: Charge, tariff: TariffTerms) -> Iterator[Finding]:
    try:
        eur_per_unit(charge, tariff)
    except ValueError:
        currency = charge.currency or tariff.currency
        yield f"tariff.charge[{k}].currency", currency, f"its rate in [tariff] eur_per, {{ {currency} = ... }}"


def _total_currency(tariff: TariffTerms) -> Iterator[Finding]:
    """Charges of the plain keys are EUR: the total needs a rate beside them. EUR itself has none."""
    if "EUR" in tariff.eur_per:
        yield "tariff.eur_per", f"EUR = {tariff.eur_per['EUR']:g}", "rates of other currencies: EUR is what they are in"
    others = {charge.currency or tariff.currency for charge in tariff.charges} - {tariff.currency}
    if others and tariff.currency not in {"EUR", *tariff.eur_per}:
        expected = f"its rate in [tariff] eur_per, {{ {tariff.currency} = ... }}, beside charges in {min(others)}"
        yield "tariff.currency", tariff.currency, expected


def _names(tariff: TariffTerms) -> Iterator[Finding]:
    for section, ids in (("window", [w.id for w in tariff.window]), ("charge", [c.id for c in tariff.charge])):
        for n, name in enumerate(ids):
            if name in ids[:n]:
                yield f"tariff.{section}[{n}].id", name, f"the id of one [[tariff.{section}]] only"
    plain = {charge.id for charge in tariff.charges[: len(tariff.charges) - len(tariff.charge)]}
    for n, charge in enumerate(tariff.charge):
        if charge.id in plain:
            yield f"tariff.charge[{n}].id", charge.id, "another name: the keys of [tariff] are billed under this one"


def _holidays(tariff: TariffTerms) -> Iterator[Finding]:
    asks = [w.id for w in tariff.window if w.holidays != "as-weekday" or w.bridge_days == "outside"]
    if not tariff.holidays:
        if asks:
            yield "tariff.holidays", "", f'whose holidays window {asks[0]} asks for, such as "DE-BE" or "NL"'
        return
    try:
        public_holidays(tariff.holidays, 2026)
    except ValueError as error:
        yield "tariff.holidays", tariff.holidays, str(error)


def _never(n: int, window: TariffWindow, tariff: TariffTerms) -> Iterator[Finding]:
    """A window of dates of one year is looked for in that year, too."""
    years = {span.first[0] for span in window_times(window).dates or () if span.first[0]}
    if not any(window_on(window, tariff.holidays, day) for day in some_days(years)):
        yield (
            f"tariff.window[{n}].id",
            window.id,
            "months, days and dates that meet on some day: this window never comes",
        )


def _full_load_hours(tariff: TariffTerms) -> Iterator[Finding]:
    """Prices by full-load hours must leave no year without one, and none with two."""
    groups: dict[tuple[str, str], list[tuple[int, Charge]]] = {}
    if tariff.full_load_h is not None and not by_full_load_hours(tariff):
        yield "tariff.full_load_h", tariff.full_load_h, "a charge with full_load_h_from or full_load_h_below beside it"
    for k, charge in enumerate(tariff.charge):
        if charge.full_load_h_from is not None or charge.full_load_h_below is not None:
            groups.setdefault((charge.kind, charge.flow), []).append((k, charge))
    for members in groups.values():
        spans = {(c.full_load_h_from or 0.0, c.full_load_h_below or math.inf): k for k, c in reversed(members)}
        yield from _gaps(spans)


def _gaps(spans: dict[tuple[float, float], int]) -> Iterator[Finding]:
    """Of spans of full-load hours, h, each with the number of a charge."""
    ordered = sorted(spans)
    first, last = ordered[0], ordered[-1]
    if first[0] > 0:
        yield (
            f"tariff.charge[{spans[first]}].full_load_h_from",
            first[0],
            f"a charge for years below {first[0]:g} h, too",
        )
    if last[1] < math.inf:
        yield f"tariff.charge[{spans[last]}].full_load_h_below", last[1], f"a charge from {last[1]:g} h on, too"
    for a, b in pairwise(ordered):
        if a[1] != b[0]:
            expected = f"{a[1]:g} h, where the one before ends: no gap, no overlap"
            yield f"tariff.charge[{spans[b]}].full_load_h_from", b[0], expected


def _coverage(tariff: TariffTerms) -> Iterator[Finding]:
    for k, expected in coverage_faults(tariff):
        yield f"tariff.charge[{k}].windows", tariff.charge[k].windows, expected
