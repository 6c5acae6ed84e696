"""Defines a reading: a measured value or state with its age and quality. A missing reading is missing, never zero."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class Quality(enum.Enum):
    """GOOD: use it. STALE: the last value known, for display and for holding. MISSING: there is no value.

    SUSPECT: what the device said is doubted (`dispatch.plausibility`). The value is the last one that was not, with its
    true age; before there was one, it is what the device said. It is used like an answer that did not come this tick,
    but not for a step that cannot be undone.
    """

    GOOD = "good"
    SUSPECT = "suspect"
    STALE = "stale"
    MISSING = "missing"

    __hash__ = object.__hash__  # a member is equal to itself only; Enum's own runs in Python, many times in each tick


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One measured value. A missing reading has `value is None`; it is never zero."""

    value: float | None = None
    age_s: float | None = None
    quality: Quality = Quality.MISSING

    @property
    def good(self) -> float | None:
        """The value if it may be used for control, else None."""
        return self.value if self.quality is Quality.GOOD or self.quality is Quality.SUSPECT else None

    @property
    def doubted(self) -> bool:
        """Whether what the device said is not believed."""
        return self.quality is Quality.SUSPECT

    @property
    def confirmed(self) -> float | None:
        """The value if a step that cannot be undone may rest on it, else None."""
        return self.value if self.quality is Quality.GOOD else None


class Status(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One state word read from a device (an enum's name, lower case), with the same age and quality as a reading."""

    value: str | None = None
    age_s: float | None = None
    quality: Quality = Quality.MISSING

    @property
    def good(self) -> str | None:
        """The word if it may be used for control, else None."""
        return self.value if self.quality is Quality.GOOD or self.quality is Quality.SUSPECT else None

    @property
    def doubted(self) -> bool:
        """Whether what the device said is not believed."""
        return self.quality is Quality.SUSPECT

    @property
    def confirmed(self) -> str | None:
        """The word if a step that cannot be undone may rest on it, else None."""
        return self.value if self.quality is Quality.GOOD else None


USABLE = frozenset({Quality.GOOD, Quality.SUSPECT})
MISSING = Reading()
UNKNOWN = Status()


def reading(value: float | None) -> Reading:
    """A reading taken just now; `None` (not implemented, out of range) gives a missing one."""
    return MISSING if value is None else Reading(value, 0.0, Quality.GOOD)


def status(value: str | None) -> Status:
    """A state word read just now."""
    return UNKNOWN if value is None else Status(value, 0.0, Quality.GOOD)


def total(readings: object) -> float | None:
    """Sum of readings if every one is good, else None."""
    result = 0.0
    for item in readings:  # type: ignore[attr-defined]
        value = item.good
        if value is None:
            return None
        result += value
    return result


def worst_of(readings: Iterable[Reading]) -> Reading:
    """The reading that makes a figure of them all least sure: a stale one, else the oldest. Expects at least one."""
    return max(readings, key=lambda r: (r.quality is not Quality.GOOD, r.age_s or 0.0))
