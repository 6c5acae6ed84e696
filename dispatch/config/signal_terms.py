"""What dispatch needs of a `[[signal]]`: which sort of sender it is, how long its signals may last, its failsafe."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.value_types import Watts


class SignalTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`[[signal]]` as far as dispatch uses it."""

    id: Annotated[str, Meta(min_length=1, max_length=32, description="Name of the sender.")]
    sort: Annotated[
        Literal["obligation", "market", "fleet"],
        Meta(
            description="`obligation`: the grid operator; import, export, charging from the grid and PV production, "
            "part of the rule `fuse`. `market`: a load target, import only. `fleet`: import, export and charging. The "
            "last two are the rule `signals`: reserve and manual orders take precedence."
        ),
    ]
    max_s: Annotated[
        float, Meta(ge=60, le=7 * 86_400, description="Longest time that one of its signals may last.")
    ] = 86_400.0
    ahead_s: Annotated[
        float, Meta(ge=0, le=14 * 86_400, description="How long before its start a signal is accepted.")
    ] = 2 * 86_400.0
    heartbeat_s: (
        Annotated[
            float,
            Meta(
                ge=10,
                le=86_400,
                description="After so long without a signed message from it, its failsafe limits hold until the next "
                "one. Not given: no heartbeat is expected.",
            ),
        ]
        | None
    ) = None
    failsafe_import_w: Annotated[Watts, Meta(description="Import limit without heartbeat.")] | None = None
    failsafe_export_w: Annotated[Watts, Meta(description="Export limit without heartbeat.")] | None = None
    failsafe_charge_w: (
        Annotated[Watts, Meta(description="Limit of charging from the grid without heartbeat.")] | None
    ) = None

    @property
    def has_failsafe(self) -> bool:
        """Whether any failsafe limit is stated."""
        return any(w is not None for w in (self.failsafe_import_w, self.failsafe_export_w, self.failsafe_charge_w))
