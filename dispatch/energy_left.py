"""What a battery really holds, learnt from the energy it gives against the SoC it reports.

Rated energy and reported health say what a battery should give; age, cold and a BMS that counts wrong say otherwise.
So one point of SoC is weighed: AC energy out over points of SoC gone, over whole points, newer ones counting more. That
needs no model of the battery and holds whatever took the energy. An SoC that is off by a constant cannot be seen that
way; it is seen when the BMS recalibrates: a jump that no energy explains. Until then the SoC is taken to be wrong by up
to `soc_error_pct`, and the low estimate is made with that.
"""

from __future__ import annotations

import msgspec

from dispatch.config import DispatchConfig

JUMP_PCT = 1.0  # SoC moved by this much more than the energy explains, between two readings: recalibrated
GAP_S = 5.0  # readings further apart than this say nothing about energy
SEGMENT_PCT = 1.0  # energy is weighed over whole points
PRIOR_PCT = 1.0  # the rated energy counts as much as this many points seen
HALF_PCT = 30.0  # points after which what was learnt counts half
AFTER_JUMP_PCT = 1.5  # how wrong the SoC may be after a recalibration
UNKNOWN_SHARE, LEARNT_SHARE, LEARN_PCT = 0.25, 0.05, 5.0  # how wrong the energy per point may be, at first and later
BELIEVABLE = (0.3, 1.3)  # of what the rating says


class EnergyMemory(msgspec.Struct, frozen=True):
    """What was learnt, for a restart."""

    wh: float = 0.0
    pct: float = 0.0
    recalibrated: bool = False


class EnergyLeft:
    """All batteries of a site as one, by the site's SoC and the sum of PCS power."""

    def __init__(self, config: DispatchConfig) -> None:
        efficiency = min((b.discharge_efficiency for b in config.batteries), default=1.0)
        charging = min((b.charge_efficiency for b in config.batteries), default=1.0)
        self._round_trip = efficiency * charging
        self._rated_wh_per_pct = config.energy_kwh * 1000 * efficiency / 100
        self._terms = config.ride_through
        self._memory = EnergyMemory()
        self._last: tuple[float, float] | None = None  # mono, SoC
        self._anchor_pct: float | None = None
        self._wh = 0.0  # given since the anchor
        self.soc_pct: float | None = None

    def memory(self) -> EnergyMemory:
        """What to keep for a restart."""
        return self._memory

    def restore(self, memory: EnergyMemory) -> None:
        """Take over what was kept."""
        self._memory = memory

    @property
    def learnt_pct(self) -> float:
        """Points of SoC that the estimate rests on."""
        return self._memory.pct

    @property
    def wh_per_pct(self) -> float:
        """AC energy that one point of SoC gives, Wh."""
        seen = self._memory
        return (seen.wh + PRIOR_PCT * self._rated_wh_per_pct) / (seen.pct + PRIOR_PCT)

    @property
    def soc_error_pct(self) -> float:
        """How wrong the reported SoC may be."""
        most_pct = self._terms.soc_error_pct
        return min(AFTER_JUMP_PCT, most_pct) if self._memory.recalibrated else most_pct

    def usable_wh(self) -> float | None:
        """AC energy down to the cut-off, best estimate; None while the SoC is not known."""
        if self.soc_pct is None:
            return None
        return max(self.soc_pct - self._terms.cutoff_pct, 0.0) * self.wh_per_pct

    def low_wh(self) -> float | None:
        """The same with SoC and energy per point as wrong as they may be."""
        if self.soc_pct is None:
            return None
        doubt = LEARNT_SHARE + (UNKNOWN_SHARE - LEARNT_SHARE) * max(1 - self._memory.pct / LEARN_PCT, 0.0)
        points = max(self.soc_pct - self.soc_error_pct - self._terms.cutoff_pct, 0.0)
        return points * self.wh_per_pct * (1 - doubt)

    def update(self, mono_s: float, soc_pct: float | None, battery_w: float | None) -> bool:
        """Take in a tick; `battery_w` > 0 discharges. True when the BMS has just recalibrated."""
        if soc_pct is None or battery_w is None:
            return False
        last, self._last, self.soc_pct = self._last, (mono_s, soc_pct), soc_pct
        if last is None or mono_s - last[0] > GAP_S or self._anchor_pct is None:
            self._weigh_from(soc_pct)
            return False
        gave_wh = battery_w * (mono_s - last[0]) / 3600 * (1.0 if battery_w > 0 else self._round_trip)
        if abs(last[1] - soc_pct - gave_wh / self.wh_per_pct) > JUMP_PCT:
            self._memory = msgspec.structs.replace(self._memory, recalibrated=True)
            self._weigh_from(soc_pct)
            return True
        self._wh += gave_wh
        gone_pct = self._anchor_pct - soc_pct
        if gone_pct >= SEGMENT_PCT:
            self._learn(gone_pct)
            self._weigh_from(soc_pct)
        elif gone_pct <= -SEGMENT_PCT:
            self._weigh_from(soc_pct)
        return False

    def _weigh_from(self, soc_pct: float) -> None:
        self._anchor_pct, self._wh = soc_pct, 0.0

    def _learn(self, gone_pct: float) -> None:
        share = self._wh / gone_pct / self._rated_wh_per_pct
        if not BELIEVABLE[0] <= share <= BELIEVABLE[1]:
            return
        keep = 0.5 ** (gone_pct / HALF_PCT)
        seen = self._memory
        self._memory = EnergyMemory(seen.wh * keep + self._wh, seen.pct * keep + gone_pct, seen.recalibrated)
