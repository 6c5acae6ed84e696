"""Writes the audit file: one connection, used by the writer thread only.

Opening it brings to light what a crash, a disk or a person has changed: a damaged file is set aside, rows lost from its
end, an edited row, dropped triggers and another signing key are told in `found`, in the alarm (`changed`) and, where a
later start could not see it any more, as a row of the audit itself.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from storage import audit_head
from storage.audit_format import (
    APPLICATION_ID,
    FILE,
    GENESIS,
    ROW_FORMAT,
    SCHEMA,
    VERSION,
    canonical,
    chained,
    head_words,
    last,
    open_read_only,
    rows_words,
    signed_text,
)
from storage.audit_head import HEAD_FILE, HeadDamaged, KeptHead
from storage.audit_self_check import BackgroundCheck, check_end, restore_triggers
from storage.damage import DAMAGED, is_broken
from storage.moving import free_name, moved
from storage.signing_key import KEY_FILE, signing_key

BUSY_S = 2.0
LOST = ("of the audit was on the disk and is lost", "of the audit were on the disk and are lost")  # one row, several
SHOWN = 3  # findings that the alarm names

_APPEND = "INSERT INTO entry (seq, prev, hash, body) VALUES (?,?,?,?)"
_SIGN = "INSERT INTO checkpoint (seq, hash, public_key, signature) VALUES (?,?,?,?)"

log = logging.getLogger("skerry.storage")
Record = dict[str, Any]


class _Newer(Exception):
    """The file is of a newer Skerry, and rows of this one do not fit into it."""


class _Damaged(Exception):
    """The file is not, or no longer, a sound database."""


class AuditFile:
    """Opens, checks, appends to and signs `audit.db`. Methods raise sqlite3.Error and OSError."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        self.head: tuple[int, bytes] = (0, GENESIS)
        self.signed_seq = 0
        self.found: list[str] = []  # what opening the file brought to light, for the log
        self.due: list[Record] = []  # rows that say it in the file itself, for whoever appends
        self._changed: list[str] = []
        self._con: sqlite3.Connection | None = None
        self._inode = 0
        self._key: Any = None
        self._public = b""
        self._kept: tuple[int, bytes] | None = None  # the head in its own file
        self._newer = False  # the file is of a newer Skerry
        self._folded = False  # all is in the file itself, nothing in its WAL alone
        self._check: BackgroundCheck | None = None

    @property
    def changed(self) -> str:
        """What shows that the audit is not as it was written; empty when nothing does."""
        found = self._changed
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return "; ".join([*found[:SHOWN], *more])

    def ensure_open(self) -> sqlite3.Connection:
        """Have the file open, whatever happened to it."""
        if self._con is not None and self._same_file():
            return self._con
        self.abandon()
        try:
            self._con = self._open_some()
        except BaseException:
            self.abandon()
            raise
        self._inode = os.stat(self.path).st_ino
        self._check = BackgroundCheck(self.path, self._tell_changed)
        return self._con

    def _open_some(self) -> sqlite3.Connection:
        """Open the file that is there, or a new one in its place."""
        try:
            return self._open()
        except _Newer as error:
            self.abandon()
            self._set_newer_aside(str(error))
        except (_Damaged, sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not isinstance(error, _Damaged) and not is_broken(error, opening=True):
                raise
            self._set_aside(str(error))
            self.abandon()
        return self._open()

    def append(self, con: sqlite3.Connection, records: list[Record]) -> list[int]:
        """Append records in one transaction; their row numbers, once the disk has them. `con`: of `ensure_open`."""
        seq, head = self.head
        numbers = []
        bodies = [canonical({"v": ROW_FORMAT, **self._with_key(record)}) for record in records]
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
        self.head, self._folded = (seq, head), False
        return numbers

    def keep_head(self) -> None:
        """Put the head into its own file, on the disk, unless it is there."""
        if self.head[0] and self.head != self._kept:
            audit_head.keep(self.path.parent, *self.head, self._key)
            self._kept = self.head

    def sign(self) -> bool:
        """Sign the head; whether there was anything to sign."""
        seq, head = self.head
        if self._con is None or seq == self.signed_seq:
            return False
        self._con.execute(_SIGN, (seq, head, self._public, self._key.sign(signed_text(seq, head))))
        self.signed_seq, self._folded = seq, False
        return True

    def fold(self) -> None:
        """Take what was written out of the WAL into the file, unless somebody reads it: then the next time will do.

        A WAL is read up to its first damaged frame: one flipped bit would take with it every row behind it. Not
        PASSIVE: a WAL that stays behind holds older pages than the file, and damage may bring them back.
        """
        if self._con is None or self._folded:
            return
        self._con.execute("PRAGMA busy_timeout = 0")
        try:
            self._folded = self._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        finally:
            self._con.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")

    def abandon(self) -> None:
        """Close without another word."""
        if self._check is not None:
            self._check.stop()
            self._check = None
        con, self._con = self._con, None
        if con is not None:
            try:
                con.close()
            except sqlite3.Error as error:
                log.debug("closing the audit: %s", error)

    # ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> sqlite3.Connection:
        """Open the file, made if it is not there, and know where its chain ends."""
        if self._key is None:
            said: list[str] = []
            self._key = signing_key(self.path.parent, said)
            self._public = self._key.public_key().public_bytes_raw()
            self.found += said
        kept = self._kept_head()
        self._keep_wal_if_short(kept)
        con = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            con.execute("PRAGMA journal_mode = WAL")
            con.execute("PRAGMA synchronous = FULL")
            self._prepare(con)
            if con.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _Damaged("its pages do not hold together")
            self._try_statements(con)
            self.head = last(con)
            self.signed_seq = con.execute("SELECT coalesce(max(seq), 0) FROM checkpoint").fetchone()[0]
            self._kept = None if kept is None else (kept.seq, kept.hash)
            self._judge(con, kept)
            self._folded = False
        except BaseException:
            self._con = con  # a damaged file is renamed first: a last close would fold the WAL into it
            raise
        return con

    def _try_statements(self, con: sqlite3.Connection) -> None:
        """They can be compiled only while the schema is what it was. Raises sqlite3.Error, or _Newer."""
        try:
            for statement in (_APPEND, _SIGN):
                con.execute(f"EXPLAIN {statement}", (None,) * 4)
        except sqlite3.OperationalError as error:
            if self._newer:
                raise _Newer(str(error)) from error
            raise

    def _prepare(self, con: sqlite3.Connection) -> None:
        """Make the schema in a new file. That of a newer Skerry stays: its chain goes on."""
        found = con.execute("PRAGMA user_version").fetchone()[0]
        self._newer = found > VERSION
        if found == 0:
            mark = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}"
            con.executescript(f"BEGIN; {SCHEMA} {mark}; COMMIT;")
            os.chmod(self.path, 0o640)

    def _judge(self, con: sqlite3.Connection, kept: KeptHead | None) -> None:
        """Say what is not as it was written, and what only now can be seen also in a row."""
        if not self._newer and (wrong := restore_triggers(con)):
            names = ", ".join(wrong)
            text = f"triggers that keep rows from being changed were missing or changed, and are made anew: {names}"
            self._tell_changed(text, kind="found")
        for finding in check_end(con):
            self._tell_changed(finding)
        if kept is not None and kept.seq:
            self._compare(con, kept)
        row = con.execute("SELECT seq, public_key FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()
        if row is not None and row[1] != self._public:
            now, before = self._public.hex(), bytes(row[1]).hex()
            text = f"{KEY_FILE} was lost, damaged or replaced: up to row {row[0]} the key {before[:16]}… signed"
            self._tell_changed(f"{text}, from now on {now[:16]}…", kind="key", before=before)

    def _compare(self, con: sqlite3.Connection, kept: KeptHead) -> None:
        """Say which rows are lost from the end, or that it is another one."""
        seq = self.head[0]
        if seq < kept.seq:
            text = rows_words(seq + 1, kept.seq, *LOST)
            self._tell_changed(text, kind="found", lost=[seq + 1, kept.seq], head=head_words(kept.seq, kept.hash))
        elif con.execute("SELECT hash FROM entry WHERE seq = ?", (kept.seq,)).fetchone() != (kept.hash,):
            self._tell_changed(f"row {kept.seq} is not the one that {HEAD_FILE} knows")

    def _kept_head(self) -> KeptHead | None:
        """The head in its own file. One that is damaged is kept under another name."""
        try:
            return audit_head.kept(self.path.parent)
        except HeadDamaged as error:
            aside = self._aside(HEAD_FILE)
            (self.path.parent / HEAD_FILE).rename(aside)
            self.found.append(f"{error}; kept as {aside.name}: rows lost from the end of the audit would not show now")
        except OSError as error:
            self.found.append(
                f"{HEAD_FILE} cannot be read: {error.strerror}; rows lost from the audit's end do not show"
            )
        return None

    def _keep_wal_if_short(self, kept: KeptHead | None) -> None:
        """Copy a WAL that does not hold all rows before this run writes over it."""
        wal = Path(f"{self.path}-wal")
        if kept is None or not _size(wal) or self._holds(kept.seq):
            return
        aside = self._aside(wal.name)
        shutil.copyfile(wal, aside)
        self.found.append(f"{wal} does not hold all rows; a copy is kept as {aside.name}")

    def _holds(self, seq: int) -> bool:
        """Whether the file has this row, on a connection that only reads; SQLite deletes the WAL of an empty file."""
        if not _size(self.path):
            return False
        try:
            with closing(open_read_only(self.path)) as con:
                return last(con)[0] >= seq
        except (sqlite3.Error, OSError, *DAMAGED):
            return False

    def _same_file(self) -> bool:
        """The name still leads to the file that is open; a record moved away is no record."""
        try:
            if os.stat(self.path).st_ino == self._inode:
                return True
        except FileNotFoundError:
            pass
        self.found.append(f"{self.path} was moved or deleted while in use; a new chain was begun")
        return False

    def _set_aside(self, why: str) -> None:
        """A damaged file is kept under another name, its WAL with it; a new chain begins."""
        aside = self._aside(FILE)
        moved(self.path, aside)
        self.found.append(f"{self.path} was damaged ({why}); kept as {aside.name}, a new chain was begun")

    def _set_newer_aside(self, why: str) -> None:
        """A newer Skerry's file and its head are kept under other names; a new chain begins."""
        aside = self._aside(FILE, "newer")
        moved(self.path, aside)
        head = self.path.with_name(HEAD_FILE)
        if head.exists():
            head.rename(self._aside(HEAD_FILE, "newer"))
        text = (
            f"{self.path} is of a newer Skerry, and rows of this one do not fit into it ({why}); kept as {aside.name}"
        )
        self.found.append(f"{text}, a new chain was begun")

    def _aside(self, name: str, kind: str = "corrupt") -> Path:
        """A name that no file has yet."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return free_name(self.path.with_name(f"{name}.{kind}.{stamp}"))

    def _tell_changed(self, finding: str, **row: Any) -> None:
        """For the alarm and the log, once; with `row` as a row of the audit, too."""
        if finding not in self._changed:
            self._changed.append(finding)
            self.found.append(f"the audit is not as it was written: {finding}")
            if row:
                self.due.append({"who": "gateway", "text": finding, **row})

    def _with_key(self, record: Record) -> Record:
        """A run's first row names the key that signs, so that a head kept elsewhere vouches for the key, too."""
        return {**record, "public_key": self._public.hex()} if record.get("kind") in ("start", "key") else record


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
