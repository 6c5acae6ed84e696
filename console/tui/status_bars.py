"""The lines that every view keeps in the same place: state, link, order, why, next, alarms, footer."""

from __future__ import annotations

from collections.abc import Sequence

from textual.events import Resize

from console.display.formats import WAITING, clock_zone, elapsed, month_day_clock
from console.display.ink import Ink, Line
from console.display.islanding_text import (
    cause_word,
    in_normal_operation,
    islanding_view,
    last_drill_text,
    left_grid_utc_s,
    next_step_text,
)
from console.display.language import say
from console.display.language import words as reason_words
from console.display.status_text import (
    PRIORITY_MARKS,
    alarm_text,
    iq_texts,
    island_state_word,
    link_state_word,
    mode_word,
    next_change_text,
    off_list_words,
    why_text,
)
from console.display.viewmodel import Link, Model, PastMark, is_unacknowledged, ranked, unacknowledged
from console.display.wrapping import columns, cut, wrap
from console.tui.canvas import Canvas
from console.tui.commands import COMMANDS, Needs, key_name
from console.tui.diff_widget import DiffWidget
from dispatch.alarms.states import Alarm
from dispatch.model.islanding import OFF_GRID_STATES, IslandState

MIN_COLUMNS, MIN_ROWS = 80, 24
WHY_ROWS = 2  # at least
MOST_WHY_ROWS = 9  # more than any text takes
PAST_WIDE = 60  # columns of the state line, from which a past one says what steered
TEXT_COLUMN = 8  # behind "Why", "Next", "Alarms"
TEXT_MARGIN = TEXT_COLUMN + 1  # columns that the text of a line cannot have
VIEW_COMMAND = "view."


class StateLine(DiffWidget):
    """Site, islanding state, what steers, whether the site is simulated."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row. Where there is not room for all, the site's name is shortened first."""
        words = state_words(model, canvas.width)
        taken = sum(columns(text) + 2 for text, _ in words)
        name = cut(model.welcome.site if model.welcome else "Skerry", 20)
        marks = simulation_marks(model)
        mark = next((m for m in marks if 3 + columns(name) + taken + columns(m) < canvas.width), marks[-1])
        x = canvas.put(1, 0, cut(name, max(4, canvas.width - 4 - taken - columns(mark))), Ink.BOLD) + 2
        for text, ink in words:
            x = canvas.fit(x, 0, [text], Ink.DIM if model.stale and ink is Ink.PLAIN else ink) + 2
        canvas.fit(x, 0, [mark, ""], Ink.DIM)


def simulation_marks(model: Model) -> tuple[str, ...]:
    """How a simulated site is marked, the longest way first; one empty mark on a real site."""
    if model.welcome is None or not model.welcome.simulated:
        return ("",)
    speed = model.welcome.speed
    factor = "" if speed == 1 else f" ×{speed:g}"
    return f"{say('line.simulated')}{factor}", f"{say('line.simulated_short')}{factor}"


def state_words(model: Model, width: int) -> list[Line]:
    """The state at the PCC and what steers; off the grid, for how long and whether it is a drill or an outage.

    In front of a past one, how long ago it was; what steered has room on wider screens only, unless it is unusual.
    """
    if model.past is None:
        return present_words(model)
    then = present_words(model) if model.past.decided else []
    ago = (say("line.past", ago=model.past.ago), Ink.REVERSE)
    return [ago, *(line for n, line in enumerate(then) if width >= PAST_WIDE or not n or line[1] is not Ink.PLAIN)]


def present_words(model: Model) -> list[Line]:
    """The same without a thought of the past."""
    if model.published is None:
        return []
    decision, view, now_s = model.published.decision, islanding_view(model), model.now_utc_s
    word, ink = island_state_word(decision.island)
    cause = cause_word(model)
    locked: list[Line] = [(say("line.read_only"), Ink.BOLD)] if model.locked else []
    if view is None or now_s is None:
        return [(word, ink), mode_word(decision.mode), *locked]
    if decision.island in OFF_GRID_STATES or (cause and decision.island is not IslandState.GRID_TIED):
        word += f" {elapsed(now_s - left_grid_utc_s(view))}"
    return [(word, ink), (cause, Ink.BOLD) if cause else mode_word(decision.mode), *locked]


class LinkLine(DiffWidget):
    """Site time, and how the console hears the gateway."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row: the clock at the left, so that a second costs eight characters; without a gateway no time."""
        now = model.now_utc_s
        word, ink = link_state_word(model)
        if model.past is not None:
            self._paint_past(canvas, model, model.past)
            return
        if model.link is Link.LOST:
            canvas.put(0, 0, word, ink)
            return
        time = WAITING if now is None else clock_zone(now, model.timezone)
        known = model.published is None or model.published.snapshot.utc_known
        canvas.put(
            0, 0, time if known else say("line.no_time"), Ink.DIM if model.stale else Ink.PLAIN if known else Ink.MEDIUM
        )
        canvas.put(15, 0, cut(word, canvas.width - 16), ink)

    @staticmethod
    def _paint_past(canvas: Canvas, model: Model, past: PastMark) -> None:
        """The time that is shown, with its day where that is another one, and the key that returns to now."""
        short = clock_zone(past.utc_s, model.timezone)
        long = f"{month_day_clock(past.utc_s, model.timezone)} {short.split()[-1]}"
        x = canvas.put(0, 0, long if past.other_day else short)
        canvas.fit(x + 2, 0, [say("line.end_live"), say("line.end")], Ink.DIM)


class Separator(DiffWidget):
    """A line across."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        canvas.put(1, 0, "─" * (canvas.width - 2), Ink.DIM)


class WhyLine(DiffWidget):
    """What the controller does and why, all of it: as many rows as that takes."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = WHY_ROWS

    def watch_model(self) -> None:
        """A new model: take as many rows as its text needs."""
        self._take_rows()
        super().watch_model()

    def on_resize(self, event: Resize) -> None:
        """At another width it needs others. Textual calls the handler of `CanvasWidget`, too."""
        self._take_rows()

    def _take_rows(self) -> None:
        """Off the grid none is given back, as figures change."""
        model = self.model
        rows = WHY_ROWS if model is None or not self.size.width else own_why_rows(model, self.size.width)
        keeps = model is not None and model.published is not None and not in_normal_operation(model)
        self._rows = max(rows, self._rows) if keeps else rows
        if self.styles.height is None or self.styles.height.value != self._rows:
            self.styles.height = self._rows

    def paint(self, canvas: Canvas, model: Model) -> None:
        """From the first row on; a longer text continues in the lines below where those have room."""
        canvas.put(1, 0, say("line.why"), Ink.DIM)
        rows = why_rows(model, canvas.width)
        if own_why_rows(model, canvas.width) > canvas.height:  # it has not grown yet
            rows = wrap(why_text(model), canvas.width - TEXT_MARGIN, canvas.height)
        for y, line in enumerate(rows[: canvas.height]):
            canvas.put(TEXT_COLUMN, y, line)


def why_rows(model: Model, width: int) -> list[str]:
    """The why line in rows, nothing cut."""
    return wrap(why_text(model), width - TEXT_MARGIN, MOST_WHY_ROWS)


def own_why_rows(model: Model, width: int) -> int:
    """How many of them are the line's own."""
    return max(WHY_ROWS, len(why_rows(model, width)) - _spilling_rows(model))


def spilled_rows(model: Model, width: int) -> list[str]:
    """Those that take the lines below: of what the plan changes next, without a gateway of the alarms, too."""
    return why_rows(model, width)[own_why_rows(model, width) :]


def _spilling_rows(model: Model) -> int:
    """How many lines below may be taken. Advisories and the next step of islanding stay."""
    if model.past is not None:
        return 0
    if model.published is None:
        return 0 if model.link is Link.LIVE else 2
    return int(model.link is not Link.LIVE or not (model.published.advisories or not in_normal_operation(model)))


class NextLine(DiffWidget):
    """What must be known of the hours to come, then the next changes of the plan; off the grid, what comes next."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row: as many changes as fit whole."""
        if rest := spilled_rows(model, canvas.width):
            canvas.put(TEXT_COLUMN, 0, rest[0])
            return
        if model.past is not None:
            canvas.put(1, 0, say("line.record"), Ink.DIM)
            canvas.put(TEXT_COLUMN, 0, cut(model.past.record, canvas.width - TEXT_MARGIN))
            return
        canvas.put(1, 0, say("line.next"), Ink.DIM)
        x = TEXT_COLUMN
        for advisory in model.published.advisories[:1] if model.published else ():
            x = canvas.put(x, 0, f"▲ {cut(reason_words(advisory), canvas.width - TEXT_MARGIN - 2)}", Ink.MEDIUM)
            x = canvas.put(x, 0, " · ", Ink.DIM) if x < canvas.width - TEXT_MARGIN else x
        room = canvas.width - 1 - x
        text = self._text(model)
        while columns(text) > room and " · " in text:
            text = text.rpartition(" · ")[0]
        if x == TEXT_COLUMN or columns(text) <= room:
            canvas.put(x, 0, cut(text, room))

    @staticmethod
    def _text(model: Model) -> str:
        if model.published is not None and not in_normal_operation(model):
            return next_step_text(model)
        reservations = model.published.reservations if model.published else ()
        return next_change_text(model.plan, model.now_utc_s, model.timezone, reservations)


class AlarmLine(DiffWidget):
    """The alarms, the most urgent first; with none waiting, the last drill and Energy IQ at the right."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        if rest := spilled_rows(model, canvas.width)[1:]:
            canvas.put(TEXT_COLUMN, 0, rest[0])
            return
        canvas.put(1, 0, say("line.alarms"), Ink.DIM)
        if model.published is None:
            canvas.put(TEXT_COLUMN, 0, say("line.not_on_record") if model.past else WAITING, Ink.DIM)
            return
        alarms = ranked(model.published.alarms)
        waiting = unacknowledged(alarms)
        note = "" if model.past else say("line.a_acknowledge") if waiting else last_drill_text(model)
        room = canvas.width - 2 - (columns(note) + 2 if note else 0)
        x = self._draw_alarms(canvas, alarms, room, model)
        if alarms and model.past is None:
            note = with_off_list(note, off_list_words(model.published.shelved), canvas.width - 2 - x)
        if not waiting and model.past is None:
            note = longest_fitting(note, iq_texts(model.published.iq), canvas.width - 2 - x)
        if x + columns(note) < canvas.width:
            canvas.right(canvas.width - 1, 0, note, Ink.DIM)

    @staticmethod
    def _draw_alarms(canvas: Canvas, alarms: Sequence[Alarm], room: int, model: Model) -> int:
        """As many as fit whole, at least one, and how many more there are. Returns the column after them."""
        x = TEXT_COLUMN
        if not alarms:
            off = off_list_words(model.published.shelved) if model.published and model.past is None else ""
            return canvas.put(x, 0, f"{say('line.none_listed')} · {off}" if off else say("line.none")) + 2
        rate = model.published.alarm_rate if model.published and model.past is None else None
        if rate is not None and rate.flood:
            x = canvas.put(x, 0, say("line.flood", n=rate.per_10_min), Ink.MEDIUM) + 2
        for n, alarm in enumerate(alarms):
            text, more = alarm_text(alarm, model), f"+{len(alarms) - n}"
            if n and x + columns(text) + 3 + len(more) > room:
                x = canvas.put(x, 0, more) + 2
                break
            mark, ink = PRIORITY_MARKS[alarm.priority]
            x = canvas.put(x, 0, f"{mark} ", ink if is_unacknowledged(alarm) else Ink.PLAIN)
            x = canvas.put(x, 0, cut(text, room - x)) + 2
        return x


def with_off_list(note: str, off: str, room: int) -> str:
    """How many alarms are off the list in front of the note, shorter where there is less room for both."""
    joined = ("   ".join(filter(None, (text, note))) for text in (off, off.partition(",")[0]))
    return next((text for text in joined if columns(text) <= room), note)


def longest_fitting(note: str, texts: Sequence[str], room: int) -> str:
    """The note with the first of the texts behind it that leaves it within `room` columns; alone if none does."""
    joined = (f"{note}   {text}" if note else text for text in texts)
    return next((text for text in joined if columns(text) <= room), note)


class Footer(DiffWidget):
    """Keys that work here, or the answer to the last command."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row. Views at the left, the open one in reverse; at the right as many other keys as fit."""
        if model.notice:
            canvas.put(1, 0, cut(model.notice, canvas.width - 2), Ink.BOLD)
            return
        x = 1
        for command in FOOTER_VIEWS:
            ink = Ink.REVERSE if command.id == f"{VIEW_COMMAND}{model.view}" else Ink.PLAIN
            x = canvas.fit(x, 0, [f" {key_name(command.keys[0])} {command.label} ", ""], ink)
        hints = [f"{key_name(c.keys[0])} {c.hint}" for c in FOOTER_KEYS]
        while hints and columns("  ".join(hints)) > canvas.width - 2 - x:
            del hints[0]
        canvas.right(canvas.width - 1, 0, "  ".join(hints), Ink.DIM)


FOOTER_VIEWS = tuple(c for c in COMMANDS if c.footer and c.id.startswith(VIEW_COMMAND))
FOOTER_KEYS = sorted(
    (c for c in COMMANDS if c.footer and not c.id.startswith(VIEW_COMMAND) and c.needs is not Needs.ALARM),
    key=lambda command: command.id == "help",  # the last is shown where there is room for one only
)


class TooSmall(DiffWidget):
    """What is shown where the console does not fit."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """What is needed, what there is; on as many rows as the width asks for."""
        size = self.app.size
        text = say("line.too_small", columns=MIN_COLUMNS, rows=MIN_ROWS, width=size.width, height=size.height)
        for y, line in enumerate(wrap(text, canvas.width, canvas.height)):
            canvas.put(0, y, line, Ink.BOLD)
