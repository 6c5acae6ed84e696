"""One gateway per state directory: an exclusive file lock (flock(2)) in it, where there is one.

`gateway.claims` does the same without a directory. This lock also keeps out gateways that do not see each other's
claims: those of earlier versions, and those of other containers that share the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another gateway runs on the same devices or the same state directory."""


def dead(pid: int) -> bool:
    """Whether a process has ended, but a thread of it that waits for a disk keeps its files and sockets open."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in "ZX"  # proc_pid_stat(5)


class InstanceLock:
    """An exclusive flock on `gateway.lock` in the state directory; the kernel drops it when the process ends.

    The file may be empty or not ours to write: neither a full nor a read-only disk keeps it from being locked.
    """

    def __init__(self, directory: Path) -> None:
        """Raises AlreadyRunning; OSError when there is no such file and none can be made."""
        self.path = directory / "gateway.lock"
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise AlreadyRunning(self._held_by(holder)) from None
        except OSError:  # a file system without locks
            os.close(self._fd)
            raise
        with contextlib.suppress(OSError):
            os.fchmod(self._fd, 0o600)  # whoever may open it may lock it
            os.ftruncate(self._fd, 0)
            os.write(self._fd, str(os.getpid()).encode())

    def _held_by(self, holder: str) -> str:
        if holder.isdecimal() and dead(int(holder)):
            line = f"{self.path} is held by a gateway that has ended, pid {holder}: a disk that it waits for keeps it"
            return f"{line}; rename {self.path} and start again"
        return f"a gateway already runs this site (pid {holder}, lock {self.path})"

    def holds(self) -> bool:
        """Whether the locked file is still the one of that name: the directory was neither moved nor deleted."""
        try:
            return os.stat(self.path).st_ino == os.fstat(self._fd).st_ino
        except OSError:
            return False

    def release(self) -> None:
        """Release the lock, so that another gateway can start."""
        os.close(self._fd)
