"""systemd's notification protocol (sd_notify(3)), with the standard library alone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

FEED_S = 1.0  # the watchdog is fed at the first tick completed so long after the last time


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
            self._socket = None


class Liveness:
    """Tells systemd that the gateway is ready, and then that it lives: after completed ticks and at no other time."""

    def __init__(self, systemd: Systemd, status: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`status`: what `systemctl status` shows. `clock`: machine time, s."""
        self._systemd, self._status, self._clock = systemd, status, clock
        self._ready = False
        self._due_s = 0.0

    def after_tick(self, ticks: int) -> None:
        """A tick has been completed. What the manager did not take is sent again after the next one."""
        now_s = self._clock()
        if not self._ready:
            self._ready = self._systemd.send(f"READY=1\nSTATUS={self._status}")
        if now_s >= self._due_s and self._systemd.send("WATCHDOG=1"):
            self._due_s = now_s + FEED_S
