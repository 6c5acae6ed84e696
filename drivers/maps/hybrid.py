"""Tells the AC powers of a battery and of the PV behind one inverter apart, where a map has their DC powers. Pure.

Powers in W; of the battery > 0 discharges, of the PV >= 0, of the inverter > 0 gives.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_LOSS = 0.25  # of what is converted, besides STANDBY_W: with more the three do not belong together
STANDBY_W = 200.0  # what an inverter may draw itself, and what its readings of one moment may be apart


class AcPowers(NamedTuple):
    """What battery and PV give at the AC terminals."""

    battery_w: float
    pv_w: float


def ac_powers(battery_w: float | None, pv_w: float | None, ac_w: float | None) -> AcPowers | None:
    """The AC power of each from the DC powers and the inverter's AC power: together they are exactly `ac_w`.

    The inverter's losses are shared by how much each moves. So at night they are the battery's, and the PV's while the
    battery rests. None: a power is missing, nothing is converted, or the losses are none that an inverter can have,
    because `ac_w` means something else on this device or is of another moment.
    """
    if battery_w is None or pv_w is None or ac_w is None:
        return None
    moved_w = abs(battery_w) + max(pv_w, 0.0)
    loss_w = battery_w + pv_w - ac_w
    if not moved_w or not -STANDBY_W <= loss_w <= MOST_LOSS * moved_w + STANDBY_W:
        return None
    share = loss_w / moved_w
    return AcPowers(battery_w - share * abs(battery_w), pv_w - share * max(pv_w, 0.0))
