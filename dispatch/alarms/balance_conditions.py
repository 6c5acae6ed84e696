"""Batteries whose balancing charge is overdue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatch.alarms.points import Condition
from dispatch.config.schema import DispatchConfig
from dispatch.model.balancing import BalanceDue, last_full
from dispatch.model.reasons import Reason

LATE_S = 86400.0  # after the day on which it was due: a plan may wait for the next night


def balance_conditions(
    states: Sequence[BalanceDue], config: DispatchConfig, utc_s: float
) -> Iterator[tuple[str, Condition]]:
    """An alarm for each battery that is balanced from time to time."""
    days = {b.id: b.balance_every_days for b in config.batteries}
    for state in states:
        late, last = utc_s > state.due_utc_s + LATE_S, last_full(state, config.timezone)
        told = Reason("alarm.balance_overdue", {"last": last, "days": days.get(state.battery, 0.0)})
        yield f"balance-overdue:{state.battery}", Condition(late, told)
