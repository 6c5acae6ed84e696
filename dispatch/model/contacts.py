"""Defines contacts: what a dry contact says, and what follows from it."""

from __future__ import annotations

import msgspec

from dispatch.config.contact_terms import PROTECTIVE
from dispatch.model.readings import UNKNOWN, Status


class Contact(msgspec.Struct, frozen=True):
    """A contact as its input reads. `state`: active, inactive, or broken where two inputs contradict each other."""

    id: str
    state: Status = UNKNOWN


class ContactView(msgspec.Struct, frozen=True):
    """A contact as it counts. `state`: active, inactive, broken, or lost while its input is not read."""

    id: str
    purpose: str
    state: str
    since_mono_s: float
    read: bool = True  # False: its input is not read now, and `state` is the last known
    latched: bool = False  # protective: it was active, and nobody has acknowledged it since
    export_limit_w: float | None = None  # in force now, by the grid operator
    import_limit_w: float | None = None

    @property
    def stops(self) -> bool:
        """Whether it holds the battery at 0 W. What is broken or lost counts as active."""
        return self.purpose in PROTECTIVE and (self.latched or self.state != "inactive")
