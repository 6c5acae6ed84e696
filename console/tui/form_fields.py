"""What may be commanded from the console, as forms: their fields, how each is read, what is sent. Pure.

A power, a percentage, a duration or a time is written as on the command line (`console.value_parsers`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from console.display.formats import zone_named
from console.display.viewmodel import Model, soc_reading
from console.value_parsers import duration, moment, percent, power
from dispatch.model.orders import IN_PERCENT, REASON_MIN, Order, OrderKind
from dispatch.orders.book import words
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
    label: str
    width: int
    text: str = ""
    choices: tuple[str, ...] = ()


class CommandForm(msgspec.Struct, frozen=True):
    """A command as far as it is filled in. `confirm_word` is typed before it is sent; empty: enter alone sends it."""

    id: str  # of the command in the registry
    title: str
    fields: tuple[Field, ...] = ()
    confirm_word: str = CONFIRM_WORD
    kind: OrderKind | None = None

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


FOR, REASON = Field("for", "for", 6), Field("reason", "reason", 28)
ORDER_FORMS: dict[str, tuple[OrderKind, str, tuple[Field, ...]]] = {
    "order.setpoint": (OrderKind.SETPOINT, "battery power", (Field("value", "new", 8), FOR, REASON)),
    "order.import_target": (OrderKind.IMPORT_TARGET, "import target", (Field("value", "new", 8), FOR, REASON)),
    "order.soc_target": (
        OrderKind.SOC_TARGET,
        "SoC target",
        (Field("value", "new", 6), Field("by", "by", 6), REASON),
    ),
    "order.reserve_level": (OrderKind.RESERVE_LEVEL, "reserve level", (Field("value", "new", 6), FOR, REASON)),
    "order.cap": (
        OrderKind.NODE_CAP,
        "cap a node",
        (Field("target", "node", 8), Field("value", "at most", 7), FOR, Field("reason", "reason", 20)),
    ),
    "order.disable": (OrderKind.DISABLE, "disable a device", (Field("target", "PCS", 8), FOR, REASON)),
}
OTHER_FORMS = {
    made.id: made
    for made in (
        CommandForm("order.hold", "Hold the batteries at 0 kW", confirm_word="", kind=OrderKind.HOLD),
        CommandForm(
            "order.stop", "Stop: withdraw all but disabled devices, hold", confirm_word="", kind=OrderKind.HOLD
        ),
        CommandForm("drill.start", "Drill", (Field("minutes", "minutes", 5, "10"), Field("reason", "reason", 40))),
        CommandForm("island.reset", "Fault reset", (Field("reason", "reason", 50),)),
        CommandForm(
            "island.black_start",
            "Black start: the bus will come alive",
            (Field("reason", "reason", 50),),
            BLACK_START_WORD,
        ),
    )
}
HINTS = {
    OrderKind.SETPOINT: "20kW discharges, -20kW charges",
    OrderKind.IMPORT_TARGET: "30kW imports, -5kW exports",
    OrderKind.SOC_TARGET: "80% by 17:00",
    OrderKind.RESERVE_LEVEL: "40%; below the declared reserve it takes an engineer",
    OrderKind.NODE_CAP: "900W; up and down choose the node",
    OrderKind.DISABLE: "not a lock-out: isolate before you touch it",
}


def new_form(command_id: str, model: Model, alarm: str = "") -> CommandForm | str:
    """The form of a command, filled with what the site has; or a line that says why there is nothing to fill in.

    `alarm`: the id of the one that is selected.
    """
    if command_id in ALARM_COMMANDS:
        return _alarm_form(command_id, model, alarm)
    if command_id in ORDER_FORMS:
        kind, title, fields = ORDER_FORMS[command_id]
        return CommandForm(command_id, f"Order  {title}", _with_choices(kind, fields, model), kind=kind)
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
    title, none = "End an order", "no manual order is in force"
    if command_id == "order.enable":
        orders = tuple(o for o in orders if o.kind is OrderKind.DISABLE)
        title, none = "Enable a device: end the order that disables it", "no device is disabled by an order"
    if not orders:
        return none
    ids = tuple(o.id for o in orders)
    fields = (Field("id", "order", 8, ids[0], ids), Field("reason", "reason", 40))
    return CommandForm(command_id, title, fields, confirm_word="")


def _alarm_form(command_id: str, model: Model, selected: str) -> CommandForm | str:
    """The form that takes an alarm off the list, or back; the selected one stands first."""
    published, title, none = model.published, "List an alarm again", "no alarm is shelved or out of service"
    ids = [one.suppression.id for one in published.shelved] if published else []
    if command_id != "alarm.return":
        ids = [alarm.id for alarm in published.alarms] if published else []
        title, none = "Shelve an alarm: it comes back by itself", "no alarm is listed"
    if command_id == "alarm.out_of_service":
        title = "Alarm out of service, until it is taken back"
    if not ids:
        return none
    choices = tuple(sorted(ids, key=lambda id: id != selected))
    time = (Field("for", "for", 6, "2h"),) if command_id == "alarm.shelve" else ()
    fields = (Field("id", "alarm", 24, choices[0], choices), *time, Field("reason", "reason", 26))
    return CommandForm(command_id, title, fields, confirm_word="" if command_id == "alarm.return" else CONFIRM_WORD)


def alarm_parameters(form: CommandForm) -> dict[str, Any]:
    """The parameters of a form about an alarm, as the gateway takes them. Raises FieldError."""
    params: dict[str, Any] = {"id": form.text("id"), "reason": form.text("reason")}
    if form.id != "alarm.return" and len(params["reason"]) < REASON_MIN:
        raise FieldError(f"reason: expected at least {REASON_MIN} characters; it is shown to others and recorded")
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
        raise FieldError(f"{name}: {error.message}") from None


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
        raise FieldError(f"minutes: {form.text('minutes')!r}: expected a number such as 10") from None


def order_text(order: Order, mono_s: float) -> str:
    """An order in force: what, who, how long it has left, why."""
    reason = f": {order.reason}" if order.reason else ""
    left = span(order.left_s(mono_s))
    return f"{words(order.kind, order.value, order.target)}, {order.id} by {order.who}, {left} left{reason}"
