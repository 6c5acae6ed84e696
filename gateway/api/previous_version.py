"""Version 1 of the link, that of Skerry 0.1.0: reasons as English sentences, rules as number and name.

`for_version_1` makes a message fit for a console of that version; `from_version_1` makes what a gateway of that version
sent fit for this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dispatch.alarms.states import Alarm
from dispatch.model.decision import RuleTrace
from dispatch.model.reasons import Reason, RuleId
from dispatch.wording.catalogue import ALARMS, ENGLISH, RULE_NUMBERS, alarm_text, rule_name, words

# ── to a console of version 1 ───────────────────────────────────────────────────────────────────────────────────────


def for_version_1(message: object) -> Any:
    """A message, or any part of one, as built-in types in the shape of version 1."""
    return _former(msgspec.to_builtins(message))


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
    return {name: _former_field(name, part) for name, part in value.items()}


_REASON, _TRACE, _ALARM = (set(kind.__struct_fields__) for kind in (Reason, RuleTrace, Alarm))
_SENTENCES = ("reason", "why", "against")  # version 1 has an empty one where this one has none


def _former_field(name: str, value: Any) -> Any:
    if name == "snapshot":  # the largest part, without a single reason
        return value
    return "" if value is None and name in _SENTENCES else _former(value)


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


# ── from a gateway of version 1 ─────────────────────────────────────────────────────────────────────────────────────


def from_version_1(frame: Any) -> Any:
    """What a gateway of version 1 sent, decoded to built-in types, as built-in types of this version.

    Sentences become reasons of the code `text`, empty ones none. Events and whatever else has not changed stays.
    Raises msgspec.ValidationError for what no gateway of that version sends.
    """
    try:
        return _present(frame)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise msgspec.ValidationError(f"expected a message of link version 1: {error}") from None


def _present(frame: Any) -> Any:
    if not isinstance(frame, dict):
        return frame
    match frame.get("type"):
        case "published":
            decision, alarms = frame["decision"], frame["alarms"]
            return frame | {"decision": _decision(decision), "alarms": [_alarm_of(alarm) for alarm in alarms]}
        case "plan" if frame["plan"] is not None:
            return frame | {"plan": _plan(frame["plan"])}
        case "response":
            return frame | {"result": _result(frame.get("result"))}
    return frame


def _result(result: Any) -> Any:
    """The answer to a request, by its shape: a decision, the state of the site, a plan, or what has no reasons."""
    if isinstance(result, list):
        return [_result(part) for part in result]
    if not isinstance(result, dict):
        return result
    if {"binding", "chain", "setpoints"} <= result.keys():
        return _decision(result)
    if {"snapshot", "decision", "alarms"} <= result.keys():
        return _present(result | {"type": "published"})
    if {"steps", "peak_target_w"} <= result.keys():
        return _plan(result)
    parts: dict[str, Callable[[Any], Any]] = {"islanding": _islanding, "view": _islanding, "ride": _ride}
    return result | {name: _maybe(made, result[name]) for name, made in parts.items() if name in result}


def _decision(decision: dict[str, Any]) -> dict[str, Any]:
    return decision | {
        "reason": _text(decision["reason"]),
        "chain": [_trace_of(trace) for trace in decision.get("chain", ())],
        "islanding": _maybe(_islanding, decision.get("islanding")),
        "switch": _maybe(_reasoned, decision.get("switch")),
        "pcs_orders": [_reasoned(order) for order in decision.get("pcs_orders", ())],
        "nodes": [_reasoned(order) for order in decision.get("nodes", ())],
        "ride": _maybe(_ride, decision.get("ride")),
        "caps": _maybe(_reasoned, decision.get("caps")),
    }


def _maybe(made: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else made(value)


def _trace_of(trace: dict[str, Any]) -> dict[str, Any]:
    sentence = trace["reason"]
    kept = {name: trace[name] for name in ("low_w", "high_w", "preferred_w", "bound")}
    return kept | {"rule": RuleId(trace["name"]).value, "reason": _text(sentence)}


def _islanding(view: dict[str, Any]) -> dict[str, Any]:
    way = view.get("reconnect")
    if way is not None:
        way = way | {"against": _text(way.get("against", "")) if way.get("against") else None}
    return _reasoned(view) | {"reconnect": way}


def _ride(ride: dict[str, Any]) -> dict[str, Any]:
    return ride | {"why": _text(ride["why"]) if ride["why"] else None}


def _plan(plan: dict[str, Any]) -> dict[str, Any]:
    steps = [step | {"reason": _text(step["reason"]) if step.get("reason") else None} for step in plan["steps"]]
    return plan | {"steps": steps}


def _reasoned(value: dict[str, Any]) -> dict[str, Any]:
    return value | {"reason": _text(value.get("reason", ""))}


def _alarm_of(alarm: dict[str, Any]) -> dict[str, Any]:
    """What is seen now stands behind the cause, which this version knows by the alarm's id."""
    kept = {name: value for name, value in alarm.items() if name not in ("title", "cause", "consequence", "action")}
    name = alarm["id"].partition(":")[0]
    if name not in ALARMS[ENGLISH]:  # not one of ours: all that it says
        said = " ".join(alarm[part] for part in ("title", "cause", "consequence", "action"))
        return kept | {"detail": _text(said)}
    _, now, detail = alarm["cause"].partition(f"{alarm_text(alarm['id']).cause} Now: ")
    return kept | {"detail": _text(detail) if now else None}


def _text(sentence: str) -> dict[str, Any]:
    return {"code": "text", "figures": {"text": sentence}}
