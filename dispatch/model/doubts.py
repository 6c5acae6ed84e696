"""Defines a doubt: one reading that `dispatch.plausibility` does not believe."""

from __future__ import annotations

import msgspec

from dispatch.model.reasons import Reason


class Doubt(msgspec.Struct, frozen=True):
    """One reading that is not believed, and why."""

    device_id: str
    reading: str  # "power", "SoC"
    why: Reason  # with figure, bound, and the key of the site file that the bound follows from
