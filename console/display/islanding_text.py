"""Islanding in words and figures, for the lines of every view and the Island view. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import ABSENT, clock, countdown, duration, hour_minute, kw, local, number
from console.display.ink import Ink, Line
from console.display.viewmodel import Model
from dispatch.model.equipment import Switch
from dispatch.model.islanding import Check, DrillReport, DrillStatus, IslandState, IslandView
from dispatch.wording.formatting import span

S = IslandState
RIDING = frozenset({S.ISLANDED, S.SYNCHRONISING, S.CLOSING})
AWAY = RIDING | {S.BLACKOUT, S.BLACK_START, S.FAULT}  # not joined to the grid, as far as is known
RESULT_INK = {"passed": Ink.PLAIN, "aborted": Ink.MEDIUM, "failed": Ink.HIGH}


def view_of(model: Model) -> IslandView | None:
    """What the state machine says, or None before the first snapshot."""
    return model.published.decision.islanding if model.published else None


def state_of(model: Model) -> IslandState:
    """The state at the PCC, as last heard."""
    return model.published.decision.island if model.published else S.UNKNOWN


def drill_of(model: Model) -> DrillStatus | None:
    """The drill under way."""
    view = view_of(model)
    return None if view is None else view.drill


def abortable(model: Model) -> bool:
    """Whether `!` has something to abort."""
    return drill_of(model) is not None or state_of(model) is S.BLACK_START


def off_grid(model: Model) -> bool:
    """Whether the site is not joined to the grid, as far as is known."""
    return state_of(model) in AWAY


def idle(model: Model) -> bool:
    """Grid-tied with no drill: what a drill would find is worth looking at."""
    return state_of(model) is S.GRID_TIED and drill_of(model) is None


def open_switch(switches: tuple[Switch, ...]) -> bool:
    """Whether a contact at the PCC says open, freshly."""
    return any(s.position.good == "open" for s in switches)


def left_grid_utc_s(view: IslandView) -> float:
    """When the site left the grid; before it has, when the state at the PCC began."""
    return view.since_utc_s if view.left_grid_utc_s is None else view.left_grid_utc_s


def cause_words(model: Model) -> str:
    """drill or outage while the site is not grid-tied, else nothing."""
    if drill_of(model) is not None:
        return "drill"
    return "outage" if state_of(model) in RIDING | {S.BLACKOUT, S.BLACK_START} else ""


def elapsed(seconds: float) -> str:
    """00:14:22."""
    whole = int(max(0.0, seconds))
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def lasts_words(model: Model) -> str:
    """Remaining runtime on the battery, low to best estimate: "2 h 40 – 3 h 10"."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or ride.runtime_s is None:
        return ABSENT
    if ride.low_s is None or duration(ride.low_s) == duration(ride.runtime_s):
        return duration(ride.runtime_s)
    return f"{duration(ride.low_s)} – {duration(ride.runtime_s)}"


def node_counts(model: Model) -> tuple[int, int, int, int]:
    """Nodes that run, and those that ride-through caps, suspends, shuts down."""
    if model.published is None:
        return 0, 0, 0, 0
    orders = model.published.decision.nodes
    off, suspended = sum(o.off for o in orders), sum(o.suspended and not o.off for o in orders)
    capped = sum(o.cap_w is not None and not o.suspended and not o.off for o in orders)
    return len(model.published.snapshot.nodes) - off - suspended, capped, suspended, off


def node_lines(model: Model) -> list[tuple[str, Ink]]:
    """Which nodes ride-through asks what of, a line each kind; nothing while all run free."""
    orders = model.published.decision.nodes if model.published else ()
    found = {
        "shut down": [o.device_id for o in orders if o.off],
        "suspended": [o.device_id for o in orders if o.suspended and not o.off],
        "capped": [
            f"{o.device_id} at {kw(o.cap_w).strip()} kW"
            for o in orders
            if o.cap_w is not None and not o.suspended and not o.off
        ],
    }
    return [(f"{word}: {', '.join(ids)}", Ink.PLAIN) for word, ids in found.items() if ids]


def next_words(model: Model) -> str:
    """What comes next while the site is not simply grid-tied."""
    state, view, zone = state_of(model), view_of(model), model.timezone
    now_s = model.now_utc_s
    if view is None or now_s is None:
        return ""
    if view.drill is not None and view.drill.hold_left_s is not None:
        return f"hold until {clock(now_s + view.drill.hold_left_s, zone)}, then back by the grid code's road"
    match state:
        case S.PREPARING:
            return "the switch is asked to open once import is near 0"
        case S.OPENING:
            return "hold begins when the contact says open and a PCS forms the grid"
        case S.ISLANDED:
            back = "back when the grid is inside its window" if _outside(view) else "synchronising"
            return " · ".join(filter(None, (_shutdown(model, now_s), back)))
        case S.SYNCHRONISING:
            way = view.reconnect
            wait = "closing may be permitted"
            if way is not None and way.left_s:
                wait += f" in {countdown(way.left_s)}"
            elif way is not None and way.against:
                wait = f"closing waits: {way.against}"
            return " · ".join(filter(None, (wait, _shutdown(model, now_s))))
        case S.CLOSING:
            return "the contact must say closed"
        case S.FAULT:
            return "an engineer's fault reset: F"
        case S.BLACKOUT:
            if not _outside(view):
                return "the grid is back: black start (B) forms the bus first, else the device closes, or a person"
            return "the grid's return, or an engineer's black start: B"
        case S.BLACK_START:
            return "a PCS must form the grid"
        case S.GRID_TIED:
            return "ramping back, then the drill ends"
    return "the devices do not settle where the site stands"


def _outside(view: IslandView) -> bool:
    return view.reconnect is None or view.reconnect.in_window is not True


def _shutdown(model: Model, now_s: float) -> str:
    """When the nodes go down if nothing changes; nothing while that is not known."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or ride.shutdown_in_s is None:
        return ""
    return f"{hour_minute(now_s + ride.shutdown_in_s, model.timezone)} orderly shutdown if the grid stays away"


def last_drill_words(model: Model) -> str:
    """ "last drill 12 d ago, passed"; nothing while none is on record."""
    last = model.published.last_drill if model.published else None
    if last is None or model.now_utc_s is None:
        return ""
    ago_s = max(0.0, model.now_utc_s - last.ended_utc_s)
    ago = f"{int(ago_s // 86_400)} d" if ago_s >= 172_800 else duration(ago_s)
    return f"last drill {ago} ago, {last.result}"


def resting_words(model: Model) -> tuple[str, Ink]:
    """While no drill runs: the last one, and what the schedule says; a drill that is due stands out."""
    plan = model.published.drill_plan if model.published else None
    if plan is not None and plan.due_utc_s is not None:
        since = local(plan.due_utc_s, model.timezone).strftime("%m-%d %H:%M")
        return f"A drill is DUE since {since}{': ' if plan.note else ''}{plan.note}", Ink.MEDIUM
    text = f"No drill runs; {last_drill_words(model) or 'none is on record'}"
    if plan is not None:
        text += f"; next {local(plan.next_utc_s, model.timezone).strftime('%m-%d %H:%M')}"
    return text, Ink.PLAIN


# ── lines of the view's list ────────────────────────────────────────────────────────────────────────────────────────


def check_lines(checks: Sequence[Check]) -> list[Line]:
    """Each with its figure, and what would make it pass: those that fail first, then those with most to tell."""
    ordered = [c for c in checks if not c.ok] + [c for c in reversed(checks) if c.ok]
    return [
        (
            f"{'✓' if c.ok else '✗'} {c.name:<17} {c.figure}{f' → {c.remedy}' if c.remedy else ''}",
            Ink.PLAIN if c.ok else Ink.MEDIUM,
        )
        for c in ordered
    ]


def record_lines(model: Model) -> list[Line]:
    """The last drill's report with the audit's head, and a line for each drill on record before it."""
    if model.report is None:
        return []
    lines = report_lines(model.report, model.timezone)
    if model.report_head:
        lines.append((f"audit head {model.report_head}", Ink.DIM))
    for r in model.drills:
        if r.started_utc_s < model.report.started_utc_s:
            began = local(r.started_utc_s, model.timezone).strftime("%Y-%m-%d %H:%M")
            lines.append((f"{began}  {r.result:<7}  {r.minutes:g} min by {r.who}: {r.why}", Ink.PLAIN))
    return lines


def report_lines(report: DrillReport, timezone: str) -> list[Line]:
    """A drill's report: result, figures, timeline, criteria each at its worst."""
    began = local(report.started_utc_s, timezone).strftime("%Y-%m-%d %H:%M:%S")
    track = [pct for _, pct in report.soc_track]
    soc = f", SoC {track[0]:.1f} → {track[-1]:.1f} %, lowest {min(track):.1f} %" if track else ""
    islanded = "not known" if report.islanded_s is None else span(report.islanded_s)
    energy = "not known" if report.battery_wh is None else f"{report.battery_wh / 1000:.2f} kWh"
    lines: list[Line] = [
        (f"Last drill {began}: {report.result.upper()}, {report.why}", RESULT_INK[report.result]),
        (f"{report.minutes:g} min by {report.who}: {report.reason}", Ink.PLAIN),
        (f"islanded {islanded}, transfer gap {report.transfer_gap}", Ink.PLAIN),
        (
            f"bus {spread(report.v_min, report.v_max, 0)} V, {spread(report.hz_min, report.hz_max, 2)} Hz; "
            f"battery {energy}{soc}",
            Ink.PLAIN,
        ),
    ]
    lines += [(f"{clock(utc_s, timezone)}  {what}", Ink.DIM) for utc_s, what in report.timeline]
    return lines + check_lines(report.criteria)


def spread(low: float | None, high: float | None, digits: int) -> str:
    """ "228 – 233": lowest and highest seen."""
    if low is None or high is None:
        return ABSENT
    return f"{number(low, 1 + 3 + digits, digits).strip()} – {number(high, 1 + 3 + digits, digits).strip()}"
