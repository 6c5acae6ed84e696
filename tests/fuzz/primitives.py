"""Finds, in the source, every function by which bytes or text from outside the process enter it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("console", "dispatch", "drivers", "fleet", "gateway", "storage")

# Calls by their full name, and methods by their name alone: whose they are is not known without running the code.
CALLS = frozenset(
    (
        *(
            "json.load",
            "json.loads",
            "tomllib.load",
            "tomllib.loads",
            "csv.reader",
            "csv.DictReader",
            "int.from_bytes",
            "ElementTree.fromstring",
        ),
        *("gzip.open", "gzip.decompress", "gzip.GzipFile", "zlib.decompress", "zlib.decompressobj", "sqlite3.connect"),
        *("decoded", "open", "os.read", "os.getenv", "msgspec.convert", "struct.unpack", "struct.unpack_from"),
    )
)
METHODS = frozenset(
    (
        *("read_bytes", "read_text", "decode", "unpack", "unpack_from", "iter_unpack", "communicate"),
        *("recv", "recvfrom", "recvmsg", "readexactly", "readline", "readuntil", "read_holding_registers"),
        "read_input_registers",
    )
)
READING = frozenset(("r", "rb", "rt"))


def entrances(package: str) -> Iterator[tuple[str, str]]:
    """(module:function, primitive) of every function of a package that contains a primitive."""
    for file in sorted((ROOT / package).rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield from entrances_of(module, file.read_text(encoding="utf-8"))


def entrances_of(module: str, source: str) -> Iterator[tuple[str, str]]:
    """As `entrances`, of one module's source. What a nested function does counts for the outermost one."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield from ((f"{module}:{node.name}.{_name(inner)}", what) for what in _primitives(inner))
        else:
            yield from ((f"{module}:{_name(node)}", what) for what in _primitives(node))


def _name(node: ast.AST) -> str:
    return node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else "<module>"


def _primitives(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and _dotted(inner) == "os.environ":
            yield "os.environ"
        if not isinstance(inner, ast.Call):
            continue
        called = _dotted(inner.func)
        method = inner.func.attr if isinstance(inner.func, ast.Attribute) else ""
        if called in CALLS and not (called == "open" and not _reads(inner.args[1:2])):
            yield called
        elif method == "open" and _is_files(inner) and _reads(inner.args[:1]):
            yield ".open"
        elif method in METHODS and not (method == "decode" and _encoded_here(inner.func)):
            yield f".{method}"


def _reads(mode: list[ast.expr]) -> bool:
    """Whether a call of open reads. One whose mode is not a plain text may."""
    return not mode or not isinstance(mode[0], ast.Constant) or mode[0].value in READING


def _is_files(call: ast.Call) -> bool:
    """Whether a method `open` is that of a path: it has a mode, or what only files have. Devices are opened, too."""
    modes = [a.value for a in call.args[:1] if isinstance(a, ast.Constant)]
    return any(isinstance(mode, str) for mode in modes) or any(
        keyword.arg in ("mode", "encoding", "newline", "errors") for keyword in call.keywords
    )


def _encoded_here(func: ast.expr) -> bool:
    """`….encode(…).decode()`: bytes made in the same expression."""
    value = func.value if isinstance(func, ast.Attribute) else None
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "encode"


def _dotted(node: ast.expr) -> str:
    """`a.b.c` as text; empty where it is not made of names alone."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
