"""Islanding in words and figures: for the lines every view keeps, the Island view and `skerry status`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from console.display.formats import (
    ABSENT,
    clock,
    countdown,
    date_clock,
    date_hour_minute,
    duration,
    hour_minute,
    kw,
    month_day_hour_minute,
    number,
)
from console.display.ink import Ink, Line
from console.display.language import words
from console.display.viewmodel import Model
from console.display.wrapping import padded
from dispatch.model.equipment import Switch
from dispatch.model.islanding import (
    OFF_GRID_STATES,
    OPEN_STATES,
    Check,
    DrillReport,
    DrillStatus,
    IslandState,
    IslandView,
    NodeOrder,
)
from dispatch.power_caps.event_nodes import FOR_EVENT
from dispatch.wording.formatting import span

S = IslandState
RESULT_INK = {"passed": Ink.PLAIN, "aborted": Ink.MEDIUM, "failed": Ink.HIGH}


# ── what is so ──────────────────────────────────────────────────────────────────────────────────────────────────────


def islanding_view(model: Model) -> IslandView | None:
    """What the islanding state machine says, or None before the first snapshot."""
    return model.published.decision.islanding if model.published else None


def island_state(model: Model) -> IslandState:
    """The state at the PCC in the last snapshot."""
    return model.published.decision.island if model.published else S.UNKNOWN


def running_drill(model: Model) -> DrillStatus | None:
    """The drill under way."""
    view = islanding_view(model)
    return None if view is None else view.drill


def abortable(model: Model) -> bool:
    """Whether there is a drill or a black start that the abort key ends."""
    return running_drill(model) is not None or island_state(model) is S.BLACK_START


def off_grid(model: Model) -> bool:
    """Whether the site is not joined to the grid, as far as is known."""
    return island_state(model) in OFF_GRID_STATES


def in_normal_operation(model: Model) -> bool:
    """Grid-tied with no drill under way."""
    return island_state(model) is S.GRID_TIED and running_drill(model) is None


def switch_open(switches: tuple[Switch, ...]) -> bool:
    """Whether a fresh contact at the PCC says open, and no generator feeds the site."""
    return any(s.isolates for s in switches)


def left_grid_utc_s(view: IslandView) -> float:
    """When the site left the grid; before it has, when the state at the PCC began."""
    return view.since_utc_s if view.left_grid_utc_s is None else view.left_grid_utc_s


def node_counts(model: Model) -> tuple[int, int, int, int]:
    """How many nodes run, and how many ride-through caps, suspends, shuts down."""
    if model.published is None:
        return 0, 0, 0, 0
    capped, suspended, off = (len(orders) for orders in _node_orders(model))
    return len(model.published.snapshot.nodes) - off - suspended, capped, suspended, off


def _node_orders(model: Model) -> tuple[list[NodeOrder], list[NodeOrder], list[NodeOrder]]:
    """The orders that cap, suspend and shut down a node: each node under the strongest one."""
    orders = model.published.decision.nodes if model.published else ()
    off = [o for o in orders if o.off]
    suspended = [o for o in orders if o.suspended and not o.off]
    capped = [o for o in orders if o.cap_w is not None and not o.suspended and not o.off]
    return capped, suspended, off


# ── single words and lines ──────────────────────────────────────────────────────────────────────────────────────────


def cause_word(model: Model) -> str:
    """Drill or outage while the site is not grid-tied, else nothing."""
    if running_drill(model) is not None:
        return "drill"
    return "outage" if island_state(model) in OPEN_STATES | {S.BLACKOUT, S.BLACK_START} else ""


def runtime_text(model: Model) -> str:
    """Remaining runtime on the battery, low to best estimate: "2 h 40 – 3 h 10"."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or ride.runtime_s is None:
        return ABSENT
    if ride.low_s is None or duration(ride.low_s) == duration(ride.runtime_s):
        return duration(ride.runtime_s)
    return f"{duration(ride.low_s)} – {duration(ride.runtime_s)}"


def too_much_text(model: Model) -> str:
    """That PCS and battery cannot give what they would have to carry, so that no runtime holds; empty: they can."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or ride.draw_w is None or ride.most_w is None or ride.draw_w <= ride.most_w:
        return ""
    return f"none: {kw(ride.draw_w).strip()} kW to carry, the PCS can give {kw(ride.most_w).strip()} kW"


def runtime_texts(model: Model) -> list[str]:
    """The same, the longest first: without room for both estimates the low one. Marked where it is an old one."""
    ride = model.published.decision.ride if model.published else None
    text, mark = runtime_text(model), " STALE" if runtime_is_old(model) else ""
    if ride is None or ride.low_s is None or " – " not in text:
        return [text + mark]
    return [text + mark, f"≥ {duration(ride.low_s)}{mark}"]


def runtime_is_old(model: Model) -> bool:
    """Whether PCS or battery do not answer: what is left of the runtime is then an estimate of some time ago."""
    if model.published is None:
        return False
    snapshot, ride = model.published.snapshot, model.published.decision.ride
    silent = any(p.w.good is None for p in snapshot.pcs) or any(b.soc_pct.good is None for b in snapshot.batteries)
    return silent and ride is not None and ride.runtime_s is not None


def silent_nodes(model: Model) -> int:
    """How many nodes do not answer."""
    devices = model.published.snapshot.devices if model.published else ()
    return sum(d.kind == "node" and not d.online for d in devices)


def nodes_run_text(model: Model) -> str:
    """How many nodes run: "6 of 8 run". Of nodes that do not answer only what they are asked is known."""
    if model.published is None:
        return ""
    silent, nodes = silent_nodes(model), model.published.snapshot.nodes
    text = f"{node_counts(model)[0]} of {len(nodes)} "
    return f"{text}may run, {silent} {'does' if silent == 1 else 'do'} not answer" if silent else f"{text}run"


def next_step_text(model: Model) -> str:
    """What comes next while the site is not in normal operation."""
    state, view, now_s = island_state(model), islanding_view(model), model.now_utc_s
    if view is None or now_s is None:
        return ""
    if view.drill is not None and view.drill.hold_left_s is not None:
        return f"hold until {clock(now_s + view.drill.hold_left_s, model.timezone)}, then reconnect by the grid code"
    if state is S.ISLANDED:
        return " · ".join(filter(None, (_shutdown_text(model, now_s), _return_text(view))))
    if state is S.SYNCHRONISING:
        return " · ".join(filter(None, (_closing_text(view), _shutdown_text(model, now_s))))
    if state is S.BLACKOUT:
        return _blackout_text(view)
    return NEXT_STEPS.get(state, "the devices do not settle where the site stands")


def abort_outlook(model: Model) -> str:
    """What happens once the drill is aborted, and until when: how the site comes back, how long the battery lasts."""
    view, now_s = islanding_view(model), model.now_utc_s
    if view is None or view.drill is None or now_s is None:
        return ""
    if island_state(model) in (S.PREPARING, S.GRID_TIED):
        return "the switch stays closed"
    ride = model.published.decision.ride if model.published else None
    lasts = ""
    if ride is not None and ride.low_s is not None and not runtime_is_old(model):
        lasts = f"; battery lasts until {hour_minute(now_s + ride.low_s, model.timezone)}"
    reconnect = view.reconnect
    if reconnect is None:
        return f"back on the grid once the switch closes{lasts}"
    if reconnect.by_device:
        return f"the switch returns by itself{lasts}"
    if reconnect.in_window is True:
        at_s = now_s + (reconnect.left_s or 0.0)
        return f"closing may be permitted from {clock(at_s, model.timezone)} on{lasts}"
    return f"closing {countdown(reconnect.wait_s)} after the grid is inside its window{lasts}"


NEXT_STEPS = {
    S.PREPARING: "the switch is asked to open once import is near 0",
    S.OPENING: "hold begins when the contact says open and a PCS forms the grid",
    S.CLOSING: "the contact must say closed",
    S.FAULT: "an engineer's fault reset: F",
    S.BLACK_START: "a PCS must form the grid",
    S.GENSET: "the switch changes back once the grid is there",
    S.GRID_TIED: "ramping back, then the drill ends",
}


def _in_window(view: IslandView) -> bool:
    """Whether the grid is known to be inside the window of the grid code."""
    return view.reconnect is not None and view.reconnect.in_window is True


def _return_text(view: IslandView) -> str:
    return "synchronising" if _in_window(view) else "back when the grid is inside its window"


def _closing_text(view: IslandView) -> str:
    """When closing may be permitted, or what is against it."""
    reconnect = view.reconnect
    if reconnect is not None and reconnect.by_device:
        return "the switch returns by itself"
    if reconnect is not None and reconnect.left_s:
        return f"closing may be permitted in {countdown(reconnect.left_s)}"
    if reconnect is not None and reconnect.against is not None:
        return f"closing waits: {words(reconnect.against)}"
    return "closing may be permitted"


def _blackout_text(view: IslandView) -> str:
    if _in_window(view):
        return "the grid is back: black start (B) forms the bus first, else the device closes, or a person"
    return "the grid's return, or an engineer's black start: B"


def _shutdown_text(model: Model, now_s: float) -> str:
    """When the nodes are shut down if nothing changes; nothing while that is not known."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or ride.shutdown_in_s is None:
        return ""
    when = hour_minute(now_s + ride.shutdown_in_s, model.timezone)
    old = " (STALE estimate)" if runtime_is_old(model) else ""
    return f"{when}{old} orderly shutdown if the grid stays away"


def last_drill_text(model: Model) -> str:
    """ "last drill 12 d ago, passed"; nothing while none is on record."""
    last = model.published.last_drill if model.published else None
    if last is None or model.now_utc_s is None:
        return ""
    ago_s = max(0.0, model.now_utc_s - last.ended_utc_s)
    ago = f"{int(ago_s // 86_400)} d" if ago_s >= 172_800 else duration(ago_s)
    return f"last drill {ago} ago, {last.result}"


def drill_schedule_line(model: Model) -> Line:
    """While no drill runs: the last one, and when the schedule has the next; a drill that is due stands out."""
    plan = model.published.drill_plan if model.published else None
    if plan is not None and plan.due_utc_s is not None:
        since = month_day_hour_minute(plan.due_utc_s, model.timezone)
        return f"A drill is DUE since {since}{': ' if plan.note else ''}{words(plan.note)}", Ink.MEDIUM
    text = f"No drill runs; {last_drill_text(model) or 'none is on record'}"
    if plan is not None:
        text += f"; next {month_day_hour_minute(plan.next_utc_s, model.timezone)}"
    return text, Ink.PLAIN


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def node_order_lines(model: Model) -> list[Line]:
    """What ride-through or a grid event asks of which nodes, a line for each kind; nothing while all run freely."""
    capped, suspended, off = _node_orders(model)
    orders = model.published.decision.nodes if model.published else ()

    def nodes(asked: Callable[[NodeOrder], bool]) -> list[str]:
        return [o.device_id for o in orders if asked(o) and not o.off]

    found = {
        "shut down": [o.device_id for o in off],
        "powered off once empty": nodes(lambda o: o.off_when_empty),
        "jobs requeued": nodes(lambda o: o.requeued),
        "jobs told to save": nodes(lambda o: o.saving and not o.requeued),
        "suspended": [o.device_id for o in suspended],
        "capped": [f"{o.device_id} at {kw(o.cap_w).strip()} kW" for o in capped],
        "no new jobs": nodes(lambda o: o.starts_stopped),
        words(FOR_EVENT): nodes(lambda o: o.reason == FOR_EVENT and o.starts_stopped),
    }
    return [(f"{kind}: {', '.join(ids)}", Ink.PLAIN) for kind, ids in found.items() if ids]


def lacking_lines(model: Model) -> list[Line]:
    """The steps of load shedding that this site cannot take, or not on all nodes that they are for; none: all."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or not ride.lacks:
        return []
    return [(f"ride-through lacks: {'; '.join(words(step) for step in ride.lacks)}", Ink.DIM)]


def check_lines(checks: Sequence[Check]) -> list[Line]:
    """Each check with its figure and remedy: those that fail first, then the others from the last to the first."""
    ordered = [c for c in checks if not c.ok] + [c for c in reversed(checks) if c.ok]
    return [
        (
            f"{'✓' if c.ok else '✗'} {padded(words(c.name), 17)} {words(c.figure)}"
            + (f" → {words(c.remedy)}" if c.remedy else ""),
            Ink.PLAIN if c.ok else Ink.MEDIUM,
        )
        for c in ordered
    ]


def drill_record_lines(model: Model) -> list[Line]:
    """The last drill's report with the audit's head, and a line for each drill on record before it."""
    if model.report is None:
        return []
    lines = drill_report_lines(model.report, model.timezone)
    if model.report_head:
        lines.append((f"audit head {model.report_head}", Ink.DIM))
    for r in model.drills:
        if r.started_utc_s < model.report.started_utc_s:
            began = date_hour_minute(r.started_utc_s, model.timezone)
            lines.append((f"{began}  {r.result:<7}  {r.minutes:g} min by {r.who}: {words(r.why)}", Ink.PLAIN))
    return lines


def drill_report_lines(report: DrillReport, timezone: str) -> list[Line]:
    """A drill's report: result, figures, timeline, each criterion at its worst."""
    began = date_clock(report.started_utc_s, timezone)
    islanded = "not known" if report.islanded_s is None else span(report.islanded_s)
    soc = soc_track_text(report)
    lines: list[Line] = [
        (f"Last drill {began}: {report.result.upper()}, {words(report.why)}", RESULT_INK[report.result]),
        (f"{report.minutes:g} min by {report.who}: {report.reason}", Ink.PLAIN),
        (f"islanded {islanded}, transfer gap {words(report.transfer_gap)}", Ink.PLAIN),
        (
            f"bus {extremes_text(report.v_min, report.v_max, 0)} V, "
            f"{extremes_text(report.hz_min, report.hz_max, 2)} Hz; "
            f"battery {battery_energy_text(report)}{f', {soc}' if soc else ''}",
            Ink.PLAIN,
        ),
    ]
    lines += [(f"{clock(utc_s, timezone)}  {words(what)}", Ink.DIM) for utc_s, what in report.timeline]
    return lines + check_lines(report.criteria)


def battery_energy_text(report: DrillReport) -> str:
    """What the batteries gave during a drill: "1.23 kWh"."""
    return "not known" if report.battery_wh is None else f"{report.battery_wh / 1000:.2f} kWh"


def soc_track_text(report: DrillReport) -> str:
    """First, last and lowest SoC of a drill; nothing where none was read."""
    track = [pct for _, pct in report.soc_track]
    return f"SoC {track[0]:.1f} → {track[-1]:.1f} %, lowest {min(track):.1f} %" if track else ""


def extremes_text(low: float | None, high: float | None, digits: int) -> str:
    """ "228 – 233": lowest and highest seen."""
    if low is None or high is None:
        return ABSENT
    return f"{number(low, 1 + 3 + digits, digits).strip()} – {number(high, 1 + 3 + digits, digits).strip()}"
