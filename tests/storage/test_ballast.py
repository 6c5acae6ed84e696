"""A full disk: what must not be lost still gets on it, what waits is bounded, and all is written once there is room."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storage_samples import T0, decision, snapshot
from waiting import LIMIT_S

from dispatch.model.events import Event
from storage import audit as audit_module
from storage import recorder as recorder_module
from storage.audit import AuditLog, NotDurable
from storage.audit_file import AuditFile
from storage.ballast import DIRECTORY, PIECES, Ballast
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.inbox import EVENTS_WAITING, FLUSHES_WAITING, NotRecorded
from storage.reader import Archive
from storage.recorder import Recorder, _MachineClock

FULL = OSError(errno.ENOSPC, "No space left on device")


def pieces(place: Path) -> list[int]:
    """Sizes of what is there."""
    return sorted(path.stat().st_size for path in (place / DIRECTORY).iterdir())


def test_it_is_given_up_a_piece_at_a_time_and_made_anew(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path, 0.8)
    assert ballast.missing == ""
    ballast.make()
    assert pieces(tmp_path) == [100_000] * PIECES
    assert sum(path.stat().st_blocks * 512 for path in (tmp_path / DIRECTORY).iterdir()) >= 800_000, "space, not a hole"
    assert not ballast.relieves(OSError(errno.EIO, "Input/output error"))
    for left in reversed(range(PIECES)):
        assert ballast.relieves(FULL)
        assert (len(pieces(tmp_path)), ballast.given_up) == (left, True)
        assert ballast.missing == f"{left / 10:.1f} of the 0.8 MB kept back for a full disk are there"
    assert not ballast.relieves(FULL)
    ballast.make()
    assert (pieces(tmp_path), ballast.missing, ballast.given_up) == ([100_000] * PIECES, "", False)


def test_its_size_is_that_of_the_site_file(tmp_path: Path) -> None:
    for size_mb in (0.8, 1.6, 0.4):
        Ballast(tmp_path, size_mb).make()
        assert pieces(tmp_path) == [round(size_mb * 1e6 / PIECES)] * PIECES
    Ballast(tmp_path, 0).make()
    assert not (tmp_path / DIRECTORY).exists()
    assert not Ballast(tmp_path, 0).relieves(FULL)
    Ballast(tmp_path / "gone", 1).make()
    assert not (tmp_path / "gone").exists(), "a directory that is not in place is not made"


@pytest.mark.parametrize("short", ["f_bavail", "f_favail"])
def test_it_never_takes_the_last_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: str) -> None:
    found = os.statvfs(tmp_path)
    values = {name: getattr(found, name) for name in ("f_bavail", "f_frsize", "f_favail", "f_files")}
    little = type("Little", (), values | {"f_files": 1000, short: 10})
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda path: little)
        ballast = Ballast(tmp_path, 0.8)
        ballast.make()
        assert pieces(tmp_path) == []
        assert ballast.missing == "0.0 of the 0.8 MB kept back for a full disk are there"
        assert not ballast.given_up, "samples are written as long as there is room"
    ballast.make()
    assert ballast.missing == ""


class _Named(sqlite3.OperationalError):
    """As SQLite raises it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sqlite_errorname = name


@pytest.mark.parametrize(
    ("error", "with_room", "without"),
    [
        (_Named("SQLITE_FULL"), True, True),
        (FULL, True, True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True, True),
        (_Named("SQLITE_CANTOPEN"), False, True),
        (_Named("SQLITE_IOERR_SHMSIZE"), False, True),
        (_Named("SQLITE_CORRUPT"), False, False),
        (OSError(errno.EROFS, "Read-only file system"), False, False),
    ],
)
def test_what_it_is_given_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, with_room: bool, without: bool
) -> None:
    ballast = Ballast(tmp_path, 0.8)
    ballast.make()
    assert ballast.relieves(error) is with_room
    full = type("Full", (), {"f_bavail": 0, "f_frsize": 4096, "f_files": 0, "f_favail": 0})
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    assert ballast.relieves(error) is without


class SmallDisk(Ballast):
    """A disk that has as much room as the database may have pages: a piece given up is a few more."""

    def __init__(self, place: Path, con: Callable[[], sqlite3.Connection | None]) -> None:
        super().__init__(place, 0.8)
        self._con_of = con

    def relieves(self, error: BaseException) -> bool:
        con = self._con_of()  # in the thread whose connection it is
        if not super().relieves(error) or con is None:
            return False
        (pages,) = con.execute("PRAGMA page_count").fetchone()
        con.execute(f"PRAGMA max_page_count = {pages + 8}")
        return True


def test_samples_wait_and_memory_and_events_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "BALLAST_S", 0.0)
    open_files: list[TelemetryFile] = []
    ballast = SmallDisk(tmp_path, lambda: open_files[0]._con)
    ballast.make()
    room = threading.Event()
    make = Ballast.make
    monkeypatch.setattr(Ballast, "make", lambda self: make(self) if room.is_set() else None)
    recorder = Recorder(tmp_path, StorageConfig(flush_s=0.1), "boot", ballast=ballast)
    open_files.append(recorder._file)
    assert recorder.wait_open(LIMIT_S)
    recorder.flush().result(LIMIT_S)
    full = TelemetryFile.write

    def fills(file: TelemetryFile, *arguments: Any) -> Any:  # in the writer's thread
        assert file._con is not None
        (pages,) = file._con.execute("PRAGMA page_count").fetchone()
        if not ballast.given_up and not room.is_set():
            file._con.execute(f"PRAGMA max_page_count = {pages}")
        return full(file, *arguments)

    monkeypatch.setattr(TelemetryFile, "write", fills)
    n = 0
    while not ballast.given_up:
        for _ in range(200):
            recorder.put(snapshot(n), decision(n))
            n += 1
        recorder.flush().result(LIMIT_S)
        assert n < 100_000
    before = Archive(tmp_path).counts()["hot"]
    for _ in range(50):
        recorder.put(snapshot(n), decision(n))
        n += 1
    recorder.save_state("controller", {"n": n})
    recorder.flush().result(LIMIT_S)
    assert recorder.event(Event(T0, "device", "info", "x", "told")).result(LIMIT_S) > 0
    archive = Archive(tmp_path)
    assert archive.last_state("controller") == {"n": n}
    assert archive.counts()["hot"] == before, "samples wait"
    assert recorder.error == ""
    assert "samples wait in memory, an hour of them at most" in recorder.ballast_missing

    room.set()
    told: list[str] = []
    for _ in range(400):
        recorder.flush().exception(LIMIT_S)
        told += [notice.text for notice in recorder.notices()]
        if any("room again" in text for text in told):
            break
        recorder._closing.wait(0.05)
    recorder.flush().result(LIMIT_S)
    assert any("nothing was lost" in text for text in told), told
    assert recorder.ballast_missing == ""
    assert recorder.close()
    assert Archive(tmp_path).counts()["hot"] >= n // 5


def test_an_act_is_on_record_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[AuditFile] = []
    ballast = SmallDisk(tmp_path, lambda: used[0]._con)
    ballast.make()
    append = AuditFile.append

    def fills(file: AuditFile, con: sqlite3.Connection, records: list[Any]) -> Any:
        if not ballast.given_up:
            con.execute("PRAGMA max_page_count = 1")
        used[:] = [file]
        return append(file, con, records)

    monkeypatch.setattr(AuditFile, "append", fills)
    audit = AuditLog(tmp_path, "boot/1", _MachineClock(), lambda _: None, ballast)
    assert audit.write({"kind": "test", "text": "x" * 20_000}).result(LIMIT_S) == 1
    assert ballast.given_up
    assert audit.error == ""
    assert audit.close()


def test_the_kept_head_takes_a_piece_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = Ballast(tmp_path, 0.8)
    ballast.make()
    keep = AuditFile.keep_head
    refusals = [FULL, FULL]

    def refuse(file: AuditFile) -> None:
        if file.head[0] and refusals:
            raise refusals.pop()
        keep(file)

    monkeypatch.setattr(AuditFile, "keep_head", refuse)
    audit = AuditLog(tmp_path, "boot/1", _MachineClock(), lambda _: None, ballast)
    audit.write({"kind": "test"}).result(LIMIT_S)
    assert audit.error == ""
    assert len(pieces(tmp_path)) == PIECES - 2
    assert audit.close()


def test_what_waits_for_a_disk_that_hangs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: the controller's memory, flushes and events were kept for as long as the disk did not answer."""
    answers, opened = threading.Event(), TelemetryFile.ensure_open

    def hangs(file: TelemetryFile, utc_s: float) -> None:
        answers.wait(LIMIT_S)
        opened(file, utc_s)

    monkeypatch.setattr(TelemetryFile, "ensure_open", hangs)
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    for n in range(5_000):
        recorder.save_state("controller", {"n": n})
    flushes = [recorder.flush() for _ in range(FLUSHES_WAITING + 100)]
    events = [recorder.event(Event(T0, "device", "info", "x", str(n))) for n in range(2 * EVENTS_WAITING + 100)]
    assert len(recorder._states) == 1
    assert sum(future.done() for future in flushes) >= 99
    with pytest.raises(NotRecorded, match="does not answer"):
        flushes[-1].result(0)
    with pytest.raises(NotRecorded, match="events wait for the disk"):
        events[-1].result(0)
    answers.set()
    assert flushes[0].exception(LIMIT_S) is None
    assert recorder.close()
    assert Archive(tmp_path).last_state("controller") == {"n": 4_999}


def test_rows_of_an_audit_that_hangs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "QUEUED", 50)
    answers, opened = threading.Event(), AuditFile.ensure_open

    def hangs(file: AuditFile) -> sqlite3.Connection:
        answers.wait(LIMIT_S)
        return opened(file)

    monkeypatch.setattr(AuditFile, "ensure_open", hangs)
    audit = AuditLog(tmp_path, "boot/1", _MachineClock(), lambda _: None)
    first = audit.write({"kind": "test"})
    for _ in range(60):
        last = audit.spool({"kind": "test"})
    with pytest.raises(NotDurable, match="rows wait for the disk, it hangs"):
        last.result(0)
    answers.set()
    assert first.result(LIMIT_S) == 1
    assert audit.close(LIMIT_S)
