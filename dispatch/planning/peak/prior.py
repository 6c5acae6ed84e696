"""Estimates the final peak of a month for a site without enough past for `peak.outlook`."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.config.battery_ratings import full_kwh, mean_efficiency, reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S


def held_peak_w(net_loads_w: Sequence[float], config: DispatchConfig) -> float:
    """The lowest quarter-hour import that the battery could have held over past net loads (load - pv), by hindsight.

    A prior for where the month's peak will end: it starts each month's plan at a peak worth defending. Greedy is exact
    here: above the peak discharge, below it recharge as fast as the peak allows; found to 10 W by bisection. Starts
    full. Returns 0 without any load.
    """
    if not net_loads_w:
        return 0.0
    low, high = 0.0, max(0.0, *net_loads_w)
    while high - low > 10.0:
        middle = (low + high) / 2
        if _holds(net_loads_w, middle, config):
            high = middle
        else:
            low = middle
    return high


def _holds(net_loads_w: Sequence[float], peak_w: float, config: DispatchConfig) -> bool:
    top_wh = 1000 * full_kwh(config)
    floor_wh = reserve_soc_pct(config) * config.energy_kwh * 10
    charging, discharging = mean_efficiency(config)
    charge_w, discharge_w = config.charge_w, config.discharge_w  # sums over the PCS: not again for every quarter
    hours = QUARTER_S / 3600
    stored_wh = max(top_wh, floor_wh)
    for net_w in net_loads_w:
        excess_w = net_w - peak_w
        if excess_w > discharge_w:
            return False
        if excess_w > 0:
            stored_wh -= excess_w * hours / discharging
            if stored_wh < floor_wh:
                return False
        else:
            stored_wh = min(top_wh, stored_wh + min(-excess_w, charge_w) * hours * charging)
    return True
