"""Defines the decision of one tick: a setpoint per actuator, and the rules that led to it."""

from __future__ import annotations

import enum

import msgspec

from dispatch.model.contacts import ContactView
from dispatch.model.doubts import Doubt
from dispatch.model.events import Event
from dispatch.model.islanding import (
    DrillReport,
    IslandReply,
    IslandState,
    IslandView,
    NodeOrder,
    PcsOrder,
    RideThrough,
    SwitchOrder,
)
from dispatch.model.power_caps import CapsView
from dispatch.model.reasons import Reason, RuleId


class RuleTrace(msgspec.Struct, frozen=True):
    """What one rule did to the allowed battery power; `low_w`, `high_w`, `preferred_w` are as it left them."""

    rule: RuleId
    low_w: float
    high_w: float
    preferred_w: float | None
    bound: bool  # it changed what came out
    reason: Reason
    unmet: bool = False  # it asked for what earlier rules do not leave


class Setpoint(msgspec.Struct, frozen=True):
    """One actuator's order. For a PCS: AC watts, > 0 discharges. `None`: send nothing, leave the device as it is."""

    device_id: str
    w: float | None


class PvLimit(msgspec.Struct, frozen=True):
    """What one PV inverter may give at most, W; None: no limit of ours."""

    device_id: str
    w: float | None
    reason: Reason


class PvOver(msgspec.Struct, frozen=True):
    """A PV inverter that does not keep to its limit."""

    device_id: str
    w: float  # measured
    limit_w: float  # the highest that it was given of late


class Contested(msgspec.Struct, frozen=True):
    """A PCS that does not keep the setpoint it is asked to hold: it refuses it, or another master writes too."""

    device_id: str
    held_w: float  # at the last wrong look
    share: float  # of the last looks at its readback that were wrong


class ForeignMaster(msgspec.Struct, frozen=True):
    """A PCS that another controller writes setpoints to: it gets none of ours for now."""

    device_id: str
    held_w: float  # what that one had it hold
    again_s: float  # until ours are tried again


class EnergyApart(msgspec.Struct, frozen=True):
    """A meter whose power, added up, is not what its energy registers count. Net, > 0 is import."""

    meter_id: str
    counted_wh: float  # by its power
    register_wh: float  # by its registers
    over_s: float


class Mode(enum.Enum):
    """Who steers: the plan, the rules alone, a manual order, the safe-value table, or nobody."""

    PLAN = "plan"
    RULES = "rules"
    MANUAL = "manual"
    SAFE = "safe"
    OBSERVE = "observe"


class Decision(msgspec.Struct, frozen=True):
    """One setpoint per actuator, and the chain that led to it: plan, each rule's interval, which rule bound."""

    seq: int  # of the snapshot it answers
    utc_s: float
    mode: Mode
    island: IslandState
    setpoints: tuple[Setpoint, ...]
    battery_w: float | None  # the sum asked of all PCS
    net_load_w: float | None  # load - pv as estimated, time-aligned
    import_target_w: float | None
    binding: RuleId
    reason: Reason  # what and why
    chain: tuple[RuleTrace, ...] = ()
    islanding: IslandView | None = None
    switch: SwitchOrder | None = None  # None: nothing is asked of the switch
    pcs_orders: tuple[PcsOrder, ...] = ()
    pv_limits: tuple[PvLimit, ...] = ()  # of the inverters that may be limited and answer
    nodes: tuple[NodeOrder, ...] = ()  # nodes that ride-through has a say in; empty: leave all as they are
    ride: RideThrough | None = None
    events: tuple[Event, ...] = ()  # what islanding and ride-through have to report of this tick
    replies: tuple[IslandReply, ...] = ()  # to the requests of this tick
    report: DrillReport | None = None  # in the tick in which a drill ends
    meter_frozen: bool = False  # the grid meter answers, but what it says stands still
    load_meter_frozen: bool = False  # the same of the load meter, by the balance of the others
    contested: tuple[Contested, ...] = ()
    foreign: tuple[ForeignMaster, ...] = ()
    energy_apart: tuple[EnergyApart, ...] = ()
    caps: CapsView | None = None  # None: the site allows no caps for the month's peak
    implausible: tuple[Doubt, ...] = ()  # readings that are rejected again and again, or for long
    contacts: tuple[ContactView, ...] = ()  # as they count
    pv_over: tuple[PvOver, ...] = ()  # inverters that do not keep to their limit
