"""The form over the bottom lines of a view in which a command is filled in, checked and confirmed.

The values above it stay live. First come the fields, with what is allowed now and why. Enter asks the gateway; only
then does typing `yes` send the command. A form looks unlike navigation, and only what lowers risk is sent by one key.
"""

from __future__ import annotations

import enum

from textual.events import Key
from textual.message import Message

from console.display.formats import hour_minute
from console.display.ink import Ink
from console.display.islanding_text import abortable
from console.display.language import say, words
from console.display.viewmodel import Model
from console.display.wrapping import columns, cut, wrap
from console.tui.canvas import Canvas
from console.tui.commands import ABORT_KEY
from console.tui.diff_widget import DiffWidget
from console.tui.form_fields import BLACK_START_WORD, CommandForm, Field, value_hint
from console.tui.keystrokes import edited, printable
from console.tui.order_details import Assessment, consequence_lines, detail_lines, fitted_rows
from dispatch.model.orders import IN_PERCENT, IN_WATTS
from dispatch.wording.formatting import span

STATUS_ROWS = 2
DETAIL_ROWS = {
    "drill.start": 6,
    "order.stop": 3,
    "order.end": 1,
    "order.enable": 1,
    "order.disable": 2,
    "island.reset": 1,
    "island.black_start": 1,
}
OTHER_DETAIL_ROWS = 5  # what is replaced, and four of what it does
HOLD = "order.hold"
LOWER_RISK_KEYS = ("H", "S")  # hold and stop
FIELD_STEPS = {"tab": 1, "shift+tab": -1}
CHOICE_STEPS = {"down": 1, "up": -1}


class Stage(enum.Enum):
    """How far a command has come."""

    EDIT = "edit"
    CONFIRM = "confirm"  # the confirmation word is being typed
    SENT = "sent"


class OrderForm(DiffWidget, can_focus=True):
    """Opened by the order controller, hidden otherwise. Posts what the keys ask for; sends nothing itself."""

    fresh_only = False

    class CheckRequested(Message):
        """Enter in a field: may it be done as written?"""

    class Confirmed(Message):
        """The confirmation word was typed: do it."""

    class Edited(Message):
        """A field was changed: what is allowed may have changed with it."""

    class Cancelled(Message):
        """Nothing is to be done."""

    def __init__(self) -> None:
        super().__init__(id="order-form")
        self.form = CommandForm("", "")
        self.stage = Stage.EDIT
        self.assessment = Assessment()
        self.replaced_order_id: str | None = None  # in force when it was checked: no other order is replaced
        self.typed_word = ""  # of the confirmation
        self.refusal = ""  # of the last attempt; stands until something is typed
        self._wrong_word = ""  # what was entered in place of the confirmation word; stands until something is typed
        self._field_index = 0
        self._rows = OTHER_DETAIL_ROWS
        self._edited_fields: set[int] = set()  # those whose preset text was changed

    def open(self, form: CommandForm) -> None:
        """Show a form to be filled in."""
        self.form, self.assessment, self.replaced_order_id = form, Assessment(), None
        self._edited_fields.clear()
        self._field_index = 1 if form.fields and len(form.fields[0].choices) == 1 else 0  # 1: nothing to choose in it
        self.set_stage(Stage.EDIT)
        self._rows = self._needed_rows()
        self.styles.height = 1 + self._detail_rows + bool(form.fields) + STATUS_ROWS
        self.display = True
        self.screen.set_focus(self)  # at once: `focus` waits for a turn, and the next key may be here already
        self.redraw()

    def close(self) -> None:
        """Hide it."""
        if self.display:
            self.display = False
            self.screen.set_focus(None)

    def set_stage(self, stage: Stage, refusal: str = "") -> None:
        """Go to another stage, with the refusal that leads there, if one does."""
        self.stage, self.refusal, self._wrong_word = stage, refusal, ""
        if stage is not Stage.CONFIRM:
            self.typed_word = ""
        self.redraw()

    def take_back(self) -> None:
        """A confirmation that was pasted does not count."""
        if self.display and self.stage is Stage.CONFIRM:
            self.set_stage(Stage.CONFIRM)
            self.typed_word = ""
            self.redraw()

    def show_assessment(self, assessment: Assessment) -> None:
        """Show what is allowed now, or what is against it."""
        self.assessment = assessment
        self.redraw()

    @property
    def _detail_rows(self) -> int:
        return self._rows

    def _needed_rows(self) -> int:
        """Rows between title and fields; one more where limits from outside are told."""
        published = None if self.model is None else self.model.published
        limited = published is not None and (published.signals or published.grid_events or published.decision.contacts)
        return DETAIL_ROWS.get(self.form.id, OTHER_DETAIL_ROWS + bool(limited))

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def paint(self, canvas: Canvas, model: Model) -> None:
        """A line with title and keys; how things stand and what is allowed; the fields; what comes next."""
        canvas.put(1, 0, "━" * (canvas.width - 2))
        keys = self._key_hints()
        x = canvas.put(3, 0, f" {cut(self.form.title, canvas.width - columns(keys) - 11)} ", Ink.BOLD)
        if breaks := self.assessment.breaks:
            canvas.fit(x, 0, [f" {breaks} ", " ▲ "], Ink.MEDIUM)
        canvas.right(canvas.width - 3, 0, f" {keys} ", Ink.DIM)
        refused = self.assessment.problem is not None or self.refusal != ""
        asked = self.stage is not Stage.EDIT or self.form.id == HOLD  # a hold is sent without another question
        lines = consequence_lines(self.assessment, model) if asked else []
        lines = lines or detail_lines(self.form, self.assessment, model, refused)
        for y, (text, ink) in enumerate(fitted_rows(lines, canvas.width - 2, self._detail_rows), start=1):
            canvas.put(1, y, text, ink)
        y = 1 + self._detail_rows
        if self.form.fields:
            self._draw_fields(canvas, y, model)
            y += 1
        self._draw_status(canvas, y)

    def _key_hints(self) -> str:
        """The keys that work now."""
        if self.stage is not Stage.EDIT:
            back = say("keys.back") if self.stage is Stage.CONFIRM else ""
            return " · ".join(filter(None, (back, say("keys.hold_stop") if self._lower_risk_keys_work else "")))
        if not self.form.fields:
            return say("keys.cancel")
        next_field = say("keys.next") if len(self.form.fields) > 1 else ""
        choose = say("keys.choose") if len(self.form.fields[self._field_index].choices) > 1 else ""
        return " · ".join(filter(None, (choose, next_field, say("keys.cancel_then"))))

    def _draw_fields(self, canvas: Canvas, y: int, model: Model) -> None:
        """Each field behind its label, and what a time in it means."""
        x = 1
        for n, field in enumerate(self.form.fields):
            x = self._draw_field(canvas, x, y, n, field)
            if note := self._time_note(field, model):
                x = canvas.put(x, y, note) + 1

    def _draw_field(self, canvas: Canvas, x: int, y: int, index: int, field: Field) -> int:
        """Draw one field, with the cursor if it has the focus. Returns the column after it."""
        active = index == self._field_index and self.stage is Stage.EDIT
        ink = Ink.BOLD if active else Ink.DIM
        x = canvas.put(x, y, f"{field.label} ", Ink.DIM)
        width = max(3, min(field.width, canvas.width - x - 3))
        x = canvas.put(x, y, "[", ink)
        shown = end_of(field.text, width - 1)
        end = canvas.put(x, y, shown, Ink.BOLD if active else Ink.PLAIN)
        if active:
            canvas.put(end, y, " ", Ink.REVERSE)
        return canvas.put(x + width, y, "]", ink) + 1

    def _time_note(self, field: Field, model: Model) -> str:
        """When the order would end, behind its duration; how long it would stand, behind its end."""
        preview = self.assessment.preview
        if preview is None or model.now_utc_s is None:
            return ""
        if field.name == "for":
            return say("form.until", time=hour_minute(model.now_utc_s + preview.for_s, model.timezone))
        return say("form.in", span=span(preview.for_s)) if field.name == "by" and field.text else ""

    def _draw_status(self, canvas: Canvas, y: int) -> None:
        """Two rows: why it is refused, else what it would do and how to go on."""
        width = canvas.width - 2
        problem = (say("form.refused", why=self.refusal), Ink.MEDIUM) if self.refusal else self.assessment.problem
        if self.stage is Stage.SENT:
            canvas.put(1, y, say("form.sent"), Ink.BOLD)
        elif problem is not None and (self.refusal or self.stage is Stage.EDIT):
            for n, line in enumerate(wrap(problem[0], width, STATUS_ROWS)):
                canvas.put(1, y + n, line, problem[1])
        elif self.stage is Stage.CONFIRM:
            canvas.put(1, y, cut(self._effect(), width))
            self._draw_confirmation(canvas, y + 1)
        else:
            word = self.form.confirm_word
            for n, line in enumerate(wrap(self._effect(), width, 1)):
                canvas.put(1, y + n, line)
            how = say("form.enter_then_type", word=word) if word else say("form.enter_executes")
            canvas.put(1, y + 1, how, Ink.DIM)

    def _draw_confirmation(self, canvas: Canvas, y: int) -> None:
        """The word to type, and what is typed of it."""
        x = canvas.put(1, y, self._wrong_word, Ink.MEDIUM)
        x = canvas.put(x, y, f"{say('form.type')} ", Ink.DIM)
        x = canvas.put(x, y, self.form.confirm_word, Ink.BOLD)
        x = canvas.put(x, y, f" {say('form.and_enter')} ", Ink.DIM)
        x = canvas.put(x, y, self.typed_word, Ink.BOLD)
        canvas.put(x, y, " ", Ink.REVERSE)

    def _effect(self) -> str:
        """What it would do, in one line; how to write the value while there is nothing to say."""
        form, preview = self.form, self.assessment.preview
        if form.kind is None:
            warn = form.confirm_word == BLACK_START_WORD
            return say("form.nobody") if warn else ""
        needs_value = form.kind in IN_WATTS | IN_PERCENT
        if preview is None or (needs_value and not form.text("value")):
            return value_hint(form.kind)
        notes = "".join(f"; {words(note)}" for note in preview.notes)
        old, new = words(preview.old), words(preview.new)
        return say("form.effect", old=old, new=new, span=span(preview.for_s), notes=notes)

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Every key is for the form, except ctrl+c, the one that aborts while there is something to abort, and those of
        hold and stop where they cannot be text.
        """
        if key == ABORT_KEY and self.model is not None and abortable(self.model):
            return False
        if key in LOWER_RISK_KEYS and self._lower_risk_keys_work:
            return False
        return key != "ctrl+c"

    @property
    def _lower_risk_keys_work(self) -> bool:
        """Whether the keys for hold and stop work now. Not while a word is typed: the S of `YES` is no stop."""
        if self.stage is Stage.CONFIRM:
            return not self.typed_word
        return self.stage is Stage.SENT or not self.form.fields

    def on_key(self, event: Key) -> None:
        """Type, move, check, confirm, go back."""
        if not self.check_consume_key(event.key, event.character):
            return
        event.stop()
        event.prevent_default()
        if self.stage is Stage.EDIT:
            self._edit_key(event)
        elif self.stage is Stage.CONFIRM:
            self._confirm_key(event)

    def _edit_key(self, event: Key) -> None:
        """A key while the fields are filled in."""
        if event.key == "escape":
            self.post_message(self.Cancelled())
        elif event.key == "enter":
            self.post_message(self.CheckRequested() if self.form.confirm_word else self.Confirmed())
        elif event.key in FIELD_STEPS and self.form.fields:
            self._field_index = (self._field_index + FIELD_STEPS[event.key]) % len(self.form.fields)
            self.redraw()
        elif self.form.fields:
            self._type_in_field(event)

    def _confirm_key(self, event: Key) -> None:
        """A key while the confirmation word is typed."""
        if event.key == "escape":
            self.set_stage(Stage.EDIT)
            return
        word = self.typed_word.strip()
        if event.key != "enter":
            self._wrong_word = ""
            longest = len(self.form.confirm_word) + 1
            self.typed_word = edited(self.typed_word, event.key, event.character)[:longest]
        elif word.lower() == self.form.confirm_word:
            self.post_message(self.Confirmed())
            return
        else:
            wrong = say("form.wrong_word", word=repr(word)) if word else say("form.no_word")
            self._wrong_word = f"{wrong} "
            self.typed_word = ""
        self.redraw()

    def _type_in_field(self, event: Key) -> None:
        """A key in a field: choose, or edit. The first character typed replaces the preset text."""
        field = self.form.fields[self._field_index]
        writes = printable(event.character)
        if event.key in CHOICE_STEPS and field.choices:
            at = field.choices.index(field.text) if field.text in field.choices else 0
            text = field.choices[(at + CHOICE_STEPS[event.key]) % len(field.choices)]
        else:
            replaces = writes and self._field_index not in self._edited_fields
            text = edited("" if replaces else field.text, event.key, event.character)
        if text != field.text or writes:
            self._edited_fields.add(self._field_index)
        if text != field.text:
            self.form = self.form.with_text(self._field_index, text)
            self.refusal = ""
            self.redraw()
            self.post_message(self.Edited())


def end_of(text: str, width: int) -> str:
    """The end of a text that takes at most so many columns: what was typed last is seen."""
    while columns(text) > width:
        text = text[1:]
    return text
