"""Defines `[storage]`: how the site's records are kept."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

DISPATCH = "dispatch"  # the state under which the record keeps what the site file said, for whoever has only the record


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[storage]`: how often telemetry is written, and how long it is kept."""

    hot_period_s: Annotated[float, Meta(ge=0.1, le=60, description="Time between two rows of telemetry.")] = 1.0
    flush_s: Annotated[
        float, Meta(gt=0, le=10, description="Time between two writes: what a power cut may lose at most.")
    ] = 10.0
    keep_raw_d: Annotated[
        float, Meta(ge=1, le=3660, description="How long every sample is kept, packed: 8 MB a day at 200 signals.")
    ] = 60.0
    keep_minutes_d: Annotated[
        float,
        Meta(
            ge=40,
            le=3660,
            description="How long roll-ups of minutes are kept, at least as long as samples: 10 MB a day.",
        ),
    ] = 200.0
    keep_quarters_d: Annotated[
        float,
        Meta(
            ge=40,
            le=36600,
            description="How long roll-ups of quarter hours are kept, at least as long as minutes: 0.7 MB a day.",
        ),
    ] = 3660.0
    keep_events_d: Annotated[float, Meta(ge=1, le=36600, description="How long events are kept.")] = 1100.0
    keep_decisions_d: Annotated[float, Meta(ge=1, le=36600, description="How long decisions are kept.")] = 200.0
    keep_jobs_d: Annotated[
        float, Meta(ge=1, le=36600, description="How long is kept what finished jobs drew and cost: 1 kB a job.")
    ] = 1100.0
    pseudonyms_after_d: Annotated[
        float,
        Meta(
            ge=1,
            le=36600,
            description="When users of jobs become pseudonyms and the names of their jobs go: those of a calendar "
            "month, once its last day is so long ago.",
        ),
    ] = 180.0
    disk_cap_mb: Annotated[
        float,
        Meta(
            ge=50,
            description="How large the telemetry in use and the audit may be together. Beyond it the oldest samples "
            "go first; the newest day and the audit stay. Not counted: other files, write-ahead logs of the telemetry, "
            "copies of before a migration, the reserve of `ballast_mb`.",
        ),
    ] = 6000.0
    ballast_mb: Annotated[
        float,
        Meta(
            ge=0,
            le=10_000,
            description="Kept back for a full disk: given up a piece at a time, so that the controller's memory, "
            "audit and events still get on it. 0: none.",
        ),
    ] = 16.0
    unsent_max_mb: Annotated[
        float,
        Meta(
            ge=0,
            description="How much of what is to go is kept for a fleet that has not received it yet: at "
            "most half of `disk_cap_mb`.",
        ),
    ] = 500.0
