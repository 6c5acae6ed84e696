"""The line at the bottom of a view to type in: a command's name, a filter, a time of the record.

The values above it stay live.
"""

from __future__ import annotations

from textual.events import Key
from textual.message import Message

from console.display.ink import Ink
from console.display.islanding_text import abortable
from console.display.language import say
from console.display.viewmodel import Model
from console.display.wrapping import columns, cut
from console.tui.canvas import Canvas
from console.tui.commands import ABORT_KEY, Command, key_name, matching
from console.tui.diff_widget import DiffWidget
from console.tui.keystrokes import EDITING, edited

PALETTE, FILTER, TIME = "palette", "filter", "time"
MARKS = {PALETTE: ":", FILTER: "/", TIME: "@"}
HINTS = {TIME: "14:20 · 2026-11-03 02:40 · -2h · enter · esc"}
PALETTE_ROWS = 8
KEYS = EDITING | {"up", "down", "enter", "escape", "tab"}


class Prompt(DiffWidget, can_focus=True):
    """Opened by the app, hidden otherwise. Posts what was typed or chosen."""

    fresh_only = False

    class Typed(Message):
        """The text of the filter so far; `done` once Enter was pressed."""

        def __init__(self, text: str, done: bool) -> None:
            super().__init__()
            self.text, self.done = text, done

    class TimeGiven(Message):
        """Enter was pressed behind a time."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Chosen(Message):
        """A command was chosen."""

        def __init__(self, command: Command) -> None:
            super().__init__()
            self.command = command

    class Closed(Message):
        """Nothing was chosen."""

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.kind, self.text, self._selected_index = FILTER, "", 0

    def open(self, kind: str, text: str = "") -> None:
        """Show the prompt for a palette or a filter."""
        self.kind, self.text, self._selected_index = kind, text, 0
        self.styles.height = PALETTE_ROWS if kind == PALETTE else 2
        self.display = True
        self.screen.set_focus(self)  # at once: `focus` waits for a turn, and the next key may be here already
        self.redraw()

    def close(self) -> None:
        """Hide it."""
        self.display = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A rule, the text with its cursor, and for a palette the commands that match."""
        canvas.put(1, 0, "─" * (canvas.width - 2), Ink.DIM)
        canvas.put(3, 0, f" {say(f'prompt.{self.kind}')} ", Ink.DIM)
        x = canvas.put(1, 1, MARKS[self.kind], Ink.BOLD)
        hint = HINTS.get(self.kind) or say("prompt.hint")
        x = canvas.put(x + 1, 1, self.text[-max(8, canvas.width - 6 - columns(hint)) :])
        canvas.put(x, 1, " ", Ink.REVERSE)
        canvas.right(canvas.width - 1, 1, hint, Ink.DIM)
        if self.kind != PALETTE:
            return
        found = matching(self.text)
        if not found:
            canvas.put(3, 2, say("prompt.none"), Ink.DIM)
        first = max(0, self._selected_index - (canvas.height - 3))
        for y, command in enumerate(found[first : first + canvas.height - 2], start=2):
            canvas.put(3, y, command.label)
            canvas.put(22, y, key_name(command.keys[0]), Ink.DIM)
            canvas.put(30, y, cut(command.help, canvas.width - 31), Ink.DIM)
            if first + y - 2 == self._selected_index:
                canvas.fill(y, Ink.REVERSE)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Printable keys are text here, except the one that aborts while there is something to abort."""
        if key == ABORT_KEY and self.model is not None and abortable(self.model):
            return False
        return key in KEYS or (character is not None and character.isprintable())

    def on_key(self, event: Key) -> None:
        """Edit, choose, or close."""
        if not self.check_consume_key(event.key, event.character):
            return
        event.stop()
        event.prevent_default()
        found = matching(self.text)
        if event.key == "escape":
            self.post_message(self.Closed())
        elif event.key == "enter":
            self._accept(found)
        elif event.key in ("up", "down"):
            index = self._selected_index + (1 if event.key == "down" else -1)
            self._selected_index = max(0, min(len(found) - 1, index))
            self.redraw()
        else:
            self._edit(event)

    def _accept(self, found: list[Command]) -> None:
        if self.kind == FILTER:
            self.post_message(self.Typed(self.text, done=True))
        elif self.kind == TIME:
            self.post_message(self.TimeGiven(self.text))
        elif found:
            self.post_message(self.Chosen(found[self._selected_index]))

    def _edit(self, event: Key) -> None:
        self.text = edited(self.text, event.key, event.character)
        self._selected_index = 0
        self.redraw()
        if self.kind == FILTER:
            self.post_message(self.Typed(self.text, done=False))
