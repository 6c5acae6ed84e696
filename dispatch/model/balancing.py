"""What is known of the balancing charges of batteries: when each was full last, and by when it is to be again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import fsum
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config.battery_ratings import full_kwh
from dispatch.config.schema import DispatchConfig
from dispatch.model.reasons import Reason


class BalanceDue(msgspec.Struct, frozen=True):
    """A battery that is to be charged to the full mark of its BMS."""

    battery: str
    due_utc_s: float
    last_utc_s: float | None  # when it was last full for as long as is asked; None: not seen since watching began


class BalanceMemory(msgspec.Struct, frozen=True):
    """What a restart keeps of one battery."""

    since_utc_s: float  # when it was last full, or when watching began
    seen: bool  # it was full then


def marks_kwh(config: DispatchConfig, balance: Sequence[BalanceDue]) -> tuple[float, float]:
    """(energy stored with the batteries that are due full and the others at soc_max; rated energy of those due)."""
    due = {state.battery for state in balance}
    batteries = [b for b in config.batteries if b.id in due]
    more = fsum(max(0.0, b.balance_soc_pct - b.soc_max_pct) / 100 * b.energy_kwh for b in batteries)
    return full_kwh(config) + more, fsum(b.energy_kwh for b in batteries)


def last_full(state: BalanceDue, timezone: str) -> Reason:
    """When a battery was full last, as far as it was seen."""
    if state.last_utc_s is None:
        return Reason("balance.never")
    return Reason("balance.last", {"last_local": local(state.last_utc_s, timezone)})


def local(utc_s: float, timezone: str) -> str:
    """The site's time, ISO 8601."""
    return datetime.fromtimestamp(utc_s, ZoneInfo(timezone)).isoformat(timespec="minutes")
