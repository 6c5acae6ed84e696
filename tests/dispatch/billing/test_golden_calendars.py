"""The windows of the price sheets, read a second time by plain means: the energy of each charge hour by hour.

The reader below knows TOML, Python's clock and the library of holidays, and nothing of Skerry.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import pytest
from golden_year import MONTHS, billed, year

from drivers.tariffs import price_sheets

DAYS_2026 = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHEETS = (
    "ch-aarburg-business-2017",
    "es-6.1td-2025",
    "gb-northern-powergrid-high-voltage-2025",
    "no-glitre-low-voltage-2016",
)


def spanned(texts: list[str], names: tuple[str, ...], name: str) -> bool:
    """Whether a month or weekday is in `["dec-feb", "jul"]`; no text at all is any."""
    for text in texts:
        first, _, last = text.partition("-")
        at = names.index(first)
        while True:
            if names[at] == name:
                return True
            if names[at] == (last or first):
                break
            at = (at + 1) % len(names)
    return not texts


def on_day(window: dict[str, Any], day: date, free: set[date]) -> bool:
    text = day.isoformat()
    return (
        not (window.get("holidays") == "outside" and day in free)
        and not any(text.endswith(part) for part in window.get("except_dates", []))
        and any(text.endswith(part) for part in window.get("dates", [text]))
        and spanned(window.get("months", []), MONTHS, MONTHS[day.month - 1])
        and spanned(window.get("days", []), WEEK, WEEK[day.weekday()])
    )


def at_hour(window: dict[str, Any], hour: int) -> bool:
    clock = f"{hour:02d}:00"
    times = [text.split("-") for text in window.get("times", ["00:00-24:00"])]
    return any(low <= clock < high if low < high else clock >= low or clock < high for low, high in times)


def hours(zone: str) -> Iterator[tuple[date, int]]:
    """Local day and hour of each hour of 2026."""
    local, at = ZoneInfo(zone), datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    while (there := at.astimezone(local)).year == 2026:
        yield there.date(), there.hour
        at += timedelta(hours=1)


@pytest.mark.parametrize("name", SHEETS)
def test_each_energy_charge_has_the_hours_that_a_plain_reader_counts(name: str) -> None:
    text = tomllib.loads((price_sheets.BUNDLED / f"{name}.toml").read_text(encoding="utf-8"))
    tariff, zone = text["tariff"], text["sheet"]["timezone"]
    windows = {window["id"]: window for window in tariff["window"]}
    energies = [charge for charge in tariff["charge"] if charge["kind"] == "energy"]
    country, _, part = tariff.get("holidays", "").partition("-")
    free: set[date] = set(holidays.country_holidays(country, subdiv=part, years=2026)) if country else set()
    days = {key: {day for day in DAYS_2026 if on_day(window, day, free)} for key, window in windows.items()}
    clock = {key: {hour for hour in range(24) if at_hour(window, hour)} for key, window in windows.items()}
    counted: dict[tuple[str, str], int] = {}
    for day, hour in hours(zone):
        inside = {key for key in windows if day in days[key] and hour in clock[key]}
        for charge in energies:
            wanted = charge.get("windows")
            if wanted is None or charge.get("outside", False) != bool(inside.intersection(wanted)):
                key = (charge["id"], day.isoformat()[:7])
                counted[key] = counted.get(key, 0) + 1
    bill = billed(name, year(zone, (), kvar=0.0))
    found = {(line.charge, line.period): Decimal(line.quantity) for line in bill.lines if line.kind == "energy"}
    assert {key: kwh / 40 for key, kwh in found.items() if kwh} == counted
