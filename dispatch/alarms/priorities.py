"""Decides the priority of an alarm: how bad what follows is, by how long there is to act.

ISA-18.2 asks for such a table and leaves its figures to the site's alarm philosophy: those here are Skerry's own.
"""

from __future__ import annotations

import enum


class Priority(enum.Enum):
    """How soon someone must act."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Consequence(enum.Enum):
    """What follows if nobody acts."""

    SEVERE = "severe"  # people, equipment, or the site's supply
    MAJOR = "major"  # the peak or the contract, or a function that the site relies on
    MINOR = "minor"  # a convenience, a part that others stand in for, small sums


PRIORITIES = tuple(Priority)  # the most urgent first
SOON_S, HOUR_S, SHIFT_S = 600.0, 3600.0, 8 * 3600.0
_BY_TIME = {
    Consequence.SEVERE: (Priority.HIGH, Priority.HIGH, Priority.MEDIUM, Priority.LOW),
    Consequence.MAJOR: (Priority.HIGH, Priority.MEDIUM, Priority.LOW, Priority.LOW),
    Consequence.MINOR: (Priority.MEDIUM, Priority.LOW, Priority.LOW, Priority.LOW),
}


def priority_of(consequence: Consequence, act_within_s: float) -> Priority:
    """By the time to act, s: up to ten minutes, up to an hour, up to a shift of 8 h, longer."""
    column = sum(act_within_s > limit_s for limit_s in (SOON_S, HOUR_S, SHIFT_S))
    return _BY_TIME[consequence][column]


def more_urgent(first: Priority, second: Priority) -> bool:
    """Whether the first comes before the second."""
    return PRIORITIES.index(first) < PRIORITIES.index(second)
