"""The alarms of the last days: when each came, how long it stood, who acknowledged it when."""

from __future__ import annotations

from collections.abc import Hashable

from console.display.formats import month_day_clock
from console.display.ink import Ink
from console.display.language import alarm_text, say
from console.display.viewmodel import Model
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.list_view import ListView, heads
from console.tui.overview_panels import SEVERITY_INK, SEVERITY_MARK
from dispatch.alarms.episodes import AlarmEpisode
from dispatch.wording.formatting import span

DETAIL_ROWS = 3


class AlarmHistory(ListView):
    """A line for each time that an alarm came, the newest first."""

    fresh_only = False
    name_end, name_room = 58, 30
    empty = "history.empty"
    past = "history.past_empty"

    def items(self, model: Model) -> list[Hashable]:
        """The newest first, those that hold the filter's text."""
        text = self.filter_text.lower()
        return [one for one in model.alarm_history if text in f"{one.id} {one.text} {one.acknowledged_by}".lower()]

    def key(self, item: Hashable) -> Hashable:
        """Which alarm, and when."""
        assert isinstance(item, AlarmEpisode)
        return item.id, item.came_utc_s

    def listed_name(self, item: Hashable) -> str:
        """The alarm's title."""
        assert isinstance(item, AlarmEpisode)
        return alarm_text(item.id).title

    def paint(self, canvas: Canvas, model: Model) -> None:
        """As every list."""
        columns = (("history.came", 16), ("history.stood", 12), ("alarms.alarm", 31), ("history.acknowledged", 0))
        self.header = heads(*columns)
        super().paint(canvas, model)

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One time that it was there."""
        assert isinstance(item, AlarmEpisode)
        canvas.put(1, y, month_day_clock(item.came_utc_s, model.timezone))
        canvas.put(17, y, _stood(item), Ink.PLAIN if item.lasted_s is not None else Ink.BOLD)
        canvas.put(27, y, SEVERITY_MARK.get(item.severity, " "), SEVERITY_INK.get(item.severity, Ink.PLAIN))
        canvas.put(29, y, cut(self.listed_name(item), 30 + self.spare))
        canvas.put(60 + self.spare, y, cut(_acknowledged(item), canvas.width - 61 - self.spare))

    def detail_rows(self, model: Model, width: int, height: int) -> int:
        """Room for the whole text of the selected line."""
        return 1 + DETAIL_ROWS if model.alarm_history else 0

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """What was seen when it came, and what became of it."""
        assert isinstance(item, AlarmEpisode)
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        restarted = item.restart_utc_s
        rises = (f"; {month_day_clock(r.utc_s, model.timezone)} {r.text}" for r in item.raised)
        text = f"{item.text}{''.join(rises)}; {_acknowledged(item)}"
        if restarted is not None:
            text += f"; {say('history.restarted', time=month_day_clock(restarted, model.timezone))}"
        for y, line in enumerate(wrap(text, canvas.width - 2, DETAIL_ROWS), start=top + 1):
            canvas.put(1, y, cut(line, canvas.width - 2))


def _stood(item: AlarmEpisode) -> str:
    if item.lasted_s is not None:
        return span(item.lasted_s)
    return say("history.not_known" if item.restart_utc_s is not None else "history.stands")


def _acknowledged(item: AlarmEpisode) -> str:
    if item.acknowledged_utc_s is None:
        return say("history.not_acknowledged")
    return say(
        "history.acknowledged_after", who=item.acknowledged_by, span=span(item.acknowledged_utc_s - item.came_utc_s)
    )
