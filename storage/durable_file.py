"""Puts a whole file in place, so that after a power cut it is the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Replace a file; once this returns, it is on disk. Raises OSError."""
    making = path.with_name(path.name + ".new")
    with making.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(making, path)


def put_in_place(making: Path, path: Path) -> None:
    """Rename a file that is on disk; once this returns, its name is, too. Raises OSError."""
    making.rename(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on disk. Raises OSError."""
    _sync(directory, os.O_RDONLY | os.O_DIRECTORY)


def sync(path: Path) -> None:
    """Have what was written to a file or directory, by whomever, on disk. Raises OSError."""
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
