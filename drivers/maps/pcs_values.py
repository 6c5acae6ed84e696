"""Keeps what was read of a PCS by its device map, with its age, and tells powers and limits at its AC terminals.

Powers in W, > 0 discharges. Ages are machine seconds; no device is asked here.
"""

from __future__ import annotations

import msgspec

from dispatch.config.battery_ratings import ac_of_dc_w
from dispatch.config.schema import BatteryConfig
from dispatch.model.clock import Clock
from dispatch.model.readings import Quality, Reading
from drivers.maps.battery import dc_limit
from drivers.maps.decoding import Decoded
from drivers.maps.hybrid import AcPowers, ac_powers
from drivers.maps.schema import DeviceMap
from drivers.sample import Sample

SLOW_STALE_S = 5.0  # machine seconds after which slow values no longer count
TERM_STALE_S = 3.0  # machine seconds after which a measured value is no term of a recipe any more


class PcsValues:
    """The values of the poll classes `once`, `fast` and `slow`, as they were read last."""

    def __init__(self, device_map: DeviceMap, clock: Clock, battery: BatteryConfig | None) -> None:
        """`battery`: its efficiency turns DC into AC power; None: without losses."""
        self._map, self._clock, self._battery = device_map, clock, battery
        self.once: dict[str, Decoded | None] = {}
        self.fast: dict[str, Decoded | None] = {}
        self.slow: dict[str, Decoded | None] = {}
        self.fast_s = self.slow_s = float("-inf")  # when they were read, on `clock`

    def outdate(self) -> None:
        """A new connection: what was read before is too old for anything."""
        self.fast_s = self.slow_s = float("-inf")

    def sample(self, name: str) -> Sample:
        """The sample that has this value, with its age."""
        if name in self.fast:
            return Sample(self.fast)
        if name not in self.slow:
            return Sample(self.once)
        age_s = max(self._clock.mono_s() - self.slow_s, 0.0)
        quality = Quality.GOOD if age_s <= SLOW_STALE_S * self._clock.speed else Quality.STALE
        return Sample(self.slow, age_s, quality)

    def terms(self) -> dict[str, float | None]:
        """The measured values that are fresh enough to be terms of a recipe."""
        fresh = self._clock.mono_s() - self.fast_s <= TERM_STALE_S * self._clock.speed
        values = {**self.once, **(self.fast if fresh else {})}
        powers = self._ac_powers() if fresh else None
        if powers is not None:
            values["pv_w"] = powers.pv_w  # a setpoint of the whole inverter is AC
        return {name: value for name, value in values.items() if isinstance(value, float)}

    def power(self) -> tuple[Reading, bool]:
        """Its AC power without PV, and whether that is an estimate by the battery's DC power and its efficiency."""
        fast = Sample(self.fast)
        if "w" in self._map.values:
            return fast.reading("w"), False
        if (powers := self._ac_powers()) is not None:
            return fast.of(powers.battery_w), False
        dc_w, terms = fast.number("battery_w"), self._battery
        return fast.of(dc_w if dc_w is None or terms is None else ac_of_dc_w(terms, dc_w)), True

    def ac_limit(self, way: str) -> Reading:
        """What the battery may be charged or discharged with, at the AC terminals, W >= 0."""
        limit, terms = dc_limit(self.sample, way), self._battery
        if limit.value is None or terms is None:
            return limit
        sign = 1.0 if way == "discharge" else -1.0
        return msgspec.structs.replace(limit, value=sign * ac_of_dc_w(terms, sign * limit.value))

    def _ac_powers(self) -> AcPowers | None:
        """What battery and PV of a hybrid give at its AC terminals, where the inverter measures that."""
        fast = Sample(self.fast)
        return ac_powers(fast.number("battery_w"), fast.number("pv_w"), fast.number("ac_w"))
