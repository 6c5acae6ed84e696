"""The short form of `make mutations`: all of them can be made, what is listed exists, and the judge can judge."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from benchmarks.drawn_mutations import Mutation, candidates, drawn
from benchmarks.mutations import ROOT, Area, Plan, Written, copy_of_the_tree, judged, load, mutations

SOURCE = '''"""A module."""
LIMIT_W = 5


def f(a: int = 3, *, b: bool = False) -> bool:
    """Words."""
    if not b and a < LIMIT_W:
        raise ValueError(f"a = {a}: expected {LIMIT_W + 1}")
    return a - 1 in (2, 4)
'''


def changes(source: str) -> list[str]:
    return [" -> ".join(mutation.lines(source)[1:]) for mutation in candidates("m.py", source)]


def test_what_is_changed_and_what_is_not() -> None:
    assert changes(SOURCE) == [
        "LIMIT_W = 5 -> LIMIT_W = (5 + 1)",
        "if not b and a < LIMIT_W: -> if not (not b and a < LIMIT_W):",
        "if not b and a < LIMIT_W: -> if not b or a < LIMIT_W:",
        "if not b and a < LIMIT_W: -> if b and a < LIMIT_W:",
        "if not b and a < LIMIT_W: -> if not b and a <= LIMIT_W:",
        "return a - 1 in (2, 4) -> return a - 1 not in (2, 4)",
        "return a - 1 in (2, 4) -> return a + 1 in (2, 4)",
        "return a - 1 in (2, 4) -> return a - (1 + 1) in (2, 4)",
        "return a - 1 in (2, 4) -> return a - 1 in ((2 + 1), 4)",
        "return a - 1 in (2, 4) -> return a - 1 in (2, (4 + 1))",
    ]


def test_the_draw_is_the_same_and_stays_where_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(SOURCE)
    before = drawn(tmp_path, ["m.py"], 3, seed=1)
    assert before == drawn(tmp_path, ["m.py"], 3, seed=1)
    assert len({mutation.lines(SOURCE)[0] for mutation in before}) == 3, "one on a line"
    (tmp_path / "m.py").write_text(SOURCE + "\n\nX = 0 if f(1) else 1\n")
    again = drawn(tmp_path, ["m.py"], 4, seed=1)
    assert {(m.at, m.new) for m in before} <= {(m.at, m.new) for m in again}


def test_all_can_be_made_and_what_is_listed_exists() -> None:
    plan = load()
    found = mutations(plan)
    written = [mutation for mutation in found if mutation.what]
    assert len(written) >= 30
    assert len(found) - len(written) >= 60
    for mutation in found:
        ast.parse(mutation.applied((ROOT / mutation.file).read_text(encoding="utf-8")))
        assert all((ROOT / test).exists() for test in plan.tests_of(mutation.file))
    for entry in plan.equivalent:
        source = (ROOT / entry.file).read_text(encoding="utf-8")
        possible = (mutation.lines(source)[1:] for mutation in candidates(entry.file, source))
        assert (entry.old, entry.new) in possible, f"{entry.file} has no such line any more: take it off the list"


def test_the_judge_tells_what_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take most of the time
    (tmp_path / "m.py").write_text("def f(a: int) -> bool:\n    return a > 5\n")
    (tmp_path / "test_m.py").write_text("from m import f\n\n\ndef test_f() -> None:\n    assert not f(5)\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    plan = Plan(1, (Area("a", 0, ("m.py",), ("test_m.py",)),), (Written("at 5", "m.py", "> 5", ">= 5"),))
    with copy_of_the_tree(tmp_path) as tree:
        assert sorted(path.name for path in tree.iterdir()) == ["m.py", "test_m.py"]
        (noticed,) = mutations(plan, tmp_path)
        assert judged(plan, noticed, tree) == "noticed"
        assert judged(plan, Mutation("m.py", noticed.at, "> 5", "> 6"), tree) == "SURVIVED"
        assert (tree / "m.py").read_text() == (tmp_path / "m.py").read_text()
    with pytest.raises(ValueError, match=r"m\.py: '> 5' is not at character 0"):
        Mutation("m.py", 0, "> 5", "").applied("x")
