"""What is recovered of a damaged file: all that the damage did not touch, nothing that was not written."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from storage_samples import QUARTER, SOURCE, Site

from console.cli.main import run
from dispatch.model.events import Event
from drivers.clock import SystemClock
from gateway import exit_codes
from storage import audit_format, copying, pages, schema
from storage.audit import AuditLog
from storage.file import TelemetryFile
from storage.pages import PageDamaged, Pages
from storage.reader import Archive
from storage.salvage import CannotSalvage, Report, recovered_name, salvage
from storage.salvage_audit import salvage_audit
from storage.verify import verify

PAGE = 4096
FLIPS = 2_000 if os.environ.get("SKERRY_SOAK") else 3
ROWS_OF_AUDIT = 100 if os.environ.get("SKERRY_SOAK") else 40
TEARS = 100 if os.environ.get("SKERRY_SOAK") else 1  # of each kind of page
ROWS = {  # what a row says, whatever its ids are
    "r1m": "SELECT t, name, mn, mx, mean, last, n FROM r1m JOIN signal ON id = sid",
    "block": "SELECT seq, v FROM block",
    "hot": "SELECT ts, v FROM hot",
    "event": "SELECT ts_utc_us, text FROM event",
    "decision": "SELECT ts_utc_us, seq, chain FROM decision",
}
TIMES = {"r1m": 1e6, "hot": 1, "event": 1, "decision": 1}


def content(path: Path) -> dict[str, set[Any]]:
    with closing(sqlite3.connect(path)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {name: set(con.execute(sql)) for name, sql in ROWS.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A telemetry file of which some is in the WAL only; pages of every kind."""
    site = Site(tmp_path_factory.mktemp("sound"))
    site.run(1_900, {f"s{n}.w": float(n) for n in range(12)})
    site.pack()
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for n in range(300):
        site.file.write_event(Event(QUARTER + n, "device", "info", "x", f"{n} {'y' * 90}"), n, durable=False)
    site.file.write_event(Event(QUARTER + 301, "device", "info", "x", "z" * 9_000), 1, durable=False)  # overflows
    place = site.directory / "copy"
    place.mkdir()
    for part in site.directory.glob(f"{schema.FILE}*"):
        shutil.copyfile(part, place / part.name)
    site.file.abandon()
    (place / f"{schema.FILE}-shm").unlink()
    for part in place.iterdir():
        part.chmod(0o400)
    return place / schema.FILE


@pytest.fixture(scope="module")
def whole(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in one file."""
    place = tmp_path_factory.mktemp("whole") / schema.FILE
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{sound}{suffix}", f"{place}{suffix}")
    with closing(sqlite3.connect(place)) as con:
        con.execute("PRAGMA journal_mode = DELETE")
    return place


def damaged_copy(source: Path, directory: Path, damage: Callable[[bytearray], object], part: str = "") -> Path:
    """A copy of a file, with its WAL, one of which is changed."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    place = directory / "telemetry.db.corrupt.x"
    for suffix in ("", "-wal"):
        if Path(f"{source}{suffix}").exists():
            data = bytearray(Path(f"{source}{suffix}").read_bytes())
            if suffix == part:
                damage(data)
            Path(f"{place}{suffix}").write_bytes(data)
    return place


def salvaged(damaged: Path) -> tuple[Report | None, dict[str, set[Any]]]:
    """What is recovered of a file, which stays as it is; nothing where nothing can be read."""
    digests = {path: hashlib.sha256(path.read_bytes()).digest() for path in damaged.parent.iterdir()}
    out = damaged.with_name("out.db")
    out.unlink(missing_ok=True)
    try:
        report = salvage(damaged, out)
    except CannotSalvage:
        return None, {name: set() for name in ROWS}
    finally:
        found = {path: hashlib.sha256(path.read_bytes()).digest() for path in damaged.parent.iterdir() if path != out}
        assert found == digests
    return report, content(out)


def assert_told(report: Report, expected: dict[str, set[Any]], found: dict[str, set[Any]]) -> None:
    """What is lost is said: as lost rows, and within the times that may be missing."""
    tables = {table.name: table for table in report.tables}
    with closing(sqlite3.connect(report.out)) as con:
        gaps = con.execute("SELECT t0, t1 FROM gap").fetchall()
    for name, unit_us in TIMES.items():
        lost = expected[name] - found[name]
        if lost and not report.notes and tables["signal"].lost == 0:
            assert tables[name].lost > 0, name
            if not found[name]:
                continue
            outside = [row[0] for row in lost if not any(a <= row[0] * unit_us <= b for a, b in gaps)]
            assert outside == [], name


def kinds(path: Path) -> dict[str, list[int]]:
    """The pages of a file by what they hold."""
    found: dict[str, list[int]] = {}
    with closing(Pages(path)) as reader, closing(sqlite3.connect(path)) as con:
        roots = {row[0] for row in con.execute("SELECT rootpage FROM sqlite_schema")}
        for number in range(1, reader.count + 1):
            try:
                kind, cells, _ = reader.cells(number)
                name = f"{kind} with {max((len(cell.values) for cell in cells if cell), default=0)} columns"
                name += " root" if number in roots else ""
            except PageDamaged:
                name = "pointer map" if number == 2 else "other"
            found.setdefault("first" if number == 1 else name, []).append(number)
    return found


def test_a_sound_file_is_recovered_whole(sound: Path, whole: Path, tmp_path: Path) -> None:
    damaged = damaged_copy(sound, tmp_path / "d", lambda data: None)
    expected = content(whole)
    report, found = salvaged(damaged)
    assert report is not None
    assert found == expected
    assert len(expected["event"]) == 301
    assert [table.name for table in report.tables if table.lost] == []
    assert {table.name for table in report.tables} == {*copying.NAMES, *(table.name for table in copying.TABLES)}


def test_a_torn_page_of_each_kind_costs_no_more_than_its_rows(whole: Path, tmp_path: Path) -> None:
    chance, expected = random.Random(3), content(whole)
    by_kind = kinds(whole)
    assert {"first", "pointer map", "other"} < by_kind.keys()
    assert len(by_kind) > 12
    for name, numbers in by_kind.items():
        for _ in range(TEARS):
            number = chance.choice(numbers)

            def tear(data: bytearray, number: int = number) -> None:
                begin, half = (number - 1) * PAGE, chance.choice((0, 512, 2048))
                size = PAGE - half
                data[begin + half : begin + PAGE] = chance.choice((bytes(size), chance.randbytes(size)))

            report, found = salvaged(damaged_copy(whole, tmp_path / "d", tear))
            assert report is not None, (name, number)
            named = not any(row[1].startswith("lost.") for row in found["r1m"])
            for table, rows in expected.items():
                if table == "r1m" and not named:  # the values are there, their names are lost
                    assert {(row[0], *row[2:]) for row in found[table]} == {(row[0], *row[2:]) for row in rows}
                    continue
                read = found[table]
                if name == "other" and table == "event":  # the end of a long text, on a page without a checksum
                    read, rows = {row[:1] for row in read}, {row[:1] for row in rows}
                    found[table] = {row for row in expected[table] if row[:1] in read}
                assert read <= rows, (name, number, table)
                most = {
                    "r1m": 200,
                    "hot": 200 if "13 with 3 columns" in name else 30,
                    "event": 40,
                    "decision": 20,
                    "block": 4,
                }[table]
                assert len(rows - read) <= most, (name, number, table)
            assert_told(report, expected, found)


def test_flipped_bytes_never_end_it(sound: Path, whole: Path, tmp_path: Path) -> None:
    """Rows that have checksums are as they were written; of the others some text may have changed."""
    chance = random.Random(4)
    expected = content(whole)
    for n in range(FLIPS):

        def flip(data: bytearray) -> None:
            for _ in range(chance.choice((1, 3, 100))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)

        _, found = salvaged(damaged_copy(sound, tmp_path / "d", flip, chance.choice(("", "", "-wal"))))
        assert {v for _, v in found["block"]} <= {v for _, v in expected["block"]}, n
        assert len(found["event"]) <= 301


def test_a_flipped_bit_in_the_wal_costs_one_page(sound: Path, tmp_path: Path) -> None:
    """SQLite itself would drop all behind it."""

    def flip(data: bytearray) -> None:
        data[32 + 24 + 2_000] ^= 1  # in the first frame

    report, found = salvaged(damaged_copy(sound, tmp_path / "d", flip, "-wal"))
    assert report is not None
    assert "write-ahead log" in report.notes[0]
    assert len(found["event"]) > 250


@pytest.mark.parametrize("data", [b"", b"nothing", bytes(40_960), b"SQLite format 3\x00" + b"\xff" * 9_000])
def test_what_is_no_database_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CannotSalvage, match="no row"):
        salvage(tmp_path / "x", tmp_path / "out")
    with pytest.raises(CannotSalvage, match="no row"):
        salvage_audit(tmp_path / "x", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"x"}


def test_the_gateway_merges_what_was_salvaged(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where dictionary and signals were lost: the record knows them by their hash."""
    state = tmp_path / "state"
    with closing(Pages(whole)) as reader:
        lost = [
            n
            for n in range(3, reader.count)
            for kind, cells, _ in [suppressed(reader, n)]
            if kind == pages.TABLE_LEAF and any(cell and cell.values[1:2] == ("grid.w",) for cell in cells)
        ]

    def tear(data: bytearray) -> None:
        data[(lost[0] - 1) * PAGE : lost[0] * PAGE] = bytes(PAGE)

    damaged = damaged_copy(whole, state, tear)
    site = Site(state)
    site.now_s = QUARTER + 9_000.0
    site.run(1_000, {f"s{n}.w": 50.0 for n in range(12)})
    site.pack()
    site.close()
    (state / "telemetry.db.corrupt.20000101").write_bytes(b"nothing")
    assert run(["salvage", str(state)]) == exit_codes.FAILED
    told, trouble = capsys.readouterr()
    assert "telemetry.db.corrupt.20000101: no row" in trouble
    assert "signal" in told, "the other file, all the same"
    assert "lost" in told
    assert recovered_name(state, damaged, schema.FILE).exists()
    file = TelemetryFile(state / schema.FILE, "next", lambda: SOURCE)
    file.ensure_open(2e9)
    while file.merge(2e9):
        pass
    file.abandon()
    archive = Archive(state)
    found = archive.history(["s7.w"], QUARTER, QUARTER + 900, 1.0)["signals"]["s7.w"]
    assert found == [7.0] * 900
    assert len(archive.minutes(["s7.w"], QUARTER, QUARTER + 900)["s7.w"]) == 15
    assert archive.history(["s7.w"], QUARTER + 9_000, QUARTER + 9_900, 900)["signals"]["s7.w"] == [50.0]
    archive.close()
    assert run(["salvage", str(state / schema.FILE)]) == exit_codes.FAILED


def test_a_disk_without_the_space_is_not_filled(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of the record, as a rule."""
    free = whole.stat().st_size + (64 << 20) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    for recover in (salvage, salvage_audit):
        with pytest.raises(CannotSalvage, match=f"{tmp_path}: .* MB are needed, .* MB are free: .*--out"):
            recover(whole, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_one_file_that_cannot_be_salvaged_keeps_nobody_from_the_others(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does one of an earlier time. What is recovered belongs to whom the damaged file did."""
    damaged = damaged_copy(whole, tmp_path / "state", lambda data: None)
    (damaged.parent / "telemetry.db.corrupt.a").write_bytes(b"nothing")
    damaged.chmod(0o640)
    assert run(["salvage", str(damaged.parent)]) == exit_codes.FAILED
    told = capsys.readouterr()
    assert "telemetry.db.corrupt.a: no row" in told.err
    recovered = recovered_name(damaged.parent, damaged, schema.FILE)
    assert f"written to {recovered}" in told.out
    assert recovered.stat().st_mode & 0o777 == 0o640


def suppressed(reader: Pages, number: int) -> tuple[int, list[pages.Cell | None], int]:
    with suppress(PageDamaged):
        return reader.cells(number)
    return 0, [], 0


# ── the audit ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("audit")
    audit = AuditLog(place, "boot/1", SystemClock(), lambda line: None)
    rows = [audit.write({"kind": "intent", "command": "x", "text": f"{n} {'t' * 200}"}) for n in range(ROWS_OF_AUDIT)]
    rows[-1].result(60)
    assert audit.close()
    return place / audit_format.FILE


def chain(path: Path) -> dict[int, Any]:
    with closing(sqlite3.connect(path)) as con:
        return {row[0]: row for row in con.execute("SELECT seq, prev, hash, body FROM entry")}


def torn_pages(path: Path) -> Iterator[int]:
    yield from range(path.stat().st_size // PAGE)


def test_rows_of_a_damaged_audit_are_recovered_and_prove_themselves(audited: Path, tmp_path: Path) -> None:
    chance, expected = random.Random(5), chain(audited)
    for number in torn_pages(audited):
        place = tmp_path / "audit.db.corrupt.x"
        data = bytearray(audited.read_bytes())
        data[number * PAGE : (number + 1) * PAGE] = chance.choice((bytes(PAGE), chance.randbytes(PAGE)))
        place.write_bytes(data)
        out = tmp_path / "state" / audit_format.FILE
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        report = salvage_audit(place, out)
        found = chain(out)
        assert all(expected[seq] == row for seq, row in found.items())
        assert len(expected) - len(found) <= 20
        assert report.tables[0].read == len(found)
        assert report.tables[0].lost == max(found) - len(found)
        missing = [text for text in verify(out.parent).findings if "missing" in text]
        assert bool(missing) == (report.tables[0].lost > 0)
        assert len(report.tables[0].missing_s) == len(missing)
        assert place.read_bytes() == data


def test_flipped_bytes_never_end_the_audits_recovery(audited: Path, tmp_path: Path) -> None:
    chance, expected = random.Random(6), chain(audited)
    place = tmp_path / "audit.db.corrupt.x"
    for _ in range(FLIPS):
        data = bytearray(audited.read_bytes())
        for _ in range(chance.choice((1, 10, 300))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        place.write_bytes(data)
        with suppress(CannotSalvage):
            salvage_audit(place, tmp_path / "out")
            assert all(expected[seq] == row for seq, row in chain(tmp_path / "out").items())
