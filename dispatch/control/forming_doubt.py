"""Says which PCS may be forming the grid though they were last read to follow one.

As long as no switch tells what feeds the site, only the PCS's own words do, and a PCS whose registers stand still
repeats the words it had before the grid went. So such a PCS is commanded only while its measurements move, or while a
meter on the site's side of the switch shows power coming in: then a source outside feeds the site.
"""

from __future__ import annotations

import math

from dispatch.config.schema import DispatchConfig
from dispatch.model.equipment import Pcs, Switch
from dispatch.model.readings import Reading
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot

MOVES_S = 2.0  # V, Hz and W of a live device differ within this time by their last digit; a slow one has its age more
FLOW_W = 500.0  # more than a meter shows that carries nothing


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
        meter = self._moves.setdefault(grid.id, _Moves())
        meter.update(mono_s, w=grid.w)
        for pcs in snapshot.pcs:
            self._moves.setdefault(pcs.id, _Moves()).update(mono_s, w=pcs.w, v=pcs.v, hz=pcs.hz)
        if snapshot.switches and all(_tells(switch) for switch in snapshot.switches):
            return {}
        fed = grid.id in self._shows_source and abs(grid.w.confirmed or 0.0) >= FLOW_W
        if fed and mono_s - meter.at_s <= MOVES_S:
            return {}
        return {pcs.id: self._why(pcs, mono_s) for pcs in snapshot.pcs if not self._lives(pcs, mono_s)}

    def _lives(self, pcs: Pcs, mono_s: float) -> bool:
        return mono_s - self._moves[pcs.id].at_s <= MOVES_S + (pcs.w.age_s or 0.0)

    def _why(self, pcs: Pcs, mono_s: float) -> Reason:
        still_s = mono_s - self._moves[pcs.id].at_s
        if math.isinf(still_s):
            return Reason("pcs.may_form_unmoved", {"pcs": pcs.id})
        return Reason("pcs.may_form", {"pcs": pcs.id, "still_s": still_s})


def _tells(switch: Switch) -> bool:
    """Whether it says that a source which PCS follow is connected. That it is open is for the state to judge."""
    return switch.position.good == "closed" or switch.source.good in ("grid", "genset")
