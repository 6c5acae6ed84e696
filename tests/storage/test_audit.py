"""The audit: what it refuses, what verify finds, what happens when it cannot be written."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from storage_samples import T0, feed
from waiting import LIMIT_S

from drivers.clock import VirtualClock
from storage import audit_reader
from storage.audit import AuditLog, NotDurable
from storage.audit_format import FILE, chained, head_words, last, signed_text
from storage.audit_head import HEAD_FILE
from storage.audit_self_check import restore_triggers
from storage.config import StorageConfig
from storage.export.writer import export
from storage.manifest import signed
from storage.recorder import Recorder
from storage.signing_key import KEY_FILE
from storage.verify import CannotVerify, verify


@pytest.fixture
def anchored() -> list[str]:
    return []


@pytest.fixture
def audit(tmp_path: Path, anchored: list[str]) -> Iterator[AuditLog]:
    log = AuditLog(tmp_path, "boot/1", VirtualClock(T0), anchored.append)
    yield log
    log.close()


def command(n: int) -> dict[str, Any]:
    return {"kind": "intent", "who": "alice", "command": "order.set setpoint", "text": f"→ {n} kW", "reason": "tést"}


def filled(directory: Path, pairs: int = 20, named: bool = False) -> tuple[str, list[str]]:
    """An audit of so many commands, closed; its head, and the heads that left the machine."""
    anchored: list[str] = []
    audit = AuditLog(directory, "boot/1", VirtualClock(T0), anchored.append)
    if named:
        audit.write({"kind": "start", "who": "gateway"})
    for n in range(pairs):
        intent = audit.write(command(n)).result(LIMIT_S)
        audit.write({"kind": "result", "of": intent, "outcome": "in force", "text": "now"}).result(LIMIT_S)
    assert audit.close()
    return audit.head, anchored


def tamper(directory: Path, *statements: str) -> None:
    """What somebody with write access does: the triggers first."""
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as con:
        for (name,) in con.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            con.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            con.execute(statement)


def rewrite(directory: Path, from_seq: int) -> None:
    """Rewrite a tail so that its hashes fit again: all that is lacking is the key."""
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as con:
        prev = con.execute("SELECT hash FROM entry WHERE seq = ?", (from_seq - 1,)).fetchone()[0]
        for seq, body in con.execute("SELECT seq, body FROM entry WHERE seq >= ? ORDER BY seq", (from_seq,)).fetchall():
            body = body.replace("alice", "mallory")
            new = chained(seq, prev, body)
            con.execute("UPDATE entry SET prev = ?, hash = ?, body = ? WHERE seq = ?", (prev, new, body, seq))
            prev = new


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_that_is_acknowledged_is_on_the_disk(audit: AuditLog) -> None:
    """`synchronous` is of the connection: asked of the one that writes."""
    audit.write(command(1)).result(LIMIT_S)
    con = audit._file._con
    assert con is not None
    assert con.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert con.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_rows_are_chained_signed_and_anchored(tmp_path: Path) -> None:
    head, anchored = filled(tmp_path)
    report = verify(tmp_path)
    assert (report.ok, report.rows, report.head, report.remarks) == (True, 40, head, ())
    assert report.checkpoints >= 2
    assert anchored[-1] == f"skerry audit head {head} of {tmp_path / FILE}"
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    first, second = audit_reader.rows(tmp_path, 2)
    assert (second["of"], second["sha256"]) == (first["seq"], head.split(":")[1])
    assert first["t"] == "2025-09-16T06:55:00.000Z"
    again, _ = filled(tmp_path, 1)
    assert again.startswith("42:"), "a restart goes on with the chain"
    assert verify(tmp_path, (head,)).ok


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entry SET body = '{}' WHERE seq = 3",
        "DELETE FROM entry WHERE seq = 3",
        "DELETE FROM entry",
        "INSERT OR REPLACE INTO entry SELECT 3, prev, hash, '{}' FROM entry WHERE seq = 3",
        "INSERT INTO entry SELECT 100, prev, hash, body FROM entry WHERE seq = 3",
        "INSERT INTO entry SELECT 41, prev, hash, body FROM entry WHERE seq = 3",
        "UPDATE checkpoint SET seq = 1",
        "DELETE FROM checkpoint",
        "INSERT OR REPLACE INTO checkpoint SELECT 3, hash, public_key, signature FROM checkpoint LIMIT 1",
        "INSERT INTO entry (seq, prev, hash, body) VALUES (41, 'text', 'text', 5)",
    ],
)
def test_triggers_refuse(tmp_path: Path, sql: str) -> None:
    filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as con, pytest.raises(sqlite3.IntegrityError):
        con.execute(sql)
    assert verify(tmp_path).ok


# ── attacks, research/reliability §4 ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (["UPDATE entry SET body = replace(body, 'alice', 'mallory') WHERE seq = 7"], "row 7 was edited"),
        (["UPDATE entry SET body = body || ' ' WHERE seq = 7"], "row 7 was edited"),
        (["DELETE FROM entry WHERE seq BETWEEN 7 AND 9"], "rows 7 to 9 are missing"),
        (["DELETE FROM entry WHERE seq = 1"], "row 1 is missing"),
        (
            [
                "UPDATE entry SET seq = -7 WHERE seq = 7",
                "UPDATE entry SET seq = 7 WHERE seq = 9",
                "UPDATE entry SET seq = 9 WHERE seq = -7",
            ],
            "row 7 does not follow row 6: the chain is broken (reordered or rewritten)",
        ),
        (["DELETE FROM entry WHERE seq > 35"], "signs a row that is not there: the tail was cut off"),
        (["UPDATE checkpoint SET signature = zeroblob(64)"], "the signature does not hold"),
        (
            ["UPDATE checkpoint SET public_key = randomblob(32) WHERE seq = 40"],
            "checkpoint 40 was signed with another key",
        ),
        (["DELETE FROM entry", "DELETE FROM checkpoint"], "head 40 was noted outside, but the chain ends at row 0"),
        (
            ["DELETE FROM entry WHERE seq > 35", "DELETE FROM checkpoint WHERE seq > 35"],
            "head 40 was noted outside, but the chain ends at row 35: the tail was cut off",
        ),
    ],
)
def test_attacks_are_found(tmp_path: Path, attack: list[str], said: str) -> None:
    head, _ = filled(tmp_path)
    tamper(tmp_path, *attack)
    report = verify(tmp_path, (head,))
    assert not report.ok
    assert any(said in finding for finding in report.findings), report.findings
    assert not any("last -" in remark for remark in report.remarks), "more signed than there are"


def test_rewritten_tail_without_the_key(tmp_path: Path) -> None:
    filled(tmp_path)
    tamper(tmp_path)
    rewrite(tmp_path, 20)
    findings = verify(tmp_path).findings
    assert any("checkpoint 40 signs another hash than row 40 has" in line for line in findings)


def test_rewritten_with_the_key_of_the_machine_shows_against_a_head_from_outside(tmp_path: Path) -> None:
    """Root has the key, and can mend triggers and head: only what left the machine before (export, syslog) tells."""
    head, _ = filled(tmp_path)
    tamper(tmp_path, "DELETE FROM checkpoint")
    rewrite(tmp_path, 20)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as con:
        restore_triggers(con)
    (tmp_path / HEAD_FILE).unlink()
    filled(tmp_path, 1)  # signs the rewritten chain
    assert verify(tmp_path).ok
    assert "row 40 is not the one that was noted outside as head 40" in verify(tmp_path, (head,)).findings[0]


def test_every_byte_counts(tmp_path: Path) -> None:
    """A single flipped bit in any body is found, whatever SQLite thinks of the file."""
    filled(tmp_path, 4)
    with closing(sqlite3.connect(tmp_path / FILE)) as con:
        bodies = con.execute("SELECT seq, body FROM entry").fetchall()
    for seq, body in bodies:
        for at in range(0, len(body), 41):
            changed = body[:at] + chr(ord(body[at]) ^ 1) + body[at + 1 :]
            with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as con:
                con.execute("DROP TRIGGER IF EXISTS entry_no_update")
                con.execute("UPDATE entry SET body = ? WHERE seq = ?", (changed, seq))
            assert not verify(tmp_path).ok
            with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as con:
                con.execute("UPDATE entry SET body = ? WHERE seq = ?", (body, seq))
    assert verify(tmp_path).ok


# ── export ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    recorder = Recorder(tmp_path / "state", StorageConfig(), "boot")
    feed(recorder, range(50))
    recorder.flush().result(LIMIT_S)
    recorder.close()
    filled(tmp_path / "state")
    export(tmp_path / "state", tmp_path / "out", T0, T0 + 240)
    return tmp_path / "out"


def test_an_export_verifies_on_a_machine_that_has_nothing_else(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["audit"]["rows"] == manifest["audit"]["signed_up_to"] == 40
    assert manifest["files"]["audit.csv"]["rows"] == 40
    report = verify(exported)
    assert (report.ok, report.files, report.head) == (True, 12, manifest["audit"]["head"])
    with pytest.raises(ValueError, match="expected a head such as 17:9f86"):
        verify(exported, ("40:zz",))


def edit_csv(out: Path) -> None:
    (out / "audit.csv").write_text((out / "audit.csv").read_text().replace("alice", "mallory"))


def remove_file(out: Path) -> None:
    (out / "decisions.csv").unlink()


def cut_and_restate(out: Path) -> None:
    """Cut rows and checkpoints, and mend the file's hash in the manifest, but not the head."""
    tamper(out, "DELETE FROM entry WHERE seq > 16", "DELETE FROM checkpoint WHERE seq > 16")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"][FILE]["sha256"] = hashlib.sha256((out / FILE).read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(manifest))


def drop_audit(out: Path) -> None:
    (out / FILE).unlink()


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (edit_csv, "audit.csv: its SHA-256 is not that of the manifest"),
        (remove_file, "decisions.csv: No such file or directory"),
        (cut_and_restate, "head 40 was noted outside, but the chain ends at row 16"),
        (drop_audit, "audit.db is missing"),
    ],
)
def test_a_changed_export(exported: Path, attack: Callable[[Path], None], said: str) -> None:
    attack(exported)
    assert any(said in line for line in verify(exported).findings)


def restate(out: Path, *names: str) -> None:
    """What a forger does who knows the format but has no key: hashes and sizes of the changed files, mended."""
    manifest = json.loads((out / "manifest.json").read_text())
    for name in names:
        content = (out / name).read_bytes()
        manifest["files"][name] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (out / "manifest.json").write_text(json.dumps(manifest))


def test_a_forged_file_whose_hash_was_mended_too(exported: Path) -> None:
    """Found: "verified: as it was written", even with the right head; the manifest was not signed."""
    head = verify(exported).head
    (exported / "events.csv").write_text("t,severity\n")
    restate(exported, "events.csv")
    assert verify(exported, (head,)).findings == ("manifest.json: its signature does not hold",)
    edit_csv(exported)
    restate(exported, "audit.csv")
    findings = verify(exported, (head,)).findings
    assert "audit.csv: row 1 is not as the audit has it" in findings
    (exported / "audit.csv").write_text("seq\n")
    assert "audit.csv has 0 rows, the audit 40" in verify(exported).findings


def test_an_export_without_its_signature_is_not_verified(exported: Path, tmp_path: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    del manifest["signature"]
    (exported / "manifest.json").write_text(json.dumps(manifest))
    report = verify(exported)
    assert (report.ok, report.findings) == (False, ())
    assert report.unsigned.startswith("manifest.json carries no signature: anybody can")
    (exported / "manifest.json").unlink()
    assert verify(exported).findings[0].startswith("manifest.json is missing")
    (tmp_path / "state" / KEY_FILE).unlink()  # as for a user who may read the record but not the key
    unsigned = export(tmp_path / "state", tmp_path / "unsigned", T0, T0 + 240)
    assert "audit.key: No such file" in unsigned["signature"]["unsigned"]
    assert "audit.key: No such file" in verify(tmp_path / "unsigned").unsigned


def made_anew(exported: Path, tmp_path: Path) -> str:
    """The very chain, but every signature by a forger's key, the manifest's too; the key's hex."""
    (forger := tmp_path / "forger").mkdir()
    filled(forger, 1)
    key = Ed25519PrivateKey.from_private_bytes((forger / KEY_FILE).read_bytes())
    public = key.public_key().public_bytes_raw()
    tamper(exported, "DELETE FROM checkpoint")
    with closing(sqlite3.connect(exported / FILE)) as con, con:
        seq, head = last(con)
        row = (seq, head, public, key.sign(signed_text(seq, head)))
        con.execute("INSERT INTO checkpoint VALUES (?,?,?,?)", row)
    (exported / "events.csv").write_text("t,severity\n")
    restate(exported, FILE, "events.csv")
    manifest = json.loads((exported / "manifest.json").read_text())
    del manifest["signature"]
    manifest["audit"]["public_key"] = public.hex()
    (exported / "manifest.json").write_text(json.dumps(signed(manifest, forger)))
    return public.hex()


def test_signed_anew_with_another_key(exported: Path, tmp_path: Path) -> None:
    """A chain that names no key leaves that to whoever knows the site's key, and says so."""
    ours = verify(exported).public_key
    assert verify(exported, public_key=ours).remarks == ()
    made_anew(exported, tmp_path)
    report = verify(exported, (verify(exported).head,))
    assert report.ok
    assert "somebody who made all of it anew, with another key, would not show" in report.remarks[0]
    assert any("was signed with another key" in line for line in verify(exported, public_key=ours).findings)


def test_a_head_from_elsewhere_vouches_for_the_key_that_the_chain_names(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "state", StorageConfig(), "boot")
    recorder.close()
    head, _ = filled(tmp_path / "state", named=True)
    export(tmp_path / "state", tmp_path / "out", T0, T0 + 240)
    report = verify(tmp_path / "out", (head,))
    assert (report.ok, report.remarks) == (True, ())
    assert "give a --head that left the machine before" in verify(tmp_path / "out").remarks[0]
    made_anew(tmp_path / "out", tmp_path)
    assert any("row 1 names another key than the one that signs" in x for x in verify(tmp_path / "out").findings)


def test_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(
        CannotVerify, match=r"expected an export with manifest\.json, or a state directory with audit\.db"
    ):
        verify(tmp_path)


# ── when it cannot be written ───────────────────────────────────────────────────────────────────────────────────────


def test_not_durable_is_said_spooled_and_made_up_for(
    tmp_path: Path, audit: AuditLog, anchored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    audit.write(command(1)).result(LIMIT_S)

    def full(self: AuditLog, con: sqlite3.Connection, records: list[Any]) -> list[int]:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(AuditLog, "_insert", full)
    with pytest.raises(NotDurable, match="cannot be written: database or disk is full"):
        audit.write(command(2)).result(LIMIT_S)
    with pytest.raises(NotDurable):
        audit.spool({"kind": "result", "command": "stop", "text": "held"}).result(LIMIT_S)
    assert audit.spooled == 1
    assert anchored[-1].startswith("skerry audit, not durable: {")
    monkeypatch.undo()
    audit.write(command(3)).result(LIMIT_S)
    assert audit.error == ""
    assert audit.spooled == 0
    texts = [(row["text"], "durable" in row) for row in audit_reader.rows(tmp_path)]
    assert texts == [("→ 1 kW", False), ("held", True), ("→ 3 kW", False)], "row 2 was refused and is nowhere"


def test_refusals_make_room_for_what_ran_while_the_file_could_not_be_written(
    tmp_path: Path, audit: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: AuditLog, con: sqlite3.Connection, records: list[Any]) -> list[int]:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("storage.audit.SPOOLED", 3)
    monkeypatch.setattr(AuditLog, "_insert", full)
    for kind, text in (("result", "held"), *(("refused", str(n)) for n in range(4)), ("result", "stopped")):
        with pytest.raises(NotDurable):
            audit.spool({"kind": kind, "text": text}).result(LIMIT_S)
    monkeypatch.undo()
    audit.write(command(1)).result(LIMIT_S)
    assert [row["text"] for row in audit_reader.rows(tmp_path)] == ["held", "3", "stopped", "→ 1 kW"]


def test_a_damaged_file_is_kept_and_a_new_chain_begun(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / FILE).write_bytes(b"garbage" * 4000)
    audit = AuditLog(tmp_path, "boot/2", VirtualClock(T0), lambda line: None)
    audit.write(command(1)).result(LIMIT_S)
    assert "was damaged" in audit.found[0]
    audit.close()
    assert "rows 1 to 40 of the audit were on the disk and are lost" in verify(tmp_path).findings[0]
    assert [p for p in tmp_path.iterdir() if ".corrupt." in p.name]


def test_a_record_without_canonical_form_is_refused_alone(audit: AuditLog) -> None:
    with pytest.raises(NotDurable, match="Out of range float"):
        audit.write({"kind": "intent", "value": float("nan")}).result(LIMIT_S)
    assert audit.write(command(1)).result(LIMIT_S) == 1


def test_orders_left_in_force(tmp_path: Path, audit: AuditLog) -> None:
    audit.write({"kind": "start"})
    for id in ("o1", "o2", "o3"):
        audit.write({"kind": "result", "order": id, "outcome": "in force"})
    audit.write({"kind": "end", "order": "o2"})
    audit.write({"kind": "result", "order": "o3", "outcome": "refused"}).result(LIMIT_S)
    assert [body["order"] for body in audit_reader.orders_in_force(tmp_path)] == ["o1", "o3"]
    audit.write({"kind": "start"}).result(LIMIT_S)
    assert audit_reader.orders_in_force(tmp_path) == []


# ── kill -9 ─────────────────────────────────────────────────────────────────────────────────────────────────────────

KILLS = 200 if os.environ.get("SKERRY_SOAK") else 40
WRITER = """
import os, select, sys, signal, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from drivers.clock import SystemClock
import cryptography.hazmat.primitives.asymmetric.ed25519
from storage.audit import AuditLog
for run in range(int(sys.argv[3])):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        audit = AuditLog(Path(sys.argv[2]), f"boot/{run}", SystemClock(), lambda line: None)
        n = 0
        while True:
            intent = audit.write({"kind": "intent", "text": f"{run}.{n}"}).result()
            audit.write({"kind": "result", "of": intent, "text": f"{run}.{n}"}).result()
            os.write(into, f"{run}.{n}\\n".encode())  # acknowledged
            n += 1
    os.close(into)
    if run % 2:
        select.select([out], [], [])  # every other one not before its first acknowledgement, however slow the machine
    time.sleep(0.02 + (run * 37 % 100) / 1000)  # anywhere: opening, writing, signing
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(out, "rb") as pipe:
        sys.stdout.write("".join(line.decode() for line in pipe if line.endswith(b"\\n")))
"""


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, "-c", WRITER, root, str(tmp_path), str(KILLS)], capture_output=True, text=True, check=True
    )
    acknowledged = ran.stdout.split()
    assert len(acknowledged) >= KILLS // 2
    with closing(sqlite3.connect(tmp_path / FILE)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = con.execute("SELECT body ->> 'kind', body ->> 'text' FROM entry").fetchall()
        seq, head = last(con)
    intents = {text for kind, text in rows if kind == "intent"}
    results = {text for kind, text in rows if kind == "result"}
    assert not set(acknowledged) - intents
    assert not set(acknowledged) - results
    report = verify(tmp_path, (head_words(seq, head),))
    assert report.ok, report.findings
    assert len(report.remarks) <= KILLS + 1, "at most one command under way at each kill"
