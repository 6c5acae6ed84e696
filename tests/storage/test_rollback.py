"""After a rollback and the upgrade that follows it, one file has every row once, wherever a kill came between."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from storage_samples import QUARTER, SOURCE, Site, sampled, snapshot
from waiting import LIMIT_S

from console.cli.main import run
from dispatch.accounting.records import JobRecord, PeakInterval, SiteQuarter
from dispatch.model.events import Event
from drivers.clock import VirtualClock
from storage import copying, merging, schema
from storage.audit import AuditLog
from storage.audit_format import FILE as AUDIT
from storage.blocks import opened
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.jobs import Accounted
from storage.reader import Archive
from storage.recorder import Recorder
from storage.rollup import Summary, merged
from storage.verify import verify

OLD = Path(__file__).parents[1] / "versions" / "v0_1_0" / "state.tar.xz"
LATER = 1_900_000_000  # UTC s
NEWER_S, OLDER_S = (4_000, 3_000) if os.environ.get("SKERRY_SOAK") else (2_800, 1_950)  # recorded by each version


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "STEP_S", 0.0)  # a transaction in each call


@contextmanager
def newer_version() -> Iterator[None]:
    """A Skerry whose files have one more table."""

    def step(db: Any) -> None:
        db.conn.execute("CREATE TABLE later (id INTEGER PRIMARY KEY)")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "STEPS", [*schema.STEPS, step])
        yield


def record(directory: Path, seconds: int, boot: str, begin_s: float, values: dict[str, float]) -> None:
    """Some minutes of a site, packed as far as they are over, with an event and something to remember."""
    site = Site(directory, boot=boot)
    site.now_s = begin_s
    site.run(seconds, values)
    site.intake.states["controller"] = (f'{{"month": {seconds}}}', int(site.now_s * 1e6))
    for row in accounted(boot, begin_s):
        site.intake.account(row)
    site.file.write_event(Event(site.now_s, "device", "info", boot, "hello"), 1, durable=False)
    site.pack()
    site.close()


def accounted(job: str, at_s: float) -> list[Accounted]:
    """A run of a job, a quarter hour and a peak."""
    run = JobRecord(scheduler="slurm", id=job, started_utc_s=at_s - 60, ended_utc_s=at_s, host_wh=5.0)
    energies = dict.fromkeys(("import_wh", "load_wh", "jobs_wh", "idle_wh"), 10.0)
    quarter = SiteQuarter(
        start_utc_s=int(at_s), known_s=900.0, gap_s=0.0, eur_per_kwh=None, co2_g_per_kwh=None, **energies
    )
    shares = ((*run.key, 5.0),)
    peak = PeakInterval(account=job, start_utc_s=int(at_s), import_w=1e4, load_wh=9.0, eur=9.0, shares=shares)
    return [run, quarter, peak]


def merge(directory: Path) -> list[str]:
    """Open a file as the next gateway does, and merge all; what it told."""
    file = TelemetryFile(directory / schema.FILE, "next", lambda: SOURCE)
    file.ensure_open(LATER)
    while file.merge(LATER):
        pass
    told = [event.text for event in file.found]
    file.abandon()
    return told


def parts(directory: Path, kind: str) -> list[str]:
    found = sorted(path.name for path in directory.glob(f"{schema.FILE}.{kind}.*"))
    return [name for name in found if not name.endswith(("-wal", "-shm"))]


def content(directory: Path) -> dict[str, list[Any]]:
    """Every row of a file by what it says, whatever its ids are."""
    with closing(sqlite3.connect(directory / schema.FILE)) as con:
        rolled = "SELECT t, name, mn, mx, mean, last, n FROM {} JOIN signal ON id = sid ORDER BY t, name"
        questions = {
            "r1m": rolled.format("r1m"),
            "event": "SELECT ts_utc_us, boot_id, subject, text FROM event JOIN run ON run.id = run ORDER BY 1, 2, 4",
            "decision": "SELECT ts_utc_us, boot_id, seq, chain FROM decision JOIN run ON run.id = run ORDER BY 1, 2, 3",
            "drill": "SELECT ts_utc_us, report FROM drill ORDER BY 1",
            "gap": "SELECT resolution, t0, t1, reason FROM gap ORDER BY 1, 2",
            "block": "SELECT seq, v FROM block ORDER BY 1",
            "job": "SELECT ts_utc_us, job, record FROM job ORDER BY 1, 2",
            "job_quarter": "SELECT t, load_wh FROM job_quarter ORDER BY 1",
            "job_peak": "SELECT account, shares FROM job_peak ORDER BY 1",
            "context": "SELECT ts_utc_us, boot_id, kind, v FROM context JOIN run ON run.id = run ORDER BY 1, 3",
            "hot": "SELECT ts, boot_id, v FROM hot JOIN run ON run.id = run ORDER BY 1",
        }
        found = {name: con.execute(sql).fetchall() for name, sql in questions.items()}
        assert set(questions) | {"state", "hold", "r15"} == {table.name for table in copying.TABLES}
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return found


def rolled_of_both(a: list[Any], b: list[Any]) -> list[Any]:
    """Roll-ups of two files as one would have them that saw both."""
    found = {row[:2]: Summary(*row[2:]) for row in a}
    for row in b:
        later = Summary(*row[2:])
        found[row[:2]] = merged(found[row[:2]], later) if row[:2] in found else later
    return [(*key, s.mn, s.mx, round(s.mean), s.last, s.n) for key, s in sorted(found.items())]


def assert_same(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    """Compare without the difference, of which pytest would take minutes to make a picture."""
    unlike = [name for name in expected if found[name] != expected[name]]
    assert unlike == []


def assert_quarters(directory: Path) -> None:
    """Once all is packed, each quarter hour has a roll-up, and it is that of its minutes."""
    file = TelemetryFile(directory / schema.FILE, "packs", lambda: SOURCE)
    file.ensure_open(LATER)
    while file.pack(LATER):
        pass
    file.abandon()
    with closing(sqlite3.connect(directory / schema.FILE)) as con:
        figures = "sid, min(mn), max(mx), sum(n)"
        minutes = con.execute(f"SELECT t / 900 * 900, {figures} FROM r1m GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
        quarters = con.execute("SELECT t, sid, mn, mx, n FROM r15 ORDER BY 1, 2").fetchall()
    assert len(minutes) > 15
    assert len(quarters) == len(minutes)
    assert sum(quarter != minute for quarter, minute in zip(quarters, minutes, strict=True)) == 0


def together(a: dict[str, list[Any]], b: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: rolled_of_both(a[name], b[name]) if name == "r1m" else sorted(a[name] + b[name]) for name in a}


@pytest.fixture
def rolled_back(tmp_path: Path, template: tuple[Path, dict[str, list[Any]]]) -> tuple[Path, dict[str, list[Any]]]:
    """A copy of the template."""
    return shutil.copytree(template[0], tmp_path / "state"), template[1]


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as a newer Skerry leaves it."""
    place = tmp_path_factory.mktemp("newer")
    with newer_version():
        record(place, NEWER_S, "newer", QUARTER, {"a.w": 1.0, "b.w": 2.0})
    return place


@pytest.fixture(scope="module")
def template(newer: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Any]]]:
    """A directory as a newer Skerry finds it after a rollback, and what it must hold once all is merged.

    The rollback was within a minute; signals came in another order; the first block of each has another dictionary.
    """
    state = shutil.copytree(newer, tmp_path_factory.mktemp("template") / "state")
    expected = content(state)
    record(state, OLDER_S, "older", QUARTER + NEWER_S + 10, {"c.w": 7.0, "b.w": 3.0, "a.w": 4.0})
    expected = together(expected, content(state))
    return state, expected


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with some more than a quarter hour of a site."""
    place = tmp_path_factory.mktemp("quarter")
    record(place, 1_000, "a", QUARTER, {"z.w": 1.0})
    return place


def test_an_older_version_records_in_a_fresh_file_at_once(newer: Path, tmp_path: Path) -> None:
    shutil.copytree(newer, tmp_path, dirs_exist_ok=True)
    with newer_version():
        before = content(tmp_path)
        with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
            last = con.execute("SELECT max(seq) FROM block").fetchone()[0]
            con.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'block'", (last + 10**10,))
            con.commit()
    recorder = Recorder(tmp_path, StorageConfig(), "older")
    assert recorder.wait_open(LIMIT_S), recorder.error
    recorder.put(snapshot(0), None)
    recorder.flush().result(LIMIT_S)
    (told,) = recorder.notices()
    assert recorder.close()
    (aside,) = parts(tmp_path, "newer")
    assert "written by a newer Skerry" in told.text
    assert aside in told.text
    archive = Archive(tmp_path)
    assert archive.counts()["hot"] == 1
    assert archive.last_state("controller") == {"month": NEWER_S}
    archive.close()
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        assert con.execute("SELECT seq FROM sqlite_sequence WHERE name = 'block'").fetchone()[0] >= last + 10**10
    (tmp_path / schema.FILE).unlink()
    (tmp_path / aside).rename(tmp_path / schema.FILE)
    assert_same(content(tmp_path), before)


def test_the_newer_version_has_all_rows_of_both_once(rolled_back: tuple[Path, dict[str, list[Any]]]) -> None:
    state, expected = rolled_back
    before = {(head.sequence, v) for _, v in expected["block"] for head in [opened(v).head]}
    with newer_version():
        told = merge(state)
        assert [text.partition(" ")[2][:27] for text in told] == [
            "is the record again; what w",
            "is merged into " + str(state)[:12],
        ]
        assert_same(content(state), expected)
    assert {path.name for path in state.iterdir()} == {schema.FILE}
    archive = Archive(state)
    assert archive.last_state("controller") == {"month": OLDER_S}, "the later one"
    archive.close()
    after = content(state)["block"]
    assert {(head.sequence, v) for _, v in after for head in [opened(v).head]} == before
    assert len({opened(v).head.sequence for _, v in after}) == len(after) > 2
    for name, begin_s, seconds, value in (
        ("a.w", QUARTER, NEWER_S, 1.0),
        ("a.w", QUARTER + NEWER_S + 10, OLDER_S, 4.0),
    ):
        found = sampled(state, name)
        assert [found[(begin_s + n) * 1_000_000] for n in range(seconds)] == [value] * seconds
    assert set(sampled(state, "c.w").values()) == {7.0, None}  # None: before there was such a signal
    with newer_version():
        assert_quarters(state)


def test_blocks_made_during_the_merge_get_numbers_of_their_own(
    rolled_back: tuple[Path, dict[str, list[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, expected = rolled_back
    with closing(sqlite3.connect(next(state.glob("*.newer.*")))) as con:  # as if its clock had been ahead
        taken = min(number for number, _ in expected["block"][-4:])
        con.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'block'", (taken - 1,))
        con.commit()
    with newer_version():
        file = TelemetryFile(state / schema.FILE, "next", lambda: SOURCE)
        file.ensure_open(LATER)
        assert file.merge(LATER)
        while file.pack(LATER):  # what was hot when the newer version ended
            pass
        while file.merge(LATER):
            pass
        file.abandon()
        numbers = [number for number, _ in content(state)["block"]]
    assert {number for number, _ in expected["block"]} < set(numbers)
    assert len(numbers) == len(set(numbers))


def test_a_kill_after_any_commit_loses_and_doubles_nothing(
    rolled_back: tuple[Path, dict[str, list[Any]]], tmp_path: Path
) -> None:
    state, expected = rolled_back
    with newer_version():
        file = TelemetryFile(state / schema.FILE, "next", lambda: SOURCE)
        file.ensure_open(LATER)
        killed = [shutil.copytree(state, tmp_path / "killed0")]
        while file.merge(LATER):
            killed.append(shutil.copytree(state, tmp_path / f"killed{len(killed)}"))
        file.abandon()
        assert len(killed) > 12
        for place in killed:
            merge(place)
            assert_same(content(place), expected)
            assert {path.name for path in place.iterdir()} == {schema.FILE}


def test_a_kill_while_files_are_renamed_loses_and_doubles_nothing(
    rolled_back: tuple[Path, dict[str, list[Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, expected = rolled_back
    for kill_at in range(100):
        place = shutil.copytree(state, tmp_path / f"kill{kill_at}")
        with newer_version(), monkeypatch.context() as patch:
            calls = kills_at(patch, kill_at)
            try:
                merge(place)
            except KeyboardInterrupt:
                pass
            else:
                break
        with newer_version():
            merge(place)
            assert_same(content(place), expected)
            assert not parts(place, "newer")
    assert calls[0] == kill_at > 3


def kills_at(patch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Kill the program before or after it has renamed or deleted a file; how often it came there."""
    count = [0]

    def counted(call: Any) -> Any:
        def wrapped(self: Path, *values: Any, **more: Any) -> Any:
            count[0] += 1
            if count[0] - 1 == number:
                raise KeyboardInterrupt
            return call(self, *values, **more)

        return wrapped

    for name in ("rename", "unlink"):
        patch.setattr(Path, name, counted(getattr(Path, name)))
    return count


@pytest.mark.parametrize("step", range(3, len(schema.STEPS) + 1))
def test_what_an_older_version_recorded_is_merged_from_every_schema(tmp_path: Path, quarter: Path, step: int) -> None:
    """The file of version 0.1.0, brought to each schema since, as what was recorded meanwhile."""
    older, state = tmp_path / "older", tmp_path / "state"
    with tarfile.open(OLD) as tar:
        tar.extractall(older, filter="data")
    with pytest.MonkeyPatch.context() as patch, closing(sqlite3.connect(older / schema.FILE)) as con:
        patch.setattr(schema, "STEPS", schema.STEPS[:step])
        con.isolation_level = None
        schema.migrate(con, older / schema.FILE)
        counts = {
            t: con.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("event", "decision", "drill", "r1m")
        }
        (samples,) = con.execute("SELECT count(*) FROM hot").fetchone()
    shutil.copytree(quarter, state)
    before = content(state)
    (state / schema.FILE).rename(state / f"{schema.FILE}.newer.by-hand")
    grid = sampled_of_0_1_0(older, "grid.w")
    for path in older.glob(f"{schema.FILE}*"):
        shutil.copyfile(path, state / path.name)
    merge(state)
    after = content(state)
    assert {name: len(after[name]) - len(before[name]) for name in counts} == counts
    found = sampled(state, "grid.w")
    assert len(grid) == samples
    assert all(found[t] == value for t, value in grid.items())
    assert parts(state, "meanwhile") == []


def sampled_of_0_1_0(directory: Path, name: str) -> dict[int, float | None]:
    found = sampled(directory, name)
    return {t: value for t, value in found.items() if t > QUARTER * 1_000_000 - 10**12}


def test_a_second_rollback_leaves_the_merge_to_the_file_that_began_it(
    rolled_back: tuple[Path, dict[str, list[Any]]],
) -> None:
    state, expected = rolled_back
    with newer_version():
        file = TelemetryFile(state / schema.FILE, "next", lambda: SOURCE)
        file.ensure_open(LATER)
        for _ in range(10):
            assert file.merge(LATER)
        file.abandon()
    record(state, 100, "older again", QUARTER + 9_000, {"a.w": 9.0})
    assert len(parts(state, "newer")) == len(parts(state, "meanwhile")) == 1
    third = content(state)
    with newer_version():
        merge(state)
        assert_same(content(state), together(expected, third))
    assert {path.name for path in state.iterdir()} == {schema.FILE}


def test_a_damaged_newer_file_does_not_keep_the_record_from_going_on(
    rolled_back: tuple[Path, dict[str, list[Any]]],
) -> None:
    state, _ = rolled_back
    aside = next(state.glob("*.newer.*"))
    before = content(state)
    with aside.open("r+b") as file:
        file.seek(4096 * 8)
        file.write(b"\xa5" * 4096 * 4)
    with newer_version():
        told = merge(state)
        assert "is damaged" in told[0]
        assert len(parts(state, "corrupt")) == 1
        assert_same(content(state), before)


def test_a_damaged_file_that_was_recorded_meanwhile_is_kept(rolled_back: tuple[Path, dict[str, list[Any]]]) -> None:
    state, _ = rolled_back
    with newer_version():
        merging_file = TelemetryFile(state / schema.FILE, "next", lambda: SOURCE)
        merging_file.ensure_open(LATER)
        (meanwhile,) = parts(state, "meanwhile")
        with (state / meanwhile).open("r+b") as file:
            file.seek(4096 * 8)
            file.write(b"\xa5" * 4096 * 4)
        while merging_file.merge(LATER):
            pass
        told = [event.text for event in merging_file.found]
        merging_file.abandon()
    assert "is damaged" in told[-1]
    assert "skerry salvage" in told[-1]
    assert [name for name in parts(state, "meanwhile") if name.endswith(".corrupt")]


@pytest.mark.parametrize("calls", [5, 8, 11])  # in events, roll-ups, samples
def test_what_is_salvaged_of_a_half_merged_file_is_merged_once(
    calls: int, rolled_back: tuple[Path, dict[str, list[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, expected = rolled_back
    with newer_version():
        file = TelemetryFile(state / schema.FILE, "next", lambda: SOURCE)
        file.ensure_open(LATER)
        for _ in range(calls):
            assert file.merge(LATER)
        file.abandon()
        (meanwhile,) = parts(state, "meanwhile")
        (state / meanwhile).rename(state / f"{meanwhile}.corrupt")  # as of one that was found damaged
        assert run(["salvage", str(state)]) == 0
        merge(state)
        assert_same(content(state), expected)
        assert_quarters(state)


def test_a_file_that_cannot_be_merged_is_told_once_and_keeps_none_of_the_others(
    tmp_path: Path, quarter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "LOOK_S", 0.0)
    state = shutil.copytree(quarter, tmp_path / "state")
    for n in (1, 2):
        shutil.copyfile(quarter / schema.FILE, state / f"{schema.FILE}.salvaged.{n}")
    connect = merging.reading

    def refused(path: Path) -> sqlite3.Connection:
        if path.name.endswith("-1"):
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorname = "SQLITE_CANTOPEN"
            raise error
        return connect(path)

    monkeypatch.setattr(merging, "reading", refused)
    file = TelemetryFile(state / schema.FILE, "next", lambda: SOURCE)
    file.ensure_open(LATER)
    for _ in range(60):
        file.merge(LATER)
    told = [event.text for event in file.found]
    file.abandon()
    assert [text.partition(": ")[2][:9] for text in told if "cannot be merged" in text] == ["unable to"]
    assert [name[-1] for name in parts(state, "meanwhile")] == ["1"]
    assert any(f"salvaged-2 is merged into {state}" in text for text in told)


def test_a_block_of_a_number_that_is_taken_is_kept(tmp_path: Path) -> None:
    """Two files whose clocks began at the same second gave the same numbers."""
    a, b = Site(tmp_path / "a"), Site(tmp_path / "b", boot="b")
    for site in (a, b):
        site.run(1_000, {"x.w": 1.0 if site is a else 2.0})
        with closing(sqlite3.connect(site.directory / schema.FILE)) as con:
            con.execute("UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'block'")
            con.commit()
        assert site.pack(LATER) == 2
        site.close()
    (tmp_path / "b" / schema.FILE).rename(tmp_path / "a" / f"{schema.FILE}.salvaged.b")
    merge(tmp_path / "a")
    heads = [opened(v).head for _, v in content(tmp_path / "a")["block"]]
    assert [head.sequence for head in heads] == [1001, 1002, 1003, 1004]
    assert {head.site for head in heads} == {SOURCE[0]}
    assert [head.samples for head in heads] == [900, 100] * 2


def test_a_salvaged_file_is_merged_once(tmp_path: Path, quarter: Path) -> None:
    shutil.copytree(quarter, tmp_path / "state")
    record(tmp_path / "other", 100, "b", QUARTER + 5_000, {})
    expected = together(content(tmp_path / "state"), content(tmp_path / "other"))
    for _ in range(2):
        shutil.copyfile(
            tmp_path / "other" / schema.FILE, tmp_path / "state" / f"{schema.FILE}.salvaged.{uuid.UUID(int=1)}"
        )
        merge(tmp_path / "state")
        assert_same(content(tmp_path / "state"), expected)
        assert {path.name for path in (tmp_path / "state").iterdir()} == {schema.FILE}


# ── the audit ───────────────────────────────────────────────────────────────────────────────────────────────────────


def audit_of(directory: Path, texts: list[str]) -> list[str]:
    """Write rows to a directory's audit; what opening it brought to light."""
    audit = AuditLog(directory, "boot/1", VirtualClock(QUARTER), lambda line: None)
    for text in texts:
        audit.write({"kind": "start", "text": text}).result(LIMIT_S)
    found = [*audit.found, audit.changed]
    assert audit.close()
    return found


def bodies(directory: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(directory / AUDIT)) as con:
        return [json.loads(body) for (body,) in con.execute("SELECT body FROM entry ORDER BY seq")]


def test_an_older_version_goes_on_in_the_chain_of_a_newer_one(tmp_path: Path) -> None:
    audit_of(tmp_path, ["older"])
    with closing(sqlite3.connect(tmp_path / AUDIT)) as con:  # what a newer one may do: add
        con.execute("CREATE TABLE later (id INTEGER PRIMARY KEY)")
        con.execute(
            "CREATE TRIGGER entry_later AFTER INSERT ON entry BEGIN INSERT INTO later (id) VALUES (NEW.seq); END"
        )
        con.execute("PRAGMA user_version = 2")
        con.commit()
    assert audit_of(tmp_path, ["rolled back"]) == [""]
    report = verify(tmp_path)
    assert report.ok, report.findings
    assert [(body["v"], body["text"]) for body in bodies(tmp_path)] == [(2, "older"), (2, "rolled back")]
    with closing(sqlite3.connect(tmp_path / AUDIT)) as con:
        assert con.execute("SELECT id FROM later").fetchall() == [(2,)], "the newer one's trigger is left"


def test_an_audit_whose_rows_have_another_shape_is_set_aside(tmp_path: Path) -> None:
    audit_of(tmp_path, ["a", "b", "c"])
    with closing(sqlite3.connect(tmp_path / AUDIT)) as con:
        con.execute("DROP VIEW audit")
        con.execute("ALTER TABLE entry RENAME COLUMN body TO said")
        con.execute("PRAGMA user_version = 2")
        con.commit()
    (told, changed) = audit_of(tmp_path, ["rolled back"])
    assert "is of a newer Skerry" in told
    assert changed == ""
    report = verify(tmp_path)
    assert report.ok, report.findings
    assert [body["text"] for body in bodies(tmp_path)] == ["rolled back"]
    assert len(list(tmp_path.glob(f"{AUDIT}.newer.*"))) == len(list(tmp_path.glob("audit.head.newer.*"))) == 1


def test_rows_of_0_1_0_are_never_rewritten(tmp_path: Path) -> None:
    with tarfile.open(OLD) as tar:
        tar.extractall(tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / AUDIT)) as con:
        before = con.execute("SELECT * FROM entry ORDER BY seq").fetchall()
    audit_of(tmp_path, ["now"])
    with closing(sqlite3.connect(tmp_path / AUDIT)) as con:
        after = con.execute("SELECT * FROM entry ORDER BY seq").fetchall()
    assert after[: len(before)] == before
    assert ["v" in body for body in bodies(tmp_path)] == [False] * len(before) + [True]
    assert verify(tmp_path).ok
