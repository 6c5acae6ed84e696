"""Defines the section of the site file that says which way PV panels look."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class PlaneTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`[[plane]]`: PV panels that look the same way. With them the PV forecast follows the sun.

    An inverter may have several; either every `[[pv]]` has planes, or none. Needs `[site] latitude_deg` and
    `longitude_deg`.
    """

    pv: Annotated[str, Meta(description="The `id` of the `[[pv]]` that these panels feed.")]
    tilt_deg: Annotated[float, Meta(ge=0, le=90, description="Tilt of the panels. 0: flat, 90: upright.")]
    azimuth_deg: Annotated[
        float,
        Meta(ge=0, lt=360, description="Where the panels look, clockwise from north: 90 east, 180 south, 270 west."),
    ]
    peak_w: Annotated[
        float, Meta(gt=0, description="Peak power of these panels; those of an inverter add up to its peak_w.")
    ]
