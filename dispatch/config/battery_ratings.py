"""What the batteries of the site file are together: efficiency, wear, SoC limits, reserve. See `model/battery_bank.py`.

Every mean is weighted by the rated energy of the site file. It is always known, does not change while a site runs, and
is what turns an SoC into kWh in plan, bill and reserve. Plain sums are `DispatchConfig.energy_kwh`, `charge_w` and
`discharge_w`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import NamedTuple

from dispatch.config.schema import BatteryConfig, DispatchConfig, PcsRatings


class Efficiency(NamedTuple):
    """Energy stored of what is charged, and discharged of what leaves the store; 0..1, at the AC terminals."""

    charge: float
    discharge: float


def mean_efficiency(config: DispatchConfig) -> Efficiency:
    """By energy: for accounts of energy (plan, bill, foresight, Energy IQ, orders ahead). 1 without any.

    Exact where each battery discharges the same share of its energy, and charges with power in proportion to it.
    """
    return Efficiency(
        _by_energy(config, lambda b: b.charge_efficiency, none=1.0),
        _by_energy(config, lambda b: b.discharge_efficiency, none=1.0),
    )


def worst_efficiency(config: DispatchConfig) -> Efficiency:
    """Of the least efficient battery: for promises (reserve, runtime, drill, power reservations). 1 without any.

    A promise must hold whichever battery the energy comes from.
    """
    return Efficiency(
        min((b.charge_efficiency for b in config.batteries), default=1.0),
        min((b.discharge_efficiency for b in config.batteries), default=1.0),
    )


def wear_eur_per_kwh(config: DispatchConfig) -> float:
    """Wear per kWh of throughput, EUR, by energy; 0 without any battery."""
    return _by_energy(config, lambda b: b.wear_eur_per_kwh)


def lowest_kwh(config: DispatchConfig) -> float:
    """Energy stored with each battery at its soc_min."""
    return fsum(b.soc_min_pct * b.energy_kwh for b in config.batteries) / 100


def full_kwh(config: DispatchConfig) -> float:
    """Energy stored with each battery at its soc_max."""
    return fsum(b.soc_max_pct * b.energy_kwh for b in config.batteries) / 100


def lowest_soc_pct(config: DispatchConfig) -> float:
    """SoC of the site with each battery at its soc_min; 0 without any."""
    return _by_energy(config, lambda b: b.soc_min_pct)


def full_soc_pct(config: DispatchConfig) -> float:
    """SoC of the site with each battery at its soc_max; 0 without any."""
    return _by_energy(config, lambda b: b.soc_max_pct)


def reserve_soc_pct(config: DispatchConfig) -> float:
    """SoC of the site that must be left for ride-through: the lowest, plus the reserve through the worst efficiency."""
    if not config.batteries:
        return 0.0
    return lowest_soc_pct(config) + 100 * config.reserve_kwh / (worst_efficiency(config).discharge * config.energy_kwh)


def site_soc_pct(config: DispatchConfig, soc_pct: Mapping[str, float]) -> float:
    """SoC of the site from that of each battery, by id; 0 without any. Raises KeyError for one that is not given."""
    return _by_energy(config, lambda b: soc_pct[b.id])


def ac_of_dc_w(battery: BatteryConfig, dc_w: float) -> float:
    """The power at the PCS's AC terminals, W, with which the battery moves `dc_w` at its own; > 0 discharges."""
    return dc_w * battery.discharge_efficiency if dc_w > 0 else dc_w / battery.charge_efficiency


def dc_of_ac_w(battery: BatteryConfig, ac_w: float) -> float:
    """The power at the battery's terminals, W, that `ac_w` at the PCS's takes; > 0 discharges."""
    return ac_w / battery.discharge_efficiency if ac_w > 0 else ac_w * battery.charge_efficiency


def bms_share(config: DispatchConfig, pcs: PcsRatings) -> float:
    """A PCS's share, 0..1, of the limits of its battery: by discharging power among the PCS of that battery."""
    return pcs.discharge_w / sum(p.discharge_w for p in config.pcs if p.battery == pcs.battery)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Mean of at least one value. Rounding neither moves it beyond the values nor makes their order matter."""
    mean = fsum(v * w for v, w in zip(values, weights, strict=True)) / fsum(weights)
    return min(max(mean, min(values)), max(values))


def _by_energy(config: DispatchConfig, value: Callable[[BatteryConfig], float], none: float = 0.0) -> float:
    batteries = config.batteries
    if len(batteries) == 1:
        return value(batteries[0])  # most sites, several times a tick
    return weighted_mean([value(b) for b in batteries], [b.energy_kwh for b in batteries]) if batteries else none
