"""The recorder when the disk, the file or another program is against it: control runs on, the record resumes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storage_samples import T0, decision, feed, parts, snapshot
from waiting import LIMIT_S

from dispatch.model.events import Event
from storage import file as file_module
from storage import inbox
from storage import recorder as recorder_module
from storage.config import StorageConfig
from storage.inbox import NotRecorded
from storage.reader import Archive, NoRecords
from storage.recorder import Recorder

CONFIG = StorageConfig(flush_s=0.1)
HELLO = Event(T0, "device", "warning", "pcs1", "no answer for 2 s")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.05)
    monkeypatch.setattr(file_module, "BUSY_S", 0.05)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "state", CONFIG, "boot")
    yield made
    made.close()


def flushed(recorder: Recorder) -> None:
    """Wait until the record is being written again."""
    for _ in range(200):
        if recorder.flush().exception(10) is None:
            return
        recorder._closing.wait(0.02)
    raise AssertionError(f"the recorder did not resume: {recorder.error}")


def test_a_state_directory_that_cannot_be_used_is_said_and_used_once_it_can(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    recorder = Recorder(tmp_path / "state", CONFIG, "boot")
    future = recorder.event(HELLO)
    feed_without_waiting(recorder, range(100))
    with pytest.raises(NotRecorded, match="state directory must be a directory"):
        future.result(LIMIT_S)
    assert not recorder.wait_open(0.01)
    assert str(tmp_path / "state") in recorder.error
    assert [notice.severity for notice in recorder.notices()] == ["alarm"]

    (tmp_path / "state").unlink()
    flushed(recorder)
    assert recorder.error == ""
    recorder.close()
    archive = Archive(tmp_path / "state")
    assert archive.counts()["hot"] == 20
    assert archive.events(10, kinds=["device"]) == [HELLO]
    assert [e.severity for e in archive.events(10, kinds=["gateway"])] == ["info", "alarm"]
    assert "nothing was lost" in archive.events(10, text="written again")[0].text


def test_a_full_disk_stops_the_record_and_nothing_else(recorder: Recorder, tmp_path: Path) -> None:
    feed(recorder, range(50))
    flushed(recorder)
    con = recorder._file._con
    assert con is not None
    con.execute("PRAGMA max_page_count = 1")  # SQLite takes this as "no page more than now"
    feed_without_waiting(recorder, range(50, 900))
    with pytest.raises(NotRecorded, match="full"):
        recorder.event(Event(T0, "device", "info", "x", "y" * 100_000)).result(LIMIT_S)
    assert "free space" in recorder.error
    before = Archive(tmp_path / "state").counts()["hot"]
    assert before < 180

    con.execute("PRAGMA max_page_count = 1000000")
    flushed(recorder)
    recorder.close()
    assert Archive(tmp_path / "state").counts()["hot"] == 180
    assert recorder.dropped == 0


def test_a_file_locked_by_someone_else_is_written_when_they_let_go(recorder: Recorder, tmp_path: Path) -> None:
    assert recorder.wait_open(LIMIT_S)
    other = sqlite3.connect(tmp_path / "state" / "telemetry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    feed_without_waiting(recorder, range(100))
    with pytest.raises(NotRecorded, match="close the program that holds the file"):
        recorder.event(HELLO).result(LIMIT_S)
    other.execute("ROLLBACK")
    other.close()
    flushed(recorder)
    archive = Archive(tmp_path / "state")
    assert archive.counts()["hot"] == 20
    assert archive.events(10, kinds=["device"]) == [HELLO]


@pytest.mark.parametrize("damage", ["header", "page", "truncated"])
def test_a_damaged_file_is_set_aside_with_its_wal(tmp_path: Path, damage: str) -> None:
    first = Recorder(tmp_path, CONFIG, "boot")
    feed(first, range(2_000))
    assert first.close()
    path, wal = tmp_path / "telemetry.db", tmp_path / "telemetry.db-wal"
    with path.open("r+b") as file:
        if damage == "header":
            file.write(b"not a database at all")
        elif damage == "page":
            file.seek(4096)
            file.write(b"\xa5" * (path.stat().st_size - 4096))
        else:
            file.truncate(5_000)
    content = path.read_bytes()
    wal.write_bytes(b"what a crash left of a WAL" * 10)

    second = Recorder(tmp_path, CONFIG, "boot")
    assert second.wait_open(LIMIT_S), second.error
    feed(second, range(2_000, 2_100))
    flushed(second)
    (told,) = second.notices()
    assert (told.severity, told.subject) == ("alarm", "storage")
    (aside,) = [name for name in parts(tmp_path) if ".corrupt." in name and not name.endswith(("-wal", "-shm"))]
    assert aside in told.text
    assert (tmp_path / aside).read_bytes() == content
    assert (tmp_path / f"{aside}-wal").read_bytes() == b"what a crash left of a WAL" * 10
    second.close()
    archive = Archive(tmp_path)
    assert archive.counts()["hot"] == 20
    assert [event.text for event in archive.events(5)] == [told.text]


def test_damage_found_while_running_begins_a_new_file(recorder: Recorder, tmp_path: Path) -> None:
    feed(recorder, range(3_000))
    flushed(recorder)
    con = recorder._file._con
    assert con is not None
    con.execute("PRAGMA cache_size = 1")
    path = tmp_path / "state" / "telemetry.db"
    with closing(sqlite3.connect(path)) as other:  # not on the recorder's connection: it may be packing just now
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(4096, size, 4096):
            file.seek(page)
            file.write(b"\xa5" * 4096)
    feed_without_waiting(recorder, range(3_000, 3_100))
    flushed(recorder)
    assert any(".corrupt." in name for name in parts(tmp_path / "state"))
    assert Archive(tmp_path / "state").counts()["hot"] == 20


def test_a_file_deleted_under_it_is_begun_again(recorder: Recorder, tmp_path: Path) -> None:
    feed(recorder, range(100))
    flushed(recorder)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{tmp_path}/state/telemetry.db{suffix}").unlink(missing_ok=True)
    feed_without_waiting(recorder, range(100, 200))
    flushed(recorder)
    assert Archive(tmp_path / "state").counts()["hot"] == 20
    assert "moved or deleted" in recorder.notices()[0].text


def test_ticks_beyond_the_queue_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "QUEUE", 10)
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    for _ in range(5_000):
        recorder.put(snapshot(0), None)
    recorder.close()
    assert recorder.dropped > 0
    con = sqlite3.connect(tmp_path / "telemetry.db")
    (taken,) = con.execute("SELECT n FROM r1m JOIN signal ON id = sid WHERE name = 'grid.w'").fetchone()
    con.close()
    assert taken + recorder.dropped == 5_000


def test_an_event_no_row_can_be_made_of_does_not_hold_up_the_others(recorder: Recorder, tmp_path: Path) -> None:
    broken = Event(T0, "device", "info", None, "subject is not a text")  # type: ignore[arg-type]
    refused, fine = recorder.event(broken), recorder.event(HELLO)
    with pytest.raises(NotRecorded):
        refused.result(LIMIT_S)
    assert fine.result(LIMIT_S) > 0
    assert Archive(tmp_path / "state").events(10) == [HELLO]


def test_a_tick_that_cannot_be_understood_is_lost_alone(recorder: Recorder, tmp_path: Path) -> None:
    recorder.put(snapshot(0), decision(0))
    recorder.put(snapshot(5), decision(5), {"x.w": "twelve"})  # type: ignore[dict-item]
    recorder.put(snapshot(10), decision(10))
    flushed(recorder)
    assert recorder.dropped == 1
    assert recorder.error == ""


def test_a_damaged_file_is_a_clear_line_for_a_reader(tmp_path: Path) -> None:
    (tmp_path / "telemetry.db").write_bytes(b"not a database at all" * 300)
    with pytest.raises(NoRecords, match=r"cannot read .*telemetry\.db"):
        Archive(tmp_path).counts()


def feed_without_waiting(recorder: Recorder, numbers: range) -> None:
    """Put ticks, never asking whether they were written."""
    for n in numbers:
        recorder.put(snapshot(n), decision(n))
