"""What jobs drew is on record: read again, exported, pseudonymised, deleted by age, migrated."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from storage_samples import T0, feed
from waiting import LIMIT_S

from dispatch.accounting.records import JobRecord, PeakInterval, SiteQuarter
from dispatch.model.events import Event
from storage import jobs, retention, schema
from storage.config import StorageConfig
from storage.export.writer import export
from storage.jobs import JobQuestion
from storage.reader import Archive
from storage.recorder import Recorder

DAY_S = 86_400.0
FLUSH = StorageConfig(flush_s=0.1)
ALL = JobQuestion(start_utc_s=0.0, end_utc_s=4e9)


def a_run(id: str, user: str = "anna", ended_utc_s: float = T0, **more: object) -> JobRecord:
    given = {"gpu_wh": 700.0, "gpu_how": "measured", "host_wh": 300.0, "host_how": "apportioned", "cost_eur": 0.25}
    given["name"] = f"train {id}"
    return JobRecord(
        scheduler="slurm",
        id=id,
        started_utc_s=ended_utc_s - 3600,
        ended_utc_s=ended_utc_s,
        user=user,
        account="physics",
        partition="gpu",
        nodes=1,
        gpus=2,
        covered_pct=100.0,
        **(given | more),  # type: ignore[arg-type]
    )


def a_peak(*shares: tuple[str, str, float, float]) -> PeakInterval:
    return PeakInterval(
        account="2025-09", start_utc_s=int(T0) - 900, import_w=20_000, load_wh=5000, eur=200, shares=shares
    )


QUARTER = SiteQuarter(
    start_utc_s=int(T0) // 900 * 900,
    import_wh=2000,
    load_wh=2500,
    known_s=900,
    jobs_wh=1500,
    idle_wh=400,
    gap_s=0,
    eur_per_kwh=0.2,
    co2_g_per_kwh=None,
)


def recorded(directory: Path, *rows: jobs.Accounted) -> Path:
    recorder = Recorder(directory, FLUSH, "boot")
    feed(recorder, range(20))
    for row in rows:
        recorder.account(row)
    recorder.flush().result(LIMIT_S)
    assert recorder.close()
    return directory


def test_runs_are_read_again_the_last_first_a_page_at_a_time(tmp_path: Path) -> None:
    runs = [a_run(str(n), ended_utc_s=T0 + n // 2) for n in range(7)]  # some end in the same second
    recorded(tmp_path, *runs, runs[3])  # one is told twice
    archive = Archive(tmp_path)
    found = archive.jobs(ALL, 3)
    while page := archive.jobs(ALL, 3, (found[-1].record.ended_utc_s or 0.0, found[-1].number)):
        found += page
    assert [kept.record for kept in sorted(found, key=lambda kept: kept.record.id)] == runs
    assert [kept.record.ended_utc_s for kept in found] == sorted((r.ended_utc_s for r in runs), reverse=True)
    assert archive.jobs(msgspec.structs.replace(ALL, user="nobody"), 3) == []
    archive.close()


def test_runs_are_added_up_by_user_with_what_they_caused_of_the_peak(tmp_path: Path) -> None:
    one, two, three = a_run("1"), a_run("2", cost_eur=None, unpriced_wh=1000.0), a_run("3", user="=cmd()")
    shares = tuple((*run.key, wh) for run, wh in ((one, 1000.0), (two, 500.0), (three, 250.0)))
    recorded(tmp_path, one, two, three, a_peak(*shares), QUARTER)
    archive = Archive(tmp_path)
    groups, caused = archive.job_groups(ALL, "user", ["2025-09"])
    anna, other = groups
    assert (anna.name, anna.runs, anna.energy_wh, anna.cost_eur, anna.unpriced_wh) == ("anna", 2, 2000, 0.25, 1000)
    assert (anna.gpu_h, anna.node_h, other.name) == (pytest.approx(4.0), pytest.approx(2.0), "=cmd()")
    assert caused == {"anna": pytest.approx(60.0), "=cmd()": pytest.approx(10.0)}
    assert archive.job_groups(ALL, "user", []) == (groups, {})
    site = archive.job_quarters(T0 - 900, T0 + 900)
    assert (site["n"], site["load_wh"], site["jobs_wh"], site["idle_wh"]) == (1, 2500, 1500, 400)
    with pytest.raises(ValueError, match="expected one of user, account, partition"):
        archive.job_groups(ALL, "record", [])
    archive.close()


def test_users_of_a_month_become_pseudonyms_that_nobody_can_undo(tmp_path: Path) -> None:
    """All runs of a user in a month get the same, in another month another; what they drew stays."""
    month_before = T0 - 31 * DAY_S
    runs = [a_run("1"), a_run("2"), a_run("3", user="bert"), a_run("4", ended_utc_s=month_before)]
    recorded(tmp_path, *runs)
    with closing(sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None)) as con:
        end_of_month = 1_759_276_800.0  # 2025-10-01
        assert jobs.pseudonymise(con, month_before + DAY_S) == 0
        assert jobs.pseudonymise(con, end_of_month - 1) == 1
        assert jobs.pseudonymise(con, end_of_month) == 3
        assert jobs.pseudonymise(con, end_of_month) == 0
    kept = {k.record.id: k for k in Archive(tmp_path).jobs(ALL)}
    users = [kept[id].record.user for id in "1234"]
    assert users[0] == users[1]
    assert len({users[0], users[2], users[3]}) == 3
    assert all(k.pseudonym and k.record.name == "" and k.record.energy_wh == 1000 for k in kept.values())


def test_what_is_too_old_is_deleted_and_users_are_pseudonymised_in_the_course_of_it(tmp_path: Path) -> None:
    recorded(tmp_path, a_run("1"), a_run("2", ended_utc_s=T0 - 500 * DAY_S), QUARTER)
    config = StorageConfig(keep_jobs_d=400, pseudonyms_after_d=30)
    with closing(sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None)) as con:
        retention.tidy(con, tmp_path / "telemetry.db", config, T0 + 60 * DAY_S, by_age=True)
    (kept,) = Archive(tmp_path).jobs(ALL)
    assert (kept.record.id, kept.pseudonym) == ("1", True)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_export_has_jobs_quarter_hours_and_peaks_and_runs_no_formula(tmp_path: Path) -> None:
    hostile = a_run("1", user="=HYPERLINK(1)")
    peak = a_peak((*hostile.key, 100.0))
    state = recorded(tmp_path / "state", hostile, QUARTER, msgspec.structs.replace(peak, start_utc_s=int(T0)))
    export(state, tmp_path / "out", T0 - 3600, T0 + 3600)
    (job,) = read_csv(tmp_path / "out" / "jobs.csv")
    assert (job["user"], job["energy_wh"], job["energy_how"]) == ("'=HYPERLINK(1)", "1000.0", "apportioned")
    assert (job["gpu_how"], job["node_how"], job["cost_eur"], job["co2_g"]) == ("measured", "", "0.25", "")
    (quarter,) = read_csv(tmp_path / "out" / "job_quarters.csv")
    assert (quarter["rest_wh"], quarter["co2_g_per_kwh"]) == ("600.0", "")
    (found,) = read_csv(tmp_path / "out" / "job_peaks.csv")
    assert (found["account"], found["eur"]) == ("2025-09", "200.0")
    dictionary = read_csv(tmp_path / "out" / "data_dictionary.csv")
    units = {row["column_name"]: row["unit"] for row in dictionary if row["table_name"] == "jobs"}
    assert (units["energy_wh"], units["cost_eur"], units["capped_s"], units["mean_w"]) == ("Wh", "EUR", "s", "W")


def test_a_record_of_before_is_copied_and_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(schema, "STEPS", schema.STEPS[:6])
        with closing(sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None)) as con:
            schema.prepare(con)
            schema.migrate(con, tmp_path / "telemetry.db")
            con.execute("INSERT INTO run VALUES (1, 'boot', 1)")
            con.execute("INSERT INTO event VALUES (1, 1, 1, 0, 'device', 'info', 'pcs1', 'before', '')")
    before = Archive(tmp_path)
    assert (before.jobs(ALL), before.job_quarters(0, 4e9), before.job_peaks()) == ([], {}, [])
    assert before.job_groups(ALL, "user", []) == ([], {})
    before.close()
    recorded(tmp_path, a_run("1"))
    archive = Archive(tmp_path)
    assert [kept.record.id for kept in archive.jobs(ALL)] == ["1"]
    assert Event(1e-6, "device", "info", "pcs1", "before") in archive.events(10)
    archive.close()
    (copy,) = tmp_path.glob("telemetry.db.schema*")
    with closing(sqlite3.connect(copy)) as con:
        assert con.execute("PRAGMA user_version").fetchone() == (6,)
        assert con.execute("SELECT text FROM event").fetchall() == [("before",)]


def test_a_name_that_is_no_text_keeps_nothing_else_from_the_record(tmp_path: Path) -> None:
    recorded(tmp_path, a_run("1", name="caf\udce9"), a_run("2"))
    names = [kept.record.name for kept in Archive(tmp_path).jobs(ALL)]
    assert sorted(names) == ["caf?", "train 2"]
