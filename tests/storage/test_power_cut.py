"""Simulated power cuts of the shipped writers: no file is damaged, ten samples at most and no audit row are lost."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import power_cut
import pytest
from storage_samples import sampled
from waiting import LIMIT_S

from benchmarks.reliability import tell
from drivers.clock import SystemClock
from storage.audit import AuditLog
from storage.audit_file import AuditFile

CUTS = int(os.environ.get("SKERRY_SOAK_CUTS", "1000" if os.environ.get("SKERRY_SOAK") else "45"))
ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from benchmarks import records

for seconds in records.write(Path(sys.argv[1]), 2_400):
    print(seconds, flush=True)
"""
AUDIT_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from drivers.clock import SystemClock
from storage.audit import AuditLog

audit = AuditLog(Path(sys.argv[1]), "boot/2", SystemClock(), lambda line: None)
for n in range(60):
    print(audit.write({"kind": "refused", "text": str(n) * 20}).result(), flush=True)
audit.close()
"""
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace logs what is written and synced")


@pytest.mark.soak
@needs_strace
def test_a_power_cut_loses_ten_samples_at_most(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    command = [sys.executable, "-c", WRITER, str(directory), str(ROOT)]
    calls = power_cut.logged(command, directory, tmp_path / "calls")
    marks = [k for k, call in enumerate(calls) if call.kind == "mark"]
    assert len(marks) == 240
    # telemetry may lose what was sampled since the last mark: ten seconds, the time between two of them
    assert [int(calls[k].name) for k in marks] == list(range(10, 2_401, 10))
    chance, packed = random.Random(5), set()
    for number in range(CUTS):
        at = chance.randrange(marks[0] + 1, len(calls))
        out = tmp_path / "cut"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        power_cut.cut(calls[:at], number % 3, chance, out)
        promised = max(int(calls[k].name) for k in marks if k < at)
        with closing(sqlite3.connect(out / "telemetry.db")) as con:
            assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",), (at, number % 3)
            packed.add(con.execute("SELECT count(*) FROM block").fetchone()[0])
        assert len(sampled(out, "grid.w")) >= promised, (at, number % 3)
    assert packed == {0, 1}, "before and after a quarter hour was packed"
    tell("power cuts of the telemetry", CUTS)


@pytest.mark.soak
@needs_strace
def test_a_power_cut_loses_no_acknowledged_row_of_the_audit(tmp_path: Path) -> None:
    directory, before = tmp_path / "state", tmp_path / "before"
    directory.mkdir()
    audit = AuditLog(directory, "boot/1", SystemClock(), lambda line: None)
    audit.write({"kind": "refused", "text": "before"}).result(LIMIT_S)
    assert audit.close(LIMIT_S)
    shutil.copytree(directory, before)
    calls = power_cut.logged(
        [sys.executable, "-c", AUDIT_WRITER, str(directory), str(ROOT)], directory, tmp_path / "calls"
    )
    marks = [k for k, call in enumerate(calls) if call.kind == "mark"]
    assert [int(calls[k].name) for k in marks] == list(range(2, 62))
    assert {call.kind for call in calls} >= {"write", "sync", "rename"}
    chance = random.Random(6)
    for number in range(CUTS):
        at = chance.randrange(1, len(calls))
        out = tmp_path / f"cut-{number}"  # each its own: the check in the background may still read the one before
        shutil.copytree(before, out)
        power_cut.cut(calls[:at], number % 3, chance, out)
        promised = max([1, *(int(calls[k].name) for k in marks if k < at)])
        file = AuditFile(out)  # as the next start opens it
        file.ensure_open()
        file.abandon()
        assert file.head[0] >= promised, (at, number % 3)
        assert (file.found, file.changed) == ([], ""), (at, number % 3)
    tell("power cuts of the audit", CUTS)


def test_the_simulation_notices_a_writer_that_does_not_sync(tmp_path: Path) -> None:
    calls = [
        power_cut.Call("write", "a", 0, b"x" * 1024),
        power_cut.Call("sync", "a"),
        power_cut.Call("write", "a", 512, b"y" * 1024),
        power_cut.Call("truncate", "b", 3),
        power_cut.Call("mark", "promised"),
    ]
    found = set()
    for seed in range(30):
        for kind in (power_cut.LOST, power_cut.SOME, power_cut.TORN):
            shutil.rmtree(tmp_path / "cut", ignore_errors=True)
            (tmp_path / "cut").mkdir()
            power_cut.cut(calls, kind, random.Random(seed), tmp_path / "cut")
            content = (tmp_path / "cut" / "a").read_bytes()
            assert content[:512] == b"x" * 512
            found.add((kind, content[512:].replace(b"x" * 512, b"X").replace(b"y" * 512, b"Y")))
    renamed = [*calls[:2], power_cut.Call("rename", "a", to="b")]
    for synced, kinds in ((renamed, {("a",), ("b",)}), ([*renamed, power_cut.Call("sync", "")], {("b",)})):
        seen = set()
        for seed in range(30):
            shutil.rmtree(tmp_path / "cut")
            (tmp_path / "cut").mkdir()
            power_cut.cut(synced, power_cut.SOME, random.Random(seed), tmp_path / "cut")
            seen.add(tuple(path.name for path in (tmp_path / "cut").iterdir()))
        assert seen == kinds
    assert {content for kind, content in found if kind == power_cut.LOST} == {b"X"}
    assert {content for kind, content in found if kind == power_cut.SOME} == {b"X", b"YY"}
    assert {content for kind, content in found if kind == power_cut.TORN} == {b"X", b"Y", b"YY"}
