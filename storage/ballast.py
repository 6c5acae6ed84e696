"""Keeps some space of the disk back, in files, and gives it up when the disk is full.

So the controller's memory, the audit and events still get on the disk. It is given up a piece at a time, because what
has filled the disk goes on. Each piece is a file: with it goes an inode, which a file system can run out of, too.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from storage import durable_file

DIRECTORY = "ballast"
PIECES = 8
MB = 1_000_000
FULL_BYTES = 64 * 1024  # with less than this free, whatever failed may have failed for it
SPARE_INODES = 16  # left free when it is made anew

log = logging.getLogger("skerry.storage")
Result = TypeVar("Result")


class Ballast:
    """The reserve of one state directory. For any thread."""

    def __init__(self, state_dir: Path, size_mb: float) -> None:
        """`size_mb`: of all pieces; 0: there is none. Nothing is made before `make`."""
        self._state_dir, self._place = state_dir, state_dir / DIRECTORY
        self._piece = round(size_mb * MB / PIECES)
        self._lock = threading.Lock()
        self.there = PIECES  # pieces, as of the last look: until then nothing is missing
        self.given_up = False  # a full disk has taken some, and they are not made anew yet

    @property
    def missing(self) -> str:
        """What the alarm says while it is not whole; empty while it is."""
        if self.there == PIECES or not self._piece:
            return ""
        left, whole = (n * self._piece / MB for n in (self.there, PIECES))
        return f"{left:.1f} of the {whole:.1f} MB kept back for a full disk are there"

    def make(self) -> None:
        """Make what is missing, if the disk has room for it and a little more. Raises OSError."""
        with self._lock:
            if not self._state_dir.is_dir():
                return
            if not self._piece:
                self._clear()
                return
            self._place.mkdir(mode=0o700, exist_ok=True)
            wanted = [path for path in self._paths() if _size(path) != self._piece]
            self.there = PIECES - len(wanted)
            found = os.statvfs(self._place)
            room = found.f_bavail * found.f_frsize >= (len(wanted) + 2) * self._piece
            if wanted and room and (not found.f_files or found.f_favail > SPARE_INODES):
                for path in wanted:
                    _fill(path, self._piece)
                    self.there += 1
                durable_file.sync_directory(self._place)
            if self.there == PIECES:
                self.given_up = False

    def relieves(self, error: BaseException) -> bool:
        """Whether to try again: the disk was full, and a piece has been given up for it."""
        if not self._piece or not self._full(error):
            return False
        with self._lock:
            for path in self._paths():
                try:
                    path.unlink()
                except OSError:
                    continue
                self.there = sum(path.exists() for path in self._paths())
                self.given_up = True
                log.warning("%s", self.missing)
                return True
        return False

    def with_room(self, write: Callable[[], Result]) -> Result:
        """What `write` returns; it is tried again while giving up a piece may help. Raises what it raises."""
        while True:
            try:
                return write()
            except OSError as error:
                if not self.relieves(error):
                    raise

    def _full(self, error: BaseException) -> bool:
        """Whether an error of SQLite or of the system comes of a disk without space or inodes."""
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_FULL") or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if not name.startswith(
            ("SQLITE_CANTOPEN", "SQLITE_IOERR")
        ):  # of a WAL or its index that cannot grow or be made
            return False
        try:
            found = os.statvfs(self._state_dir)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize < FULL_BYTES or (found.f_files > 0 and found.f_favail == 0)

    def _paths(self) -> list[Path]:
        return [self._place / str(n) for n in range(PIECES)]

    def _clear(self) -> None:
        """The site file wants none, or none any more."""
        for path in self._paths():
            path.unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or somebody else's files are in it
            self._place.rmdir()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _fill(path: Path, size: int) -> None:
    """A file that takes this much of the disk. Raises OSError; then it is not there."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(handle, 0)
        os.posix_fallocate(handle, 0, size)
        os.fsync(handle)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)
