"""The terminal driver of the console: no mouse reporting, and it counts the frames that the terminal has not taken."""

from __future__ import annotations

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver


class ConsoleDriver(LinuxDriver):
    """Textual's driver for Linux and macOS.

    Without mouse reporting the terminal's own selection works, in tmux too, and nothing is sent for a moving pointer.
    """

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=False, size=size)

    @property
    def backlog(self) -> int:
        """Frames written and not yet taken by the terminal. Textual's writer blocks the whole app at 30."""
        writer = self._writer_thread
        return 0 if writer is None else writer._queue.qsize()
