"""Reads the translations, `dispatch/wording/LOCALE/*.toml`. English is not among them: it is code.

`language.toml`: name, style and rules; `alarms.toml`: the four texts of each alarm; `glossary.toml` is for translators
and tests; `labels_….toml`: labels of screen and command line by code; every other file holds templates of reasons by
code, such as `fuse.window = "…"`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from console.display.language_choice import GENERAL, folder
from dispatch.wording.alarm_text import AlarmText
from dispatch.wording.language import Language, Style

ALARMS, GLOSSARY = "alarms.toml", "glossary.toml"
LABELS = "labels_"  # how the names of files with labels begin


class General(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`language.toml`. needs: characters that a terminal must be able to show; without them English is said."""

    name: str
    needs: str
    rules: dict[str, str]
    style: Style
    wide: bool = False  # its characters take two columns; the Linux console has no font for them


def general(locale: str) -> General:
    """`language.toml` of a translation."""
    return msgspec.convert(_table(folder() / locale / GENERAL), General)


def read(locale: str) -> Language:
    """A translation with all of its words. Raises OSError, tomllib.TOMLDecodeError or msgspec.ValidationError."""
    about = general(locale)
    templates: dict[str, str] = {}
    for path in template_files(locale):
        templates.update(codes(_table(path)))
    labels: dict[str, str] = {}
    for path in label_files(locale):
        labels.update(codes(_table(path)))
    return Language(
        locale=locale,
        name=about.name,
        templates=templates,
        phrases={},
        past={},
        rules=about.rules,
        alarms=msgspec.convert(_table(folder() / locale / ALARMS), dict[str, AlarmText]),
        style=about.style,
        labels=labels,
    )


def template_files(locale: str) -> list[Path]:
    """The files with templates by code."""
    special = (GENERAL, ALARMS, GLOSSARY)
    files = sorted((folder() / locale).glob("*.toml"))
    return [path for path in files if path.name not in special and not path.name.startswith(LABELS)]


def label_files(locale: str) -> list[Path]:
    """The files with labels by code."""
    return sorted((folder() / locale).glob(f"{LABELS}*.toml"))


def codes(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """(code, template) of a file: TOML reads `fuse.window = "…"` as a table in a table."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from codes(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", msgspec.convert(value, str)


def _table(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
