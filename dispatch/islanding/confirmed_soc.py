"""Keeps the SoC of a site as far as more than its own report speaks for it, for steps that cannot be undone.

An SoC is confirmed by the energy moved since it was reported, by the BMS's limits or by its lowest cell
(`dispatch/plausibility/soc.py`: `Battery.soc_state` "reported"). From the moment on at which nothing but its own report
speaks for it ("alone"), the last confirmed one is counted on by energy. The higher of report and count is then the
confirmed one: a shutdown needs both to be low. After a start there is no count, unless one was kept over a restart.
"""

from __future__ import annotations

import msgspec

from dispatch.config.battery_ratings import worst_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.snapshot import Snapshot

GAP_S = 5.0  # readings of power further apart than this: the battery may have given all that it can
UNKNOWN_S = 900.0  # after so long without power readings, or a gateway, a count says nothing


class CountMemory(msgspec.Struct, frozen=True):
    """The confirmed SoC, for a restart."""

    utc_s: float
    pct: float


class ConfirmedSoc:
    """All batteries of a site as one; steps once per tick."""

    def __init__(self, config: DispatchConfig) -> None:
        efficiency = worst_efficiency(config)
        self._config, self._round_trip = config, efficiency.discharge * efficiency.charge
        self._alone: frozenset[str] = frozenset()  # batteries of whose SoC only their own report tells
        self._pct: float | None = None
        self._last: tuple[float, float] | None = None  # utc, mono
        self._unknown_s = 0.0
        self._kept: CountMemory | None = None

    def memory(self) -> CountMemory | None:
        """What to keep for a restart."""
        if self._last is None or self._pct is None:
            return self._kept
        return CountMemory(self._last[0], self._pct)

    def restore(self, memory: CountMemory | None) -> None:
        """Take over what was kept."""
        self._kept = memory

    @property
    def alone(self) -> bool:
        """Nothing but its own report speaks for the SoC of a battery."""
        return bool(self._alone)

    @property
    def counted_pct(self) -> float | None:
        """The site's SoC by energy while its report is alone; None while it is not, or nothing is counted."""
        return self._pct if self._alone else None

    def update(self, now: Snapshot, soc_pct: float | None, wh_per_pct: float) -> None:
        """Take in a tick. soc_pct: as reckoned with; wh_per_pct: AC energy of a point."""
        was, self._alone = self._alone, self._alone_in(now)
        self._count(now, wh_per_pct)
        if not self._alone:
            if soc_pct is not None:
                self._pct, self._unknown_s = soc_pct, 0.0
        elif self._pct is None or not self._alone <= was:
            known = [pct for pct in (self._pct, BatteryBank(self._config, now).counted_pct) if pct is not None]
            self._pct = max(known, default=None)

    def _alone_in(self, now: Snapshot) -> frozenset[str]:
        """A report that is doubted or not read leaves it as it was."""
        alone = set(self._alone)
        for battery in now.batteries:
            stands_still = battery.soc_state == "stands_still" and battery.soc_counted_pct.value is None
            if battery.soc_state == "alone":
                alone.add(battery.id)
            elif battery.soc_state == "reported" or stands_still:
                alone.discard(battery.id)
        return frozenset(alone)

    def _count(self, now: Snapshot, wh_per_pct: float) -> None:
        """Carry the last one on; where no power is read, by what the PCS can give."""
        last, self._last = self._last, (now.utc_s, now.mono_s)
        dt_s, w = 0.0 if last is None else now.mono_s - last[1], now.pcs_w
        if last is None and self._kept is not None:
            self._pct, dt_s, self._kept = self._kept.pct, max(now.utc_s - self._kept.utc_s, 0.0), None
        if self._pct is None:
            return
        if w is None or dt_s > GAP_S:
            w = self._config.discharge_w
            self._unknown_s += dt_s
        self._pct -= w * dt_s / 3600 * (1.0 if w > 0 else self._round_trip) / wh_per_pct
        if self._unknown_s > UNKNOWN_S:
            self._pct, self._unknown_s = None, 0.0
