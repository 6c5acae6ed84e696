"""Defines the terms of the demand charge in the site file: what is billed, over which days, in which hours."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOW = re.compile(r"^(?:([a-z]{3})(?:-([a-z]{3}))? )?([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d)$", re.IGNORECASE)
EXPECTED_WINDOW = 'windows such as "mon-fri 08:00-20:00", "sat 09:00-13:00" or "22:00-24:00" (midnight ends one)'


class DemandTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`[tariff.demand]`: a demand charge of any other form; replaces `demand_eur_per_kw_month`."""

    eur_per_kw: Annotated[float, Meta(ge=0, description="Price of billed demand for each month or year.")] = 0.0
    per: Annotated[Literal["month", "year"], Meta(description="Period that is billed.")] = "month"
    top_days: Annotated[
        int,
        Meta(ge=1, le=20, description="1: the highest interval is billed; n: the mean of the n highest days' peaks."),
    ] = 1
    floor_w: Annotated[float, Meta(ge=0, description="Demand that is billed at least.")] = 0.0
    windows: Annotated[
        tuple[str, ...],
        Meta(description='Local times in which import counts, such as `"mon-fri 08:00-20:00"`. Empty: always.'),
    ] = ()

    # what only a charge of [[tariff.charge]] has, as `dispatch.billing.demand_charge.ChargeTerms`

    @property
    def id(self) -> str:
        """Its name in the site file."""
        return ""

    @property
    def above(self) -> bool:
        """Only what is above `floor_w` is billed."""
        return False

    @property
    def adds(self) -> str:
        """How what each interval has above `floor_w` adds up (`dispatch.billing.excess`); "": the highest is billed."""
        return ""

    @property
    def rolling(self) -> bool:
        """The peaks of the 11 months before are billed as well."""
        return False

    @property
    def peak_floor_w(self) -> float:
        """What each peak counts at least, W."""
        return 0.0

    @property
    def rise_eur_per_kw(self) -> float:
        """What one kW more of a day's peak costs, once that day is among those that are billed."""
        return self.eur_per_kw / self.top_days


class Window(NamedTuple):
    """Weekdays, Monday is 0, and the minutes of the day, [from, to)."""

    weekdays: frozenset[int]
    from_min: int
    to_min: int


def parsed(windows: tuple[str, ...]) -> tuple[Window, ...]:
    """The windows as numbers. Raises ValueError saying what was expected."""
    return tuple(map(_window, windows))


def _window(text: str) -> Window:
    found = WINDOW.match(" ".join(text.split()))
    if found is None:
        raise ValueError(EXPECTED_WINDOW)
    names = [name.lower() for name in found.groups()[:2] if name]
    if any(name not in DAYS for name in names):
        raise ValueError(EXPECTED_WINDOW)
    first, last = (DAYS.index(names[0]), DAYS.index(names[-1])) if names else (0, 6)
    weekdays = frozenset((first + k) % 7 for k in range((last - first) % 7 + 1))
    from_min, to_min = (60 * int(found[k]) + int(found[k + 1]) for k in (3, 5))
    if not from_min < to_min <= 24 * 60:
        raise ValueError(EXPECTED_WINDOW)
    return Window(weekdays, from_min, to_min)
