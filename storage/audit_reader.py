"""Reads the audit: its rows, newest last, and which orders were in force when a gateway ended."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.audit_format import FILE, GENESIS, head_words, open_read_only
from storage.damage import DAMAGED
from storage.reader import NoRecords, RecordDamaged

MAX_ROWS = 1000


def rows(directory: Path, limit: int = 50, before_seq: int | None = None) -> list[dict[str, Any]]:
    """The newest rows, oldest first: the body's keys, `seq` and `sha256`. Raises NoRecords."""
    sql = "SELECT seq, hash, body FROM entry WHERE seq < ? ORDER BY seq DESC LIMIT ?"
    found = _query(directory, sql, (before_seq or 1 << 62, max(0, min(limit, MAX_ROWS))))
    with _reading(directory):
        return [{"seq": seq, **json.loads(body), "sha256": digest.hex()} for seq, digest, body in reversed(found)]


def rows_until(directory: Path, utc_s: float, limit: int = 50) -> list[dict[str, Any]]:
    """The newest of the rows that were written up to a time of the site's clock, oldest first. Raises NoRecords."""
    sql = "SELECT seq, hash, body FROM entry WHERE body ->> 't' <= ? ORDER BY seq DESC LIMIT ?"
    until = datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = _query(directory, sql, (until, max(0, min(limit, MAX_ROWS))))
    with _reading(directory):
        return [{"seq": seq, **json.loads(body), "sha256": digest.hex()} for seq, digest, body in reversed(found)]


def ends_utc_s(directory: Path) -> float | None:
    """The time of the newest row by the site's clock; None of an empty audit. Raises NoRecords.

    A restore is told by the machine's clock, which on a simulated site is another one.
    """
    sql = "SELECT body FROM entry WHERE body ->> 'kind' IS NOT 'restored' ORDER BY seq DESC LIMIT 1"
    newest = _query(directory, sql, ())
    with _reading(directory):
        return datetime.fromisoformat(json.loads(newest[0][0])["t"]).timestamp() if newest else None


def head_and_row(directory: Path, seq: int) -> dict[str, Any]:
    """`head`, as printed, of the newest row; `row`: the hash of row `seq`, hex, None if there is none. NoRecords."""
    newest = _query(directory, "SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1", ())
    row = _query(directory, "SELECT hash FROM entry WHERE seq = ?", (seq,))
    with _reading(directory):
        head = head_words(*newest[0]) if newest else head_words(0, GENESIS)
        return {"head": head, "row": row[0][0].hex() if row else None}


LAST_RUN = (  # its rows, where a run that reads late has rows of its own behind them
    "seq >= (SELECT coalesce(max(seq), 0) FROM entry WHERE body ->> 'kind' = 'start' AND body ->> 'run' IS NOT ?1) "
    "AND body ->> 'run' IS NOT ?1 "
)


def orders_in_force(directory: Path, own_run: str = "") -> list[dict[str, Any]]:
    """Bodies of the orders that the last run but `own_run` put in force, without an end on record. Raises NoRecords."""
    sql = f"SELECT body FROM entry WHERE {LAST_RUN}AND body ->> 'order' IS NOT NULL ORDER BY seq"
    orders: dict[str, dict[str, Any]] = {}
    with _reading(directory):
        for (text,) in _query(directory, sql, (own_run,)):
            body = json.loads(text)
            if body["kind"] == "end":
                orders.pop(body["order"], None)
            elif body["kind"] == "result" and body.get("outcome") == "in force":
                orders[body["order"]] = body
    return list(orders.values())


def orders_stopped(directory: Path, own_run: str = "") -> list[dict[str, Any]]:
    """Bodies of the ends of orders that the last run's stop has ended before their time. Raises NoRecords."""
    sql = (
        f"SELECT body FROM entry WHERE {LAST_RUN}"
        "AND body ->> 'kind' = 'end' AND body ->> 'stopped_until_utc_s' IS NOT NULL ORDER BY seq"
    )
    with _reading(directory):
        return [json.loads(text) for (text,) in _query(directory, sql, (own_run,))]


def unreported_drill(directory: Path, own_run: str = "") -> dict[str, Any] | None:
    """The body of the drill that the last run began and never reported: its gateway was killed. Raises NoRecords."""
    return _unreported(directory, own_run, "drill.start", "drill")


def unreported_proof(directory: Path, own_run: str = "") -> dict[str, Any] | None:
    """The same of a proof of a PCS. Raises NoRecords."""
    return _unreported(directory, own_run, "prove.start", "proof")


def _unreported(directory: Path, own_run: str, command: str, ended: str) -> dict[str, Any] | None:
    """The last run's result of a command that began something, without a later row of the kind `ended`."""
    sql = (
        "SELECT r.body, i.body ->> 'reason' FROM entry AS r LEFT JOIN entry AS i ON i.seq = r.body ->> 'of' "
        "WHERE r.seq >= (SELECT coalesce(max(seq), 0) FROM entry "
        "WHERE body ->> 'kind' = 'start' AND body ->> 'run' IS NOT ?1) AND r.body ->> 'run' IS NOT ?1 "
        "AND r.body ->> 'kind' IN ('result', ?2) ORDER BY r.seq"
    )
    found: dict[str, Any] | None = None
    with _reading(directory):
        for text, reason in _query(directory, sql, (own_run, ended)):
            body = json.loads(text)
            if body["kind"] == ended:
                found = None
            elif body.get("command") == command and body.get("outcome") == "accepted":
                found = body | {"reason": reason or ""}
    return found


def reservations(directory: Path, utc_s: float) -> list[dict[str, Any]]:
    """The reservations on record that end after `utc_s` and that no later row ends: their fields, `id` from the row.

    Granted is what was on disk, whatever became of the answer. Raises NoRecords.
    """
    sql = "SELECT seq, body FROM entry WHERE body ->> '$.reservation.end_utc_s' > ? ORDER BY seq"
    found: dict[str, dict[str, Any]] = {}
    with _reading(directory):
        for seq, text in _query(directory, sql, (utc_s,)):
            body = json.loads(text)["reservation"]
            found[f"r{seq}"] = {**body, "id": f"r{seq}", "name": body["name"] or f"r{seq}"}
    ended = "SELECT DISTINCT body ->> 'reservation_id' FROM entry WHERE body ->> 'reservation_id' IS NOT NULL"
    for (id,) in _query(directory, ended, ()) if found else ():
        found.pop(id, None)
    for reservation in list(found.values()):  # of one that was renewed the end may not have come to be written
        found.pop(reservation.get("renews", ""), None)
    return list(found.values())


@contextmanager
def _reading(directory: Path) -> Iterator[None]:
    """Raises RecordDamaged for rows that no version has written."""
    try:
        yield
    except DAMAGED as error:
        raise RecordDamaged(f"cannot read {directory / FILE}: a row of it is damaged, {error!r}") from None


def _query(directory: Path, sql: str, values: tuple[Any, ...]) -> list[Any]:
    try:
        with closing(open_read_only(directory / FILE)) as con:
            return con.execute(sql, values).fetchall()
    except FileNotFoundError:
        raise NoRecords(f"no audit at {directory / FILE}: no gateway has written one yet") from None
    except (sqlite3.Error, OSError, ValueError) as error:
        raise NoRecords(f"cannot read {directory / FILE}: {error}") from None
