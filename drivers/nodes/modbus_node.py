"""Reads a compute node by the register map `skerry-node`."""

from __future__ import annotations

from dispatch.model.equipment import Node
from dispatch.model.islanding import NodeOrder
from drivers.device_driver import DeviceDriver
from drivers.maps.device import MappedDevice
from drivers.maps.loader import load
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink
from drivers.node_config import NodeDevice
from drivers.sample import Sample

MAP = "skerry-node"
MOST = {"power_w": 1e6, "cpu_pct": 100.0, "memory_pct": 100.0, "gpus_total": 1024.0}  # a full rack draws 0.15 MW


def _impossible(sample: Sample) -> dict[str, float]:
    """The values that cannot be true."""
    most = {**MOST, "gpus_busy": sample.number("gpus_total")}
    values = {name: sample.number(name) for name in most}
    return {name: v for name, v in values.items() if v is not None and (top := most[name]) is not None and v > top}


class NodeDriver(DeviceDriver[MappedDevice]):
    """One node, one request a reading."""

    kind = "node"

    def __init__(self, config: NodeDevice, link: ModbusLink, unit: int) -> None:
        device_map = load(MAP)
        super().__init__(config.id, link, unit, MappedDevice(link, unit, device_map, {}))
        self._config = config
        self._cap, self._suspend = device_map.writes["power_cap_w"], device_map.writes["suspended"]  # side by side

    async def read(self) -> Node:
        """Read it now. Raises DeviceError. What cannot be true is missing, with a note."""
        sample = await self._device.read()
        impossible = _impossible(sample)
        sample = sample.without(impossible)
        notes = [f"{name} of {value:g} cannot be" for name, value in impossible.items()]
        gpus, cap_w = int(sample.number("gpus_total") or 0), sample.number("power_cap_w")
        if gpus < self._config.gpus:
            notes.append(f"{gpus} of {self._config.gpus} GPUs are there")
        if cap_w is not None:
            notes.append(f"capped at {cap_w:g} W")
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
            gpus_total=gpus,
            critical=self._config.critical,
            source="modbus",
            note=", ".join(notes),
        )

    async def order(self, order: NodeOrder) -> str:
        """Cap, suspend or shut down, and read back. Return what was done; nothing if it is so already.

        Raises DeviceError.
        """
        first, most_w = self._cap.address, int(self._cap.max or 0)
        cap = self._cap.none or 0 if order.cap_w is None else min(max(round(order.cap_w), 0), most_w)
        suspended = "off" if order.off else "yes" if order.suspended else "no"
        wanted = [cap, *(number for number, word in self._suspend.words.items() if word == suspended)]
        if await self.link.read(self.unit, first, len(wanted)) == wanted:
            return ""
        await self.link.write(self.unit, first, wanted)
        held = await self.link.read(self.unit, first, len(wanted))
        if held != wanted:
            where = f"{self.id}, registers {first}..{first + 1}"
            raise ReadbackMismatch(where, f"{wanted} written, {held} read")
        if order.cap_w is not None and order.cap_w > most_w:
            return f"written and read back, {most_w} W: the register holds no more"
        return "written and read back"
