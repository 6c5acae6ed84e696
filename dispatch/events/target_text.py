"""What import is to keep to under a grid event, in words: the same on screens, command line and record."""

from __future__ import annotations

from dispatch.events.model import EventState, GridEvent
from dispatch.wording.formatting import kw


def target_text(event: GridEvent, state: EventState | None = None, *, than: bool = False) -> str:
    """ "import at most 20.0 kW (12.0 kW lower)"; of a drop whose limit is not known yet "import 12.0 kW lower".

    state: how far the event is, which may know the limit of a drop. than: says than what.
    """
    limit_w = event.limit_w if state is None or state.limit_w is None else state.limit_w
    if event.drop_w is None:
        return f"import at most {kw(limit_w or 0.0)}"
    lower = f"{kw(event.drop_w)} lower{f' than {_baseline(event, state)}' if than else ''}"
    return f"import {lower}" if limit_w is None else f"import at most {kw(limit_w)} ({lower})"


def _baseline(event: GridEvent, state: EventState | None) -> str:
    """What a drop is taken from."""
    means = "the 5 min before its notice" if event.baseline == "before-notice" else "similar days"
    known_w = None if state is None else state.baseline_w
    return means if known_w is None else f"the {kw(known_w)} of {means}"
