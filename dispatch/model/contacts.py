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
    charge_limit_w: float | None = None
    production_limit_w: float | None = None
    coded: bool = False  # a step that several wires say together; `broken`: they say no step that is known

    @property
    def limits(self) -> bool:
        """Whether it limits the site now."""
        given = (self.export_limit_w, self.import_limit_w, self.charge_limit_w, self.production_limit_w)
        return any(limit_w is not None for limit_w in given)

    @property
    def stops(self) -> bool:
        """Whether it holds the battery at 0 W. What is broken or lost counts as active."""
        return self.purpose in PROTECTIVE and (self.latched or self.state != "inactive")
