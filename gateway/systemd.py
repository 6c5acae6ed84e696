"""systemd's notification protocol (sd_notify(3)), with the standard library alone."""

from __future__ import annotations

import os
import socket


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
