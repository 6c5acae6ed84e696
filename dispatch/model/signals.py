"""Defines signals from outside: what the grid operator, a market or a fleet asks the site to keep to, and until when.

Powers are W and >= 0. Times are UTC; a signal is in force from its start on and before its end.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

import msgspec


class Sort(enum.Enum):
    """Who a sender is, which says what it may ask for and what its signals give way to."""

    OBLIGATION = "obligation"  # the grid operator: part of the rule `fuse`
    MARKET = "market"  # a load target, paid for: part of the rule `signals`
    FLEET = "fleet"  # whoever runs several sites: the same
    ORDER = "order"  # a grid event that an operator has ordered: the same; no [[signal]] is of this sort


class Quantity(enum.Enum):
    """What is limited."""

    IMPORT = "import"  # at the PCC
    EXPORT = "export"  # at the PCC
    CHARGE = "charge"  # of the batteries, from the grid: what own PV gives beyond the load is not counted
    PRODUCTION = "production"  # of all PV inverters

    __hash__ = object.__hash__  # as that of `Quality`


MAY_LIMIT: dict[Sort, frozenset[Quantity]] = {
    Sort.OBLIGATION: frozenset(Quantity),
    Sort.MARKET: frozenset({Quantity.IMPORT}),
    Sort.FLEET: frozenset({Quantity.IMPORT, Quantity.EXPORT, Quantity.CHARGE}),
    Sort.ORDER: frozenset({Quantity.IMPORT}),
}


class Signal(msgspec.Struct, frozen=True):
    """One limit for one time, as it was accepted. A failsafe has no times, 0 to infinite: it ends by a heartbeat."""

    id: str
    sort: Sort
    sender: str  # the id of its [[signal]]
    quantity: Quantity
    limit_w: float
    start_utc_s: float
    end_utc_s: float
    given_utc_s: float
    message: str = ""  # the CloudEvents id of the message that brought it; empty: none did
    who: str = ""  # the person who entered it; empty: the sender itself
    failsafe: bool = False  # it stands because the sender's heartbeat is lost

    def in_force(self, utc_s: float) -> bool:
        """Whether it counts at this time."""
        return self.start_utc_s <= utc_s < self.end_utc_s

    def overlaps(self, start_utc_s: float, end_utc_s: float) -> bool:
        """Whether it counts in a part of the time between two instants."""
        return self.start_utc_s < end_utc_s and self.end_utc_s > start_utc_s


class Item(msgspec.Struct, frozen=True):
    """One limit that a message asks for; `limit_w` None: the sender's limits of this kind end in this time."""

    quantity: Quantity
    limit_w: float | None
    start_utc_s: float | None  # None: at once
    end_utc_s: float | None  # None is refused: nothing stands without an end


class Message(msgspec.Struct, frozen=True):
    """What a sender says, once its signature or its user was found to be good. Without items it is a heartbeat."""

    sender: str  # the id of its [[signal]]
    items: tuple[Item, ...] = ()
    id: str = ""  # of the CloudEvent; empty: a person has entered it
    digest: str = ""  # SHA-256 of the signed bytes, or of unsigned data, hexadecimal; the same bytes count once
    group: str = ""  # the Unix group whose member sent it unsigned; empty: it was signed, or a person entered it
    site: str = ""  # UUID of the site that it is for, as signed; empty: it does not say
    number: int | None = None  # as signed: it must rise from one to the next of a sender; None: it has none
    beat_utc_s: float | None = None  # of a heartbeat: the time that was signed with it
    who: str = ""  # the person


class SignalView(msgspec.Struct, frozen=True):
    """A signal as people see it. `value_w`: what it limits, as measured; None: not known, or it has not begun."""

    signal: Signal
    value_w: float | None = None

    @property
    def shortfall_w(self) -> float | None:
        """By how much the limit is exceeded now, >= 0; None: not known, or it has not begun."""
        return None if self.value_w is None else max(self.value_w - self.signal.limit_w, 0.0)


class Limits(msgspec.Struct, frozen=True):
    """The tightest of several limits, W; infinite: none. `by`: whose they are; of limits that do not bind, nobody's."""

    import_w: float = math.inf
    export_w: float = math.inf
    charge_w: float = math.inf
    production_w: float = math.inf
    by: tuple[str, ...] = ()


def tightest(signals: Iterable[Signal]) -> Limits:
    """What signals that are in force ask together: of each quantity the lowest limit, and whose that is."""
    lowest: dict[Quantity, Signal] = {}
    for signal in signals:
        before = lowest.get(signal.quantity)
        if before is None or signal.limit_w < before.limit_w:
            lowest[signal.quantity] = signal
    limits = {quantity: found.limit_w for quantity, found in lowest.items()}
    return Limits(
        import_w=limits.get(Quantity.IMPORT, math.inf),
        export_w=limits.get(Quantity.EXPORT, math.inf),
        charge_w=limits.get(Quantity.CHARGE, math.inf),
        production_w=limits.get(Quantity.PRODUCTION, math.inf),
        by=tuple(dict.fromkeys(f"{found.sender} {found.id}" for found in lowest.values())),
    )


def both(first: Limits, second: Limits) -> Limits:
    """The tighter of each; whose, where it is the tighter in any."""
    ours, theirs = _each(first), _each(second)
    by_first = any(w < math.inf and w <= other for w, other in zip(ours, theirs, strict=True))
    by_second = any(w < math.inf and w < other for w, other in zip(theirs, ours, strict=True))
    return Limits(
        import_w=min(first.import_w, second.import_w),
        export_w=min(first.export_w, second.export_w),
        charge_w=min(first.charge_w, second.charge_w),
        production_w=min(first.production_w, second.production_w),
        by=(*(first.by if by_first else ()), *(second.by if by_second else ())),
    )


def _each(limits: Limits) -> tuple[float, float, float, float]:
    return limits.import_w, limits.export_w, limits.charge_w, limits.production_w
