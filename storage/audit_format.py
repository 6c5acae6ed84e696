"""Defines the audit file, for writer and verifier: rows chained by SHA-256, heads signed with Ed25519.

hash(n) = SHA-256(0x00 | n as 8 bytes, big-endian | hash(n - 1) | body as UTF-8); hash(0) is 32 zero bytes. A body is
canonical JSON (keys sorted, no spaces, no NaN): one record, one spelling. A checkpoint signs (n, hash(n)).
The chain shows edits, deletions and reordering; a tail cut off together with its checkpoints shows only against a head
that left the machine: each export's manifest and syslog hold one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE = "audit.db"
APPLICATION_ID = 0x534B_4155  # "SKAU"
VERSION = 1  # of the file: tables and columns, which never change; a newer Skerry adds to what rows say
ROW_FORMAT = 2  # `v` of a row, none up to version 0.2.0. A newer one adds keys and kinds, and changes no meaning
GENESIS = bytes(32)

# the columns of the view `audit`, and so of an export's audit.csv
ROWS = """SELECT seq, body ->> 't' AS t, body ->> 'kind' AS kind, body ->> 'of' AS of, body ->> 'who' AS who,
         body ->> 'command' AS command, body ->> 'text' AS text, body ->> 'durable' AS durable,
         lower(hex(hash)) AS sha256, body ->> 'reason' AS reason, body ->> 'outcome' AS outcome
  FROM entry"""
# the columns of an export's audit, and what those of all versions are made of
CSV_COLUMNS = (
    *("seq", "time_utc", "kind", "of_seq", "who", "uid", "command", "outcome", "reason_code", "reason", "text"),
    *("durable", "sha256"),
)
CSV_COLUMNS_OF_0_1_0 = ("seq", "t", "kind", "of", "who", "command", "text", "durable", "sha256")
CSV_COLUMNS_OF_0_2_0 = (*CSV_COLUMNS_OF_0_1_0, "reason", "outcome")
CSV_FIELDS = {
    "seq": "seq",
    "t": "body ->> 't'",
    "time_utc": "body ->> 't'",
    "kind": "body ->> 'kind'",
    "of": "body ->> 'of'",
    "of_seq": "body ->> 'of'",
    "who": "body ->> 'who'",
    "uid": "body ->> 'uid'",
    "command": "body ->> 'command'",
    "outcome": "body ->> 'outcome'",
    "reason_code": "coalesce(body ->> '$.why.code', body ->> '$.effect.code')",
    "reason": "body ->> 'reason'",
    "text": "body ->> 'text'",
    "durable": "body ->> 'durable'",
    "sha256": "lower(hex(hash))",
}

SCHEMA = f"""
CREATE TABLE entry (
  seq INTEGER PRIMARY KEY,
  prev BLOB NOT NULL CHECK (length(prev) = 32),  -- hash of the row before, 32 zero bytes for the first
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  body TEXT NOT NULL                             -- canonical JSON
) STRICT;
CREATE TABLE checkpoint (
  seq INTEGER PRIMARY KEY REFERENCES entry (seq),
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  public_key BLOB NOT NULL CHECK (length(public_key) = 32),
  signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT RAISE (ABORT, 'audit rows are never changed'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE (ABORT, 'audit rows are never deleted'); END;
CREATE TRIGGER entry_appends BEFORE INSERT ON entry
  WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entry)
    OR NEW.prev IS NOT coalesce((SELECT hash FROM entry ORDER BY seq DESC LIMIT 1), zeroblob(32))
  BEGIN SELECT RAISE (ABORT, 'audit rows are only appended'); END;
CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint
  BEGIN SELECT RAISE (ABORT, 'audit checkpoints are never changed'); END;
CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint
  BEGIN SELECT RAISE (ABORT, 'audit checkpoints are never deleted'); END;
CREATE TRIGGER checkpoint_appends BEFORE INSERT ON checkpoint
  WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM checkpoint)
    OR NEW.hash IS NOT (SELECT hash FROM entry WHERE seq = NEW.seq)
  BEGIN SELECT RAISE (ABORT, 'audit checkpoints are only appended'); END;
CREATE VIEW audit AS
  {ROWS};
"""


def canonical(record: dict[str, Any]) -> str:
    """The one spelling of a record. Raises ValueError for NaN or infinity, TypeError for what JSON does not know."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def chained(seq: int, prev: bytes, body: str | bytes) -> bytes:
    """The hash of a row; `body` as text, or as its bytes in UTF-8."""
    text = body if isinstance(body, bytes) else body.encode()
    return hashlib.sha256(b"\x00" + seq.to_bytes(8, "big") + prev + text).digest()


def signed_text(seq: int, head: bytes) -> bytes:
    """What a checkpoint signs."""
    return b"skerry-audit-checkpoint-1\x00" + seq.to_bytes(8, "big") + head


def head_words(seq: int, head: bytes) -> str:
    """A head as it is printed, anchored and typed: "17:9f86d0..."."""
    return f"{seq}:{head.hex()}"


def rows_words(first: int, last: int, one: str, several: str) -> str:
    """Rows with what is said of them: "row 7 is missing", "rows 7 to 9 are missing"."""
    return f"row {first} {one}" if first == last else f"rows {first} to {last} {several}"


def head_of(words: str) -> tuple[int, bytes]:
    """A head as it was printed. Raises ValueError with what was expected."""
    number, _, digest = words.strip().partition(":")
    try:
        seq, head = int(number), bytes.fromhex(digest)
    except ValueError:
        seq, head = -1, b""
    if seq < 0 or len(head) != 32:
        raise ValueError(f"{words!r}: expected a head such as 17:9f86... (row and 64 hexadecimal digits)")
    return seq, head


def csv_query(columns: Sequence[str]) -> str:
    """The query for rows of an export's audit.csv with these columns, all of `CSV_FIELDS`. Raises KeyError."""
    return f"SELECT {', '.join(f'{CSV_FIELDS[name]} AS {name}' for name in columns)} FROM entry ORDER BY seq"


def last(con: sqlite3.Connection) -> tuple[int, bytes]:
    """Row number and hash of the newest row; (0, zeros) of an empty chain."""
    row = con.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
    return (0, GENESIS) if row is None else (row[0], row[1])


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that can only read an audit file. Raises sqlite3.Error, FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(2, "no such audit file", str(path))
    con = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0, isolation_level=None)
    try:
        con.execute("PRAGMA query_only = ON")
        con.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except UnicodeDecodeError:
        con.close()
        raise
    except sqlite3.OperationalError as error:
        con.close()
        if Path(f"{path}-wal").exists() or error.sqlite_errorname != "SQLITE_CANTOPEN":
            raise
        # at rest in a directory we cannot write; never beside a WAL, which `immutable` would ignore
        con = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return con
