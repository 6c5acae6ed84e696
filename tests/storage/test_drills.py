"""Reports of drills: kept, read again by anybody, exported, and what `verify` says when one was edited."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import msgspec
from storage_samples import T0
from waiting import LIMIT_S

from dispatch.model.islanding import DrillReport
from dispatch.model.reasons import plain
from drivers.clock import SystemClock
from storage.audit import AuditLog
from storage.audit_reader import unreported_drill, unreported_proof
from storage.config import StorageConfig
from storage.drills import DrillRecord, digest, text_of
from storage.export.writer import export
from storage.reader import Archive
from storage.recorder import Recorder
from storage.verify import verify
from tests.drill_sample import passed

REPORT = passed(T0)


def keep(directory: Path, *records: DrillRecord) -> None:
    recorder = Recorder(directory, StorageConfig(), "boot")
    for record in records:
        recorder.drill(record).result(LIMIT_S)
    assert recorder.close()


def on_record(directory: Path, report: DrillReport) -> DrillRecord:
    """As the gateway does it: the digest into the audit, then the report with the audit's head."""
    audit = AuditLog(directory, "boot/1", SystemClock(), lambda line: None)
    row = {"kind": "drill", "who": report.who, "outcome": report.result, "report_sha256": digest(text_of(report))}
    audit.spool(row).result(LIMIT_S)
    record = DrillRecord(report, audit.head)
    assert audit.close()
    keep(directory, record)
    return record


def test_reports_are_kept_and_read_newest_first(tmp_path: Path) -> None:
    second = msgspec.structs.replace(REPORT, result="failed", why=plain("the switch did not confirm"))
    keep(tmp_path, DrillRecord(REPORT, "3:" + "0" * 64), DrillRecord(second, "", "disk full"))
    archive = Archive(tmp_path)
    newest, first = archive.drills()
    assert (newest.number, newest.report, newest.not_durable) == (2, second, "disk full")
    assert first == DrillRecord(REPORT, "3:" + "0" * 64, "", 1)
    assert archive.drills(number=1) == [first]
    assert archive.drills(1) == [newest]
    assert archive.drills(number=9) == []


def test_an_export_has_them_and_verifies(tmp_path: Path) -> None:
    record = on_record(tmp_path, REPORT)
    manifest = export(tmp_path, tmp_path / "out", T0 - 60, T0 + 3600)
    assert manifest["files"]["drills.csv"]["rows"] == 1
    (row,) = csv.DictReader((tmp_path / "out" / "drills.csv").read_text().splitlines())
    assert (row["why"], row["reason_code"]) == ("held, returned, every criterion met", "drill.passed")
    assert (row["outcome"], row["transfer_gap_code"]) == ("passed", "gap.recorded")
    assert json.loads(row["report"])["transfer_gap"]["figures"] == {"transfer_ms": 8.0}
    assert record.audit_head in (tmp_path / "out" / "drills.csv").read_text()
    assert verify(tmp_path / "out").ok
    assert export(tmp_path, tmp_path / "none", T0 - 600, T0 - 60)["files"]["drills.csv"]["rows"] == 0


def test_an_edited_report_is_found(tmp_path: Path) -> None:
    on_record(tmp_path, REPORT)
    assert verify(tmp_path).ok
    con = sqlite3.connect(tmp_path / "telemetry.db")
    text = con.execute("SELECT report FROM drill").fetchone()[0]
    con.execute(
        "UPDATE drill SET report = ?", (json.dumps({**json.loads(text), "result": "passed", "islanded_s": 9e9}),)
    )
    con.commit()
    assert "the report of drill 1 is not the one" in verify(tmp_path).findings[0]
    con.execute("UPDATE drill SET report = ?, audit_head = ?", (text, "1:" + "ab" * 32))
    con.commit()
    con.close()
    assert verify(tmp_path).findings[0].startswith("drill 1: row 1 is not the one that was noted outside")


def test_a_report_the_audit_could_not_take_says_so_itself(tmp_path: Path) -> None:
    on_record(tmp_path, REPORT)
    keep(tmp_path, DrillRecord(msgspec.structs.replace(REPORT, minutes=5.0), "", "disk full"))
    found = verify(tmp_path)
    assert found.ok
    assert "drill 2: its report is not in the audit, as it says itself: disk full" in found.remarks


def test_a_drill_that_was_begun_and_never_reported_is_found(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path, "boot/1", SystemClock(), lambda line: None)
    audit.write({"kind": "start"}).result(LIMIT_S)
    intent = audit.write({"kind": "intent", "command": "drill.start", "reason": "monthly"}).result(LIMIT_S)
    begun = {"kind": "result", "command": "drill.start", "of": intent, "who": "ann", "text": "drill of 10 min"}
    audit.write(begun | {"outcome": "refused"}).result(LIMIT_S)
    assert unreported_drill(tmp_path) is None
    audit.write(begun | {"outcome": "accepted", "minutes": 10.0}).result(LIMIT_S)
    found = unreported_drill(tmp_path)
    assert found is not None
    assert (found["who"], found["minutes"], found["reason"]) == ("ann", 10.0, "monthly")
    audit.write({"kind": "drill", "outcome": "passed"}).result(LIMIT_S)
    assert unreported_drill(tmp_path) is None
    audit.close()


def test_a_proof_that_was_begun_and_never_told_of_is_found(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path, "boot/1", SystemClock(), lambda line: None)
    audit.write({"kind": "start"}).result(LIMIT_S)
    begun = {"kind": "result", "command": "prove.start", "of": None, "who": "eve", "pcs": "pcs1"}
    audit.write(begun | {"outcome": "accepted"}).result(LIMIT_S)
    audit.write({"kind": "drill", "outcome": "passed"}).result(LIMIT_S)
    found = unreported_proof(tmp_path)
    assert found is not None
    assert (found["who"], found["pcs"]) == ("eve", "pcs1")
    assert unreported_drill(tmp_path) is None
    audit.write({"kind": "proof", "outcome": "failed"}).result(LIMIT_S)
    assert unreported_proof(tmp_path) is None
    audit.close()
