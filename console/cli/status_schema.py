"""Builds the JSON Schema of `skerry status --json` of a running gateway from the structs that the gateway publishes.

What msgspec derives is changed as `json_output` changes the document: a reason and an alarm say their texts, and a
number that is infinite (no limit) is null, since JSON has no infinity.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dispatch.wording.alarm_text import AlarmText
from gateway.api.protocol import Published, Welcome

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "skerry status --json, while the gateway runs"
TEXT = {"type": "string"}


def status_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, of this version's document. Units are in the names of the keys: `_w`, `_kwh`, `_s`."""
    (published, welcome), structs = msgspec.json.schema_components([Published, Welcome])
    found: dict[str, Any] = {name: _nullable(struct) for name, struct in structs.items()}
    found["Reason"]["properties"]["text"] = TEXT | {"description": "In English; not in a reason within `figures`."}
    found["Alarm"]["properties"] |= dict.fromkeys(AlarmText.__struct_fields__, TEXT)
    root = found.pop(published["$ref"].rpartition("/")[2])
    root["properties"] |= {"welcome": welcome, "identity": found["Welcome"]["properties"]["identity"]}
    return {"$schema": DIALECT, **root, "title": TITLE, "$defs": found}


def _nullable(part: Any) -> Any:
    """A part of a schema in which every number may be null."""
    if isinstance(part, list):
        return [_nullable(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: _nullable(value) for key, value in part.items()}
    return made | {"type": ["number", "null"]} if made.get("type") == "number" else made
