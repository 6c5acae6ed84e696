"""What limits each step of a plan beside its devices: signals from outside, the export limit, PV that can be limited.

A step counts as limited by a signal if a part of it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.model.plan import NEAR_W, PlanStep
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.step_inputs import StepForecasts

EXPORT_SHARE = 0.95  # of the limit the battery is planned to export: within a quarter hour load and PV flicker


class StepLimits(msgspec.Struct, frozen=True):
    """One value for each step, kW; infinite: no limit. Empty: nowhere."""

    import_kw: tuple[float, ...]  # asked for by signals and grid events
    export_kw: tuple[float, ...]  # up to which export has its price
    charge_kw: tuple[float, ...]  # of the batteries, where charging from the grid is limited
    production_kw: tuple[float, ...]  # of all PV
    curtail_kw: tuple[float, ...] = ()  # the most that PV may be limited by
    curtail_least_kw: tuple[float, ...] = ()  # what an obligation on production takes of it
    import_by: tuple[str, ...] = ()  # who asks for the limit of import, as rules name it (`tightest`); "": nobody

    def why(self, t: int) -> Reason:
        """Why PV is limited in a step, where it is not for the price of export."""
        if self.curtail_least_kw and self.curtail_least_kw[t] > 0:
            return Reason("curtailed.production", {"limit_w": 1000 * self.production_kw[t]})
        return Reason("curtailed.export", {"limit_w": 1000 * self.export_kw[t]})


def limits_of(inputs: PlanInputs, starts: Sequence[int], ahead: StepForecasts) -> StepLimits:
    """What the site file and the signals that are announced or stand leave in each step."""
    lowest = {quantity: _lowest(inputs.signals, quantity, starts) for quantity in Quantity}
    asked = {
        quantity: tuple(math.inf if s is None else s.limit_w / 1000 for s in found)
        for quantity, found in lowest.items()
    }
    surplus_kw = [max(0.0, -net_w) / 1000 for net_w in ahead.net_w]
    free, imported = (math.inf,) * len(starts), asked[Quantity.IMPORT]
    share = inputs.config.curtailable_share
    most, least = tuple[float, ...](), tuple[float, ...]()
    if share > 0:
        own_kw = [share * pv_w / 1000 for pv_w in ahead.pv_w]
        production = zip(ahead.pv_w, asked[Quantity.PRODUCTION], own_kw, strict=True)
        least = tuple(min(own, max(0.0, pv_w / 1000 - limit)) for pv_w, limit, own in production)
        most = tuple(min(own, surplus) for own, surplus in zip(own_kw, surplus_kw, strict=True))
    return StepLimits(
        import_kw=() if imported == free else imported,
        import_by=()
        if imported == free
        else tuple("" if s is None else f"{s.sender} {s.id}" for s in lowest[Quantity.IMPORT]),
        export_kw=_export_kw(inputs.config, asked[Quantity.EXPORT], surplus_kw),
        charge_kw=tuple(limit + surplus for limit, surplus in zip(asked[Quantity.CHARGE], surplus_kw, strict=True)),
        production_kw=asked[Quantity.PRODUCTION],
        curtail_kw=most,
        curtail_least_kw=least,
    )


def _export_kw(config: DispatchConfig, asked_kw: Sequence[float], surplus_kw: Sequence[float]) -> tuple[float, ...]:
    """The battery is planned to export a little less than it may; PV alone may use the whole limit."""
    own_kw = max(0.0, config.grid.export_limit_w - config.grid.export_margin_w) / 1000
    limits = (min(own_kw, asked) for asked in asked_kw)
    return tuple(
        min(limit, max(EXPORT_SHARE * limit, surplus)) for limit, surplus in zip(limits, surplus_kw, strict=True)
    )


def _lowest(signals: Sequence[Signal], quantity: Quantity, starts: Sequence[int]) -> tuple[Signal | None, ...]:
    """The signal with the lowest limit of a quantity in a part of each step; None: there is none."""
    asked = [s for s in signals if s.quantity is quantity]
    if not asked:
        return (None,) * len(starts)

    def lowest(start: int) -> Signal | None:
        there = (s for s in asked if s.overlaps(start, start + QUARTER_S))
        return min(there, key=lambda s: s.limit_w, default=None)

    return tuple(lowest(start) for start in starts)


def limit_notes(config: DispatchConfig, steps: Sequence[PlanStep], limits: StepLimits) -> list[Reason]:
    """What is planned above a limit because no inverter can be limited, or not enough of them."""
    notes, free = [], Reason("pv.not_limited") if config.curtailable_share == 0 else Reason("pv.limited_already")
    produced = [(step.pv_w - step.curtail_w) - 1000 * kw for step, kw in zip(steps, limits.production_kw, strict=True)]
    exported = [-step.grid_w - 1000 * kw for step, kw in zip(steps, limits.export_kw, strict=True)]
    if max(produced) > NEAR_W:
        notes.append(Reason("plan.over_production", {"over_w": max(produced), "pv": free}))
    if max(exported) > NEAR_W:
        notes.append(Reason("plan.over_export", {"over_w": max(exported), "pv": free}))
    return notes
