"""Simulates the battery: energy with both efficiencies, power taper near full and empty, temperature.

Powers are watts at the AC terminals of its PCS, > 0 discharges. The efficiencies of `[[battery]]` cover everything
between those terminals and the cells, so that in every step, exactly:

    discharging:  energy_wh -= w x dt / discharge_efficiency
    charging:     energy_wh += -w x dt x charge_efficiency
"""

from __future__ import annotations

import math

from dispatch.config.battery_ratings import dc_of_ac_w
from dispatch.config.schema import BatteryConfig
from drivers.twin.config import TwinConfig

EMPTY_TAPER_PCT = 4.0  # below this SoC the BMS lowers the discharge limit in proportion, to 0 at 0 %
FULL_TAPER_PCT = 6.0  # and the charge limit over as much below 100 %
WARM_TAPER_K = 5.0  # below temp_max_c both limits fall in proportion, to 0 at temp_max_c
COLD_SPAN_K = 20.0  # from cold_c down to a quarter of the discharge power; charging stops there
COLD_LOSS_PER_K = 0.008  # of the energy, more internal resistance
HEAT_CAPACITY_J_PER_K_KWH = 10_000.0  # about 10 kg/kWh of cells and racks x 1000 J/(kg K)
COOLING_TIME_S = 3600.0  # time constant towards ambient, with its fans on
EMPTY_V, FULL_V = 650.0, 800.0  # open-circuit voltage, taken as linear in SoC


class TwinBattery:
    """One battery. `charge_w` and `discharge_w` are its limits in its middle range, W at the AC terminals."""

    def __init__(
        self,
        config: BatteryConfig,
        charge_w: float,
        discharge_w: float,
        soc_pct: float,
        ambient_c: float,
        twin: TwinConfig | None = None,
    ) -> None:
        twin = twin or TwinConfig()
        self.config = config
        self.charge_w, self.discharge_w = charge_w, discharge_w
        self.capacity_wh = config.energy_kwh * 1000 * twin.true_health_pct / 100
        self.bias_pct, self._recalibrate_pct, self._cold_c = twin.soc_bias_pct, twin.recalibrate_pct, twin.cold_c
        self.energy_wh = self.capacity_wh * soc_pct / 100
        self.temp_c = self._ambient_c = ambient_c
        self.soh_pct = 98.0
        self.w = 0.0  # of the last step

    @property
    def soc_pct(self) -> float:
        """State of charge, % of capacity."""
        return 100 * self.energy_wh / self.capacity_wh

    @property
    def shown_soc_pct(self) -> float:
        """State of charge as the BMS reports it."""
        return min(100.0, max(0.0, self.soc_pct + self.bias_pct))

    @property
    def _colder_k(self) -> float:
        return max(0.0, self._cold_c - self.temp_c)

    @property
    def v(self) -> float:
        """DC terminal voltage, V."""
        return EMPTY_V + (FULL_V - EMPTY_V) * self.energy_wh / self.capacity_wh

    @property
    def dc_w(self) -> float:
        """Power at the cells, W, > 0 discharges."""
        if self.w <= 0:
            return self.w * self.config.charge_efficiency
        return self.w / (self.config.discharge_efficiency * self._cold_share)

    @property
    def _cold_share(self) -> float:
        return 1.0 if self._colder_k == 0 else max(0.5, 1 - COLD_LOSS_PER_K * self._colder_k)

    def limits_w(self, dt_s: float) -> tuple[float, float]:
        """(charge, discharge) that the BMS allows for the next `dt_s`, both >= 0, W at the AC terminals."""
        config, soc_pct = self.config, self.soc_pct
        warm = (config.temp_max_c - self.temp_c) / WARM_TAPER_K
        if warm <= 0 or self.temp_c < config.temp_min_c:
            return 0.0, 0.0
        warm = min(1.0, warm)
        charge_w = self.charge_w * min(warm, max(0.0, 100 - soc_pct) / FULL_TAPER_PCT)
        discharge_w = self.discharge_w * min(warm, soc_pct / EMPTY_TAPER_PCT)
        if self._colder_k > 0:
            cold = min(1.0, self._colder_k / COLD_SPAN_K)
            charge_w, discharge_w = charge_w * (1 - cold), min(discharge_w, self.discharge_w * (1 - 0.75 * cold))
        if dt_s > 0:  # however long the step, it neither overfills nor overdraws the cells
            room_w = (self.capacity_wh - self.energy_wh) * 3600 / dt_s / config.charge_efficiency
            left_w = self.energy_wh * 3600 / dt_s * config.discharge_efficiency * self._cold_share
            charge_w, discharge_w = min(charge_w, max(0.0, room_w)), min(discharge_w, left_w)
        return charge_w, discharge_w

    def dc_limit_w(self, way: int) -> float:
        """What the BMS allows now, W at the battery's terminals, >= 0; way 0 charging, 1 discharging."""
        w = self.limits_w(0.0)[way]
        return dc_of_ac_w(self.config, w) if way else -dc_of_ac_w(self.config, -w)

    def step(self, w: float, dt_s: float) -> None:
        """Let `w` flow for `dt_s`; `w` must be within `limits_w(dt_s)`."""
        self.w = w
        dc_w = self.dc_w
        self.energy_wh = min(
            self.capacity_wh, max(0.0, self.energy_wh - dc_w * dt_s / 3600)
        )  # limits keep it inside; rounding may not
        if self._recalibrate_pct is not None and self.soc_pct <= self._recalibrate_pct:
            self.bias_pct = 0.0
        loss_w = abs(w - dc_w)
        capacity_j_per_k = HEAT_CAPACITY_J_PER_K_KWH * self.config.energy_kwh
        final_c = self._ambient_c + loss_w * COOLING_TIME_S / capacity_j_per_k
        self.temp_c = final_c + (self.temp_c - final_c) * math.exp(-dt_s / COOLING_TIME_S)
