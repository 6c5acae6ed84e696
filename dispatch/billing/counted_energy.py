"""Defines what was counted of a metering interval: energy that is measured, assumed, or known within bounds. Ws, s."""

from __future__ import annotations

import msgspec


class EnergyBounds(msgspec.Struct, frozen=True):
    """An energy that lies in a range, Wh."""

    low_wh: float
    high_wh: float


class Counted(msgspec.Struct):
    """What was counted of one interval, Ws and s."""

    known_ws: float = 0.0  # integrated, or by the register
    known_s: float = 0.0
    assumed_ws: float = 0.0  # in `unknown_s`
    unknown_s: float = 0.0
    band_ws: float = 0.0  # how far off `known_ws` may be, by the register's step
    bounded_s: float = 0.0  # of `unknown_s` what has bounds:
    bounded_low_ws: float = 0.0
    bounded_high_ws: float = 0.0

    @property
    def counted_s(self) -> float:
        """Time that was counted."""
        return self.known_s + self.unknown_s

    @property
    def counted_ws(self) -> float:
        """Best estimate of the energy."""
        return self.known_ws + self.assumed_ws

    @property
    def low_ws(self) -> float:
        """The energy is at least this."""
        return max(self.known_ws - self.band_ws, 0.0) + self.bounded_low_ws

    def high_ws(self, most_w: float) -> float:
        """The energy is at most this, with no import above `most_w`."""
        return self.known_ws + self.band_ws + self.bounded_high_ws + most_w * (self.unknown_s - self.bounded_s)

    def bounds(self, most_w: float) -> EnergyBounds:
        """Both, Wh."""
        return EnergyBounds(self.low_ws / 3600, self.high_ws(most_w) / 3600)

    def scaled(self, share: float) -> Counted:
        """This share of everything."""
        return Counted(*(share * getattr(self, name) for name in self.__struct_fields__))


class HolePart(msgspec.Struct):
    """What of the hole lies in an interval that is over; `counted` is that interval's."""

    start_utc_s: float
    hole_s: float
    counted: Counted


class Bridge(msgspec.Struct):
    """A hole that may still turn out to be short: what it added to the running interval, and to the one before."""

    from_w: float  # the import before it
    hole_s: float = 0.0
    assumed_ws: float = 0.0
    ended: HolePart | None = None
    ended_s: float = 0.0
    ended_assumed_ws: float = 0.0


class FilledInterval(msgspec.Struct, frozen=True):
    """An interval that is over, of which the register now tells the energy, or its bounds."""

    start_utc_s: float
    low_wh: float
    high_wh: float | None  # None: other parts of it are not known at all, for `unknown_s`
    unknown_s: float
    measured_s: float  # its part of the hole where the bounds are as close as the register's step allows, else 0


class HoleMemory(msgspec.Struct, frozen=True):
    """What a restart must not lose: the register as it was last read, and the hole that is open."""

    register_wh: float | None = None
    since_ws: float = 0.0  # measured since then
    step_wh: float | None = None  # the register's resolution as learnt
    hole_s: float = 0.0
    hole_assumed_ws: float = 0.0
    over: tuple[HolePart, ...] = ()
