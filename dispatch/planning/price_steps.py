"""Which reasons of a plan's steps are about prices. A console asks this, and loads nothing else of the planning."""

from __future__ import annotations

from dispatch.model.reasons import Reason

FOR_PRICE = frozenset(
    {
        "step.import_paid",
        "step.charge_for_price",
        "step.charge_for_later",
        "step.export",
        "step.cheaper_later",
        "step.dear_now",
        "step.kept_for_price",
        "step.charge_later",
    }
)


def for_price(reason: Reason) -> bool:
    """Whether a step is as it is for the sake of prices."""
    inner = reason.figures.get("step")
    return reason.code in FOR_PRICE or (isinstance(inner, Reason) and for_price(inner))
