"""Earlier versions of the link, and what its messages were in them.

1: Skerry 0.1.0. Every reason is an English sentence, a rule has number and name, an alarm its four texts.
2: Reasons are code and figures, but what `SENTENCES_OF_2` lists are still sentences.

`for_version` makes a message fit for a console of such a version, `from_version` makes what a gateway of one sent fit
for this version. The first knows a struct by the names of its fields, the second by its type.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dispatch.alarms.states import Alarm
from dispatch.evaluation.energy_iq import Iq
from dispatch.islanding.shedding_steps import FORMER
from dispatch.model.decision import Decision, RuleTrace
from dispatch.model.decoding import with_reasons
from dispatch.model.islanding import DrillReport, IslandReply, IslandState, IslandView, RideThrough
from dispatch.model.orders import Preview
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.readings import Quality
from dispatch.model.reasons import Reason, RuleId
from dispatch.wording.catalogue import ENGLISH, RULE_NUMBERS, alarm_text, rule_name, words
from gateway.api.protocol import (
    DrillPlan,
    EventMessage,
    PlanMessage,
    Published,
    Response,
    Welcome,
)

# ── to a console of an earlier version ──────────────────────────────────────────────────────────────────────────────


def for_version(message: object, version: int) -> Any:
    """A message, or any part of one, as built-in types in the shape of an earlier version."""
    built = _known_before(msgspec.to_builtins(message))
    return _former(built) if version == 1 else _with_sentences(built)


def _known_before(value: Any) -> Any:
    """Earlier versions know no generator: to them it is not known what feeds the site.

    They count four steps of load shedding, and say "of 4".
    """
    if isinstance(value, (list, tuple)):
        return [_known_before(part) for part in value]
    if isinstance(value, dict):
        has_more = value.keys() == _RIDE and value["rungs"] > FORMER[-1]
        step = {"rung": FORMER[value["rung"]]} if has_more else {}
        return {name: _known_before(part) for name, part in (value | step).items()}
    return IslandState.UNKNOWN.value if value == IslandState.GENSET.value else value


def _former(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_former(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == _REASON:
        return words(msgspec.convert(value, Reason))
    if value.keys() == _TRACE:
        return _former_trace(msgspec.convert(value, RuleTrace))
    if value.keys() == _ALARM:
        return _former_alarm(msgspec.convert(value, Alarm))
    value = _former_answer(value)
    return {name: _former_field(name, part) for name, part in value.items()}


_REASON, _TRACE, _ALARM, _REPLY = (set(k.__struct_fields__) for k in (Reason, RuleTrace, Alarm, IslandReply))
_STEP = set(PlanStep.__struct_fields__)
_STEP_SINCE_2 = {"co2_g_per_kwh", "curtail_w", "sell_eur_per_kwh"}
_RIDE = set(RideThrough.__struct_fields__)
_RESPONSE = {"type", *Response.__struct_fields__}
# Empty ones where this version has none.
_SENTENCES = ("reason", "why", "against", "remedy", "transfer_gap", "note", "low_why", "high_why")


def _former_field(name: str, value: Any) -> Any:
    if name == "snapshot":  # the largest part, without a single reason
        return _former_qualities(value)
    return "" if value is None and name in _SENTENCES else _former(value)


def _former_answer(value: dict[str, Any]) -> dict[str, Any]:
    """The state machine's answer had a text in the place of its reason, a response none; steps of a plan had less."""
    if value.keys() == _REPLY:
        return value | {"text": words(msgspec.convert(value["reason"], Reason))}
    if value.keys() == _RESPONSE:
        return {name: part for name, part in value.items() if name != "reason"}
    if value.keys() == _STEP:
        return {name: part for name, part in value.items() if name not in _STEP_SINCE_2}
    return value


def _former_qualities(value: Any) -> Any:
    """Earlier versions know no SUSPECT reading. They show a value that is held as STALE."""
    if isinstance(value, dict):
        return {name: _former_qualities(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_former_qualities(part) for part in value]
    return Quality.STALE.value if value == Quality.SUSPECT.value else value


def _former_trace(trace: RuleTrace) -> dict[str, Any]:
    return {
        "rule": RULE_NUMBERS[trace.rule],
        "name": rule_name(trace.rule),
        "low_w": trace.low_w,
        "high_w": trace.high_w,
        "preferred_w": trace.preferred_w,
        "bound": trace.bound,
        "reason": words(trace.reason),
    }


def _former_alarm(alarm: Alarm) -> dict[str, Any]:
    text = alarm_text(alarm.id, alarm.detail)
    return {
        "id": alarm.id,
        "priority": alarm.priority.value,
        "state": alarm.state.value,
        **msgspec.to_builtins(text),
        "since_utc_s": alarm.since_utc_s,
        "first_out": alarm.first_out,
        "count": alarm.count,
        "acknowledged_by": alarm.acknowledged_by,
    }


# Fields that hold reasons in this version, and held sentences in version 2; `why` of ride-through held a reason.
SENTENCES_OF_2 = frozenset(
    {
        *("name", "figure", "remedy"),  # of a check
        *("why", "timeline", "transfer_gap", "note", "figures", "rung_name"),  # of drills, plan, reconnection, shedding
        *("old", "new", "low_why", "high_why", "notes", "effect"),  # of orders
    }
)
_STEP = set(PlanStep.__struct_fields__)
_STEP_SINCE_2 = {"co2_g_per_kwh", "curtail_w", "sell_eur_per_kwh"}
_RIDE = set(RideThrough.__struct_fields__)


def _with_sentences(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_with_sentences(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == _REASON:
        return value
    former = SENTENCES_OF_2 - {"why"} if value.keys() == _RIDE else SENTENCES_OF_2
    value = _former_answer(value)
    return {
        name: _former_qualities(part)
        if name == "snapshot"
        else _former_field(name, part)
        if name in former
        else _with_sentences(part)
        for name, part in value.items()
    }


# ── from a gateway of an earlier version ────────────────────────────────────────────────────────────────────────────


_MESSAGES = {kind.__struct_config__.tag: kind for kind in (Welcome, Published, PlanMessage, EventMessage, Response)}
# Answers have no tag: what they are is seen by fields that no other has, or by the name of the field that holds a part.
_ANSWERS: tuple[tuple[frozenset[str], Any], ...] = (
    (frozenset({"binding", "chain", "setpoints"}), Decision),
    (frozenset({"snapshot", "decision", "alarms"}), Published),
    (frozenset({"steps", "peak_target_w"}), Plan),
    (frozenset({"low_why", "high_why"}), Preview),
)
# Others are dictionaries: fields that such an answer has -> what of it holds reasons.
_PARTS: tuple[tuple[frozenset[str], dict[str, Any]], ...] = (
    (frozenset({"view"}), {"view": IslandView | None, "report": DrillReport | None, "plan": DrillPlan | None}),
    (frozenset({"report"}), {"report": DrillReport | None}),
    (frozenset({"old", "new"}), {"old": Reason, "new": Reason, "notes": list[Reason], "effect": Reason}),
    (frozenset({"ended", "effect"}), {"effect": Reason}),
    (frozenset({"ready", "why"}), {"why": Reason | None}),
    (frozenset({"rise_w", "why"}), {"why": Reason | None}),
    (frozenset({"iq", "month"}), {"iq": Iq, "month": Iq}),
)


def from_version(frame: Any, version: int) -> Any:
    """What a gateway of an earlier version sent, decoded to built-in types, as built-in types of this version.

    Sentences become reasons of the code `text`, empty ones none. Events and whatever else has not changed stays.
    Raises msgspec.ValidationError for what no gateway of that version sends.
    """
    changed = {IslandReply: _reply_of} | ({RuleTrace: _trace_of, Alarm: _alarm_of} if version == 1 else {})
    try:
        if not isinstance(frame, dict) or frame.get("type") not in _MESSAGES:
            return frame
        if frame["type"] == "response":
            return frame | {"result": _result(frame.get("result"), changed)}
        return with_reasons(frame, _MESSAGES[frame["type"]], changed)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise msgspec.ValidationError(f"expected a message of link version {version}: {error}") from None


def _result(result: Any, changed: Any) -> Any:
    """The answer to a request."""
    if isinstance(result, list):
        return [_result(part, changed) for part in result]
    if not isinstance(result, dict):
        return result
    kind = next((kind for fields, kind in _ANSWERS if fields <= result.keys()), None)
    if kind is not None:
        return with_reasons(result, kind, changed)
    if {"ok", "text", "checks"} <= result.keys():
        return with_reasons(result, IslandReply, changed)
    parts = next((parts for fields, parts in _PARTS if fields <= result.keys()), {})
    made = {name: with_reasons(part, parts.get(name), changed) for name, part in result.items()}
    return made | {"reservations": _result(made["reservations"], changed)} if "reservations" in made else made


def _reply_of(reply: dict[str, Any]) -> dict[str, Any]:
    return reply | {"reason": reply["text"]}


def _trace_of(trace: dict[str, Any]) -> dict[str, Any]:
    kept = {name: trace[name] for name in ("low_w", "high_w", "preferred_w", "bound", "reason")}
    return kept | {"rule": RuleId(trace["name"]).value}


def _alarm_of(alarm: dict[str, Any]) -> dict[str, Any]:
    """What is seen now stands behind the cause, which this version knows by the alarm's id."""
    kept = {name: value for name, value in alarm.items() if name not in ("title", "cause", "consequence", "action")}
    name = alarm["id"].partition(":")[0]
    if name not in ENGLISH.alarms:  # not one of ours: all that it says
        said = " ".join(alarm[part] for part in ("title", "cause", "consequence", "action"))
        return kept | {"detail": _text(said)}
    _, now, detail = alarm["cause"].partition(f"{alarm_text(alarm['id']).cause} Now: ")
    return kept | {"detail": _text(detail) if now else None}


def _text(sentence: str) -> dict[str, Any]:
    return {"code": "text", "figures": {"text": sentence}}
