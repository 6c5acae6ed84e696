"""Checks of a `[[contact]]`: that it can do what it is for, and is where it can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatch.config.contact_terms import PROTECTIVE, ContactStepTerms, OperatorLimits
from dispatch.config.cross_checks import Finding
from dispatch.config.schema import GridConfig
from drivers.contacts.config import ContactDevice


def contact_place(contact: ContactDevice) -> Iterator[Finding]:
    """Its inputs, at a Modbus module or a GPIO chip."""
    if contact.url == "twin":
        yield "url", contact.url, "the address of an I/O module; the twin has no contacts"
    if (contact.second_address, contact.second_bit) == (contact.address, contact.bit):
        yield "second_address", contact.second_address, "another input than the first"
    for key, bit in (("bit", contact.bit), ("second_bit", contact.second_bit)):
        if bit and contact.input not in ("holding", "input"):
            yield key, bit, f'no bit of a {contact.input} input; or input = "holding" or "input"'


def contact_lines(contact: ContactDevice) -> Iterator[Finding]:
    """What only GPIO lines have, and what they need."""
    gpio = bool(contact.gpio_chip)
    if gpio != (contact.input == "gpio"):
        wanted = '"gpio", because url is a GPIO chip' if gpio else "gpio:///dev/gpiochip0 or another chip as url, too"
        yield "input", contact.input, wanted
    if gpio and contact.bias == "none" and contact.closed_reads is None:
        yield "bias", contact.bias, "closed_reads as well: nothing else tells what a closed contact reads"
    if not gpio and (contact.bias != "pull_up" or contact.closed_reads is not None):
        yield "bias", contact.bias, "neither bias nor closed_reads: these are of GPIO lines"


def contact_limits(contact: ContactDevice) -> Iterator[Finding]:
    """The limits of the grid operator's steps, and of nothing else."""
    if contact.purpose == "grid_operator" and not contact.limits:
        yield "purpose", contact.purpose, "export_limit_w or another limit: what is allowed while it is active"
    if contact.purpose != "grid_operator" and contact.limits:
        yield "purpose", contact.purpose, '"grid_operator", because export_limit_w or another limit is given'


def contact_wires(contact: ContactDevice) -> Iterator[Finding]:
    """A protective contact whose broken wire shows."""
    if contact.purpose in PROTECTIVE and contact.normally == "open" and contact.second_address is None:
        expected = '"closed", or a second_address: a broken wire to a single open contact goes unnoticed'
        yield "normally", contact.normally, expected


def charge_limits(section: str, steps: Sequence[OperatorLimits], grid: GridConfig) -> Iterator[Finding]:
    """§14a EnWG is about connections at low voltage."""
    for n, contact in enumerate(steps):
        if contact.charge_limit_w is not None and grid.connection != "low-voltage":
            expected = f'no charge_limit_w: §14a EnWG is for low voltage, and [grid] connection is "{grid.connection}"'
            yield f"{section}[{n}].charge_limit_w", contact.charge_limit_w, expected


def lines_of_their_own(contacts: Sequence[ContactDevice]) -> Iterator[Finding]:
    """A GPIO line is given out once."""
    taken: dict[tuple[str, int], str] = {}
    for n, contact in enumerate(contacts):
        for key, line in (("address", contact.address), ("second_address", contact.second_address)):
            if not contact.gpio_chip or line is None:
                continue
            owner = taken.setdefault((contact.gpio_chip, line), f"contact[{n}].{key}")
            if owner != f"contact[{n}].{key}":
                yield f"contact[{n}].{key}", line, f"a line of its own; {owner} has it"


def coded_steps(contacts: Sequence[ContactDevice], steps: Sequence[ContactStepTerms]) -> Iterator[Finding]:
    """Steps that wires of the site can say, each combination once; wires that say something."""
    wires = {contact.id for contact in contacts if contact.purpose == "operator_wire"}
    taken: dict[tuple[frozenset[str], frozenset[str]], int] = {}
    for n, step in enumerate(steps):
        yield from ((f"contact_step[{n}].{key}", id, expected) for key, id, expected in _wires(step, wires))
        key = frozenset(step.wires), frozenset(step.active)
        if taken.setdefault(key, n) != n:
            expected = f"another combination; contact_step[{taken[key]}] has it already"
            yield f"contact_step[{n}].active", list(step.active), expected
    unused = wires - {id for step in steps for id in step.wires}
    for n, contact in enumerate(contacts):
        if contact.id in unused:
            yield f"contact[{n}].purpose", contact.purpose, "a [[contact_step]] that names it in its wires"


def _wires(step: ContactStepTerms, wires: set[str]) -> Iterator[Finding]:
    for id in step.wires:
        if id not in wires:
            yield "wires", id, 'the id of a [[contact]] with purpose = "operator_wire"'
    for id in step.active:
        if id not in step.wires:
            yield "active", id, "one of its wires"


CHECKS = (contact_place, contact_lines, contact_limits, contact_wires)
