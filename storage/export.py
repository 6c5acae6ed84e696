"""Exports a record to one self-contained directory, for another machine, a spreadsheet, Datasette or an auditor."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words
from storage import audit_format, csv_fields, schema
from storage.damage import DAMAGED
from storage.manifest import MANIFEST, signed
from storage.reader import open_read_only
from storage.rows import to_us
from storage.trimming import trim

WIDE = "telemetry_wide_1m"
# of a table SQLite takes 2000 columns: the signals that have minutes come before those that have none
SHOWN = "SELECT id, name FROM signal ORDER BY id IN (SELECT sid FROM r1m) DESC, id LIMIT 1900"


class ExportError(Exception):
    """The export was not made; the text says why."""


def export(directory_in: Path, directory_out: Path, start_utc_s: float, end_utc_s: float) -> dict[str, Any]:
    """Write what was recorded in [start, end) to a new or empty directory; returns the manifest.

    `telemetry.db` (a consistent copy, also while a gateway writes; with a wide table of minute means), `telemetry.csv`,
    `events.csv`, `decisions.csv`, `drills.csv`, `gaps.csv`, `audit.db` and `audit.csv` where there is an audit (whole:
    a part of a chain proves nothing), and `manifest.json` with rows, bytes and SHA-256 of each, the head of the audit's
    chain, and a signature with the audit's key, where this user may read it.

    Raises NoRecords if there is nothing to read, ExportError, and OSError if the directory cannot be written.
    """
    if not end_utc_s > start_utc_s:
        raise ExportError(f"expected an end after the start, got {_iso(start_utc_s)} to {_iso(end_utc_s)}")
    copy = directory_out / schema.FILE
    with closing(open_read_only(directory_in / schema.FILE)) as source:
        directory_out.mkdir(parents=True, exist_ok=True)
        if any(directory_out.iterdir()):
            raise ExportError(f"{directory_out} is not empty: name a new directory")
        try:
            # SQLite's online backup in one step: one state of the file, WAL included, whoever writes meanwhile
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            rows = _telemetry(copy, directory_out, start_utc_s, end_utc_s)
            audit = _audit(directory_in, directory_out, rows)
        except (sqlite3.Error, *DAMAGED) as error:
            raise ExportError(f"the records in {directory_in} cannot be exported: {error}") from error
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path), "rows": rows.get(path.name)}
        for path in sorted(directory_out.iterdir())
    }
    stated = {
        "format": 1,
        "schema": len(schema.STEPS),
        "start": _iso(start_utc_s),
        "end": _iso(end_utc_s),
        "files": files,
        "csv": csv_fields.RULE,
        "audit": audit,
    }
    manifest = signed(stated, directory_in)
    (directory_out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _telemetry(copy: Path, directory_out: Path, start_utc_s: float, end_utc_s: float) -> dict[str, int]:
    """Bring a copy of the telemetry to the span and the schema of the export, with its tables; rows by table."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as con:
        schema.migrate(con, copy)
        trim(con, to_us(start_utc_s), to_us(end_utc_s))
        rows = _tables(con, directory_out)
        con.execute("VACUUM")
        con.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
    return rows


def _audit(directory_in: Path, directory_out: Path, rows: dict[str, int]) -> dict[str, Any] | None:
    """Copy the audit; the head of its chain and the key that signs it. None where there is none."""
    source_file = directory_in / audit_format.FILE
    if not source_file.exists():
        return None
    copy = directory_out / audit_format.FILE
    try:
        with closing(audit_format.open_read_only(source_file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise ExportError(f"the audit {source_file} cannot be copied: {error}") from None
    with closing(sqlite3.connect(copy, isolation_level=None)) as con:
        con.execute("PRAGMA journal_mode = DELETE")
        rows["audit.csv"] = _csv(con, f"{audit_format.ROWS} ORDER BY seq", directory_out / "audit.csv")
        seq, head = audit_format.last(con)
        checkpoint = con.execute("SELECT seq, public_key FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()
    return {
        "rows": seq,
        "head": audit_format.head_words(seq, head),
        "signed_up_to": 0 if checkpoint is None else checkpoint[0],
        "public_key": "" if checkpoint is None else checkpoint[1].hex(),
    }


def _tables(con: sqlite3.Connection, directory_out: Path) -> dict[str, int]:
    """The wide table in the copy, and the CSV files; rows by file."""
    import sqlite_utils

    db = sqlite_utils.Database(con, recursive_triggers=False, execute_plugins=False)
    names = [row["name"] for row in db.query(f"SELECT name FROM ({SHOWN}) ORDER BY id")]
    columns: dict[str, type] = {"t": str, **dict.fromkeys(names, float)}
    wide: Any = db[WIDE]
    wide.create(columns, pk="t")
    wide.insert_all(_wide_rows(db, names))
    con.create_function("words", 2, _words, deterministic=True)
    sources = {
        "telemetry.csv": f"SELECT * FROM {WIDE} ORDER BY t",
        "events.csv": "SELECT * FROM events ORDER BY t",
        "decisions.csv": "SELECT *, words(code, figures) AS reason FROM decisions ORDER BY t",
        "drills.csv": "SELECT * FROM drills ORDER BY t",
        "gaps.csv": "SELECT * FROM gaps ORDER BY t",
    }
    return {name: _csv(con, query, directory_out / name) for name, query in sources.items()}


def _words(code: str, figures: str) -> str:
    """A reason as it is kept in the record, in words."""
    return words(msgspec.json.decode(f'{{"code":{json.dumps(code)},"figures":{figures}}}', type=Reason))


def _wide_rows(db: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    """One row a minute, one column a signal: its mean, empty where it was missing."""
    row: dict[str, Any] = {}
    for cell in db.query("SELECT t, signal, mean FROM telemetry_1m ORDER BY t"):
        if cell["t"] != row.get("t"):
            if row:
                yield row
            row = {"t": cell["t"], **dict.fromkeys(names)}
        row[cell["signal"]] = cell["mean"]
    if row:
        yield row


def _csv(con: sqlite3.Connection, query: str, path: Path) -> int:
    """What a query finds as CSV with a header; how many rows."""
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        found = con.execute(query)
        writer.writerow(csv_fields.field(column[0]) for column in found.description)
        for row in found:
            writer.writerow(map(csv_fields.field, row))
            rows += 1
    return rows


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _iso(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat().replace("+00:00", "Z")
