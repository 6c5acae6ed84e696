"""Objects are complete when made: nothing in gateway/ is patched into them later, and nothing imported by a string."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTERS = ("setattr", "delattr", "__setattr__", "force_setattr")
IMPORTERS = ("import_module", "__import__", "find_spec", "exec", "eval")


def outside_assignments(tree: ast.AST) -> Iterator[ast.AST]:
    """Where an attribute is set, added to or deleted other than `self.name = ...` in a method of the object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                yield node
        elif isinstance(node, ast.Call) and called(node) in SETTERS:
            yield node


def called(call: ast.Call) -> str:
    """The last part of what is called."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def secret_imports(tree: ast.AST) -> Iterator[ast.AST]:
    """Imports that import-linter cannot see."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in IMPORTERS:
            yield node


def module_trees() -> list[tuple[str, ast.Module]]:
    files = sorted((ROOT / "gateway").rglob("*.py"))
    assert len(files) > 30
    return [(str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))) for file in files]


def test_no_attribute_is_set_from_outside_its_object() -> None:
    assert [f"{name}:{n.lineno}" for name, tree in module_trees() for n in outside_assignments(tree)] == []


def test_no_module_is_imported_by_its_name_in_a_string() -> None:
    """A circle hidden that way would pass the import contract `acyclic`."""
    assert [f"{name}:{n.lineno}" for name, tree in module_trees() for n in secret_imports(tree)] == []


@pytest.mark.parametrize(
    "line",
    [
        "gateway = Gateway(); gateway.iq = iq",
        "gateway.audit_error, gateway.audit_found = error, found",
        "self._gateway.drill_due = due",
        "gateway.beside += work",
        "commands.methods |= more",
        "for gateway.iq in keepers: pass",
        "del gateway.iq",
        "setattr(gateway, name, value)",
        "object.__setattr__(gateway, name, value)",
        "gateway.iq: Keeper = keeper",
    ],
)
def test_the_rule_sees_what_patches(line: str) -> None:
    assert list(outside_assignments(ast.parse(line)))


def test_the_rule_lets_an_object_set_its_own() -> None:
    assert list(outside_assignments(ast.parse("self.a = self.b = 1; self.c[x.d] = x.e; y[0] = 2"))) == []
    assert list(secret_imports(ast.parse("importlib.import_module(name)")))
