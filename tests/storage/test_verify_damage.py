"""An export of which any file was damaged: `verify` finds it or says that it cannot read it; it never fails."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from soak_sizes import examples
from storage_samples import T0, feed
from waiting import LIMIT_S

from dispatch.model.events import Event
from dispatch.wording.formatting import neutralised
from drivers.clock import SystemClock
from storage.audit import AuditLog
from storage.config import StorageConfig
from storage.csv_fields import field
from storage.export.writer import export
from storage.manifest import MANIFEST, signed
from storage.recorder import Recorder
from storage.verify import CannotVerify, verify

FORMULAS = ('=HYPERLINK("http://evil","ok")', "+1+2", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "-", "=")
PLAIN = ("", "hold", "1=1", " =1", "'=1", "ä", "+".join("ab"))
PER_FILE = examples(12, times=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State and export of a site where somebody wrote formulas into every text."""
    place = tmp_path_factory.mktemp("verify")
    (place / "state").mkdir()
    audit = AuditLog(place / "state", "boot/1", SystemClock(), lambda line: None)
    for n, text in enumerate(FORMULAS + PLAIN, 1):
        row = audit.write({"kind": "intent", "command": "order.set", "who": "alice", "text": text, "reason": text})
        audit.write({"kind": "result", "of": row.result(LIMIT_S), "n": n * 1.5, "text": text}).result(LIMIT_S)
    audit.close()
    recorder = Recorder(place / "state", StorageConfig(), "boot")
    feed(recorder, range(200))
    for text in FORMULAS + PLAIN:
        recorder.event(Event(T0 + 70, "device", "info", "pcs1", text)).result(LIMIT_S)
    recorder.flush().result(LIMIT_S)
    recorder.close()
    export(place / "state", place / "export", T0, T0 + 240)
    return place


def flip(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def truncate(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def zero_sector(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data)) // 512 * 512
    data[at : at + 512] = bytes(len(data[at : at + 512]))


def repeat(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data)) :] *= 2


KINDS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, truncate, zero_sector, repeat)


@pytest.mark.soak
def test_whatever_file_is_damaged_is_found_or_cannot_be_read(made: Path, tmp_path: Path) -> None:
    draw = random.Random(7)
    names = sorted(path.name for path in (made / "export").iterdir())
    assert {"audit.db", "audit.csv", "export.db", "events.csv", "gaps.csv", MANIFEST} < set(names)
    assert said_of(made / "export") == ""
    said = []
    for name in names:
        whole = (made / "export" / name).read_bytes()
        for n in range(PER_FILE):
            copy = tmp_path / f"{name}-{n}"
            shutil.copytree(made / "export", copy)
            data = bytearray(whole)
            KINDS[n % len(KINDS)](data, draw)
            (copy / name).write_bytes(data)
            said.append(said_of(copy))
            assert bool(said[-1]) == (data != whole), (name, n)
            shutil.rmtree(copy)
    assert any(line.startswith(str(tmp_path)) for line in said)  # could not be read
    assert any("its SHA-256 is not that of the manifest" in line for line in said)


def said_of(directory: Path) -> str:
    """The first finding, or why there is none; empty for an export as it was written."""
    try:
        report = verify(directory)
    except CannotVerify as error:
        return str(error)
    return "" if report.ok else (*report.findings, report.unsigned)[0]


@pytest.mark.parametrize("name", ["audit.db", "audit.csv", "export.db", "events.csv", MANIFEST])
def test_a_file_that_is_gone_or_a_directory(made: Path, tmp_path: Path, name: str) -> None:
    for is_directory in (False, True):
        copy = tmp_path / f"copy-{is_directory}"
        shutil.copytree(made / "export", copy)
        (copy / name).unlink()
        if is_directory:
            (copy / name).mkdir()
        assert said_of(copy)


def test_files_that_the_manifest_lacks_are_named(made: Path, tmp_path: Path) -> None:
    """SQLite would take a journal into the database beside it; other files would pass as a part of the export."""
    copy = tmp_path / "copy"
    shutil.copytree(made / "export", copy)
    before = verify(copy)
    (copy / "telemetry_1m.csv").write_text("time_utc,grid_import_w\n")
    (copy / "export.db-wal").touch()  # empty, as a reader leaves it
    report = verify(copy)
    assert set(report.remarks) - set(before.remarks) == {"not in the manifest, so not verified: telemetry_1m.csv"}
    assert report.findings == ()
    (copy / "export.db-journal").write_bytes(b"x")
    found = verify(copy).findings
    assert found[0].startswith("export.db-journal is not of the manifest"), found


@pytest.mark.parametrize("key", ["zz", "00", "0" * 63, "0" * 66])
def test_a_key_that_is_none_says_what_was_expected(made: Path, key: str) -> None:
    with pytest.raises(ValueError, match="expected a public key, 64 hexadecimal digits"):
        verify(made / "export", public_key=key)


def test_no_text_of_a_csv_file_is_a_formula(made: Path) -> None:
    out = made / "export"
    assert "begins with = + - @" in json.loads((out / MANIFEST).read_text())["csv"]
    with (out / "events.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert sorted(texts) == sorted(field(text) for text in FORMULAS + PLAIN)
    for path in out.glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.reader(file):
                assert not [cell for cell in row if cell[:1] in tuple("=+@\t\r\n\uff1d") and cell], path
    with sqlite3.connect(out / "export.db") as con:  # no quotes here
        found = {text for (text,) in con.execute("SELECT text FROM events")}
        assert found == {neutralised(text) for text in FORMULAS + PLAIN}
    con.close()


def test_numbers_stay_as_they_are() -> None:
    assert [field(value) for value in (-1, -1.5, None, 0)] == [-1, -1.5, None, 0]


def test_an_export_of_before_formulas_were_quoted_verifies(made: Path, tmp_path: Path) -> None:
    """Its CSV has the texts as they are. One in which only some are quoted was changed."""
    old = tmp_path / "old"
    shutil.copytree(made / "export", old)
    with (old / "audit.csv").open(newline="") as file:
        raw = {field(text): text for text in FORMULAS}
        rows = [[raw.get(cell, cell) for cell in row] for row in csv.reader(file)]
    _rewrite(old, rows, made / "state")
    assert verify(old).findings == ()
    quoted = next(row for row in rows if FORMULAS[0] in row)
    quoted[quoted.index(FORMULAS[0])] = f"'{FORMULAS[0]}"
    _rewrite(old, rows, made / "state")
    assert any("is not as the audit has it" in line for line in verify(old).findings)


def _rewrite(out: Path, rows: list[list[str]], state: Path) -> None:
    """Write another audit.csv and sign for it, as the gateway of that time did."""
    with (out / "audit.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    manifest = json.loads((out / MANIFEST).read_text())
    del manifest["signature"]
    manifest.pop("csv", None)
    manifest["files"]["audit.csv"]["sha256"] = hashlib.sha256((out / "audit.csv").read_bytes()).hexdigest()
    (out / MANIFEST).write_text(json.dumps(signed(manifest, state)))


def test_a_table_of_the_audit_that_differs_from_the_chain_is_found_though_it_is_signed_for(
    made: Path, tmp_path: Path
) -> None:
    """By somebody who has the key of the manifest; the chain says what was commanded."""
    forged = tmp_path / "forged"
    shutil.copytree(made / "export", forged)
    with sqlite3.connect(forged / "export.db") as con:
        con.execute("UPDATE audit SET who = 'mallory' WHERE seq = 3")
        con.execute("INSERT INTO audit (seq, who) VALUES (1000, 'alice')")
    con.close()
    manifest = json.loads((forged / MANIFEST).read_text())
    del manifest["signature"]
    manifest["files"]["export.db"]["sha256"] = hashlib.sha256((forged / "export.db").read_bytes()).hexdigest()
    (forged / MANIFEST).write_text(json.dumps(signed(manifest, made / "state")))
    assert verify(forged).findings == (
        "export.db: row 3 of the table audit is not as the audit has it",
        "export.db: the table audit has rows that the audit has not",
    )


def test_a_row_that_is_no_utf_8_is_named(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "state" / "audit.db", tmp_path)
    with sqlite3.connect(tmp_path / "audit.db") as con:
        con.execute("DROP TRIGGER entry_no_update")
        con.execute("UPDATE entry SET body = CAST(x'7b22ff227d' AS TEXT) WHERE seq = 4")
    con.close()
    assert {"row 4 was edited: its hash does not match its text", "row 4 is not JSON"} == set(verify(tmp_path).findings)


@pytest.mark.parametrize(
    ("column", "value", "row"),
    [
        *(("prev", None, 7), ("hash", None, 7), ("body", None, 7), ("hash", 5, 7), ("prev", "text", 7)),
        *(("seq", -3, 1), ("hash", None, 34), ("hash", "text", 34), ("body", 1.5, 34)),
    ],
)
def test_a_row_with_a_field_that_is_missing_is_named(
    made: Path, tmp_path: Path, column: str, value: object, row: int
) -> None:
    """As a damaged page gives it, whatever the table demands."""
    with_plain_tables(made / "state" / "audit.db", tmp_path / "audit.db", f"UPDATE entry SET {column} = ?", value, row)
    named = value if column == "seq" else row
    assert any(line.startswith(f"row {named} was edited") for line in verify(tmp_path).findings)


@pytest.mark.parametrize("column", ["hash", "public_key", "signature"])
@pytest.mark.parametrize("value", [None, "text", 5])
def test_a_signature_with_a_field_that_is_missing_is_named(
    made: Path, tmp_path: Path, column: str, value: object
) -> None:
    file = tmp_path / "audit.db"
    with_plain_tables(made / "state" / "audit.db", file, f"UPDATE checkpoint SET {column} = ?", value, 16)
    found = verify(tmp_path)
    assert "checkpoint 16: the signature does not hold" in found.findings
    assert len(found.public_key) == 64, "that of the other checkpoints"


def with_plain_tables(audit: Path, copy: Path, update: str, value: object, row: int) -> None:
    """A copy of an audit whose tables demand nothing, with another value in a row."""
    with sqlite3.connect(copy, isolation_level=None) as con:
        con.execute("ATTACH ? AS made", (str(audit),))
        con.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, prev, hash, body)")
        con.execute("CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, hash, public_key, signature)")
        for table in ("entry", "checkpoint"):
            con.execute(f"INSERT INTO {table} SELECT * FROM made.{table}")
        assert con.execute(f"{update} WHERE seq = ?", (value, row)).rowcount == 1
    con.close()
