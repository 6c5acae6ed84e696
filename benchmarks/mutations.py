"""Which faults in the program the tests notice: some written by hand, some drawn by a seed, all in mutations.toml.

Each is made in a copy of the tree, where the tests of that file run until the first one fails. What no test notices is
either listed there with the reason why it changes nothing (`[[equivalent]]`), or a test is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import msgspec

from benchmarks.drawn_mutations import Mutation, drawn
from benchmarks.reliability import tell

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).with_suffix(".toml")
LIMIT_S = 600.0  # of the tests of one mutation; a fault may have them wait for ever, which is noticed, too

Verdict = Literal["noticed", "equivalent", "SURVIVED"]


class Area(msgspec.Struct, frozen=True):
    """Some files, how many mutations are drawn from them, and their tests, the most telling first."""

    name: str
    draw: int
    files: tuple[str, ...]
    tests: tuple[str, ...]


class Written(msgspec.Struct, frozen=True):
    """A fault that somebody thought of; `old` is in the file once."""

    what: str
    file: str
    old: str
    new: str


class Equivalent(msgspec.Struct, frozen=True):
    """A line of which a change is not noticed, because nothing that matters changes."""

    file: str
    old: str  # the line, without its indent
    new: str
    why: str


class Plan(msgspec.Struct, frozen=True):
    """mutations.toml."""

    seed: int
    area: tuple[Area, ...]
    written: tuple[Written, ...]
    equivalent: tuple[Equivalent, ...] = ()

    def tests_of(self, file: str) -> tuple[str, ...]:
        """Where the tests of a file are. Raises StopIteration for a file of no area."""
        return next(area.tests for area in self.area if file in area.files)


def load(path: Path = DATA) -> Plan:
    """Read the plan. Raises msgspec.ValidationError."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Plan)


def mutations(plan: Plan, root: Path = ROOT) -> list[Mutation]:
    """All of them: the written ones first. Raises ValueError for one that the files do not have once."""
    found = []
    for one in plan.written:
        source = (root / one.file).read_text(encoding="utf-8")
        if source.count(one.old) != 1:
            has = f"{one.file} has {one.old!r} {source.count(one.old)} times, expected once"
            raise ValueError(
                f"{has}: write the fault {one.what!r} in benchmarks/mutations.toml for the line as it is now"
            )
        found.append(Mutation(one.file, source.index(one.old), one.old, one.new, one.what))
    for area in plan.area:
        found += drawn(root, area.files, area.draw, plan.seed)
    return found


def why_equivalent(plan: Plan, mutation: Mutation, root: Path = ROOT) -> str:
    """The reason on the list; empty for a mutation that is not on it."""
    _, before, after = mutation.lines((root / mutation.file).read_text(encoding="utf-8"))
    return next(
        (e.why for e in plan.equivalent if (e.file, e.old, e.new) == (mutation.file, before, after)),
        "",
    )


@contextlib.contextmanager
def copy_of_the_tree(root: Path) -> Iterator[Path]:
    """What git tracks or would track."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="skm") as folder:
        for name in filter(None, names):
            if (root / name).is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, Path(folder) / name)
        yield Path(folder)


def fails(tree: Path, tests: Sequence[str], limit_s: float = LIMIT_S) -> bool:
    """Whether a test fails there, or does not end. Raises ValueError where none runs at all."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests]
    with tempfile.TemporaryDirectory(prefix="skm") as base:
        process = subprocess.Popen(
            [*command, f"--basetemp={base}/t"],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return True
    if process.returncode not in (0, 1, 2) and process.returncode > 0:  # 2: a file cannot even be imported
        raise ValueError(f"no test ran in {', '.join(tests)}:\n{said[-2000:]}")
    return process.returncode != 0


def judged(plan: Plan, mutation: Mutation, tree: Path) -> Verdict:
    """Try one in a copy of the tree, which is as before afterwards."""
    file = tree / mutation.file
    source = file.read_text(encoding="utf-8")
    listed = why_equivalent(plan, mutation, tree)
    file.write_text(mutation.applied(source), encoding="utf-8")
    try:
        noticed = fails(tree, plan.tests_of(mutation.file))
    finally:
        file.write_text(source, encoding="utf-8")
    return "noticed" if noticed else "equivalent" if listed else "SURVIVED"


def run(plan: Plan, chosen: Sequence[Mutation], jobs: int) -> dict[Mutation, Verdict]:
    """Try them, each job in its own copy of the tree. Raises ValueError if the tests fail without any fault."""
    with contextlib.ExitStack() as stack:
        places = {m: m.lines((ROOT / m.file).read_text(encoding="utf-8")) for m in chosen}
        trees: SimpleQueue[Path] = SimpleQueue()
        for _ in range(jobs):
            trees.put(stack.enter_context(copy_of_the_tree(ROOT)))

        def one(mutation: Mutation) -> Verdict:
            tree, began_s = trees.get(), time.monotonic()
            try:
                verdict = judged(plan, mutation, tree)
            finally:
                trees.put(tree)
            number, before, after = places[mutation]
            words = mutation.what or f"{before}  ->  {after}"
            print(f"{verdict:10} {time.monotonic() - began_s:5.1f} s  {mutation.file}:{number}  {words}", flush=True)
            return verdict

        def sound(tests: tuple[str, ...]) -> bool:
            tree = trees.get()
            try:
                return not fails(tree, tests)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(jobs) as pool:
            needed = sorted({plan.tests_of(mutation.file) for mutation in chosen})
            for tests, is_sound in zip(needed, pool.map(sound, needed), strict=True):
                if not is_sound:
                    raise ValueError(f"these fail without any fault: {', '.join(tests)}")
            return dict(zip(chosen, pool.map(one, chosen), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all or some. 1: a fault was not noticed and is not listed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="copies of the tree at a time (2)")
    parser.add_argument("--only", default="", help="those whose file or description contains this")
    options = parser.parse_args(arguments)
    plan = load()
    chosen = [m for m in mutations(plan) if options.only in f"{m.file} {m.what}"]
    verdicts: list[Any] = list(run(plan, chosen, options.jobs).values())
    written = sum(bool(m.what) for m in chosen)
    tell("faults written by hand", written)
    tell(f"drawn by seed {plan.seed}", len(chosen) - written)
    for verdict in ("noticed", "equivalent", "SURVIVED"):
        tell(
            {"equivalent": "listed as equivalent", "SURVIVED": "not noticed"}.get(verdict, verdict),
            verdicts.count(verdict),
        )
    return int("SURVIVED" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
