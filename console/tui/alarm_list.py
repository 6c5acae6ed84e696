"""View 5: the alarms; of the selected one its cause, its consequence and what to do."""

from __future__ import annotations

from collections.abc import Hashable

from console.display.formats import age, month_day_clock
from console.display.ink import Ink
from console.display.language import alarm_text
from console.display.status_text import ALARM_STATE_WORDS, PRIORITY_MARKS
from console.display.viewmodel import Model, ranked
from console.display.wrapping import columns, cut, wrap
from console.tui.canvas import Canvas
from console.tui.list_view import ListView
from dispatch.alarms.states import Alarm, AlarmState

LEAST_LIST_ROWS = 4  # kept for header and list
MOST_TEXT_ROWS = 6  # more than any text takes at 80 columns
TEXT_COLUMN = 14
FIRST = " (first)"


class AlarmList(ListView):
    """A line per alarm that is not normal."""

    header = "    Since          Age   Alarm                          State"
    name_end, name_room = 55, 30
    empty_text = "none: every condition that is watched is normal"
    past_text = "no alarm on record was listed then"

    def items(self, model: Model) -> list[Hashable]:
        """The most urgent first."""
        return list(ranked(model.published.alarms)) if model.published else []

    def key(self, item: Hashable) -> Hashable:
        """An alarm's id."""
        assert isinstance(item, Alarm)
        return item.id

    def listed_name(self, item: Hashable) -> str:
        """Its title, and whether it came first."""
        assert isinstance(item, Alarm)
        return alarm_text(item.id).title + (FIRST if item.first_out else "")

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One alarm: mark of its priority, since when, title, state, whether it came first."""
        assert isinstance(item, Alarm)
        mark, ink = PRIORITY_MARKS[item.priority]
        canvas.put(1, y, mark, Ink.DIM if item.state is AlarmState.ACKNOWLEDGED else ink)
        canvas.put(5, y, month_day_clock(item.since_utc_s, model.timezone))
        canvas.right(24, y, age((model.now_utc_s or item.since_utc_s) - item.since_utc_s), Ink.DIM)
        first = FIRST if item.first_out else ""
        spare = self.spare
        canvas.put(26, y, cut(alarm_text(item.id).title, 30 + spare - len(first)) + first)
        canvas.put(57 + spare, y, cut(ALARM_STATE_WORDS[item.state], canvas.width - 58 - spare))

    def detail_rows(self, model: Model, width: int, height: int) -> int:
        """As many as the longest of the listed alarms needs: the list keeps its place when the selection moves."""
        needed = [self._detail_lines(item, width) for item in self.items(model)]
        return min(max(1 + len(lines) for lines in needed), height - LEAST_LIST_ROWS) if needed else 0

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """What it means."""
        assert isinstance(item, Alarm)
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        for y, (label, text) in enumerate(self._detail_lines(item, canvas.width), start=top + 1):
            title = y == top + 1
            x = canvas.put(1, y, label, Ink.BOLD if title else Ink.DIM)
            canvas.put(x + 2 if title else TEXT_COLUMN, y, text, Ink.DIM if title else Ink.PLAIN)

    @staticmethod
    def _detail_lines(item: Hashable, width: int) -> list[tuple[str, str]]:
        """A line of title and state, then label and text of each line of cause, consequence and action, nothing cut."""
        assert isinstance(item, Alarm)
        state = [f"{item.priority.value} priority", ALARM_STATE_WORDS[item.state]]
        state += ["came first"] if item.first_out else []
        state += [f"came {item.count} times"] if item.count > 1 else []
        state += [f"acknowledged by {item.acknowledged_by}"] if item.acknowledged_by else []
        texts = alarm_text(item.id, item.detail)
        head, *more = wrap(" · ".join(state), width - columns(texts.title) - 4, MOST_TEXT_ROWS)
        lines = [(texts.title, head), *(("", text) for text in more)]
        for label, whole in (("Cause", texts.cause), ("Consequence", texts.consequence), ("Action", texts.action)):
            rows = wrap(whole or "—", width - TEXT_COLUMN - 1, MOST_TEXT_ROWS)
            lines += [(label if n == 0 else "", text) for n, text in enumerate(rows)]
        return lines
