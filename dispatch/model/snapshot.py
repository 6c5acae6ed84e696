"""Defines the snapshot: all readings of all devices at one instant.

Sign and units: watts at the AC terminals; `pcs.w > 0` discharges, grid `w > 0` imports, `pv.w >= 0`;
site balance `load = grid + sum(pcs) + sum(pv)`.
"""

from __future__ import annotations

import msgspec

from dispatch.model.contacts import Contact
from dispatch.model.equipment import Battery, DeviceHealth, Meter, Node, Pcs, Pv, Switch, Ups
from dispatch.model.readings import total


class Snapshot(msgspec.Struct, frozen=True):
    """The site at one instant, as far as it is known. Frozen: everything that decides sees the same one."""

    seq: int
    utc_s: float
    mono_s: float
    grid: Meter
    load: Meter | None = None  # the site's own load meter, independent of the grid meter
    pcs: tuple[Pcs, ...] = ()
    batteries: tuple[Battery, ...] = ()
    pv: tuple[Pv, ...] = ()
    switches: tuple[Switch, ...] = ()
    nodes: tuple[Node, ...] = ()
    devices: tuple[DeviceHealth, ...] = ()
    ups: tuple[Ups, ...] = ()
    contacts: tuple[Contact, ...] = ()
    utc_known: bool = True  # False: `utc_s` is no more than a lower bound, as the clock was not set since power-up

    @property
    def pcs_w(self) -> float | None:
        """Sum over every PCS; None as soon as one is not good."""
        return total(p.w for p in self.pcs)

    @property
    def pv_w(self) -> float | None:
        """Sum over every PV inverter; None as soon as one is not good, 0 on a site without PV."""
        return total(p.w for p in self.pv)

    @property
    def net_load_w(self) -> float | None:
        """Load less PV, grid + pcs; None when either is not good."""
        grid_w, pcs_w = self.grid.w.good, self.pcs_w
        return None if grid_w is None or pcs_w is None else grid_w + pcs_w

    @property
    def load_w(self) -> float | None:
        """Site load by balance, grid + pcs + pv; None when any part is not good."""
        parts = (self.grid.w.good, self.pcs_w, self.pv_w)
        return None if None in parts else sum(parts)  # type: ignore[arg-type]
