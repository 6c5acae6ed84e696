"""Keeps signals from outside: judges each message, holds what was accepted until its end, and the senders' failsafes.

What contradicts itself is defined, not guessed: of overlapping signals of one sort the tightest counts
(`dispatch.model.signals.tightest`); between sorts the order of the rules decides. A message is accepted as a whole or
refused as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from dispatch.config.signal_terms import SignalTerms
from dispatch.model.reasons import Reason
from dispatch.model.signals import MAY_LIMIT, Item, Message, Quantity, Signal, Sort
from dispatch.orders.refusal import OrderRefused

MOST_OF_A_SENDER = 64  # signals that stand at once
BEAT_AGE_S = 300.0  # how old a heartbeat may be when it arrives: clocks, and a broker that keeps messages
BEAT_AHEAD_S = 60.0  # how far ahead of ours the sender's clock may be


class KeptSignals(msgspec.Struct, frozen=True):
    """What outlives a restart. Times are UTC."""

    signals: tuple[Signal, ...] = ()
    seen: dict[str, float] = {}  # digests and ids of messages, and until when they are remembered
    heard: dict[str, float] = {}  # when each sender was last heard
    beats: dict[str, float] = {}  # the newest time that each sender has signed in a heartbeat
    number: int = 0  # of the last signal
    numbers: dict[str, int] = {}  # the highest that each sender has signed in a limit


class Taken(msgspec.Struct, frozen=True):
    """What came of a message. `notes` say what its sender and the operators should know of it."""

    signals: tuple[Signal, ...] = ()
    ended: tuple[Signal, ...] = ()
    notes: tuple[Reason, ...] = ()
    known: bool = False  # the same message was taken before: nothing changes


class SiteLimits(msgspec.Struct, frozen=True):
    """What a signal is compared with, W."""

    critical_load_w: float = 0.0
    import_w: float = math.inf  # the site's own limits: a signal never widens them
    export_w: float = math.inf
    charge_w: float = math.inf
    fixed_pv_w: float = 0.0  # the most that PV inverters give that are never limited


class SignalBook:
    """The signals of a site. Holds no clock: the caller says what time it is."""

    def __init__(self, terms: Iterable[SignalTerms], limits: SiteLimits, mono_s: float) -> None:
        """`mono_s`: the time of the start, from which the first heartbeat of each sender is awaited."""
        self._terms = {t.id: t for t in terms}
        self._limits = limits
        self._signals: dict[str, Signal] = {}
        self._seen: dict[str, float] = {}
        self._heard = dict.fromkeys(self._terms, mono_s)
        self._beats: dict[str, float] = {}
        self._numbers: dict[str, int] = {}
        self._number = 0
        self._begun: set[str] = set()

    # ── what stands ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def listed(self) -> tuple[Signal, ...]:
        """Every signal that is not over, failsafes not among them, by their start."""
        return tuple(sorted(self._signals.values(), key=lambda s: (s.start_utc_s, s.id)))

    def in_force(self, utc_s: float, mono_s: float) -> tuple[Signal, ...]:
        """What counts now: signals whose time it is, and the failsafes of senders that are silent."""
        return (*(s for s in self.listed if s.in_force(utc_s)), *self.failsafes(mono_s))

    def failsafes(self, mono_s: float) -> tuple[Signal, ...]:
        """The failsafe limits of every sender whose heartbeat is lost."""
        return tuple(signal for id in self.silent(mono_s) for signal in _failsafes(self._terms[id]))

    def silent(self, mono_s: float) -> tuple[str, ...]:
        """The senders whose heartbeat is lost."""
        return tuple(
            id
            for id, terms in self._terms.items()
            if terms.heartbeat_s is not None and mono_s - self._heard[id] > terms.heartbeat_s
        )

    def find(self, id: str) -> Signal:
        """The signal of this id. Raises LookupError with a line for a person."""
        if id in self._signals:
            return self._signals[id]
        there = ", ".join(self._signals) or "there is none"
        raise LookupError(f"no signal {id!r} stands: {there}")

    # ── what changes it ─────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, message: Message, utc_s: float, mono_s: float) -> Taken:
        """Accept a message, or raise OrderRefused. The same signed bytes, or the same id, count once."""
        terms = self._terms[message.sender]
        keys = _keys(message)
        if any(key in self._seen for key in keys):
            if message.digest and message.digest not in self._seen:
                raise OrderRefused(Reason("refused.signal_id_twice", {"message": message.id}))
            return Taken(known=True)
        self._refuse_old_number(message)
        if message.beat_utc_s is not None:
            self._beat(message.sender, message.beat_utc_s, utc_s)
        judged = [self._judged(item, terms, utc_s) for item in message.items]
        self._refuse_too_many(message)
        made, ended = [], []
        for item, (start_s, end_s) in zip(message.items, judged, strict=True):
            if item.limit_w is None:
                ended += self._clear(message.sender, item.quantity, start_s, end_s)
            else:
                made.append(self._put(message, item.quantity, item.limit_w, (start_s, end_s), utc_s))
        until_s = max((end_s for _, end_s in judged), default=utc_s + BEAT_AGE_S + BEAT_AHEAD_S)
        self._seen |= dict.fromkeys(keys, until_s)
        self._note_number(message)
        if message.digest:
            self._heard[message.sender] = mono_s
        notes = tuple(note for signal in made for note in _notes(signal, self._limits))
        return Taken(tuple(made), tuple(ended), notes)

    def end(self, id: str) -> Signal:
        """Take a signal out. Raises LookupError."""
        signal = self.find(id)
        del self._signals[id]
        self._begun.discard(id)
        return signal

    def advance(self, utc_s: float) -> tuple[tuple[Signal, ...], tuple[Signal, ...]]:
        """(signals that have begun by now, signals whose time is up and that are taken out)."""
        over = tuple(s for s in self._signals.values() if utc_s >= s.end_utc_s)
        for signal in over:
            self.end(signal.id)
        begun = tuple(s for s in self._signals.values() if s.start_utc_s <= utc_s and s.id not in self._begun)
        self._begun |= {s.id for s in begun}
        self._seen = {key: until_s for key, until_s in self._seen.items() if until_s > utc_s}
        return begun, over

    # ── over a restart ──────────────────────────────────────────────────────────────────────────────────────────────

    def keep(self, utc_s: float, mono_s: float) -> KeptSignals:
        """What to keep."""
        heard = {id: utc_s - (mono_s - heard_s) for id, heard_s in self._heard.items()}
        return KeptSignals(self.listed, dict(self._seen), heard, dict(self._beats), self._number, dict(self._numbers))

    def adopt(self, kept: KeptSignals, utc_s: float, mono_s: float) -> None:
        """Take over what an earlier run kept, as far as its senders are in the site file and their sort is the same."""
        for signal in kept.signals:
            terms = self._terms.get(signal.sender)
            if terms is not None and terms.sort == signal.sort.value:
                self._signals.setdefault(signal.id, signal)
        self._seen = dict(kept.seen) | self._seen
        for id, heard_s in kept.heard.items():
            if id in self._terms:
                self._heard[id] = mono_s - max(utc_s - heard_s, 0.0)
        self._beats = dict(kept.beats) | self._beats
        self._number = max(self._number, kept.number)
        self._numbers = dict(kept.numbers) | self._numbers

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _beat(self, sender: str, beat_utc_s: float, utc_s: float) -> None:
        """Note a heartbeat. Raises OrderRefused for one that is old, from the future or not newer than the last."""
        late_s = utc_s - beat_utc_s
        if late_s > BEAT_AGE_S:
            raise OrderRefused(Reason("refused.heartbeat_time", {"late_s": late_s, "most_s": BEAT_AGE_S}))
        if late_s < -BEAT_AHEAD_S:
            raise OrderRefused(Reason("refused.heartbeat_ahead", {"ahead_s": -late_s, "most_s": BEAT_AHEAD_S}))
        if beat_utc_s <= self._beats.get(sender, -math.inf):
            raise OrderRefused(Reason("refused.heartbeat_old"))
        self._beats[sender] = beat_utc_s

    def _judged(self, item: Item, terms: SignalTerms, utc_s: float) -> tuple[float, float]:
        """Start and end of what is asked for. Raises OrderRefused."""
        if item.quantity not in MAY_LIMIT[Sort(terms.sort)]:
            raise OrderRefused(Reason("refused.signal_quantity", {"sort": terms.sort, "quantity": item.quantity.value}))
        if item.end_utc_s is None:
            raise OrderRefused(Reason("refused.signal_endless"))
        start_s, end_s = utc_s if item.start_utc_s is None else item.start_utc_s, item.end_utc_s
        if end_s <= utc_s:
            raise OrderRefused(Reason("refused.signal_past", {"ago_s": utc_s - end_s}))
        if end_s <= start_s:
            raise OrderRefused(Reason("refused.signal_backwards"))
        if end_s - start_s > terms.max_s:
            raise OrderRefused(Reason("refused.signal_long", {"asked_s": end_s - start_s, "most_s": terms.max_s}))
        if start_s - utc_s > terms.ahead_s:
            raise OrderRefused(Reason("refused.signal_early", {"ahead_s": start_s - utc_s, "most_s": terms.ahead_s}))
        return start_s, end_s

    def _refuse_old_number(self, message: Message) -> None:
        last = self._numbers.get(message.sender, 0)
        if message.number is not None and message.number <= last:
            raise OrderRefused(Reason("refused.signal_number", {"number": message.number, "last": last}))

    def _note_number(self, message: Message) -> None:
        if message.number is not None:
            self._numbers[message.sender] = message.number

    def _refuse_too_many(self, message: Message) -> None:
        standing = sum(s.sender == message.sender for s in self._signals.values())
        if standing + sum(item.limit_w is not None for item in message.items) > MOST_OF_A_SENDER:
            raise OrderRefused(Reason("refused.signal_many", {"most": MOST_OF_A_SENDER}))

    def _put(
        self, message: Message, quantity: Quantity, limit_w: float, time: tuple[float, float], utc_s: float
    ) -> Signal:
        self._number += 1
        signal = Signal(
            id=f"s{self._number}",
            sort=Sort(self._terms[message.sender].sort),
            sender=message.sender,
            quantity=quantity,
            limit_w=limit_w,
            start_utc_s=time[0],
            end_utc_s=time[1],
            given_utc_s=utc_s,
            message=message.id,
            who=message.who,
        )
        self._signals[signal.id] = signal
        return signal

    def _clear(self, sender: str, quantity: Quantity, start_s: float, end_s: float) -> list[Signal]:
        """End the sender's limits of this quantity that overlap a time: from its begin on, what is later goes, too."""
        cleared = []
        for signal in self.listed:
            same = (signal.sender, signal.quantity) == (sender, quantity)
            if same and signal.overlaps(start_s, end_s):
                cleared.append(self.end(signal.id))
                if signal.start_utc_s < start_s:
                    self._signals[signal.id] = msgspec.structs.replace(signal, end_utc_s=start_s)
                    self._begun.add(signal.id)
        return cleared


def _keys(message: Message) -> tuple[str, ...]:
    """Under what a message is remembered."""
    return tuple(key for key in (message.digest, message.id and f"{message.sender}/{message.id}") if key)


def _failsafes(terms: SignalTerms) -> Iterable[Signal]:
    stated: Mapping[Quantity, float | None] = {
        Quantity.IMPORT: terms.failsafe_import_w,
        Quantity.EXPORT: terms.failsafe_export_w,
        Quantity.CHARGE: terms.failsafe_charge_w,
    }
    for quantity, limit_w in stated.items():
        if limit_w is not None:
            yield Signal(
                id=f"failsafe-{quantity.value}",
                sort=Sort(terms.sort),
                sender=terms.id,
                quantity=quantity,
                limit_w=limit_w,
                start_utc_s=0.0,
                end_utc_s=math.inf,
                given_utc_s=0.0,
                failsafe=True,
            )


def _notes(signal: Signal, limits: SiteLimits) -> Iterable[Reason]:
    """What is said of a signal that is accepted and cannot be met, or changes nothing."""
    if signal.quantity is Quantity.IMPORT and signal.limit_w < limits.critical_load_w:
        yield Reason("signal.below_critical", {"limit_w": signal.limit_w, "critical_w": limits.critical_load_w})
    if signal.limit_w < limits.fixed_pv_w and signal.quantity is Quantity.PRODUCTION:
        yield Reason("signal.production_not_held", {"limit_w": signal.limit_w, "fixed_w": limits.fixed_pv_w})
    if signal.limit_w < limits.fixed_pv_w and signal.quantity is Quantity.EXPORT:
        yield Reason("signal.export_not_held", {"limit_w": signal.limit_w, "fixed_w": limits.fixed_pv_w})
    own_w = {
        Quantity.IMPORT: limits.import_w,
        Quantity.EXPORT: limits.export_w,
        Quantity.CHARGE: limits.charge_w,
    }.get(signal.quantity, math.inf)
    if signal.limit_w >= own_w:
        yield Reason("signal.no_tighter", {"limit_w": signal.limit_w, "own_w": own_w})
