"""Grid events in words: the limit, its time, and what the site does about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import Zone, hour_minute_zone
from console.display.language import say
from console.display.signal_text import NEAR_W, moment_words
from dispatch.events.model import EventState, Phase
from dispatch.wording.formatting import kw

ORDER = (Phase.HELD, Phase.ENDING, Phase.PREPARING, Phase.ANNOUNCED, Phase.OVER, Phase.ABORTED)


def most_pressing_event(states: Sequence[EventState]) -> EventState | None:
    """The one to show where there is room for one: held first, then ending, preparing, announced; of these the next."""
    return min(states, key=lambda state: (ORDER.index(state.phase), state.event.start_utc_s), default=None)


def event_words(state: EventState, now_utc_s: float, zone: Zone) -> str:
    """One line: "import at most 40.0 kW until 20:00 CET, 3.1 kW over, asked by otto: the utility called"."""
    event = state.event
    parts = [f"{_target(state)} {_time(state, now_utc_s, zone)}"]
    if state.over_limit_w is not None and state.over_limit_w > NEAR_W:
        parts.append(say("signal.over", w=kw(state.over_limit_w)))
    if event.signal:
        whose = say("event.signal", signal=event.signal, who=event.who)
    else:
        whose = say("event.asked_by", who=event.who)
    parts.append(say("event.rehearsal", what=whose) if event.rehearsal else whose)
    return ", ".join(parts) + (f": {event.reason}" if event.reason else "")


def _target(state: EventState) -> str:
    """What import is to keep to; as `dispatch.events.target_text` writes it for the record."""
    event = state.event
    limit_w = event.limit_w if state.limit_w is None else state.limit_w
    if event.drop_w is None:
        return say("event.at_most", limit=kw(limit_w or 0.0))
    if limit_w is None:
        return say("event.lower", drop=kw(event.drop_w))
    return say("event.at_most_lower", limit=kw(limit_w), drop=kw(event.drop_w))


def _time(state: EventState, now_utc_s: float, zone: Zone) -> str:
    start = moment_words(state.event.start_utc_s, now_utc_s, zone)
    end = moment_words(state.end_utc_s, now_utc_s, zone)
    match state.phase:
        case Phase.ANNOUNCED:
            notice = moment_words(state.event.notice_utc_s, now_utc_s, zone)
            return say("event.from_until", start=start, end=end, notice=notice)
        case Phase.PREPARING:
            return say("event.preparing", start=start, end=end)
        case Phase.HELD:
            return say("event.until", end=end)
    return say("event.over", end=hour_minute_zone(state.lifted_utc_s, zone))
