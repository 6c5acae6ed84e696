"""One gateway per site: an exclusive file lock (flock(2)) in the state directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another gateway holds this site's lock."""


class InstanceLock:
    """An exclusive flock on `gateway.lock` in the state directory; the kernel drops it when the process ends."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "gateway.lock"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise AlreadyRunning(f"a gateway already runs this site (pid {holder}, lock {self.path})") from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, str(os.getpid()).encode())

    def release(self) -> None:
        """Release the lock, so that another gateway can start."""
        os.close(self._fd)
