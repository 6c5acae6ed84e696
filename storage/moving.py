"""Renames database files with their WAL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from storage import durable_file

FILES = ("", "-wal", "-shm")  # of one database


def moved(path: Path, to: Path) -> None:
    """Rename a file, its WAL first: what takes its place must never meet an old WAL. Raises OSError."""
    for suffix in reversed(FILES):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{to}{suffix}")
    durable_file.sync_directory(path.parent)


def fold(path: Path, busy_s: float) -> None:
    """Take what is in a file's WAL into the file, unless somebody reads it. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path, timeout=busy_s, isolation_level=None)) as con:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def free_name(path: Path) -> Path:
    """This name, or one like it that no file has yet."""
    free, copies = path, 1
    while free.exists():
        copies += 1
        free = path.with_name(f"{path.name}-{copies}")
    return free
