"""Steps of the grid operator's that several wires say together: two of four, by a table."""

from __future__ import annotations

import math

import pytest
from small_site import a_snapshot

from dispatch.config.contact_terms import ContactStepTerms, ContactTerms
from dispatch.control.contact_states import ContactStates, contact_reason, operator_limits
from dispatch.model.contacts import Contact, ContactView
from dispatch.model.readings import UNKNOWN, status
from dispatch.wording.catalogue import words

WIRES = ("k1", "k2", "k3", "k4")
TERMS = [ContactTerms(id=id, purpose="operator_wire", debounce_s=0.0) for id in WIRES]
STEPS = [
    ContactStepTerms(id="s100", wires=WIRES, active=("k1", "k2")),
    ContactStepTerms(id="s60", wires=WIRES, active=("k1", "k3"), production_limit_w=36_000),
    ContactStepTerms(id="s30", wires=("k4", "k3", "k2", "k1"), active=("k4", "k1"), production_limit_w=18_000),
    ContactStepTerms(id="s0", wires=WIRES, active=("k2", "k3"), production_limit_w=0, export_limit_w=0),
]


class Receiver:
    """Contacts at 5 Hz that say what the test sets."""

    def __init__(self, kept: tuple[str, ...] = ()) -> None:
        self.states = ContactStates(TERMS, STEPS)
        self.states.adopt(kept)
        self.t_s, self.told = 0.0, list[str]()

    def says(self, *active: str, for_s: float = 1.2, broken: str = "", lost: bool = False) -> dict[str, ContactView]:
        for _ in range(max(1, round(for_s / 0.2))):
            self.t_s = round(self.t_s + 0.2, 6)
            read = {id: status("active" if id in active else "inactive") for id in WIRES}
            read |= {broken: status("broken")} if broken else {}
            contacts = tuple(Contact(id, UNKNOWN if lost else read[id]) for id in WIRES)
            views, events = self.states.step(a_snapshot(self.t_s, contacts=contacts))
            self.told += [event.text for event in events if event.subject.startswith("s")]
        return {view.id: view for view in views}

    def production_w(self, *active: str, **changes: object) -> float:
        return operator_limits(self.says(*active, **changes).values()).production_w  # type: ignore[arg-type]


def test_each_combination_is_a_step() -> None:
    there = Receiver()
    assert there.production_w("k1", "k2") == math.inf
    assert there.production_w("k3", "k1") == 36_000
    assert there.production_w("k1", "k4") == 18_000
    views = there.says("k2", "k3")
    assert (views["s0"].export_limit_w, views["s0"].production_limit_w) == (0, 0)
    assert [views[id].state for id in ("s100", "s60", "s30", "s0")] == ["inactive", "inactive", "inactive", "active"]
    assert operator_limits(views.values()).by == ("s0",)
    assert there.told[-2:] == [
        "step of the grid operator's s30 is not active",
        "step of the grid operator's s0 is active",
    ]


@pytest.mark.parametrize("active", [(), ("k1",), ("k1", "k2", "k3"), ("k3", "k4")])
def test_a_combination_outside_the_table_counts_as_every_step(active: tuple[str, ...]) -> None:
    there = Receiver()
    there.says("k1", "k2")
    views = there.says(*active)
    assert operator_limits(views.values()).production_w == 0
    assert words(contact_reason(views["s60"])).endswith("counts as active: its wires say no step of the site file")
    assert views["s100"].state == "inactive", "it limits nothing"
    assert there.production_w("k1", "k2") == math.inf


def test_what_relays_say_while_they_switch_does_not_count() -> None:
    there = Receiver()
    there.says("k1", "k2")
    assert there.production_w("k1", for_s=0.6) == math.inf
    assert there.production_w("k1", "k3", for_s=0.8) == math.inf
    assert there.production_w("k1", "k3", for_s=0.6) == 36_000
    assert len([text for text in there.told if "says no step" in text]) == 0


def test_a_broken_wire_counts_and_one_that_is_not_read_changes_nothing() -> None:
    there = Receiver()
    assert there.production_w("k1", "k4") == 18_000
    views = there.says(lost=True, for_s=5.0)
    assert (views["s30"].production_limit_w, views["s30"].read) == (18_000, False)
    assert there.production_w("k1", "k4", broken="k2") == 0


def test_a_restart_goes_on_with_the_step_in_force() -> None:
    there = Receiver()
    assert Receiver().says(lost=True)["s30"].state == "lost"
    there.says("k1", "k4")
    again = Receiver(there.states.kept)
    assert again.production_w(lost=True) == 18_000
    assert again.production_w("k1", "k2") == math.inf
