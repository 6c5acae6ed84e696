"""What alarms need beside snapshot and decision."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.balancing import BalanceDue
from dispatch.model.clock import ClockState
from dispatch.model.metering_interval import Interval
from dispatch.model.reasons import Reason


class PartTrouble(msgspec.Struct, frozen=True):
    """A part of the gateway beside the control loop that has died or hangs."""

    part: str
    why: Reason  # since when, and what is known of it


class NodesUnread(msgspec.Struct, frozen=True):
    """Compute nodes that are lost because the process that reads them does not. `of`: all that it is to read."""

    ids: frozenset[str] = frozenset()
    of: int = 0
    why: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What alarms need beside snapshot and decision. The defaults raise nothing."""

    config: DispatchConfig
    interval: Interval | None = None
    plan_age_s: float | None = None  # None: there is no plan
    plan_error: Reason | None = None  # why the last attempt failed
    prices_expected: bool = True  # False on a site without a tariff
    prices_end_utc_s: float | None = None  # end of the last published price; None: there are none
    price_now: bool = True  # a published price covers this moment
    prices_overdue: Reason | None = None  # why a feed has not told the prices that are published by now
    price_file_error: str = ""  # why the price file cannot be used as it is now; lines of file, line, what is expected
    written_w: Mapping[str, float] = {}  # last setpoint written to each PCS; devices never written to are absent
    withheld: Mapping[str, str] = {}  # PCS to which no setpoint is written though one is asked, and why
    overruns_per_min: int = 0  # ticks that overran in the last minute
    records_dropped_per_min: int = 0
    records_error: str = ""  # why the store cannot be written
    parts: tuple[PartTrouble, ...] = ()  # those that have died or hang
    ballast_missing: str = ""  # what of the reserve for a full disk is gone
    audit_changed: str = ""  # what shows that the audit is not as it was written
    access_trouble: str = ""  # why not everybody can connect, or has the role, who should
    orders_dropped: str = ""  # the manual orders that the last restart cost
    drill_due: Reason | None = None  # since when a drill waits for somebody to start it
    clock_step_s: float = 0.0  # the last step of the wall clock within the last ten minutes; 0: none
    clock: ClockState = ClockState()
    node_caps_w: Mapping[str, float] = {}  # the caps that are to hold now, by node
    gpu_limits_not_kept: Mapping[str, str] = {}  # nodes whose GPUs are capped without a way back on disk, and why
    nodes_unread: NodesUnread = NodesUnread()
    queue_errors: Mapping[str, str] = {}  # why the queue of a scheduler cannot be read; empty: it can
    senders_silent: Mapping[str, str] = {}  # senders of signals whose heartbeat is lost, and what holds; empty: nothing
    limits_exceeded: Mapping[str, str] = {}  # by contact or sender, the limit that is not kept; empty: all are
    starts_not_kept: Mapping[str, str] = {}  # why power is not kept back in a scheduler; empty: it is
    starts_changed: Mapping[str, str] = {}  # how another has changed a limit that we had set; empty: nobody has
    outputs_failed: Mapping[str, str] = {}  # why an output does not reach its receivers; empty: it does
    gpu_limits_changed: Mapping[str, str] = {}  # nodes whose GPUs' limits another program has changed, and to what
    balance: tuple[BalanceDue, ...] = ()  # batteries that are balanced from time to time, and when they are due
    month_saved_eur: float | None = None  # by the battery, month to date; None: too little is on record
