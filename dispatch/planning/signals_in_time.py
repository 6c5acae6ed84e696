"""The limits that signals from outside and grid events set in a part of a time, as the rules take them."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.model.signals import Limits, Signal, Sort, tightest


def limits_in(signals: Sequence[Signal], begin_utc_s: float, end_utc_s: float) -> tuple[Limits, Limits]:
    """(the grid operator's, which outrank an order; what markets, a fleet and grid events ask for, which do not)."""
    there = [signal for signal in signals if signal.overlaps(begin_utc_s, end_utc_s)]
    obliged = tightest(signal for signal in there if signal.sort is Sort.OBLIGATION)
    return obliged, tightest(signal for signal in there if signal.sort is not Sort.OBLIGATION)
