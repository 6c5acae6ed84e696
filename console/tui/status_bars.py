"""The lines that every view keeps in the same place: state, why, next, alarms, footer."""

from __future__ import annotations

from console.display.formats import WAITING, clock_zone, countdown, hour_minute
from console.display.ink import Ink
from console.display.islanding_text import (
    AWAY,
    cause_words,
    elapsed,
    idle,
    last_drill_words,
    left_grid_utc_s,
    next_words,
    view_of,
)
from console.display.status_text import (
    MODES,
    PRIORITY_MARKS,
    alarm_words,
    iq_words,
    island_word,
    link_word,
    next_line,
    why_line,
)
from console.display.viewmodel import Link, Model, ranked, unacknowledged
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.commands import COMMANDS, Needs, key_name
from console.tui.diff_widget import DiffWidget
from dispatch.model.islanding import IslandState
from dispatch.orders.book import words

MIN_COLUMNS, MIN_ROWS = 80, 24
WHY_ROWS = 2
LABEL = 6  # width of "Why", "Next", "Alarms" and the blank after them


class StateLine(DiffWidget):
    """Where, islanding state, who steers, whether any of it is real."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row. Where there is not room for all, the site's name gives way: what it is called is known."""
        words = state_words(model)
        speed = model.welcome.speed if model.welcome and model.welcome.simulated else None
        factor = "" if speed is None or speed == 1 else f" ×{speed:g}"
        marks = ("",) if speed is None else (f"simulated{factor}", f"sim.{factor}")
        name = cut(model.welcome.site if model.welcome else "Skerry", 20)
        taken = sum(len(text) + 2 for text, _ in words)
        mark = next((m for m in marks if 3 + len(name) + taken + len(m) < canvas.width), marks[-1])
        x = canvas.put(1, 0, cut(name, max(4, canvas.width - 4 - taken - len(mark))), Ink.BOLD) + 2
        for text, ink in words:
            x = canvas.put(x, 0, text, Ink.DIM if model.stale and ink is Ink.PLAIN else ink) + 2
        canvas.put(x, 0, mark, Ink.DIM)


def state_words(model: Model) -> list[tuple[str, Ink]]:
    """The state at the PCC and who steers; off the grid, for how long and whether it is a drill or an outage."""
    if model.published is None:
        return []
    decision, view, now_s = model.published.decision, view_of(model), model.now_utc_s
    word, ink = island_word(decision.island)
    cause = cause_words(model)
    if view is None or now_s is None:
        return [(word, ink), MODES[decision.mode]]
    if decision.island in AWAY or (cause and decision.island is not IslandState.GRID_TIED):
        word += f" {elapsed(now_s - left_grid_utc_s(view))}"
    return [(word, ink), (cause, Ink.BOLD) if cause else MODES[decision.mode]]


class LinkLine(DiffWidget):
    """Site time, and how the console hears the gateway."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row: the clock at the left, so that a second costs eight characters; without a gateway no time."""
        now = model.now_utc_s
        word, ink = link_word(model)
        if model.link is Link.LOST:
            canvas.put(0, 0, word, ink)
            return
        canvas.put(
            0, 0, WAITING if now is None else clock_zone(now, model.timezone), Ink.DIM if model.stale else Ink.PLAIN
        )
        canvas.put(15, 0, cut(word, canvas.width - 16), ink)


class Separator(DiffWidget):
    """A line across."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        canvas.put(1, 0, "─" * (canvas.width - 2), Ink.DIM)


class OrderLine(Separator):
    """A line across, and on it the manual orders in force: what, who, how long, why."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row; the battery's order first, how many more there are, and the key that ends one."""
        super().paint(canvas, model)
        orders = model.published.orders if model.published else ()
        if not orders or model.published is None:
            return
        first = min(orders, key=lambda o: o.slot != "battery")
        more = f" +{len(orders) - 1} more" if len(orders) > 1 else ""
        hint = f"{more}  x end "
        left = countdown(first.left_s(model.published.snapshot.mono_s))
        why = f", {first.reason}" if first.reason else ""
        until = hour_minute(first.ends_utc_s, model.timezone)
        what = words(first.kind, first.value, first.target)
        text = f" Order {what} by {first.who} until {until} ({left} left){why}"
        ink = Ink.DIM if model.stale else Ink.BOLD
        canvas.put(2, 0, cut(text, canvas.width - 5 - len(hint)) + " ", ink)
        canvas.right(canvas.width - 2, 0, hint, Ink.DIM)


class WhyLine(DiffWidget):
    """What the controller does and why."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """Two rows; what is longer goes on in the line below."""
        canvas.put(1, 0, "Why", Ink.DIM)
        for y, line in enumerate(why_rows(model, canvas.width)[: canvas.height]):
            canvas.put(LABEL + 2, y, line)


def why_rows(model: Model, width: int) -> list[str]:
    """The why line in rows. Without a gateway what went wrong may take the line of what is next, and before the first
    snapshot that of the alarms too: neither has anything to say.
    """
    rows = WHY_ROWS if model.link is Link.LIVE else WHY_ROWS + 1 if model.published else WHY_ROWS + 2
    return wrap(why_line(model), width - LABEL - 3, rows)


class NextLine(DiffWidget):
    """The next changes of the plan."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row: as many changes as fit whole."""
        if rest := why_rows(model, canvas.width)[WHY_ROWS:]:
            canvas.put(LABEL + 2, 0, rest[0])
            return
        canvas.put(1, 0, "Next", Ink.DIM)
        room = canvas.width - LABEL - 3
        reserved = model.published.reservations if model.published else ()
        plan = model.published is None or idle(model)
        text = next_line(model.plan, model.now_utc_s, model.timezone, reserved) if plan else next_words(model)
        while len(text) > room and " · " in text:
            text = text.rpartition(" · ")[0]
        canvas.put(LABEL + 2, 0, cut(text, room))


class AlarmLine(DiffWidget):
    """The alarms in the order they deserve a person."""

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row."""
        if rest := why_rows(model, canvas.width)[WHY_ROWS + 1 :]:
            canvas.put(LABEL + 2, 0, rest[0])
            return
        canvas.put(1, 0, "Alarms", Ink.DIM)
        if model.published is None:
            canvas.put(LABEL + 2, 0, WAITING, Ink.DIM)
            return
        alarms = ranked(model.published.alarms)
        waiting = unacknowledged(alarms)
        hint = "a acknowledge" if waiting else last_drill_words(model)
        room = canvas.width - 2 - (len(hint) + 2 if hint else 0)
        x = LABEL + 2
        if not alarms:
            x = canvas.put(x, 0, "none") + 2
        for n, alarm in enumerate(alarms):
            mark, ink = PRIORITY_MARKS[alarm.priority]
            words = alarm_words(alarm, model)
            more = f"+{len(alarms) - n}"
            if n and x + len(words) + 3 + len(more) > room:
                canvas.put(x, 0, more)
                break
            ink = ink if alarm in waiting else Ink.PLAIN
            x = canvas.put(x, 0, f"{mark} ", ink)
            x = canvas.put(x, 0, cut(words, room - x)) + 2
        iq = [] if waiting else iq_words(model.published.iq)
        beside = [f"{hint}   {text}" if hint else text for text in iq]
        hint = next((text for text in beside if x + len(text) < canvas.width - 1), hint)
        if hint:
            canvas.right(canvas.width - 1, 0, hint, Ink.DIM)


class Footer(DiffWidget):
    """Keys that work here, or the answer to the last command."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """One row. Views at the left, the open one in reverse; the rest at the right."""
        if model.notice:
            canvas.put(1, 0, cut(model.notice, canvas.width - 2), Ink.BOLD)
            return
        shown = [c for c in COMMANDS if c.footer]
        x = 1
        for command in (c for c in shown if c.id.startswith("view.")):
            ink = Ink.REVERSE if command.id == f"view.{model.view}" else Ink.PLAIN
            x = canvas.put(x, 0, f" {key_name(command.keys[0])} {command.label} ", ink)
        rest = [c for c in shown if not c.id.startswith("view.") and c.needs is not Needs.ALARM]
        hints = [f"{key_name(c.keys[0])} {c.label.lower()}" for c in rest]
        while hints and len("  ".join(hints)) > canvas.width - 2 - x:
            del hints[0]
        canvas.right(canvas.width - 1, 0, "  ".join(hints), Ink.DIM)


class TooSmall(DiffWidget):
    """What is shown where the console does not fit."""

    fresh_only = False

    def paint(self, canvas: Canvas, model: Model) -> None:
        """What is needed, what there is; on as many rows as the width asks for."""
        size = self.app.size
        text = f"Skerry needs {MIN_COLUMNS}x{MIN_ROWS}; here {size.width}x{size.height}"
        for y, line in enumerate(wrap(text, canvas.width, canvas.height)):
            canvas.put(0, y, line, Ink.BOLD)
