"""Reads a compute node by its BMC alone: its power, and that of the GPUs on an HGX baseboard."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dispatch.model.equipment import Node
from drivers.http.turns import Turns
from drivers.node_config import NodeDevice
from drivers.nodes.exporter_node import ObservedNode, Witnesses
from drivers.nodes.host_names import Identities
from drivers.nodes.metrics import Figures, GpuFigures
from drivers.nodes.power import fresh
from drivers.redfish.node_bmc import BmcGpu, NodeBmc

FIRST_S = 20.0  # the first reading is waited for: until then there is nothing to tell


class RedfishNode(ObservedNode):
    """A node without exporters."""

    def __init__(self, config: NodeDevice, bmc: NodeBmc, identities: Identities, witnesses: Witnesses) -> None:
        super().__init__(config, identities, witnesses)
        self._only = bmc

    @property
    def turns(self) -> Turns:
        """When it is given time."""
        return self._only.link.client.turns

    async def read(self) -> Node:
        """What its BMC told last. Raises DeviceError if it cannot be read, and nothing that it told is fresh."""
        bmc, trouble = self._only, list[str]()
        await bmc.first(FIRST_S)
        await self.turns.turn()
        if bmc.gpus:
            figures, now_s = _figures(bmc.gpus, bmc.gpu_period_s), asyncio.get_running_loop().time()
            self._is_itself(bmc.where, [figures])
            self._figures.take(figures, now_s, now_s)
        node = await self._node(trouble)
        if bmc.error is not None and not any(fresh(power) for power in node.powers):
            raise bmc.error.with_traceback(None)
        return node


def _figures(gpus: Sequence[BmcGpu], period_s: float) -> Figures:
    """All times are on the event loop's clock."""
    return Figures(
        "BMC",
        period_s,
        gpus=tuple(
            GpuFigures(g.uuid or str(g.index), g.index, g.uuid, g.name, {} if g.w is None else {"w": g.w}, g.at_s)
            for g in gpus
        ),
        notes=tuple(f"GPU {g.index}: its power {g.why}" for g in gpus if g.w is None),
    )
