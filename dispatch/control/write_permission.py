"""Withholds setpoints as long as readings that they rest on are not confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from dispatch.control.pcs_limits import Ready, Unit
from dispatch.model.equipment import Meter
from dispatch.model.reasons import Reason
from dispatch.plausibility.checker import PlausibilityCheck


def permitted(
    found: tuple[Unit, ...],
    grid: Meter,
    check: PlausibilityCheck,
    withheld: Mapping[str, Reason] = MappingProxyType({}),
) -> tuple[Unit, ...]:
    """The units, of which those get no setpoint that must not be written to yet.

    After a start two samples of the grid meter and of the PCS must agree; a meter that is silent from the start leads
    to the safe value. While a device says, against others, that the site is off the grid, no PCS is written to: one of
    them may be forming. `withheld`: why a PCS gets none that another controller writes to, or that may be forming.
    """

    def why(unit: Unit) -> Reason | None:
        if check.holds_back:
            return Reason("pcs.off_grid_doubted")
        if unit.id in withheld:
            return withheld[unit.id]
        if grid.w.value is not None and not check.established(grid.id):
            return Reason("pcs.meter_unconfirmed", {"meter": grid.id})
        return None if check.established(unit.id) else Reason("pcs.unconfirmed", {"pcs": unit.id})

    def judged(unit: Unit) -> Unit:
        reason = why(unit) if unit.ready is Ready.READY else None
        return unit if reason is None else msgspec.structs.replace(unit, ready=Ready.WITHHELD, why=reason)

    return tuple(judged(unit) for unit in found)
