"""Checks an audit file: its end and its triggers when it is opened, all of it in the background afterwards."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from storage.audit_format import GENESIS, SCHEMA, chained, open_read_only, rows_words, signed_text
from storage.damage import DAMAGED

LAST_ROWS = 256  # checked while a gateway starts
CHUNK_ROWS = 100  # checked at a time in the background: about 2 ms of computing
PAUSE_S = 0.05  # between two of them: a million rows take ten minutes
MOST = 5  # findings: more of the same say nothing new

_ROWS = "SELECT seq, prev, hash, CAST(body AS BLOB) FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
_SIGNED = (
    "SELECT c.seq, c.hash, c.public_key, c.signature, e.hash "
    "FROM checkpoint AS c LEFT JOIN entry AS e ON e.seq = c.seq "
    "WHERE c.seq > ? AND c.seq <= ? ORDER BY c.seq"
)


def check_end(con: sqlite3.Connection) -> list[str]:
    """What is wrong with the last rows and the checkpoints on them. Raises sqlite3.Error."""
    last = con.execute("SELECT coalesce(max(seq), 0) FROM entry").fetchone()[0]
    before = max(0, last - LAST_ROWS)
    row = con.execute("SELECT hash FROM entry WHERE seq = ?", (before,)).fetchone()
    found = [*_chain(con, before, GENESIS if row is None else row[0], LAST_ROWS), *_checkpoints(con, before, 1 << 62)]
    return found[:MOST]


def restore_triggers(con: sqlite3.Connection) -> list[str]:
    """Names of the triggers that were missing or changed, made anew. Raises sqlite3.Error."""
    with closing(sqlite3.connect(":memory:")) as sound:
        sound.executescript(SCHEMA)
        expected = _triggers(sound)
    found = _triggers(con)
    wrong = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    for name in wrong:
        con.execute(f'DROP TRIGGER IF EXISTS "{name.replace(chr(34), chr(34) * 2)}"')
        if name in expected:
            con.execute(expected[name])
    return wrong


def check_heads(chain: dict[int, bytes], outside: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    """What a head that left the machine says of the chain."""
    for seq, head in outside:
        if seq == 0:
            continue
        if seq not in chain:
            last = max(chain, default=0)
            yield f"head {seq} was noted outside, but the chain ends at row {last}: the tail was cut off"
        elif chain[seq] != head:
            yield f"row {seq} is not the one that was noted outside as head {seq}: the chain was rewritten"


def _triggers(con: sqlite3.Connection) -> dict[str, str]:
    return dict(con.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall())


def _chain(con: sqlite3.Connection, after: int, head: bytes, rows: int) -> Iterator[str]:
    """What is wrong with so many rows behind a row with this hash."""
    for seq, prev, stated, body in con.execute(_ROWS, (after, rows)).fetchall():
        if seq != after + 1:
            yield rows_words(after + 1, seq - 1, "is missing", "are missing")
        elif prev != head:
            yield f"row {seq} does not follow row {after}"
        if not _fits(seq, prev, body, stated):
            yield f"row {seq} was edited"
        after, head = seq, stated


def _fits(seq: int, prev: bytes, body: bytes, stated: bytes) -> bool:
    try:
        return chained(seq, prev, body) == stated
    except DAMAGED:
        return False


def _checkpoints(con: sqlite3.Connection, after: int, up_to: int) -> Iterator[str]:
    """What is wrong with the signatures of these rows."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for seq, head, key, signature, stands in con.execute(_SIGNED, (after, up_to)).fetchall():
        if stands != head:
            yield f"the signature of row {seq} is of another row"
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, signed_text(seq, head))
        except (InvalidSignature, *DAMAGED):
            yield f"the signature of row {seq} does not hold"


class BackgroundCheck:
    """Checks a whole file once, in a thread of its own, a little at a time so that no tick notices."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._path, self._report = path, report
        self._ended = threading.Event()
        self.done = threading.Event()
        threading.Thread(target=self._run, name="audit-check", daemon=True).start()

    def stop(self) -> None:
        """Check no more."""
        self._ended.set()

    def _run(self) -> None:
        try:
            with closing(open_read_only(self._path)) as con:
                for finding in self._findings(con):
                    self._report(finding)
        except (sqlite3.Error, OSError, ValueError) as error:
            self._report(f"the audit cannot be checked to its end: {error}")
        self.done.set()

    def _findings(self, con: sqlite3.Connection) -> Iterator[str]:
        last = con.execute("SELECT coalesce(max(seq), 0) FROM entry").fetchone()[0]
        after, head, found = 0, GENESIS, 0
        while after < last and found < MOST and not self._ended.wait(PAUSE_S):
            rows = con.execute("SELECT seq, hash FROM entry WHERE seq > ? ORDER BY seq LIMIT ?", (after, CHUNK_ROWS))
            ends = rows.fetchall()[-1:] or [(last, head)]
            for finding in (*_chain(con, after, head, CHUNK_ROWS), *_checkpoints(con, after, ends[0][0])):
                yield finding
                found += 1
            after, head = ends[0]
