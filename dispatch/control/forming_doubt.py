"""Says which PCS may be forming the grid though they were last read to follow one.

As long as no switch tells what feeds the site, only the PCS's own words do, and a PCS whose registers stand still
repeats the words it had before the grid went. So such a PCS is commanded only while its measurements move, or while
meters show that a source outside feeds the site: one on the site's side of the switch that power comes in; or one on
the grid's side just the power that load, PV and the PCS's own readings leave over. A PCS that rests, and measures
neither V nor Hz, shows no other sign of life.
"""

from __future__ import annotations

import math

from dispatch.config.schema import DispatchConfig
from dispatch.control.balance_witness import OFF_SHARE, OFF_W
from dispatch.model.equipment import Meter, Pcs, Switch
from dispatch.model.readings import Reading
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot

MOVES_S = 2.0  # V, Hz and W of a live device differ within this time by their last digit; a slow one has its age more
FLOW_W = 500.0  # more than a meter shows that carries nothing
SURE = 2.0  # times what two meters may differ by: less power is none that the balance proves


class _Moves:
    """When figures of one device were last seen to differ from before."""

    def __init__(self) -> None:
        self.at_s = -math.inf
        self._last: dict[str, float] = {}

    def update(self, mono_s: float, **figures: Reading) -> None:
        for name, figure in figures.items():
            now = figure.confirmed
            if now is not None and self._last.setdefault(name, now) != now:
                self._last[name], self.at_s = now, mono_s


class FormingDoubt:
    """Fed once per tick with what the devices say. A site without a switch cannot leave the grid."""

    def __init__(self, config: DispatchConfig) -> None:
        self._switched = bool(config.switches)
        self._shows_source = config.meters_on_bus  # one on the grid's side may show loads that lie before the switch
        self._moves: dict[str, _Moves] = {}

    def withheld(self, snapshot: Snapshot) -> dict[str, Reason]:
        """Why each of them gets no setpoint."""
        if not self._switched:
            return {}
        mono_s, grid = snapshot.mono_s, snapshot.grid
        for meter in (grid, snapshot.load):
            if meter is not None:
                self._moves.setdefault(meter.id, _Moves()).update(mono_s, w=meter.w)
        for pcs in snapshot.pcs:
            self._moves.setdefault(pcs.id, _Moves()).update(mono_s, w=pcs.w, v=pcs.v, hz=pcs.hz)
        if snapshot.switches and all(_tells(switch) for switch in snapshot.switches):
            return {}
        if self._lives(grid, mono_s) and (self._flows(grid) or self._balances(snapshot)):
            return {}
        return {pcs.id: self._why(pcs, mono_s) for pcs in snapshot.pcs if not self._lives(pcs, mono_s)}

    def _lives(self, device: Pcs | Meter, mono_s: float) -> bool:
        return mono_s - self._moves[device.id].at_s <= MOVES_S + (device.w.age_s or 0.0)

    def _flows(self, grid: Meter) -> bool:
        return grid.id in self._shows_source and abs(grid.w.confirmed or 0.0) >= FLOW_W

    def _balances(self, snapshot: Snapshot) -> bool:
        """Whether what the PCS are read to give is what they give: load less PV less that is what the grid gives.

        A PCS that carries the site gives all of it, whatever it repeats.
        """
        load, grid_w = snapshot.load, snapshot.grid.w.confirmed
        if load is None or load.id not in self._shows_source or not self._lives(load, snapshot.mono_s):
            return False
        load_w = load.w.confirmed
        sources_w = [pv.w.confirmed for pv in snapshot.pv] + [pcs.w.confirmed for pcs in snapshot.pcs]
        known_w = [w for w in sources_w if w is not None]
        if grid_w is None or load_w is None or len(known_w) < len(sources_w):
            return False
        apart_w, rest_w = max(OFF_W, OFF_SHARE * abs(load_w)), load_w - sum(known_w)
        return abs(rest_w) >= SURE * apart_w and abs(grid_w - rest_w) <= apart_w

    def _why(self, pcs: Pcs, mono_s: float) -> Reason:
        still_s = mono_s - self._moves[pcs.id].at_s
        if math.isinf(still_s):
            return Reason("pcs.may_form_unmoved", {"pcs": pcs.id})
        return Reason("pcs.may_form", {"pcs": pcs.id, "still_s": still_s})


def _tells(switch: Switch) -> bool:
    """Whether it says that a source which PCS follow is connected. That it is open is for the state to judge."""
    return switch.position.good == "closed" or switch.source.good in ("grid", "genset")
