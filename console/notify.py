"""systemd's notification protocol (sd_notify(3)) and the single-instance lock (flock(2)), by stdlib alone."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path


class Systemd:
    """Sends states to `$NOTIFY_SOCKET`; without one, or with a dead manager, does nothing."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    def send(self, state: str) -> bool:
        """Send e.g. "READY=1"; True when the manager got it."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            return False  # a manager that is gone or busy must never hold up a tick
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()


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
        """Let the next gateway in."""
        os.close(self._fd)
