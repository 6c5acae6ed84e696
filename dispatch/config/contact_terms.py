"""What dispatch needs of a `[[contact]]`: its purpose, how long it must stand, what it limits."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Purpose = Literal[
    "epo", "fire", "gas", "na_protection", "cooling_fault", "door", "grid_operator", "operator_wire", "alarm"
]
# While one of these is active the battery is held at 0 W, and afterwards until somebody has acknowledged it.
PROTECTIVE = frozenset({"epo", "fire", "gas", "na_protection"})


class OperatorLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a step of the grid operator's allows."""

    export_limit_w: (
        Annotated[
            float,
            Meta(
                ge=0,
                description="Grid operator's step: highest export at the PCC while it is active, such as 60 %, 30 "
                "% or 0 % of what was agreed.",
            ),
        ]
        | None
    ) = None
    import_limit_w: (
        Annotated[
            float,
            Meta(
                ge=0,
                description="Grid operator's step: highest import at the PCC while it is active. The battery does not "
                "go below the reserve for it.",
            ),
        ]
        | None
    ) = None
    charge_limit_w: (
        Annotated[
            float,
            Meta(
                ge=0,
                description="Grid operator's step: highest power with which the batteries are charged from the grid "
                "while it is active, as by §14a EnWG (low voltage only). What PV gives beyond the load may be charged "
                "on top, and the load is not limited.",
            ),
        ]
        | None
    ) = None
    production_limit_w: (
        Annotated[
            float,
            Meta(
                ge=0,
                description="Grid operator's step: highest power of all PV inverters together while it is active, such "
                "as 60 %, 30 % or 0 % of what is installed. Held by those with `curtail = true`.",
            ),
        ]
        | None
    ) = None

    @property
    def limits(self) -> bool:
        """Whether it limits anything while it is active."""
        return not (
            self.export_limit_w is None
            and self.import_limit_w is None
            and self.charge_limit_w is None
            and self.production_limit_w is None
        )


class ContactTerms(OperatorLimits, frozen=True, kw_only=True):
    """`[[contact]]` as far as dispatch uses it."""

    id: Annotated[str, Meta(description="Name of the contact.")]
    purpose: Annotated[
        Purpose,
        Meta(
            description="`epo`, `fire`, `gas`, `na_protection` (grid and plant protection): the battery goes to 0 W "
            "and stays there until the contact is back and somebody has acknowledged the alarm `contact-latched`. "
            "`grid_operator`: one step of the grid operator's, see export_limit_w, production_limit_w, import_limit_w "
            "and charge_limit_w. `operator_wire`: one of several wires that together say a step, see [[contact_step]]. "
            "`cooling_fault`, `door`, `alarm`: alarms."
        ),
    ]
    debounce_s: Annotated[
        float,
        Meta(ge=0, le=10, description="A change counts once it stands in a sample taken this much later. 0: at once."),
    ] = 0.05


class ContactStepTerms(OperatorLimits, frozen=True, kw_only=True):
    """`[[contact_step]]`: a step of the grid operator's that several wires say together, such as two of four."""

    id: Annotated[str, Meta(min_length=1, max_length=32, description="Name of the step.")]
    wires: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            max_length=16,
            description='The [[contact]] with purpose = "operator_wire" that say it; all steps of one receiver have '
            "the same. While they say none of these steps, every step counts that limits anything.",
        ),
    ]
    active: Annotated[
        tuple[str, ...], Meta(description="Those of the wires that are active in this step; the others are not.")
    ] = ()
    settle_s: Annotated[
        float, Meta(ge=0, le=10, description="What the wires say together counts once it has stood for so long.")
    ] = 1.0
