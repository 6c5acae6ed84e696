"""`[storage]`: where and how the site's records are kept."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

DISPATCH = "dispatch"  # the state under which the record keeps what the site file said, for whoever has only the record


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Telemetry keeps `hot_period_s` rows; at most `flush_s` of them are at risk in a power cut."""

    hot_period_s: Annotated[float, Meta(ge=0.1, le=60)] = 1.0
    flush_s: Annotated[float, Meta(gt=0, le=10)] = 10.0
