"""What control makes of a proof of a PCS: the window of the grid meter's delay, its fastest lag, half of its power.

The rule: a site file that states the meter's delay has stated what may happen, and a proof only widens that. Where it
states none, the window that was proven takes the place of the defaults. A PCS with another firmware than proven, or
another device in its place, gets both together, no lag but the fastest, and half of its power until it is proven again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dispatch.config.schema import GridConfig
from dispatch.model.equipment import DeviceHealth, DeviceProof

HALF = 0.5  # of the ratings, for a PCS that is not what it was proven as
LAG_SHARE = 0.75  # of the lowest lag that a proof leaves open: a margin as that of the delay
_UNSAID = GridConfig(fuse_a=1.0, contracted_peak_w=1.0)
DEFAULT = (_UNSAID.meter_delay_min_s, _UNSAID.meter_delay_max_s)  # of a site file that states no delay


class Response(msgspec.Struct, frozen=True):
    """Between which delays the grid meter may lag behind the readings of one PCS, and that one's lag at least, s."""

    delay_min_s: float
    delay_max_s: float
    lag_s: float = 0.0  # 0: as fast as any


def proofs_of(devices: Iterable[DeviceHealth]) -> dict[str, DeviceProof]:
    """The proofs that a snapshot carries, by device."""
    return {d.id: d.proof for d in devices if d.proof is not None}


def response(grid: GridConfig, proof: DeviceProof) -> Response:
    """What control may reckon with."""
    low_s, high_s = max(proof.delay_low_s, 0.0), max(proof.delay_high_s, 0.0)
    changed = proof.changed_utc_s is not None
    if changed or (grid.meter_delay_min_s, grid.meter_delay_max_s) != DEFAULT:
        low_s, high_s = min(low_s, grid.meter_delay_min_s), max(high_s, grid.meter_delay_max_s)
    return Response(low_s, high_s, 0.0 if changed else LAG_SHARE * max(proof.lag_low_s, 0.0))
