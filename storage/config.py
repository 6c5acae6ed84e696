"""Defines `[storage]`: how the site's records are kept."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

DISPATCH = "dispatch"  # the state under which the record keeps what the site file said, for whoever has only the record


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[storage]`: how often telemetry is kept and written."""

    hot_period_s: Annotated[float, Meta(ge=0.1, le=60, description="Time between two rows of telemetry.")] = 1.0
    flush_s: Annotated[
        float, Meta(gt=0, le=10, description="Time between two writes: what a power cut may lose at most.")
    ] = 10.0
