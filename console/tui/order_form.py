"""The strip over the bottom lines of a view in which a command is written, checked and confirmed. Values above it live.

Written first: fields, with what is allowed now and why. Enter asks; only then does typing `yes` execute. Control never
looks like navigation, and nothing is sent by a single key but what lowers risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.events import Key
from textual.message import Message

from console.display.formats import hour_minute
from console.display.ink import Ink, Line
from console.display.islanding_text import abortable, check_lines
from console.display.viewmodel import Model
from console.display.wrapping import cut, wrap
from console.tui.canvas import Canvas
from console.tui.commands import ABORT_KEY
from console.tui.diff_widget import Painted
from console.tui.form_fields import HINTS, NOBODY, Form, chosen_order, order_words
from console.tui.keystrokes import edited, printable
from dispatch.model.islanding import Check, IslandState
from dispatch.model.orders import OrderKind
from dispatch.wording.formatting import span

if TYPE_CHECKING:
    from dispatch.model.orders import Preview

EDIT, CONFIRM, SENT = "edit", "confirm", "sent"
STATUS_ROWS = 2
FACT_ROWS = {
    "drill.start": 6,
    "order.hold": 2,
    "order.stop": 3,
    "order.end": 1,
    "order.enable": 1,
    "order.disable": 2,
    "island.reset": 1,
    "island.black_start": 1,
}
FACT_ROWS_ELSE = 4
INDENT = 10  # where what a line is of ends
LOWER_RISK = ("H", "S")  # hold and stop
MOVES = {"tab": 1, "shift+tab": -1}


class OrderStrip(Painted, can_focus=True):
    """Opened by the app with a form, hidden otherwise."""

    fresh_only = False

    class Asked(Message):
        """Enter in a field: may it be done as written?"""

    class Executed(Message):
        """Confirmed: do it."""

    class Edited(Message):
        """Something was typed: what is allowed may be another."""

    class Closed(Message):
        """Nothing is to be done."""

    def __init__(self) -> None:
        super().__init__(id="strip")
        self.form = Form("", "")
        self.stage, self.confirmed = EDIT, ""
        self.look: Preview | None = None
        self.checks: tuple[Check, ...] = ()
        self.replaces: str | None = None  # the order that was in force when it was asked: no other is replaced
        self.missed = ""  # what was entered in place of the word; stands until something is typed
        self.said = ""  # the refusal of what was asked; stands until something is typed
        self.trouble: Line | None = None  # what is against it as things are, while it is written
        self._at = 0
        self._typed: set[int] = set()  # fields that are not as they were preset any more

    def open(self, form: Form) -> None:
        """Show a form to be filled in."""
        self.form, self.stage, self.confirmed, self.missed, self._at = form, EDIT, "", "", 0
        self._typed.clear()
        self.look, self.checks, self.said, self.trouble, self.replaces = None, (), "", None, None
        if form.fields and len(form.fields[0].choices) == 1:
            self._at = 1  # there is nothing to choose
        self.styles.height = 1 + self._fact_rows + bool(form.fields) + STATUS_ROWS
        self.display = True
        self.focus()
        self.redraw()

    def close(self) -> None:
        """Hide it."""
        self.display = False

    def become(self, stage: str, said: str = "") -> None:
        """Go to another stage, with the refusal that leads there, if one does."""
        self.stage, self.said = stage, said
        self.missed = ""
        if stage != CONFIRM:
            self.confirmed = ""
        self.redraw()

    def learn(self, look: Preview | None, checks: Sequence[Check] = (), trouble: Line | None = None) -> None:
        """What is allowed now, or what is against it."""
        self.look, self.checks, self.trouble = look, tuple(checks), trouble
        self.redraw()

    @property
    def _fact_rows(self) -> int:
        return FACT_ROWS.get(self.form.id, FACT_ROWS_ELSE)

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A rule with the title and the keys; what is so and what is allowed; the fields; what comes next."""
        canvas.put(1, 0, "━" * (canvas.width - 2))
        keys = self._keys()
        canvas.put(3, 0, f" {cut(self.form.title, canvas.width - len(keys) - 11)} ", Ink.BOLD)
        canvas.right(canvas.width - 3, 0, f" {keys} ", Ink.DIM)
        y = 1
        lines = facts(self.form, self.look, self.checks, model, self.trouble is not None or self.said != "")
        for text, ink in in_rows(lines, canvas.width - 2, self._fact_rows):
            canvas.put(1, y, text, ink)
            y += 1
        y = 1 + self._fact_rows
        if self.form.fields:
            self._draw_fields(canvas, y, model)
            y += 1
        self._draw_status(canvas, y)

    def _keys(self) -> str:
        if self.stage != EDIT:
            back = "esc back" if self.stage == CONFIRM else ""
            return " · ".join(filter(None, (back, "H hold · S stop" if self._steps_aside else "")))
        if not self.form.fields:
            return "esc cancel"
        several = "tab next · " if len(self.form.fields) > 1 else ""
        choose = "↑ ↓ choose · " if self.form.fields and len(self.form.fields[self._at].choices) > 1 else ""
        return f"{choose}{several}esc cancel, then H S"

    def _draw_fields(self, canvas: Canvas, y: int, model: Model) -> None:
        x = 1
        for n, field in enumerate(self.form.fields):
            here = n == self._at and self.stage == EDIT
            x = canvas.put(x, y, f"{field.label} ", Ink.DIM)
            room = max(3, min(field.width, canvas.width - x - 3))
            x = canvas.put(x, y, "[", Ink.BOLD if here else Ink.DIM)
            shown = field.text[-(room - 1) :] if len(field.text) >= room else field.text
            end = canvas.put(x, y, shown, Ink.BOLD if here else Ink.PLAIN)
            if here:
                canvas.put(end, y, " ", Ink.REVERSE)
            x = canvas.put(x + room, y, "]", Ink.BOLD if here else Ink.DIM) + 1
            if self.look is None or model.now_utc_s is None:
                continue
            if field.name == "for":
                until = hour_minute(model.now_utc_s + self.look.for_s, model.timezone)
                x = canvas.put(x, y, f"until {until}") + 1
            elif field.name == "by" and field.text:
                x = canvas.put(x, y, f"in {span(self.look.for_s)}") + 1

    def _draw_status(self, canvas: Canvas, y: int) -> None:
        width = canvas.width - 2
        if self.stage == SENT:
            canvas.put(1, y, "sent; waiting for the gateway's word", Ink.BOLD)
            return
        said = (f"refused: {self.said}", Ink.MEDIUM) if self.said else self.trouble if self.stage == EDIT else None
        if said is not None:
            for n, line in enumerate(wrap(said[0], width, STATUS_ROWS)):
                canvas.put(1, y + n, line, said[1])
            return
        text = self._change()
        if self.stage == CONFIRM:
            canvas.put(1, y, cut(text, width))
            x = canvas.put(1, y + 1, self.missed, Ink.MEDIUM)
            x = canvas.put(x, y + 1, "type ", Ink.DIM)
            x = canvas.put(x, y + 1, self.form.confirm, Ink.BOLD)
            x = canvas.put(x, y + 1, " and enter to execute: ", Ink.DIM)
            x = canvas.put(x, y + 1, self.confirmed, Ink.BOLD)
            canvas.put(x, y + 1, " ", Ink.REVERSE)
            return
        hint = f"enter asks, then type {self.form.confirm} to execute" if self.form.confirm else "enter executes"
        for n, line in enumerate(wrap(text, width, 1)):
            canvas.put(1, y + n, line)
        canvas.put(1, y + 1, hint, Ink.DIM)

    def _change(self) -> str:
        """What it would do, in one line; how to write it while there is nothing to say."""
        form, look = self.form, self.look
        if form.kind is not None and look is not None and (form.text("value") or form.kind not in VALUED):
            notes = "".join(f"; {note}" for note in look.notes)
            return f"{look.old} → {look.new}, for {span(look.for_s)}{notes}"
        if form.kind is not None:
            return HINTS.get(form.kind, "")
        if form.confirm == NOBODY:
            return "your word that nobody works on the bus, which will come alive"
        return ""

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Every key is for the form, but ctrl+c, the one that aborts while there is something to abort, and those of
        hold and stop where they could not be text.
        """
        if key == ABORT_KEY and self.model is not None and abortable(self.model):
            return False
        if key in LOWER_RISK and self._steps_aside:
            return False
        return key != "ctrl+c"

    @property
    def _steps_aside(self) -> bool:
        """Whether hold and stop open from here. Not within a word: `YES` with caps lock on is no stop."""
        if self.stage == CONFIRM:
            return not self.confirmed
        return self.stage == SENT or not self.form.fields

    def on_key(self, event: Key) -> None:
        """Type, move, ask, confirm, go back."""
        if not self.check_consume_key(event.key, event.character):
            return
        event.stop()
        event.prevent_default()
        if self.stage == SENT:
            return
        if self.stage == CONFIRM:
            self._confirm(event)
            return
        if event.key == "escape":
            self.post_message(self.Closed())
        elif event.key == "enter":
            self.post_message(self.Asked() if self.form.confirm else self.Executed())
        elif event.key in MOVES and self.form.fields:
            self._at = (self._at + MOVES[event.key]) % len(self.form.fields)
            self.redraw()
        elif self.form.fields:
            self._type(event)

    def _confirm(self, event: Key) -> None:
        if event.key == "escape":
            self.become(EDIT)
        elif event.key == "enter":
            if self.confirmed.strip().lower() == self.form.confirm:
                self.post_message(self.Executed())
                return
            word = self.confirmed.strip()
            self.missed = f"nothing sent, {f'{word!r} is not it' if word else 'no word yet'}: "
            self.confirmed = ""
            self.redraw()
        else:
            self.missed = ""
            self.confirmed = edited(self.confirmed, event.key, event.character)[: len(self.form.confirm) + 1]
            self.redraw()

    def _type(self, event: Key) -> None:
        field = self.form.fields[self._at]
        if event.key in ("up", "down") and field.choices:
            at = field.choices.index(field.text) if field.text in field.choices else 0
            text = field.choices[(at + (1 if event.key == "down" else -1)) % len(field.choices)]
        else:
            replaces = self._at not in self._typed and printable(event.character)  # what was preset
            text = edited("" if replaces else field.text, event.key, event.character)
        if text != field.text or printable(event.character):
            self._typed.add(self._at)
        if text != field.text:
            self.form = self.form.typed(self._at, text)
            self.said = ""
            self.redraw()
            self.post_message(self.Edited())


VALUED = frozenset(OrderKind) - {OrderKind.HOLD, OrderKind.DISABLE}


def facts(form: Form, look: Preview | None, checks: Sequence[Check], model: Model, refused: bool = False) -> list[Line]:
    """What holds now and what is allowed now, and why; a line each. refused: the answer was no, and stands below."""
    if form.id == "drill.start":
        failed = [c for c in checks if not c.ok]
        told = check_lines(failed) if failed else check_lines(checks)
        said = (
            ("" if refused else "the checks are asked for") if not checks
            else f"{len(failed)} of {len(checks)} checks fail: no drill can begin" if failed
            else f"all {len(checks)} checks hold"
        )  # fmt: skip
        return [(said, Ink.MEDIUM if failed else Ink.PLAIN), *told]
    if form.id in ("order.end", "order.enable"):
        order = chosen_order(form, model)
        if order is None or model.published is None:
            return [(f"{form.text('id')!r} is not in force any more", Ink.MEDIUM)]
        return [(order_words(order, model.published.snapshot.mono_s), Ink.PLAIN)]
    if form.kind is None:
        decision = model.published.decision if model.published else None
        state = decision.island if decision is not None else IslandState.UNKNOWN
        why = decision.islanding.reason if decision is not None and decision.islanding is not None else ""
        return [(f"now       {state.value}: {why}", Ink.PLAIN)]
    if look is None:
        return [] if refused else [("now       asking what is allowed", Ink.DIM)]
    lines: list[Line] = [(f"now       {look.old}", Ink.PLAIN)]
    if look.standing is not None and model.published is not None:
        lines.append((f"replaces  {order_words(look.standing, model.published.snapshot.mono_s)}", Ink.BOLD))
    if form.id == "order.stop" and model.published is not None:
        ended = [o.id for o in model.published.orders if o.kind is not OrderKind.DISABLE]
        lines.append((f"withdraws {', '.join(ended) or 'nothing: no order is in force'}", Ink.PLAIN))
    return lines + [(text, Ink.PLAIN) for text in allowed(look)]


def in_rows(lines: Sequence[Line], width: int, rows: int) -> list[Line]:
    """`lines` in at most `rows` rows: what is too long goes on below while there are rows to spare, else it is cut."""
    spare, told = rows - len(lines), list[Line]()
    for text, ink in lines[:rows]:
        if len(text) <= width or spare <= 0:
            told.append((cut(text, width), ink))
            continue
        at = text.rfind(" ", 0, width + 1)
        rest = wrap(text[at:], width - INDENT, spare)
        told += [(text[:at], ink), *((" " * INDENT + line, ink) for line in rest)]
        spare -= len(rest)
    return told


def allowed(look: Preview, width: int = 78) -> list[str]:
    """The range now and what sets each end of it; one reason for both is told once."""
    low, high = (None if side is None else figure(side, look.unit) for side in (look.low, look.high))
    if low is not None and high is not None and look.low_why == look.high_why:
        first, *rest = wrap(f"{low} … {high}, {look.low_why}", width - 10, 2)
        return [f"allowed   {first}", *(f"          {line}" for line in rest)]
    ends = ((low, "at least", look.low_why), (high, "at most", look.high_why))
    return [f"{word:<9} {side}, {why}" for side, word, why in ends if side is not None]


def figure(value: float, unit: str) -> str:
    """A bound of the range, in the unit in which it is typed."""
    return f"{value / 1000:+.1f} kW" if unit == "W" and abs(value) >= 50 else f"{value + 0.0:.0f} {unit}"
