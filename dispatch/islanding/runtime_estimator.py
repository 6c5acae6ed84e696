"""Estimates the energy left in a battery, from the energy it delivers per point of SoC it reports.

Rated energy and reported health say what a battery should deliver; age, cold and a wrong BMS change that. So the energy
of one point of SoC is measured: AC energy out over points of SoC gone, over whole points, newer ones counting more.
That needs no model of the battery and holds whatever used the energy.

A constant error of the SoC cannot be seen that way. It is seen in three ways (`soc_correction` has the last two):

* the BMS recalibrates: a jump that no energy explains (`dispatch/plausibility/soc.py` confirms it), after which the
  SoC is right, once the energy moved since agrees;
* the battery is full;
* the battery is nearly empty: the power it can deliver falls with the energy delivered, and a straight line gives the
  point at which it will be too little.

Until one of them was seen the SoC is assumed wrong by up to `soc_error_pct`, and a correction slowly fades to that; the
low estimate is made with the SoC at its worst. A reported SoC stands still at 0 and 100 %; there it is continued by
energy, and so it is while no SoC is read.
"""

from __future__ import annotations

import msgspec

from dispatch.config.battery_ratings import worst_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.islanding.confirmed_soc import ConfirmedSoc, CountMemory
from dispatch.islanding.soc_correction import BmsIndications, DischargeTaper
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.snapshot import Snapshot

JUMP_PCT = 1.0  # SoC moved by this much more than the energy explains, between two readings: recalibrated
GAP_S = 5.0  # readings further apart than this say nothing about energy
SEGMENT_PCT = 1.0  # energy is weighed over whole points
PRIOR_PCT = 1.0  # the rated energy counts as much as this many points seen
HALF_PCT = 30.0  # points after which what was learnt counts half
KNOWN_PCT = 1.5  # how wrong the SoC may be once its error has been found out,
FADE_SHARE = 0.005  # and how much more for each point that goes in or out after that
FULL_S = 10.0  # a charge limit of 0 for so long: a battery that is full, no wrong reading
ENDS_PCT = (0.2, 99.8)  # beyond these a reported SoC may stand still
UNKNOWN_SHARE, LEARNT_SHARE, LEARN_PCT = 0.25, 0.05, 5.0  # how wrong the energy per point may be, at first and later
BELIEVABLE = (0.3, 1.3)  # of what the rating says


class RuntimeMemory(msgspec.Struct, frozen=True):
    """What was learnt, for a restart."""

    wh: float = 0.0
    pct: float = 0.0
    offset_pct: float = 0.0  # reported SoC less the true one, as far as it was found out
    error_pct: float | None = None  # how wrong SoC less the offset may be; None: nothing was found out
    confirmed: CountMemory | None = None


class RuntimeEstimator:
    """All batteries of a site as one, by the site's SoC and the sum of PCS power."""

    def __init__(self, config: DispatchConfig) -> None:
        efficiency = worst_efficiency(config)
        self._config, self._round_trip = config, efficiency.discharge * efficiency.charge
        self._rated_wh_per_pct = config.energy_kwh * 1000 * efficiency.discharge / 100
        self._terms = config.ride_through
        self._memory = RuntimeMemory()
        self._last: tuple[float, float] | None = None  # mono, SoC
        self._basis = ""  # what the SoC rests on, see `_basis_of`
        self._recalibrated = False  # a jump that energy has yet to confirm
        self._anchor_pct: float | None = None
        self._wh = 0.0  # given since the anchor
        self._taper = DischargeTaper()
        self._full_since_s: float | None = None  # since when the BMS takes no more
        self.soc_pct: float | None = None  # as reported, carried on beyond its ends
        self.confirmed = ConfirmedSoc(config)
        self._available = 1.0  # share of the stored energy that is in batteries in service

    def memory(self) -> RuntimeMemory:
        """What to keep for a restart."""
        return msgspec.structs.replace(self._memory, confirmed=self.confirmed.memory())

    def restore(self, memory: RuntimeMemory) -> None:
        """Take over what was kept."""
        self._memory = memory
        self.confirmed.restore(memory.confirmed)

    def recover(self, memory: RuntimeMemory) -> None:
        """Join what was kept and could not be read before the first step: what rests on more points of SoC counts.

        The count that confirms the SoC is that of this run: how much energy moved between the runs is not known.
        """
        if memory.pct > self._memory.pct:
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
        """How wrong the SoC may be, once what was found out of its error is taken off."""
        most_pct, known_pct = self._terms.soc_error_pct, self._memory.error_pct
        return most_pct if known_pct is None else min(known_pct, most_pct)

    def _points_above_cutoff(self, confirmed: bool) -> float | None:
        """SoC above the cut-off; None while SoC is not known."""
        soc_pct, counted_pct = self.soc_pct, self.confirmed.counted_pct
        if soc_pct is None:
            return None
        if confirmed and counted_pct is not None:
            soc_pct = max(soc_pct, counted_pct)
        return max(min(soc_pct - self._memory.offset_pct, 100.0) - self._terms.cutoff_pct, 0.0)

    def usable_wh(self, confirmed: bool = False) -> float | None:
        """AC energy in batteries in service down to the cut-off, best estimate; None while the SoC is not known.

        confirmed: by the energy counted where that is more than a report which nothing else confirms.
        """
        points = self._points_above_cutoff(confirmed)
        return None if points is None else points * self.wh_per_pct * self._available

    def low_wh(self, confirmed: bool = False) -> float | None:
        """The same with SoC and energy per point as wrong as they may be."""
        points = self._points_above_cutoff(confirmed)
        if points is None:
            return None
        sure = max(points - self.soc_error_pct, 0.0) * (1 - self._energy_uncertainty)
        return sure * self.wh_per_pct * self._available

    @property
    def _energy_uncertainty(self) -> float:
        """How wrong the energy per point may be, as a share."""
        return LEARNT_SHARE + (UNKNOWN_SHARE - LEARNT_SHARE) * max(1 - self._memory.pct / LEARN_PCT, 0.0)

    def update(self, snapshot: Snapshot, soc_pct: float | None) -> str:
        """Take in a tick. What has been found out of the SoC's error just now, for the log; mostly empty."""
        found = self._follow(snapshot, soc_pct)
        self.confirmed.update(snapshot, soc_pct, self.wh_per_pct)
        return found

    def _follow(self, snapshot: Snapshot, soc_pct: float | None) -> str:
        battery_w, mono_s = snapshot.pcs_w, snapshot.mono_s
        if battery_w is None:
            return ""
        if soc_pct is None:
            self._carry_on(battery_w, mono_s)
            return ""
        self._available = BatteryBank(self._config, snapshot).available_share
        last, self._last = self._last, (mono_s, soc_pct)
        basis, self._basis = self._basis, _basis_of(snapshot)
        if last is None or mono_s - last[0] > GAP_S or self._anchor_pct is None or self.soc_pct is None:
            self._begin(soc_pct)
            return ""
        gave_wh = self._gave_wh(battery_w, mono_s - last[0])
        if abs(last[1] - soc_pct - gave_wh / self.wh_per_pct) > JUMP_PCT:
            self._begin(soc_pct)
            if "estimated" in (basis, self._basis):  # from a report to the count of energy, or back
                return ""
            self._recalibrated = True
            self._set_error(0.0, self._terms.soc_error_pct)
            self._trust()
            return f"SoC now {soc_pct:.1f} %, remaining runtime is worked out anew"
        self._trust()
        self.soc_pct = soc_pct if ENDS_PCT[0] < soc_pct < ENDS_PCT[1] else self.soc_pct - gave_wh / self.wh_per_pct
        self._fade(abs(gave_wh) / self.wh_per_pct)
        self._weigh(soc_pct, gave_wh)
        return self._check_ends(BmsIndications.of(self._config, snapshot), self.soc_pct, gave_wh, battery_w, mono_s)

    def _gave_wh(self, battery_w: float, dt_s: float) -> float:
        """AC energy taken from the battery, Wh; charged energy counts negative, less the losses of discharging it."""
        return battery_w * dt_s / 3600 * (1.0 if battery_w > 0 else self._round_trip)

    def _carry_on(self, battery_w: float, mono_s: float) -> None:
        """No SoC is read: the last one goes on by energy."""
        last = self._last
        if last is None or self.soc_pct is None or mono_s - last[0] > GAP_S:
            return
        gone_pct = self._gave_wh(battery_w, mono_s - last[0]) / self.wh_per_pct
        self.soc_pct -= gone_pct
        self._last = (mono_s, last[1] - gone_pct)
        self._fade(abs(gone_pct))

    def _begin(self, soc_pct: float) -> None:
        """With an SoC that the energy seen until now does not lead to."""
        self.soc_pct = soc_pct
        self._weigh_from(soc_pct)
        self._taper.clear()

    def _trust(self) -> None:
        """A BMS that has recalibrated is right, once more than its report says so."""
        if self._recalibrated and self._basis == "":
            self._recalibrated = False
            self._set_error(0.0, KNOWN_PCT)

    def _weigh(self, soc_pct: float, gave_wh: float) -> None:
        """Learn the energy of a point, unless the SoC itself is counted from energy."""
        assert self._anchor_pct is not None
        self._wh += gave_wh
        gone_pct = self._anchor_pct - soc_pct
        if gone_pct >= SEGMENT_PCT and self._basis != "estimated":
            self._learn(gone_pct)
        if abs(gone_pct) >= SEGMENT_PCT:
            self._weigh_from(soc_pct)

    def _check_ends(self, cues: BmsIndications, soc_pct: float, gave_wh: float, battery_w: float, mono_s: float) -> str:
        """Full and nearly empty."""
        most_pct = self._terms.soc_error_pct
        self._full_since_s = None if not cues.full else mono_s if self._full_since_s is None else self._full_since_s
        full = self._full_since_s is not None and mono_s - self._full_since_s >= FULL_S
        if full and soc_pct >= 100 - most_pct - 1:
            # A BMS may refuse to charge for other reasons. So when this says that there is more than is reported, only
            # the best estimate believes it: the low one stays with the report.
            error_pct = max(KNOWN_PCT + self._energy_uncertainty * most_pct, 100 - soc_pct)
            return self._accept_error(soc_pct - 100, error_pct, "it is full")
        near_empty = soc_pct <= self._terms.cutoff_pct + 2 * most_pct
        if not near_empty or battery_w <= 0:
            self._taper.clear()
            return ""
        left_wh = self._taper.left_wh(gave_wh, cues.discharge_w, battery_w, self.wh_per_pct, self._config.discharge_w)
        if left_wh is None:
            return ""
        true_pct = self._terms.cutoff_pct + left_wh / self.wh_per_pct
        return self._accept_error(soc_pct - true_pct, KNOWN_PCT, "what it can give falls, it is nearly empty")

    def _accept_error(self, offset_pct: float, error_pct: float, how: str) -> str:
        """Believe an error of SoC, as far as it can be one; said where it is news."""
        most_pct = self._terms.soc_error_pct
        offset_pct = max(-most_pct, min(offset_pct, most_pct))
        news = self._memory.error_pct is None or abs(offset_pct - self._memory.offset_pct) > error_pct
        self._set_error(offset_pct, error_pct)
        return f"SoC reads {offset_pct:+.1f} points wrong ({how}); remaining runtime is worked out anew" if news else ""

    def _set_error(self, offset_pct: float, error_pct: float) -> None:
        self._memory = msgspec.structs.replace(self._memory, offset_pct=offset_pct, error_pct=error_pct)

    def _fade(self, moved_pct: float) -> None:
        known_pct = self._memory.error_pct
        if known_pct is not None and known_pct < self._terms.soc_error_pct:
            self._memory = msgspec.structs.replace(self._memory, error_pct=known_pct + FADE_SHARE * moved_pct)

    def _weigh_from(self, soc_pct: float) -> None:
        self._anchor_pct, self._wh = soc_pct, 0.0

    def _learn(self, gone_pct: float) -> None:
        share = self._wh / gone_pct / self._rated_wh_per_pct
        if not BELIEVABLE[0] <= share <= BELIEVABLE[1]:
            return
        keep = 0.5 ** (gone_pct / HALF_PCT)
        seen = self._memory
        wh, pct = seen.wh * keep + self._wh, seen.pct * keep + gone_pct
        self._memory = msgspec.structs.replace(seen, wh=wh, pct=pct)


def _basis_of(snapshot: Snapshot) -> str:
    """estimated: the SoC of a battery is counted from energy; alone: only its report tells of it; else empty."""
    states = {b.soc_state for b in snapshot.batteries}
    if states & {"carried", "stands_still"}:
        return "estimated"
    return "alone" if "alone" in states else ""
