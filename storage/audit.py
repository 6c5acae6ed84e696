"""Writes the audit: every command is recorded before it takes effect, in a file of its own that shows changes.

One thread writes and signs; handing over a row never waits. A row is acknowledged once it is on the disk
(`synchronous=FULL`). A row that must not stop its command (abort, hold, stop, withdrawal) is handed over with `spool`:
when the file cannot be written it is kept in memory, sent to syslog, marked, and written once the file can be.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import syslog
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dispatch.model.clock import Clock
from storage.audit_format import (
    APPLICATION_ID,
    FILE,
    GENESIS,
    SCHEMA,
    VERSION,
    canonical,
    chained,
    head_words,
    last,
    signed_text,
)
from storage.damage import is_broken
from storage.signing_key import KeyUnusable, signing_key

CHECKPOINT_EVERY = 16  # rows; besides when it is quiet, and at the end
QUIET_S = 3.0
BATCH = 64  # rows that wait share one commit
SPOOLED = 1000  # rows kept in memory while the file cannot be written
BUSY_S = 2.0

_APPEND = "INSERT INTO entry (seq, prev, hash, body) VALUES (?,?,?,?)"
_SIGN = "INSERT INTO checkpoint (seq, hash, public_key, signature) VALUES (?,?,?,?)"

log = logging.getLogger("skerry.storage")
Record = dict[str, Any]


class NotDurable(Exception):
    """The row is not on disk; the line says why."""


class AuditUnusable(Exception):
    """The audit file is none that this Skerry can append to."""


def to_syslog(line: str) -> None:
    """Send a line to syslog; where syslog is forwarded, this machine's root cannot change it there."""
    syslog.syslog(syslog.LOG_NOTICE | syslog.LOG_AUTH, line)


class _Damaged(Exception):
    """The file is not, or no longer, a sound database."""


class _Row:
    """A row waiting to be written to the file."""

    __slots__ = ("future", "keep", "record")

    def __init__(self, record: Record, keep: bool) -> None:
        self.record, self.keep = record, keep
        self.future: Future[int] = Future()
        self.future.set_running_or_notify_cancel()


class AuditLog:
    """Appends to `audit.db` in the state directory until `close`."""

    def __init__(self, directory: Path, run: str, clock: Clock, anchor: Callable[[str], None] = to_syslog) -> None:
        """`run` names this run of the gateway in every row; `anchor` takes a head off the machine."""
        self._path = directory / FILE
        self._run, self._clock, self._anchor = run, clock, anchor
        self._rows: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._spool: deque[_Row] = deque()
        self._con: sqlite3.Connection | None = None
        self._inode = 0
        self._key: Any = None
        self._public = b""
        self._head: tuple[int, bytes] = (0, GENESIS)
        self._signed_seq = 0
        self._error = ""
        self._closed = False
        self.found: list[str] = []  # what opening the file brought to light, for the log
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    # ── the caller's side ───────────────────────────────────────────────────────────────────────────────────────────

    def write(self, record: Record) -> Future[int]:
        """Append a record. The future gives its row number once the disk has it; else NotDurable, and it is dropped."""
        return self._hand_over(record, keep=False)

    def spool(self, record: Record) -> Future[int]:
        """Append a record that is not to be lost: after NotDurable it waits in memory and is written when it can be."""
        return self._hand_over(record, keep=True)

    @property
    def head(self) -> str:
        """The newest row and its hash, as exports print it."""
        return head_words(*self._head)

    @property
    def error(self) -> str:
        """Why nothing can be put on record; empty when all is well."""
        return self._error

    @property
    def spooled(self) -> int:
        """Rows that wait in memory for the file."""
        return len(self._spool)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Write what waits, sign the head, end the thread. False if it took longer or rows stayed unwritten."""
        if not self._closed:
            self._closed = True
            self._rows.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._spool

    def _hand_over(self, record: Record, keep: bool) -> Future[int]:
        utc_s = self._clock.utc_s()
        stamp = datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row = _Row({"t": stamp, "mono_ms": round(self._clock.mono_s() * 1000), "run": self._run, **record}, keep)
        if self._closed:
            row.future.set_exception(NotDurable("the audit is closed"))
        else:
            self._rows.put(row)
        return row.future

    # ── the writer thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        self._append([])  # open, and say at once what is wrong
        rows: list[_Row] | None = []
        while rows is not None:
            rows = self._take()
            if rows is None or rows or self._spool or self._error:
                self._append(rows or [])
            if not rows:
                self._sign()
        self._abandon()

    def _take(self) -> list[_Row] | None:
        """What waits, at most a batch; empty when it has been quiet; None at the end."""
        rows: list[_Row] = []
        try:
            row = self._rows.get(timeout=QUIET_S)
            while row is not None:
                rows.append(row)
                if len(rows) == BATCH:
                    return rows
                row = self._rows.get_nowait()
        except queue.Empty:
            return rows
        if rows:
            self._rows.put(None)  # first these, then the end
            return rows
        return None

    def _append(self, rows: list[_Row]) -> None:
        """One commit for what was spooled before and what is new; then tell everyone who waits."""
        spooled = list(self._spool)
        try:
            con = self._opened()
            numbers = self._insert(con, [*(r.record for r in spooled), *(r.record for r in rows)])
        except (sqlite3.Error, OSError, ValueError, TypeError, AuditUnusable, KeyUnusable) as error:
            self._failed(error, rows)
            return
        if self._error:
            log.warning("the audit is written again; %d rows that waited are on record", len(spooled))
        self._error = ""
        self._spool.clear()
        for row, number in zip(rows, numbers[len(spooled) :], strict=True):
            row.future.set_result(number)
        if self._head[0] - self._signed_seq >= CHECKPOINT_EVERY:
            self._sign()

    def _insert(self, con: sqlite3.Connection, records: list[Record]) -> list[int]:
        """Append records in one transaction; their row numbers."""
        seq, head = self._head
        numbers = []
        bodies = [canonical(self._with_key(record)) for record in records]
        if not bodies:
            return []
        con.execute("BEGIN IMMEDIATE")
        try:
            for body in bodies:
                prev, seq = head, seq + 1
                head = chained(seq, prev, body)
                con.execute(_APPEND, (seq, prev, head, body))
                numbers.append(seq)
            con.execute("COMMIT")
        except BaseException:
            if con.in_transaction:  # a full disk has rolled back already
                con.execute("ROLLBACK")
            raise
        self._head = (seq, head)
        return numbers

    def _with_key(self, record: Record) -> Record:
        """A run's first row names the key that signs, so that a head kept elsewhere vouches for the key, too."""
        return {**record, "public_key": self._public.hex()} if record.get("kind") == "start" else record

    def _failed(self, error: Exception, rows: list[_Row]) -> None:
        """Refuse what must be on record first, keep what ran anyway, say both outside of the file."""
        self._abandon()
        line = f"the audit {self._path} cannot be written: {error}"
        if line != self._error:
            log.error("%s", line)
        self._error = line
        for row in rows:
            if row.keep:
                row.record["durable"] = "late: the audit could not be written when it happened"
                self._wait(row)
                self._say(f"skerry audit, not durable: {canonical(row.record)}")
            row.future.set_exception(NotDurable(line))

    def _wait(self, row: _Row) -> None:
        """Keep a row for later. What is too much falls away: first the oldest refusal, which changed nothing."""
        if len(self._spool) >= SPOOLED:
            refused = (r for r in self._spool if r.record.get("kind") == "refused")
            self._spool.remove(next(refused, self._spool[0]))
        self._spool.append(row)

    def _sign(self) -> None:
        """Sign the head and send it off the machine."""
        seq, head = self._head
        if seq == self._signed_seq or self._con is None:
            return
        try:
            signature = self._key.sign(signed_text(seq, head))
            self._con.execute(_SIGN, (seq, head, self._public, signature))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            log.warning("the audit's head %d is not signed: %s", seq, error)
            self._abandon()
            return
        self._signed_seq = seq
        self._say(f"skerry audit head {head_words(seq, head)} of {self._path}")

    def _say(self, line: str) -> None:
        try:
            self._anchor(line)
        except OSError as error:
            log.warning("no outside anchor for the audit: %s", error)

    # ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _opened(self) -> sqlite3.Connection:
        if self._con is not None and self._same_file():
            return self._con
        self._abandon()
        try:
            self._con = self._open()
        except (_Damaged, sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not isinstance(error, _Damaged) and not is_broken(error, opening=True):
                raise
            self._set_aside(str(error))
            self._con = self._open()
        self._inode = os.stat(self._path).st_ino
        return self._con

    def _open(self) -> sqlite3.Connection:
        """Open the file, made if it is not there, and know where its chain ends."""
        self._load_key()
        con = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            con.execute("PRAGMA journal_mode = WAL")
            con.execute("PRAGMA synchronous = FULL")
            found = con.execute("PRAGMA user_version").fetchone()[0]
            if found > VERSION:
                raise AuditUnusable(f"schema {found}, this Skerry writes {VERSION}: start the newer Skerry")
            if found == 0:
                mark = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}"
                con.executescript(f"BEGIN; {SCHEMA} {mark}; COMMIT;")
                os.chmod(self._path, 0o640)
            if con.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _Damaged("its pages do not hold together")
            for statement in (_APPEND, _SIGN):  # they can be compiled only while the schema is what it was
                con.execute(f"EXPLAIN {statement}", (None,) * 4)
            self._head = last(con)
            self._signed_seq = con.execute("SELECT coalesce(max(seq), 0) FROM checkpoint").fetchone()[0]
        except BaseException:
            con.close()
            raise
        return con

    def _same_file(self) -> bool:
        """The name still leads to the file that is open; a record moved away is no record."""
        try:
            return os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            self.found.append(f"{self._path} was moved or deleted while in use; a new chain was begun")
            return False

    def _load_key(self) -> None:
        if self._key is None:
            self._key = signing_key(self._path.parent)
            self._public = self._key.public_key().public_bytes_raw()

    def _set_aside(self, why: str) -> None:
        """A damaged file is kept under another name, its WAL with it; a new chain begins."""
        aside = self._path.with_name(f"{FILE}.corrupt.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        for suffix in ("-shm", "-wal", ""):
            part = Path(f"{self._path}{suffix}")
            if part.exists():
                part.rename(f"{aside}{suffix}")
        self.found.append(f"{self._path} was damaged ({why}); kept as {aside.name}, a new chain was begun")

    def _abandon(self) -> None:
        """Close without another word."""
        con, self._con = self._con, None
        if con is not None:
            try:
                con.close()
            except sqlite3.Error as error:
                log.debug("closing the audit: %s", error)
