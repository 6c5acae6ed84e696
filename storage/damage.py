"""Tells damage of a file from trouble in reaching it: what a disk, a crash or a person has changed."""

from __future__ import annotations

import sqlite3
import struct
import time
from pathlib import Path

# What a row raises that no version has written.
DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, struct.error)

CHECK_S = 5.0  # the check at start takes no longer; a file too large for it is taken as it is
ADVICE = {
    "SQLITE_FULL": "free space on that disk",
    "SQLITE_BUSY": "close the program that holds the file",
    "SQLITE_READONLY": "let the gateway's user write to that file and directory",
    "SQLITE_CANTOPEN": "let the gateway's user write to that directory",
    "SQLITE_IOERR": "check the disk and whether its file system is mounted read-only",
}

_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_AT_OPENING = "SQLITE_ERROR"


class Damaged(Exception):
    """The file is not, or no longer, a sound database."""


def advice(error: BaseException) -> str:
    """What a person can do about a failure to write; empty where nothing general can be said."""
    if isinstance(error, OSError):
        return "the state directory must be a directory the gateway's user can write to"
    name = getattr(error, "sqlite_errorname", "")
    return next((text for code, text in ADVICE.items() if name.startswith(code)), "")


def words(error: BaseException, path: Path) -> str:
    """An error in writing `path`: what is wrong, with the name of the file if it is another one."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error) or repr(error)
    return error.strerror if error.filename in (None, str(path)) else f"{error.filename}: {error.strerror}"


def is_broken(error: BaseException, opening: bool = False) -> bool:
    """This error of SQLite means that the file itself is broken, not that it cannot be reached or written.

    While a file is opened, a logic error means it, too: what is asked then is always the same, and a sound file has it.
    """
    if isinstance(error, UnicodeDecodeError):  # SQLite names what is wrong in its schema, which is no text any more
        return True
    name = getattr(error, "sqlite_errorname", "")
    if not name and isinstance(error, sqlite3.OperationalError):  # Python's own: text that is not UTF-8
        return opening
    broken = name.startswith(_BROKEN) or (opening and name == _AT_OPENING)
    return isinstance(error, sqlite3.DatabaseError) and broken


def check(path: Path, busy_s: float) -> None:
    """SQLite's own quick check, for `CHECK_S` at most. Raises Damaged with its first finding, and sqlite3.Error.

    On a read-only connection: closing it leaves a WAL as it is.
    """
    deadline = time.monotonic() + CHECK_S
    con = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_s, isolation_level=None)
    con.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
    try:
        finding = con.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            return
        if is_broken(error, opening=True):
            raise Damaged(str(error)) from error
        raise
    finally:
        con.close()
    if finding != "ok":
        raise Damaged(str(finding).replace("\n", " ").strip())
