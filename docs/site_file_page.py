"""Writes docs/site-file.md, the reference of the site file, from the JSON Schema that its structs give."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator
from typing import Any

from page_parts import GENERATED, table_cell

from gateway.site.json_schema import json_schema
from gateway.site.loader import UNITS


def site_file_page() -> str:
    """docs/site-file.md."""
    return "\n".join(_site_file_page())


def _site_file_page() -> Iterator[str]:
    schema = json_schema()
    yield from (GENERATED, "", "# Site file", "")
    yield "One TOML file describes a site. `skerry check SITE.toml` finds every error in it, also contradictions"
    yield "between keys, and prints what the file means. `skerry check --schema` prints its JSON Schema. Examples:"
    yield "[`sites/render-farm.toml`](../sites/render-farm.toml), a commented real site, and"
    yield "[`console/demo.toml`](../console/demo.toml), the site of `skerry demo`."
    yield from ("", "Keys that are not listed here are errors. Powers are watts at the AC terminals.")
    yield from (
        "",
        "An editor with the TOML server Taplo checks and completes a site file with the schema:",
        "",
        "```text",
    )
    yield from ("skerry check --schema > site.schema.json", "```", "", "and as the first line of the site file:", "")
    yield from ("```text", "#:schema site.schema.json", "```")
    yield from ("", "## Units", "")
    yield 'A number is in the unit that the ending of its key names, or is text with one of these units: `"55 kW"`.'
    yield from ("", "| ending of the key | units |", "|---|---|")
    for suffix, words in UNITS.items():
        yield f"| `{suffix}` | {', '.join(words)} |"
    if own := {name: key for name, key in schema["properties"].items() if "$ref" not in key.get("items", key)}:
        yield from ("", "## Keys before the first section", "", *_key_table(own, schema["required"]))
    yield from ("", "## Sections", "", "| section | purpose |", "|---|---|")
    found = list(_sections(schema))
    for title, section in found:
        yield f"| [`{title}`](#{_anchor(title)}) | {table_cell(_purpose(section))} |"
    for title, section in found:
        yield from _site_section(title, section)
    yield ""


def _sections(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Title and table of each section, a table inside a section after it."""
    for name, value in schema["properties"].items():
        if value.get("type", "array") != "array":
            continue  # a key of its own, not a section
        many = value.get("type") == "array"
        yield from _with_inner(schema, name, _resolved(schema, value["items"] if many else value), many)


def _with_inner(
    schema: dict[str, Any], name: str, section: dict[str, Any], many: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"[[{name}]]" if many else f"[{name}]", section
    for key, inner in section["properties"].items():
        if _is_table(inner):
            listed = "items" in inner
            yield from _with_inner(
                schema, f"{name}.{key}", _resolved(schema, inner["items"] if listed else inner), listed
            )


def _is_table(value: dict[str, Any]) -> bool:
    """Whether a key is a table, or a list of them: a section of its own."""
    return "$ref" in value or "$ref" in value.get("items", {})


def _resolved(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][value["$ref"].rpartition("/")[2]]
    return found


def _anchor(title: str) -> str:
    """The anchor that GitHub and MyST give to the heading."""
    return "".join(c for c in title if c not in "[].").lower()


def _purpose(section: dict[str, Any]) -> str:
    return str(section["description"]).split(". ")[0].rstrip(".") + "."


def _site_section(title: str, section: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"## `{title}`", "", *textwrap.wrap(section["description"], 118), "")
    yield from _key_table(section["properties"], section.get("required", ()))


def _key_table(keys: dict[str, dict[str, Any]], required: Collection[str]) -> Iterator[str]:
    yield from ("| key | type | unit | range | default | meaning |", "|---|---|---|---|---|---|")
    for name, key in keys.items():
        if _is_table(key):
            continue
        value = next((option for option in key.get("anyOf", ()) if option.get("type") != "string"), key)
        default = "**required**" if name in required else _default(key.get("default"))
        cells = (f"`{name}`", _type(value), key.get("x-unit", ""), _range(value), default, key.get("description", ""))
        yield f"| {' | '.join(map(table_cell, cells))} |"


def _type(value: dict[str, Any]) -> str:
    if "enum" in value:
        return "one of " + ", ".join(f"`{choice}`" for choice in value["enum"])
    if value["type"] == "object":
        return f"table: name = {_type(value['additionalProperties'])}"
    if value.get("items", {}).get("type") == "array":
        return "list of pairs of numbers"
    words = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true, false"}
    return words.get(value["type"], "list of texts")


def _range(value: dict[str, Any]) -> str:
    low = [f"{sign} {value[name]}" for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">")) if name in value]
    high = [f"{sign} {value[name]}" for name, sign in (("maximum", "≤"), ("exclusiveMaximum", "<")) if name in value]
    if low or high:
        return ", ".join(low + high)
    if "maxLength" in value:
        return f"{value.get('minLength', 0)} to {value['maxLength']} characters"
    if "maxItems" in value:
        return f"at most {value['maxItems']} items"
    return f"`{value['pattern']}`" if "pattern" in value else ""


def _default(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:.10g}"
    return f"`{value}`" if value else "empty"
