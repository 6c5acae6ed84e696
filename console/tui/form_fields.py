"""What may be commanded from the console, as forms to fill in: fields, what they mean, what is sent. Pure.

The words are those of the command line, and so are the ways to write a power, a percentage, a duration, a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec

from console.display.viewmodel import Model
from console.value_parsers import duration, moment, percent, power
from dispatch.model.orders import Order, OrderKind
from dispatch.orders.book import words
from dispatch.wording.formatting import span

NOT_SAID = "not said yet"  # stands for a reason while only the range is asked for
YES, NOBODY = "yes", "nobody on the bus"


class BadField(Exception):
    """A field that cannot be sent as it is; the line says what was expected."""


class Field(msgspec.Struct, frozen=True):
    """One thing to type. `choices`: up and down go through them."""

    name: str
    label: str
    width: int
    text: str = ""
    choices: tuple[str, ...] = ()


class Form(msgspec.Struct, frozen=True):
    """A command being written. `confirm`: what is to be typed before it is sent; empty: enter alone does it."""

    id: str  # of the command in the registry
    title: str
    fields: tuple[Field, ...] = ()
    confirm: str = YES
    kind: OrderKind | None = None

    def text(self, name: str) -> str:
        """What is typed in a field, without blanks around it; empty for a field the form does not have."""
        return next((f.text.strip() for f in self.fields if f.name == name), "")

    def typed(self, index: int, text: str) -> Form:
        """The form with one field's text replaced."""
        fields = tuple(msgspec.structs.replace(f, text=text) if n == index else f for n, f in enumerate(self.fields))
        return msgspec.structs.replace(self, fields=fields)


FOR, REASON = Field("for", "for", 6), Field("reason", "reason", 28)
ORDERS: dict[str, tuple[OrderKind, str, tuple[Field, ...]]] = {
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
HINTS = {
    OrderKind.SETPOINT: "20kW discharges, -20kW charges",
    OrderKind.IMPORT_TARGET: "30kW imports, -5kW exports",
    OrderKind.SOC_TARGET: "80% by 17:00",
    OrderKind.RESERVE_LEVEL: "40%; below the declared reserve it takes an engineer",
    OrderKind.NODE_CAP: "900W; up and down choose the node",
    OrderKind.DISABLE: "not a lock-out: isolate before you touch it",
}


def form(id: str, model: Model) -> Form | str:
    """The form of a command, filled with what the site has; or a line on why there is nothing to fill in."""
    if id in ORDERS:
        kind, title, fields = ORDERS[id]
        return Form(id, f"Order  {title}", _chosen(kind, fields, model), kind=kind)
    if id == "order.hold":
        return Form(id, "Hold the batteries at 0 kW", confirm="", kind=OrderKind.HOLD)
    if id == "order.stop":
        return Form(id, "Stop: withdraw all but disabled devices, hold", confirm="", kind=OrderKind.HOLD)
    if id in ("order.end", "order.enable"):
        return _end_form(id, model)
    if id == "drill.start":
        return Form(id, "Drill", (Field("minutes", "minutes", 5, "10"), Field("reason", "reason", 40)))
    if id == "island.reset":
        return Form(id, "Fault reset", (Field("reason", "reason", 50),))
    if id == "island.black_start":
        return Form(id, "Black start: the bus will come alive", (Field("reason", "reason", 50),), NOBODY)
    raise KeyError(id)


def _chosen(kind: OrderKind, fields: tuple[Field, ...], model: Model) -> tuple[Field, ...]:
    """The fields with the site's nodes or PCS to choose from."""
    snapshot = model.published.snapshot if model.published else None
    there: tuple[str, ...] = ()
    if snapshot is not None and kind is OrderKind.NODE_CAP:
        there = tuple(n.id for n in sorted(snapshot.nodes, key=lambda n: n.critical))  # deferrable ones first
    elif snapshot is not None and kind is OrderKind.DISABLE:
        there = tuple(p.id for p in snapshot.pcs)
    return tuple(
        msgspec.structs.replace(f, text=there[0], choices=there) if f.name == "target" and there else f for f in fields
    )


def _end_form(id: str, model: Model) -> Form | str:
    orders = model.published.orders if model.published else ()
    if id == "order.enable":
        found = [o for o in orders if o.kind is OrderKind.DISABLE]
        if not found:
            return "no device is disabled by an order"
    else:
        found = list(orders)
        if not found:
            return "no manual order is in force"
    ids = tuple(o.id for o in found)
    title = "Enable a device: end the order that disables it" if id == "order.enable" else "End an order"
    return Form(id, title, (Field("id", "order", 8, ids[0], ids), Field("reason", "reason", 40)), confirm="")


def chosen_order(of: Form, model: Model) -> Order | None:
    """The order in force that a form to end one names."""
    orders = model.published.orders if model.published else ()
    return next((o for o in orders if o.id == of.text("id")), None)


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def wanted(of: Form, model: Model, asking: bool = False) -> dict[str, Any]:
    """The parameters of an order. `asking`: only for the range, so what is missing yet is stood in for.

    Raises BadField.
    """
    assert of.kind is not None
    params: dict[str, Any] = {"kind": of.kind.value, "target": of.text("target"), "reason": of.text("reason")}
    if asking and len(params["reason"]) < 3:
        params["reason"] = NOT_SAID
    read = percent if of.kind in (OrderKind.SOC_TARGET, OrderKind.RESERVE_LEVEL) else power
    if any(f.name == "value" for f in of.fields):
        params["value"] = _neutral(of.kind, model) if asking and not of.text("value") else _read(of, "value", read)
    if any(f.name == "by" for f in of.fields):
        now_s = model.now_utc_s or 0.0
        zone = ZoneInfo(model.timezone)
        typed = not asking or of.text("by")
        params["by_utc_s"] = _read(of, "by", lambda text: moment(text, now_s, zone)) if typed else now_s + 3600
    if of.id == "order.stop" and (most_s := model.limit("order_max_s")) is not None:
        params["for_s"] = most_s
    if of.text("for"):
        params["for_s"] = _read(of, "for", duration)
    return params


def _read(of: Form, name: str, read: Callable[[str], float]) -> float:
    try:
        return read(of.text(name))
    except click.BadParameter as error:
        raise BadField(f"{name}: {error.message}") from None


def _neutral(kind: OrderKind, model: Model) -> float:
    """A value that any site allows, to ask for the range with: 0 W, the declared reserve, the SoC of now, 1 kW."""
    snapshot = model.published.snapshot if model.published else None
    if kind is OrderKind.RESERVE_LEVEL:
        return model.limit("reserve_soc_pct") or 50.0
    if kind is OrderKind.SOC_TARGET:
        return round((snapshot.soc_pct if snapshot else None) or 50.0)
    return 1000.0 if kind is OrderKind.NODE_CAP else 0.0


def minutes(of: Form) -> float:
    """How long a drill is to hold. Raises BadField."""
    try:
        return float(of.text("minutes"))
    except ValueError:
        raise BadField(f"minutes: {of.text('minutes')!r}: expected a number such as 10") from None


def order_words(order: Order, mono_s: float) -> str:
    """An order in force: what, who, how long it has left, why."""
    why = f": {order.reason}" if order.reason else ""
    left = span(order.left_s(mono_s))
    return f"{words(order.kind, order.value, order.target)}, {order.id} by {order.who}, {left} left{why}"
