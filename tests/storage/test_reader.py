"""Reading: what was recorded, over any span, while it is being written, by a process that loads little."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storage_samples import DT, T0, decision, feed, grid_w, snapshot
from waiting import LIMIT_S

from dispatch.model.events import Event
from storage.config import StorageConfig
from storage.reader import POINTS, Archive, NoRecords, QueryTimeout
from storage.recorder import Recorder


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes of a site, and some events."""
    directory = tmp_path_factory.mktemp("state")
    recorder = Recorder(directory, StorageConfig(), "boot")
    feed(recorder, range(3_000))
    for n in range(5):
        who = "ada" if n == 3 else ""
        recorder.event(Event(T0 + 60 * n, "device" if n % 2 else "alarm", "info", f"pcs{n}", f"100 % of {n}_", who))
    assert recorder.close()
    return directory


@pytest.fixture
def archive(ten_minutes: Path) -> Iterator[Archive]:
    made = Archive(ten_minutes)
    yield made
    made.close()


def test_no_records_is_said_clearly(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    with pytest.raises(NoRecords, match=r"no records at .*telemetry\.db"):
        archive.counts()
    (tmp_path / "telemetry.db").write_bytes(b"")
    with pytest.raises(NoRecords, match="nothing has been written yet"):
        archive.events(5)


def test_an_archive_made_before_the_file_reads_it_once_it_is_there(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    with pytest.raises(NoRecords):
        archive.why()
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    recorder.put(snapshot(0), decision(0))
    recorder.flush().result(LIMIT_S)
    assert archive.why() == decision(0)
    recorder.close()


def test_minutes_are_the_roll_ups_of_a_day_at_most(archive: Archive) -> None:
    """Mean and last value of each minute; of a signal nobody recorded, and outside the record, there are none."""
    start, per_minute = int(T0), round(60 / DT)
    found = archive.minutes(["grid.w", "nobody.w"], start + 60, start + 180)
    assert found["nobody.w"] == {}
    assert list(found["grid.w"]) == [start + 60, start + 120]
    for minute, (mean, last) in enumerate(found["grid.w"].values(), 1):
        watts = [grid_w(n) for n in range(minute * per_minute, (minute + 1) * per_minute)]
        assert mean == pytest.approx(sum(watts) / per_minute, abs=1)
        assert last == watts[-1]
    assert archive.minutes(["grid.w"], start - 86_400, start) == {"grid.w": {}}
    with pytest.raises(ValueError, match="expected at most 26 h, got 27"):
        archive.minutes(["grid.w"], start, start + 27 * 3600)


@pytest.mark.parametrize("step_s", [1.0, 7.0, 30.0, 60.0, 180.0])
def test_history_is_the_mean_of_each_bucket(archive: Archive, step_s: float) -> None:
    start, end = T0 + 61.0, T0 + 305.0
    result = archive.history(["grid.w", "bat1.soc_pct"], start, end, step_s)
    ticks = range(3_000) if step_s >= 60 else range(0, 3_000, 5)  # roll-ups know every tick, samples one a second
    buckets: dict[float, list[float]] = {}
    for n in ticks:
        buckets.setdefault((T0 + n * DT + 1e-7) // step_s * step_s, []).append(grid_w(n))
    assert result["step_s"] == step_s
    assert result["t"][0] <= start < result["t"][0] + step_s
    assert result["t"][-1] < end <= result["t"][-1] + step_s
    expected = [sum(buckets[t]) / len(buckets[t]) for t in result["t"]]
    assert result["signals"]["grid.w"] == pytest.approx(expected, abs=0.51)
    assert result["signals"]["bat1.soc_pct"] == pytest.approx([55.5] * len(expected))


def test_history_of_what_was_never_recorded_is_none(archive: Archive) -> None:
    result = archive.history(["moon.w", "grid.w"], T0 - 120, T0 + 60, 60)
    assert result["signals"] == {"moon.w": [None] * 3, "grid.w": [None, None, pytest.approx(149.5, abs=0.51)]}
    assert archive.history([], T0, T0 + 3, 1)["signals"] == {}


@pytest.mark.parametrize(("span_s", "step_s"), [(600.0, 0.001), (86_400.0, 1.0), (366 * 86_400.0, 60.0)])
def test_history_is_bounded(archive: Archive, span_s: float, step_s: float) -> None:
    result = archive.history(["grid.w"], T0 + 0.123, T0 + 0.123 + span_s, step_s)
    assert POINTS / 2 < len(result["t"]) <= POINTS
    assert result["step_s"] > step_s


def test_history_falls_back_on_rollups_where_samples_are_gone(ten_minutes: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    feed(recorder, range(600, 1_500))
    recorder.flush().result(LIMIT_S)
    assert recorder.close()
    with closing(sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None)) as con:
        con.execute("ATTACH ? AS whole", (str(ten_minutes / "telemetry.db"),))
        con.execute("INSERT OR IGNORE INTO r1m SELECT * FROM whole.r1m")
    values = Archive(tmp_path).history(["grid.w"], T0 + 60, T0 + 180, 20)["signals"]["grid.w"]
    assert values[:3] == pytest.approx([449.5] * 3, abs=0.51)
    assert values[3:] == pytest.approx([647.5, 747.5, 847.5], abs=0.51)


@pytest.mark.parametrize(("start", "end", "step"), [(10, 10, 1), (10, 5, 1), (0, 10, 0)])
def test_history_refuses_nonsense(archive: Archive, start: float, end: float, step: float) -> None:
    with pytest.raises(ValueError, match="expected start < end and step > 0"):
        archive.history(["grid.w"], start, end, step)


def test_events_newest_first_and_filtered(archive: Archive) -> None:
    assert [e.subject for e in archive.events(3)] == ["pcs4", "pcs3", "pcs2"]
    assert [e.subject for e in archive.events(9, before_utc_s=T0 + 120)] == ["pcs1", "pcs0"]
    assert [e.subject for e in archive.events(9, kinds=["device"])] == ["pcs3", "pcs1"]
    assert [e.subject for e in archive.events(9, kinds=["device", "plan"], since_utc_s=T0 + 150)] == ["pcs3"]
    assert [e.subject for e in archive.events(9, text="ADA")] == ["pcs3"]
    assert [e.subject for e in archive.events(9, text="0 % of 2_")] == ["pcs2"]
    assert archive.events(9, text="%of%") == []
    assert archive.events(0) == []


def test_why_is_the_decision_in_force_then(archive: Archive) -> None:
    # nothing changed, so it was stored once a minute, under the times of those ticks
    assert archive.why(T0 + 150) == decision(600)
    assert archive.why(T0 + 120) == decision(600)
    assert archive.why() == decision(2_700)
    assert archive.why(T0 - 1) is None
    assert archive.why(T0 + 3_600) is None  # nobody was deciding then
    assert [d.seq for d in archive.decisions(T0 + 60, T0 + 180)] == [600, 300]
    assert [d.seq for d in archive.decisions(T0, T0 + 600, 2)] == [2_700, 2_400]


def test_signals_have_units(archive: Archive) -> None:
    assert ("grid.hz", "Hz", 0.001, "measured") in archive.signals()


def test_views_show_names_units_and_scaled_values(ten_minutes: Path) -> None:
    con = sqlite3.connect(ten_minutes / "telemetry.db")
    row = con.execute("SELECT * FROM telemetry_1m WHERE signal = 'grid.hz' ORDER BY t").fetchone()
    assert row == ("2025-09-16T06:55:00Z", "grid.hz", "Hz", 50.012, 50.012, 50.012, 50.012, 300)
    assert con.execute("SELECT t, who, boot_id FROM events WHERE who <> ''").fetchall() == [
        ("2025-09-16T06:58:00.000Z", "ada", "boot")
    ]
    chain = con.execute(
        "SELECT rule, high_w, bound, unmet, code, figures ->> 'left_s' FROM decision_chain WHERE t LIKE '%06:55:00%'"
    ).fetchall()
    assert chain == [
        ("device limits", None, 0, 0, "limit.no_pcs", None),
        ("interval budget", 12_345.6, 1, 1, "budget.left", 410.0),
        ("plan", 12_345.6, 0, 0, "step.nothing_pays", None),
    ]
    told = con.execute("SELECT binding, code, figures ->> 'rule', battery_w FROM decisions").fetchone()
    assert told == ("interval budget", "decision.no_setpoint", "interval budget", 5_000.0)
    con.close()


def test_a_question_that_takes_too_long_is_cut_off(ten_minutes: Path, tmp_path: Path) -> None:
    shutil.copy(ten_minutes / "telemetry.db", tmp_path)
    con = sqlite3.connect(tmp_path / "telemetry.db")
    con.execute(
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 50000) "
        "INSERT INTO event SELECT n + 100, n, 1, n, 'twin', 'info', 'x', 'y', '' FROM c"
    )
    con.commit()
    con.close()
    archive = Archive(tmp_path, timeout_s=0.0)
    with pytest.raises(QueryTimeout, match="shorter span"):
        archive.events(10, text="nowhere")
    archive.timeout_s = 5.0
    assert archive.events(10, text="nowhere") == []


def test_reading_cannot_write(ten_minutes: Path) -> None:
    archive = Archive(ten_minutes)
    with pytest.raises(NoRecords, match="readonly"), archive._asking() as con:
        con.execute("DELETE FROM event")
    assert archive.counts()["event"] == 5


def test_readers_and_writer_at_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(flush_s=0.02), "boot")
    assert recorder.wait_open(LIMIT_S)
    done, trouble, reads = threading.Event(), [], [0]

    def read() -> None:
        archive, before = Archive(tmp_path), 0
        while not done.is_set():
            try:
                rows = archive.counts()["hot"]
                values = archive.history(["grid.w"], T0, T0 + 1_000, 60)["signals"]["grid.w"]
                archive.events(10)
            except (NoRecords, QueryTimeout) as error:
                trouble.append(error)
                return
            if rows < before or any(v is not None and v < 0 for v in values):
                trouble.append(AssertionError(f"{rows} rows after {before}"))
            before = rows
            reads[0] += 1
        archive.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    feed(recorder, range(5_000))
    done.set()
    for thread in readers:
        thread.join(LIMIT_S)
    assert recorder.close()
    assert (trouble, recorder.dropped) == ([], 0)
    assert reads[0] > 3
    assert Archive(tmp_path).counts()["hot"] == 1_000


def test_a_file_at_rest_in_a_directory_without_wal_reads_like_any_other(ten_minutes: Path) -> None:
    # the last connection to close takes the WAL away: then the file alone is the whole record
    assert not (ten_minutes / "telemetry.db-wal").exists() or (ten_minutes / "telemetry.db-wal").stat().st_size == 0
    assert Archive(ten_minutes).counts()["hot"] == 600


def test_reading_loads_neither_sqlite_utils_nor_numpy() -> None:
    code = (
        "import sys, storage.reader, storage.signals;"
        "print([m for m in ('sqlite_utils', 'numpy', 'pymodbus', 'highspy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
