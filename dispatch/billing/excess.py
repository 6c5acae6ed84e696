"""Sums up what intervals have above a contract, for charges that bill more than the highest of them.

`excess_by` of such a charge says what adds up: "sum" the kW of each interval, "root-sum-square" their squares (the root
of the sum is billed), "hours" the time of the intervals that are above. W here, W^2 or h; any unit of power holds.
"""

from __future__ import annotations

import math

ROOT, HOURS = "root-sum-square", "hours"


def measure(by: str, above: float, hours: float) -> float:
    """What one interval of so many hours adds, whose mean is so far above the contract (not below 0)."""
    if by == HOURS:
        return hours if above > 0 else 0.0
    return above * above if by == ROOT else above


def quantity(by: str, added: float) -> float:
    """What is billed of what has added up."""
    return math.sqrt(added) if by == ROOT else added


def joined(by: str, one: float, other: float) -> float:
    """The quantity of two stretches together, of that of each."""
    return math.hypot(one, other) if by == ROOT else one + other
