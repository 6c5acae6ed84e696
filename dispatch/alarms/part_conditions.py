"""The alarm of each part of the gateway that has died or hangs: what is known of it, and what follows meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.alarms.facts import Facts
from dispatch.alarms.points import Condition
from dispatch.model.reasons import Reason, joined

# by the name of the part, or the words that it begins with
FOLLOWS: dict[str, Reason] = {
    "planner": Reason("part.planner"),
    "Energy IQ": Reason("part.energy_iq"),
    "price file": Reason("part.price_file"),
    "price feed": Reason("part.price_feed"),
    "archive": Reason("part.archive"),
    "records": Reason("part.records"),
    "audit": Reason("part.audit"),
    "link": Reason("part.link"),
    "users": Reason("part.users"),
    "power reservations": Reason("part.reservations"),
    "node polling": Reason("part.node_polling"),
    "queue of": Reason("part.queue"),
    "metrics": Reason("part.outputs"),
    "mqtt": Reason("part.outputs"),
    "notifications": Reason("part.outputs"),
    "schedule of drills": Reason("part.drills"),
    "setpoints of": Reason("part.setpoints"),
    "orders to": Reason("part.orders"),
    "state directory": Reason("part.state_directory"),
    "memory": Reason("part.memory"),
    "clock": Reason("part.clock"),
}


def part_conditions(facts: Facts) -> Iterator[tuple[str, Condition]]:
    """`part-failed`, for each part that is in trouble, and for those of every site that are not."""
    yield from ((f"part-failed:{name}", Condition(False)) for name in FOLLOWS if not name.endswith((" of", " to")))
    for trouble in facts.parts:
        follows = next((why for name, why in FOLLOWS.items() if trouble.part.startswith(name)), None)
        told = trouble.why if follows is None else joined((trouble.why, follows))
        yield f"part-failed:{trouble.part}", Condition(True, told)
