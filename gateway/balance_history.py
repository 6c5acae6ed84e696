"""Reads from the record when each battery was full last; the controller's memory knows a later time, or the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.control.balancing import DAY_S, NEAR_PCT
from dispatch.model.balancing import BalanceMemory
from dispatch.model.forecast import QUARTER_S
from storage.reader import Archive, NoRecords, QueryTimeout, RecordDamaged
from storage.signals import soc_signal

TIMEOUT_S = 2.0  # of all that is read at the start (`bootstrap.START_READ_S`)


def read_balanced(
    state_dir: Path, config: DispatchConfig, now_utc_s: float, known: Mapping[str, BalanceMemory]
) -> tuple[dict[str, BalanceMemory], str]:
    """The batteries that the record shows at their full mark for long enough, within `balance_every_days`.

    Then, why that is not known; empty: it is. Those of which the controller's memory tells (`known`) are not looked up.
    """
    batteries = [b for b in config.batteries if b.balance_every_days > 0 and not (b.id in known and known[b.id].seen)]
    if not batteries:
        return {}, ""
    found, end_s = {}, now_utc_s // QUARTER_S * QUARTER_S
    try:
        with closing(Archive(state_dir, timeout_s=TIMEOUT_S)) as archive:
            for battery in batteries:
                name, begin_s = soc_signal(battery.id), end_s - DAY_S * max(1.0, battery.balance_every_days)
                history = archive.history([name], begin_s, end_s, QUARTER_S)
                utc_s = last_full_utc_s(battery, history["t"], history["signals"][name], history["step_s"])
                if utc_s is not None:
                    found[battery.id] = BalanceMemory(utc_s, True)
    except (RecordDamaged, QueryTimeout) as error:
        return {}, f"when batteries were full last cannot be read, they count as not seen: {error}"
    except NoRecords:
        return {}, ""
    return found, ""


def last_full_utc_s(
    battery: BatteryConfig, starts_utc_s: Sequence[float], soc_pct: Sequence[float | None], step_s: float
) -> float | None:
    """The end of the last run of steps with a mean SoC at the full mark that is long enough; None: there is none."""
    needed, run, last = max(1, math.ceil(battery.balance_hold_s / step_s)), 0, None
    for start_s, mean_pct in zip(starts_utc_s, soc_pct, strict=True):
        run = run + 1 if mean_pct is not None and mean_pct >= battery.balance_soc_pct - NEAR_PCT else 0
        if run >= needed:
            last = start_s + step_s
    return last
