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
from console.display.language import say, say_n, say_of, words
from console.display.viewmodel import Model
from console.display.wrapping import padded
from dispatch.model.equipment import Switch
from dispatch.model.islanding import (
    FOR_EVENT,
    OFF_GRID_STATES,
    OPEN_STATES,
    Check,
    DrillReport,
    DrillStatus,
    IslandState,
    IslandView,
    NodeOrder,
)
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
        return say("cause.drill")
    return say("cause.outage") if island_state(model) in OPEN_STATES | {S.BLACKOUT, S.BLACK_START} else ""


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
    return say("island.too_much", draw=kw(ride.draw_w).strip(), most=kw(ride.most_w).strip())


def runtime_texts(model: Model) -> list[str]:
    """The same, the longest first: without room for both estimates the low one. Marked where it is an old one."""
    ride = model.published.decision.ride if model.published else None
    text, mark = runtime_text(model), f" {say('age.stale_word')}" if runtime_is_old(model) else ""
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
    run = node_counts(model)[0]
    if silent:
        return say_n("island.may_run", silent, run=run, all=len(nodes))
    return say("island.run", run=run, n=len(nodes))


def next_step_text(model: Model) -> str:
    """What comes next while the site is not in normal operation."""
    state, view, now_s = island_state(model), islanding_view(model), model.now_utc_s
    if view is None or now_s is None:
        return ""
    if view.drill is not None and view.drill.hold_left_s is not None:
        return say("step.hold_until", time=clock(now_s + view.drill.hold_left_s, model.timezone))
    if state is S.ISLANDED:
        return " · ".join(filter(None, (_shutdown_text(model, now_s), _return_text(view))))
    if state is S.SYNCHRONISING:
        return " · ".join(filter(None, (_closing_text(view), _shutdown_text(model, now_s))))
    if state is S.BLACKOUT:
        return _blackout_text(view)
    return say(f"step.{state.value}") if state in STEPS else say("step.not_settled")


def abort_outlook(model: Model) -> str:
    """What happens once the drill is aborted, and until when: how the site comes back, how long the battery lasts."""
    view, now_s = islanding_view(model), model.now_utc_s
    if view is None or view.drill is None or now_s is None:
        return ""
    if island_state(model) in (S.PREPARING, S.GRID_TIED):
        return say("step.stays_closed")
    then, ride = _way_back(view, model, now_s), model.published.decision.ride if model.published else None
    if ride is None or ride.low_s is None or runtime_is_old(model):
        return then
    return say("step.lasts", what=then, time=hour_minute(now_s + ride.low_s, model.timezone))


def _way_back(view: IslandView, model: Model, now_s: float) -> str:
    """How an aborted drill comes back to the grid."""
    reconnect = view.reconnect
    if reconnect is None:
        return say("step.once_closed")
    if reconnect.by_device:
        return say("step.by_itself")
    if reconnect.in_window is True:
        at_s = now_s + (reconnect.left_s or 0.0)
        return say("step.closing_from", time=clock(at_s, model.timezone))
    return say("step.closing_after", wait=countdown(reconnect.wait_s))


STEPS = (S.PREPARING, S.OPENING, S.CLOSING, S.FAULT, S.BLACK_START, S.GENSET, S.GRID_TIED)  # those with a label of it


def _in_window(view: IslandView) -> bool:
    """Whether the grid is known to be inside the window of the grid code."""
    return view.reconnect is not None and view.reconnect.in_window is True


def _return_text(view: IslandView) -> str:
    return say("step.synchronising" if _in_window(view) else "step.when_inside")


def _closing_text(view: IslandView) -> str:
    """When closing may be permitted, or what is against it."""
    reconnect = view.reconnect
    if reconnect is not None and reconnect.by_device:
        return say("step.by_itself")
    if reconnect is not None and reconnect.left_s:
        return say("step.closing_in", left=countdown(reconnect.left_s))
    if reconnect is not None and reconnect.against is not None:
        return say("step.closing_waits", why=words(reconnect.against))
    return say("step.closing_now")


def _blackout_text(view: IslandView) -> str:
    return say("step.grid_back" if _in_window(view) else "step.grid_or_start")


def _shutdown_text(model: Model, now_s: float) -> str:
    """When the nodes are shut down if nothing changes; nothing while that is not known."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or ride.shutdown_in_s is None:
        return ""
    when = hour_minute(now_s + ride.shutdown_in_s, model.timezone)
    return say("step.shutdown_old" if runtime_is_old(model) else "step.shutdown", time=when)


def last_drill_text(model: Model) -> str:
    """ "last drill 12 d ago, passed"; nothing while none is on record."""
    last = model.published.last_drill if model.published else None
    if last is None or model.now_utc_s is None:
        return ""
    ago_s = max(0.0, model.now_utc_s - last.ended_utc_s)
    ago = say("island.days", n=int(ago_s // 86_400)) if ago_s >= 172_800 else duration(ago_s)
    return say("island.last_drill", ago=ago, result=say_of("result", last.result))


def drill_schedule_line(model: Model) -> Line:
    """While no drill runs: the last one, and when the schedule has the next; a drill that is due stands out."""
    plan = model.published.drill_plan if model.published else None
    if plan is not None and plan.due_utc_s is not None:
        since = month_day_hour_minute(plan.due_utc_s, model.timezone)
        return f"{say('island.due', since=since)}{': ' if plan.note else ''}{words(plan.note)}", Ink.MEDIUM
    text = say("island.none_runs", last=last_drill_text(model) or say("island.none_on_record"))
    if plan is not None:
        text += say("island.next", time=month_day_hour_minute(plan.next_utc_s, model.timezone))
    return text, Ink.PLAIN


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def node_order_lines(model: Model) -> list[Line]:
    """What ride-through or a grid event asks of which nodes, a line for each kind; nothing while all run freely."""
    capped, suspended, off = _node_orders(model)
    orders = model.published.decision.nodes if model.published else ()

    def nodes(asked: Callable[[NodeOrder], bool]) -> list[str]:
        return [o.device_id for o in orders if asked(o) and not o.off]

    found = {
        say("asked.shut_down"): [o.device_id for o in off],
        say("asked.off_when_empty"): nodes(lambda o: o.off_when_empty),
        say("asked.requeued"): nodes(lambda o: o.requeued),
        say("asked.saving"): nodes(lambda o: o.saving and not o.requeued),
        say("asked.suspended"): [o.device_id for o in suspended],
        say("asked.capped"): [say("asked.node_at", node=o.device_id, kw=kw(o.cap_w).strip()) for o in capped],
        say("asked.no_new_jobs"): nodes(lambda o: o.starts_stopped),
        words(FOR_EVENT): nodes(lambda o: o.reason == FOR_EVENT and o.starts_stopped),
    }
    return [(f"{kind}: {', '.join(ids)}", Ink.PLAIN) for kind, ids in found.items() if ids]


def lacking_lines(model: Model) -> list[Line]:
    """The steps of load shedding that this site cannot take, or not on all nodes that they are for; none: all."""
    ride = model.published.decision.ride if model.published else None
    if ride is None or not ride.lacks:
        return []
    return [(say("island.lacks", steps="; ".join(words(step) for step in ride.lacks)), Ink.DIM)]


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
        lines.append((say("report.audit_head", head=model.report_head), Ink.DIM))
    for r in model.drills:
        if r.started_utc_s < model.report.started_utc_s:
            began = date_hour_minute(r.started_utc_s, model.timezone)
            result, asked = (
                padded(say_of("result", r.result), 7),
                say("report.minutes_by", minutes=f"{r.minutes:g}", who=r.who),
            )
            lines.append((f"{began}  {result}  {asked}: {words(r.why)}", Ink.PLAIN))
    return lines


def drill_report_lines(report: DrillReport, timezone: str) -> list[Line]:
    """A drill's report: result, figures, timeline, each criterion at its worst."""
    began = date_clock(report.started_utc_s, timezone)
    islanded = say("report.not_known") if report.islanded_s is None else span(report.islanded_s)
    soc, result = soc_track_text(report), say_of("result", report.result).upper()
    volts, hertz = extremes_text(report.v_min, report.v_max, 0), extremes_text(report.hz_min, report.hz_max, 2)
    bus = say("report.bus", v=volts, hz=hertz, battery=battery_energy_text(report))
    lines: list[Line] = [
        (say("report.last", began=began, result=result, why=words(report.why)), RESULT_INK[report.result]),
        (f"{say('report.minutes_by', minutes=f'{report.minutes:g}', who=report.who)}: {report.reason}", Ink.PLAIN),
        (say("report.islanded", span=islanded, gap=words(report.transfer_gap)), Ink.PLAIN),
        (f"{bus}{f', {soc}' if soc else ''}", Ink.PLAIN),
    ]
    lines += [(f"{clock(utc_s, timezone)}  {words(what)}", Ink.DIM) for utc_s, what in report.timeline]
    return lines + check_lines(report.criteria)


def battery_energy_text(report: DrillReport) -> str:
    """What the batteries gave during a drill: "1.23 kWh"."""
    return say("report.not_known") if report.battery_wh is None else f"{report.battery_wh / 1000:.2f} kWh"


def soc_track_text(report: DrillReport) -> str:
    """First, last and lowest SoC of a drill; nothing where none was read."""
    track = [pct for _, pct in report.soc_track]
    if not track:
        return ""
    return say("report.soc", first=f"{track[0]:.1f}", last=f"{track[-1]:.1f}", lowest=f"{min(track):.1f}")


def extremes_text(low: float | None, high: float | None, digits: int) -> str:
    """ "228 – 233": lowest and highest seen."""
    if low is None or high is None:
        return ABSENT
    return f"{number(low, 1 + 3 + digits, digits).strip()} – {number(high, 1 + 3 + digits, digits).strip()}"
