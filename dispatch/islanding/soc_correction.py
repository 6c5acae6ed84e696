"""Corrects a wrong SoC at the ends of a battery: it is full when it accepts no more power, and nearly empty when the
power it can deliver falls with the energy delivered.

Both hold for any battery that lowers its limits towards its ends, without its voltage curve. Limits that fall in heat
or cold say nothing about energy, so nothing is concluded near the temperature limits of the site file.
"""

from __future__ import annotations

from collections import deque

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.snapshot import Snapshot

FULL_SHARE = 0.02  # of the rated charging power: a battery that takes no more is full
MARGIN_K = 6.0  # from the temperature limits; closer to them a BMS lowers its limits for their sake
SPAN_PCT = 0.2  # points over which a fall is looked at, at least;
LOOK_BACK_PCT = 0.4  # and at most
STRAIGHT = 0.7  # one half of it must be at least so steep as the other
FALL_SHARE = 0.03  # of the rated power: a fall by less is none


class BmsIndications(msgspec.Struct, frozen=True):
    """Of all batteries as one."""

    full: bool
    discharge_w: (
        float | None
    )  # what can be given now, W at the AC terminals; None: not known, or for temperature's sake

    @classmethod
    def of(cls, config: DispatchConfig, snapshot: Snapshot) -> BmsIndications:
        """Read them off a snapshot."""
        charge_w = 0.0
        for terms in config.batteries:
            battery = next((b for b in snapshot.batteries if b.id == terms.id), None)
            if battery is None or battery.charge_limit_w.good is None:
                return cls(False, None)
            temp_c = battery.temp_c.good
            if temp_c is not None and not terms.temp_min_c + MARGIN_K <= temp_c <= terms.temp_max_c - MARGIN_K:
                return cls(False, None)
            charge_w += battery.charge_limit_w.good
        full = bool(config.batteries) and charge_w <= FULL_SHARE * config.charge_w
        return cls(full, BatteryBank(config, snapshot).discharge_w)


class DischargeTaper:
    """Follows what a battery can give against what has left it."""

    def __init__(self) -> None:
        self._track: deque[tuple[float, float]] = deque()  # Wh given, W that could be given then
        self._wh = 0.0

    def clear(self) -> None:
        """Begin anew."""
        self._track.clear()
        self._wh = 0.0

    def left_wh(
        self, gave_wh: float, possible_w: float | None, drawn_w: float, wh_per_pct: float, rated_w: float
    ) -> float | None:
        """Energy until no more can be given than is drawn, by a straight line; None while nothing falls."""
        if possible_w is None:
            self.clear()
            return None
        self._wh += gave_wh
        track = self._track
        track.append((self._wh, possible_w))
        while self._wh - track[0][0] > LOOK_BACK_PCT * wh_per_pct:
            track.popleft()
        while len(track) > 1 and track[1][1] >= track[0][1]:  # the line begins where the fall does
            track.popleft()
        span_wh, fallen_w = self._wh - track[0][0], track[0][1] - possible_w
        if span_wh < SPAN_PCT * wh_per_pct or fallen_w < FALL_SHARE * rated_w or not self._straight():
            return None
        return max(possible_w - drawn_w, 0.0) * span_wh / fallen_w

    def _straight(self) -> bool:
        """Whether the fall is as steep in its first half as in its second: no kink lies in between."""
        (from_wh, from_w), (mid_wh, mid_w), (to_wh, to_w) = (self._track[n] for n in (0, len(self._track) // 2, -1))
        if not from_wh < mid_wh < to_wh:
            return False
        slopes = (from_w - mid_w) / (mid_wh - from_wh), (mid_w - to_w) / (to_wh - mid_wh)
        return min(slopes) >= STRAIGHT * max(slopes)
