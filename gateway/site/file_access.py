"""Files that exist but that this user may not open: whose they are, and what to do about it."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from gateway.errors import NoAccess


def closed(path: Path, mode: int = os.R_OK) -> bool:
    """Whether something is there, as far as can be seen, that this user may not open so."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(path, mode)


def no_access(path: Path, what: str, todo: str, join: str = "") -> NoAccess:
    """The line for a path that is `closed`: `what` it is, whom it is open to, `todo`, and to `join` the group.

    In both, {group} and {owner} stand for those of the first directory or file on the way that keeps this user out.
    Nobody is told to join the group of root.
    """
    barred = _barred(path)
    try:
        found = os.stat(barred)
        owner, group = _user(found.st_uid), _group(found.st_gid)
        join = join if found.st_gid else ""
        access = f"{barred} is open to user {owner} and group {group}, mode {found.st_mode & 0o777:04o}"
    except OSError as error:
        owner, group, access = "its owner", "of its owner", f"{barred}: {error.strerror}"
    line = f"{path}: {what}, but you, {_user(os.geteuid())}, have no permission: {access}"
    ways = f"{todo}, or {join}" if join else todo
    return NoAccess(f"{line}; {ways.format(group=group, owner=owner)}")


def _barred(path: Path) -> Path:
    """The first directory on the way that may not be entered, else the path itself."""
    for directory in reversed(path.absolute().parents):
        if not os.access(directory, os.X_OK):
            return directory
    return path


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
