"""Builds the JSON Schema of the site file from its structs: the one source of the reference in `docs/` and of editors.

Input: `gateway.site.schema.Site`. Output: a JSON Schema, draft 2020-12, of a site file read as TOML. Beyond what
msgspec derives, it says three things that the loader does: unknown keys are errors, TOML has no null, and a number may
be written with its unit. `x-unit` is the unit of a key's number.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec

from gateway.site.loader import UNITS
from gateway.site.schema import Site

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TABLE_NAME = re.compile(r"^`\[+[\w.]+\]+`: ")
NOT_IN_THE_FILE = "path"  # where the file was read from
SPOKEN = {"_c": "°C", "_deg": "°", "_pct": "%", "_pct_per_min": "%/min", "_hz": "Hz"}  # of suffixes without UNITS, too


def json_schema() -> dict[str, Any]:
    """The schema of a whole site file."""
    (reference,), structs = msgspec.json.schema_components([Site], schema_hook=_paths)
    sections = {name: _section(struct) for name, struct in structs.items()}
    site = sections.pop(reference["$ref"].rpartition("/")[2].rpartition(".")[2])
    del site["properties"][NOT_IN_THE_FILE]
    site["required"].remove(NOT_IN_THE_FILE)
    return {"$schema": DIALECT, **site, "title": "Skerry site file", "$defs": sections}


def _paths(kind: type) -> dict[str, Any]:
    """The schema of a type that msgspec has none for: only `path`, which is taken out again."""
    if kind is not Path:
        raise NotImplementedError(f"a site file has no values of type {kind}")
    return {"type": "string"}


def _section(struct: dict[str, Any]) -> dict[str, Any]:
    """A struct as a TOML table: unknown keys are errors."""
    keys = {name: _key(name, key) for name, key in struct["properties"].items()}
    return {
        **struct,
        "description": _purpose(struct.get("description", "")),
        "properties": keys,
        "additionalProperties": False,
    }


def _purpose(docstring: str) -> str:
    """A struct's docstring without the name of its section, as one line."""
    line = TABLE_NAME.sub("", " ".join(docstring.split()))
    return line[:1].upper() + line[1:]


def _key(name: str, key: dict[str, Any]) -> dict[str, Any]:
    """One key: never null, and with its unit."""
    key = _without_null(key)
    suffix = max((s for s in UNITS if name.endswith(s)), key=len, default=None)
    unit = key.pop("x-unit", None) or unit_of(name)
    if suffix is not None and ({"integer", "number"} & {key.get("type")} or "enum" in key):
        key = _with_unit(key, list(UNITS[suffix]))
    return {**key, "x-unit": unit} if unit else key


def _without_null(key: dict[str, Any]) -> dict[str, Any]:
    """Of `X | None` the X; no default that TOML cannot write (null, infinity, a section's own defaults)."""
    others = {k: v for k, v in key.items() if k not in ("anyOf", "default")}
    (kind,) = [option for option in key.get("anyOf", [{}]) if option.get("type") != "null"]
    default = key.get("default")
    said = {} if default is None or default == math.inf or isinstance(default, dict) else {"default": default}
    return {**kind, **others, **said}


def _with_unit(key: dict[str, Any], units: list[str]) -> dict[str, Any]:
    """A number that may also be text with one of the units."""
    about = {k: v for k, v in key.items() if k in ("description", "default")}
    number = {k: v for k, v in key.items() if k not in about}
    words = "|".join(map(re.escape, units))
    text = {"type": "string", "pattern": rf"^\s*[+-]?[0-9_]+(\.[0-9]+)?\s*({words})\s*$"}
    return {**about, "anyOf": [number, text]}


def unit_of(name: str) -> str:
    """The unit that a key's suffix says; "" if it says none."""
    suffix = max((s for s in {*UNITS, *SPOKEN} if name.endswith(s)), key=len, default="")
    if suffix in SPOKEN:
        return SPOKEN[suffix]
    return next((word for word, factor in UNITS.get(suffix, {}).items() if factor == 1), "")
