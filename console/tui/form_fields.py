"""What may be commanded from the console, as forms: their fields, how each is read, what is sent. Pure.

A power, a percentage, a duration or a time is written as on the command line (`console.value_parsers`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from console.display.formats import zone_named
from console.display.language import say
from console.display.language import words as reason_words
from console.display.viewmodel import Model, soc_reading
from console.value_parsers import duration, moment, percent, power
from dispatch.model.orders import IN_PERCENT, REASON_MIN, Order, OrderKind
from dispatch.orders.book import asked
from dispatch.wording.formatting import span

PLACEHOLDER_REASON = "not said yet"  # sent while only the range is asked for
CONFIRM_WORD, BLACK_START_WORD = "yes", "nobody on the bus"
ENDING = ("order.end", "order.enable")  # commands that end an order in force
ALARM_COMMANDS = ("alarm.shelve", "alarm.out_of_service", "alarm.return")  # their methods on the link


class FieldError(Exception):
    """A field that cannot be sent as it is; the line says what was expected."""


class Field(msgspec.Struct, frozen=True):
    """One field of a form. `choices`: the up and down keys go through them."""

    name: str
    label_code: str  # of its label
    width: int
    text: str = ""
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What stands in front of it."""
        return say(self.label_code)


class CommandForm(msgspec.Struct, frozen=True):
    """A command as far as it is filled in. `confirm_word` is typed before it is sent; empty: enter alone sends it."""

    id: str  # of the command in the registry
    title_code: str  # of the label of its title
    fields: tuple[Field, ...] = ()
    confirm_word: str = CONFIRM_WORD
    kind: OrderKind | None = None

    @property
    def title(self) -> str:
        """What stands above it."""
        text = say(self.title_code) if self.title_code else ""
        return say("form.order", what=text) if self.id in ORDER_FORMS else text

    def has(self, name: str) -> bool:
        """Whether the form has a field of this name."""
        return any(f.name == name for f in self.fields)

    def text(self, name: str) -> str:
        """What is typed in a field, without blanks around it; empty for a field the form does not have."""
        return next((f.text.strip() for f in self.fields if f.name == name), "")

    def with_text(self, index: int, text: str) -> CommandForm:
        """The form with one field's text replaced."""
        fields = tuple(msgspec.structs.replace(f, text=text) if n == index else f for n, f in enumerate(self.fields))
        return msgspec.structs.replace(self, fields=fields)


FOR, REASON = Field("for", "field.for", 6), Field("reason", "field.reason", 28)
POWER, PERCENT = Field("value", "field.new", 8), Field("value", "field.new", 6)
LONG_REASON = Field("reason", "field.reason", 40)
ORDER_FORMS: dict[str, tuple[OrderKind, str, tuple[Field, ...]]] = {
    "order.setpoint": (OrderKind.SETPOINT, "form.setpoint", (POWER, FOR, REASON)),
    "order.import_target": (
        OrderKind.IMPORT_TARGET,
        "form.import_target",
        (POWER, FOR, REASON),
    ),
    "order.soc_target": (
        OrderKind.SOC_TARGET,
        "form.soc_target",
        (PERCENT, Field("by", "field.by", 6), REASON),
    ),
    "order.reserve_level": (
        OrderKind.RESERVE_LEVEL,
        "form.reserve_level",
        (PERCENT, FOR, REASON),
    ),
    "order.cap": (
        OrderKind.NODE_CAP,
        "form.cap",
        (
            Field("target", "field.node", 8),
            Field("value", "field.at_most", 7),
            FOR,
            Field("reason", "field.reason", 20),
        ),
    ),
    "order.disable": (OrderKind.DISABLE, "form.disable", (Field("target", "field.pcs", 8), FOR, REASON)),
}
OTHER_FORMS = {
    made.id: made
    for made in (
        CommandForm("order.hold", "form.hold", confirm_word="", kind=OrderKind.HOLD),
        CommandForm("order.stop", "form.stop", confirm_word="", kind=OrderKind.HOLD),
        CommandForm("drill.start", "form.drill", (Field("minutes", "field.minutes", 5, "10"), LONG_REASON)),
        CommandForm("island.reset", "form.reset", (Field("reason", "field.reason", 50),)),
        CommandForm(
            "island.black_start",
            "form.black_start",
            (Field("reason", "field.reason", 50),),
            BLACK_START_WORD,
        ),
    )
}
HINTED = tuple(kind for kind, _, _ in ORDER_FORMS.values())


def value_hint(kind: OrderKind) -> str:
    """How a value is written, and what it means; nothing for an order without one."""
    return say(f"hint_value.{kind.value}") if kind in HINTED else ""


def new_form(command_id: str, model: Model, alarm: str = "") -> CommandForm | str:
    """The form of a command, filled with what the site has; or a line that says why there is nothing to fill in.

    `alarm`: the id of the one that is selected.
    """
    if command_id in ALARM_COMMANDS:
        return _alarm_form(command_id, model, alarm)
    if command_id in ORDER_FORMS:
        kind, title, fields = ORDER_FORMS[command_id]
        return CommandForm(command_id, title, _with_choices(kind, fields, model), kind=kind)
    if command_id in ENDING:
        return _ending_form(command_id, model)
    return OTHER_FORMS[command_id]


def _with_choices(kind: OrderKind, fields: tuple[Field, ...], model: Model) -> tuple[Field, ...]:
    """The fields, the one of the target with the site's nodes or PCS to choose from."""
    targets = _targets(kind, model)
    if not targets:
        return fields
    return tuple(
        msgspec.structs.replace(f, text=targets[0], choices=targets) if f.name == "target" else f for f in fields
    )


def _targets(kind: OrderKind, model: Model) -> tuple[str, ...]:
    """What an order of this kind may be for: nodes, the deferrable ones first, or PCS."""
    snapshot = model.published.snapshot if model.published else None
    if snapshot is None:
        return ()
    if kind is OrderKind.NODE_CAP:
        return tuple(n.id for n in sorted(snapshot.nodes, key=lambda n: n.critical))
    return tuple(p.id for p in snapshot.pcs) if kind is OrderKind.DISABLE else ()


def _ending_form(command_id: str, model: Model) -> CommandForm | str:
    """The form that ends an order, or why there is none to end."""
    orders = model.published.orders if model.published else ()
    title, none = "form.end", "form.no_order"
    if command_id == "order.enable":
        orders = tuple(o for o in orders if o.kind is OrderKind.DISABLE)
        title, none = "form.enable", "form.none_disabled"
    if not orders:
        return say(none)
    ids = tuple(o.id for o in orders)
    fields = (Field("id", "field.order", 8, ids[0], ids), LONG_REASON)
    return CommandForm(command_id, title, fields, confirm_word="")


def _alarm_form(command_id: str, model: Model, selected: str) -> CommandForm | str:
    """The form that takes an alarm off the list, or back; the selected one stands first."""
    published, title, none = model.published, "form.list_again", "form.none_shelved"
    ids = [one.suppression.id for one in published.shelved] if published else []
    if command_id != "alarm.return":
        ids = [alarm.id for alarm in published.alarms] if published else []
        title, none = "form.shelve", "form.no_alarm"
    if command_id == "alarm.out_of_service":
        title = "form.out_of_service"
    if not ids:
        return say(none)
    choices = tuple(sorted(ids, key=lambda id: id != selected))
    time = (Field("for", "field.for", 6, "2h"),) if command_id == "alarm.shelve" else ()
    fields = (Field("id", "field.alarm", 24, choices[0], choices), *time, Field("reason", "field.reason", 26))
    return CommandForm(command_id, title, fields, confirm_word="" if command_id == "alarm.return" else CONFIRM_WORD)


def alarm_parameters(form: CommandForm) -> dict[str, Any]:
    """The parameters of a form about an alarm, as the gateway takes them. Raises FieldError."""
    params: dict[str, Any] = {"id": form.text("id"), "reason": form.text("reason")}
    if form.id != "alarm.return" and len(params["reason"]) < REASON_MIN:
        raise FieldError(say("field.reason_least", n=REASON_MIN))
    if form.has("for"):
        params["for_s"] = _parsed(form, "for", duration)
    return params


def chosen_order(form: CommandForm, model: Model) -> Order | None:
    """The order in force that a form to end one names."""
    orders = model.published.orders if model.published else ()
    return next((o for o in orders if o.id == form.text("id")), None)


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def order_parameters(form: CommandForm, model: Model, *, incomplete: bool = False) -> dict[str, Any]:
    """The parameters of an order, as the gateway takes them. Raises FieldError.

    incomplete: only the range is asked for; values that any site allows stand for what is not typed yet.
    """
    assert form.kind is not None
    reason = form.text("reason")
    if incomplete and len(reason) < REASON_MIN:
        reason = PLACEHOLDER_REASON
    params: dict[str, Any] = {"kind": form.kind.value, "target": form.text("target"), "reason": reason}
    if form.has("value"):
        typed = form.text("value") or not incomplete
        params["value"] = _value(form, form.kind) if typed else _placeholder_value(form.kind, model)
    if form.has("by"):
        now_s = model.now_utc_s or 0.0
        typed = form.text("by") or not incomplete
        params["by_utc_s"] = _moment(form, now_s, model.timezone) if typed else now_s + 3600
    if (for_s := _duration_s(form, model)) is not None:
        params["for_s"] = for_s
    return params


def _value(form: CommandForm, kind: OrderKind) -> float:
    """The value typed, W or % by kind."""
    return _parsed(form, "value", percent if kind in IN_PERCENT else power)


def _moment(form: CommandForm, now_s: float, timezone: str) -> float:
    """The end typed, POSIX seconds."""
    return _parsed(form, "by", lambda text: moment(text, now_s, zone_named(timezone)))


def _duration_s(form: CommandForm, model: Model) -> float | None:
    """How long the order is to stand; None leaves it to the gateway. A stop stands as long as the site allows."""
    if form.text("for"):
        return _parsed(form, "for", duration)
    return model.limit("order_max_s") if form.id == "order.stop" else None


def _parsed(form: CommandForm, name: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(form.text(name))
    except click.BadParameter as error:
        label = next((f.label for f in form.fields if f.name == name), name)
        raise FieldError(f"{label}: {error.message}") from None


def _placeholder_value(kind: OrderKind, model: Model) -> float:
    """A value that any site allows: 0 W, the declared reserve, the present SoC, 1 kW for a node."""
    if kind is OrderKind.RESERVE_LEVEL:
        return model.limit("reserve_soc_pct") or 50.0
    if kind is OrderKind.SOC_TARGET:
        return round(soc_reading(model).good or 50.0)
    return 1000.0 if kind is OrderKind.NODE_CAP else 0.0


def drill_minutes(form: CommandForm) -> float:
    """How long a drill is to hold, min. Raises FieldError."""
    try:
        return float(form.text("minutes"))
    except ValueError:
        raise FieldError(say("field.minutes_number", text=repr(form.text("minutes")))) from None


def order_text(order: Order, mono_s: float) -> str:
    """An order in force: what, who, how long it has left, why."""
    reason = f": {order.reason}" if order.reason else ""
    what, left = reason_words(asked(order.kind, order.value, order.target)), span(order.left_s(mono_s))
    return say("form.in_force", what=what, id=order.id, who=order.who, left=left, reason=reason)
