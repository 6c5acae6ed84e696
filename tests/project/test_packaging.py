"""The distribution says what it holds and what it needs: packages, data, dependencies, pins."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("console", "dispatch", "drivers", "fleet", "gateway", "storage")
REQUIREMENT = re.compile(r"^[A-Za-z0-9._-]+")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def canonical(requirement: str) -> str:
    match = REQUIREMENT.match(requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


DOCS_ONLY = "# Only for `make docs`."  # in constraints.txt, before what `make install` does not install


def pins(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def constraints() -> str:
    return (ROOT / "constraints.txt").read_text(encoding="utf-8")


def directories_with_code() -> set[str]:
    return {
        ".".join(file.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if "__pycache__" not in file.parts
    }


def test_every_package_is_named(project: dict[str, Any]) -> None:
    named = project["tool"]["setuptools"]["packages"]
    expected = ["skerry", *(f"skerry._packages.{package}" for package in directories_with_code())]
    assert sorted(named) == sorted(expected)


def test_every_data_file_is_package_data(project: dict[str, Any]) -> None:
    """A file beside the code that no pattern takes along would be missing from the wheel only."""
    patterns = project["tool"]["setuptools"]["package-data"]
    shipped = {
        file
        for package, globs in patterns.items()
        for glob in globs
        for file in (ROOT / package.removeprefix("skerry._packages.").replace(".", "/")).glob(glob)
    }
    present = {
        file
        for room in (*ROOMS, "skerry")
        for file in (ROOT / room).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc", ".md", ".tmp")
    }
    assert present == shipped


def third_party_imports(files: list[Path]) -> dict[str, str]:
    """Top-level module -> one file that imports it."""
    found: dict[str, str] = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top not in (*ROOMS, "skerry"):
                    found.setdefault(top, str(file.relative_to(ROOT)))
    return found


def test_every_import_is_declared(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]  # imported only when they are asked for
    named = [requirement for extra in ("dask", "hub", "parquet", "pictures") for requirement in extras[extra]]
    declared = {canonical(r) for r in (*project["project"]["dependencies"], *named)}
    owners = {"nats": ["nats-py"], **metadata.packages_distributions()}  # the extra [hub] need not be installed
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    undeclared = {
        module: where
        for module, where in third_party_imports(files).items()
        if not declared & {canonical(owner) for owner in owners.get(module, [module])}
    }
    assert undeclared == {}


def test_every_requirement_is_pinned(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    named = [requirement for extra in ("hub", "pictures", "test", "dev", "docs") for requirement in extras[extra]]
    ranges = (*project["project"]["dependencies"], *named)
    required = {canonical(r) for r in ranges} - {"skerry"}
    lines = pins(constraints())
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line)] == []
    assert required - {canonical(line) for line in lines} == set()


def test_tests_run_with_the_pinned_releases() -> None:
    """Otherwise a green run says nothing of what `make install` gives to others."""
    installed_by_make, marker, _ = constraints().partition(DOCS_ONLY)
    assert marker
    differing = []
    for line in pins(installed_by_make):
        name, _, pinned = line.partition("==")
        installed = metadata.version(name)
        if installed != pinned:
            differing.append(f"{name}: pinned {pinned}, installed {installed}")
    assert differing == []
