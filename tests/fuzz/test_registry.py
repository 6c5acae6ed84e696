"""No parser of bytes from outside is without a fuzz target, and each target reaches what it is registered for."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from fuzzing import Parser
from mutations import inputs
from primitives import PACKAGES, ROOT, entrances, entrances_of
from registry import EXCEPTIONS, PARSERS


@pytest.fixture(scope="module")
def found() -> list[str]:
    """Every entrance of the project; not looked for at import, which each process of the tests would do."""
    return sorted({entrance for package in PACKAGES for entrance, _ in entrances(package)})


def test_every_entrance_is_registered_or_an_exception(found: list[str]) -> None:
    covered = {entrance for parser in PARSERS for entrance in parser.covers}
    missing = [entrance for entrance in found if entrance not in covered | EXCEPTIONS.keys()]
    assert missing == [], "give each a fuzz target in tests/fuzz, or say in EXCEPTIONS of registry.py why it needs none"


def test_what_is_registered_or_an_exception_exists(found: list[str]) -> None:
    """Renamed, or read by another function now: then its entry goes, too."""
    named = [entrance for parser in PARSERS for entrance in parser.covers] + [*EXCEPTIONS]
    assert [entrance for entrance in named if entrance not in found] == []
    assert [entrance for entrance in named[: -len(EXCEPTIONS)] if entrance in EXCEPTIONS] == []


def test_names_are_told_apart() -> None:
    assert len({parser.name for parser in PARSERS}) == len(PARSERS)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(p):\n    return json.loads(p)", [("m:f", "json.loads")]),
        ("class C:\n    def g(self):\n        self.x.recv(4)", [("m:C.g", ".recv")]),
        ("def f(p):\n    def inner():\n        return p.read_bytes()\n    return inner", [("m:f", ".read_bytes")]),
        ("X = os.environ.get('X')", [("m:<module>", "os.environ")]),
        (
            "def f(p):\n    open(p)\n    open(p, 'w')\n    p.open('rb')\n    p.open('wb')",
            [("m:f", "open"), ("m:f", ".open")],
        ),
        ("def f(p):\n    with p.open(newline='') as file:\n        pass", [("m:f", ".open")]),
        ("def f(x):\n    return msgspec.json.encode(x).decode()", []),
        ("def f(device):\n    device.open()", []),
    ],
)
def test_the_search_finds_primitives(source: str, found: list[tuple[str, str]]) -> None:
    assert list(entrances_of("m", source)) == found


@contextmanager
def functions_called() -> Iterator[Callable[[], set[str]]]:
    """Gives module:function of ours that have run meanwhile, in any thread."""
    ran: dict[int, CodeType] = {}  # by id: the hash of code is slow, and this is run at every call

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            ran[id(frame.f_code)] = frame.f_code

    def called() -> set[str]:
        ours = [code for code in ran.copy().values() if code.co_filename.startswith(f"{ROOT}/")]
        return {f"{module_of(code)}:{code.co_qualname.split('.<locals>')[0]}" for code in ours}

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def module_of(code: CodeType) -> str:
    return code.co_filename.removeprefix(f"{ROOT}/").removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_target_reaches_what_it_is_registered_for(parser: Parser, tmp_path: Path) -> None:
    """With its examples and ten other inputs; it ends as soon as all is reached."""
    chance = random.Random(parser.name)
    with functions_called() as called, parser.session(tmp_path) as feed:
        for data in inputs(parser.examples(), parser.tree, 10, chance):
            try:
                feed(data)
            except parser.errors:
                pass
            if called().issuperset(parser.covers):
                break
    assert [entrance for entrance in parser.covers if entrance not in called()] == []
