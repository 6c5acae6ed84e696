"""Small faults of a program's text, drawn by a seed: another comparison, number, operator, a condition turned round.

The draw goes by a hash of seed, file, line and change: a change of one function leaves the draw elsewhere as it was.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "True": "False", "False": "True"}
TOLD = (
    "Reason",
    "log",
    "_event",
    "ValueError",
    "BadReply",
    "raise",
)  # calls whose arguments are words and figures for people


class Mutation(NamedTuple):
    """One changed place of a file: `old` at `at` (characters from its beginning) becomes `new`."""

    file: str
    at: int
    old: str
    new: str
    what: str = ""  # in words, where a person wrote it

    def applied(self, source: str) -> str:
        """The text with the fault. Raises ValueError if it is not the text that the mutation was made for."""
        if not source.startswith(self.old, self.at):
            raise ValueError(f"{self.file}: {self.old!r} is not at character {self.at}")
        return source[: self.at] + self.new + source[self.at + len(self.old) :]

    def lines(self, source: str) -> tuple[int, str, str]:
        """Number of the first line, the lines before and after, without their indent."""
        begin = source.rfind("\n", 0, self.at) + 1
        changed = self.applied(source)
        end, end_after = (
            text.find("\n", self.at + len(part)) for text, part in ((source, self.old), (changed, self.new))
        )
        return source.count("\n", 0, self.at) + 1, source[begin:end].strip(), changed[begin:end_after].strip()


def drawn(root: Path, files: Sequence[str], count: int, seed: int) -> list[Mutation]:
    """So many mutations of these files, at most one on a line."""
    found: list[tuple[str, Mutation]] = []
    for name in files:
        source = (root / name).read_text(encoding="utf-8")
        seen: Counter[tuple[str, str]] = Counter()
        for mutation in candidates(name, source):
            _, before, after = mutation.lines(source)
            seen[before, after] += 1
            key = f"{seed} {name} {before} {after} {seen[before, after]}"
            found.append((hashlib.sha256(key.encode()).hexdigest(), mutation))
    chosen: dict[tuple[str, int], Mutation] = {}
    for _, mutation in sorted(found):
        if len(chosen) == count:
            break
        line = (root / mutation.file).read_text(encoding="utf-8").count("\n", 0, mutation.at)
        chosen.setdefault((mutation.file, line), mutation)
    return list(chosen.values())


def candidates(file: str, source: str) -> Iterator[Mutation]:
    """Every mutation of a file, in its order. Words for people, annotations and imports are left alone."""
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    text = source.encode()

    def begin(node: ast.expr | ast.stmt) -> int:
        return lines[node.lineno - 1] + node.col_offset

    def end(node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return lines[node.end_lineno - 1] + node.end_col_offset

    def mutation(since: int, until: int, old: str, new: str) -> Iterator[Mutation]:
        at = text.find(old.encode(), since, until)
        if at >= 0:
            yield Mutation(file, len(text[:at].decode()), old, new)

    for node in _code(ast.parse(source)):
        if isinstance(node, ast.Compare):
            for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                yield from mutation(end(left), begin(right), *COMPARISONS[type(op)])
        elif isinstance(node, ast.BoolOp):
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from mutation(end(left), begin(right), old, new)
        elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            yield from mutation(end(node.left), begin(node.right), *OPERATORS[type(node.op)])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            old = "not " if isinstance(node.op, ast.Not) else "-"
            yield from mutation(begin(node), end(node.operand), old, "")
        elif isinstance(node, ast.Name) and node.id in NAMES:
            yield from mutation(begin(node), end(node), node.id, NAMES[node.id])
        elif isinstance(node, ast.Constant):
            yield from mutation(begin(node), end(node), *_other_constant(node, text[begin(node) : end(node)].decode()))
        elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
            old = text[begin(node.test) : end(node.test)].decode()
            yield from mutation(begin(node.test), end(node.test), old, f"not ({old})")
        elif isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Await)):
            yield from mutation(begin(node), end(node), text[begin(node) : end(node)].decode(), "pass")


def _other_constant(node: ast.Constant, old: str) -> tuple[str, str]:
    if isinstance(node.value, bool):
        return old, NAMES[old]
    if isinstance(node.value, (int, float)):
        return old, f"({old} + 1)" if isinstance(node.value, int) else f"(2 * {old} + 1)"
    return "\0", ""  # texts stay


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that do something, in the order of the text."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom, ast.Raise, ast.Assert, ast.JoinedStr)):
            continue
        if isinstance(child, ast.Call) and _called(child).startswith(TOLD):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(node, ast.AnnAssign) and child is node.annotation:
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
            child is node.returns or child in node.decorator_list
        ):
            continue
        if isinstance(node, (ast.arg, ast.arguments)) or (isinstance(node, ast.keyword) and node.arg == "strict"):
            continue  # annotations, defaults, and a check that never fails
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _code(child)


def _called(call: ast.Call) -> str:
    func = call.func
    while isinstance(func, ast.Attribute):
        func = func.value if isinstance(func.value, (ast.Name, ast.Attribute)) else ast.Name(func.attr)
    return func.id if isinstance(func, ast.Name) else ""
