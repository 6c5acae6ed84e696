"""Grid events as text: what is asked, how far each is, and the report of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from console.display.formats import date_clock_zone, hour_minute, hour_minute_zone
from dispatch.events.flexibility import Expected, Offer
from dispatch.events.model import EventState, GridEvent, Phase
from dispatch.events.report import Cost, EventReport, Peak, Settled
from dispatch.events.target_text import target_text
from dispatch.wording.formatting import kw, kw_column, one_line, span

RESULTS = {
    "kept": "KEPT",
    "short": "SHORT",
    "not known": "NOT KNOWN, too little is on record",
    "aborted": "ABORTED",
    "running": "RUNS",
}


class CappedRun(msgspec.Struct, frozen=True):
    """A run of a job that was under caps and ran during an event; its figures are of the whole run."""

    scheduler: str
    job: str
    user: str
    name: str
    capped_s: float
    withheld_kwh: float
    lost_gpu_h: float


def event_line(event: GridEvent, zone: tzinfo) -> str:
    """One event: id, target, times, whose."""
    what = "rehearsal" if event.rehearsal else "event"
    when = f"{date_clock_zone(event.start_utc_s, zone)} to {hour_minute_zone(event.end_utc_s, zone)}"
    whose = event.who if event.source == "order" else f"{event.source} {event.who}"
    return one_line(
        f"{event.id:<5} {what}: {target_text(event, than=True)}, {when}, {whose}: {event.reason}".rstrip(": ")
    )


def status_lines(state: EventState, now_utc_s: float, zone: tzinfo) -> Iterator[str]:
    """One event that is not over."""
    yield event_line(state.event, zone)
    yield f"      {phase_text(state, now_utc_s, zone)}"
    if state.limit_w is None and state.event.drop_w is not None:
        yield (
            "      limit not known before the notice"
            if now_utc_s < state.event.notice_utc_s
            else ("      limit not known: the import before the notice was not")
        )
    elif state.event.drop_w is not None and state.baseline_w is not None:
        yield f"      limit {kw(state.limit_w)}: {kw(state.event.drop_w)} below {kw(state.baseline_w)}"
    if state.over_limit_w is not None:
        above = state.over_limit_w
        yield f"      import is {f'{kw(above)} above the limit' if above > 0 else 'within the limit'}"


def phase_text(state: EventState, now_utc_s: float, zone: tzinfo) -> str:
    """How far an event is, with what comes next."""
    event = state.event
    match state.phase:
        case Phase.ANNOUNCED:
            return f"announced: prepared from {hour_minute_zone(event.notice_utc_s, zone)} on"
        case Phase.PREPARING:
            return f"preparing: begins in {span(max(0.0, event.start_utc_s - now_utc_s))}"
        case Phase.HELD:
            return f"held: ends in {span(max(0.0, state.end_utc_s - now_utc_s))}"
        case Phase.ENDING:
            return f"ending: free of limits in {span(max(0.0, state.lifted_utc_s - now_utc_s))}"
        case Phase.OVER:
            return "over"
        case Phase.ABORTED:
            by = f" by {state.aborted_by}" if state.aborted_by else ""
            return one_line(f"aborted{by}: {state.abort_reason}".rstrip(": "))


def ahead_lines(event: GridEvent, limit_w: float | None, offer: Offer | None, why_not: str) -> Iterator[str]:
    """What an event would take of battery and caps, and what would be missing. `why_not`: why that is not known."""
    if offer is None:
        yield f"takes     not known: {why_not}"
        return
    net_w = offer.import_w + offer.battery_w
    if limit_w is None and event.drop_w is not None:
        need_w, basis = event.drop_w, "asked"
    else:
        need_w, basis = max(0.0, net_w - (limit_w or 0.0)), f"by the forecast, {kw(net_w)} without battery"
    found = offer.expected
    by_battery_w = min(need_w, found.battery_w)
    by_caps_w = min(need_w - by_battery_w, found.compute_w)
    short_w = need_w - by_battery_w - by_caps_w
    can_kwh = found.battery_w / 1000 * offer.hours
    yield f"takes     {kw(need_w)} for {span(3600 * offer.hours)}: {basis}"
    yield f"battery   {kw(by_battery_w)}, {by_battery_w / 1000 * offer.hours:.1f} of {can_kwh:.1f} kWh that it can give"
    if by_caps_w > 0 or short_w > 0:
        yield f"caps      {kw(by_caps_w)} of {kw(found.compute_w)} that caps can give"
    yield f"missing   {kw(short_w)}" if short_w > 0 else "missing   nothing"
    yield f"cost      {_ahead_cost(found, by_battery_w, by_caps_w)}"


def _ahead_cost(found: Expected, by_battery_w: float, by_caps_w: float) -> str:
    battery_eur = found.battery_eur * by_battery_w / found.battery_w if found.battery_w > 0 else 0.0
    if by_caps_w <= 0:
        return f"about {battery_eur + 0.0:.2f} EUR against the plan"
    if found.compute_eur is None:
        return f"about {battery_eur + 0.0:.2f} EUR against the plan; GPU-hours have no price"
    total_eur = battery_eur + found.compute_eur * by_caps_w / found.compute_w
    return f"about {total_eur + 0.0:.2f} EUR against the plan, GPU-hours included"


def report_lines(found: EventReport, runs: Sequence[CappedRun], audit_row: int | None, zone: tzinfo) -> Iterator[str]:
    """The report of an event."""
    state, event = found.state, found.state.event
    what = "Rehearsal" if event.rehearsal else "Event"
    yield f"{what} {event.id}, {date_clock_zone(event.start_utc_s, zone)}: {RESULTS[found.result]}"
    asked = f"{target_text(event, than=True)} for {span(event.end_utc_s - event.start_utc_s)}"
    yield one_line(f"Asked     {asked} by {event.who}: {event.reason}".rstrip(": "))
    notice = hour_minute_zone(event.notice_utc_s, zone)
    yield f"Held      {span(state.end_utc_s - event.start_utc_s)}; notice {notice}, ramp {span(event.ramp_s)} after it"
    if state.aborted_utc_s is not None:
        by = f" by {state.aborted_by}" if state.aborted_by else ""
        yield one_line(f"Aborted   {date_clock_zone(state.aborted_utc_s, zone)}{by}: "
                       f"{state.abort_reason}".rstrip(": "))  # fmt: skip
    yield from _baseline(found)
    yield from _delivery(found)
    yield ""
    yield f"{'interval':<16}{'import kW':>10} {'limit kW':>9} {'below baseline kW':>18} {'missing kW':>11}"
    for one in found.intervals:
        yield _interval(one, zone)
    yield ""
    yield from cost_lines(found.cost, state.figures.shed_wh / 1000)
    yield peak_line(found.peak)
    yield from _capped(state, runs)
    yield from _nodes(state)
    row = "holds no row with these figures" if audit_row is None else f"row {audit_row} holds these figures"
    yield f"Audit     {row}"


def _baseline(found: EventReport) -> Iterator[str]:
    state = found.state
    if found.days:
        factor = 1.0 if found.factor is None else found.factor
        yield f"Baseline  similar days, times {factor:.2f}: {', '.join(found.days)}; limit {kw(state.limit_w)}"
    elif state.baseline_w is not None:
        yield f"Baseline  {kw(state.baseline_w)} as without battery before the notice; limit {kw(state.limit_w)}"


def _delivery(found: EventReport) -> Iterator[str]:
    within = "not known" if found.within_pct is None else f"{found.within_pct:.1f} % of the time"
    yield f"Within    {within}; {found.known_pct:.0f} % of it is on record"
    if found.delivered_kwh is not None:
        yield f"Delivered {found.delivered_kwh:.1f} kWh below the baseline"
    if found.shortfall_kwh > 0:
        yield f"Missing   {found.shortfall_kwh:.2f} kWh, at most {kw(found.worst_shortfall_w)} in an interval"


def _nodes(state: EventState) -> Iterator[str]:
    figures = state.figures
    if figures.starts_stopped:
        yield one_line(f"Nodes     no new jobs on {', '.join(figures.starts_stopped)}")
    if figures.requeued:
        yield one_line(f"Requeued  jobs on {', '.join(figures.requeued)}")


def _interval(one: Settled, zone: tzinfo) -> str:
    when = f"{hour_minute(one.start_utc_s, zone)} – {hour_minute(one.end_utc_s, zone)}"
    figures = (one.import_w, one.limit_w, one.delivered_w, one.shortfall_w)
    shown = ("—" if w is None else kw_column(w) for w in figures)
    return f"{when:<16}" + " ".join(f"{cell:>{w}}" for cell, w in zip(shown, (10, 9, 18, 11), strict=True))


def cost_lines(cost: Cost, shed_kwh: float) -> Iterator[str]:
    """What an event cost, by part."""
    against = "the plan before the notice" if cost.against == "plan" else "the battery at rest: no plan was kept"
    yield f"Cost      {cost.total_eur + 0.0:.2f} EUR against {against}"
    yield (
        f"          energy {cost.energy_eur + 0.0:.2f}, stored energy {cost.stored_eur + 0.0:.2f}, "
        f"wear {cost.wear_eur + 0.0:.2f} EUR"
    )
    if shed_kwh > 0:
        price = "without a price" if cost.compute_eur is None else f"{cost.compute_eur:.2f} EUR"
        yield f"          caps withheld {shed_kwh:.1f} kWh: {price}"
    yield f"          prepared {cost.prepared_kwh:.1f} kWh, discharged {cost.discharged_kwh:.1f} kWh beyond it"
    if cost.unknown_s > 0:
        yield f"          {span(cost.unknown_s)} are not on record and not counted"
    if cost.unpriced_s > 0:
        yield f"          {span(cost.unpriced_s)} have no price on record: at the mean of the rest"


def peak_line(peak: Peak) -> str:
    """Whether the month's peak rose."""
    rise_w = peak.rise_w
    if rise_w is None or peak.before_w is None or peak.after_w is None:
        return "Peak      of the month not known before or after"
    if rise_w <= 0:
        return f"Peak      of the month did not rise: {kw(peak.after_w)}"
    by_plan = (
        "" if peak.by_plan_w is None else f"; by the plan before it, import would have come to {kw(peak.by_plan_w)}"
    )
    cost = "" if peak.rise_eur is None else f", {peak.rise_eur:.2f} EUR"
    return f"Peak      of the month rose from {kw(peak.before_w)} to {kw(peak.after_w)}{cost}{by_plan}"


def _capped(state: EventState, runs: Sequence[CappedRun]) -> Iterator[str]:
    if not state.figures.capped_s:
        yield "Capped    no node"
        return
    nodes = ", ".join(f"{node} {span(s)}" for node, s in sorted(state.figures.capped_s.items()))
    yield one_line(f"Capped    {nodes}")
    for run in runs:
        yield one_line(
            f"          {run.scheduler} {run.job} of {run.user} {run.name}: {span(run.capped_s)} under caps in its "
            f"whole run, {run.withheld_kwh:.1f} kWh withheld, {run.lost_gpu_h:.2f} GPU-h lost"
        )


def report_document(found: EventReport, runs: Sequence[CappedRun], audit_row: int | None) -> dict[str, Any]:
    """The report for a program."""
    made: dict[str, Any] = msgspec.to_builtins(found)
    made["cost"]["total_eur"] = found.cost.total_eur
    made["peak"]["rise_w"] = found.peak.rise_w
    return made | {"capped_runs": msgspec.to_builtins(list(runs)), "audit_row": audit_row}
