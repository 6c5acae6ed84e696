"""Defines grid events: what is asked, the phase of each, and what is measured for its report.

Powers are W >= 0 at the PCC, import > 0. Times are UTC.
"""

from __future__ import annotations

import enum

import msgspec

RAMP_S = 900.0  # from the target back to the usual limit, where nothing else is asked


class Phase(enum.Enum):
    """Where an event is in its life."""

    ANNOUNCED = "announced"  # accepted; nothing is done before its notice
    PREPARING = "preparing"  # from the notice on: the plan stores energy, and jobs that would reach into it wait
    HELD = "held"  # from start to end
    ENDING = "ending"  # the limit rises in steps
    OVER = "over"
    ABORTED = "aborted"


STANDING = frozenset({Phase.ANNOUNCED, Phase.PREPARING, Phase.HELD, Phase.ENDING})
ORDER = "order"  # the source of an operator's event; that of a signal is its sort


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator asks: `limit_w` (drop to) or `drop_w` (drop by), not both.

    `start_utc_s` None: at once. `end_utc_s` None is refused. `notice_s`: how long before the start the site prepares;
    None: from now on.
    """

    limit_w: float | None = None
    drop_w: float | None = None
    start_utc_s: float | None = None
    end_utc_s: float | None = None
    notice_s: float | None = None
    ramp_s: float = RAMP_S
    baseline: str = "before-notice"  # of `drop_w`: that, or "similar-days"
    reason: str = ""
    rehearsal: bool = False


class GridEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it was accepted."""

    id: str
    source: str  # "order", "market" or "obligation"
    who: str  # the operator or the sender
    reason: str = ""
    limit_w: float | None = None  # import at most; None: `drop_w` below the baseline
    drop_w: float | None = None
    baseline: str = "before-notice"
    given_utc_s: float
    notice_utc_s: float  # nothing is done before it; the baseline ends here
    start_utc_s: float
    end_utc_s: float
    ramp_s: float = RAMP_S
    rehearsal: bool = False
    signal: str = ""  # the id of the signal that it follows; empty: none


class EventFigures(msgspec.Struct, frozen=True):
    """What was measured of an event. Import and what is above the limit only while it is held; the rest says when."""

    held_s: float = 0.0
    known_s: float = 0.0  # of that, with a known import
    import_wh: float = 0.0
    over_wh: float = 0.0  # above the limit
    over_s: float = 0.0
    worst_w: float | None = None  # the highest import
    soc_at_notice_pct: float | None = None
    soc_at_start_pct: float | None = None
    soc_at_end_pct: float | None = None
    month_peak_at_notice_w: float | None = None
    month_peak_at_start_w: float | None = None
    month_peak_at_end_w: float | None = None
    month_peak_after_w: float | None = None  # once its ramp is over
    capped_s: dict[str, float] = {}  # by node, while held or ending
    shed_wh: float = 0.0  # what caps took of the nodes in that time
    starts_stopped: tuple[str, ...] = ()  # nodes that started no jobs for it in that time
    requeued: tuple[str, ...] = ()  # nodes whose jobs went back to the queue for it


class EventState(msgspec.Struct, frozen=True, kw_only=True):
    """An event and how far it is."""

    event: GridEvent
    phase: Phase = Phase.ANNOUNCED
    limit_w: float | None = None  # that is to be held; None: not known before the notice, or without a baseline
    baseline_w: float | None = None  # import without the battery, mean up to the notice
    usual_w: float | None = None  # to which the limit rises at the end
    aborted_utc_s: float | None = None  # from then on it ends in steps, as at its end
    aborted_by: str = ""
    abort_reason: str = ""
    at_once: bool = False  # aborted without steps
    over_utc_s: float | None = None  # when it was over or aborted
    figures: EventFigures = EventFigures()
    plan_before: tuple[float, ...] = ()  # battery power of the plan in force at the notice, by quarter hour
    plan_before_utc_s: float | None = None  # where its first one begins
    over_limit_w: float | None = None  # by how much import is above the limit now; None: not held, or not known

    @property
    def end_utc_s(self) -> float:
        """When the limit begins to rise."""
        aborted_utc_s = self.aborted_utc_s
        return self.event.end_utc_s if aborted_utc_s is None else min(self.event.end_utc_s, aborted_utc_s)

    @property
    def lifted_utc_s(self) -> float:
        """When nothing is limited any more."""
        return self.end_utc_s if self.at_once else self.end_utc_s + self.event.ramp_s


class KeptEvents(msgspec.Struct, frozen=True):
    """What outlives a restart."""

    standing: tuple[EventState, ...] = ()
    ended: tuple[EventState, ...] = ()  # the last ones, oldest first
    number: int = 0  # of the last event
