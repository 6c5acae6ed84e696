"""Everything a console shows, as one frozen value, and how it follows from the gateway's messages.

Pure: each function takes the last model and a message, and returns the next model. Ages count on the console's own
monotonic clock from the moment a snapshot arrived: a gateway that hangs looks stale, however fresh its last readings.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

from console.display.audit_rows import AuditLine
from console.display.language import rule_name, say, words
from dispatch.accounting.records import JobRecord
from dispatch.alarms.episodes import AlarmEpisode
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.battery_bank import combined_soc, known_soc
from dispatch.model.decision import Decision
from dispatch.model.equipment import COUNTED
from dispatch.model.events import Event
from dispatch.model.islanding import Check, DrillReport
from dispatch.model.plan import Plan
from dispatch.model.proofs import Proofs
from dispatch.model.readings import Reading, worst_of
from dispatch.model.snapshot import Snapshot
from drivers.register_view import RegisterValue
from gateway.api.protocol import Published, Welcome

STALE_AFTER_S = 2.0
TREND_STEP_S = 15  # one dot of the charts' past
DAY_STEP_S = 900  # one dot of the SoC chart: a plan step
TREND_POINTS = 480
DAY_POINTS = 96
TREND_SIGNALS = ("site_load.w", "grid.w", "soc_pct", "grid.hz")
EVENTS_KEPT = 500
SAME_EVENT_S = 0.01
PRIORITY_ORDER = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
STATE_ORDER = {AlarmState.UNACKNOWLEDGED: 0, AlarmState.RETURNED: 1, AlarmState.ACKNOWLEDGED: 2, AlarmState.NORMAL: 3}


class Link(enum.Enum):
    """CONNECTING: never attached yet. LOST: was attached; attempts go on."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


class Point(msgspec.Struct, frozen=True, array_like=True):
    """Means over one step of a trend; None where nothing good was read."""

    start_utc_s: int
    load_w: float | None = None
    grid_w: float | None = None
    soc_pct: float | None = None
    samples: int = 1
    hz: float | None = None


class PastMark(msgspec.Struct, frozen=True):
    """That a moment of the record is shown, not the present. `now_...`: of the present, which is not on screen."""

    utc_s: float
    record: str = ""  # what the values are, and what is lacking and why
    decided: bool = True  # the decision of then is on record
    lacks: frozenset[str] = frozenset()  # kinds of `storage.context` that are not, and "pulse"
    outside_w: tuple[tuple[str, float], ...] = ()  # limits of import from outside, by their word
    ago: str = ""
    other_day: bool = False  # than the present's, by the site's calendar
    now_state: str = ""  # of the islanding state machine
    now_waiting: int = 0  # alarms to be acknowledged


class Model(msgspec.Struct, frozen=True):
    """Everything any view needs. `age_s`: since the last snapshot arrived, or since the link was lost."""

    link: Link = Link.CONNECTING
    link_note: str = ""
    age_s: float = 0.0
    welcome: Welcome | None = None
    role: str = ""  # of the user, when the console attached; empty: not known
    published: Published | None = None
    plan: Plan | None = None
    no_plan: str = ""  # why there is none, in the gateway's words
    trend: tuple[Point, ...] = ()
    day: tuple[Point, ...] = ()
    events: tuple[Event, ...] = ()  # oldest first
    audit: tuple[AuditLine, ...] = ()  # commands on record, oldest first
    report: DrillReport | None = None  # of the last drill
    report_head: str = ""  # the audit's head when it was written
    drills: tuple[DrillReport, ...] = ()  # on record, newest first
    checks: tuple[Check, ...] = ()  # what a drill would find now; asked while the Island view is open
    checks_minutes: float = 10.0  # of that drill
    registers: tuple[RegisterValue, ...] = ()  # of one device, as last read; asked while they are shown
    registers_of: str = ""  # that device; empty: none was asked for
    registers_note: str = ""  # why there are none
    proofs: Proofs = Proofs()  # what has been proven of PCS; asked while the devices are shown
    drawn: tuple[JobRecord, ...] = ()  # by jobs that run, as far as this user may see them; asked while nodes are shown
    alarm_history: tuple[AlarmEpisode, ...] = ()  # newest first; asked while they are shown
    view: str = "overview"
    locked: bool = False  # read only: keys that command the site are refused
    notice: str = ""  # the answer to the last command, for a few seconds
    slow_link: bool = False  # the terminal takes what is painted with delay, so less is sent
    past: PastMark | None = None  # a moment of the record is shown; None: the present

    @property
    def stale(self) -> bool:
        """Whether what is shown must not be taken for the present."""
        if self.past is not None or self.published is None:
            return False
        return self.link is not Link.LIVE or self.age_s > STALE_AFTER_S

    @property
    def extra_age_s(self) -> float:
        """To add to every reading's own age; 0 while snapshots arrive."""
        return self.age_s if self.stale else 0.0

    @property
    def timezone(self) -> str:
        """The site's, UTC until it is known."""
        return self.welcome.timezone if self.welcome else "UTC"

    @property
    def now_utc_s(self) -> float | None:
        """Site time of the last snapshot, or of the moment that is shown."""
        if self.past is not None:
            return self.past.utc_s
        return self.published.snapshot.utc_s if self.published else None

    def limit(self, name: str) -> float | None:
        """One of the limits the gateway stated, or None."""
        return self.welcome.limits.get(name) if self.welcome else None

    @property
    def demand(self) -> DemandTerms:
        """What the peak is billed by."""
        if self.welcome is not None and self.welcome.demand is not None:
            return self.welcome.demand
        return DemandTerms(eur_per_kw=self.limit("demand_eur_per_kw_month") or 0.0)


def not_kept(model: Model, kind: str) -> bool:
    """Whether a past is shown of which this is not on record: a kind of `PastMark.lacks`."""
    return model.past is not None and kind in model.past.lacks


def received(model: Model, published: Published) -> Model:
    """The model once a snapshot has arrived."""
    snapshot = published.snapshot
    soc = site_soc(snapshot, model.welcome).good
    events = model.events
    if model.published is not None:
        before = model.published.decision
        events = with_events(events, decision_events([before, published.decision])[1:])
    point = (snapshot.utc_s, snapshot.load_w, snapshot.grid.w.good, soc)
    return msgspec.structs.replace(
        model,
        link=Link.LIVE,
        link_note="",
        age_s=0.0,
        published=published,
        events=events,
        trend=extended(model.trend, *point, step_s=TREND_STEP_S, keep=TREND_POINTS, hz=snapshot.grid.hz.good),
        day=extended(model.day, *point, step_s=DAY_STEP_S, keep=DAY_POINTS),
    )


def lost(model: Model, why: str) -> Model:
    """The model once the link is gone: what was known stays, marked as old."""
    return msgspec.structs.replace(model, link=Link.LOST, link_note=why, age_s=0.0)


def decision_events(decisions: Sequence[Decision]) -> list[Event]:
    """Why the setpoint changed, as lines of the log: one whenever another rule binds or another mode steers."""
    result: list[Event] = []
    last: tuple[object, object] | None = None
    for decision in decisions:
        now = (decision.mode, decision.binding)
        if now != last:
            result.append(Event(decision.utc_s, "why", "info", rule_name(decision.binding), words(decision.reason)))
            last = now
    return result


def extended(
    trend: tuple[Point, ...],
    utc_s: float,
    load_w: float | None,
    grid_w: float | None,
    soc_pct: float | None,
    *,
    step_s: int,
    keep: int,
    hz: float | None = None,
) -> tuple[Point, ...]:
    """A trend with one more sample, averaged into its step. A clock that stepped back starts the trend anew."""
    start = int(utc_s // step_s) * step_s
    if trend and trend[-1].start_utc_s > start:
        trend = ()
    if not trend or trend[-1].start_utc_s < start:
        return (*trend[-keep + 1 :], Point(start, load_w, grid_w, soc_pct, hz=hz))
    last = trend[-1]
    merged = Point(
        start,
        _mean(last.load_w, load_w, last.samples),
        _mean(last.grid_w, grid_w, last.samples),
        _mean(last.soc_pct, soc_pct, last.samples),
        last.samples + 1,
        _mean(last.hz, hz, last.samples),
    )
    return (*trend[:-1], merged)


def _mean(mean: float | None, value: float | None, samples: int) -> float | None:
    """A running mean; a missing sample leaves it as it is."""
    if value is None or mean is None:
        return value if mean is None else mean
    return mean + (value - mean) / (samples + 1)


def with_history(
    trend: tuple[Point, ...], times: Sequence[float], signals: Mapping[str, Sequence[float | None]], step_s: int
) -> tuple[Point, ...]:
    """A trend preceded by what the gateway remembers; what was seen live wins."""
    live = {p.start_utc_s: p for p in trend}
    empty: Sequence[float | None] = [None] * len(times)
    columns = (signals.get(name, empty) for name in TREND_SIGNALS)
    old = {
        int(t // step_s) * step_s: Point(int(t // step_s) * step_s, load, grid, soc, hz=hz)
        for t, load, grid, soc, hz in zip(times, *columns, strict=True)
    }
    return tuple(sorted({**old, **live}.values(), key=lambda p: p.start_utc_s))


def series(trend: tuple[Point, ...], name: str, end_utc_s: int, count: int, step_s: int) -> list[float | None]:
    """The `count` values of one signal up to and with the step that starts at `end_utc_s`; None where there is none."""
    values: list[float | None] = [None] * count
    for point in trend[-2 * count :]:
        place = count - 1 - (end_utc_s - point.start_utc_s) // step_s
        if 0 <= place < count:
            values[place] = getattr(point, name)
    return values


def with_events(events: tuple[Event, ...], more: Sequence[Event]) -> tuple[Event, ...]:
    """Events by time, each once: one heard live comes back from the records with its time rounded."""
    times: dict[tuple[str, str, str, str], list[float]] = {}
    for event in events:
        times.setdefault((event.kind, event.subject, event.text, event.who), []).append(event.utc_s)
    fresh = []
    for event in more:
        known = times.setdefault((event.kind, event.subject, event.text, event.who), [])
        if not any(abs(event.utc_s - t) < SAME_EVENT_S for t in known):
            known.append(event.utc_s)
            fresh.append(event)
    return tuple(sorted((*events, *fresh), key=lambda e: e.utc_s)[-EVENTS_KEPT:]) if fresh else events


def site_soc(snapshot: Snapshot, welcome: Welcome | None) -> Reading:
    """The site's SoC, as old and as bad as the worst battery's; missing as soon as one battery's is."""
    limits = {} if welcome is None else welcome.limits
    rated_kwh = {b.id: limits[key] for b in snapshot.batteries if (key := f"{b.id}.energy_kwh") in limits}
    return combined_soc(snapshot.batteries, rated_kwh)


def soc_reading(model: Model) -> Reading:
    """The same for what is shown; missing before the first snapshot."""
    return Reading() if model.published is None else site_soc(model.published.snapshot, model.welcome)


def soc_gap(model: Model) -> str:
    """What is to be known of the site's SoC beside its figure; empty when it is what every BMS reports.

    "1 of 2 known" where some are read and some are not; "counted" where it is counted from energy, because a BMS is
    not believed.
    """
    batteries = () if model.published is None else model.published.snapshot.batteries
    known = len(known_soc(batteries))
    if 0 < known < len(batteries):
        return say("soc.some_known", known=known, n=len(batteries))
    return say("soc.counted") if any(b.soc_state in COUNTED for b in batteries) else ""


def peak_is_lower_bound(published: Published) -> bool:
    """Whether some intervals of the billing period were not measured: the true peak may be higher."""
    return published.month_unmeasured_s >= 1


def combined(readings: Sequence[Reading]) -> Reading:
    """Sum of readings: as old and as bad as the worst of them; missing as soon as one is."""
    values = [r.value for r in readings if r.value is not None]
    if not values or len(values) < len(readings):
        return Reading()
    worst = worst_of(readings)
    return Reading(sum(values), worst.age_s, worst.quality)


def ranked(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Alarms as listed: unacknowledged first, then by priority, the first-out before what followed, then by time."""
    listed = [a for a in alarms if a.state is not AlarmState.NORMAL]
    return sorted(
        listed,
        key=lambda a: (STATE_ORDER[a.state], PRIORITY_ORDER[a.priority], not a.first_out, a.since_utc_s, a.id),
    )


def unacknowledged(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Those that wait for a person, in the order listed."""
    return [a for a in ranked(alarms) if is_unacknowledged(a)]


def is_unacknowledged(alarm: Alarm) -> bool:
    """Whether an alarm waits for a person."""
    return alarm.state in (AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED)
