"""Keeps the grid events of a site: judges what operators ask, follows signals, and moves each through its life.

What contradicts itself is defined: of several events at a time the lowest limit counts. One of an operator that is
covered in time by a newer one of an operator is replaced by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from dispatch.events.life_cycle import Moment, advanced, phase_at
from dispatch.events.model import ORDER, STANDING, EventState, GridEvent, KeptEvents, Phase, Wanted
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.signal_book import SiteLimits

LONGEST_S = 24 * 3600.0  # of an operator's event
LONGEST_RAMP_S = 4 * 3600.0
AHEAD_S = 7 * 86_400.0  # how long before its start one is accepted
MOST = 32  # that stand at once
KEPT = 32  # that have ended
BASELINES = ("before-notice",)
FOLLOWED = frozenset({Sort.MARKET, Sort.OBLIGATION})  # signals of these sorts that limit import are events


class Judged(msgspec.Struct, frozen=True):
    """What an operator asks, as it would be accepted. `notes` say what there is to know before."""

    event: GridEvent
    replaces: tuple[EventState, ...] = ()
    notes: tuple[Reason, ...] = ()


class EventBook:
    """The grid events of a site. Holds no clock: the caller says what time it is."""

    def __init__(self, limits: SiteLimits) -> None:
        self._limits = limits
        self._standing: dict[str, EventState] = {}
        self._ended: list[EventState] = []
        self._number = 0

    @property
    def standing(self) -> tuple[EventState, ...]:
        """Every event that is not over, by its start."""
        return tuple(sorted(self._standing.values(), key=lambda s: (s.event.start_utc_s, s.event.id)))

    @property
    def ended(self) -> tuple[EventState, ...]:
        """The last events that are over or were aborted, oldest first."""
        return tuple(self._ended)

    def find(self, id: str) -> EventState:
        """The event of this id that is not over. Raises LookupError with a line for a person."""
        if id in self._standing:
            return self._standing[id]
        there = ", ".join(self._standing) or "there is none"
        raise LookupError(f"no grid event {id!r} stands: {there}")

    # ── what changes it ─────────────────────────────────────────────────────────────────────────────────────────────

    def judge(self, wanted: Wanted, who: str, utc_s: float) -> Judged:
        """What would come of it, without taking it. Raises OrderRefused."""
        _check_target(wanted)
        start_s, end_s = _check_times(wanted, utc_s)
        if len(self._standing) >= MOST:
            raise OrderRefused(Reason("refused.event_many", {"most": MOST}))
        notice_s = utc_s if wanted.notice_s is None else max(utc_s, start_s - wanted.notice_s)
        event = GridEvent(
            id=f"e{self._number + 1}",
            source=ORDER,
            who=who,
            reason=wanted.reason,
            limit_w=wanted.limit_w,
            drop_w=wanted.drop_w,
            baseline=wanted.baseline,
            given_utc_s=utc_s,
            notice_utc_s=notice_s,
            start_utc_s=start_s,
            end_utc_s=end_s,
            ramp_s=wanted.ramp_s,
            rehearsal=wanted.rehearsal,
        )
        return Judged(event, self._covered(event, utc_s), tuple(self._notes(wanted, utc_s)))

    def start(self, wanted: Wanted, who: str, utc_s: float) -> Judged:
        """Take one in. Raises OrderRefused."""
        judged = self.judge(wanted, who, utc_s)
        for state in judged.replaces:
            self._put(_aborted(state, who, f"replaced by {judged.event.id}", utc_s, at_once=True))
        self._number += 1
        self._put(EventState(event=judged.event))
        return judged

    def abort(self, id: str, who: str, reason: str, utc_s: float) -> EventState:
        """End one: before its start, or while its limit rises already, at once; else in steps. Raises LookupError."""
        state = self.find(id)
        at_once = phase_at(state, utc_s) is not Phase.HELD
        state = _aborted(state, who, reason, utc_s, at_once=at_once)
        self._put(state)
        return state

    def follow(self, signals: Iterable[Signal], utc_s: float) -> None:
        """Be told every signal that is not over: those that limit import are events, and end with their signal."""
        found = {s.id: s for s in signals if s.sort in FOLLOWED and s.quantity is Quantity.IMPORT and not s.failsafe}
        known = {state.event.signal for state in self._standing.values()}
        for id, signal in found.items():
            if id not in known:
                self._number += 1
                self._put(EventState(event=_followed(f"e{self._number}", signal)))
        for state in self.standing:
            self._follow_one(state, found.get(state.event.signal), utc_s)

    def advance(self, now: Moment) -> tuple[tuple[EventState, EventState], ...]:
        """Take in a tick. (before, after) of each event whose phase has changed, or whose target has become known."""
        changed = []
        for id, before in list(self._standing.items()):
            after = advanced(before, now)
            self._standing[id] = after
            if (before.phase, before.limit_w) != (after.phase, after.limit_w):
                changed.append((before, after))
            if after.phase not in STANDING:
                del self._standing[id]
                self._ended = [*self._ended, after][-KEPT:]
        return tuple(changed)

    # ── over a restart ──────────────────────────────────────────────────────────────────────────────────────────────

    def keep(self) -> KeptEvents:
        """What to keep."""
        return KeptEvents(self.standing, self.ended, self._number)

    def adopt(self, kept: KeptEvents) -> None:
        """Take over what an earlier run kept, before the first tick or beside what has come since."""
        taken = self._standing.keys() | {state.event.id for state in self._ended}
        self._standing = {s.event.id: s for s in kept.standing if s.event.id not in taken} | self._standing
        self._ended = [*(s for s in kept.ended if s.event.id not in taken), *self._ended][-KEPT:]
        self._number = max(self._number, kept.number)

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put(self, state: EventState) -> None:
        self._standing[state.event.id] = state

    def _follow_one(self, state: EventState, signal: Signal | None, utc_s: float) -> None:
        """An event by a signal ends when that does: earlier than it was to, it ends in steps all the same."""
        event = state.event
        if not event.signal or state.aborted_utc_s is not None or utc_s >= event.end_utc_s:
            return
        if signal is None:
            at_once = utc_s < event.start_utc_s
            self._put(_aborted(state, "", f"signal {event.signal} was ended", utc_s, at_once=at_once))
        elif signal.end_utc_s != event.end_utc_s:
            event = msgspec.structs.replace(event, end_utc_s=signal.end_utc_s)
            self._put(msgspec.structs.replace(state, event=event))

    def _covered(self, event: GridEvent, utc_s: float) -> tuple[EventState, ...]:
        """The operators' events that a new one covers in time."""
        return tuple(
            state
            for state in self.standing
            if state.event.source == ORDER
            and state.aborted_utc_s is None
            and max(state.event.start_utc_s, utc_s) >= event.start_utc_s
            and utc_s < state.event.end_utc_s <= event.end_utc_s
        )

    def _notes(self, wanted: Wanted, utc_s: float) -> Iterable[Reason]:
        limits, limit_w = self._limits, wanted.limit_w
        if wanted.start_utc_s is not None and wanted.start_utc_s < utc_s:
            yield Reason("event.begun_before", {"ago_s": utc_s - wanted.start_utc_s})
        if limit_w is not None and limit_w < limits.critical_load_w:
            yield Reason("signal.below_critical", {"limit_w": limit_w, "critical_w": limits.critical_load_w})
        if limit_w is not None and limit_w >= limits.import_w:
            yield Reason("signal.no_tighter", {"limit_w": limit_w, "own_w": limits.import_w})


def _check_target(wanted: Wanted) -> None:
    """Raise OrderRefused unless one target is asked, a finite one."""
    target_w = wanted.limit_w if wanted.drop_w is None else wanted.drop_w
    if target_w is None or (wanted.limit_w is not None and wanted.drop_w is not None):
        raise OrderRefused(Reason("refused.event_target"))
    if not math.isfinite(target_w) or target_w < 0 or (wanted.drop_w is not None and target_w == 0):
        raise OrderRefused(Reason("refused.event_power", {"found": f"{target_w:g}"}))
    if wanted.baseline not in BASELINES:
        raise OrderRefused(Reason("refused.event_baseline", {"known": " or ".join(BASELINES)}))


def _check_times(wanted: Wanted, utc_s: float) -> tuple[float, float]:
    """Start and end. One that was to begin before now begins now. Raises OrderRefused."""
    times = (wanted.start_utc_s, wanted.end_utc_s, wanted.notice_s, wanted.ramp_s)
    if any(t is not None and not math.isfinite(t) for t in times):
        raise OrderRefused(Reason("refused.event_times"))
    if wanted.end_utc_s is None:
        raise OrderRefused(Reason("refused.event_endless", {"most_s": LONGEST_S}))
    asked_s, end_s = utc_s if wanted.start_utc_s is None else wanted.start_utc_s, wanted.end_utc_s
    if end_s <= asked_s:
        raise OrderRefused(Reason("refused.signal_backwards"))
    if end_s <= utc_s:
        raise OrderRefused(Reason("refused.signal_past", {"ago_s": utc_s - end_s}))
    start_s = max(asked_s, utc_s)
    if end_s - start_s > LONGEST_S:
        raise OrderRefused(Reason("refused.event_long", {"asked_s": end_s - start_s, "most_s": LONGEST_S}))
    if start_s - utc_s > AHEAD_S:
        raise OrderRefused(Reason("refused.event_early", {"ahead_s": start_s - utc_s, "most_s": AHEAD_S}))
    if not 0 <= wanted.ramp_s <= LONGEST_RAMP_S or (wanted.notice_s is not None and wanted.notice_s < 0):
        raise OrderRefused(Reason("refused.event_ramp", {"most_s": LONGEST_RAMP_S}))
    return start_s, end_s


def _aborted(state: EventState, who: str, reason: str, utc_s: float, at_once: bool) -> EventState:
    aborted_utc_s = utc_s if state.aborted_utc_s is None else state.aborted_utc_s
    return msgspec.structs.replace(
        state, aborted_utc_s=aborted_utc_s, aborted_by=who, abort_reason=reason, at_once=at_once
    )


def _followed(id: str, signal: Signal) -> GridEvent:
    """A signal that limits import, as an event; its notice is when it was accepted."""
    return GridEvent(
        id=id,
        source=signal.sort.value,
        who=signal.who or signal.sender,
        limit_w=signal.limit_w,
        given_utc_s=signal.given_utc_s,
        notice_utc_s=min(signal.given_utc_s, signal.start_utc_s),
        start_utc_s=signal.start_utc_s,
        end_utc_s=signal.end_utc_s,
        signal=signal.id,
    )
