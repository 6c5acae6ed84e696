"""No module and no sub-package imports itself in a circle, however the import is hidden.

The graph is read from the syntax trees: imports in functions, under TYPE_CHECKING and in `try` count like any other.
Imports by name (`importlib.import_module`, `__import__`) count too: a constant is read, a table is named in `BY_NAME`.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("console", "dispatch", "drivers", "fleet", "gateway", "skerry", "storage")
DYNAMIC = frozenset(
    {"import_module", "__import__", "find_spec", "run_module", "spec_from_file_location", "exec", "eval"}
)

Graph = dict[str, dict[str, int]]  # importer -> imported -> line of the first import


def _command_modules() -> Iterable[str]:
    from console.cli.main import COMMANDS

    return {target.partition(":")[0] for target, _ in COMMANDS.values()}


def _view_modules() -> Iterable[str]:
    from console.tui.viewing import VIEW_CLASSES

    return {module for module, _ in VIEW_CLASSES.values()}


# Modules that import by name, and which names: those of the table that they read.
BY_NAME: Mapping[str, Callable[[], Iterable[str]]] = {
    "console.cli.main": _command_modules,
    "console.tui.viewing": _view_modules,
}


def project_modules(root: Path, packages: Iterable[str] = PACKAGES) -> dict[str, Path]:
    """Every module below the packages by its name; a package's name is that of its `__init__`."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_names(module: str, path: Path) -> Iterator[tuple[str, str | None, int]]:
    """(module, name in it, line) of each import statement, and of each import by a constant name."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield base, alias.name, node.lineno
        elif (named := _by_name(node)) is not None and named.args and isinstance(named.args[0], ast.Constant):
            yield str(named.args[0].value), None, named.lineno


def _by_name(node: ast.AST) -> ast.Call | None:
    """The node as a call that imports a module by its name, or None."""
    if not isinstance(node, ast.Call):
        return None
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return node if called in DYNAMIC else None


def import_graph(modules: Mapping[str, Path], by_name: Mapping[str, Callable[[], Iterable[str]]]) -> Graph:
    """Which module of the project imports which, with the line of the first such import."""
    graph: Graph = {module: {} for module in modules}
    for module, path in modules.items():
        named = [(name, None, 0) for name in by_name.get(module, tuple)()]
        for base, name, line in (*imported_names(module, path), *named):
            target = f"{base}.{name}" if name is not None and f"{base}.{name}" in modules else base
            while target and target not in modules:
                target = target.rpartition(".")[0]  # `import package.module.Name` and the like
            if target and target != module:
                graph[module].setdefault(target, line)
    return graph


def sub_packages(graph: Graph) -> Graph:
    """The same between sub-packages: the first two parts of a module's name."""
    result: Graph = {}
    for module, targets in graph.items():
        importer = ".".join(module.split(".")[:2])
        edges = result.setdefault(importer, {})
        for target, line in targets.items():
            if (imported := ".".join(target.split(".")[:2])) != importer:
                edges.setdefault(imported, line)
                result.setdefault(imported, {})
    return result


def circles(graph: Graph) -> list[list[str]]:
    """A shortest circle through each import that closes one, each circle once; begins and ends with the same module."""
    found: dict[frozenset[str], list[str]] = {}
    graph = core(graph)
    for module, targets in graph.items():
        for target in targets:
            if (back := shortest_path(graph, target, module)) is not None:
                found.setdefault(frozenset(back), [module, *back])
    return sorted(found.values(), key=lambda path: (len(path), path))


def core(graph: Graph) -> Graph:
    """The graph without the modules from which no way leads back: those that import nothing that may."""
    while leaves := [module for module, targets in graph.items() if not targets]:
        kept = graph.keys() - set(leaves)
        graph = {
            module: {t: line for t, line in graph[module].items() if t in kept} for module in graph if module in kept
        }
    return graph


def shortest_path(graph: Graph, start: str, end: str) -> list[str] | None:
    """The modules from one to another along imports, both included; None where there is no way."""
    came_from = {start: ""}
    queue = deque([start])
    while queue:
        module = queue.popleft()
        if module == end:
            path = [module]
            while came_from[path[-1]]:
                path.append(came_from[path[-1]])
            return path[::-1]
        for target in graph[module]:
            if target not in came_from:
                came_from[target] = module
                queue.append(target)
    return None


def written(found: Iterable[list[str]]) -> str:
    return "\n".join(" -> ".join(path) for path in found)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return import_graph(project_modules(ROOT), BY_NAME)


def test_no_circle_among_modules(graph: Graph) -> None:
    found = circles(graph)
    assert not found, f"modules import each other in a circle:\n{written(found)}"


def test_no_circle_among_sub_packages(graph: Graph) -> None:
    found = circles(sub_packages(graph))
    assert not found, f"sub-packages import each other in a circle:\n{written(found)}"


def test_every_import_by_name_is_known(graph: Graph) -> None:
    """A call with anything but a constant must be in `BY_NAME`, and what that names must exist."""
    modules = project_modules(ROOT)
    callers = set()
    for module, path in modules.items():
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if any(name in source for name in DYNAMIC) else ():
            call = _by_name(node)
            if call is not None and not (call.args and isinstance(call.args[0], ast.Constant)):
                callers.add(module)
    assert callers == set(BY_NAME)
    for module, names in BY_NAME.items():
        assert set(names()) <= modules.keys()
        assert set(names()) <= graph[module].keys(), "the circle tests see them"


SOURCES = {
    "plainly": "from room.b import thing",
    "as a module": "from room import b",
    "in a function": "def f():\n    import room.b\n",
    "for types only": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room.b import thing",
    "if it can": "try:\n    import room.b as other\nexcept ImportError:\n    other = None",
    "relatively": "from . import b",
    "relatively from it": "from .b import thing",
    "by name": "import importlib\nthing = importlib.import_module('room.b')",
    "with the builtin": "thing = __import__('room.b')",
}


@pytest.mark.parametrize("how", SOURCES)
def test_a_circle_is_found(how: str, tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    for name, source in (("__init__", ""), ("a", SOURCES[how]), ("b", "from room.c import x"), ("c", "import room.a")):
        (tmp_path / "room" / f"{name}.py").write_text(source)
    graph = import_graph(project_modules(tmp_path, ["room"]), {})
    assert written(circles(graph)) == "room.a -> room.b -> room.c -> room.a"


def test_a_circle_through_a_table_of_names_is_found(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("import importlib\nimportlib.import_module(TABLE[0])")
    (tmp_path / "room" / "b.py").write_text("import room.a")
    modules = project_modules(tmp_path, ["room"])
    assert circles(import_graph(modules, {})) == []
    assert circles(import_graph(modules, {"room.a": lambda: ["room.b"]})) == [["room.a", "room.b", "room.a"]]


def test_a_circle_among_sub_packages_is_found(tmp_path: Path) -> None:
    sources = {"x/one.py": "import room.y.two", "y/two.py": "", "y/three.py": "import room.x.one"}
    for name, source in sources.items():
        (tmp_path / "room" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "room" / name).write_text(source)
    graph = import_graph(project_modules(tmp_path, ["room"]), {})
    assert circles(graph) == []
    assert circles(sub_packages(graph)) == [["room.x", "room.y", "room.x"]]
