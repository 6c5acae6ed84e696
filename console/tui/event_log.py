"""View 6: what happened, why the setpoint changed, who commanded what. Newest first; at the end older are fetched."""

from __future__ import annotations

from collections.abc import Hashable

from textual.message import Message

from console.display.audit_rows import AuditLine, full_text, one_line, searchable_text
from console.display.formats import month_day_clock
from console.display.ink import Ink
from console.display.viewmodel import Model
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.list_view import ListView
from console.tui.overview_panels import event_row, line_row
from dispatch.model.events import Event

DETAIL_ROWS = 3


class EventLog(ListView):
    """A line per event, and a line per command from the audit."""

    fresh_only = False
    header = "When             Kind    Subject           What"
    empty_text = "nothing has happened yet"

    class OlderWanted(Message):
        """The end of what is known was reached."""

    def items(self, model: Model) -> list[Hashable]:
        """Events and commands that hold the filter's text, newest first."""
        text = self.filter_text.lower()
        found: list[Event | AuditLine] = [e for e in model.events if text in event_text(e)]
        found += [a for a in model.audit if text in searchable_text(a)]
        found.sort(key=lambda item: item.utc_s)
        return list(reversed(found))

    def key(self, item: Hashable) -> Hashable:
        """The number of a command's row, as its result comes later; an event as it is."""
        return ("audit", item.seq) if isinstance(item, AuditLine) else item

    def at_end(self) -> None:
        """Ask for older events."""
        self.post_message(self.OlderWanted())

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One event, or one command."""
        if isinstance(item, AuditLine):
            mark = "▲" if not item.durable else "!" if item.outcome == "refused" else " "
            ink = Ink.HIGH if mark == "▲" else Ink.MEDIUM
            when = month_day_clock(item.utc_s, model.timezone)
            line_row(canvas, y, when, (mark, ink), "audit", item.subject, one_line(item))
            return
        assert isinstance(item, Event)
        event_row(canvas, y, item, month_day_clock(item.utc_s, model.timezone))

    def detail_rows(self, model: Model, width: int, height: int) -> int:
        """Room for the whole text of the selected line."""
        return 1 + DETAIL_ROWS

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """The selected line's text in full."""
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        if isinstance(item, AuditLine):
            text = full_text(item)
        else:
            assert isinstance(item, Event)
            text = item.text + (f" — {item.who}" if item.who else "")
        for y, line in enumerate(wrap(text, canvas.width - 2, DETAIL_ROWS), start=top + 1):
            canvas.put(1, y, cut(line, canvas.width - 2))


def event_text(event: Event) -> str:
    """Everything of an event that a filter looks at, lower case."""
    return f"{event.kind} {event.severity} {event.subject} {event.text} {event.who}".lower()
