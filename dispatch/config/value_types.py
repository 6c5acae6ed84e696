"""Types of values in the site file, with their allowed range."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Watts = Annotated[float, Meta(ge=0)]
PositiveWatts = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(gt=0, le=1)]
SlowdownPct = Literal[0, 10, 25, 50]  # tiers: the share of throughput that a cap may cost
