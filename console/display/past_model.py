"""The model of a moment of the record, which every view draws as it draws the present. Pure.

What the record does not keep is missing in it, never zero: state words, charges, the islanding view; of records from
before schema 8 also what `storage.context` holds (`PastMark.lacks`). Ratings and limits, and which nodes are critical,
are those of now.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from console.display.audit_rows import audit_lines
from console.display.formats import duration, local
from console.display.language import say, words
from console.display.record_text import gap_texts, how_text
from console.display.viewmodel import (
    DAY_POINTS,
    DAY_STEP_S,
    TREND_POINTS,
    TREND_SIGNALS,
    TREND_STEP_S,
    Model,
    PastMark,
    Point,
    decision_events,
    extended,
    unacknowledged,
    with_events,
    with_history,
)
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm
from dispatch.model.decision import Decision, Mode
from dispatch.model.islanding import DrillReport, IslandState, RideThrough
from dispatch.model.metering_interval import Interval
from dispatch.model.reasons import Reason, RuleId, plain
from gateway.api.protocol import LastDrill, LoopStats, Published, TariffNow
from storage.context import ALARMS as ALARMS_KEPT
from storage.context import KINDS, PLAN
from storage.moment import Moment, PastAlarm
from storage.past import Chart, Past
from storage.past_snapshot import snapshot_at

INTERVAL_SIGNALS = ("interval.limit_w", "interval.left_w", "month.peak_w")  # without them nothing can be drawn
PULSE, PULSE_SIGNAL = "pulse", "site_load.pulse_s"  # 0: none is under way
ALARMS = {definition.id: definition for definition in DEFINITIONS}
DAY_S = 86_400


def past_model(live: Model, found: Past) -> Model:
    """The model of a moment. `live`: that of now, for the devices that the site has, and for what does not change."""
    moment = found.moment
    drills = tuple(report for report in live.drills if report.ended_utc_s <= moment.utc_s)
    published = _published(live.published, found, drills[0] if drills else None)
    how = how_text(moment) if published is not None or not moment.resolution else say("moment.no_limits")
    mark = PastMark(
        utc_s=moment.utc_s,
        record="; ".join((*gap_texts(moment, live.timezone), *([how] if moment.resolution else []))),
        decided=moment.decision is not None,
        lacks=_lacking(found),
        outside_w=found.context.limits.outside_w,
    )
    model = Model(
        welcome=live.welcome,
        published=published,
        plan=found.context.plan,
        no_plan=words(found.context.no_plan) if PLAN in found.context.kinds else say("moment.no_plan"),
        trend=_points(found.trend, found.latest, TREND_STEP_S, TREND_POINTS),
        day=_points(found.day, found.latest, DAY_STEP_S, DAY_POINTS),
        events=with_events(found.events, decision_events(found.decisions)[1:]),
        audit=audit_lines(found.audit),
        report=drills[0] if drills else None,
        drills=drills,
        past=mark,
    )
    return seen_from(live, model)


def seen_from(live: Model, past: Model) -> Model:
    """The past with what is of now: which view is open, the answer to a command, the link, and how the site stands."""
    assert past.past is not None
    state = "" if live.published is None else live.published.decision.island.value
    waiting = 0 if live.published is None else len(unacknowledged(live.published.alarms))
    now_s, then_s = live.now_utc_s or past.past.utc_s, past.past.utc_s
    mark = msgspec.structs.replace(
        past.past,
        ago=ago_text(now_s - then_s),
        other_day=local(now_s, live.timezone).date() != local(then_s, live.timezone).date(),
        now_state=state,
        now_waiting=waiting,
    )
    return msgspec.structs.replace(
        past,
        view=live.view,
        notice=live.notice,
        link=live.link,
        link_note=live.link_note,
        age_s=live.age_s,
        role=live.role,
        slow_link=live.slow_link,
        past=mark,
    )


def ago_text(seconds: float) -> str:
    """How long ago, in at most ten characters: "48 s", "14 min", "2 h 06", "27 d"."""
    return say("moment.days", n=int(seconds // DAY_S)) if seconds >= 2 * DAY_S else duration(seconds)


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _lacking(found: Past) -> frozenset[str]:
    """What is not on record of then."""
    known = found.moment.resolution == "raw" and _value(found.moment, PULSE_SIGNAL) is not None
    pulse = set() if known else {PULSE}
    return frozenset(KINDS - found.context.kinds | pulse)


def _published(now: Published | None, found: Past, drill: DrillReport | None) -> Published | None:
    """What a console would have been told; None where nothing is on record, or too little."""
    moment, context = found.moment, found.context
    if now is None or any(_value(moment, name) is None for name in INTERVAL_SIGNALS):
        return None
    return Published(
        snapshot=snapshot_at(moment, now.snapshot, context.links),
        decision=msgspec.structs.replace(moment.decision or _not_on_record(moment.utc_s), ride=_ride(found)),
        alarms=context.alarms.listed if ALARMS_KEPT in context.kinds else tuple(map(_alarm, moment.alarms)),
        interval=_interval(moment, now.interval.length_s, context.limits.peak),
        month_peak_w=_value(moment, "month.peak_w") or 0.0,
        tariff=TariffNow(_value(moment, "price.eur_per_kwh"), *msgspec.structs.astuple(context.prices)),
        loop=LoopStats(),
        pulse_since_utc_s=_pulse_since_utc_s(moment),
        orders=tuple(msgspec.structs.replace(o, ends_mono_s=o.ends_utc_s - moment.utc_s) for o in context.orders),
        month_unmeasured_s=3600 * (_value(moment, "month.unmeasured_h") or 0.0),
        shelved=context.alarms.shelved,
        first_out=context.alarms.first_out,
        last_drill=None
        if drill is None
        else LastDrill(drill.ended_utc_s, drill.minutes, drill.result, drill.why, drill.who),
    )


def _value(moment: Moment, name: str) -> float | None:
    value = moment.values.get(name)
    return None if value is None else value.value


def _not_on_record(utc_s: float) -> Decision:
    return Decision(
        seq=0,
        utc_s=utc_s,
        mode=Mode.OBSERVE,
        island=IslandState.UNKNOWN,
        setpoints=(),
        battery_w=None,
        net_load_w=None,
        import_target_w=None,
        binding=RuleId.IDLE,
        reason=plain(say("moment.no_decision")),
    )


def _pulse_since_utc_s(moment: Moment) -> float | None:
    """When the load pulse began that was under way; None: none was, or that is not on record."""
    value = moment.values.get(PULSE_SIGNAL)
    if value is None or not value.value or moment.resolution != "raw":  # a mean says nothing
        return None
    return moment.utc_s - (value.age_s or 0.0) - value.value


def _ride(found: Past) -> RideThrough | None:
    """Ride-through: the step as it was kept, times and powers as signals."""
    then, moment = found.context.ride, found.moment
    if then is None:
        return None
    return RideThrough(
        runtime_s=_value(moment, "decision.runtime_s"),
        low_s=_value(moment, "decision.runtime_low_s"),
        promised_left_s=_value(moment, "decision.promised_left_s"),
        draw_w=_value(moment, "decision.carried_w"),
        wh_per_pct=math.inf,  # not kept, nor shown
        learnt_pct=math.inf,
        rung=then.rung,
        rung_name=then.rung_name,
        why=then.why,
        most_w=_value(moment, "decision.deliverable_w"),
        shutdown_in_s=_value(moment, "decision.shutdown_in_s"),
        rungs=then.rungs,
        lacks=then.lacks,
    )


def _interval(moment: Moment, length_s: float, peak: Reason | None) -> Interval:
    """The metering interval. Means of its energy and of what was not measured are of no moment: then that is not known.

    Nor is that kept in records from before schema 8, nor the peak that must not be exceeded: infinite ones say so.
    """
    energy_wh, unknown_s = (
        _value(moment, name) if moment.resolution == "raw" else None
        for name in ("interval.energy_wh", "interval.unknown_s")
    )
    guard_w = _value(moment, "interval.guard_w")
    return Interval(
        start_utc_s=moment.utc_s // length_s * length_s,
        length_s=length_s,
        energy_wh=energy_wh or 0.0,
        unknown_s=math.inf if unknown_s is None else unknown_s,
        limit_w=_value(moment, "interval.limit_w") or 0.0,
        left_w=_value(moment, "interval.left_w") or 0.0,
        guard_w=math.inf if guard_w is None else guard_w,
        guard_peak=peak,
        never_read=energy_wh is None,
    )


def _alarm(kept: PastAlarm) -> Alarm:
    """An alarm as its events in a record of before schema 8 say. Its priority is the catalogue's, not that of then."""
    known = ALARMS.get(kept.id.partition(":")[0])
    return Alarm(
        id=kept.id,
        priority=Priority.MEDIUM if known is None else known.priority,
        state=kept.state,
        since_utc_s=kept.since_utc_s,
        acknowledged_by=kept.acknowledged_by,
    )


def _points(chart: Chart, latest: Chart, step_s: int, keep: int) -> tuple[Point, ...]:
    """A trend as a console that had listened would have it: steps that were over, then the seconds of the last one."""
    trend = with_history((), chart.t, chart.signals, step_s)
    for utc_s, load_w, grid_w, soc_pct, hz in _samples(latest):
        trend = extended(trend, utc_s, load_w, grid_w, soc_pct, step_s=step_s, keep=keep, hz=hz)
    return trend


def _samples(latest: Chart) -> Iterator[tuple[float, float | None, float | None, float | None, float | None]]:
    """Time, load, import, SoC and frequency of each second that is on record."""
    empty: tuple[float | None, ...] = (None,) * len(latest.t)
    columns = [latest.signals.get(name, empty) for name in TREND_SIGNALS]
    for utc_s, *values in zip(latest.t, *columns, strict=True):
        if any(value is not None for value in values):
            yield utc_s, values[0], values[1], values[2], values[3]
