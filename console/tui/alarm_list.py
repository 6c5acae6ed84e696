"""View 5: the alarms, and of the selected one its cause, its consequence and what to do."""

from __future__ import annotations

from collections.abc import Hashable

from console.tui.canvas import Canvas, Ink, cut, wrap
from console.tui.formats import age, day_clock
from console.tui.lines import Lines
from console.tui.viewmodel import Model, ranked
from console.tui.words import PRIORITY_MARKS, STATE_WORDS
from dispatch.alarms import Alarm, AlarmState

DETAIL_ROWS = 8


class AlarmList(Lines):
    """A line per alarm that is not normal."""

    header = "     Since            Age   Alarm                          State"
    nothing = "none: every condition that is watched is normal"

    def items(self, model: Model) -> list[Hashable]:
        """In the order they deserve a person."""
        return list(ranked(model.published.alarms)) if model.published else []

    def key(self, item: Hashable) -> Hashable:
        """An alarm's id."""
        assert isinstance(item, Alarm)
        return item.id

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One alarm: mark of its priority, since when, title, state, whether it came first."""
        assert isinstance(item, Alarm)
        mark, ink = PRIORITY_MARKS[item.priority]
        canvas.put(1, y, mark, Ink.DIM if item.state is AlarmState.ACKNOWLEDGED else ink)
        canvas.put(6, y, day_clock(item.since_utc_s, model.timezone))
        canvas.right(28, y, age((model.now_utc_s or item.since_utc_s) - item.since_utc_s), Ink.DIM)
        canvas.put(29, y, cut(item.title, 30))
        words = STATE_WORDS[item.state] + (", first" if item.first_out else "")
        canvas.put(60, y, cut(words, canvas.width - 61))

    def detail_rows(self, model: Model, height: int) -> int:
        """Cause, consequence and action, two rows each, and a heading."""
        return min(DETAIL_ROWS, height - 3) if self.items(model) else 0

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """What it means."""
        assert isinstance(item, Alarm)
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        facts = [f"{item.priority.value} priority", STATE_WORDS[item.state]]
        facts += ["came first"] if item.first_out else []
        facts += [f"came {item.count} times"] if item.count > 1 else []
        facts += [f"acknowledged by {item.acknowledged_by}"] if item.acknowledged_by else []
        y = top + 1
        canvas.put(1, y, cut(f"{item.title}  ", 40), Ink.BOLD)
        canvas.put(3 + len(cut(item.title, 40)), y, cut(" · ".join(facts), canvas.width - 44), Ink.DIM)
        for label, text in (("Cause", item.cause), ("Consequence", item.consequence), ("Action", item.action)):
            y += 1
            canvas.put(1, y, label, Ink.DIM)
            for line in wrap(text or "—", canvas.width - 15, 2):
                canvas.put(14, y, line)
                y += 1
            y -= 1
