"""The grid events that stand, shared by commands and control loop; each change of phase goes on record.

They outlive the gateway: each change is saved at once, what is measured of them once a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from dispatch.events.book import EventBook, Judged
from dispatch.events.life_cycle import AIM_DEADBANDS, Moment, limits_ahead, limits_now, phase_at
from dispatch.events.model import EventState, GridEvent, KeptEvents, Phase, Wanted
from dispatch.events.recent_import import RecentImport
from dispatch.events.target_text import target_text
from dispatch.model.clock import Clock
from dispatch.model.islanding import FOR_EVENT, NodeOrder
from dispatch.model.plan import Plan
from dispatch.model.power_caps import CapsView
from dispatch.model.reasons import Reason
from dispatch.model.signals import Signal
from dispatch.model.snapshot import Snapshot
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.signal_book import SiteLimits
from dispatch.wording.formatting import kw, one_line, span
from gateway.event_sink import EventSink
from storage.audit import AuditLog

STATE = "grid_events"  # under which the record keeps them
SAVED_S = 60.0  # site seconds between two saves of what is measured
LONGEST_GAP_S = 10.0  # between two ticks; what was measured in a longer one is not known


class Site(msgspec.Struct, frozen=True):
    """What of the site events need at a tick besides the snapshot."""

    soc_pct: float | None
    month_peak_w: float
    caps: CapsView | None
    plan: Plan | None
    nodes: tuple[NodeOrder, ...] = ()  # what is asked of nodes


class GridEventsInForce:
    """Takes what people ask about grid events, and moves them on with each tick."""

    def __init__(
        self,
        limits: SiteLimits,
        contracted_peak_w: float,
        deadband_w: float,
        clock: Clock,
        *,
        events: EventSink,
        audit: AuditLog,
        save: Callable[[str, Any], None],
        note: Callable[[str, Any], None],
        kept: KeptEvents,
    ) -> None:
        """`save` keeps a state of this name at once, `note` with what is recorded anyway."""
        self._contracted_peak_w, self._clock = contracted_peak_w, clock
        self._aim_below_w = AIM_DEADBANDS * deadband_w
        self._events, self._audit, self._save, self._note = events, audit, save, note
        self._book = EventBook(limits)
        self._recent = RecentImport()
        self._moment: Moment | None = None  # of the last tick with a known clock
        self._last_s: float | None = None
        self._saved_s = clock.mono_s()
        self._ahead: tuple[Signal, ...] = ()
        self.adopt(kept)

    def adopt(self, kept: KeptEvents) -> None:
        """Take over what an earlier run kept."""
        self._book.adopt(kept)
        self._ahead = limits_ahead(self._book.standing)

    # ── what stands ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def standing(self) -> tuple[EventState, ...]:
        """Every event that is not over, by its start."""
        return self._book.standing

    @property
    def shown(self) -> tuple[EventState, ...]:
        """The same without the plan before each, which consoles do not need many times a second."""
        return tuple([msgspec.structs.replace(state, plan_before=()) for state in self._book.standing])

    @property
    def ended(self) -> tuple[EventState, ...]:
        """The last ones that are over."""
        return self._book.ended

    def active(self) -> tuple[Signal, ...]:
        """The limits of import that the controller is to keep now: a little below those of the events."""
        return limits_now(self._book.standing, self._clock.utc_s(), self._aim_below_w)

    def held(self) -> tuple[Signal, ...]:
        """Those of them whose event is held: what is measured against a limit that stands still."""
        utc_s = self._clock.utc_s()
        return limits_now((s for s in self._book.standing if phase_at(s, utc_s) is Phase.HELD), utc_s)

    def ahead(self) -> tuple[Signal, ...]:
        """The limits that events set until they are over, as plan and starts of jobs know them."""
        return self._ahead

    def find(self, id: str) -> EventState:
        """The event of this id that is not over. Raises LookupError with a line for a person."""
        return self._book.find(id)

    # ── what changes it ─────────────────────────────────────────────────────────────────────────────────────────────

    def judge(self, wanted: Wanted, who: str) -> Judged:
        """What would come of it, without taking it. Raises OrderRefused."""
        if self._moment is None:
            raise OrderRefused(Reason("refused.event_clock"))
        judged = self._book.judge(wanted, who, self._clock.utc_s())
        if judged.event.drop_w is None or self._recent.mean_w is not None:
            return judged
        return msgspec.structs.replace(judged, notes=(*judged.notes, Reason("event.baseline_unknown")))

    def start(self, wanted: Wanted, who: str) -> EventState:
        """Take one in; it is in force from the next tick on, if its time is now. Raises OrderRefused."""
        if self._moment is None:
            raise OrderRefused(Reason("refused.event_clock"))
        judged = self._book.start(wanted, who, self._clock.utc_s())
        now = msgspec.structs.replace(self._moment, utc_s=self._clock.utc_s(), dt_s=0.0)
        self._turn(now, self._book.find(judged.event.id), f"accepted, asked by {who}")
        self._keep()
        return self._book.find(judged.event.id)

    def abort(self, id: str, who: str, reason: str) -> EventState:
        """End one. Raises LookupError."""
        state = self._book.abort(id, who, reason, self._clock.utc_s())
        said = f"aborted by {who}{': ' if reason else ''}{reason}"
        if self._moment is None:
            self._tell(state, said)
        else:
            self._turn(msgspec.structs.replace(self._moment, utc_s=self._clock.utc_s(), dt_s=0.0), state, said)
        self._keep()
        return next((s for s in (*self._book.standing, *self._book.ended) if s.event.id == id), state)

    def advance(self, snapshot: Snapshot, signals: Sequence[Signal], site: Site) -> None:
        """Once per tick, with what was decided and the signals that are not over."""
        mono_s, grid_w, pcs_w = snapshot.mono_s, snapshot.grid.w.good, snapshot.pcs_w
        self._recent.add(mono_s, grid_w, pcs_w)
        dt_s = 0.0 if self._last_s is None else mono_s - self._last_s
        self._last_s = mono_s
        if not snapshot.utc_known:
            return
        self._book.follow(signals, self._clock.utc_s())
        caps, asked = site.caps, [order for order in site.nodes if order.reason == FOR_EVENT]
        self._moment = Moment(
            utc_s=self._clock.utc_s(),
            dt_s=dt_s if 0 < dt_s <= LONGEST_GAP_S else 0.0,
            import_w=grid_w,
            without_battery_w=self._recent.mean_w,
            soc_pct=site.soc_pct,
            month_peak_w=site.month_peak_w,
            contracted_peak_w=self._contracted_peak_w,
            shed_w=0.0 if caps is None else caps.shed_w,
            capped=() if caps is None else tuple(id for id, _ in caps.nodes),
            starts_stopped=tuple(order.device_id for order in asked if order.starts_stopped),
            requeued=tuple(order.device_id for order in asked if order.requeued),
            plan=site.plan,
        )
        self._turn(self._moment)
        if self._book.standing and mono_s - self._saved_s >= SAVED_S:
            self._saved_s = mono_s
            self._note(STATE, msgspec.to_builtins(self._book.keep()))

    def _turn(self, now: Moment, taken: EventState | None = None, said: str = "") -> None:
        """Move every event on, and tell what has changed; of one just `taken` in or aborted, what is `said` first."""
        changed = self._book.advance(now)
        told = {} if taken is None else {taken.event.id: (taken, [said])}
        for before, after in changed:
            _, words = told.get(after.event.id, (after, []))
            if after.phase is not before.phase:
                words.append(_change_words(after))
            elif after.event.drop_w is not None:
                words.append(f"its target is known: {_target_words(after)}")
            told[after.event.id] = after, words
        for state, words in told.values():
            if words:
                self._tell(state, "; ".join(words))
        if changed:
            self._keep()
        self._ahead = limits_ahead(self._book.standing)

    # ── the record ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self) -> None:
        self._save(STATE, msgspec.to_builtins(self._book.keep()))

    def _tell(self, state: EventState, what: str) -> None:
        event = state.event
        text = f"grid event {described(event)}: {what}"
        self._events.event("command", "info", "grid event", text, event.who)
        row = {"kind": "grid event", "who": event.who, "text": text, "reason": event.reason}
        self._audit.spool(row | {"outcome": state.phase.value, "grid_event": msgspec.to_builtins(state)})


def described(event: GridEvent) -> str:
    """An event in words: its id, whose, what, from when to when."""
    whose = f"{'rehearsal' if event.rehearsal else event.source} of {one_line(event.who)}"
    return f"{event.id} ({whose}): {target_text(event)} from {_utc(event.start_utc_s)} to {_utc(event.end_utc_s)}"


def _change_words(state: EventState) -> str:
    match state.phase:
        case Phase.ANNOUNCED:
            return f"announced; nothing is done before {_utc(state.event.notice_utc_s)}"
        case Phase.PREPARING:
            return f"the site prepares: {_target_words(state)}"
        case Phase.HELD:
            return f"begins: {_target_words(state)}"
        case Phase.ENDING:
            return f"ends; the limit rises for {span(state.event.ramp_s)}. {_held_words(state)}"
        case Phase.OVER:
            return "is over"
        case Phase.ABORTED:
            return f"aborted. {_held_words(state)}"


def _target_words(state: EventState) -> str:
    if state.limit_w is None:
        return "its target is not known yet: import without the battery must be known for a minute"
    return target_text(state.event, state, than=True)


def _held_words(state: EventState) -> str:
    figures = state.figures
    if not figures.known_s or figures.worst_w is None:
        return "Nothing was held"
    mean_w = figures.import_wh / figures.known_s * 3600
    over = f"{figures.over_wh / 1000:.2f} kWh in {span(figures.over_s)} above the limit" if figures.over_wh else "kept"
    return f"Held for {span(figures.held_s)}: mean {kw(mean_w)}, most {kw(figures.worst_w)}; {over}"


def kept_events(state: Any) -> KeptEvents:
    """What the record keeps; nothing where it has none. Raises msgspec.ValidationError."""
    return KeptEvents() if state is None else msgspec.convert(state, KeptEvents)


def _utc(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
