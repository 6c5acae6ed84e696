"""What travels between gateway and consoles: messages, requests.

Frames: `gateway/api/frames.py`. Client to gateway: `Hello`, then `Request`s.
Gateway to client: `Welcome`, then `Published` (latest wins), `PlanMessage` when it changes, `EventMessage` (queued),
`Response`.
Identity is the kernel's (SO_PEERCRED); a client never states its own.
The hello names the versions that the client speaks, the welcome the highest one that both do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dispatch.alarms.flood import AlarmRate
from dispatch.alarms.states import Alarm, FirstOut, ShelvedAlarm
from dispatch.config.demand_terms import DemandTerms
from dispatch.events.model import EventState
from dispatch.model.charge_levels import ChargesNow
from dispatch.model.clock import ClockState
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.jobs import QueueNow
from dispatch.model.metering_interval import Interval
from dispatch.model.node_lists import NodeListNow
from dispatch.model.orders import Order
from dispatch.model.plan import Plan
from dispatch.model.power_caps import NodeCap
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation
from dispatch.model.signals import SignalView
from dispatch.model.snapshot import Snapshot
from storage.identity import Identity

LOWEST, VERSION = 1, 3  # spoken here. 1: Skerry 0.1.0, whose hello names one version. From 2 on it names a range
ONE_RELEASE = "use releases of skerry that have one in common"


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First frame of a client. `rate_hz` = 0: no snapshots, requests only."""

    version: int = LOWEST  # all that a gateway of link version 1 looks at
    rate_hz: float = 1.0
    lowest: int | None = None  # None, as in link version 1: `version` alone is spoken
    highest: int | None = None

    @property
    def versions(self) -> tuple[int, int]:
        """The lowest and highest version that the client speaks."""
        return (
            self.version if self.lowest is None else self.lowest,
            self.version if self.highest is None else self.highest,
        )


class Request(msgspec.Struct, frozen=True, tag="request", forbid_unknown_fields=True):
    """A question or a command. `id` comes back in the response."""

    id: int
    method: str  # as in the permission table, gateway/api/permissions.py
    params: dict[str, Any] = {}


ClientMessage = Hello | Request


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """First frame of the gateway."""

    version: int
    site: str
    timezone: str
    user: str  # who the kernel says is on the other end
    pid: int  # of the gateway
    started_utc_s: float
    speed: float  # of the site's clock; 1 on a real site
    simulated: bool  # the devices are the twin's
    rate_hz: float  # of the tick
    limits: dict[str, float] = {}  # fuse_w, contracted_peak_w, pcs_w, pv_peak_w, energy_kwh, reserve_soc_pct, ...
    state_dir: str = ""  # of the gateway's record; empty: it does not say
    demand: DemandTerms | None = None  # [tariff.demand]; None: limits' demand_eur_per_kw_month is all there is
    identity: Identity | None = None  # None: a gateway of version 0.1.0, which has none


class LoopStats(msgspec.Struct, frozen=True):
    """How punctual the tick is. Lateness: decision begun minus meter poll due, over the last 10 000 ticks."""

    ticks: int = 0
    period_s: float = 0.2
    lateness_p50_ms: float = 0.0
    lateness_p999_ms: float = 0.0
    lateness_max_ms: float = 0.0
    overruns: int = 0
    consoles: int = 0


class TariffNow(msgspec.Struct, frozen=True):
    """Import price now, and the hours to come as (start_utc_s, EUR/kWh) pairs, changes only."""

    now_eur_per_kwh: float | None = None
    ahead: tuple[tuple[int, float], ...] = ()
    ends_utc_s: int | None = None  # the last published price ends here
    source: str = ""  # the feed that they were fetched from, such as "Energy-Charts DE-LU"
    fetched_utc_s: float | None = None


class LastDrill(msgspec.Struct, frozen=True):
    """The last drill, also of a run before this one. The whole report: `drill.status`, `drill.reports`."""

    ended_utc_s: float
    minutes: float  # as asked
    result: str  # passed aborted failed
    why: Reason
    who: str


class DrillPlan(msgspec.Struct, frozen=True):
    """What the site file's schedule of drills says. Only there when it has one."""

    next_utc_s: float
    due_utc_s: float | None  # a drill that is due since then and has not been run yet
    note: Reason | None  # why it waits, or was not begun; None: nothing is due
    unattended: bool  # it begins by itself


class IqNow(msgspec.Struct, frozen=True):
    """Energy IQ as last computed (`dispatch.evaluation.energy_iq`); None: the record says too little."""

    made_utc_s: float
    day: str  # the one called today, "2025-09-16", of the site
    today_pct: float | None = None  # of the day so far
    today_known_h: float = 0.0  # on record and counted,
    today_of_h: float = 0.0  # of so many
    month_pct: float | None = None  # month to date
    month_known_h: float = 0.0
    month_of_h: float = 0.0
    month_saved_eur: float | None = None  # against no battery; negative: it cost more than it saved
    yesterday_pct: float | None = None
    today_cost_eur: float | None = None  # of the known part of the day: energy, rise of the peak, wear


class Published(msgspec.Struct, frozen=True, tag="published"):
    """Everything a console draws, once per wanted period."""

    snapshot: Snapshot
    decision: Decision
    alarms: tuple[Alarm, ...]
    interval: Interval
    month_peak_w: float
    tariff: TariffNow
    loop: LoopStats
    pulse_since_utc_s: float | None = None  # a load pulse is under way since
    pulses_seen: int = 0
    orders: tuple[Order, ...] = ()  # manual orders in force: who, until when, why
    month_unmeasured_s: float = 0.0  # of this month; above 0 the peak is "at least"
    last_drill: LastDrill | None = None  # None: none is on record
    drill_plan: DrillPlan | None = None  # None: the site file has no schedule
    reservations: tuple[Reservation, ...] = ()  # power promised to jobs, by their start
    billed_peak_w: float | None = None  # what the demand charge is on so far; None: month_peak_w
    charges: ChargesNow | None = None  # on peaks, as listed in the site file; None: none is
    iq: IqNow | None = None  # None: not computed yet
    clock: ClockState | None = None  # None: a version before this one, which does not say
    queues: tuple[QueueNow, ...] = ()  # of the schedulers of compute jobs
    node_caps: tuple[NodeCap, ...] = ()  # caps that are to hold now, and how long they take to show
    node_lists: tuple[NodeListNow, ...] = ()  # of the groups of nodes whose names may change
    signals: tuple[SignalView, ...] = ()  # from outside, that are not over: whose, until when, and what they limit
    grid_events: tuple[EventState, ...] = ()  # that are not over
    first_out: FirstOut | None = None  # of the last burst of alarms
    alarm_rate: AlarmRate | None = None  # None: a version before this one, which does not say
    shelved: tuple[ShelvedAlarm, ...] = ()  # alarms that are shelved or out of service
    advisories: tuple[Reason, ...] = ()  # what must be known of the hours to come


class PlanMessage(msgspec.Struct, frozen=True, tag="plan"):
    """The plan in force, sent after hello and whenever it changes."""

    plan: Plan | None


class EventMessage(msgspec.Struct, frozen=True, tag="event"):
    """An event as it happens."""

    event: Event


class Response(msgspec.Struct, frozen=True, tag="response"):
    """The answer to one request; `error` is a line for a person. A refused hello is answered with `id` 0."""

    id: int
    ok: bool
    result: Any = None
    error: str = ""
    code: str = ""  # of an error, for a program: refused | failed | busy | version
    reason: Reason | None = None  # of a refusal by rules or state machine; `error` says it in English


GatewayMessage = Welcome | Published | PlanMessage | EventMessage | Response


def hello(rate_hz: float) -> Hello:
    """The hello of this version's clients."""
    return Hello(LOWEST, rate_hz, LOWEST, VERSION)


def common_version(lowest: int, highest: int) -> int | None:
    """The highest link version that the other side and this one speak; None if there is none."""
    found = min(highest, VERSION)
    return found if found >= max(lowest, LOWEST) else None


def spoken(lowest: int = LOWEST, highest: int = VERSION) -> str:
    """Link versions in words."""
    return f"link version {lowest}" if lowest == highest else f"link versions {lowest} to {highest}"
