"""The site as it was at a moment: from hot rows, blocks or roll-ups, with quality, nodes and alarms."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from storage_samples import DT, T0, decision, snapshot

from dispatch.alarms.points import AlarmDefinition, Condition
from dispatch.alarms.priorities import Priority
from dispatch.alarms.shelving import OUT_OF_SERVICE, Suppression
from dispatch.alarms.states import AlarmBook
from dispatch.model.equipment import Meter, Node
from dispatch.model.events import Event
from dispatch.model.readings import Quality, Reading, reading
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from storage import schema
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.intake import Intake
from storage.moment import Gap
from storage.packing import note_gap
from storage.reader import Archive
from storage.recorder import nobody

BEGIN = T0 + 300  # a quarter hour


def site_at(n: int) -> Snapshot:
    """Second n: a meter that is doubted from 100 to 109, and missing from 200 to 209; a node that comes at 300."""
    quality = Quality.SUSPECT if 100 <= n < 110 else Quality.GOOD
    w = Reading(None) if 200 <= n < 210 else Reading(float(n), 0.1, quality)
    nodes = (Node("gpu-01", w=reading(1_000.0 + n)),) if n >= 300 else ()
    return Snapshot(n, BEGIN + n, float(n), Meter("pcc", w=w), nodes=nodes)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half an hour of which the first quarter is packed; the gateway stopped then."""
    place = tmp_path_factory.mktemp("state")
    file, intake = TelemetryFile(place / schema.FILE, "boot", nobody), Intake(StorageConfig(), 250.0)
    file.ensure_open(BEGIN)
    for n in range(1_801):
        intake.take(site_at(n), decision(n, utc_s=BEGIN + n), None)
        if n % 10 == 9:
            file.write(intake, whole=False)
            intake.written(whole=False)
    file.write(intake, whole=True)
    assert file.pack(BEGIN + 1_800)
    file.close(round((BEGIN + 1_801) * 1e6))
    return place


@pytest.fixture
def archive(directory: Path) -> Iterator[Archive]:
    made = Archive(directory, timeout_s=30)
    yield made
    made.close()


@pytest.mark.parametrize("n", [5, 899, 900, 1_500, 1_800])
def test_samples_hot_or_packed(archive: Archive, n: int) -> None:
    moment = archive.at(BEGIN + n + 0.4)
    assert moment.resolution == "raw"
    grid = moment.values["grid.w"]
    assert (grid.value, grid.unit, grid.quality) == (float(n), "W", Quality.GOOD)
    assert grid.age_s == pytest.approx(0.4, abs=0.001)
    assert moment.decision is not None
    assert moment.decision.utc_s <= moment.utc_s


def test_quality_is_that_of_then(archive: Archive) -> None:
    assert archive.at(BEGIN + 105).values["grid.w"].quality is Quality.SUSPECT
    assert archive.at(BEGIN + 110).values["grid.w"].quality is Quality.GOOD
    missing = archive.at(BEGIN + 205).values["grid.w"]
    assert (missing.value, missing.quality) == (None, Quality.MISSING)
    assert archive.at(BEGIN + 205).values["grid.hz"].quality is Quality.MISSING
    late = archive.at(BEGIN + 1_800 + 30).values["grid.w"]
    assert (late.value, late.quality, late.age_s) == (1_800.0, Quality.STALE, pytest.approx(30, abs=0.001))


def test_nodes_are_there_from_when_they_came(archive: Archive) -> None:
    assert "gpu-01.w" not in archive.at(BEGIN + 299).values
    assert archive.at(BEGIN + 301).values["gpu-01.w"].value == 1_301.0


def test_before_and_after_the_record_there_is_nothing(archive: Archive) -> None:
    for utc_s in (BEGIN - 1, BEGIN + 86_400):
        moment = archive.at(utc_s)
        assert (moment.resolution, moment.values, moment.decision) == ("", {}, None)
    before, after = archive.at(BEGIN - 1), archive.at(BEGIN + 86_400)
    assert (before.before_utc_s, before.after_utc_s) == (None, BEGIN)
    assert (after.before_utc_s, after.after_utc_s) == (BEGIN + 1_800, None)
    assert (archive.at(BEGIN + 5).before_utc_s, archive.at(BEGIN + 5).gaps) == (None, ())


def test_a_moment_in_a_gap_says_so(directory: Path, tmp_path: Path) -> None:
    """Nothing was written for a night; and what was deleted of that day before its time."""
    shutil.copy(directory / schema.FILE, tmp_path)
    with closing(sqlite3.connect(tmp_path / schema.FILE, isolation_level=None)) as con:
        con.execute("UPDATE decision SET ts_utc_us = ts_utc_us + 40000000000 WHERE ts_utc_us > ?", (BEGIN * 1e6 + 9e8,))
        con.execute("DELETE FROM hot")
        con.execute("DELETE FROM r1m WHERE t >= ?", (BEGIN + 900,))
        con.execute("DELETE FROM r15 WHERE t >= ?", (BEGIN + 900,))
        note_gap(con, "raw", (round((BEGIN + 900) * 1e6), round((BEGIN + 1_800) * 1e6)), "disk-cap", 0)
        note_gap(con, "raw", (0, round(BEGIN * 1e6)), "damaged", 0)
    moment = Archive(tmp_path).at(BEGIN + 1_200)
    assert moment.gaps == (Gap("raw", BEGIN + 900, BEGIN + 1_800, "disk-cap"),)
    assert (moment.resolution, moment.alarms) == ("", ())
    assert moment.before_utc_s == pytest.approx(BEGIN + 900, abs=61)
    assert moment.after_utc_s == pytest.approx(BEGIN + 900 + 40_000, abs=61)
    assert Archive(tmp_path).at(BEGIN + 899).gaps == ()


def test_where_samples_are_gone_it_is_the_mean_and_says_so(directory: Path, tmp_path: Path) -> None:
    shutil.copy(directory / schema.FILE, tmp_path)
    with closing(sqlite3.connect(tmp_path / schema.FILE, isolation_level=None)) as con:
        for table in ("hot", "block"):
            con.execute(f"DELETE FROM {table}")
        moment = Archive(tmp_path).at(BEGIN + 90)
        assert (moment.resolution, moment.values["grid.w"].value) == ("1m", pytest.approx(89.5, abs=0.51))
        con.execute("DELETE FROM r1m")
        moment = Archive(tmp_path).at(BEGIN + 450)
        assert (moment.resolution, moment.values["grid.w"].age_s) == ("15m", 450.0)
        assert moment.values["gpu-01.w"].quality is Quality.GOOD


def test_alarms_are_those_that_were_listed(tmp_path: Path) -> None:
    """Whatever came, went and was acknowledged: the record says what the alarm list of then said."""
    book = AlarmBook([AlarmDefinition("device-lost", Priority.LOW, off_delay_s=0.0, act_within_s=1e6)])
    file = TelemetryFile(tmp_path / schema.FILE, "boot", nobody)
    file.ensure_open(BEGIN)
    lost = Condition(True, Reason("device.silent", {"silent_s": 3.0}))
    shown, kinds = [], set[str]()
    script: dict[int, tuple[set[str], str]] = {
        1: ({"a"}, ""), 2: ({"a", "b"}, ""), 3: ({"a", "b"}, "a"), 4: ({"b"}, ""), 5: (set(), ""), 6: (set(), "b"),
        7: ({"a"}, ""), 8: (set(), ""), 9: ({"a"}, ""), 10: ({"a"}, "a"), 11: ({"a", "c"}, ""), 12: ({"a"}, ""),
        13: ({"a", "c"}, "off c"), 14: ({"a", "c"}, "off a"), 15: ({"a"}, ""), 16: ({"a", "c"}, ""),
        17: ({"a", "c"}, "back c"), 18: ({"a", "c"}, "back a"), 19: ({"a", "c"}, "a"), 20: ({"urgent"}, "urgent"),
        21: ({"urgent", "soon"}, ""), 22: ({"urgent", "soon"}, "off urgent"),
    }  # fmt: skip
    for second, (active, acknowledged) in script.items():
        now_s = BEGIN + second
        urgent = msgspec.structs.replace(lost, act_within_s=60.0)
        found_now = {f"device-lost:{name}": urgent if "soon" in active else lost for name in active - {"soon"}}
        events = book.update(found_now, now_s, float(second))
        what, _, name = acknowledged.rpartition(" ")
        if what == "off":
            off = Suppression(f"device-lost:{name}", OUT_OF_SERVICE, "ada", "in repair", now_s)
            events += book.suppress(off, now_s, float(second))
        elif what:
            events += book.take_back(f"device-lost:{name}", "ada", now_s)
        elif name:
            events += book.acknowledge(f"device-lost:{name}", "ada", now_s)
        for event in events:
            file.write_event(event, 0, durable=False)
            kinds.add(event.kind)
        shown.append({(a.id, a.state, a.acknowledged_by) for a in book.active()})
    assert {"priority", "shelf"} <= kinds
    file.write_event(Event(BEGIN + 12.5, "device", "alarm", "pcs1", "not an alarm of the list"), 0, durable=False)
    file.close(0)
    archive = Archive(tmp_path)
    for second, expected in zip(script, shown, strict=True):
        found = {(a.id, a.state, a.acknowledged_by) for a in archive.at(BEGIN + second + 0.9).alarms}
        assert found == expected, second
    archive.close()
    # the next gateway begins with none
    file = TelemetryFile(tmp_path / schema.FILE, "boot-2", nobody)
    file.ensure_open(BEGIN + 100)
    file.close(0)
    archive = Archive(tmp_path)
    assert archive.at(BEGIN + 99).alarms
    assert archive.at(BEGIN + 101).alarms == ()
    archive.close()


def test_a_record_of_version_0_1_0(tmp_path: Path) -> None:
    file = TelemetryFile(tmp_path / schema.FILE, "boot", nobody)
    file.ensure_open(T0)
    intake = Intake(StorageConfig(), 250.0)
    for n in range(20):
        intake.take(snapshot(n), decision(n), None)
    file.write(intake, whole=True)
    file.close(0)
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        sids = con.execute("SELECT max(id) FROM signal").fetchone()[0]
        con.execute("DELETE FROM hot")
        v = b"".join(n.to_bytes(4, "little") for n in range(sids))
        con.execute("INSERT INTO hot (ts, run, mono_us, v) VALUES (?, 1, 0, ?)", (round((T0 + 1) * 1e6), v))
        con.commit()
        (sid,) = con.execute("SELECT id FROM signal WHERE name = 'grid.w'").fetchone()
    assert Archive(tmp_path).at(T0 + 1 + DT).values["grid.w"].value == sid - 1
