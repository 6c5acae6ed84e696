"""Simulates a battery in steps of minutes: exact energy, no lag, no taper but the one its BMS reports for the step.

For replays over weeks, for which the 20 ms physics of the twin would take days. Powers are watts at the AC terminals,
> 0 discharges.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.config.schema import BatteryConfig, PcsRatings


class CoarseBattery:
    """One battery between soc_min and soc_max, or its BMS's full mark, behind one PCS or several."""

    def __init__(self, config: BatteryConfig, pcs: Sequence[PcsRatings], soc_pct: float) -> None:
        self.config, self.pcs = config, tuple(pcs)
        self.stored_kwh = config.energy_kwh * soc_pct / 100
        self.w = {p.id: 0.0 for p in pcs}  # of the last step

    @property
    def soc_pct(self) -> float:
        """State of charge, % of rated energy."""
        return 100 * self.stored_kwh / self.config.energy_kwh

    def limits_w(self, dt_s: float) -> dict[str, tuple[float, float]]:
        """(charge, discharge) of each PCS, both >= 0, that all of them can hold together for all of `dt_s`."""
        config, hours = self.config, dt_s / 3600
        top_pct = max(config.soc_max_pct, config.balance_soc_pct if config.balance_every_days > 0 else 0.0)
        room_kwh = config.energy_kwh * top_pct / 100 - self.stored_kwh
        spare_kwh = self.stored_kwh - config.energy_kwh * config.soc_min_pct / 100
        charge_w = max(room_kwh, 0.0) / config.charge_efficiency / hours * 1000
        discharge_w = max(spare_kwh, 0.0) * config.discharge_efficiency / hours * 1000
        charging = min(1.0, charge_w / max(sum(p.charge_w for p in self.pcs), 1.0))
        discharging = min(1.0, discharge_w / max(sum(p.discharge_w for p in self.pcs), 1.0))
        return {p.id: (charging * p.charge_w, discharging * p.discharge_w) for p in self.pcs}

    def step(self, asked_w: dict[str, float], dt_s: float) -> float:
        """Let what each PCS is asked (as before where it is not), as far as the limits allow, flow for `dt_s`.

        Returns what flowed.
        """
        for name, (charge_w, discharge_w) in self.limits_w(dt_s).items():
            self.w[name] = w = min(max(asked_w.get(name, self.w[name]), -charge_w), discharge_w)
            dc_w = w / self.config.discharge_efficiency if w > 0 else w * self.config.charge_efficiency
            self.stored_kwh -= dc_w * dt_s / 3.6e6
        return sum(self.w.values())
