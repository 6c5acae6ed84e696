"""Defines the versions of the site file: those understood, the keys with another name since, and the upgrade.

A file states its version in the key `version`; one without it is of version 1. A file of an older version is read as it
was meant: a retired key counts under its new name. One that has none, as what it asked for must not be, does not count.
In a file of the current version a retired key is an error.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

KEY = "version"
CURRENT = 2


class Retired(msgspec.Struct, frozen=True):
    """A key that has another name since, or none."""

    section: str  # "grid", "tariff.demand"; "node" for each [[node]]
    key: str
    replacement: str  # in the same section; empty: there is none
    last_version: int  # the last version of the site file that knew the key
    instead: str = ""  # without replacement: why, and what to do
    where: Callable[[dict[str, Any]], bool] = lambda table: True  # in which tables of the section


def _with_gpus(node: dict[str, Any]) -> bool:
    """Whether a [[node]] has GPUs by its own keys: as `NodeDevice.has_gpus`."""
    gpus = node.get("gpus", 0)
    return node.get("source") == "nvml" or (isinstance(gpus, int) and gpus > 0)


NOT_SUSPENDED = (
    "no such key on a node with GPUs: a job that holds one is never suspended, as its kernels run on, its memory stays "
    "and the other nodes of the job wait for it; on_stop_starts, on_checkpoint, checkpoint_s and on_requeue have its "
    "jobs saved and requeued"
)
RETIRED: tuple[Retired, ...] = tuple(
    Retired("node", key, "", 1, NOT_SUSPENDED, _with_gpus) for key in ("freeze", "on_suspend", "on_resume")
)

Way = tuple[str | int, ...]  # to a table: keys, and numbers of tables in a list of tables


class Found(msgspec.Struct, frozen=True):
    """A retired key that a file uses."""

    retired: Retired
    table: Way  # the way to the table that holds it
    both: bool  # its replacement is there, too
    line: int | None  # None: not known

    @property
    def where(self) -> str:
        """The key as errors name it, "node[2].key"."""
        return _named(self.table, self.retired.key)

    @property
    def remedy(self) -> str:
        """What to write in its place, where, and which version still knew it."""
        at = "" if self.line is None else f"line {self.line}: "
        last = f"{self.retired.key} was last read in site file version {self.retired.last_version}"
        if not self.retired.replacement:
            return f"{at}{self.retired.instead}"
        instead = _named(self.table, self.retired.replacement)
        also = ", which is there already" if self.both else ""
        return f"{at}{instead}{also}; {last}"

    @property
    def upgrade(self) -> str:
        """What `skerry config upgrade` does about it: prints the file "with it", that is the new name, or "without"."""
        return "with it" if self.retired.replacement else "without it"


class UnknownVersion(Exception):
    """The file states a version that is not understood; the text says which are."""


class NoUpgrade(Exception):
    """The file cannot be upgraded by a program; the line says what to do."""


def version_of(raw: dict[str, Any]) -> int:
    """The version that a parsed file states; 1 if it states none. Raises UnknownVersion."""
    stated = raw.get(KEY, 1)
    if type(stated) is not int or stated < 1:
        raise UnknownVersion(f"a whole number from 1 to {CURRENT}")
    if stated > CURRENT:
        understood = "version 1" if CURRENT == 1 else f"versions 1 to {CURRENT}"
        raise UnknownVersion(f"at most {CURRENT}: this Skerry understands {understood} of the site file; update Skerry")
    return stated


def retired_in(raw: dict[str, Any], text: str | None = None) -> list[Found]:
    """The retired keys that a parsed file uses. `text`: its source, for line numbers."""
    return [
        Found(retired, at, retired.replacement in table, _line(text, raw, at, retired.key))
        for retired in RETIRED
        for at, table in _tables(raw, retired.section.split("."))
        if retired.key in table and retired.where(table)
    ]


def _line(text: str | None, raw: dict[str, Any], table: Way, key: str) -> int | None:
    """The line of a key; None: not known."""
    span = None if text is None else _located(text, raw, table, key)
    return None if text is None or span is None else text.count("\n", 0, span[0]) + 1


def modernised(raw: dict[str, Any], found: list[Found]) -> dict[str, Any]:
    """A parsed file with retired keys under their new names, if they have one; the new one stands where both do."""
    for one in found:
        raw = _renamed(raw, one.table, one.retired.key, one.retired.replacement)
    return raw


def upgraded(text: str) -> str:
    """A site file's text in the current version, comments kept; the same text if there is nothing to change.

    Raises tomllib.TOMLDecodeError, UnknownVersion, NoUpgrade.
    """
    raw = tomllib.loads(text)
    version_of(raw)
    for one in retired_in(raw, text):
        span = None if one.both else _located(text, raw, one.table, one.retired.key)
        new = None if span is None else _rewritten(text, raw, one, span)
        if new is None:
            raise NoUpgrade(f"{one.where}: expected {one.remedy}; write it by hand")
        text, raw = new, tomllib.loads(new)
    return text if raw.get(KEY) == CURRENT else _stamped(text, raw)


def _rewritten(text: str, raw: dict[str, Any], one: Found, span: tuple[int, int]) -> str | None:
    """The text with the new name at `span`; without one, with the key's lines as comments, if it has lines alone."""
    if one.retired.replacement:
        return text[: span[0]] + one.retired.replacement + text[span[1] :]
    wanted = _renamed(raw, one.table, one.retired.key, "")
    begin = text.rfind("\n", 0, span[0]) + 1
    lines = text[begin:].splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        tried = text[:begin] + "".join(f"# {line}" for line in lines[:count]) + "".join(lines[count:])
        if _parsed(tried) == wanted:
            return tried
    return None


def _stamped(text: str, raw: dict[str, Any]) -> str:
    """The text with the current version: in the line that states one, else in a new line before the first other key."""
    wanted = {**raw, KEY: CURRENT}
    for match in re.finditer(rf"\b{raw[KEY]}\b", text) if KEY in raw else ():
        tried = text[: match.start()] + str(CURRENT) + text[match.end() :]
        if _parsed(tried) == wanted:
            return tried
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), len(lines))
    apart = newline if first < len(lines) and lines[first].lstrip().startswith("[") else ""
    lines.insert(first, f"{KEY} = {CURRENT}{newline}{apart}")
    return "".join(lines)


def _named(table: Way, key: str) -> str:
    parts = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in table)
    return f"{parts}.{key}".lstrip(".")


def _tables(node: Any, names: list[str], at: Way = ()) -> Iterator[tuple[Way, dict[str, Any]]]:
    """Every table that a section's name leads to, with the way to it."""
    if isinstance(node, list):
        for n, item in enumerate(node):
            yield from _tables(item, names, (*at, n))
    elif isinstance(node, dict):
        if not names:
            yield at, node
        elif names[0] in node:
            yield from _tables(node[names[0]], names[1:], (*at, names[0]))


def _renamed(raw: dict[str, Any], table: Way, key: str, name: str) -> dict[str, Any]:
    """A parsed file in which one key has another name; none: it is gone."""
    renamed = copy.deepcopy(raw)
    holder: Any = renamed
    for step in table:
        holder = holder[step]
    value = holder.pop(key)
    if name:
        holder.setdefault(name, value)
    return renamed


def _located(text: str, raw: dict[str, Any], table: Way, key: str) -> tuple[int, int] | None:
    """Where a key is written: of all places that look like it, the one whose change changes just this key."""
    probe = f"{key}-as-it-was"
    wanted = _renamed(raw, table, key, probe)
    for match in re.finditer(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text):
        if _parsed(text[: match.start()] + probe + text[match.end() :]) == wanted:
            return match.span()
    return None


def _parsed(text: str) -> dict[str, Any] | None:
    """A TOML document; None if it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
