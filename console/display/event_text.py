"""Grid events in words: the limit, its time, and what the site does about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import Zone, hour_minute_zone
from console.display.signal_text import NEAR_W, moment_words
from dispatch.events.model import EventState, Phase
from dispatch.events.target_text import target_text
from dispatch.wording.formatting import kw

ORDER = (Phase.HELD, Phase.ENDING, Phase.PREPARING, Phase.ANNOUNCED, Phase.OVER, Phase.ABORTED)


def most_pressing_event(states: Sequence[EventState]) -> EventState | None:
    """The one to show where there is room for one: held first, then ending, preparing, announced; of these the next."""
    return min(states, key=lambda state: (ORDER.index(state.phase), state.event.start_utc_s), default=None)


def event_words(state: EventState, now_utc_s: float, zone: Zone) -> str:
    """One line: "import at most 40.0 kW until 20:00 CET, 3.1 kW over, asked by otto: the utility called"."""
    event = state.event
    parts = [f"{target_text(event, state)} {_time(state, now_utc_s, zone)}"]
    if state.over_limit_w is not None and state.over_limit_w > NEAR_W:
        parts.append(f"{kw(state.over_limit_w)} over")
    whose = f"signal {event.signal} of {event.who}" if event.signal else f"asked by {event.who}"
    parts.append(f"a rehearsal {whose}" if event.rehearsal else whose)
    return ", ".join(parts) + (f": {event.reason}" if event.reason else "")


def _time(state: EventState, now_utc_s: float, zone: Zone) -> str:
    start = moment_words(state.event.start_utc_s, now_utc_s, zone)
    end = moment_words(state.end_utc_s, now_utc_s, zone)
    match state.phase:
        case Phase.ANNOUNCED:
            notice = moment_words(state.event.notice_utc_s, now_utc_s, zone)
            return f"from {start} until {end}, prepared for from {notice}"
        case Phase.PREPARING:
            return f"from {start} until {end}, the site prepares"
        case Phase.HELD:
            return f"until {end}"
    return f"is over, the limit rises until {hour_minute_zone(state.lifted_utc_s, zone)}"
