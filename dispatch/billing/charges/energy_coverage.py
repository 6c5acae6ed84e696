"""Finds hours that the energy charges of a tariff price not at all, or twice.

Where a charge without windows prices energy, others may add to it as they like. Where all have windows, each minute
must lie in the same number of them: one for a high and a low tariff, two where network and supplier have such a pair
each. Sets of minutes of a day are integers of 1440 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, timedelta

from dispatch.billing.charges.calendar import calendar_of, holds_on, named, window_on
from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.window_times import DAY_MIN, window_times

DAY = (1 << DAY_MIN) - 1
FIRST = date(2027, 1, 1)  # with a leap year after it
DAYS = 366 + 365


def some_days(years: Collection[int] = ()) -> Iterator[date]:
    """Days of two years, one of them a leap year, and of those given."""
    for n in range(DAYS):
        yield FIRST + timedelta(days=n)
    for year in sorted(years):
        for n in range(366):
            yield date(year, 1, 1) + timedelta(days=n)


def coverage_faults(tariff: TariffTerms) -> Iterator[tuple[int, str]]:
    """(number of a [[tariff.charge]], what was expected) for each flow with a gap or an overlap."""
    for flow in ("import", "export"):
        together = [(k, c) for k, c in enumerate(tariff.charge) if c.kind == "energy" and c.flow == flow]
        every = [c for c in tariff.charges if c.kind == "energy" and c.flow == flow]
        if together and all(charge.windows for charge in every):
            yield from _faults(tariff, together)


def _faults(tariff: TariffTerms, together: list[tuple[int, Charge]]) -> Iterator[tuple[int, str]]:
    """As they are once the last of them holds; charges that ended before are left out."""
    begin = max([FIRST.isoformat(), *(charge.from_date for _, charge in together)])
    first = date.fromisoformat(begin)
    in_use = [(k, c) for k, c in together if not c.to_date or c.to_date > begin]
    if not in_use:
        return
    counts = _counts(tariff, [charge for _, charge in in_use], first)
    least, most = min(counts), max(counts)
    if least == 0:
        expected = f"a price for every hour: {counts[0]} has none; or a charge without windows beside them"
        yield in_use[-1][0], expected
    elif most > least:
        yield (
            in_use[-1][0],
            f"one price for every hour: {counts[most]} is in {most} windows, {counts[least]} in {least}; where some "
            "are meant to add up, a charge without windows beside them, of price 0 if need be",
        )


def _counts(tariff: TariffTerms, charges: list[Charge], first: date) -> dict[int, str]:
    """In how many of the charges' windows minutes are: each number that comes, and when it comes first."""
    found: dict[int, str] = {}
    seen: set[tuple[int, ...]] = set()
    for n in range(DAYS):
        day = first + timedelta(days=n)
        masks = tuple(_minutes(charge, tariff, day) for charge in charges)
        if masks in seen:
            continue
        seen.add(masks)
        for count, mask in _by_count(masks):
            minute = (mask & -mask).bit_length() - 1
            found.setdefault(count, f"{day} {minute // 60:02d}:{minute % 60:02d}")
    return found


def _minutes(charge: Charge, tariff: TariffTerms, day: date) -> int:
    if not holds_on(charge, day):
        return 0
    found = 0
    for window in named(charge.windows, calendar_of(tariff, "UTC")):
        if window_on(window, tariff.holidays, day):
            for low, high in window_times(window).minutes or ((0, DAY_MIN),):
                found |= (1 << high) - (1 << low)
    return DAY & ~found if charge.outside else found


def _by_count(masks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """In how many of the sets minutes are, and which minutes; only counts that there are."""
    left = {0: DAY}
    for mask in masks:
        counted: dict[int, int] = {}
        for count, minutes in left.items():
            counted[count] = counted.get(count, 0) | (minutes & ~mask)
            counted[count + 1] = counted.get(count + 1, 0) | (minutes & mask)
        left = counted
    yield from ((count, minutes) for count, minutes in left.items() if minutes)
