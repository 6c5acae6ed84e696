"""Judges whether a site with more nodes keeps its contract, and what capping that takes.

A metering interval whose mean import is above the contract, after battery and the caps of the replay, is brought down
by further caps where [caps] allows any: at most `max_share` of the load above `idle_w`, less what is capped already.
What they cannot take is above the contract, and the nodes do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatch.billing.bill import Flow
from dispatch.config.schema import DispatchConfig
from dispatch.model.plan import NEAR_W
from dispatch.power_caps.pricing import linear


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay says of contract and caps."""

    over_kw: float  # of the worst interval above the contract, after all that caps can give; 0: it is kept
    over_intervals: int
    capped_kwh: float
    capped_pct: float  # of the load's energy
    capped_h: float  # in intervals with caps
    capped_eur: float | None  # what that is worth by [caps]; None: it has no price

    @property
    def fits(self) -> bool:
        """Whether the contract is kept."""
        return self.over_intervals == 0


def headroom(config: DispatchConfig, flow: Flow) -> Headroom:
    """Of a schedule at the finest step, whose `shed_w` is what the replay capped for the peak."""
    caps, limit_w = linear(config.caps), min(config.grid.contracted_peak_w, config.grid.fuse_w)
    each, hours = config.grid.interval_of_steps_s(flow.step_s) // flow.step_s, flow.step_s / 3600
    shed_w = list(flow.shed_w) or [0.0] * len(flow.load_w)
    grid_w = list(flow.grid_w())
    over_w: list[float] = []
    capped_wh = capped_h = 0.0
    for k in range(0, len(grid_w), each):
        import_w, load_w, taken_w = (_mean(column[k : k + each]) for column in (grid_w, flow.load_w, shed_w))
        length_h = len(grid_w[k : k + each]) * hours
        spare_w = max(0.0, caps.max_share * max(0.0, load_w - caps.idle_w) - taken_w)
        more_w = min(max(0.0, import_w - limit_w), spare_w)
        over_w.append(max(0.0, import_w - limit_w - more_w))
        capped_wh += (taken_w + more_w) * length_h
        capped_h += length_h if taken_w + more_w > NEAR_W else 0.0
    load_wh = sum(flow.load_w) * hours
    priced = caps.value_eur_per_kwh > 0
    return Headroom(
        over_kw=max(over_w, default=0.0) / 1000,
        over_intervals=sum(w > NEAR_W for w in over_w),
        capped_kwh=capped_wh / 1000,
        capped_pct=100 * capped_wh / load_wh if load_wh > 0 else 0.0,
        capped_h=capped_h,
        capped_eur=capped_wh / 1000 * caps.value_eur_per_kwh if priced or capped_wh == 0 else None,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
