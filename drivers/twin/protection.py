"""Defines when a PCS of the twin leaves the grid by itself: its must-trip windows of voltage and frequency.

Voltages are shares of nominal, frequencies Hz from nominal. The published texts were not at hand; the figures are those
that secondary sources quote. They make the twin behave like a device, they are nobody's settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Profile = Literal["vde-ar-n-4105", "ieee-1547-cat-3"]


class Stage(NamedTuple):
    """Trip when the quantity has been beyond the limit for so long without a break."""

    name: str
    quantity: Literal["v", "hz"]
    side: Literal["below", "above"]
    limit: float
    for_s: float


PROFILES: dict[str, tuple[Stage, ...]] = {
    # Like VDE-AR-N 4105:2018-11, table 2, converters. U> is a 10-minute mean there; held for 10 minutes stands for it.
    "vde-ar-n-4105": (
        Stage("U<<", "v", "below", 0.45, 0.3),
        Stage("U<", "v", "below", 0.80, 3.0),
        Stage("U>", "v", "above", 1.10, 600.0),
        Stage("U>>", "v", "above", 1.25, 0.1),
        Stage("f<", "hz", "below", -2.5, 0.1),
        Stage("f>", "hz", "above", 1.5, 0.1),
    ),
    # Like IEEE 1547-2018, tables 13 and 18, category III defaults, of 60 Hz.
    "ieee-1547-cat-3": (
        Stage("UV2", "v", "below", 0.50, 2.0),
        Stage("UV1", "v", "below", 0.88, 21.0),
        Stage("OV1", "v", "above", 1.10, 13.0),
        Stage("OV2", "v", "above", 1.20, 0.16),
        Stage("UF2", "hz", "below", -3.5, 0.16),
        Stage("UF1", "hz", "below", -1.5, 300.0),
        Stage("OF1", "hz", "above", 1.2, 300.0),
        Stage("OF2", "hz", "above", 2.0, 0.16),
    ),
}


class Protection:
    """Counts how long each stage has been exceeded."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)
        self._beyond_s = [0.0] * len(self._stages)

    def reset(self) -> None:
        """Forget what was counted: the device is off this grid, or has just come to it."""
        self._beyond_s = [0.0] * len(self._stages)

    def step(self, dt_s: float, v_share: float, hz_from_nominal: float) -> str:
        """Let `dt_s` pass at these values. What tripped, as text; empty while nothing did."""
        for n, stage in enumerate(self._stages):
            value = v_share if stage.quantity == "v" else hz_from_nominal
            beyond = value < stage.limit if stage.side == "below" else value > stage.limit
            self._beyond_s[n] = self._beyond_s[n] + dt_s if beyond else 0.0
            if self._beyond_s[n] >= stage.for_s - 1e-9 and beyond:
                unit = "of nominal" if stage.quantity == "v" else "Hz from nominal"
                return f"{stage.name} {stage.side} {stage.limit:g} {unit} for {stage.for_s:g} s"
        return ""
