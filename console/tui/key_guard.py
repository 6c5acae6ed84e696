"""What a key may do now: the read-only lock, and what is said before the console is left. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import hour_minute
from console.display.islanding_text import abortable, off_grid
from console.display.language import say
from console.display.viewmodel import Model
from console.tui.commands import COMMANDS, ORDERING
from dispatch.model.orders import Order

LOWERS_RISK = ("drill.abort", "order.hold", "order.stop")  # these always work


def refused_by_lock(model: Model, action: str) -> str:
    """Why a command's action is refused while the console is locked; empty: it is not."""
    command = next((c for c in COMMANDS if c.action == action), None)
    if not model.locked or command is None or action not in ORDERING or command.id in LOWERS_RISK:
        return ""
    return say("lock.refused", what=command.label)


def leave_warning(model: Model, *, stops_gateway: bool) -> str:
    """What is lost, or goes on, when the console is left now; empty: nothing. Said once, the second key leaves."""
    if stops_gateway and abortable(model):
        return say("leave.aborts")
    if stops_gateway and off_grid(model):
        return say("leave.off_grid")
    orders = model.published.orders if model.published else ()
    return _ending_with_gateway(orders) if stops_gateway else _own_in_force(model, orders)


def _ending_with_gateway(orders: Sequence[Order]) -> str:
    """A gateway drops its orders as it ends, whoever gave them."""
    if len(orders) == 1:
        return say("leave.one_ends", id=orders[0].id, who=orders[0].who)
    return say("leave.many_end", n=len(orders)) if orders else ""


def _own_in_force(model: Model, orders: Sequence[Order]) -> str:
    """Orders of this user go on when the console is left."""
    user = model.welcome.user if model.welcome else ""
    own = [o for o in orders if o.who == user or o.who.endswith(f" as {user}")]
    if not own:
        return ""
    last = max(own, key=lambda order: order.ends_utc_s)
    until = hour_minute(last.ends_utc_s, model.timezone)
    if len(own) == 1:
        told, end = say("leave.own_one", id=last.id, who=last.who, until=until), say("leave.x_ends_one")
    else:
        told, end = say("leave.own_many", n=len(own), user=user, until=until), say("leave.x_ends_many")
    return told if model.locked else f"{told}, {end}"
