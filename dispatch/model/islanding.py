"""Defines the data of islanding: orders to switch, PCS and nodes; reconnection, drill and ride-through as shown.

Only data; `dispatch.model.decision.Decision` carries it. `utc_s` is for people, `mono_s` for deadlines.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from dispatch.model.reasons import Reason


class IslandState(enum.Enum):
    """The states of `dispatch.islanding.state_machine`. UNKNOWN: the devices do not settle it."""

    UNKNOWN = "unknown"
    GRID_TIED = "grid-tied"
    PREPARING = "preparing"
    OPENING = "opening"
    ISLANDED = "islanded"
    SYNCHRONISING = "synchronising"
    CLOSING = "closing"
    FAULT = "fault"
    BLACKOUT = "blackout"
    BLACK_START = "black-start"
    GENSET = "on-genset"  # the switch has put a generator in the grid's place


# The switch at the PCC is open, and the batteries carry the site.
OPEN_STATES = frozenset({IslandState.ISLANDED, IslandState.SYNCHRONISING, IslandState.CLOSING})
# No grid: the batteries carry the site, or nothing does.
WITHOUT_GRID = OPEN_STATES | {IslandState.BLACKOUT, IslandState.BLACK_START}
# A source that PCS follow feeds the site.
JOINED = frozenset({IslandState.GRID_TIED, IslandState.GENSET})
# A battery setpoint makes sense: no PCS forms the grid, which sets its power by itself and must be left alone.
COMMANDED = JOINED | {IslandState.PREPARING}
# Not joined to the grid, as far as is known.
OFF_GRID_STATES = OPEN_STATES | {
    IslandState.FAULT,
    IslandState.BLACKOUT,
    IslandState.BLACK_START,
    IslandState.GENSET,
}


class SwitchOrder(msgspec.Struct, frozen=True):
    """What the switch at the PCC is asked, as long as it stands. `none` withdraws what was asked before."""

    device_id: str
    action: Literal["open", "close", "none"]
    reason: Reason


class PcsOrder(msgspec.Struct, frozen=True):
    """Start a PCS that stands still. Only black start asks for it, with an engineer's word."""

    device_id: str
    action: Literal["start"]
    reason: Reason


class NodeOrder(msgspec.Struct, frozen=True):
    """The state wanted of a compute node, not an action: the actuator determines the difference. W at the node."""

    device_id: str
    cap_w: float | None = None  # None: no cap
    suspended: bool = False
    off: bool = False
    reason: Reason | None = None
    starts_stopped: bool = False  # no new jobs start on it
    saving: bool = False  # its jobs that declared a checkpoint have been told to save
    requeued: bool = False  # and are back in the queue
    off_when_empty: bool = False  # its scheduler powers it off once no job is on it

    @property
    def lasting(self) -> frozenset[str]:
        """The fields that ask for what holds until it is undone; saving and requeueing are over once done."""
        return frozenset(name for name in LASTING if getattr(self, name) not in (None, False))


FOR_EVENT = Reason("event.nodes")  # of a node's order that a grid event has made


LASTING = ("cap_w", "suspended", "off", "starts_stopped", "off_when_empty")  # fields of a NodeOrder


class IslandRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks of the islanding state machine."""

    id: str  # repeated in the reply
    kind: Literal["drill", "check", "abort", "reset", "black-start"]  # check: what a drill would find, none begins
    who: str
    reason: str = ""
    minutes: float = 0.0  # drill: how long to hold
    confirmed: bool = False  # black start: an engineer's word that nobody works on the bus
    alarms: tuple[str, ...] = ()  # drill: ids of active alarms of high priority, as the gateway knows them


class Check(msgspec.Struct, frozen=True):
    """One condition with its figure. `remedy` says what would make it pass; None when it does."""

    name: Reason
    ok: bool
    figure: Reason
    remedy: Reason | None = None


class IslandReply(msgspec.Struct, frozen=True):
    """The answer to a request."""

    id: str
    ok: bool
    reason: Reason  # what is done, or why it is not
    checks: tuple[Check, ...] = ()


class Reconnect(msgspec.Struct, frozen=True):
    """The way back to the grid. `in_window` None: not known. Deltas: as the switch reports them, None: not measured."""

    profile: str
    in_window: bool | None
    figures: Reason  # voltage and frequency of the grid as seen
    wait_s: float  # the profile's, times the back-off
    left_s: float | None  # until closing may be permitted; None while the window is not met
    attempts: int = 0  # closings that failed or did not last
    delta_v: float | None = None
    delta_hz: float | None = None
    delta_deg: float | None = None
    against: Reason | None = None  # what speaks against closing now; None: nothing
    by_device: bool = False  # the switch closes by its own settings: nobody waits for this wait


class DrillStatus(msgspec.Struct, frozen=True):
    """A drill under way. Phases: preparing opening hold returning closing ramp-back."""

    who: str
    reason: str
    minutes: float
    phase: str
    started_utc_s: float
    hold_left_s: float | None
    criteria: tuple[Check, ...] = ()
    v_min: float | None = None  # of the islanded bus so far, as in the report
    v_max: float | None = None
    hz_min: float | None = None
    hz_max: float | None = None
    checks: tuple[Check, ...] = ()  # it began with these
    transfer_gap: Reason | None = None  # as in the report; None before the switch has opened


class DrillReport(msgspec.Struct, frozen=True):
    """What a drill showed. `result`: passed, aborted or failed. Voltages and frequencies are the islanded bus's."""

    who: str
    reason: str
    minutes: float
    started_utc_s: float
    ended_utc_s: float
    result: Literal["passed", "aborted", "failed"]
    why: Reason
    timeline: tuple[tuple[float, Reason], ...]  # utc_s, what
    checks: tuple[Check, ...]
    criteria: tuple[Check, ...]  # each at its worst
    transfer_gap: Reason
    islanded_s: float | None  # None: its gateway was killed, nobody knows
    v_min: float | None
    v_max: float | None
    hz_min: float | None
    hz_max: float | None
    battery_wh: float | None
    soc_track: tuple[tuple[float, float], ...]  # utc_s, %


class IslandView(msgspec.Struct, frozen=True):
    """Where the state machine stands."""

    since_utc_s: float
    since_mono_s: float
    reason: Reason
    permit_close: bool
    reconnect: Reconnect | None = None
    drill: DrillStatus | None = None
    left_grid_utc_s: float | None = None  # off the grid since, as far back as the state machine knows
    road: tuple[tuple[float, str], ...] = ()  # utc_s, state: each state at its last coming since the site left the grid


class RideThrough(msgspec.Struct, frozen=True):
    """How long the battery lasts, at the power it gives now (islanded) or would have to (grid-tied)."""

    runtime_s: float | None  # best estimate; None: not known or nothing is drawn
    low_s: float | None  # with the SoC as wrong as it may be
    promised_left_s: float | None  # of the promised hours, while islanded
    draw_w: float | None
    wh_per_pct: float  # AC energy that one point of SoC has been found to give
    learnt_pct: float  # points of SoC discharged that this rests on
    rung: int  # 0 none; the others: `dispatch.islanding.shedding_steps`
    rung_name: Reason
    why: Reason | None
    most_w: float | None = None  # what PCS and battery can give; None: not known
    shutdown_in_s: float | None = None  # islanded, until the orderly shutdown at this draw, by the low estimate
    rungs: int = 4  # how many there are; 4: a version before this one
    lacks: tuple[Reason, ...] = ()  # steps that cannot be carried out on some nodes of this site


class Islanding(msgspec.Struct, frozen=True):
    """The state and the evidence for it, and the import that is asked for while the site leaves or rejoins the grid."""

    state: IslandState
    reason: Reason
    import_low_w: float | None = None
    import_high_w: float | None = None

    @property
    def commands_battery(self) -> bool:
        """Whether a battery setpoint makes sense."""
        return self.state in COMMANDED
