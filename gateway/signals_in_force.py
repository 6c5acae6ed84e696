"""The signals from outside that stand, shared by commands, ways in and control loop; their evidence goes on record.

They outlive the gateway: each change is saved at once. Whatever begins, ends or is refused is an event; what was
accepted, and what the site did under each limit, are rows of the audit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from dispatch.accounting.limit_evidence import Entry, LimitEvidence, LimitInForce, limits_of, powers, resting
from dispatch.config.schema import DispatchConfig
from dispatch.model.clock import Clock
from dispatch.model.contacts import ContactView
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.model.signals import Message, Signal, SignalView
from dispatch.model.snapshot import Snapshot
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.signal_book import KeptSignals, SignalBook, SiteLimits, Taken
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw, one_line, span
from drivers.signals.cloud_event import read_signal
from drivers.signals.config import SignalSender
from gateway.event_sink import EventSink
from gateway.supervised_calls import SupervisedCalls
from gateway.unix_groups import in_group
from storage.audit import AuditLog

STATE = "signals"  # under which the record keeps them
LOST = "its failsafe limits hold"


class SignalsInForce:
    """Judges messages by the book of signals, and tells what becomes of them."""

    def __init__(
        self,
        senders: Sequence[SignalSender],
        limits: SiteLimits,
        clock: Clock,
        *,
        events: EventSink,
        audit: AuditLog,
        save: Callable[[str, Any], None],
        kept: KeptSignals,
        calls: SupervisedCalls,
        interval_s: float,
        identity: Callable[[], str] = lambda: "",
    ) -> None:
        """`save` keeps a state of this name; `calls` check signatures; `interval_s`: the utility meter's.

        `identity`: UUID of this site, which a message may name.
        """
        self.senders, self._identity = tuple(senders), identity
        self._clock, self._events, self._audit, self._save, self._calls = clock, events, audit, save, calls
        self._book = SignalBook(senders, limits, clock.mono_s())
        self._evidence = LimitEvidence(interval_s)
        self._silent: tuple[str, ...] = ()
        self.exceeded: dict[str, str] = {}  # by contact or sender, the limit that is not kept; empty: all are
        self._short: dict[LimitInForce, str] = {}  # the limits that are not kept, in words
        self._clock_known = False  # until the first tick
        self._begun_before: set[str] = set()  # signals of an earlier run whose begin is past
        self.adopt(kept)

    def adopt(self, kept: KeptSignals) -> None:
        """Take over what an earlier run kept."""
        self._book.adopt(kept, self._clock.utc_s(), self._clock.mono_s())
        self._begun_before |= {s.id for s in kept.signals if s.start_utc_s <= self._clock.utc_s()}

    # ── what stands ─────────────────────────────────────────────────────────────────────────────────────────────────

    def active(self) -> tuple[Signal, ...]:
        """The signals in force now, failsafes among them."""
        return self._book.in_force(self._clock.utc_s(), self._clock.mono_s())

    def listed(self) -> tuple[Signal, ...]:
        """Every signal that is not over, failsafes among them, as plan and people know them."""
        return (*self._book.failsafes(self._clock.mono_s()), *self._book.listed)

    def views(self, snapshot: Snapshot) -> tuple[SignalView, ...]:
        """Every signal that is not over, with what it limits as measured now."""
        utc_s, values = self._clock.utc_s(), powers(snapshot)
        return tuple(SignalView(s, values[s.quantity] if s.in_force(utc_s) else None) for s in self.listed())

    def silent(self) -> dict[str, str]:
        """Senders of whom a heartbeat is awaited, and what holds where it is lost; empty: it is not."""
        lost = {s.sender for s in self._book.failsafes(self._clock.mono_s())}
        return {s.id: LOST if s.id in lost else "" for s in self.senders if s.heartbeat_s is not None}

    def find(self, id: str) -> Signal:
        """The signal of this id. Raises LookupError with a line for a person."""
        return self._book.find(id)

    # ── what changes it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def receive(self, raw: bytes, way: str, uid: int | None = None) -> tuple[Message, Taken]:
        """Take one event in. `way`: how it came, for the record. Raises SignalNotRead, OrderRefused, PartHangs.

        `uid`: the Unix user who wrote it, where the kernel tells; a group may be a right. The signature is checked in a
        thread: its library takes long to load. So are groups: the user database may be on a server.
        """
        message = await self._calls.call(
            read_signal, raw, self.senders, lambda group: uid is not None and in_group(uid, group)
        )
        return message, self.take(message, way)

    def take(self, message: Message, way: str) -> Taken:
        """Accept what a sender, or a person for it, says. Raises OrderRefused."""
        if not self._clock_known:
            raise OrderRefused(Reason("refused.signal_clock"))
        if message.site and message.site != self._identity():
            raise OrderRefused(Reason("refused.signal_site", {"site": message.site}))
        taken = self._book.take(message, self._clock.utc_s(), self._clock.mono_s())
        if taken.known:
            return taken
        for signal in taken.signals:
            self._tell(signal, f"accepted, by {way}{_right(message)}", message)
        for signal in taken.ended:
            left = next((s for s in self._book.listed if s.id == signal.id), None)
            what = "ended" if left is None else f"made to end at {_utc(left.end_utc_s)}"
            self._tell(signal, f"{what} by its sender, by {way}{_right(message)}", message)
        for note in taken.notes:
            self._events.event("command", "warning", "signal", words(note), message.who or message.sender)
        self._keep()
        return taken

    def end(self, id: str, who: str, reason: str) -> Signal:
        """Take a signal out of force, from the next tick on. Raises LookupError."""
        signal = self._book.end(id)
        self._tell(signal, f"ended by {who}{': ' if reason else ''}{reason}")
        self._keep()
        return signal

    def advance(
        self,
        snapshot: Snapshot,
        contacts: Sequence[ContactView],
        state: IslandState,
        grid_events: Sequence[Signal] = (),
    ) -> None:
        """Once per tick, with what was decided: report what has begun and ended, and put the evidence on record.

        Limits that rest in this islanding state are not measured meanwhile, and nothing is short of them.
        `grid_events`: the limits of grid events that are held now; their evidence is kept with that of signals.
        """
        self._clock_known = snapshot.utc_known
        utc_s, mono_s = self._clock.utc_s(), self._clock.mono_s()
        begun, over = self._book.advance(utc_s)
        for signal in begun:
            self._tell(signal, "in force as the gateway starts" if signal.id in self._begun_before else "begins")
        for signal in over:
            self._tell(signal, "is over")
        if over:
            self._keep()
        self._watch_heartbeats(mono_s)
        limits = limits_of(contacts, (*self._book.in_force(utc_s, mono_s), *grid_events))
        rest = resting(limits, state)
        for entry in self._evidence.update(utc_s, mono_s, limits, powers(snapshot), rest):
            self._put_on_record(entry)

    def stop(self) -> None:
        """Put on record what was measured since the last interval. After the last tick."""
        for entry in self._evidence.close(self._clock.utc_s()):
            self._put_on_record(entry)

    def _watch_heartbeats(self, mono_s: float) -> None:
        silent = self._book.silent(mono_s)
        for id in silent:
            if id not in self._silent:
                text = f"no heartbeat of {id}: its failsafe limits hold until the next"
                self._events.event("command", "warning", "signal", text)
        for id in self._silent:
            if id not in silent:
                self._events.event("command", "info", "signal", f"{id} is heard again: its failsafe limits end")
        self._silent = silent

    # ── the record ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self) -> None:
        self._save(STATE, msgspec.to_builtins(self._book.keep(self._clock.utc_s(), self._clock.mono_s())))

    def _tell(self, signal: Signal, what: str, message: Message | None = None) -> None:
        text = f"signal {described(signal)}: {what}"
        self._events.event("command", "info", "signal", text, signal.who or signal.sender)
        row = {"kind": "signal", "who": signal.who or signal.sender, "text": text}
        proof = {}
        if message is not None and message.digest:
            proof = {"message": signal.message, "sha256" if message.group else "signed_sha256": message.digest}
        self._audit.spool(row | proof | {"signal": msgspec.to_builtins(signal)})

    def _put_on_record(self, entry: Entry) -> None:
        text = _entry_words(entry)
        self._note_shortfall(entry, text)
        if entry.what in ("shortfall", "met"):
            severity = "warning" if entry.what == "shortfall" else "info"
            self._events.event("command", severity, "signal", text)
        body = msgspec.to_builtins(entry)
        self._audit.spool({"kind": "limit", "who": "gateway", "outcome": entry.what, "text": text, "limit": body})

    def _note_shortfall(self, entry: Entry, text: str) -> None:
        """One contact or sender may have several limits: the end of one says nothing of the others."""
        whose = entry.limit.whose
        if entry.what == "shortfall":
            self._short[entry.limit] = text
        elif entry.what not in ("met", "end", "rest") or self._short.pop(entry.limit, None) is None:
            return
        self.exceeded[whose] = next((text for limit, text in self._short.items() if limit.whose == whose), "")


def site_limits(config: DispatchConfig) -> SiteLimits:
    """What signals are compared with: the site's own limits of each moment, not of means, which a moment may exceed."""
    grid = config.grid
    return SiteLimits(
        critical_load_w=config.reserve.critical_load_w,
        import_w=grid.fuse_w,
        export_w=math.inf if grid.export_window_s > 0 else grid.export_limit_w,
        charge_w=config.charge_w,
        fixed_pv_w=sum(pv.most_w for pv in config.pv if not pv.curtail),
    )


def _right(message: Message) -> str:
    return f", unsigned, in group {message.group}" if message.group else ""


def described(signal: Signal) -> str:
    """A signal in words: its id, whose, what, from when to when."""
    sender = one_line(signal.sender)
    what = f"{signal.id} of {sender} ({signal.sort.value}): {signal.quantity.value} at most {kw(signal.limit_w)}"
    if signal.failsafe:
        return f"{what} until its sender is heard again"
    return f"{what} from {_utc(signal.start_utc_s)} to {_utc(signal.end_utc_s)}"


def _utc(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _entry_words(entry: Entry) -> str:
    limit = entry.limit
    what = f"{limit.quantity.value} at most {kw(limit.limit_w)} ({limit.sort.value}, {limit.by})"
    if entry.what == "begin":
        return f"begin of {what}"
    if entry.min_w is None or entry.mean_w is None or entry.max_w is None:
        figures = "never known"
    else:
        figures = f"least {kw(entry.min_w)}, mean {kw(entry.mean_w)}, most {kw(entry.max_w)}"
    over = f", above it for {span(entry.over_s)}" if entry.over_s else ""
    unknown = f", unknown for {span(entry.unknown_s)}" if entry.unknown_s else ""
    time = f"{_utc(entry.from_utc_s)} to {_utc(entry.to_utc_s)}"
    return f"{entry.what} of {what}, {time}: {figures}{over}{unknown}"
