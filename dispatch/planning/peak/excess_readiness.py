"""Works out what stored energy spares, once a pulse begins, of a charge that adds up what is above its contract.

The outlook of a peak knows how low a pulse can be held; here no peak is held: each interval above the contract is paid
for by itself. So each day that may come is gone through with each energy stored at its first quarter hour above the
contract: the battery carries what is above while it has energy, and charges below, as the plan does. What the charge
bills less for one layer of energy more is what that layer spares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dispatch.billing.demand_charge import ChargeTerms, interval_account
from dispatch.billing.excess import HOURS, ROOT
from dispatch.config.schema import CapsConfig
from dispatch.model.forecast import QUARTER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

QUARTER_H = QUARTER_S / 3600
NEAR_KW = 0.01  # an excess below this is none


class Store(NamedTuple):
    """The battery between reserve and full: kWh, kW, efficiencies each way."""

    usable_kwh: float
    charge_kw: float
    discharge_kw: float
    charging: float
    discharging: float


class Pulses(NamedTuple):
    """Days that may come, by quarter hours."""

    over_kw: Floats  # how far each is above the contract; below 0: under it; -inf where none counts
    begins: NDArray[np.intp]  # each day's first one that is above; the day's length where none is
    load_kw: Floats


def pulses_of(terms: ChargeTerms, timezone: str, quarter: int, net_kw: Floats, load_kw: Floats) -> Pulses:
    """The days as the charge sees them; `quarter`: number of the first one, from 1970."""
    import numpy as np

    steps = net_kw.shape[1]
    places = [interval_account(terms, timezone, float(QUARTER_S * (quarter + k))) for k in range(steps)]
    over = np.where([at.counts for at in places], net_kw - terms.floor_w / 1000, -np.inf)
    found = over > NEAR_KW
    return Pulses(over, np.where(found.any(axis=1), found.argmax(axis=1), steps), load_kw)


def readiness(
    terms: ChargeTerms, before: float, pulses: Pulses, store: Store, caps: CapsConfig, shape: tuple[int, int]
) -> Floats:
    """For each step and layer, the lowest first, what a stored kWh would spare the days whose pulse begins just after.

    In kW (h), the mean of the days; `before`: what has added up already, W (W^2, h); `shape`: steps and layers.
    """
    import numpy as np

    steps, layers = shape
    spares = _spared(terms, before, pulses, store, layers) / len(pulses.begins)
    if caps.max_share > 0:  # where caps could take it as well, no more than they cost
        deep_kw = caps.max_share * np.maximum(0.0, pulses.load_kw.max(axis=1) - caps.idle_w / 1000)
        most_eur = np.where(pulses.over_kw.max(axis=1) <= deep_kw, caps.value_eur_per_kwh * store.discharging, np.inf)
        spares = np.minimum(spares, most_eur[:, None] / terms.rise_eur_per_kw / len(pulses.begins))
    # a pulse that has begun is in the plan's forecast: what is stored is for it, not to be kept
    ready, some = np.zeros(shape), (pulses.begins > 0) & (pulses.begins < pulses.over_kw.shape[1])
    np.add.at(ready, np.minimum(pulses.begins[some], steps - 1) - 1, spares[some])
    rows: Floats = -np.sort(-np.maximum(ready, 0.0), axis=1)  # the lowest layer is worth most
    return rows


def _spared(terms: ChargeTerms, before: float, pulses: Pulses, store: Store, layers: int) -> Floats:
    """For each day and layer what the charge bills less, kW (h), for a kWh that is stored when the pulse begins."""
    import numpy as np

    stored = np.tile(np.linspace(0.0, store.usable_kwh, layers + 1), (len(pulses.begins), 1))
    added = np.full(stored.shape, before / (1e6 if terms.adds == ROOT else 1.0 if terms.adds == HOURS else 1e3))
    share = QUARTER_S / terms.interval_s
    for k, over in enumerate(pulses.over_kw.T[:, :, None]):
        begun = (k >= pulses.begins)[:, None]
        gives = np.minimum(np.clip(over, 0.0, store.discharge_kw), stored * store.discharging / QUARTER_H)
        room = (store.usable_kwh - stored) / store.charging / QUARTER_H
        takes = np.minimum(np.clip(-over, 0.0, store.charge_kw), room)
        stored = stored + begun * QUARTER_H * (takes * store.charging - gives / store.discharging)
        above = np.maximum(0.0, over - gives)
        if terms.adds == HOURS:
            added = added + QUARTER_H * (above > NEAR_KW)
        else:
            added = added + share * (above**2 if terms.adds == ROOT else above)
    billed = np.sqrt(added) if terms.adds == ROOT else added
    spared: Floats = -np.diff(billed, axis=1) * layers / store.usable_kwh
    return spared
