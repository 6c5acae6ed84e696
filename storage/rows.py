"""Converts records to rows and back, in one place, so that writer and reader agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.model.decision import Decision, Mode, RuleTrace, Setpoint
from dispatch.model.events import Event
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason, RuleId, plain

EVENT_COLUMNS = "ts_utc_us, kind, severity, subject, text, who"
DECISION_COLUMNS = (
    "ts_utc_us, seq, mode, island, binding, reason, battery_w, net_load_w, import_target_w, setpoints, chain, worded"
)


def to_us(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * 1e6)


def event_row(event: Event) -> tuple[Any, ...]:
    """EVENT_COLUMNS of an event."""
    return (to_us(event.utc_s), event.kind, event.severity, event.subject, event.text, event.who)


def event_of(row: Sequence[Any]) -> Event:
    """The event of its EVENT_COLUMNS."""
    return Event(row[0] / 1e6, *row[1:6])


def decision_row(decision: Decision) -> tuple[Any, ...]:
    """DECISION_COLUMNS of a decision. Watts in the chain are kept to 0.1 W; an open bound becomes null."""
    setpoints = [[s.device_id, _tenths(s.w)] for s in decision.setpoints]
    chain = [
        [t.rule, _tenths(t.low_w), _tenths(t.high_w), _tenths(t.preferred_w), t.bound, t.unmet, t.reason]
        for t in decision.chain
    ]
    return (
        to_us(decision.utc_s),
        decision.seq,
        decision.mode.value,
        decision.island.value,
        decision.binding.value,
        msgspec.json.encode(decision.reason).decode(),
        _tenths(decision.battery_w),
        _tenths(decision.net_load_w),
        _tenths(decision.import_target_w),
        msgspec.json.encode(setpoints).decode(),
        msgspec.json.encode(chain).decode(),
        0,
    )


def decision_of(row: Sequence[Any]) -> Decision:
    """The decision of its DECISION_COLUMNS. Raises those of `damage.DAMAGED` for a row that no version has written."""
    worded = bool(row[11])
    return Decision(
        seq=row[1],
        utc_s=row[0] / 1e6,
        mode=Mode(row[2]),
        island=IslandState(row[3]),
        setpoints=tuple(Setpoint(device_id, w) for device_id, w in _SETPOINTS.decode(row[9])),
        battery_w=row[6],
        net_load_w=row[7],
        import_target_w=row[8],
        binding=RuleId(row[4]),
        reason=plain(row[5]) if worded else _REASON.decode(row[5]),
        chain=_worded_chain(row[10]) if worded else _chain(row[10]),
    )


_Step = tuple[RuleId, float | None, float | None, float | None, bool, bool, Reason]
_WordedStep = tuple[int, str, float | None, float | None, float | None, bool, str]  # the number and name of the rule
_CHAIN = msgspec.json.Decoder(tuple[_Step, ...])
_WORDED_CHAIN = msgspec.json.Decoder(tuple[_WordedStep, ...])
_SETPOINTS = msgspec.json.Decoder(tuple[tuple[str, float | None], ...])
_REASON = msgspec.json.Decoder(Reason)


def _chain(text: str) -> tuple[RuleTrace, ...]:
    return tuple(
        RuleTrace(rule, *_open(low_w, high_w), preferred_w, bound, reason, unmet)
        for rule, low_w, high_w, preferred_w, bound, unmet, reason in _CHAIN.decode(text)
    )


def _worded_chain(text: str) -> tuple[RuleTrace, ...]:
    """Of a row of version 0.1.0: number and name of the rule, and a sentence for its reason."""
    return tuple(
        RuleTrace(RuleId(name), *_open(low_w, high_w), preferred_w, bound, plain(sentence))
        for _, name, low_w, high_w, preferred_w, bound, sentence in _WORDED_CHAIN.decode(text)
    )


def _open(low_w: float | None, high_w: float | None) -> tuple[float, float]:
    """Bounds of which null is an open one."""
    return -math.inf if low_w is None else float(low_w), math.inf if high_w is None else float(high_w)


def _tenths(w: float | None) -> float | None:
    """Watts to 0.1 W, finer than any meter; None for none and for an open bound."""
    return None if w is None or not math.isfinite(w) else round(float(w), 1)
