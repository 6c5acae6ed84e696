"""The terminal driver of the console: no mouse reporting; it counts the frames that the terminal has not taken, and
tells a key that somebody pressed from one of a pasted text.
"""

from __future__ import annotations

import time
from collections import deque

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message

BURST_S = 0.03  # keys of a paste follow each other within a few ms, those of a person do not


class KeyTimes:
    """When the last keys came. A terminal without bracketed paste sends a pasted text as so many keys at once."""

    def __init__(self) -> None:
        self._keys: deque[tuple[float, str]] = deque(maxlen=64)

    def add(self, at_s: float, key: str) -> None:
        """One key, in the order they come."""
        self._keys.append((at_s, key))

    def pasted(self, key: str) -> bool:
        """Whether the last press of `key` came together with other keys. Known `BURST_S` after it."""
        last_s = next((at_s for at_s, name in reversed(self._keys) if name == key), None)
        if last_s is None:
            return False
        return any(name != key and abs(at_s - last_s) < BURST_S for at_s, name in self._keys)


class ConsoleDriver(LinuxDriver):
    """Textual's driver for Linux and macOS.

    Without mouse reporting the terminal's own selection works, in tmux too, and nothing is sent for a moving pointer.
    """

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=False, size=size)
        self.keys = KeyTimes()

    def process_message(self, message: Message) -> None:
        """Note when a key came, and pass it on."""
        if isinstance(message, Key):
            self.keys.add(time.monotonic(), message.key)
        super().process_message(message)

    @property
    def backlog(self) -> int:
        """Frames written and not yet taken by the terminal. Textual's writer blocks the whole app at 30."""
        writer = self._writer_thread
        return 0 if writer is None else writer._queue.qsize()
