"""What goes to the terminal: frames as changes of cells, a question behind them, and nothing that it would print."""

from __future__ import annotations

import re

from console.tui.link_pace import LinkPace
from console.tui.terminal_screen import TerminalScreen

FRAME = re.compile(r"\x1b\[\d+;\d+H")  # how a frame begins; other sequences set modes of the terminal
# Questions and modes that came after the VT100, and the pointer's shape, which nobody sees without mouse reporting.
LATER = re.compile(r"\x1b\[(?:[><]|\?(?:2026|2048|2004|1004))|\x1b\]")
POINTER_SHAPE = "\x1b]22;"


class Output:
    """Turns what Textual writes into what is sent. early: the terminal knows what a VT100 knows, and little more."""

    def __init__(self, early: bool) -> None:
        self._early = early
        self._screen = TerminalScreen(0, 0)
        self.pace = LinkPace()

    def forget(self, width: int, height: int) -> None:
        """What the terminal shows is not known any more: it has another size, or others wrote on it."""
        self._screen.forget(width, height)

    def sent(self, data: str, now_s: float) -> str:
        """What to send for what Textual writes."""
        if FRAME.match(data):
            data = self._screen.changes(data)
            if data:
                self.pace.sent(len(data.encode()), now_s)
            return data
        if data.startswith(POINTER_SHAPE) or (self._early and LATER.match(data)):
            return ""
        return data

    def question(self, now_s: float) -> str:
        """What to send behind a frame, to learn when it has arrived."""
        column = self.pace.question(now_s)
        return "" if column is None else self._screen.move_to(column - 1, 0) + "\x1b[6n"
