"""A snapshot as consoles may take it: a grid meter that stands still is not shown as live, nor reckoned with."""

from __future__ import annotations

import msgspec

from console.link.protocol import Published
from dispatch.model import Quality, Reading


def believed(published: Published) -> Published:
    """The same; while the controller calls the grid meter frozen, its power is kept for display only (STALE).

    So import is no sample of a trend, and a load by balance is not known.
    """
    meter = published.snapshot.grid
    if not published.decision.meter_frozen or meter.w.good is None:
        return published
    kept = msgspec.structs.replace(meter, w=Reading(meter.w.value, meter.w.age_s, Quality.STALE))
    snapshot = msgspec.structs.replace(published.snapshot, grid=kept)
    return msgspec.structs.replace(published, snapshot=snapshot)
