"""Tells what the grid meter's power is: import from the grid, a generator's, or not known which.

On a site with a generator the grid meter shows both. What the generator gives is no import: it does not count in the
metering interval, towards the peak or in the bill. Of the time in which the switch does not tell its source, or tells a
generator beside a contact to the grid that is not open, and of readings that may be as old as the generator, nobody
knows; that time is not measured.
"""

from __future__ import annotations

import math
from typing import Literal

from dispatch.config.schema import DispatchConfig
from dispatch.model.islanding import IslandState
from dispatch.model.snapshot import Snapshot


class ImportSource:
    """One step per snapshot."""

    def __init__(self, config: DispatchConfig) -> None:
        self._declared, self._delay_s = config.genset is not None, config.grid.meter_delay_max_s
        self._genset_s = -math.inf  # when the site was last seen on its generator

    def update(self, snapshot: Snapshot, state: IslandState) -> Literal["grid", "genset", "unknown"]:
        """What feeds the meter as it reads now. `state`: of the islanding state machine, at this tick or the last."""
        words = [switch.source.good for switch in snapshot.switches]
        unread = self._declared and None in words
        if "genset" in words or state is IslandState.GENSET:
            self._genset_s = snapshot.mono_s
            apart = all(s.position.good == "open" for s in snapshot.switches if s.source.good == "genset")
            return "genset" if apart and not unread else "unknown"
        return "unknown" if unread or snapshot.mono_s - self._genset_s <= self._delay_s else "grid"
