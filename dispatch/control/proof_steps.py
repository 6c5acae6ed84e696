"""Gives one PCS the setpoint that a proof asks for, as an order: whatever limits orders limits it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatch.control.pcs_limits import Ready, Unit
from dispatch.model.orders import Order, OrderKind
from dispatch.model.proofs import Proving
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing

LASTS_S = 60.0  # from now on; it is asked anew at each tick


def with_proof(
    orders: Standing, proving: Proving, setpoints: Mapping[str, float], units: Sequence[Unit], snapshot: Snapshot
) -> Standing:
    """The orders in force with that of the proof, for the sum of all PCS; the others stay at their last setpoints."""
    others = [u for u in units if u.id != proving.pcs_id]
    ready_w = sum(setpoints.get(u.id, 0.0) for u in others if u.ready is Ready.READY)
    order = Order(
        id=f"proof of {proving.pcs_id}",
        kind=OrderKind.SETPOINT,
        value=proving.w + ready_w + sum(u.fixed_w for u in units),
        target="",
        who=proving.who,
        reason="",
        given_utc_s=snapshot.utc_s,
        ends_utc_s=snapshot.utc_s + LASTS_S,
        ends_mono_s=snapshot.mono_s + LASTS_S,
    )
    return msgspec.structs.replace(orders, battery=order)


def given_to_proof(
    proving: Proving, ready: Sequence[Unit], setpoints: Mapping[str, float], total_w: float
) -> dict[str, float]:
    """Setpoints in which the PCS under proof takes what the others, at their last ones, leave of the sum.

    None where the limits of a PCS are against that.
    """
    given = {u.id: setpoints.get(u.id, 0.0) for u in ready}
    if proving.pcs_id not in given:
        return {}
    given[proving.pcs_id] = total_w - (sum(given.values()) - given[proving.pcs_id])
    return given if all(u.low_w <= given[u.id] <= u.high_w for u in ready) else {}
