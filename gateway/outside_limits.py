"""The limits of import that others set: the grid operator, grid events, a market or a fleet. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dispatch.control.contact_states import operator_limits
from dispatch.events.life_cycle import limit_at
from dispatch.model.signals import Quantity, Sort
from gateway.api.protocol import Published

OPERATOR, EVENT, SIGNAL = "operator", "event", "signal"


def outside_limits(published: Published) -> tuple[tuple[str, float], ...]:
    """Those in force now: a word for whose it is, and the limit in W."""
    return tuple(found for found in _limits(published) if found[1] < math.inf)


def _limits(published: Published) -> Iterator[tuple[str, float]]:
    now_s = published.snapshot.utc_s
    yield OPERATOR, operator_limits(published.decision.contacts).import_w
    for state in published.grid_events:
        yield EVENT, limit_at(state, now_s)
    for view in published.signals:
        signal = view.signal
        if signal.quantity is Quantity.IMPORT and signal.in_force(now_s):
            yield OPERATOR if signal.sort is Sort.OBLIGATION else SIGNAL, signal.limit_w
