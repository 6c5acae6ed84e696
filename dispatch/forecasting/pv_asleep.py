"""Determines which silent PV inverters are asleep: they switch themselves off without sun, and give 0 W until dawn."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatch.forecasting.sun import Place, elevation_range_deg
from dispatch.model.equipment import Pv
from dispatch.model.readings import reading, status
from dispatch.model.snapshot import Snapshot

FADED = 0.02  # of peak power: what an inverter still gives before it switches itself off
LOW_SUN_DEG = 5.0  # below it an inverter that faded is asleep,
UP_SUN_DEG = 6.0  # and above it no longer
SUN_PERIOD_S = 10.0  # how often the sun is computed


class _Inverter(msgspec.Struct):
    """What is known of one inverter."""

    peak_w: float
    last_w: float | None  # its last good reading; None: never read
    asleep: bool = False
    lost: bool = False  # silent while the sun was up: a night does not explain it


class SleepingInverters:
    """Follows the PV inverters of a site from snapshot to snapshot."""

    def __init__(
        self, peaks_w: Mapping[str, float], place: Place | None, timezone: str, last_w: float | None = None
    ) -> None:
        """peaks_w: peak power of each inverter. last_w: PV power of the whole site when it was last recorded."""
        share = None if last_w is None else last_w / sum(peaks_w.values()) if peaks_w else None
        self._inverters = {
            id: _Inverter(peak_w, None if share is None else share * peak_w) for id, peak_w in peaks_w.items()
        }
        self._place, self._timezone = place, timezone
        self._sun_due_s, self._sun_deg = -SUN_PERIOD_S, (0.0, 0.0)

    def mark(self, snapshot: Snapshot, grid_tied: bool) -> tuple[Snapshot, tuple[str, ...]]:
        """The snapshot with 0 W for silent inverters where there is no sun; and the ids of those that fell asleep now.

        An inverter is asleep if it had faded before it became silent and the sun is low, or other inverters of the
        site show that there is no light. With the sun certainly down even one that was lost by day gives 0 W; its
        alarm stays. Off the grid (not `grid_tied`) a silent inverter stays unknown: it may feed the island.
        """
        silent = [pv for pv in snapshot.pv if pv.w.good is None]
        for pv in snapshot.pv:
            if pv.w.good is not None:
                inverter = self._inverters[pv.id]
                inverter.last_w, inverter.asleep, inverter.lost = pv.w.good, False, False
        if not silent or not grid_tied:
            return snapshot, ()
        dark = self._others_dark(snapshot)
        before = {id for id, inverter in self._inverters.items() if inverter.asleep}
        parts = tuple(self._judged(pv, snapshot, dark) if pv.w.good is None else pv for pv in snapshot.pv)
        fallen = tuple(id for id, inverter in self._inverters.items() if inverter.asleep and id not in before)
        return msgspec.structs.replace(snapshot, pv=parts), fallen

    def _judged(self, pv: Pv, snapshot: Snapshot, others_dark: bool) -> Pv:
        inverter = self._inverters[pv.id]
        low_deg, high_deg = self._sun(snapshot)
        down = high_deg < 0
        faded = inverter.last_w is not None and inverter.last_w <= FADED * inverter.peak_w
        low = low_deg < (UP_SUN_DEG if inverter.asleep else LOW_SUN_DEG)
        without_light = faded and (low or others_dark)
        if low_deg >= UP_SUN_DEG and not without_light:
            inverter.lost = True
        inverter.asleep = not inverter.lost and (without_light or (down and inverter.last_w is None))
        if not down and not inverter.asleep:
            return pv
        state = status("asleep") if inverter.asleep else pv.state
        return Pv(pv.id, w=reading(0.0), state=state, asleep=inverter.asleep)

    def _others_dark(self, snapshot: Snapshot) -> bool:
        """Whether other inverters answer, and all of them give next to nothing."""
        seen = [(pv.w.good, self._inverters[pv.id].peak_w) for pv in snapshot.pv if pv.w.good is not None]
        return bool(seen) and all(w <= FADED * peak_w for w, peak_w in seen)

    def _sun(self, snapshot: Snapshot) -> tuple[float, float]:
        if snapshot.mono_s - self._sun_due_s >= 0 or snapshot.mono_s < self._sun_due_s - SUN_PERIOD_S:
            self._sun_due_s = snapshot.mono_s + SUN_PERIOD_S
            self._sun_deg = elevation_range_deg(snapshot.utc_s, self._place, self._timezone)
        return self._sun_deg
