"""The recorder when all is well: what it keeps, what it costs, what an acknowledgement means."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from statistics import median

import pytest
from storage_samples import DT, T0, decision, feed, grid_w, sampled, snapshot
from waiting import LIMIT_S

from dispatch.model.events import Event
from dispatch.model.reasons import RuleId
from storage import resolution
from storage.config import StorageConfig
from storage.reader import Archive
from storage.recorder import Recorder


def test_a_second_a_row_and_its_values_come_back(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    feed(recorder, range(1500))
    assert recorder.close()
    assert (recorder.error, recorder.dropped) == ("", 0)
    expected = {round((T0 + n * DT) * 1e6): grid_w(n) for n in range(0, 1500, 5)}
    assert sampled(tmp_path, "grid.w") == expected
    counts = Archive(tmp_path).counts()
    assert recorder.rows == {table: counts[table] for table in ("hot", "r1m", "decision", "event")} | {"drill": 0}
    assert recorder.rows_written == sum(recorder.rows.values())


def test_put_takes_a_fraction_of_what_writing_takes(tmp_path: Path) -> None:
    """Both are measured in one run: a busy machine slows both."""
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    took, flushed = [], []
    decided = decision(0)
    for n in range(20_000):
        site = snapshot(n)
        before = time.perf_counter()
        recorder.put(site, decided)
        took.append(time.perf_counter() - before)
        if n % 400 == 399:
            before = time.perf_counter()
            recorder.flush().result(LIMIT_S)
            flushed.append(time.perf_counter() - before)
    assert recorder.close()
    assert recorder.dropped == 0
    assert median(took) < 0.1 * median(flushed)


def test_decisions_are_kept_when_they_change_and_once_a_minute(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot", deadband_w=250.0)
    plan = {
        50: decision(50, 5_200.0),  # within the deadband of what is stored
        100: decision(100, 5_260.0),  # beyond it
        150: decision(150, 5_260.0, binding=RuleId.PLAN),
        200: decision(200, None, binding=RuleId.PLAN),
        640: decision(640, None, binding=RuleId.PLAN),  # nothing new, 88 s later
    }
    current = decision(0)
    for n in range(700):
        current = plan.get(n, current)
        recorder.put(snapshot(n), current)
    recorder.close()
    stored = Archive(tmp_path).decisions(T0, T0 + 1e6)
    # the same decision is stored again, under its own time, when a minute has passed without a change
    assert [d.seq for d in reversed(stored)] == [0, 100, 150, 200, 200]
    assert stored[2] == plan[150]


async def test_an_event_is_acknowledged_once_it_can_be_read(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    event = Event(T0, "command", "info", "setpoint", "20 kW for 15 min", "ada")
    row = await asyncio.wrap_future(recorder.event(event, durable=True))
    archive = Archive(tmp_path)
    assert archive.events(10) == [event]
    con = sqlite3.connect(tmp_path / "telemetry.db")
    assert con.execute("SELECT text, boot_id FROM event JOIN run ON run.id = run WHERE event.id = ?", (row,)).fetchone()
    con.close()
    recorder.close()


def statements(recorder: Recorder) -> list[str]:
    """What SQLite is told from now on."""
    con = recorder._file._con
    assert con is not None
    seen: list[str] = []
    con.set_trace_callback(seen.append)
    return seen


def test_a_durable_event_syncs_the_disk_and_an_ordinary_one_leaves_it_to_the_checkpoint(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    seen = statements(recorder)
    recorder.event(Event(T0, "twin", "info", "x", "ordinary")).result(LIMIT_S)
    assert not [sql for sql in seen if "synchronous" in sql]
    recorder.event(Event(T0, "twin", "info", "x", "durable"), durable=True).result(LIMIT_S)
    order = [sql for sql in seen if "synchronous" in sql or sql == "COMMIT"]
    assert order[-3:] == ["PRAGMA synchronous = FULL", "COMMIT", "PRAGMA synchronous = NORMAL"]
    recorder.close()


def test_the_controllers_memory_survives(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    recorder.save_state("month_peak", {"month": "2025-09", "w": 31_000.0})
    recorder.save_state("month_peak", {"month": "2025-09", "w": 32_000.0})
    recorder.flush().result(LIMIT_S)
    assert archive.last_state("month_peak") == {"month": "2025-09", "w": 32_000.0}
    assert archive.last_state("nothing") is None
    recorder.close()
    again = Recorder(tmp_path, StorageConfig(), "boot2")
    again.save_state("other", 1)
    again.close()
    assert archive.last_state("month_peak")["w"] == 32_000.0


def test_rows_reach_the_file_by_themselves_within_the_flush_period(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(flush_s=0.2), "boot")
    assert recorder.wait_open(LIMIT_S)
    recorder.put(snapshot(0), decision(0))
    began, archive = time.monotonic(), Archive(tmp_path)
    while archive.counts()["hot"] == 0:
        assert time.monotonic() - began < LIMIT_S
    recorder.close()


def test_each_write_puts_the_next_one_off(tmp_path: Path) -> None:
    """Else each look at the queue would be a commit that syncs the disk."""
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    recorder.flush().result(LIMIT_S)
    before_s = recorder._flush_at
    recorder.flush().result(LIMIT_S)
    assert recorder._flush_at > before_s
    assert recorder.close()


def test_a_clock_that_steps_back_loses_nothing_and_is_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    for n in range(1_000):
        late = 0.0 if n < 500 else 60.0  # set back by a minute in the middle
        recorder.put(snapshot(n, T0 + n * DT - late), decision(n))
    recorder.flush().result(LIMIT_S)
    (told,) = recorder.notices()
    assert (told.kind, told.subject) == ("gateway", "clock")
    assert "back 60.0 s" in told.text
    recorder.close()
    archive = Archive(tmp_path)
    assert archive.counts()["hot"] == 200
    assert archive.events(10) == [told]
    # what was sampled in both passes has two samples, at the same times
    passes = [T0 + n * DT - (0 if n < 500 else 60) for n in range(0, 1000, 5)]
    assert sampled(tmp_path, "grid.w").keys() == {round(t * 1e6) for t in passes}
    con = sqlite3.connect(tmp_path / "telemetry.db")
    samples = con.execute("SELECT sum(n) FROM r1m JOIN signal ON id = sid WHERE name = 'grid.w'").fetchone()
    con.close()
    assert samples == (1_000,)


def test_a_signal_that_left_the_site_is_closed_and_one_that_returns_is_opened_again(tmp_path: Path) -> None:
    def until(name: str) -> int | None:
        con = sqlite3.connect(tmp_path / "telemetry.db")
        (value,) = con.execute("SELECT until FROM signal WHERE name = ?", (name,)).fetchone()
        con.close()
        return value

    for extras, closed in (({"a.w": 1.0}, False), ({}, True), ({"a.w": 2.0}, False)):
        recorder = Recorder(tmp_path, StorageConfig(), "boot")
        recorder.put(snapshot(0), None, extras)
        recorder.close()
        assert (until("a.w") is not None) == closed
        assert until("grid.w") is None


def test_after_close_nothing_is_taken_and_nothing_raises(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    assert recorder.close()
    recorder.put(snapshot(0), decision(0))
    assert recorder.dropped == 1
    assert recorder.event(Event(T0, "twin", "info", "x", "y")).exception(1) is not None
    assert recorder.flush().exception(1) is not None


def test_signals_beyond_what_the_record_takes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "FINE", 10)
    monkeypatch.setattr(resolution, "COARSE", 5)
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    for n in range(3):
        recorder.put(snapshot(5 * n), None)
        recorder.flush().result(LIMIT_S)
    assert [notice.text.partition(":")[0] for notice in recorder.notices()] == ["6 signals are not recorded"]
    assert recorder.close()
    assert Archive(tmp_path).counts()["signal"] == 15


def test_ten_samples_are_written_without_being_asked_for(tmp_path: Path) -> None:
    """Not when the time is over: the sample that completes them may come just after it."""
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    recorder.flush().result(LIMIT_S)
    recorder._flush_at = time.monotonic() + 1e6
    archive = Archive(tmp_path)
    for n in range(49):  # five ticks a second: 10 samples with the 46th tick
        recorder.put(snapshot(n), decision(n))
    began = time.monotonic()
    while (rows := archive.counts()["hot"]) == 0:
        assert time.monotonic() - began < LIMIT_S
    assert rows == 10
    assert recorder.close()


def test_what_is_written_is_synced_with_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    seen = statements(recorder)
    recorder.put(snapshot(0), decision(0))
    recorder.flush().result(LIMIT_S)
    order = [sql for sql in seen if "synchronous" in sql or sql in ("COMMIT", "BEGIN IMMEDIATE")]
    assert order[:4] == [
        "PRAGMA synchronous = FULL",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "PRAGMA synchronous = NORMAL",
    ]
    recorder.close()


def test_the_record_ends_with_its_newest_sample(tmp_path: Path) -> None:
    """Ten samples are one row: its key is the time of the first."""
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    for n in range(40):
        recorder.put(snapshot(n), None)
    recorder.flush().result(LIMIT_S)
    assert Archive(tmp_path).ends_utc_s() == pytest.approx(T0 + 7, abs=0.001)
    recorder.close()


def test_writing_goes_on_while_packing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    recorder = Recorder(tmp_path, StorageConfig(flush_s=0.05), "boot")
    assert recorder.wait_open(LIMIT_S)
    monkeypatch.setattr(recorder._file, "pack", fails)
    told: list[str] = []
    for n in range(0, 2_000, 5):
        recorder.put(snapshot(n), None)
        recorder.flush().result(LIMIT_S)
        told += [notice.text for notice in recorder.notices()]
    assert recorder.close()
    assert [text for text in told if "disk I/O error" in text] == told[:1], "once a minute, not at each write"
    assert Archive(tmp_path).counts()["hot"] == 400
