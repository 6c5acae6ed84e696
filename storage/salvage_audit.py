"""Recovers the rows of a damaged audit file into a new one. The damaged file is only read.

A row proves itself: its hash is that of its number, of the hash before and of its text. So every page is looked at,
whatever tree it belongs to. The new file keeps numbers and hashes: `skerry verify` names the rows that are missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from storage.audit_format import APPLICATION_ID, SCHEMA, VERSION, chained, signed_text
from storage.audit_self_check import restore_triggers
from storage.damage import DAMAGED
from storage.pages import TABLE_LEAF, Cell, PageDamaged, Pages
from storage.salvage import CannotSalvage, Report, TableReport, recovering

MOST = 100  # missing times that are reported

_ENTRY = "INSERT OR IGNORE INTO entry (seq, prev, hash, body) VALUES (?,?,?,?)"
_CHECKPOINT = "INSERT OR IGNORE INTO checkpoint (seq, hash, public_key, signature) VALUES (?,?,?,?)"


def salvage_audit(damaged: Path, out: Path) -> Report:
    """Write the rows and signatures that hold to the new file `out`. Raises CannotSalvage and OSError."""
    with recovering(damaged, out) as (pages, con):
        con.executescript(f"{SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}")
        con.executescript("DROP TRIGGER entry_appends; DROP TRIGGER checkpoint_appends")  # rows come in any order
        con.execute("BEGIN")
        for cell in _cells(pages):
            _copy(con, cell)
        con.execute("COMMIT")
        restore_triggers(con)
        report = Report(str(damaged), str(out), _reports(con), [])
        if pages.lost_frames:
            text = f"{pages.lost_frames} pages in its write-ahead log are damaged: the newest rows may be missing"
            report.notes.append(text)
        if not report.tables[0].read:
            raise CannotSalvage(f"{damaged}: no row of an audit can be read in it")
    return report


def _cells(pages: Pages) -> Iterator[Cell]:
    """The cells of all pages that may hold rows."""
    for number in range(1, pages.count + 1):
        with suppress(PageDamaged):
            kind, cells, _ = pages.cells(number)
            if kind == TABLE_LEAF:
                yield from (cell for cell in cells if cell is not None and len(cell.values) == 4)


def _copy(con: sqlite3.Connection, cell: Cell) -> None:
    """Write a cell that is a row or a signature, and proves it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    _, first, second, third = cell.values
    if not (isinstance(first, bytes) and isinstance(second, bytes) and cell.rowid > 0):
        return
    if isinstance(third, str):
        with suppress(*DAMAGED):
            if chained(cell.rowid, first, third) == second:
                con.execute(_ENTRY, (cell.rowid, first, second, third))
    elif isinstance(third, bytes):
        with suppress(InvalidSignature, *DAMAGED):
            Ed25519PublicKey.from_public_bytes(second).verify(third, signed_text(cell.rowid, first))
            con.execute(_CHECKPOINT, (cell.rowid, first, second, third))


def _reports(con: sqlite3.Connection) -> list[TableReport]:
    """How many rows there are, and which are missing before the last of them."""
    read, last = con.execute("SELECT count(*), coalesce(max(seq), 0) FROM entry").fetchone()
    entry = TableReport("entry", read=read, lost=last - read)
    with suppress(sqlite3.OperationalError, *DAMAGED):  # a row that was no JSON from the beginning
        holes = con.execute(
            "SELECT before ->> 't', body ->> 't' FROM (SELECT seq, body, lag(seq, 1, 0) OVER (ORDER BY seq) AS "
            "previous, lag(body, 1, body) OVER (ORDER BY seq) AS before FROM entry) WHERE seq > previous + 1 LIMIT ?",
            (MOST,),
        )
        entry.missing_s = [(_utc_s(begin), _utc_s(end)) for begin, end in holes]
    (signed,) = con.execute("SELECT count(*) FROM checkpoint").fetchone()
    return [entry, TableReport("checkpoint", read=signed)]


def _utc_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
