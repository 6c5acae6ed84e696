"""Says each charge back as a reason, for `dispatch.wording` to put into words; and when a window next holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dispatch.billing.charges.accounts import interval_s
from dispatch.billing.charges.calendar import Calendar, named, window_on
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.window_times import DAY_MIN, MONTHS, window_times
from dispatch.model.reasons import Phrase, Reason

Figures = dict[str, float | str | Reason | list[Reason] | None]

SEARCHED_DAYS = 800  # two years, for a window of a date that comes once


class Span(NamedTuple):
    """A time in which a window holds, POSIX s."""

    begin_utc_s: int
    end_utc_s: int


def described(charge: Charge, tariff: TariffTerms, metering_interval_s: int) -> Reason:
    """The charge as a person would say it."""
    parts = [
        _what(charge, tariff, metering_interval_s),
        *_how(charge),
        *_when(charge, tariff),
        *_limits(charge, tariff),
    ]
    return Phrase("charge.parts", {"parts": parts})


def _what(charge: Charge, tariff: TariffTerms, metering_interval_s: int) -> Reason:
    figures: Figures = {
        "price": _price(charge, tariff),
        "unit": charge.basis,
        "per": charge.price_per or ("month" if charge.period == "rolling-12" else charge.period),
        "period": Phrase("charge.of_past_12" if charge.past_only else f"charge.of_{charge.period.replace('-', '_')}"),
        "minutes": interval_s(charge, metering_interval_s) // 60,
        "contract_kw": charge.contract_kw or 0.0,
        "free_pct": charge.free_pct,
        "factor": charge.market_factor,
    }
    if charge.kind == "energy":
        return Phrase(_energy(charge), figures)
    if charge.kind == "max":
        return Phrase(
            "charge.max_kvar" if charge.basis == "kvar" else "charge.max", figures | {"peak": _peak(charge, figures)}
        )
    if charge.kind == "excess":
        return Phrase(f"charge.excess_{charge.excess_by.replace('-', '_')}", figures)
    capacitive = charge.kind == "reactive" and charge.reactive == "capacitive"
    return Phrase("charge.reactive_capacitive" if capacitive else f"charge.{charge.kind}", figures)


def _energy(charge: Charge) -> str:
    """The code of an energy price: with the market's or without it, of import or export."""
    market = "" if not charge.market_factor else "_market" if charge.market_factor == 1 else "_market_times"
    price = "" if not market else "_plus" if charge.tiers or charge.price > 0 else "_less" if charge.price else ""
    return f"charge.energy_{charge.flow}{market}{price}"


def _price(charge: Charge, tariff: TariffTerms) -> Reason:
    currency = charge.currency or tariff.currency
    if not charge.tiers:
        size = abs(charge.price) if charge.market_factor else charge.price  # "the market price less 0.01"
        return Phrase("charge.price", {"price": size, "currency": currency})
    tiers = [Phrase("charge.tier", {"price": price, "start": start}) for start, price in charge.tiers]
    return Phrase(f"charge.tiers_{charge.tier_on}", {"tiers": tiers, "currency": currency})


def _peak(charge: Charge, figures: Figures) -> Reason:
    """Which mean is billed."""
    if charge.top == 1:
        return Phrase("charge.highest", figures)
    return Phrase(
        f"charge.top_{charge.peaks_of}" if charge.peaks_of != "period" else "charge.highest",
        figures | {"top": charge.top},
    )


def _how(charge: Charge) -> Iterator[Reason]:
    """Weights, floors, and the months that set the others."""
    weights = charge.month_weight_pct
    if weights is not None:
        other = [
            Phrase("charge.weight", {"month_names": m, "pct": pct})
            for m in MONTHS
            if (pct := getattr(weights, m)) != 100
        ]
        yield Phrase("charge.weights", {"weights": other})
    if charge.set_in:
        yield Phrase("charge.set_in", {"month_names": ", ".join(charge.set_in)})
    if charge.occurs > 1:
        yield Phrase("charge.occurs", {"count": charge.occurs})
    if charge.peak_floor_kw:
        yield Phrase("charge.peak_floor", {"floor_kw": charge.peak_floor_kw})
    if charge.floor_kw:
        yield Phrase("charge.floor", {"floor_kw": charge.floor_kw, "unit": charge.basis})
    individual = charge.individual
    if individual is not None:
        figures = {name: getattr(individual, name) for name in ("gap_pct", "gap_kw", "least_saving", "floor_pct")}
        yield Phrase("charge.individual", figures | {"windows": ", ".join(individual.windows)})


def _when(charge: Charge, tariff: TariffTerms) -> Iterator[Reason]:
    """In which windows it counts."""
    if not charge.windows:
        return
    known = {window.id: window for window in tariff.windows}
    windows = [window_in_words(known[name], tariff.holidays) for name in charge.windows if name in known]
    yield Phrase("charge.outside" if charge.outside else "charge.inside", {"windows": windows})


def window_in_words(window: TariffWindow, holidays: str) -> Reason:
    """A window as a person would say it."""
    return Phrase("window.parts", {"parts": list(_window(window, holidays))})


def _window(window: TariffWindow, holidays: str) -> Iterator[Reason]:
    if window.months:
        yield Phrase("window.names", {"names": ", ".join(window.months)})
    if window.dates:
        yield Phrase("window.dates", {"dates": ", ".join(window.dates)})
    days, times = ", ".join(window.days), ", ".join(window.times)
    if days and times:
        yield Phrase("window.days_times", {"names": days, "time_names": times})
    elif days or times:
        yield Phrase("window.names", {"names": days or times})
    if not any((window.months, window.dates, days, times)):
        yield Phrase("window.always")
    if window.except_dates:
        yield Phrase("window.except", {"dates": ", ".join(window.except_dates)})
    if holidays and (window.days or window.holidays != "as-weekday"):
        yield Phrase(f"window.holidays_{window.holidays.replace('-', '_')}")
    if holidays and window.bridge_days == "outside":
        yield Phrase("window.no_bridge_days")


def _limits(charge: Charge, tariff: TariffTerms) -> Iterator[Reason]:
    """From when to when, in which years, VAT."""
    if charge.from_date:
        yield Phrase("charge.from_date", {"date": charge.from_date})
    if charge.to_date:
        yield Phrase("charge.to_date", {"date": charge.to_date})
    if charge.full_load_h_from is not None:
        yield Phrase("charge.hours_from", {"hours": charge.full_load_h_from})
    if charge.full_load_h_below is not None:
        yield Phrase("charge.hours_below", {"hours": charge.full_load_h_below})
    if charge.period == "year" and charge.year_from != "01-01":
        yield Phrase("charge.year_from", {"date": charge.year_from})
    if charge.vat_pct:
        yield Phrase("charge.vat", {"vat_pct": charge.vat_pct})


def next_spans(window_id: str, calendar: Calendar, utc_s: float, count: int) -> list[Span]:
    """The next times in which a window holds, the first of them may have begun; at most two years ahead."""
    window, zone = named((window_id,), calendar)[0], ZoneInfo(calendar.timezone)
    first = datetime.fromtimestamp(utc_s, UTC).astimezone(zone).date()
    found: list[Span] = []
    for n in range(SEARCHED_DAYS):
        day = first + timedelta(days=n)
        if not window_on(window, calendar.holidays, day):
            continue
        for low, high in sorted(window_times(window).minutes or ((0, DAY_MIN),)):
            span = Span(_instant(day, low, zone), _instant(day, high, zone))
            if found and found[-1].end_utc_s == span.begin_utc_s:
                found[-1] = Span(found[-1].begin_utc_s, span.end_utc_s)
            elif span.end_utc_s > max(utc_s, span.begin_utc_s):
                if len(found) == count:
                    return found
                found.append(span)
    return found


def _instant(day: date, minute: int, zone: ZoneInfo) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int((midnight + timedelta(minutes=minute)).timestamp())  # by wall time
