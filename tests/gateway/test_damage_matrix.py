"""1000 flipped bits and torn pages in each kind of file that a start reads: it starts, and says what was damaged.

A page of SQLite is chosen by its kind, so that each kind is hit as often. One of each in `make test`; `make damage`
tries them all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from small_gateway import ROOT, SITE
from storage_samples import feed
from test_damaged_start import UP_S, started
from waiting import LIMIT_S

from benchmarks.reliability import tell
from drivers.clock import SystemClock
from drivers.nodes.known_gpus import GpuRecord
from gateway.api.ask import ask
from gateway.errors import LinkLost, RequestFailed
from gateway.site.loader import SiteFileError, load
from storage.audit import AuditLog
from storage.audit_file import AuditFile
from storage.audit_self_check import BackgroundCheck
from storage.config import StorageConfig
from storage.identity import establish
from storage.recorder import Recorder
from storage.verify import CannotVerify, verify

DAMAGES = int(os.environ.get("SKERRY_SOAK_DAMAGES", "1"))  # of each kind of file
pytestmark = pytest.mark.timeout(300 if DAMAGES == 1 else 0)  # a busy machine is given its time
LONG_ROW = "x" * 6_000  # spills over into pages of its own
SECTOR = 512
WAL_HEADER, FRAME_HEADER = 32, 24
BTREE_PAGES = {2: "interior of an index", 5: "interior of a table", 10: "leaf of an index", 13: "leaf of a table"}
KINDS = (
    *("audit.db", "audit.db-wal", "telemetry.db", "telemetry.db-wal", "audit.key", "audit.head"),
    *("identity.json", "incarnation.json", "gpus.json", "controller memory", "prices.csv"),
)


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory as a gateway leaves it that was killed: every file, both WALs full."""
    at_work, place = tmp_path_factory.mktemp("at-work"), tmp_path_factory.mktemp("left") / "state"
    audit = AuditLog(at_work, "boot/1", SystemClock(), lambda line: None)
    rows = [audit.write({"kind": "refused", "text": f"{n} {LONG_ROW if n % 50 == 0 else ''}"}) for n in range(240)]
    assert [row.result(LIMIT_S) for row in rows] == list(range(1, 241))
    assert audit.close(LIMIT_S)
    establish(at_work)
    (at_work / "gpus.json").write_bytes(msgspec.json.encode(GpuRecord(count=1, original_mw={"GPU-1": 300_000})))
    (at_work / "prices.csv").write_text(
        "start_utc,price_eur_per_mwh\n2025-09-16T00:00:00Z,10\n2025-09-16T01:00:00Z,20\n"
    )
    recorder = Recorder(at_work, StorageConfig(), "boot")
    feed(recorder, range(1_200))
    recorder.save_state("controller", {"pulses_seen": 7})
    recorder.flush().result(LIMIT_S)
    open_audit = AuditFile(at_work)
    con = open_audit.ensure_open()
    for n in range(20):  # behind these the head is kept, and nothing is folded into the file
        open_audit.append(con, [{"kind": "refused", "text": f"in the WAL {n}"}])
    open_audit.keep_head()
    shutil.copytree(at_work, place, ignore=shutil.ignore_patterns("*-shm"))
    open_audit.abandon()
    recorder.close()
    assert (place / "audit.db-wal").stat().st_size > 20 * 4096
    return place


def page_kind(page: bytes, number: int) -> str:
    return "the first" if number == 0 else BTREE_PAGES.get(page[0], "overflow or free")


def hit(content: bytes, name: str, chance: random.Random) -> tuple[bytes, str]:
    """The content with a bit flipped or a part of a page as it never was; and where."""
    where, begin, length = "", 0, len(content)
    if name.endswith(".db"):
        size = struct.unpack(">H", content[16:18])[0]
        pages = defaultdict(list)
        for number in range(len(content) // size):
            pages[page_kind(content[number * size : (number + 1) * size], number)].append(number)
        where = chance.choice(sorted(pages))
        begin, length = chance.choice(pages[where]) * size, size
    elif name.endswith("-wal"):
        frame = FRAME_HEADER + struct.unpack(">I", content[8:12])[0]
        frames = (len(content) - WAL_HEADER) // frame
        where = chance.choice(("header", "any frame", "newest frame"))
        number = frames - 1 if where == "newest frame" else chance.randrange(frames)
        begin, length = (0, WAL_HEADER) if where == "header" else (WAL_HEADER + number * frame, frame)
    changed = bytearray(content)
    if chance.random() < 0.5:
        changed[begin + chance.randrange(length)] ^= 1 << chance.randrange(8)
    else:
        torn = begin + chance.randrange(max(1, length // SECTOR)) * SECTOR
        until = min(begin + length, torn + chance.choice((SECTOR, length)))
        changed[torn:until] = chance.choice((bytes(until - torn), chance.randbytes(until - torn)))
    return bytes(changed), where


def rows_of(directory: Path) -> dict[int, tuple[bytes, ...]]:
    """The rows of an audit, as far as they can be read."""
    found = {}
    with closing(sqlite3.connect(directory / "audit.db")) as con:
        try:
            for seq, *row in con.execute("SELECT seq, prev, hash, CAST(body AS BLOB) FROM entry ORDER BY seq"):
                found[seq] = tuple(row)
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter: SQLite names what is wrong in its schema
            return {}
    return found


def changed_rows_are_named(directory: Path, before: dict[int, tuple[bytes, ...]], scratch: Path) -> None:
    """`verify` names each row that is not as it was, or says that it cannot read the file."""
    shutil.copytree(directory, scratch)
    changed = [seq for seq, row in rows_of(scratch).items() if before.get(seq) != row]
    try:
        findings = verify(directory).findings
    except CannotVerify:
        return
    named = [seq for seq in changed if any(f"row {seq} " in line or f"row {seq}:" in line for line in findings)]
    assert len(named) == len(changed) or len(findings) >= 20, (changed, findings)


def told_in_the_background(directory: Path) -> list[str]:
    """What a gateway finds in an audit after its start, which looks at the last rows only."""
    told: list[str] = []
    check = BackgroundCheck(directory / "audit.db", told.append)
    assert check.done.wait(LIMIT_S)
    return told


@pytest.mark.parametrize("name", KINDS)
async def test_damage_of_any_kind_stops_no_start(
    left_behind: Path,
    tmp_path: Path,
    machine_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(machine_root))
    shutil.copytree(left_behind, tmp_path / "before")
    rows = rows_of(tmp_path / "before")
    assert len(rows) == 260
    slowest_s, hit_kinds = 0.0, set()
    for number in range(DAMAGES):
        chance, place = random.Random(f"{name} {number + 2}"), tmp_path / "state"
        shutil.copytree(left_behind, place)
        bad = None
        if name == "controller memory":
            with closing(sqlite3.connect(place / "telemetry.db", isolation_level=None)) as con:
                value = con.execute("SELECT value FROM state WHERE key = 'controller'").fetchone()[0].encode()
                con.execute(
                    "UPDATE state SET value = ? WHERE key = 'controller'",
                    (hit(value, "", chance)[0].decode("latin-1"),),
                )
        else:
            bad, where = hit((place / name).read_bytes(), name, chance)
            hit_kinds.add(where)
            (place / name).write_bytes(bad)
        if name.startswith("audit.db"):
            changed_rows_are_named(place, rows, tmp_path / "scratch")
            shutil.rmtree(tmp_path / "scratch")
        gateway, said, took_s = await started(place, tariff={"file": "prices.csv"})
        at = f"{name}, damage {number}"
        slowest_s = max(slowest_s, took_s)
        assert took_s < UP_S, at
        assert gateway.audit.error == "", at
        kept = [path for path in place.glob(f"{name}.corrupt*") if not path.name.endswith(("-wal", "-shm"))]
        assert [path.read_bytes() for path in kept] in ([], [bad]), f"{at}: what was there is kept as it was"
        lost = [seq for seq, row in rows.items() if rows_of(place).get(seq) != row]
        if lost:
            at_start = gateway.audit.changed or any("audit.db" in line for line in said)
            assert at_start or told_in_the_background(place), (at, lost, said)
        wrong = [record for record in caplog.records if record.exc_info and record.levelno >= logging.WARNING]
        assert [record.getMessage() for record in wrong] == [], at
        shutil.rmtree(place)
    tell("damages", DAMAGES)
    tell("kinds of files", 1)
    tell("s at most to start", slowest_s, "max")


def test_a_damaged_site_file_is_refused_in_words(tmp_path: Path) -> None:
    site = Path(__file__).resolve().parents[2] / "sites" / "demo.toml"
    content, place = site.read_bytes(), tmp_path / "site.toml"
    for number in range(DAMAGES):
        place.write_bytes(hit(content, "", random.Random(number))[0])
        try:
            load(place)
            said = ""
        except SiteFileError as error:
            said = str(error)
        assert not said or str(place) in said
    tell("damages", DAMAGES)
    tell("kinds of files", 1)


@pytest.mark.skipif(DAMAGES < 5, reason="make damage")
@pytest.mark.parametrize("name", ["audit.db", "audit.db-wal", "telemetry.db", "telemetry.db-wal", "identity.json"])
def test_a_process_of_its_own_starts_and_ends_in_order(
    left_behind: Path, tmp_path: Path, machine_root: Path, name: str
) -> None:
    """`skerry serve` with devices that do not answer: a few damages of the kinds above."""
    site = tmp_path / "site.toml"
    site.write_text(site_text(), encoding="utf-8")
    for number in range(3):
        place = tmp_path / f"state-{number}"
        shutil.copytree(left_behind, place)
        bad, _ = hit((place / name).read_bytes(), name, random.Random(f"{name} {number}"))
        (place / name).write_bytes(bad)
        environment = os.environ | {"RUNTIME_DIRECTORY": str(machine_root), "PYTHONPATH": str(ROOT)}
        began_s, said = time.monotonic(), tmp_path / f"said-{number}"
        with said.open("wb") as out:
            command = [sys.executable, "-P", "-m", "skerry", "serve", str(site), "--state-dir", str(place)]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            while not answers(machine_root):
                assert process.poll() is None, said.read_text()
                assert time.monotonic() - began_s < LIMIT_S
                time.sleep(0.02)
            tell("s at most until a process answers", time.monotonic() - began_s, "max")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0
        assert "Traceback" not in said.read_text()


def site_text() -> str:
    """The site of these tests as a file."""
    lines = ["version = 1"] if "version" not in SITE else []
    for section, value in SITE.items():
        if section not in ("twin", "node"):
            heading, tables = (f"[[{section}]]", value) if isinstance(value, list) else (f"[{section}]", [value])
            for keys in tables:
                lines += [heading, *(f"{key} = {json.dumps(item)}" for key, item in keys.items())]
    return "\n".join(lines)


def answers(runtime: Path) -> bool:
    """Whether a gateway answers there."""
    for path in runtime.glob("*.sock"):
        with contextlib.suppress(LinkLost, RequestFailed):
            return bool(ask(path, "status"))
    return False
