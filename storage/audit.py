"""Writes the audit: every command is recorded before it takes effect, in a file of its own that shows changes.

One thread writes and signs; handing over a row never waits. A row is acknowledged once it is on the disk
(`synchronous=FULL`). A row that must not stop its command (abort, hold, stop, withdrawal) is handed over with `spool`:
when the file cannot be written it is kept in memory, sent to syslog, marked, and written once the file can be.
"""

from __future__ import annotations

import logging
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

from dispatch.model.clock import Clock
from storage.audit_file import AuditFile, Record
from storage.audit_format import canonical, head_words
from storage.ballast import Ballast
from storage.damage import words
from storage.keep_working import keep_working

CHECKPOINT_EVERY = 16  # rows; besides when it is quiet, and at the end
QUIET_S = 3.0
BATCH = 64  # rows that wait share one commit
SPOOLED = 1000  # rows kept in memory while the file cannot be written
AGAIN_S = 1.0  # before the thread is begun again after a mistake of ours
QUEUED = 10 * SPOOLED  # rows that wait for a disk that hangs
HANGS_S = 5.0  # a disk that has not answered for so long

log = logging.getLogger("skerry.storage")


class NotDurable(Exception):
    """The row is not on disk; the line says why."""


def to_syslog(line: str) -> None:
    """Send a line to syslog; where syslog is forwarded, this machine's root cannot change it there."""
    syslog.syslog(syslog.LOG_NOTICE | syslog.LOG_AUTH, line)


class _Row:
    """A row waiting to be written to the file."""

    __slots__ = ("future", "keep", "record")

    def __init__(self, record: Record, keep: bool) -> None:
        self.record, self.keep = record, keep
        self.future: Future[int] = Future()
        self.future.set_running_or_notify_cancel()


class AuditLog:
    """Appends to `audit.db` in the state directory until `close`."""

    def __init__(
        self,
        directory: Path,
        run: str,
        clock: Clock,
        anchor: Callable[[str], None] = to_syslog,
        ballast: Ballast | None = None,
    ) -> None:
        """`run` names this run of the gateway in every row; `anchor` takes a head off the machine.

        `ballast`: what is given up when the disk is full.
        """
        self._ballast = ballast or Ballast(directory, 0)
        self._file = AuditFile(directory)
        self._run, self._clock, self._anchor = run, clock, anchor
        self._rows: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._spool: deque[_Row] = deque()
        self._error = ""
        self._closed = False
        self._busy_since_s: float | None = None  # machine seconds; None: the thread waits for rows
        self._in_hand: list[_Row] = []  # taken off the queue, not answered yet
        self._thread = threading.Thread(target=self._keep_working, name="audit", daemon=True)
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
        return head_words(*self._file.head)

    @property
    def found(self) -> list[str]:
        """What opening the file brought to light, for the log; whoever tells it takes it off."""
        return self._file.found

    @property
    def changed(self) -> str:
        """What shows that the audit is not as it was written; empty when nothing does."""
        return self._file.changed

    @property
    def error(self) -> str:
        """Why nothing can be put on record; empty when all is well."""
        if not self._thread.is_alive() and not self._closed:
            return f"the audit {self._file.path} is not written: its thread has ended; restart the gateway"
        since_s = self._busy_since_s
        if since_s is not None and time.monotonic() - since_s > HANGS_S:
            return f"the audit {self._file.path} has not been written for more than {HANGS_S:g} s: the disk hangs"
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
        row = _Row(self._stamped(record), keep)
        if self._closed:
            row.future.set_exception(NotDurable("the audit is closed"))
        elif self._rows.qsize() >= QUEUED:
            row.future.set_exception(NotDurable(f"{QUEUED} rows wait for the disk, it hangs"))
        else:
            self._rows.put(row)
        return row.future

    def _stamped(self, record: Record) -> Record:
        stamp = datetime.fromtimestamp(self._clock.utc_s(), UTC).isoformat(timespec="milliseconds")
        t = stamp.replace("+00:00", "Z")
        return {"t": t, "mono_ms": round(self._clock.mono_s() * 1000), "run": self._run, **record}

    # ── the writer thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _keep_working(self) -> None:
        keep_working("audit", self._work, self._begin_again, time.sleep, AGAIN_S, log)

    def _begin_again(self, error: Exception) -> None:
        """What was in hand counts as not written."""
        self._busy_since_s = None
        rows, self._in_hand = [row for row in self._in_hand if not row.future.done()], []
        self._failed(error, rows)

    def _work(self) -> None:
        self._append([])  # open, and say at once what is wrong
        rows: list[_Row] | None = []
        while rows is not None:
            rows = self._take()
            self._in_hand = rows or []
            self._append(rows or [])  # when it is quiet, too: a file that was moved away is noticed
            self._in_hand = []
            if not rows:
                self._sign()
        self._file.abandon()

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
        self._busy_since_s = time.monotonic()
        spooled = list(self._spool)
        try:
            due, numbers = self._written([row.record for row in (*spooled, *rows)])
        except BaseException as error:  # noqa: BLE001  nothing may end the audit of what follows
            self._failed(error, rows)
            return
        finally:
            self._busy_since_s = None
        self._recovered(len(spooled))
        for row, number in zip(rows, numbers[due + len(spooled) :], strict=True):
            row.future.set_result(number)
        if self._file.head[0] - self._file.signed_seq >= CHECKPOINT_EVERY:
            self._sign()
        elif self._rows.empty():
            self._sign(only_fold=True)

    def _written(self, records: list[Record]) -> tuple[int, list[int]]:
        """Append what the file itself has to say, then records: how much that was, and the numbers of all rows.

        Once more for each piece of the ballast that a full disk takes. Raises what stays.
        """
        while True:
            try:
                con = self._file.ensure_open()
                due = [self._stamped(record) for record in self._file.due]
                numbers = self._insert(con, [*due, *records])
                del self._file.due[: len(due)]
                return len(due), numbers
            except (sqlite3.Error, OSError) as error:
                if not self._ballast.relieves(error):
                    raise
                self._file.abandon()

    def _insert(self, con: sqlite3.Connection, records: list[Record]) -> list[int]:
        """Append records in one transaction; their row numbers."""
        return self._file.append(con, records)

    def _recovered(self, written: int) -> None:
        """Rows are on the disk; keep the head in its own file, too, before anybody is told.

        If that fails they are acknowledged all the same: `error` says that a loss at the audit's end would not show.
        """
        self._spool.clear()
        try:
            self._ballast.with_room(self._file.keep_head)
        except OSError as error:
            line = (
                f"{error.filename or self._file.path}: {error.strerror}; rows lost from the audit's end would not show"
            )
            if line != self._error:
                log.error("%s", line)
            self._error = line
            return
        if self._error:
            log.warning("the audit is written again; %d rows that waited are on record", written)
        self._error = ""

    def _failed(self, error: BaseException, rows: list[_Row]) -> None:
        """Refuse what must be on record first, keep what ran anyway, say both outside of the file."""
        self._file.abandon()
        line = f"the audit {self._file.path} cannot be written: {words(error, self._file.path)}"
        if line != self._error:
            expected = isinstance(error, (sqlite3.Error, OSError, ValueError, TypeError))
            log.error("%s", line, exc_info=None if expected else error)
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

    def _sign(self, only_fold: bool = False) -> None:
        """Sign the head and send it off the machine; leave nothing in the WAL."""
        self._busy_since_s = time.monotonic()
        try:
            signed = not only_fold and self._file.sign()
            self._file.fold()
        except Exception as error:  # noqa: BLE001  the rows themselves are on the disk
            log.warning("the audit's head %d is not signed: %s", self._file.head[0], error)
            self._file.abandon()
            return
        finally:
            self._busy_since_s = None
        if signed:
            self._say(f"skerry audit head {self.head} of {self._file.path}")

    def _say(self, line: str) -> None:
        try:
            self._anchor(line)
        except OSError as error:
            log.warning("no outside anchor for the audit: %s", error)
