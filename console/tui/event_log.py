"""View 6: what happened, why the setpoint changed, who commanded what. Newest first; at the end older are fetched."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from textual.message import Message

from console.display.audit_rows import AuditLine, full_text, one_line, searchable_text
from console.display.formats import local_times, month_day_clock
from console.display.ink import Ink
from console.display.language import say
from console.display.viewmodel import Model
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.list_view import ListView, heads
from console.tui.overview_panels import event_row, line_row
from dispatch.model.events import Event

DETAIL_ROWS = 3


class EventLog(ListView):
    """A line per event, and a line per command from the audit."""

    fresh_only = False
    orders = ("newest", "oldest", "subject")
    empty = "log.empty"

    class OlderWanted(Message):
        """The end of what is known was reached."""

    def __init__(self) -> None:
        super().__init__()
        self._kind = ""  # of the lines that are listed; empty: all

    def next_kind(self) -> None:
        """List the next kind of which there is a line; after the last all of them."""
        if self.model is not None:
            lines: list[Event | AuditLine] = [*self.model.events, *self.model.audit]
            kinds = ["", *sorted({kind_of(line) for line in lines})]
            self._kind = kinds[(kinds.index(self._kind) + 1) % len(kinds)] if self._kind in kinds else ""
            self.redraw()

    def items(self, model: Model) -> list[Hashable]:
        """Events and commands of the kind that hold the filter's text, newest first."""
        text = self.filter_text.lower()
        found: list[Event | AuditLine] = [e for e in model.events if text in event_text(e)]
        found += [a for a in model.audit if text in searchable_text(a)]
        if self._kind:
            found = [line for line in found if kind_of(line) == self._kind]
        found.sort(key=lambda item: item.utc_s)
        return list(reversed(found))

    def sort_key(self, item: Hashable, order: str) -> tuple[str, float]:
        """Its time, or what it is of."""
        assert isinstance(item, (Event, AuditLine))
        return (item.subject, -item.utc_s) if order == "subject" else ("", item.utc_s)

    def notes(self, model: Model, listed: Sequence[Hashable]) -> Iterator[str]:
        """The kind that is listed, too, and how many lines are above the selected one: at the newest it follows."""
        if self._kind:
            yield say("log.only", kind=self._kind)
        yield from super().notes(model, listed)
        if not self._order and (newer := self._index(list(listed)) if listed else 0):
            yield say("log.newer", n=newer)

    def key(self, item: Hashable) -> Hashable:
        """The number of a command's row, as its result comes later; an event as it is."""
        return ("audit", item.seq) if isinstance(item, AuditLine) else item

    def at_end(self) -> None:
        """Ask for older events."""
        self.post_message(self.OlderWanted())

    def paint(self, canvas: Canvas, model: Model) -> None:
        """As every list."""
        self.header = heads(("log.when", 17), ("log.kind", 8), ("log.subject", 18), ("log.what", 0))
        super().paint(canvas, model)

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One event, or one command."""
        if isinstance(item, AuditLine):
            mark = "▲" if not item.durable else "!" if item.outcome == "refused" else " "
            ink = Ink.HIGH if mark == "▲" else Ink.MEDIUM
            when = month_day_clock(item.utc_s, model.timezone)
            line_row(canvas, y, when, (mark, ink), "audit", item.subject, local_times(one_line(item), model.timezone))
            return
        assert isinstance(item, Event)
        event_row(canvas, y, item, month_day_clock(item.utc_s, model.timezone), model.timezone)

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
        for y, line in enumerate(wrap(local_times(text, model.timezone), canvas.width - 2, DETAIL_ROWS), start=top + 1):
            canvas.put(1, y, cut(line, canvas.width - 2))


def kind_of(line: Event | AuditLine) -> str:
    """The kind of a line of the log."""
    return "audit" if isinstance(line, AuditLine) else line.kind


def event_text(event: Event) -> str:
    """Everything of an event that a filter looks at, lower case."""
    return f"{event.kind} {event.severity} {event.subject} {event.text} {event.who}".lower()
