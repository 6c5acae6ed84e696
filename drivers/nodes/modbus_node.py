"""A compute node by the register map `skerry-node`."""

from __future__ import annotations

from dispatch.model import Node
from drivers.config import NodeDevice
from drivers.maps import registers
from drivers.maps.node import CAP_REGISTER, NO_CAP, NODE
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink
from drivers.sample import Sample


class NodeDriver:
    """One node, one request a reading."""

    kind = "node"

    def __init__(self, config: NodeDevice, link: ModbusLink, unit: int) -> None:
        self.id, self._critical, self._link, self._unit = config.id, config.critical, link, unit

    async def read(self) -> Node:
        """Read it now. Raises DeviceError."""
        sample = Sample(await registers.read(self._link, self._unit, NODE))
        cap_w = sample.number("power_cap_w")
        notes = [f"capped at {cap_w:g} W"] if cap_w is not None else []
        if sample.text("suspended") == "yes":
            notes.append("suspended")
        return Node(
            self.id,
            w=sample.reading("power_w"),
            cpu_pct=sample.reading("cpu_pct"),
            memory_pct=sample.reading("memory_pct"),
            gpus_busy=sample.reading("gpus_busy"),
            gpus_total=int(sample.number("gpus_total") or 0),
            critical=self._critical,
            source="modbus",
            note=", ".join(notes),
        )

    async def cap(self, w: float | None) -> None:
        """Limit the node's power, W in whole watts; None lifts the limit. Raises DeviceError, ReadbackMismatch."""
        raw = NO_CAP if w is None else min(max(round(w), 0), NO_CAP - 1)
        await self._link.write(self._unit, CAP_REGISTER, [raw])
        found = (await registers.read(self._link, self._unit, NODE))["power_cap_w"]
        if found != (None if w is None else raw):
            where = f"{self.id} at {self._link.host}:{self._link.port} unit {self._unit}, register {CAP_REGISTER}"
            raise ReadbackMismatch(where, f"wrote a power cap of {raw}, reads back {found}")

    async def close(self) -> None:
        """Drop the connection for good."""
        await self._link.close()
