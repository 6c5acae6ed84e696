"""Picks of the prices by full-load hours those of one year: the expected ones, before the year is over.

Full-load hours are the energy that a year imports / its highest mean. What a bill makes of a year that was measured is
decided in `years`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms


def expected_h(tariff: TariffTerms) -> float:
    """The full-load hours that the site expects of a year; where it states none, many."""
    return math.inf if tariff.full_load_h is None else tariff.full_load_h


def holds_at(charge: Charge, hours: float) -> bool:
    """Whether a charge holds in a year of so many."""
    low, high = charge.full_load_h_from, charge.full_load_h_below
    return (low is None or hours >= low) and (high is None or hours < high)


def by_full_load_hours(tariff: TariffTerms) -> bool:
    """Whether any price depends on them."""
    return any(c.full_load_h_from is not None or c.full_load_h_below is not None for c in tariff.charge)


def at_full_load_hours(tariff: TariffTerms, hours: float) -> TariffTerms:
    """The tariff as it is in a year of so many, whatever is measured."""
    if not by_full_load_hours(tariff):
        return tariff
    charges = (
        msgspec.structs.replace(charge, full_load_h_from=None, full_load_h_below=None)
        for charge in tariff.charge
        if holds_at(charge, hours)
    )
    return msgspec.structs.replace(tariff, charge=tuple(charges))


def choices(tariff: TariffTerms) -> Iterator[TariffTerms]:
    """The tariff as it is in a year below and above each limit of full-load hours."""
    limits = {charge.full_load_h_from for charge in tariff.charge if charge.full_load_h_from is not None}
    yield from (at_full_load_hours(tariff, hours) for hours in sorted({0.0, *limits}))
