"""Packing: what was recorded reads the same before and after, whatever the clock, a crash or the disk did."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from storage_samples import QUARTER, SOURCE, T0, Site, sampled, snapshot
from waiting import LIMIT_S

from dispatch.model.equipment import Meter, Node
from dispatch.model.readings import Quality, Reading, reading
from dispatch.model.snapshot import Snapshot
from storage import resolution, schema
from storage.blocks import dictionary_hash, opened
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.packing import next_quarter
from storage.reader import Archive
from storage.recorder import Recorder, nobody
from storage.signals import Signal

OLD = Path(__file__).parents[1] / "versions" / "v0_1_0" / "state.tar.xz"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.file.abandon()


def everything(directory: Path, begin_s: float, end_s: float) -> list[object]:
    """What a reader is told of a span at each resolution."""
    archive = Archive(directory, timeout_s=60)
    names = ["grid.w", "decision.battery_w", "a.w"]
    found: list[object] = [archive.history(names, begin_s, end_s, step) for step in (1, 7, 60, 300, 900, 3600)]
    found.append(archive.minutes(names, int(begin_s), int(end_s)))
    archive.close()
    return found


def test_a_quarter_hour_is_packed_once_it_has_been_over_for_another(site: Site) -> None:
    site.run(1_799)
    assert site.pack() == 0
    site.run(2)
    assert site.pack() == 1
    assert site.one("SELECT count(*) FROM block") == 1
    assert site.one("SELECT min(ts) FROM hot") == (QUARTER + 900) * 1_000_000
    site.run(5_400)
    assert site.pack() == 6
    assert 900 <= Archive(site.directory).counts()["hot"] <= 1_800


def test_reading_is_the_same_before_and_after(site: Site) -> None:
    site.run(2_000)
    site.run(3_000, {"a.w": 7.0})  # a signal that comes
    site.run(1_000)
    site.write(whole=True)
    before, samples = everything(site.directory, QUARTER - 600, QUARTER + 7_000), sampled(site.directory, "grid.w")
    assert site.pack(site.now_s + 1e5) == 7
    assert site.one("SELECT count(*) FROM hot") == 0
    assert (
        sampled(site.directory, "grid.w")
        == samples
        == {(QUARTER + n) * 1_000_000: float((QUARTER + n) % 86_400) for n in range(6_000)}
    )
    after = everything(site.directory, QUARTER - 600, QUARTER + 7_000)
    assert (
        after[:-1]
        == [
            {**told, "signals": {name: pytest.approx(v, abs=0.51) for name, v in told["signals"].items()}}  # type: ignore[index]
            for told in before[:-1]
        ]
    )
    assert after[-1] == before[-1]


def test_the_newest_seconds_are_in_every_chart(site: Site) -> None:
    """The minute that runs is not rolled up yet, the quarter hours are not packed yet."""
    site.run(3_630)
    site.pack()
    archive = Archive(site.directory)
    hour = archive.history(["grid.w"], QUARTER, QUARTER + 3_700, 60)["signals"]["grid.w"]
    assert hour[-2:] == [pytest.approx((QUARTER + 3_614.5) % 86_400, abs=0.51), None]
    assert None not in hour[:-1]
    assert None not in archive.history(["grid.w"], QUARTER, QUARTER + 3_620, 900)["signals"]["grid.w"]
    assert list(archive.minutes(["grid.w"], QUARTER + 3_480, QUARTER + 3_700)["grid.w"]) == [
        QUARTER + s for s in (3_480, 3_540, 3_600)
    ]
    archive.close()


def test_a_block_says_whose_it_is(site: Site) -> None:
    site.run(3_700)
    site.pack()
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        rows = con.execute("SELECT seq, t0, step_us, n, v FROM block ORDER BY seq").fetchall()
        (sids,) = con.execute("SELECT sids FROM dictionary").fetchone()
        names = {sid: Signal(*row) for sid, *row in con.execute("SELECT id, name, unit, scale, kind FROM signal")}
    heads = [opened(row[4]).head for row in rows]
    assert [(h.sequence, h.t0_us, h.step_us, h.samples) for h in heads] == [row[:4] for row in rows]
    assert [h.sequence - heads[0].sequence for h in heads] == [0, 1, 2]
    assert {(h.site, h.incarnation) for h in heads} == {SOURCE}
    order = [int.from_bytes(sids[k : k + 4], "little") for k in range(0, len(sids), 4)]
    assert {h.dictionary for h in heads} == {dictionary_hash(names[sid] for sid in order)}


def test_a_new_file_gives_no_sequence_a_second_time(tmp_path: Path) -> None:
    """After a file was set aside, the fleet must not take the new file's blocks for ones that it has."""
    highest = []
    for name in ("first", "second"):
        site = Site(tmp_path / name)
        site.run(1_801)
        assert site.pack() == 1
        highest.append(site.one("SELECT max(seq) FROM block"))
        site.close()
        if name == "first":
            with closing(sqlite3.connect(tmp_path / name / schema.FILE)) as con:
                con.execute("DELETE FROM block")
                con.commit()
            again = Site(tmp_path / name, boot="again")
            again.now_s += 86_400
            again.run(1_801)
            again.pack()
            assert again.one("SELECT min(seq) FROM block") == highest[0] + 1  # type: ignore[operator]
            again.close()
    assert all(1_700_000_000 < seq < 2**40 for seq in highest)  # type: ignore[operator]


def test_a_clock_set_back_into_a_packed_quarter_hour(site: Site) -> None:
    site.run(2_000)
    site.pack()
    site.now_s = QUARTER + 100.0
    site.run(200)
    assert site.pack(QUARTER + 2_000) == 1
    assert site.one("SELECT count(*) FROM block") == 2
    site.now_s = QUARTER + 4_000.0
    site.run(20)
    site.pack()
    assert site.one(f"SELECT n FROM r15 JOIN signal ON id = sid WHERE name = 'grid.w' AND t = {QUARTER}") == 1_100
    archive = Archive(site.directory)
    expected = (sum(range(900)) + sum(range(100, 300))) / 1_100 + QUARTER % 86_400
    assert archive.history(["grid.w"], QUARTER, QUARTER + 900, 900)["signals"]["grid.w"] == [
        pytest.approx(expected, abs=1.0)
    ]


def test_a_clock_that_was_far_ahead_leaves_nothing_unpacked(site: Site) -> None:
    site.now_s = QUARTER + 4e8
    site.run(100)
    site.now_s = float(QUARTER)
    site.run(1_801)
    assert site.pack() == 2
    assert site.one("SELECT max(ts) FROM hot") == (QUARTER + 1_800) * 1_000_000
    site.run(2_000)
    site.pack()
    archive = Archive(site.directory)
    assert None not in archive.history(["grid.w"], QUARTER, site.now_s - 1, 900)["signals"]["grid.w"]
    assert None not in archive.history(["grid.w"], QUARTER, site.now_s - 1, 60)["signals"]["grid.w"]


def test_samples_of_a_clock_set_back_within_a_quarter_hour_are_in_order(site: Site) -> None:
    site.run(60)
    site.now_s -= 30.5
    site.run(60)
    site.pack(site.now_s + 1e5)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        (v,) = con.execute("SELECT v FROM block").fetchone()
    times = opened(v).times_us()
    assert times == sorted(times)
    assert len(times) == 120


def test_minutes_that_a_crash_lost_are_made_of_their_samples(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run(90)
    site.file.abandon()  # neither the last minute nor anything else is closed
    after = Site(tmp_path, boot="next")
    after.now_s, after.mono_s = site.now_s + 5, 3.0
    after.run(50)
    after.close()
    minutes = Archive(tmp_path).minutes(["grid.w"], QUARTER, QUARTER + 180)["grid.w"]
    assert list(minutes) == [QUARTER, QUARTER + 60, QUARTER + 120]
    seconds = [*range(60, 90), *range(95, 120)]
    assert minutes[QUARTER + 60][0] == pytest.approx(sum(seconds) / 55 + QUARTER % 86_400, abs=1.1)
    assert minutes[QUARTER + 60][1] == (QUARTER + 119) % 86_400


def test_a_minute_without_roll_up_gets_one_when_it_is_packed(site: Site) -> None:
    site.run(1_801)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        con.execute("DELETE FROM r1m WHERE t = ?", (QUARTER + 120,))
        con.commit()
    site.pack()
    assert Archive(site.directory).minutes(["grid.w"], QUARTER + 120, QUARTER + 121)["grid.w"] == {
        QUARTER + 120: ((QUARTER + 150) % 86_400, (QUARTER + 179) % 86_400)  # the mean is kept to 1 W
    }


def test_roll_ups_without_samples_are_rolled_up_further(site: Site) -> None:
    """A disk that was full for longer than samples wait in memory: minutes wait for a day."""
    site.run(3_700)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        con.execute("DELETE FROM hot WHERE ts < ?", ((QUARTER + 1_800) * 1_000_000,))
        con.commit()
    assert site.pack() == 3
    assert site.one("SELECT count(DISTINCT t) FROM r15") == 3


@pytest.mark.parametrize("damage", ["x'00'", "zeroblob(9)", "NULL"])
def test_damaged_rows_leave_a_gap_and_hold_nothing_up(site: Site, damage: str) -> None:
    site.run(1_900)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        con.execute(f"UPDATE hot SET times = {damage} WHERE ts = {QUARTER}000000")
        con.commit()
    assert site.pack() == 1
    assert site.one("SELECT n FROM block") == 890, "the other rows are sound"
    assert site.one("SELECT t || ' ' || until || ' ' || resolution || ' ' || reason FROM gaps") == (
        "2025-09-16T06:45:00.000Z 2025-09-16T06:45:10.000Z raw damaged"
    )
    assert site.one("SELECT count(*) FROM r15") != 0, "the minutes are sound"
    site.run(1_000)
    assert site.pack() == 1
    assert site.one("SELECT count(*) FROM block") == 2


def test_only_the_time_of_damaged_rows_is_a_gap(site: Site) -> None:
    site.run(1_900)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        for k, column in ((100, "v"), (110, "times"), (500, "dictionary"), (890, "v")):
            value = "999" if column == "dictionary" else "x'01'"
            con.execute("PRAGMA foreign_keys = OFF")
            con.execute(f"UPDATE hot SET {column} = {value} WHERE ts = ?", ((QUARTER + k) * 1_000_000,))
        con.commit()
    assert site.pack() == 1
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        gaps = con.execute("SELECT t0 / 1000000 - ?1, t1 / 1000000 - ?1 FROM gap ORDER BY t0", (QUARTER,)).fetchall()
    assert gaps == [(100, 120), (500, 510), (890, 900)]
    assert site.one("SELECT sum(n) FROM block") == 860


def test_a_crash_with_a_damaged_row_still_rolls_up_the_others(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run(110)
    site.file.abandon()
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        con.execute("UPDATE hot SET v = x'01' WHERE ts = ?", ((QUARTER + 70) * 1_000_000,))
        con.commit()
    Site(tmp_path, boot="next").file.abandon()
    assert site.one(f"SELECT n FROM r1m WHERE t = {QUARTER + 60} AND sid = 1") == 40


def test_roll_ups_that_no_version_wrote_hold_nothing_up(site: Site) -> None:
    site.run(1_900)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        con.execute(f"UPDATE r1m SET n = 0 WHERE t = {QUARTER}")
        con.execute(f"UPDATE r1m SET mean = {2**62}, n = {2**62} WHERE t = {QUARTER + 60}")
        con.execute(f"UPDATE r1m SET n = -1 WHERE t >= {QUARTER + 900}")
        con.executemany("INSERT INTO r1m VALUES (?,1,0,0,0,0,1)", [(-(2**63),), (2**63 - 1,), (QUARTER - 7,)])
        con.executemany(
            "INSERT INTO hot (ts, run, mono_us, v) VALUES (?,1,0,x'')", [(-(2**63),), (2**63 - 1,), (2**61 - 1,)]
        )
        con.commit()
    assert site.pack() > 1
    site.run(900)
    assert site.pack() == 1
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        assert next_quarter(con, site.now_s) is None


def test_what_is_doubted_stays_doubted(site: Site) -> None:
    for n in range(10):
        quality = Quality.SUSPECT if n in (3, 4) else Quality.GOOD
        meter = Meter("grid", w=Reading(5.0, 0.1, quality))
        site.intake.take(Snapshot(n, site.now_s + n, site.mono_s + n, meter), None, None)
    site.write()
    site.pack(site.now_s + 1e5)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        v, sids = con.execute("SELECT b.v, d.sids FROM block b JOIN dictionary d ON d.id = b.dictionary").fetchone()
        (sid,) = con.execute("SELECT id FROM signal WHERE name = 'grid.w'").fetchone()
    order = [int.from_bytes(sids[k : k + 4], "little") for k in range(0, len(sids), 4)]
    assert opened(v).column(order.index(sid)).quality == bytes([0, 0, 0, 2, 2, 0, 0, 0, 0, 0])


# ── many signals ────────────────────────────────────────────────────────────────────────────────────────────────────


def with_nodes(n: int, names: list[str]) -> Snapshot:
    """A tick of a site with these nodes."""
    return msgspec.structs.replace(
        snapshot(5 * n, QUARTER + n), mono_s=float(n), nodes=tuple(Node(name, w=reading(100.0 + n)) for name in names)
    )


def test_beyond_a_number_of_signals_samples_are_a_minute_apart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "FINE", 30)
    monkeypatch.setattr(resolution, "COARSE", 40)
    names = [f"n{n:03}" for n in range(100)]
    for n in range(1_900):
        site.intake.take(with_nodes(n, names), None, None)
        if n % 10 == 9:
            site.write()
    assert site.intake.resolutions.left_out > 40
    site.pack(QUARTER + 2_000)
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        found = con.execute("SELECT step_us, n, length(sids) / 4 FROM block JOIN dictionary d ON d.id = dictionary")
        assert sorted(found) == [(1_000_000, 900, 30), (60_000_000, 15, 40)]
        assert con.execute("SELECT count(*) FROM signal").fetchone() == (70,)
        assert con.execute("SELECT max(c) FROM (SELECT count(*) AS c FROM r1m GROUP BY t)").fetchone()[0] <= 30
        assert con.execute("SELECT count(*) FROM r15").fetchone()[0] > 60
    archive = Archive(site.directory)
    chart = archive.history(["n040.w"], QUARTER, QUARTER + 1_900, 60)["signals"]["n040.w"]
    assert chart[:31] == [100.0 + 60 * k for k in range(31)]
    quarter = archive.history(["n040.w"], QUARTER, QUARTER + 900, 900)["signals"]["n040.w"]
    assert quarter == [pytest.approx(100 + 7 * 60, abs=1)]


def test_coarse_signals_have_their_chart_after_a_crash(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "FINE", 30)
    monkeypatch.setattr(resolution, "COARSE", 40)
    names = [f"n{n:03}" for n in range(60)]
    for n in range(1_670):
        site.intake.take(with_nodes(n, names), None, None)
        if n % 10 == 9:
            site.write()
    site.file.abandon()
    after = Site(site.directory, boot="next")
    assert after.one("SELECT max(t) FROM r1m") == QUARTER + 27 * 60, "the lost minute of the others"
    assert after.one("SELECT count(*) FROM r1m JOIN signal ON id = sid WHERE name = 'n040.w'") == 0
    archive = Archive(site.directory)

    def charts() -> None:
        for step_s, number in ((60, 27), (300, 5), (900, 1)):
            chart = archive.history(["n040.w"], QUARTER, QUARTER + number * step_s, step_s)["signals"]["n040.w"]
            assert None not in chart, step_s
        assert archive.history(["n040.w"], QUARTER, QUARTER + 1_620, 60)["signals"]["n040.w"] == [
            100.0 + 60 * k for k in range(27)
        ]

    charts()
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:  # as an earlier version rolled such minutes up
        (sid,) = con.execute("SELECT id FROM signal WHERE name = 'n040.w'").fetchone()
        con.execute("INSERT INTO r1m VALUES (?1,?2,?3,?3,?3,?3,1)", (QUARTER + 600, sid, 700))
        con.commit()
    charts()
    after.pack(QUARTER + 2_000)
    charts()
    after.file.abandon()


def test_a_signal_that_left_takes_no_more_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "FORGET_S", 300.0)
    for n in range(2_000):
        names = [f"n{(n // 100):03}"] if n < 1_000 else ["stays"]  # each node is there for 100 s
        site.intake.take(with_nodes(n, names), None, None)
        if n % 10 == 9:
            site.write()
    with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
        (newest,) = con.execute(
            "SELECT length(sids) / 4 FROM hot JOIN dictionary d ON d.id = dictionary ORDER BY ts DESC LIMIT 1"
        ).fetchone()
        (signals,) = con.execute("SELECT count(*) FROM signal").fetchone()
    assert newest == len(site.intake.resolutions.fine.names) == signals - 10


# ── crashes, and files of version 0.1.0 ─────────────────────────────────────────────────────────────────────────────

PACKER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:4]
from storage.file import TelemetryFile
from storage.recorder import nobody
file = TelemetryFile(Path(sys.argv[1]) / "telemetry.db", "boot", nobody)
file.ensure_open(0)
print("open", flush=True)
while file.pack(4e9):
    print("packed", flush=True)
"""


def test_killed_while_it_packs_no_sample_is_lost(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run(9_000)
    site.close()
    expected, chance = sampled(tmp_path, "grid.w"), random.Random(3)
    here = Path(__file__).parent
    killed = 0
    while True:
        command = [sys.executable, "-c", PACKER, str(tmp_path), str(here), str(here.parents[1])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            try:
                process.wait(chance.uniform(0.0, 0.2))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
            process.wait(LIMIT_S)
        assert sampled(tmp_path, "grid.w") == expected
        with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
            if killed > 2 and con.execute("SELECT count(*) FROM hot").fetchone() == (0,):
                break
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert con.execute("SELECT count(*), count(DISTINCT t0), sum(n) FROM block").fetchone() == (10, 10, 9_000)


@pytest.fixture
def old_state(tmp_path: Path) -> Path:
    with tarfile.open(OLD) as tar:
        tar.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def test_a_record_of_version_0_1_0_is_copied_migrated_and_packed(old_state: Path) -> None:
    archive = Archive(old_state, timeout_s=60)
    names = [signal.name for signal in archive.signals()]
    end_s = archive.ends_utc_s()
    assert end_s is not None
    spans = [(end_s - 50_000, end_s, step_s) for step_s in (10.0, 60.0, 900.0)]
    before = [archive.history(names, *span) for span in spans]
    archive.close()
    recorder = Recorder(old_state, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S), recorder.error
    recorder.put(snapshot(0, end_s + 1e5), None)
    recorder.flush().result(LIMIT_S)
    told = [notice.text for notice in recorder.notices()]
    assert recorder.close()
    kept = old_state / "telemetry.db.schema3"
    assert len(told) == 1
    assert told[0].endswith(f"was brought from schema 3 to {len(schema.STEPS)}; as it was: {kept.name}")
    with closing(sqlite3.connect(kept)) as con:
        assert con.execute("PRAGMA user_version").fetchone() == (3,)
    file = TelemetryFile(old_state / schema.FILE, "boot", nobody)
    file.ensure_open(end_s)
    while file.pack(end_s + 1e6):
        pass
    file.close(0)
    with closing(sqlite3.connect(old_state / schema.FILE)) as con:
        assert con.execute("SELECT count(*) FROM hot").fetchone() == (0,)
        assert con.execute("SELECT count(*) FROM block").fetchone()[0] > 3
    again = Archive(old_state, timeout_s=60)
    for span, expected in zip(spans, before, strict=True):
        found = again.history(names, *span)
        for name in names:
            assert found["signals"][name] == pytest.approx(expected["signals"][name], rel=1e-3, abs=0.6), (span, name)
    again.close()
    # the copy is the whole file as it was: 0.1.0 can go on from it
    shutil.copy(kept, old_state / schema.FILE)
    assert Archive(old_state).ends_utc_s() == end_s


def test_without_room_for_a_copy_it_is_migrated_and_said(old_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(old_state)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    file = TelemetryFile(old_state / schema.FILE, "boot", nobody)
    file.ensure_open(T0)
    (event,) = file.found
    assert event.severity == "warning"
    assert "MB are needed, 1.0 MB are free" in event.text
    file.close(0)
    assert [path.name for path in old_state.iterdir() if "schema" in path.name] == []
