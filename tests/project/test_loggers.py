"""Loggers have one scheme: "skerry." and the package of the module, such as skerry.gateway.api."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("console", "dispatch", "drivers", "fleet", "gateway", "skerry", "storage")
OTHERS = ("matplotlib", "pymodbus")  # libraries that are told to be quiet


def loggers(source: str) -> Iterator[tuple[int, str | None]]:
    """Line and name of every logger asked for; None: no string literal."""
    if "getLogger" not in source:  # saves reading the whole project's syntax trees
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "getLogger":
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            yield node.lineno, name if isinstance(name, str) else None


def breaks(path: Path, source: str) -> list[str]:
    """What is against the scheme in a module; `path` is relative to the project."""
    expected = ".".join(("skerry", *path.parent.parts))
    return [
        f"{path}:{line}: logger {name!r}, expected {expected!r}"
        for line, name in loggers(source)
        if name not in (expected, *OTHERS)
    ]


def test_every_logger_has_the_name_of_its_package() -> None:
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    sources = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in modules}
    assert sum(len(list(loggers(source))) for source in sources.values()) >= 5
    assert [line for path, source in sources.items() for line in breaks(path, source)] == []


@pytest.mark.parametrize(
    "call", ['logging.getLogger("skerry.poller")', "logging.getLogger(__name__)", "getLogger()", 'getLogger("root")']
)
def test_another_name_is_found(call: str) -> None:
    assert breaks(Path("gateway/poller.py"), f"log = {call}\n") != []
    assert breaks(Path("gateway/poller.py"), 'log = logging.getLogger("skerry.gateway")\n') == []
