"""All batteries of a site as one."""

from __future__ import annotations

from dispatch.config.schema import DispatchConfig
from dispatch.model.snapshot import Snapshot


def site_soc_pct(config: DispatchConfig, snapshot: Snapshot) -> float | None:
    """SoC of all batteries together, by rated energy; None as soon as one is not known."""
    found = {b.id: b.soc_pct.good for b in snapshot.batteries}
    energy_kwh = stored = 0.0
    for battery in config.batteries:
        soc_pct = found.get(battery.id)
        if soc_pct is None:
            return None
        energy_kwh += battery.energy_kwh
        stored += soc_pct * battery.energy_kwh
    return stored / energy_kwh if energy_kwh else None
