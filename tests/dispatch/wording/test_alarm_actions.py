"""What alarm texts advise exists: commands of the command line with their options, views of the console."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import click
import pytest

from console.cli.main import COMMANDS as PROGRAMS
from console.display.language import of_locale
from console.display.language_choice import available
from console.tui.commands import COMMANDS

VIEWS = {command.label for command in COMMANDS if command.id.startswith("view.")}
PROGRAM = re.compile(r"skerry ((?:[a-z][a-z-]*\b ?)+)((?:(?:--[a-z-]+|[A-Z]+|\{subject\}) ?)*)")
VIEW = re.compile(r"([A-Z][a-z]+) views?\b|\b[Tt]he (Log|Overview)\b")


def advice(locale: str) -> Iterator[tuple[str, str]]:
    """Each alarm with its texts."""
    for name, text in of_locale(locale).alarms.items():
        yield name, " ".join((text.title, text.cause, text.consequence, text.action))


def wrong_in(text: str) -> Iterator[str]:
    """What a text names that does not exist."""
    for words, rest in PROGRAM.findall(text):
        yield from _wrong_program(words.split(), rest.split())
    for view in (one or other for one, other in VIEW.findall(text)):
        if view not in VIEWS:
            yield f"view {view}"


def _wrong_program(words: list[str], rest: list[str]) -> Iterator[str]:
    if words[0] not in PROGRAMS:
        yield f"skerry {words[0]}"
        return
    module, name = PROGRAMS[words[0]][0].split(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    for word in words[1:]:
        if not isinstance(command, click.Group) or word not in command.commands:
            yield f"skerry {' '.join(words)}"
            return
        command = command.commands[word]
    options = {option for parameter in command.params for option in parameter.opts}
    yield from (f"{word} of skerry {' '.join(words)}" for word in rest if word.startswith("--") and word not in options)


@pytest.mark.parametrize("locale", available())
def test_everything_that_is_advised_exists(locale: str) -> None:
    named = 0
    for name, text in advice(locale):
        named += len(PROGRAM.findall(text)) + len(VIEW.findall(text))
        assert list(wrong_in(text)) == [], name
    assert named >= 20, "the texts are looked through"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Look at `skerry why --at TIME`, then the Devices view.", []),
        ("Use `skerry fly`.", ["skerry fly"]),
        ("Use `skerry devices fly`.", ["skerry devices fly"]),
        ("Use `skerry why --ever T`.", ["--ever of skerry why"]),
        ("Look at the Moon view.", ["view Moon"]),
    ],
)
def test_what_does_not_exist_is_found(text: str, wrong: list[str]) -> None:
    assert list(wrong_in(text)) == wrong
