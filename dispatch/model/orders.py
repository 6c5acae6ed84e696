"""Defines manual orders: their kinds, an order in force, and a request for one."""

from __future__ import annotations

import enum

import msgspec

from dispatch.model.reasons import Reason


class OrderKind(enum.Enum):
    """What may be ordered. The words are those of the command line."""

    SETPOINT = "setpoint"  # W, all batteries together, > 0 discharges
    IMPORT_TARGET = "import-target"  # W at the PCC, > 0 imports
    SOC_TARGET = "soc-target"  # % by the order's end
    HOLD = "hold"  # batteries at 0 W
    RESERVE_LEVEL = "reserve-level"  # % SoC kept for ride-through
    NODE_CAP = "node-cap"  # W, one node
    DISABLE = "disable"  # one PCS takes no part


BATTERY = frozenset({OrderKind.SETPOINT, OrderKind.IMPORT_TARGET, OrderKind.SOC_TARGET, OrderKind.HOLD})
ON_BATTERY = BATTERY | {OrderKind.RESERVE_LEVEL, OrderKind.DISABLE}  # what changes what it does
CONTRACT_BROKEN, LIMIT_EXCEEDED = "consequence.broken", "consequence.limit_exceeded"  # codes of what a preview warns of
IN_WATTS = frozenset({OrderKind.SETPOINT, OrderKind.IMPORT_TARGET, OrderKind.NODE_CAP})
IN_PERCENT = frozenset({OrderKind.SOC_TARGET, OrderKind.RESERVE_LEVEL})


class Order(msgspec.Struct, frozen=True):
    """One order in force. `value` is W or % by kind; `target` the node or PCS it is for, else empty."""

    id: str
    kind: OrderKind
    value: float
    target: str
    who: str
    reason: str
    given_utc_s: float
    ends_utc_s: float  # for people; what counts is the next one
    ends_mono_s: float

    @property
    def slot(self) -> str:
        """What it occupies: only one order at a time may."""
        return slot(self.kind, self.target)

    def left_s(self, mono_s: float) -> float:
        """Seconds until it ends, >= 0."""
        return max(self.ends_mono_s - mono_s, 0.0)


def slot(kind: OrderKind, target: str) -> str:
    """What an order of this kind occupies: "battery", "reserve", "node gpu-01", "device pcs1"."""
    if kind in BATTERY:
        return "battery"
    if kind is OrderKind.RESERVE_LEVEL:
        return "reserve"
    return f"{'node' if kind is OrderKind.NODE_CAP else 'device'} {target}"


REASON_MIN, REASON_MAX = 3, 200


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as a person states it. `for_s` or, for a SoC target, `by_utc_s`; neither: the site's default."""

    kind: OrderKind
    value: float = 0.0
    target: str = ""
    reason: str = ""
    for_s: float | None = None
    by_utc_s: float | None = None


class Preview(msgspec.Struct, frozen=True):
    """What an order would change, and what is allowed now. Bounds are in the unit of `value`; None: no figure."""

    kind: OrderKind
    old: Reason  # what holds before it
    new: Reason
    unit: str
    low: float | None
    high: float | None
    low_why: Reason | None  # what sets this end
    high_why: Reason | None
    for_s: float
    standing: Order | None  # who holds this now
    notes: tuple[Reason, ...] = ()
    consequence: tuple[Reason, ...] = ()  # of an order on the battery's power: what it does until it ends
    breaks_contract: bool = False  # by the forecast of the load
