"""Goes on recording after a rollback, and after the upgrade that follows it.

A file of a newer Skerry is set aside as `telemetry.db.newer.*`, and a fresh one begun; what the controller remembers
goes over. The Skerry that wrote it takes it back when it starts again, and merges what was recorded meanwhile, see
`merging.py`.
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from storage import schema
from storage.copying import TABLES, Copier, Names
from storage.damage import DAMAGED, Damaged, check, is_broken
from storage.merging import MEANWHILE, Progress, number_above, reading, save
from storage.moving import FILES, fold, free_name, moved

NEWER = "newer"  # part of a name


def right_file(path: Path, stamp: str, busy_s: float) -> tuple[Path | None, list[tuple[str, str]]]:
    """Set a newer Skerry's file aside, or take this version's back, before the record is opened.

    The newer one, for `go_on_from`; severity and text of what is to be told. Raises Damaged, sqlite3.Error, OSError.
    """
    told = []
    try:
        newer = _newer_set_aside(path, stamp, busy_s)
        if newer is not None:
            text = f"{path} was written by a newer Skerry; kept as {newer.name}, a new one was begun: "
            told.append(("warning", text + "the newer Skerry merges both when it starts again"))
        if done := _taken_back(path, stamp, busy_s):
            told.append(done)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if is_broken(error, opening=True):
            raise Damaged(str(error)) from error
        raise
    return newer, told


def _newer_set_aside(path: Path, stamp: str, busy_s: float) -> Path | None:
    """Keep a file of a newer Skerry under another name; this name, None if the file is none.

    Raises sqlite3.Error and OSError.
    """
    if not path.exists() or _version(path) <= len(schema.STEPS):
        return None
    fold(path, busy_s)
    aside = _named(path, NEWER, stamp)
    moved(path, aside)
    return aside


def go_on_from(con: sqlite3.Connection, newer: Path) -> str:
    """Give a fresh file what the controller remembers, and its blocks higher numbers than those of the newer file.

    Why that was not possible; empty if it was. Raises sqlite3.Error of the fresh file.
    """
    try:
        with closing(reading(newer)) as other:
            # what the newer file merges is its own affair
            states = other.execute("SELECT key, value, ts_utc_us FROM state WHERE key NOT LIKE 'merge.%'").fetchall()
            (number,) = other.execute("SELECT seq FROM sqlite_sequence WHERE name = 'block'").fetchone()
    except (sqlite3.Error, *DAMAGED) as error:
        return f"what the controller remembered cannot be read in {newer.name}, it starts anew: {error}"
    con.execute("BEGIN IMMEDIATE")
    try:
        Copier(con, Names({}, {}, {})).copy(TABLES[0], states)
        number_above(con, number)
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise
    return ""


def _taken_back(path: Path, stamp: str, busy_s: float) -> tuple[str, str] | None:
    """Make a file the record again that an older Skerry has set aside; what is to be told, None if there is none.

    What was recorded meanwhile is kept beside it, to be merged; what the controller remembers goes over at once.
    Raises Damaged and sqlite3.Error (of the file that is the record now), and OSError.
    """
    aside = _newest_known(path)
    if aside is None:
        return None
    try:
        check(aside, busy_s)
        fold(aside, busy_s)
    except (Damaged, sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if not isinstance(error, Damaged) and not is_broken(error):
            raise
        corrupt = free_name(path.with_name(f"{path.name}.corrupt.{stamp}"))
        moved(aside, corrupt)
        text = f"{aside.name} is damaged ({error}); kept as {corrupt.name}: skerry salvage recovers what can be read"
        return "alarm", text
    if not path.exists():
        moved(aside, path)
        return "info", f"{aside.name} is the record again"
    fold(path, busy_s)
    meanwhile = _named(path, MEANWHILE, stamp)
    _hand_over(path, aside, meanwhile.name, busy_s)
    moved(path, meanwhile)
    moved(aside, path)
    return "info", f"{aside.name} is the record again; what was recorded meanwhile is merged from {meanwhile.name}"


def _hand_over(path: Path, aside: Path, meanwhile: str, busy_s: float) -> None:
    """Give the file that becomes the record what the controller remembers, and note that it merges the other one."""
    with closing(reading(path)) as other:
        states = other.execute("SELECT key, value, ts_utc_us FROM state").fetchall()
    with closing(sqlite3.connect(aside, timeout=busy_s, isolation_level=None)) as con:
        con.execute("BEGIN IMMEDIATE")
        Copier(con, Names({}, {}, {})).copy(TABLES[0], states)
        save(con, meanwhile, Progress())
        con.execute("COMMIT")
    fold(aside, busy_s)


def _newest_known(path: Path) -> Path | None:
    """Of the files that were set aside as newer, the newest that this version can write to."""
    found = []
    for aside in path.parent.glob(f"{path.name}.{NEWER}.*"):
        with suppress(sqlite3.Error, UnicodeDecodeError):
            if not aside.name.endswith(FILES[1:]) and (number := _version(aside)) <= len(schema.STEPS):
                found.append((number, aside.name, aside))
    return max(found)[2] if found else None


def _version(path: Path) -> int:
    """The schema of a file, on a connection that only reads. Raises sqlite3.Error."""
    with closing(reading(path)) as con:
        return schema.version(con)


def _named(path: Path, kind: str, stamp: str) -> Path:
    """A name that no file has or had: by it a file is known to have been merged."""
    return path.with_name(f"{path.name}.{kind}.{stamp}-{uuid.uuid4().hex[:8]}")
