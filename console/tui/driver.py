"""The terminal driver of the console: no mouse reporting; it counts the frames that the terminal has not taken, and
tells a key that somebody pressed from one of a pasted text.
"""

from __future__ import annotations

import os
import time
from collections import deque

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import CursorPosition, Key
from textual.message import Message

from console.tui.appearance import Appearance
from console.tui.output import Output
from console.tui.terminal_kind import is_early

BURST_S = 0.03  # keys of a paste follow each other within a few ms, those of a person do not
KEPT = 4096  # keys: a longer paste is one whatever began it


class KeyTimes:
    """When the last keys came. A terminal without bracketed paste sends a pasted text as so many keys at once."""

    def __init__(self) -> None:
        self._keys: deque[tuple[float, str]] = deque(maxlen=KEPT)

    def add(self, at_s: float, key: str) -> None:
        """One key, in the order they come."""
        self._keys.append((at_s, key))

    @property
    def last_s(self) -> float | None:
        """When the last key came; None before the first."""
        return self._keys[-1][0] if self._keys else None

    def pasted(self, at_s: float, typed: str = "") -> bool:
        """Whether the key that came at `at_s` was one of several: known `BURST_S` later.

        A key that is held down is none, nor is a `typed` word with enter, or the end of it, and nothing else: a slow
        link delivers together what somebody types quickly.
        """
        burst = self._burst(at_s)
        word = [*("space" if c == " " else c for c in typed), "enter"]
        return len(set(burst)) > 1 and [key.lower() for key in burst] != word[-len(burst) :]

    def _burst(self, at_s: float) -> list[str]:
        """The keys that follow each other without a pause, around the one that came at `at_s`."""
        burst: list[str] = []
        before_s: float | None = None
        around = False
        for key_s, name in self._keys:
            if before_s is not None and key_s - before_s >= BURST_S:
                if around:
                    break
                burst = []
            burst.append(name)
            before_s = key_s
            around = around or key_s >= at_s  # an earlier one that is not kept any more had many after it
        return burst


class LinkAnswered(Message):
    """The terminal has taken what was sent before a question."""


def _mouse(app: App[object]) -> bool:
    look = getattr(app, "appearance", None)
    return isinstance(look, Appearance) and look.mouse


class ConsoleDriver(LinuxDriver):
    """Textual's driver for Linux and macOS.

    Without mouse reporting, which is off unless the app asks for it, the terminal's own selection works, in tmux too,
    and nothing is sent for a moving pointer.
    """

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=_mouse(app), size=size)
        self.keys = KeyTimes()
        self.output = Output(early=is_early(os.environ.get("TERM", "")))

    def _enable_mouse_support(self) -> None:
        """Report presses and the wheel, not where the pointer moves: that is much on a slow link."""
        if self._mouse:
            super().write("\x1b[?1000h\x1b[?1006h")

    def _disable_mouse_support(self) -> None:
        if self._mouse:
            super().write("\x1b[?1000l\x1b[?1006l")

    def start_application_mode(self) -> None:
        """Nothing is known of what the terminal shows: at the start, after ctrl+z, and after another program."""
        self.output.forget(*self._get_terminal_size())
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Leave without attributes in force."""
        self.write("\x1b[m")
        super().stop_application_mode()

    def write(self, data: str) -> None:
        """Send what the data changes on the terminal."""
        if data := self.output.sent(data, time.monotonic()):
            super().write(data)

    def flush(self) -> None:
        """A frame is complete: ask when it has arrived."""
        if question := self.output.question(time.monotonic()):
            super().write(question)
        super().flush()

    def process_message(self, message: Message) -> None:
        """Note when a key came, and pass it on; an answer about the link stays here."""
        if isinstance(message, CursorPosition):
            self.output.pace.answered(message.x + 1, time.monotonic())
            self.send_message(LinkAnswered())
            return
        if isinstance(message, Key):
            self.keys.add(time.monotonic(), message.key)
        super().process_message(message)

    @property
    def backlog(self) -> int:
        """Frames written and not yet taken by the terminal. Textual's writer blocks the whole app at 30."""
        writer = self._writer_thread
        return 0 if writer is None else writer._queue.qsize()
