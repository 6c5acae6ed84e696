"""Turns a billed quantity into money, exactly: fractions until a line is rounded, half up, to the cent."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from dispatch.config.charges import Charge, Tier

DIGITS = 6  # of a quantity: mW, mWh; what floating point adds behind them is no measurement
CENT = 100


def exact(number: float) -> Fraction:
    """A number of the site file as it is written there: 0.1 is a tenth."""
    return Fraction(Decimal(repr(number)))


def counted(quantity: float) -> Fraction:
    """A computed quantity, to `DIGITS` behind the point."""
    return Fraction(Decimal(repr(round(quantity, DIGITS))))


def priced(charge: Charge, quantity: Fraction) -> Fraction:
    """The charge's price times a quantity, or what its tiers make of it; before time parts, VAT and rounding."""
    if not charge.tiers:
        return quantity * exact(charge.price)
    if charge.tier_on == "whole":
        reached = [price for start, price in charge.tiers if quantity >= exact(start)]
        return quantity * exact(reached[-1]) if reached else Fraction(0)
    return _by_parts(charge.tiers, quantity)


def _by_parts(tiers: Sequence[Tier], quantity: Fraction) -> Fraction:
    total = Fraction(0)
    ends = [exact(start) for start, _ in tiers[1:]]
    for (start, price), end in zip(tiers, [*ends, None], strict=True):
        top = quantity if end is None else min(quantity, end)
        total += max(top - exact(start), Fraction(0)) * exact(price)
    return total


def cents(amount: Fraction) -> Decimal:
    """Rounded to the cent, "10.00"; half a cent goes up, of what is earned, too: 0.125 is 0.13, -0.125 is -0.13."""
    size = int(abs(amount) * CENT + Fraction(1, 2))
    return Decimal(-size if amount < 0 else size).scaleb(-2)
