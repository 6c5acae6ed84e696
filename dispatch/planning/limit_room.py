"""What import limits of grid events and signals leave for a job, in the hours to come.

Without the battery: its energy is there to keep the limit with the load that runs, not to let more of it start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal
from dispatch.planning.import_path import ImportPath
from dispatch.planning.order_projection import local_iso


class Room(msgspec.Struct, frozen=True):
    """The power, W >= 0, that a job may draw; infinite: no limit stands in its time. `by`: the limit that sets it."""

    w: float = math.inf
    by: Signal | None = None


def limit_room(site: ImportPath, signals: Iterable[Signal], start_s: float, end_s: float) -> Room:
    """The power that a job may draw all the time from `start_s` to `end_s`. `site`: the path without it, to its end."""
    least = Room()
    for signal in signals:
        if signal.quantity is not Quantity.IMPORT:
            continue
        begin_s, until_s = max(start_s, signal.start_utc_s), min(end_s, signal.end_utc_s)
        net_w = [1000 * step.net_kw for step in site.steps if step.overlap_s(begin_s, until_s) > 0]
        room_w = max(0.0, signal.limit_w - max(net_w)) if net_w else math.inf
        if room_w < least.w:
            least = Room(room_w, signal)
    return least


def limit_reason(room: Room, now_utc_s: float, config: DispatchConfig) -> Reason:
    """The limit that sets a room: whose it is, and from when on it stands."""
    if room.by is None:
        return Reason("limit.none")
    return Reason(
        "limit.ahead",
        {
            "by": f"{room.by.sender} {room.by.id}",
            "limit_w": room.by.limit_w,
            "start_local": local_iso(max(now_utc_s, room.by.start_utc_s), config),
        },
    )
