"""A battery in steps of minutes: exact energy, no lag, no taper but the one its BMS reports for the step.

For replays over weeks, for which the 20 ms physics of the twin would take days. Powers are watts at the AC terminals,
> 0 discharges.
"""

from __future__ import annotations

from dispatch.config import BatteryConfig, PcsRatings


class CoarseBattery:
    """One battery behind one PCS, between soc_min and soc_max."""

    def __init__(self, config: BatteryConfig, pcs: PcsRatings, soc_pct: float) -> None:
        self.config, self.pcs = config, pcs
        self.stored_kwh = config.energy_kwh * soc_pct / 100
        self.w = 0.0  # of the last step

    @property
    def soc_pct(self) -> float:
        """State of charge, % of rated energy."""
        return 100 * self.stored_kwh / self.config.energy_kwh

    def limits_w(self, dt_s: float) -> tuple[float, float]:
        """(charge, discharge), both >= 0, that can be held for all of `dt_s`."""
        config, hours = self.config, dt_s / 3600
        room_kwh = config.energy_kwh * config.soc_max_pct / 100 - self.stored_kwh
        spare_kwh = self.stored_kwh - config.energy_kwh * config.soc_min_pct / 100
        charge_w = max(room_kwh, 0.0) / config.charge_efficiency / hours * 1000
        discharge_w = max(spare_kwh, 0.0) * config.discharge_efficiency / hours * 1000
        return min(charge_w, self.pcs.charge_w), min(discharge_w, self.pcs.discharge_w)

    def step(self, w: float, dt_s: float) -> float:
        """Let `w`, as far as the limits allow, flow for `dt_s`. Returns what flowed."""
        charge_w, discharge_w = self.limits_w(dt_s)
        self.w = w = min(max(w, -charge_w), discharge_w)
        dc_w = w / self.config.discharge_efficiency if w > 0 else w * self.config.charge_efficiency
        self.stored_kwh -= dc_w * dt_s / 3.6e6
        return w
