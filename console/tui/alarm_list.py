"""View 5: the alarms, and those off the list; of the selected one its cause, its consequence and what to do."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from console.display.formats import age, hour_minute, month_day_clock
from console.display.ink import Ink
from console.display.language import alarm_text, say, say_n, say_of, words
from console.display.status_text import PRIORITY_MARKS, alarm_state_words
from console.display.viewmodel import Model, ranked
from console.display.wrapping import columns, cut, wrap
from console.tui.canvas import Canvas
from console.tui.commands import COMMANDS, key_name
from console.tui.list_view import ListView, heads
from dispatch.alarms.definitions import DEFINITIONS, GROUPS
from dispatch.alarms.shelving import SHELVED, Suppression
from dispatch.alarms.states import Alarm, AlarmState, FirstOut, ShelvedAlarm
from dispatch.wording.alarm_text import AlarmText
from dispatch.wording.formatting import span

LEAST_LIST_ROWS = 4  # kept for header and list
FEWEST_LIST_ROWS = 3  # where cause, consequence and action would not be whole else
MOST_TEXT_ROWS = 6  # more than any text takes at 80 columns
TEXT_COLUMN = 14
BY_GROUP, BY_TIME = "group", "time"
STANDS = (AlarmState.ACKNOWLEDGED, AlarmState.UNACKNOWLEDGED)


class AlarmList(ListView):
    """A line per alarm that is not normal, and one per alarm that is shelved or out of service."""

    orders = ("urgency", BY_GROUP, BY_TIME)
    name_end, name_room = 55, 30
    empty = "alarms.empty"
    past = "alarms.past_empty"

    def items(self, model: Model) -> list[Hashable]:
        """The most urgent first; those off the list behind."""
        published = model.published
        found: list[Hashable] = [*ranked(published.alarms), *published.shelved] if published else []
        text = self.filter_text.lower()
        return [item for item in found if text in f"{_id(item)} {_group(item)} {self.listed_name(item)}".lower()]

    def sort_key(self, item: Hashable, order: str) -> Any:
        """By group, or the newest first; those off the list stay behind."""
        off = isinstance(item, ShelvedAlarm)
        if order == BY_GROUP:
            group = _group(item)
            return off, GROUPS.index(group) if group in GROUPS else len(GROUPS)
        return off, -_since_utc_s(item)

    def key(self, item: Hashable) -> Hashable:
        """An alarm's id."""
        return _id(item)

    def listed_name(self, item: Hashable) -> str:
        """Its title, and whether it came first."""
        return alarm_text(_id(item)).title + _first_mark(item)

    def notes(self, model: Model, listed: Sequence[Hashable]) -> Iterator[str]:
        """Beside filter and order: a first-out that has gone, and how many came of late."""
        yield from super().notes(model, listed)
        published = model.published
        if published is None or model.past is not None:
            return
        first = published.first_out
        if first is not None and first.id not in {alarm.id for alarm in published.alarms}:
            off = first.id in {one.suppression.id for one in published.shelved}
            now = say("alarms.now_off" if off else "alarms.now_gone")
            yield say("alarms.first_was", what=_first_words(first, model), now=now)
        rate = published.alarm_rate
        if rate is not None and rate.per_10_min:
            yield say("alarms.flood" if rate.flood else "alarms.rate", n=rate.per_10_min)

    def paint(self, canvas: Canvas, model: Model) -> None:
        """As every list; by group the group stands where the time does otherwise."""
        first = "alarms.group" if self.order == BY_GROUP else "alarms.since"
        age_columns = (("alarms.age", 6), ("alarms.alarm", 31), ("alarms.state", 0))
        self.header = f"    {heads((first, 15), *age_columns)}"
        super().paint(canvas, model)

    def draw(self, canvas: Canvas, y: int, item: Hashable, model: Model) -> None:
        """One alarm: mark of its priority, since when or of which group, title, state, whether it came first."""
        assert isinstance(item, (Alarm, ShelvedAlarm))
        off = isinstance(item, ShelvedAlarm)
        mark, ink = PRIORITY_MARKS[item.priority]
        canvas.put(1, y, mark, Ink.DIM if off or item.state is AlarmState.ACKNOWLEDGED else ink)
        since_utc_s = _since_utc_s(item)
        canvas.put(
            5,
            y,
            say_of("group", item.group) if self.order == BY_GROUP else month_day_clock(since_utc_s, model.timezone),
        )
        canvas.right(24, y, age((model.now_utc_s or since_utc_s) - since_utc_s), Ink.DIM)
        first = _first_mark(item)
        spare, shown = self.spare, Ink.DIM if off else Ink.PLAIN
        canvas.put(26, y, cut(alarm_text(_id(item)).title, 30 + spare - columns(first)) + first, shown)
        canvas.put(57 + spare, y, cut(_state_words(item, model), canvas.width - 58 - spare), shown)

    def detail_rows(self, model: Model, width: int, height: int) -> int:
        """As many as the longest of the listed alarms needs: the list keeps its place when the selection moves."""
        texts = [self._detail_lines(item, width, model) for item in self.items(model)]
        if not texts:
            return 0
        wanted, least = (1 + max(map(len, some)) for some in (texts, [_fitting(lines, 0) for lines in texts]))
        return min(wanted, max(height - LEAST_LIST_ROWS, min(least, height - FEWEST_LIST_ROWS)))

    def detail(self, canvas: Canvas, top: int, item: Hashable | None, model: Model) -> None:
        """What it means. What helps, and how it looked at first, is left out where there is no row for it."""
        canvas.put(1, top, "─" * (canvas.width - 2), Ink.DIM)
        lines = _fitting(self._detail_lines(item, canvas.width, model), canvas.height - top - 1)
        for y, (label, text) in enumerate(lines, start=top + 1):
            title = y == top + 1
            x = canvas.put(1, y, label, Ink.BOLD if title else Ink.DIM)
            canvas.put(x + 2 if title else TEXT_COLUMN, y, text, Ink.DIM if title else Ink.PLAIN)

    @staticmethod
    def _detail_lines(item: Hashable, width: int, model: Model) -> list[tuple[str, str]]:
        """A line of title and state, then label and text of each line of cause, consequence and action, nothing cut."""
        assert isinstance(item, (Alarm, ShelvedAlarm))
        texts = alarm_text(_id(item), item.detail if isinstance(item, Alarm) else None)
        state = _alarm_state(item) if isinstance(item, Alarm) else _shelved_state(item, model)
        head, *more = wrap(" · ".join(state), width - columns(texts.title) - 4, MOST_TEXT_ROWS)
        lines = [(texts.title, head), *(("", text) for text in more)]
        for label, whole in _labelled(texts):
            rows = wrap(whole or "—", width - TEXT_COLUMN - 1, MOST_TEXT_ROWS)
            lines += [(label if n == 0 else "", text) for n, text in enumerate(rows)]
        if isinstance(item, Alarm) and (at_first := _at_first(item, model)):
            lines.append((say(AT_FIRST), cut(at_first, width - TEXT_COLUMN - 1)))
        if helps := helping(_id(item)):
            lines.append((say(KEYS), cut(helps, width - TEXT_COLUMN - 1)))
        return lines


AT_FIRST, KEYS = "alarms.at_first", "alarms.keys"
_SPARE = (AT_FIRST, KEYS)  # rows that are left out first


def _labelled(texts: AlarmText) -> Iterator[tuple[str, str]]:
    yield say("alarms.cause"), texts.cause
    yield say("alarms.consequence"), texts.consequence
    yield say("alarms.action"), texts.action


def _first_mark(item: Hashable) -> str:
    """Behind the title of the one that came first."""
    return f" {say('alarms.first')}" if isinstance(item, Alarm) and item.first_out else ""


def _fitting(lines: list[tuple[str, str]], room: int) -> list[tuple[str, str]]:
    """As many lines as there is room for: without what was seen at first, then without what helps."""
    for spare in _SPARE:
        if len(lines) > room:
            lines = [line for line in lines if line[0] != say(spare)]
    return lines


def helping(alarm_id: str) -> str:
    """The keys and commands that help with an alarm: "4 Island · skerry why"; empty for one that is not ours."""
    helps = next((d.helps for d in DEFINITIONS if d.id == alarm_id.partition(":")[0]), ())
    keys = {command.id: f"{key_name(command.keys[0])} {command.label}" for command in COMMANDS}
    return " · ".join(keys.get(one, one) for one in helps)


def _alarm_state(alarm: Alarm) -> list[str]:
    """Priority, state, what it belongs to, the time to act."""
    state = [say(f"alarms.{alarm.priority.value}"), alarm_state_words(alarm.state)]
    state += [say("alarms.came_first")] if alarm.first_out else []
    state += [say("alarms.came_times", n=alarm.count)] if alarm.count > 1 else []
    state += [say("alarms.acknowledged_by", who=alarm.acknowledged_by)] if alarm.acknowledged_by else []
    if alarm.act_within_s and alarm.state in STANDS:
        state.append(say("alarms.act_within", span=span(alarm.act_within_s)))
    return state


def _shelved_state(item: ShelvedAlarm, model: Model) -> list[str]:
    """What it is, by whom, until when and why; what would be listed."""
    kept = item.suppression
    state = [say("alarms.off_by", off=_off_words(kept, model), who=kept.who, reason=kept.reason)]
    state += [say("alarms.stands" if item.state in STANDS else "alarms.not_there")]
    return [*state, say_n("alarms.came_meanwhile", item.came)] if item.came else state


def _at_first(alarm: Alarm, model: Model) -> str:
    """How it looked when it came first, where that is not what is seen now."""
    if alarm.first_utc_s is None or (alarm.first_utc_s == alarm.since_utc_s and alarm.first_detail == alarm.detail):
        return ""
    return f"{month_day_clock(alarm.first_utc_s, model.timezone)} {words(alarm.first_detail)}".strip()


def _first_words(first: FirstOut, model: Model) -> str:
    return f"{alarm_text(first.id).title} {hour_minute(first.utc_s, model.timezone)}"


def _state_words(item: Alarm | ShelvedAlarm, model: Model) -> str:
    return alarm_state_words(item.state) if isinstance(item, Alarm) else _off_words(item.suppression, model)


def _off_words(kept: Suppression, model: Model) -> str:
    """How it is off the list, and until when."""
    off = say("alarms.shelved" if kept.kind == SHELVED else "alarms.out_of_service")
    if kept.until_utc_s is None:
        return off
    return say("alarms.shelved_until", off=off, time=hour_minute(kept.until_utc_s, model.timezone))


def _id(item: Hashable) -> str:
    assert isinstance(item, (Alarm, ShelvedAlarm))
    return item.id if isinstance(item, Alarm) else item.suppression.id


def _group(item: Hashable) -> str:
    assert isinstance(item, (Alarm, ShelvedAlarm))
    return item.group


def _since_utc_s(item: Hashable) -> float:
    assert isinstance(item, (Alarm, ShelvedAlarm))
    return item.since_utc_s if isinstance(item, Alarm) else item.suppression.since_utc_s
