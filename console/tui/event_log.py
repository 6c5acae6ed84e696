"""View 6: what happened, and why the setpoint changed. Newest first; older ones are fetched as the end is reached."""

from __future__ import annotations

from collections.abc import Hashable

from textual.message import Message

from console.tui.canvas import Canvas, Ink, cut, wrap
from console.tui.formats import day_clock
from console.tui.lines import Lines
from console.tui.side import event_row
from console.tui.viewmodel import Model
from dispatch.model import Event


class EventLog(Lines):
    """A line per event."""

    fresh_only = False
    header = "When             Kind    Subject           What"
    nothing = "nothing has happened yet"

    class OlderWanted(Message):
        """The end of what is known was reached."""

    def items(self, model: Model) -> list[Hashable]:
        """Events that hold the filter's text, newest first."""
        wanted = self.needle.lower()
        return [e for e in reversed(model.events) if wanted in searchable(e)]

    def at_end(self) -> None:
        """Ask for older events."""
        self.post_message(self.OlderWanted())

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One event."""
        assert isinstance(item, Event)
        event_row(canvas, y, item, day_clock(item.utc_s, model.timezone))

    def detail_rows(self, model: Model, height: int) -> int:
        """The whole text of the selected event, which a narrow line may have cut."""
        return 3

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """The selected event's text in full."""
        assert isinstance(item, Event)
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        who = f" — {item.who}" if item.who else ""
        for y, line in enumerate(wrap(item.text + who, canvas.width - 2, 2), start=top + 1):
            canvas.put(1, y, cut(line, canvas.width - 2))


def searchable(event: Event) -> str:
    """Everything of an event that a filter looks at, lower case."""
    return f"{event.kind} {event.severity} {event.subject} {event.text} {event.who}".lower()
