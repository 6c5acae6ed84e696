"""What is deleted by age, for the disk cap and for a holder's reserve; what stays; and that space comes back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest
from storage_samples import decision, snapshot
from waiting import LIMIT_S

from dispatch.model.events import Event
from storage import maintenance, retention, schema
from storage.audit_format import FILE as AUDIT
from storage.blocks import Column, dictionary_hash, encode
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.reader import Archive, Gap
from storage.recorder import Recorder, nobody
from storage.rows import DECISION_COLUMNS, decision_row
from storage.signals import definition

DAY = 86_400
T0 = 1_758_067_200  # midnight, UTC s
DAYS = 12
END = T0 + DAYS * DAY
NAMES = ("grid.w", "gone.w", "pv.w")


@pytest.fixture
def path(twelve_days: Path, tmp_path: Path) -> Path:
    """The test's own copy of `twelve_days`."""
    return Path(shutil.copytree(twelve_days.parent, tmp_path, dirs_exist_ok=True), schema.FILE)


@pytest.fixture(scope="module")
def twelve_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve days of three signals, one of which left after the second; the newest is the end."""
    path = tmp_path_factory.mktemp("twelve_days") / schema.FILE
    file = TelemetryFile(path, "boot", nobody)
    file.ensure_open(T0)
    file.close(0)
    signals = [definition(name) for name in NAMES]
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("BEGIN")
        con.executemany("INSERT INTO signal VALUES (?,?,?,?,?,0,NULL)", [(n, *s) for n, s in enumerate(signals, 1)])
        for number, sids in ((1, (1, 2)), (2, (1, 3))):
            blob = b"".join(sid.to_bytes(4, "little") for sid in sids)
            digest = dictionary_hash(signals[sid - 1] for sid in sids)
            con.execute("INSERT INTO dictionary VALUES (?,?,?)", (number, digest, blob))
        for t in range(T0, END, 900):
            number = 1 if t < T0 + 2 * DAY else 2
            times_us = [(t + k) * 1_000_000 for k in range(0, 900, 30)]
            columns = [Column([(7 * t + k * k) % 10_007 for k in range(30)])] * 2
            v = encode((uuid.UUID(int=1),) * 2, t, 30_000_000, bytes(32), times_us, columns)
            con.execute("INSERT INTO block VALUES (?,?,30000000,30,?,?)", (t, t * 1_000_000, number, v))
            sids = (1, 2) if number == 1 else (1, 3)
            con.executemany("INSERT INTO r15 VALUES (?,?,0,9,5,5,30)", [(t, sid) for sid in sids])
            minutes = [(m, sid) for m in range(t, t + 900, 60) for sid in sids]
            con.executemany("INSERT INTO r1m VALUES (?,?,0,9,5,5,2)", minutes)
            con.execute("INSERT INTO event VALUES (NULL,?,1,0,'twin','info','s','t','')", (t * 1_000_000,))
            con.execute("INSERT INTO context VALUES (NULL,?,1,'orders',x'')", (t * 1_000_000,))
            row = decision_row(decision(0, utc_s=float(t)))
            con.execute(f"INSERT INTO decision (run, {DECISION_COLUMNS}) VALUES (1{',?' * len(row)})", row)
        con.execute("COMMIT")
    return path


@pytest.fixture
def con(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        yield opened


def oldest(con: sqlite3.Connection) -> dict[str, float]:
    """Days from the first of the record to the oldest row, by resolution; no job was recorded."""
    found = {}
    for table in retention.tables(StorageConfig()):
        (t,) = con.execute(f"SELECT min({table.column}) FROM {table.name}").fetchone()
        if table.resolution != "jobs":
            found[table.resolution] = (t / table.per_s - T0) / DAY
    return found


def settle(con: sqlite3.Connection, path: Path, config: StorageConfig, now_s: float = END) -> retention.Tidied:
    """Tidy until there is no more to do."""
    for _ in range(10_000):
        found = retention.tidy(con, path, config, now_s, by_age=False)
        if not found.more:
            return found
    raise AssertionError("it does not end")


def test_each_resolution_has_its_age(con: sqlite3.Connection) -> None:
    config = StorageConfig(keep_raw_d=2, keep_minutes_d=40, keep_decisions_d=5, keep_events_d=4)
    now_s = END + 39 * DAY
    while retention.delete_old(con, config, now_s):
        pass
    assert con.execute("SELECT count(*) FROM block").fetchone() == (0,)
    assert con.execute("SELECT (min(t) - ?) / 86400.0, count(*) FROM r1m", (T0,)).fetchone() == (11.0, 1440 * 2)
    assert con.execute("SELECT count(*) FROM r15").fetchone() == (2 * 96 * DAYS,)
    assert con.execute("SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM decision)").fetchone() == (0,)
    assert con.execute("SELECT count(*) FROM gap").fetchone() == (0,), "this was agreed"


def test_coarser_roll_ups_are_kept_at_least_as_long() -> None:
    kept = {t.resolution: t.keep_d for t in retention.tables(StorageConfig(keep_raw_d=500, keep_quarters_d=40))}
    assert (kept["raw"], kept["1m"], kept["15m"]) == (500, 500, 500)


def test_a_clock_that_is_wrong_for_an_hour_costs_hours(con: sqlite3.Connection) -> None:
    for _ in range(2):  # twice an hour
        retention.delete_old(con, StorageConfig(), END + 1e9)
    assert set(oldest(con).values()) == {4 / 24}
    retention.delete_old(con, StorageConfig(), 0.0)  # and one that says 1970 nothing
    assert set(oldest(con).values()) == {4 / 24}


def test_restarts_under_a_wrong_clock_cost_no_more(path: Path, con: sqlite3.Connection) -> None:
    def start(now_s: float) -> set[float]:
        retention.tidy(con, path, StorageConfig(), now_s, by_age=True)
        return set(oldest(con).values())

    ahead_s = END + 1e9
    for _ in range(5):
        ahead_s += 120
        assert start(ahead_s) == {2 / 24}
    assert start(ahead_s + 1_800) == {4 / 24}
    # set right: it goes on half an hour later, and there is nothing so old
    assert start(END) == {4 / 24}
    assert con.execute("SELECT ts_utc_us FROM state WHERE key = 'retention.aged'").fetchone() == (END * 1_000_000,)


def test_a_clock_behind_the_record_deletes_only_what_is_too_old_by_it(con: sqlite3.Connection, path: Path) -> None:
    config = StorageConfig(keep_raw_d=1)
    for behind_s in (0.0, 1_000_000_000.0, T0 + DAY - 3_600.0):  # 1970, 2001, before the first row is a day old
        retention.tidy(con, path, config, behind_s, by_age=True)
        assert oldest(con)["raw"] == 0.0
    retention.tidy(con, path, config, END, by_age=True)
    assert oldest(con)["raw"] == 2 / 24


def test_rows_of_a_clock_that_was_far_ahead_do_not_stop_deletion_by_age(con: sqlite3.Connection, path: Path) -> None:
    """Found: one row of a year ahead, and nothing was deleted by age for a year."""
    ahead = END + 400 * DAY
    con.execute("INSERT INTO r1m VALUES (?,1,0,9,5,5,2)", (ahead,))
    con.execute(
        "INSERT INTO block SELECT 1 + (SELECT max(seq) FROM block), ?, step_us, n, dictionary, v FROM block LIMIT 1",
        (ahead * 1_000_000,),
    )
    config = StorageConfig(keep_raw_d=1, keep_minutes_d=2)
    for n in range(1, 4):
        retention.tidy(con, path, config, END + 2_000.0 * n, by_age=True)
        assert oldest(con)["raw"] == 2 * n / 24
    assert con.execute("SELECT count(*) FROM block WHERE t0 >= ?", (ahead * 1_000_000,)).fetchone() == (1,)


def test_nothing_is_deleted_by_age_on_the_day_of_a_clock_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "TIDY_S", 0.0)
    monkeypatch.setattr(maintenance, "AGE_S", 0.0)
    asked: SimpleQueue[bool] = SimpleQueue()
    monkeypatch.setattr(TelemetryFile, "tidy", lambda _, config, utc_s, by_age, active: asked.put(by_age))
    recorder = Recorder(path.parent, StorageConfig(flush_s=0.05), "b")
    for n, step_s in ((1, 0.0), (2, 0.0), (3, 1e8), (4, 1e8)):
        recorder.put(snapshot(n, END + n * 0.2 + step_s), None)
        recorder.flush().result(LIMIT_S)
        while not asked.empty():
            asked.get()
        asked.get(timeout=LIMIT_S)  # may have begun before
        assert asked.get(timeout=LIMIT_S) is (step_s == 0.0)
    assert recorder.close()


def test_over_the_cap_the_oldest_samples_go_first_and_leave_a_gap(con: sqlite3.Connection, path: Path) -> None:
    size_mb = retention.bytes_used(con, path).records / 1e6
    (raw,) = con.execute("SELECT sum(length(v)) FROM block").fetchone()
    cap_mb = size_mb - raw / 1e6 / 2
    config = StorageConfig(disk_cap_mb=max(0.0, cap_mb))
    assert settle(con, path, config) == (False, 0.0, 0.0, 0.0)
    assert retention.bytes_used(con, path).records <= cap_mb * 1e6
    left = oldest(con)
    assert 3 < left.pop("raw") < 9
    assert set(left.values()) == {0.0}
    archive = Archive(path.parent)
    begin = con.execute("SELECT min(t0) / 1e6 FROM block").fetchone()[0]
    assert archive.gaps(0, END) == [Gap("raw", T0, begin, "disk-cap")]
    assert archive.gaps(END, END + 1) == []
    # minutes answer where samples are gone
    assert archive.history(["grid.w"], T0, T0 + 60, 10)["signals"]["grid.w"] == [5.0] * 6
    archive.close()


def test_the_newest_day_and_the_audit_stay_whatever_the_cap(con: sqlite3.Connection, path: Path) -> None:
    (path.parent / AUDIT).write_bytes(bytes(3_000_000))
    found = settle(con, path, StorageConfig(disk_cap_mb=1.0))
    assert found.stuck_mb > 2.0
    assert set(oldest(con).values()) == {DAYS - 1}
    assert (path.parent / AUDIT).stat().st_size == 3_000_000
    gaps = Archive(path.parent).gaps(0, END)
    assert {(g.resolution, g.begin_utc_s, g.end_utc_s, g.reason) for g in gaps} == {
        (name, T0, END - DAY, "disk-cap") for name in ("raw", "1m", "15m", "events", "decisions")
    }


@pytest.mark.parametrize("name", ["telemetry.db.corrupt.20250101T000000Z", "copy.db", "export.tar", "audit.db.old"])
def test_nothing_is_deleted_for_other_files(con: sqlite3.Connection, path: Path, name: str) -> None:
    (path.parent / name).write_bytes(bytes(60_000_000))
    file = TelemetryFile(path, "boot", nobody)
    file.ensure_open(END)
    for _ in range(3):
        assert not file.tidy(StorageConfig(disk_cap_mb=50), END, False, set())
    file.abandon()
    assert set(oldest(con).values()) == {0.0}
    (event,) = file.found
    assert "take 60.0 MB" in event.text
    assert "Nothing is deleted for them" in event.text


def test_it_is_said_when_deletion_for_the_cap_begins(path: Path) -> None:
    file = TelemetryFile(path, "boot", nobody)
    file.ensure_open(END)
    for now_s in (END, END + 60, END + 120):
        assert file.tidy(StorageConfig(disk_cap_mb=0.5), now_s, False, set())
    assert ["the oldest rows are deleted from now on" in event.text for event in file.found] == [True]
    file.tidy(StorageConfig(disk_cap_mb=0.5), END + 2 * DAY, False, set())  # it had ended in between
    assert len(file.found) == 2
    file.abandon()


def test_small_files_beside_a_record_at_its_cap_are_no_warning(con: sqlite3.Connection, path: Path) -> None:
    (path.parent / "identity.json").write_bytes(bytes(900))
    cap_mb = retention.bytes_used(con, path).records / 1e6
    assert retention.tidy(con, path, StorageConfig(disk_cap_mb=cap_mb), END, False).others_mb == 0.0


def test_that_deletion_for_the_cap_begins_is_said_once_where_the_reserve_goes(path: Path) -> None:
    file = TelemetryFile(path, "boot", nobody)
    file.ensure_open(END)
    file.hold("hub", 0, END)
    for k in range(3):
        assert file.tidy(StorageConfig(disk_cap_mb=0.5, unsent_max_mb=0), END + 60 * k, False, set())
    assert len(file.found) == 1
    file.abandon()


def test_a_file_that_vanishes_while_the_directory_is_read(
    con: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = retention.bytes_used(con, path)
    scan = os.scandir

    @contextmanager
    def late(directory: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        for k in range(3):
            (path.parent / f"{k}.tmp").write_bytes(b"x")
        with scan(directory) as entries:
            found = list(entries)
        for k in range(3):
            (path.parent / f"{k}.tmp").unlink()
        yield iter(found)

    monkeypatch.setattr(os, "scandir", late)
    assert retention.bytes_used(con, path) == before


def test_copies_of_before_a_migration_do_not_count_and_go_after_a_month(con: sqlite3.Connection, path: Path) -> None:
    copy = path.with_name(f"{path.name}.schema3")
    before = retention.bytes_used(con, path)
    copy.write_bytes(bytes(5_000_000))
    assert retention.bytes_used(con, path) == before
    os.utime(copy, (0, 0))  # made under another clock
    for day in (0, 29):
        retention.delete_copies(con, path, END + day * DAY)
        assert copy.exists()
    retention.delete_copies(con, path, END + 31 * DAY)
    assert not copy.exists()
    assert path.exists()
    copy.write_bytes(b"another")
    retention.delete_copies(con, path, END + 32 * DAY)
    assert copy.exists(), "it is not as old as the one before"


def test_space_is_given_back(con: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FREED_PAGES", 20)
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    settle(con, path, StorageConfig(disk_cap_mb=0.1))
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size < before / 3
    assert con.execute("PRAGMA freelist_count").fetchone()[0] <= 20
    assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_a_holder_does_not_have_yet_outlives_age_and_cap_up_to_the_reserve(
    con: sqlite3.Connection, path: Path
) -> None:
    held = T0 + 5 * DAY
    now_us = END * 1_000_000
    retention.hold(con, "hub", held, now_us)
    retention.hold(con, "other", END, now_us)  # the slowest counts
    retention.hold(con, "gone", 0, round((END - 35 * DAY - 1) * 1e6))  # was not heard of for too long
    config = StorageConfig(keep_raw_d=1, disk_cap_mb=0.1, unsent_max_mb=1000)
    while retention.delete_old(con, config, END):
        pass
    assert con.execute("SELECT min(seq), count(*) FROM block").fetchone() == (held + 900, 7 * 96 - 1)
    settle(con, path, config)
    assert con.execute("SELECT min(seq) FROM block").fetchone() == (held + 900,)
    assert {g.reason for g in Archive(path.parent).gaps(0, END)} == {"disk-cap"}
    # beyond the reserve the oldest go, and it is said
    (due,) = con.execute("SELECT sum(length(v)) FROM block WHERE t0 < ?", ((END - DAY) * 1_000_000,)).fetchone()
    config = StorageConfig(keep_raw_d=1, unsent_max_mb=due / 2e6)
    while retention.delete_old(con, config, END):
        pass
    (first,) = con.execute("SELECT min(t0) / 1000000 FROM block").fetchone()
    assert T0 + 7 * DAY < first < T0 + 9.5 * DAY
    (gap,) = [g for g in Archive(path.parent).gaps(0, END) if g.reason == "hold-reserve"]
    assert (gap.resolution, gap.begin_utc_s, gap.end_utc_s) == ("raw", held + 900, first)
    # once it has them, they go as agreed
    retention.hold(con, "hub", END, now_us)
    while retention.delete_old(con, config, END):
        pass
    assert con.execute("SELECT count(*) FROM block").fetchone() == (96,)


def test_holds_of_one_user_are_few(con: sqlite3.Connection) -> None:
    retention.hold(con, "anna/1", 1, 0)
    for n in range(9):
        retention.hold(con, f"anna2/{n}", n, n)
    names = [name for (name,) in con.execute("SELECT name FROM hold ORDER BY name")]
    assert names == ["anna/1", "anna2/5", "anna2/6", "anna2/7", "anna2/8"]


def test_names_of_signals_that_left_are_freed_with_their_last_row(con: sqlite3.Connection) -> None:
    retention.free_names(con, {"grid.w", "pv.w"}, (T0 + 3 * DAY) * 1_000_000)
    assert con.execute("SELECT name FROM signal WHERE until IS NOT NULL").fetchall() == [("gone.w",)]
    con.execute("UPDATE signal SET until = ? WHERE name = 'gone.w'", ((T0 + 3 * DAY) * 1_000_000,))
    assert con.execute("SELECT count(*) FROM dictionary").fetchone() == (2,)
    for table, unit in (("block WHERE t0", 1_000_000), ("r1m WHERE t", 1), ("r15 WHERE t", 1)):
        con.execute(f"DELETE FROM {table} < ?", ((T0 + 3 * DAY + 900) * unit,))
    retention.free_names(con, {"grid.w", "pv.w"}, END * 1_000_000)
    assert [name for (name,) in con.execute("SELECT name FROM signal")] == ["grid.w", "pv.w"]
    assert con.execute("SELECT id FROM dictionary").fetchall() == [(2,)]
    # the highest id is not given to another signal
    retention.free_names(con, {"grid.w"}, 0)
    assert con.execute("SELECT max(id) FROM signal").fetchone() == (3,)


def test_where_a_dictionary_is_damaged_all_names_stay(con: sqlite3.Connection) -> None:
    con.execute("UPDATE dictionary SET sids = X'010203'")
    con.execute("UPDATE signal SET until = 5 WHERE name = 'gone.w'")
    retention.free_names(con, {"grid.w", "pv.w"}, END * 1_000_000)
    assert con.execute("SELECT 1 FROM signal WHERE name = 'gone.w'").fetchone()


@pytest.mark.parametrize("closing_it", [False, True])
def test_a_signal_with_rows_keeps_its_name_whatever_the_clock_said(path: Path, closing_it: bool) -> None:
    file = TelemetryFile(path, "boot", nobody)
    file.ensure_open(0)
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        if closing_it:
            file._known, file._seen = {"gone.w": (2, 1.0)}, {"grid.w"}
            file.close(60_000_000)
        else:
            file.tidy(StorageConfig(), 60, True, {"grid.w", "pv.w"})
            file.abandon()
        newest = (END - 60) * 1_000_000
        assert con.execute("SELECT until FROM signal WHERE name = 'gone.w'").fetchone() == (newest,)
        # what an earlier version noted by such a clock: kept while any row has it
        for table in ("block", "r1m", "r15"):
            con.execute("UPDATE signal SET until = 5 WHERE name = 'gone.w'")
            retention.free_names(con, {"grid.w", "pv.w"}, END * 1_000_000)
            assert con.execute("SELECT 1 FROM signal WHERE name = 'gone.w'").fetchone(), table
            if table != "block":
                assert con.execute("SELECT until FROM signal WHERE name = 'gone.w'").fetchone() == (newest,), (
                    "put right"
                )
            con.execute(f"DELETE FROM {table}" + (" WHERE dictionary = 1" if table == "block" else " WHERE sid = 2"))
        con.execute("UPDATE signal SET until = 5 WHERE name = 'gone.w'")
        retention.free_names(con, {"grid.w", "pv.w"}, END * 1_000_000)
        assert not con.execute("SELECT 1 FROM signal WHERE name = 'gone.w'").fetchone()


def test_the_recorder_does_it_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIDY_S", "AGE_S"):
        monkeypatch.setattr(maintenance, name, 0.0)
    recorder = Recorder(path.parent, StorageConfig(flush_s=0.05, keep_raw_d=1, keep_events_d=1, disk_cap_mb=0.0), "b")
    assert recorder.wait_open(LIMIT_S)
    recorder.hold("hub", T0 + 11 * DAY).result(LIMIT_S)
    recorder.put(snapshot(0, END), None)
    with closing(sqlite3.connect(path)) as con:
        told: list[str] = []
        for n in range(1, 20_000):
            recorder.put(snapshot(n, END + n * 0.2), None)
            recorder.flush().result(LIMIT_S)
            told += [notice.text for notice in recorder.notices()]
            if any("over disk_cap_mb = 0, and nothing more may be deleted" in text for text in told):
                break
        assert min(oldest(con).values()) >= 11.0, told
        assert con.execute("SELECT name, seq FROM hold").fetchall() == [("hub", T0 + 11 * DAY)]
    assert recorder.close()


def test_signals_that_return_after_their_dictionary_went_are_recorded(tmp_path: Path) -> None:
    """Ids of dictionaries are not remembered beyond a clean-up."""
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    recorder.put(snapshot(0), None)
    recorder.flush().result(LIMIT_S)
    file = recorder._file
    assert recorder.close()
    file.ensure_open(T0)
    con = file._con
    assert con is not None
    con.execute("DELETE FROM hot")
    file.tidy(StorageConfig(), T0, True, set())
    assert con.execute("SELECT count(*) FROM dictionary").fetchone() == (0,)
    assert con.execute("SELECT count(*) FROM signal WHERE until IS NULL").fetchone() == (0,)
    file.abandon()
    again = Recorder(tmp_path, StorageConfig(), "boot")
    again.put(snapshot(5), None)
    again.event(Event(T0, "twin", "info", "x", "y"))
    assert again.close()
    assert Archive(tmp_path).counts()["hot"] == 1
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        assert con.execute("SELECT until FROM signal WHERE name = 'grid.w'").fetchone() == (None,)
