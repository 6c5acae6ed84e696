"""Defines the section `[[contact]]` of the site file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.config.contact_terms import ContactTerms
from drivers.config import AnyTransaction, ConnectDelay, Deadline, MaxRegisters, Period, Spacing, Unit, Url
from drivers.modbus.frames import MAX_READ

Address = Annotated[int, Meta(ge=0, le=65_535)]
Bit = Annotated[int, Meta(ge=0, le=15)]


class ContactDevice(ContactTerms, frozen=True, kw_only=True):
    """`[[contact]]`: a dry contact at an input of a Modbus I/O module.

    A wire that breaks opens the circuit. A single contact that is closed at rest therefore counts as active then; two
    inputs that must be opposite to each other also show a short circuit.
    """

    url: Url
    unit: Unit = 1
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False
    input: Annotated[
        Literal["discrete", "coil", "holding", "input"],
        Meta(
            description="Where the module shows it: `discrete` input (function 2), `coil` (1), or a bit of a `holding` "
            "(3) or `input` (4) register."
        ),
    ]
    address: Annotated[Address, Meta(description="Address of the input or register on the wire, the first is 0.")]
    bit: Annotated[Bit, Meta(description="The bit of a register, 0 is the lowest.")] = 0
    normally: Annotated[
        Literal["closed", "open"],
        Meta(description="How the contact is at rest. An input with a closed contact reads 1."),
    ] = "closed"
    second_address: (
        Annotated[Address, Meta(description="A second input that is always the opposite. Both alike: wire break.")]
        | None
    ) = None
    second_bit: Annotated[Bit, Meta(description="Its bit, where it is in a register.")] = 0

    @property
    def terms(self) -> ContactTerms:
        """What dispatch needs to know of it."""
        return ContactTerms(**{name: getattr(self, name) for name in ContactTerms.__struct_fields__})
