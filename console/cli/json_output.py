"""Documents of `--json`: reasons as code, figures and words; nothing in them steers a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import alarm_text, words

NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")


def json_text(value: Any, indent: int = 0) -> str:
    """A value as JSON of ASCII alone. Names and messages come from outside; as escapes they steer no terminal."""
    data = msgspec.json.encode(value)
    text = (msgspec.json.format(data, indent=indent) if indent else data).decode()
    return NOT_PLAIN.sub(lambda found: "\\u007f" if found[0] == "\x7f" else json.dumps(found[0])[1:-1], text)


def with_words(value: Any) -> Any:
    """A document of built-in types in which every reason also says its `text`, and every alarm its four texts."""
    if isinstance(value, (list, tuple)):
        return [with_words(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"code", "figures"}:
        return value | {"text": words(msgspec.convert(value, Reason))}
    made = {name: with_words(part) for name, part in value.items()}
    return made | {"alarms": [_alarm(alarm) for alarm in value["alarms"]]} if _alarms(value.get("alarms")) else made


def _alarms(listed: Any) -> bool:
    return isinstance(listed, (list, tuple)) and all(isinstance(alarm, dict) and "detail" in alarm for alarm in listed)


def _alarm(alarm: dict[str, Any]) -> dict[str, Any]:
    detail = None if alarm["detail"] is None else msgspec.convert(alarm["detail"], Reason)
    texts: dict[str, Any] = msgspec.to_builtins(alarm_text(alarm["id"], detail))
    return {name: with_words(value) for name, value in alarm.items()} | texts
