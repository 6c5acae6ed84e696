"""Defines the section `[[contact]]` of the site file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.config.contact_terms import ContactTerms
from drivers.device_keys import (
    MODBUS_URL,
    AnyTransaction,
    ConnectDelay,
    Deadline,
    MaxRegisters,
    Period,
    Spacing,
    Unit,
)
from drivers.modbus.address import EXPECTED
from drivers.modbus.frames import MAX_READ

Address = Annotated[int, Meta(ge=0, le=65_535)]
Bit = Annotated[int, Meta(ge=0, le=15)]


class ContactDevice(ContactTerms, frozen=True, kw_only=True):
    """`[[contact]]`: a dry contact at an input of a Modbus I/O module, or at a GPIO line of this machine.

    A wire that breaks opens the circuit. A single contact that is closed at rest therefore counts as active then; two
    inputs that must be opposite to each other also show a short circuit.
    """

    url: Annotated[
        str,
        Meta(
            pattern=rf"^({MODBUS_URL}|gpio:///dev/gpiochip[0-9]{{1,3}})$",
            description="Where the module is, as the url of a [[pcs]]; or `gpio:///dev/gpiochip0`, a GPIO chip of this "
            'machine, with input = "gpio".',
            extra={"expected": f"gpio:///dev/gpiochip0, {EXPECTED}"},
        ),
    ]
    unit: Unit = 1
    deadline_s: Deadline | None = None
    period_s: Period | None = None
    connect_delay_s: ConnectDelay = 0.0
    spacing_s: Spacing = 0.0
    max_registers: MaxRegisters = MAX_READ
    any_transaction: AnyTransaction = False
    input: Annotated[
        Literal["discrete", "coil", "holding", "input", "gpio"],
        Meta(
            description="Where the module shows it: `discrete` input (function 2), `coil` (1), or a bit of a `holding` "
            "(3) or `input` (4) register. `gpio`: a line of a GPIO chip."
        ),
    ]
    address: Annotated[
        Address,
        Meta(description="Address of the input or register on the wire, or number of the GPIO line; the first is 0."),
    ]
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
    bias: Annotated[
        Literal["pull_up", "pull_down", "none"],
        Meta(
            description="The resistor of a GPIO line. `pull_up`: the contact is wired to ground, and closed reads low; "
            "`pull_down`: to the supply, and closed reads high; `none`: there is one outside, see closed_reads."
        ),
    ] = "pull_up"
    closed_reads: (
        Annotated[
            Literal["low", "high"],
            Meta(description="What a GPIO line reads while the contact is closed; needed with bias none."),
        ]
        | None
    ) = None

    @property
    def gpio_chip(self) -> str:
        """The GPIO chip that it is on; empty: it is at a Modbus module."""
        return self.url.removeprefix("gpio://") if self.url.startswith("gpio://") else ""

    @property
    def closed_is_high(self) -> bool:
        """Whether its GPIO lines read high while they are connected through."""
        return (self.closed_reads or ("high" if self.bias == "pull_down" else "low")) == "high"

    @property
    def terms(self) -> ContactTerms:
        """What dispatch needs to know of it."""
        return ContactTerms(**{name: getattr(self, name) for name in ContactTerms.__struct_fields__})
