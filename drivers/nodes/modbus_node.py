"""Reads a compute node by the register map `skerry-node`."""

from __future__ import annotations

from dispatch.model.equipment import Node
from dispatch.model.islanding import NodeOrder
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
        self.notices = link.notices

    async def read(self) -> Node:
        """Read it now. Raises DeviceError."""
        sample = Sample(await registers.read(self._link, self._unit, NODE))
        cap_w = sample.number("power_cap_w")
        notes = [f"capped at {cap_w:g} W"] if cap_w is not None else []
        if sample.text("suspended") == "yes":
            notes.append("suspended")
        elif sample.text("suspended") == "off":
            notes.append("shut down")
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

    async def order(self, order: NodeOrder) -> str:
        """Cap, suspend or shut down, and read back. Return what was done. Raises DeviceError."""
        cap = NO_CAP if order.cap_w is None else min(max(round(order.cap_w), 0), NO_CAP - 1)
        wanted = [cap, 2 if order.off else int(order.suspended)]
        await self._link.write(self._unit, CAP_REGISTER, wanted)
        held = await self._link.read(self._unit, CAP_REGISTER, len(wanted))
        if held != wanted:
            where = f"{self.id}, registers {CAP_REGISTER}..{CAP_REGISTER + 1}"
            raise ReadbackMismatch(where, f"{wanted} written, {held} read")
        return "written and read back"

    async def close(self) -> None:
        """Drop the connection for good."""
        await self._link.close()
