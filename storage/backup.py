"""Brings a telemetry file up to date, once it is copied: an older Skerry can go on from what it left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from storage import durable_file, schema
from storage.disk_room import room_for

PAGES = 2000  # copied in one go: 8 MB


def name(path: Path, version: int) -> Path:
    """The copy of a file of that schema version."""
    return path.with_name(f"{path.name}.schema{version}")


def before_migration(con: sqlite3.Connection, path: Path, version: int, meanwhile: Callable[[], None]) -> str:
    """Copy an open file beside itself, onto the disk; why that was not possible, empty if it was.

    A copy that is there already is kept: it is of the time before the first attempt.
    """
    copy = name(path, version)
    if copy.exists():
        return ""
    size = con.execute("PRAGMA page_count").fetchone()[0] * con.execute("PRAGMA page_size").fetchone()[0]
    making = copy.with_name(f"{copy.name}.new")
    try:
        room = room_for(size, path.parent)
        if not room.enough:
            return str(room)
        making.unlink(missing_ok=True)
        with closing(sqlite3.connect(making, isolation_level=None)) as target:
            con.backup(target, pages=PAGES, progress=lambda *_: meanwhile())
            target.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
        durable_file.sync(making)
        durable_file.put_in_place(making, copy)
    except (OSError, sqlite3.OperationalError) as error:
        making.unlink(missing_ok=True)
        return str(error)
    return ""


def migrated(con: sqlite3.Connection, path: Path, meanwhile: Callable[[], None]) -> Iterator[tuple[str, str]]:
    """Bring an open file to the schema of this version; severity and text of what is to be told.

    `meanwhile` is called in the course of what takes long. Raises those of `schema.migrate`.
    """
    found = schema.version(con)
    if not 0 < found < len(schema.STEPS):
        schema.migrate(con, path)  # a new file, one of this version, or one it refuses
        return
    trouble = before_migration(con, path, found, meanwhile)
    schema.migrate(con, path)
    kept = f"as it was: {name(path, found).name}" if not trouble else f"no copy was made before: {trouble}"
    severity = "warning" if trouble else "info"
    yield severity, f"{path} was brought from schema {found} to {len(schema.STEPS)}; {kept}"
