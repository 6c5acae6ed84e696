"""Merges a telemetry file that was recorded meanwhile into the main one, in small steps in the writer's thread.

A file recorded by an older Skerry after a rollback (`telemetry.db.meanwhile.*`, see `rollback.py`) is merged, and what
`skerry salvage` has recovered (`telemetry.db.salvaged.*`). How far a merge has come is a row of `state`, written in
the transaction of the rows themselves: a kill at any point loses none and copies none twice. A file is merged only by
the main file that has this row. Once all of it is on the disk here, it is deleted.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from storage import schema
from storage.audit_format import open_read_only
from storage.copying import TABLES, Copier, Names, Row, Table, names_of
from storage.damage import DAMAGED, is_broken
from storage.moving import FILES, moved
from storage.rollup import QUARTER_S

MEANWHILE, SALVAGED = "meanwhile", "salvaged"  # parts of names
CORRUPT = ".corrupt"  # end of a name
STATE = "merge."  # key of `state`, with the name of the file
LOOK_S = 60.0  # what is to be merged is looked for this often
STEP_S = 0.02  # of one call; a row that waits for the writer is not kept waiting longer


class CannotMerge(Exception):
    """The other file is damaged, or newer; the text says which and what to do."""


class Progress(msgspec.Struct):
    """How far a merge has come."""

    table: int = 0  # of TABLES
    after: tuple[str | int, ...] | None = None  # key of its last row that is copied
    rows: int = 0
    refused: int = 0
    done: bool = False


class Merged(NamedTuple):
    """A file that was merged whole."""

    name: str
    rows: int
    refused: int


class Merging:
    """Merges what lies beside an open telemetry file."""

    def __init__(self, con: sqlite3.Connection, path: Path) -> None:
        """`con` writes to `path`."""
        self._con, self._path = con, path
        self._other: sqlite3.Connection | None = None
        self._file: Path | None = None
        self._names: Names | None = None
        self._progress = Progress()
        self._look_at = 0.0
        self._refused: set[str] = set()  # keys of files that could not be merged: tried again after the others

    def close(self) -> None:
        """Let go of the other file."""
        other, self._other, self._names = self._other, None, None
        if other is not None:
            other.close()

    def step(self) -> Merged | bool:
        """Copy some rows; whether there is more, or the file that is now merged whole.

        Raises sqlite3.Error (of the main file), OSError and CannotMerge.
        """
        if self._other is None and not self._begin():
            return False
        until, begun = time.monotonic() + STEP_S, False
        while not self._progress.done and not (begun and time.monotonic() >= until):
            self._copy_some()
            begun = True
        return self._ended() if self._progress.done else True

    def _begin(self) -> bool:
        """Open the next file that is to be merged; whether there is one."""
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_S
        self._adopt()
        found = self._con.execute("SELECT key, value FROM state WHERE key LIKE 'merge.%'").fetchall()
        for key, value in sorted(found, key=lambda row: row[0] in self._refused):
            file = self._path.with_name(key.removeprefix(STATE))
            if file.exists():
                self._file = file
                try:
                    self._progress = _progress(value)
                except DAMAGED as error:
                    self._refused.add(key)
                    raise CannotMerge(f"{file} is not merged: how far it was is damaged, {error}") from error
                self._open(file)
                self._look_at = 0.0
                return True
        return False

    def _adopt(self) -> None:
        """Make what `skerry salvage` has recovered a file that only this main file merges."""
        for file in sorted(self._path.parent.glob(f"{self._path.name}.{SALVAGED}.*")):
            if file.name.endswith((*FILES[1:], ".new")):
                continue
            _, _, own = file.name.partition(f".{SALVAGED}.")
            target = self._path.with_name(f"{self._path.name}.{MEANWHILE}.{SALVAGED}-{own}")
            key = (f"{STATE}{target.name}",)
            if not self._con.execute("SELECT 1 FROM state WHERE key = ?", key).fetchone():
                save(self._con, target.name, Progress())
            moved(file, target)

    def _open(self, file: Path) -> None:
        """Raises CannotMerge."""
        if self._progress.done:
            self._other = reading(file)
            return
        try:
            with closing(sqlite3.connect(file, timeout=1.0, isolation_level=None)) as con:
                schema.migrate(con, file)
            self._other = reading(file)
            self._names = names_of(self._other)
            numbers = self._other.execute("SELECT seq FROM sqlite_sequence WHERE name = 'block'").fetchall()
        except (sqlite3.DatabaseError, schema.NewerSchema, *DAMAGED) as error:
            raise self._cannot(error) from error
        for (number,) in numbers:  # none of the blocks made from now on gets a number that is to come
            number_above(self._con, number)

    def _copy_some(self) -> None:
        """One transaction: some rows of one table, and how far it has come with them."""
        assert self._other is not None
        assert self._names is not None
        assert self._file is not None
        now, table = self._progress, TABLES[self._progress.table]
        try:
            rows = _rows(self._other, table, now.after)
            rolled = _quarters(self._other, rows) if table.name == "r1m" else set()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._cannot(error) from error
        self._con.execute("BEGIN IMMEDIATE")
        try:
            copier = Copier(self._con, self._names)
            copier.copy(table, rows, rolled.__contains__)
            count, refused = now.rows + len(rows) - copier.refused, now.refused + copier.refused
            if len(rows) == table.at_once:
                after = Progress(now.table, rows[-1][: len(table.key)], count, refused)
            else:
                after = Progress(now.table + 1, None, count, refused, done=now.table + 1 == len(TABLES))
            save(self._con, self._file.name, after)
            self._con.execute("COMMIT")
        except BaseException:
            if self._con.in_transaction:
                self._con.execute("ROLLBACK")
            raise
        self._progress = after

    def _ended(self) -> Merged:
        """Delete the file that was merged, once all of it is on the disk here."""
        assert self._file is not None
        self.close()
        self._con.execute("PRAGMA synchronous = FULL")  # a commit syncs the WAL, with all before it
        try:
            save(self._con, self._file.name, self._progress)
        finally:
            self._con.execute("PRAGMA synchronous = NORMAL")
        for suffix in reversed(FILES):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        return Merged(self._file.name, self._progress.rows, self._progress.refused)

    def _cannot(self, error: BaseException) -> CannotMerge:
        """Merge no more of this file; what to do."""
        assert self._file is not None
        self.close()
        self._refused.add(f"{STATE}{self._file.name}")
        file, aside = self._file, self._path.with_name(f"{self._file.name}{CORRUPT}")
        if is_broken(error, opening=True) or isinstance(error, DAMAGED):
            with suppress(OSError):
                moved(file, aside)
                return CannotMerge(f"{file} is damaged ({error}); kept as {aside.name}: run skerry salvage on it")
        self._look_at = time.monotonic() + LOOK_S
        return CannotMerge(f"{file} cannot be merged: {error}")


def merged_so_far(file: Path) -> Progress:
    """How far the record beside a file that was set aside has merged it. Raises sqlite3.Error and ValueError."""
    name, _, _ = file.name.partition(CORRUPT)
    record = file.with_name(schema.FILE)
    if f".{MEANWHILE}." not in name or not record.exists():
        return Progress()
    with closing(open_read_only(record)) as con:
        row = con.execute("SELECT value FROM state WHERE key = ?", (f"{STATE}{name}",)).fetchone()
    return Progress() if row is None else _progress(row[0])


def _progress(value: str) -> Progress:
    """What was saved. Raises ValueError if it is damaged."""
    found = msgspec.json.decode(value, type=Progress)
    if not (found.done or 0 <= found.table < len(TABLES)):
        raise ValueError(f"there is no table {found.table}")
    return found


def save(con: sqlite3.Connection, name: str, progress: Progress) -> None:
    sql = "INSERT OR REPLACE INTO state (key, value, ts_utc_us) VALUES (?,?,0)"
    con.execute(sql, (f"{STATE}{name}", msgspec.json.encode(progress).decode()))


def _rows(con: sqlite3.Connection, table: Table, after: tuple[str | int, ...] | None) -> list[Row]:
    """The next rows of a table, in the order of its key."""
    key, marks = ", ".join(table.key), ", ".join("?" * len(table.key))
    where = "" if after is None else f"WHERE ({key}) > ({marks})"
    sql = f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key} LIMIT {table.at_once}"
    return con.execute(sql, after or ()).fetchall()


def _quarters(con: sqlite3.Connection, rows: list[Row]) -> set[int]:
    """The quarter hours of these minutes that have a roll-up."""
    starts = {row[0] // QUARTER_S * QUARTER_S for row in rows}
    sql = "SELECT 1 FROM r15 WHERE t = ? LIMIT 1"
    return {start_s for start_s in starts if con.execute(sql, (start_s,)).fetchone()}


def reading(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody writes to, which leaves no files beside it. Raises sqlite3.Error."""
    wal = Path(f"{path}-wal")
    uri = path.absolute().as_uri() + ("?mode=ro" if wal.exists() and wal.stat().st_size else "?mode=ro&immutable=1")
    return sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None, check_same_thread=False)


def number_above(con: sqlite3.Connection, number: int) -> None:
    """Give the next block a number above this one."""
    con.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'block'", (number,))
