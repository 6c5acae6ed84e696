"""The life of a grid event: its phase at a time, the limit that it sets, and what is measured of it.

Everything follows from the event and the time, so a clock that is set, or a restart, leaves no phase behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from dispatch.events.model import ORDER, EventFigures, EventState, Phase
from dispatch.model.plan import Plan
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.wording.formatting import kw

RAMP_STEP_S = 60.0  # the limit rises once a minute
AIM_DEADBANDS = 1.5  # so far below the target the controller aims: setpoints follow import only beyond the deadband
PIECE_S = 900.0  # a plan knows the ramp by quarter hours


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What an event needs to know of a tick. None: not known."""

    utc_s: float
    dt_s: float = 0.0  # since the tick before; a longer gap is not known
    import_w: float | None = None
    without_battery_w: float | None = None  # import without the battery, mean of the last five minutes
    soc_pct: float | None = None
    month_peak_w: float = 0.0
    contracted_peak_w: float = 0.0
    shed_w: float = 0.0  # what caps take of the nodes
    capped: tuple[str, ...] = ()
    starts_stopped: tuple[str, ...] = ()  # nodes that start no jobs for a limit of import
    requeued: tuple[str, ...] = ()  # nodes whose jobs were requeued for it
    plan: Plan | None = None  # in force


def phase_at(state: EventState, utc_s: float) -> Phase:
    """The phase at an instant."""
    event, aborted = state.event, state.aborted_utc_s is not None
    if aborted and (state.at_once or state.end_utc_s <= event.start_utc_s):
        return Phase.ABORTED
    if utc_s < event.notice_utc_s:
        return Phase.ANNOUNCED
    if utc_s < event.start_utc_s:
        return Phase.PREPARING
    if utc_s < state.end_utc_s:
        return Phase.HELD
    if utc_s < state.lifted_utc_s:
        return Phase.ENDING
    return Phase.ABORTED if aborted else Phase.OVER


def advanced(state: EventState, now: Moment) -> EventState:
    """The event after a tick: its phase, its target once that is known, its figures."""
    phase = phase_at(state, now.utc_s)
    if phase is Phase.ANNOUNCED:
        return msgspec.structs.replace(state, phase=phase)
    if phase in (Phase.PREPARING, Phase.HELD):
        state = _with_target(state, now)
    if phase is Phase.ENDING and state.phase is not Phase.ENDING:
        state = msgspec.structs.replace(state, usual_w=usual_w(state.limit_w, now))
    over_utc_s = now.utc_s if phase in (Phase.OVER, Phase.ABORTED) else None
    state = msgspec.structs.replace(
        state, phase=phase, over_utc_s=over_utc_s, figures=_measured(state, phase, now), over_limit_w=None
    )
    if phase is Phase.HELD and state.limit_w is not None and now.import_w is not None:
        state = msgspec.structs.replace(state, over_limit_w=max(0.0, now.import_w - state.limit_w))
    return state


def usual_w(limit_w: float | None, now: Moment) -> float:
    """To what import returns after an event: the month's peak so far if that is above the target, else the contract."""
    least_w = limit_w or 0.0
    return now.month_peak_w if now.month_peak_w > least_w else max(now.contracted_peak_w, least_w)


def limit_at(state: EventState, utc_s: float) -> float:
    """The import that the event allows at an instant, W; infinite: it sets no limit."""
    phase, limit_w = phase_at(state, utc_s), state.limit_w
    if limit_w is None or phase not in (Phase.HELD, Phase.ENDING):
        return math.inf
    if phase is Phase.HELD:
        return limit_w
    steps = max(1, math.ceil(state.event.ramp_s / RAMP_STEP_S))
    step = min(math.floor((utc_s - state.end_utc_s) / RAMP_STEP_S) + 1, steps)
    return _risen_w(state, limit_w, step / (steps + 1))


def limits_now(states: Iterable[EventState], utc_s: float, below_w: float = 0.0) -> tuple[Signal, ...]:
    """What controller and caps are to keep now. While an event by a signal is held, the signal itself limits.

    `below_w`: so far below the target the controller is to aim, so that what its setpoints leave open keeps it, too.
    """
    found = []
    for state in states:
        limit_w = limit_at(state, utc_s)
        if limit_w < math.inf and not (state.event.signal and phase_at(state, utc_s) is Phase.HELD):
            found.append(_aimed(state, limit_w, below_w))
    return tuple(found)


def limits_ahead(states: Iterable[EventState]) -> tuple[Signal, ...]:
    """What plan and starts of jobs are to keep, from the notice of each event on: does not change from tick to tick."""
    return tuple(signal for state in states for signal in _ahead(state))


def _ahead(state: EventState) -> Iterator[Signal]:
    limit_w, event = state.limit_w, state.event
    if limit_w is None or state.phase not in (Phase.PREPARING, Phase.HELD, Phase.ENDING):
        return
    if not event.signal:
        yield _signal(state, limit_w, event.start_utc_s, state.end_utc_s)
    ramp_s = state.lifted_utc_s - state.end_utc_s
    pieces = math.ceil(ramp_s / PIECE_S)
    for k in range(pieces):
        begin_s = state.end_utc_s + k * ramp_s / pieces
        yield _signal(state, _risen_w(state, limit_w, (k + 0.5) / pieces), begin_s, begin_s + ramp_s / pieces)


def _risen_w(state: EventState, limit_w: float, share: float) -> float:
    top_w = limit_w if state.usual_w is None else max(limit_w, state.usual_w)
    return limit_w + share * (top_w - limit_w)


def _aimed(state: EventState, limit_w: float, below_w: float) -> Signal:
    """What controller and caps are to keep for a limit; where that is less, the id says the limit, too."""
    signal = _signal(state, max(0.0, limit_w - below_w), state.event.start_utc_s, state.lifted_utc_s)
    return signal if below_w <= 0 else msgspec.structs.replace(signal, id=f"{signal.id} (limit {kw(limit_w)})")


def _signal(state: EventState, limit_w: float, start_utc_s: float, end_utc_s: float) -> Signal:
    """The limit as rules and plan know limits: with those of markets, after reserve and manual orders."""
    event = state.event
    return Signal(
        id=event.id,
        sort=Sort.ORDER,
        sender="grid event",
        quantity=Quantity.IMPORT,
        limit_w=limit_w,
        start_utc_s=start_utc_s,
        end_utc_s=end_utc_s,
        given_utc_s=event.given_utc_s,
        who=event.who if event.source == ORDER else "",
    )


def _with_target(state: EventState, now: Moment) -> EventState:
    """The target, once it can be known: at the notice, or when import is known first after it."""
    if state.limit_w is not None:
        return state
    event, limit_w, baseline_w = state.event, state.event.limit_w, now.without_battery_w
    if limit_w is None and event.drop_w is not None and baseline_w is not None:
        limit_w = max(0.0, baseline_w - event.drop_w)
    if limit_w is None:
        return state
    figures = msgspec.structs.replace(
        state.figures, soc_at_notice_pct=now.soc_pct, month_peak_at_notice_w=now.month_peak_w
    )
    steps = () if now.plan is None else tuple(s for s in now.plan.steps if s.start_utc_s + PIECE_S > now.utc_s)
    return msgspec.structs.replace(
        state,
        limit_w=limit_w,
        baseline_w=baseline_w,
        usual_w=usual_w(limit_w, now),
        figures=figures,
        plan_before=tuple(float(round(step.battery_w)) for step in steps),
        plan_before_utc_s=steps[0].start_utc_s if steps else None,
    )


def _measured(state: EventState, phase: Phase, now: Moment) -> EventFigures:
    figures = state.figures
    if phase in (Phase.HELD, Phase.ENDING):
        figures = _with_nodes(_with_caps(figures, now), now)
    if phase is not state.phase:
        figures = msgspec.structs.replace(figures, **_at_change(phase, now))
    if phase is not Phase.HELD:
        return figures
    figures = msgspec.structs.replace(figures, held_s=figures.held_s + now.dt_s)
    if now.import_w is None or state.limit_w is None:
        return figures
    over_w, hours = max(0.0, now.import_w - state.limit_w), now.dt_s / 3600
    return msgspec.structs.replace(
        figures,
        known_s=figures.known_s + now.dt_s,
        import_wh=figures.import_wh + max(0.0, now.import_w) * hours,
        over_wh=figures.over_wh + over_w * hours,
        over_s=figures.over_s + (now.dt_s if over_w > 0 else 0.0),
        worst_w=now.import_w if figures.worst_w is None else max(figures.worst_w, now.import_w),
    )


def _with_caps(figures: EventFigures, now: Moment) -> EventFigures:
    capped_s = {**figures.capped_s, **{id: figures.capped_s.get(id, 0.0) + now.dt_s for id in now.capped}}
    shed_wh = figures.shed_wh + now.shed_w * now.dt_s / 3600
    return msgspec.structs.replace(figures, capped_s=capped_s, shed_wh=shed_wh)


def _with_nodes(figures: EventFigures, now: Moment) -> EventFigures:
    def and_now(before: tuple[str, ...], ids: tuple[str, ...]) -> tuple[str, ...]:
        return before if set(ids) <= set(before) else tuple(dict.fromkeys((*before, *ids)))

    return msgspec.structs.replace(
        figures,
        starts_stopped=and_now(figures.starts_stopped, now.starts_stopped),
        requeued=and_now(figures.requeued, now.requeued),
    )


def _at_change(phase: Phase, now: Moment) -> Mapping[str, float | None]:
    match phase:
        case Phase.HELD:
            return {"soc_at_start_pct": now.soc_pct, "month_peak_at_start_w": now.month_peak_w}
        case Phase.ENDING:
            return {"soc_at_end_pct": now.soc_pct, "month_peak_at_end_w": now.month_peak_w}
        case Phase.OVER | Phase.ABORTED:
            return {"month_peak_after_w": now.month_peak_w}
    return {}
