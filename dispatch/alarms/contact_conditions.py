"""Determines the alarm conditions of a contact."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.alarms.points import Condition
from dispatch.config.contact_terms import PROTECTIVE
from dispatch.control.contact_states import contact_reason
from dispatch.model.contacts import ContactView

LATCHED = "contact-latched:"  # alarms whose acknowledgement lets the battery go on
ALARM_OF = {"cooling_fault": "contact-cooling", "door": "contact-alarm", "alarm": "contact-alarm"}


def contact_conditions(view: ContactView) -> Iterator[tuple[str, Condition]]:
    """The alarms that a contact of this purpose can raise. One that is not read at all is device-lost."""
    seen = contact_reason(view)
    if view.purpose in PROTECTIVE:
        back = view.state == "inactive"
        yield f"contact-stop:{view.id}", Condition(not back, seen)
        yield f"contact-latched:{view.id}", Condition(back and view.latched, seen)
        return
    lost = view.state == "lost"
    yield f"contact-broken:{view.id}", Condition(None if lost else view.state == "broken", seen)
    if view.purpose == "operator_wire":
        return
    if view.purpose == "grid_operator":
        yield f"grid-operator-limit:{view.id}", Condition(None if lost else view.limits, seen)
    else:
        yield f"{ALARM_OF[view.purpose]}:{view.id}", Condition(None if lost else view.state == "active", seen)


def starts_the_battery(alarm_id: str) -> bool:
    """Whether the battery goes on once this alarm is acknowledged: that takes a console that sees the site."""
    return alarm_id.startswith(LATCHED)
