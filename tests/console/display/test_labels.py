"""The labels of screen and command line: each that is asked for is there, in every language, with the same figures."""

from __future__ import annotations

import ast
import re
import string
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import msgspec
import pytest

from console.cli import orders
from console.display.language import say, say_n, say_of
from console.display.language_choice import ENGLISH, Shown, available
from console.display.language_files import codes, label_files, read
from dispatch.alarms.states import AlarmState
from dispatch.model.decision import Mode
from dispatch.model.islanding import IslandState
from dispatch.wording import catalogue

CONSOLE = Path(__file__).resolve().parents[3] / "console"
LABELS = catalogue.ENGLISH.labels
TRANSLATIONS = [locale for locale in available() if locale != ENGLISH]
IMPORTED = "from console.display.language import"
ASKING = ("say", "say_n", "say_of")


def asked() -> Iterator[tuple[str, str, str]]:
    """(where, function, code or beginning of one) of each label that is asked for by a code that is written out."""
    for path, source, nodes in modules():
        for node in nodes if IMPORTED in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ASKING and node.args:
                where = f"{path.relative_to(CONSOLE)}:{node.lineno}"
                for code in written(node.args[0]):
                    yield where, node.func.id, code


@cache
def modules() -> list[tuple[Path, str, list[ast.AST]]]:
    """Every module of the console: path, source, nodes."""
    found = ((path, path.read_text(encoding="utf-8")) for path in CONSOLE.rglob("*.py"))
    return [(path, source, list(ast.walk(ast.parse(source)))) for path, source in found]


def written(code: ast.expr) -> Iterator[str]:
    """The codes of an expression; of one that is put together its beginning, which ends in "…"."""
    match code:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*written(body), *written(orelse))
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            yield f"{text}…"


def fields(template: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def test_every_label_that_is_asked_for_is_there() -> None:
    lacking = []
    for where, function, code in asked():
        if code.endswith("…"):
            there = any(known.startswith(code[:-1]) for known in LABELS)
        elif function == "say_n":
            there = f"{code}_1" in LABELS and f"{code}_n" in LABELS
        else:
            there = function == "say_of" or code in LABELS
        lacking += [] if there else [f"{where} {code}"]
    assert lacking == []


def test_every_label_is_asked_for() -> None:
    constants = (node.value for _, _, nodes in modules() for node in nodes if isinstance(node, ast.Constant))
    said = {value for value in constants if isinstance(value, str)}
    begun = tuple(code[:-1] for _, _, code in asked() if code.endswith("…"))
    begun += tuple(f"{code}." for _, function, code in asked() if function == "say_of")
    unused = [c for c in LABELS if c not in said and c[:-2] not in said and not c.startswith(begun)]
    assert unused == []


@pytest.mark.parametrize(
    "code",
    [
        *(f"state.{state.value}" for state in IslandState),
        *(f"mode.{mode.value}" for mode in Mode),
        *(f"alarm_state.{state.value}" for state in AlarmState),
    ],
)
def test_every_state_has_a_name(code: str) -> None:
    assert LABELS[code]


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_a_translation_has_every_label_once_with_its_figures(locale: str) -> None:
    found = [pair for path in label_files(locale) for pair in codes(tomllib.loads(path.read_text(encoding="utf-8")))]
    assert sorted(LABELS.keys() - dict(found).keys()) == [], "labels that are not translated"
    assert sorted(dict(found).keys() - LABELS.keys()) == [], "labels that English does not have"
    assert [code for code, n in Counter(code for code, _ in found).items() if n > 1] == []
    assert {code: text for code, text in found if not text or fields(text) != fields(LABELS[code])} == {}


def test_a_label_is_said_in_the_language_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert say("flow.grid") == "Grid"
    monkeypatch.setattr(Shown, "locale", "de")
    assert say("flow.grid") == "Netz"
    assert (say_n("past.waiting", 1), say_n("past.waiting", 2)) == (
        "▲ 1 Alarm zu quittieren",
        "▲ 2 Alarme zu quittieren",
    )
    assert (say_of("seen", "absent"), say_of("seen", "vendor word")) == ("fehlt", "vendor word")
    monkeypatch.setattr(Shown, "locale", "zh_CN")
    assert say("limit.contract") == "合同"


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_alarms_name_a_view_as_it_is_named_in_that_language(locale: str) -> None:
    """What to do about an alarm says where to look: by the word that stands in the footer."""
    shown = read(locale)
    names = {code: text for code, text in shown.labels.items() if code.startswith("key.view.")}
    assert len(names) >= 7
    foreign = [f" {LABELS[code]} " for code, text in names.items() if text != LABELS[code]]
    told = [f" {text} " for alarm in shown.alarms.values() for text in msgspec.structs.astuple(alarm)]
    assert [(name, text) for name in foreign for text in told if name in re.sub(r"[^\w]", " ", text)] == []


def test_what_a_translation_lacks_is_said_in_english() -> None:
    german = read("de")
    assert catalogue.label("flow.grid", german) == "Netz"
    lacking = type(german)(**{f: getattr(german, f) for f in german.__struct_fields__} | {"labels": {}})
    assert catalogue.label("link.lost", lacking, age="4s") == "NO GATEWAY 4s, retrying"
    with pytest.raises(KeyError):
        catalogue.label("no.such.label")


def test_every_command_about_orders_takes_a_language() -> None:
    commands = [one for one in vars(orders).values() if isinstance(one, click.Command)]
    assert len(commands) >= 11
    assert [one.name for one in commands if not any("--lang" in option.opts for option in one.params)] == []
