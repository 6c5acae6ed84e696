"""Tells damage of a file from trouble in reaching it: what a disk, a crash or a person has changed."""

from __future__ import annotations

import sqlite3
import struct

# What a row raises that no version has written.
DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, struct.error)

_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_AT_OPENING = "SQLITE_ERROR"


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
