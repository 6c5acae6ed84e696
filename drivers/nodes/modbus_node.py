"""Reads a compute node by the register map `skerry-node`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dispatch.model.equipment import Node
from dispatch.model.islanding import NodeOrder
from drivers.config import NodeDevice
from drivers.maps import registers
from drivers.maps.node import CAP_REGISTER, NO_CAP, NODE
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words
from drivers.sample import Sample, Value

MOST_CAP_W = NO_CAP - 1
MOST = {"power_w": 1e6, "cpu_pct": 100.0, "memory_pct": 100.0, "gpus_total": 1024.0}  # a full rack draws 0.15 MW


def _possible(values: Mapping[str, Value | None], notes: list[str]) -> dict[str, Value | None]:
    """The values without those that cannot be true; `notes` gets a line for each."""
    found = dict(values)
    for name, most in {**MOST, "gpus_busy": values.get("gpus_total")}.items():
        value = values.get(name)
        if isinstance(value, float | int) and isinstance(most, float | int) and value > most:
            found[name] = None
            notes.append(f"{name} of {value:g} cannot be")
    return found


class NodeDriver:
    """One node, one request a reading."""

    kind = "node"

    def __init__(self, config: NodeDevice, link: ModbusLink, unit: int) -> None:
        self.id, self._config, self.link, self.unit = config.id, config, link, unit
        self.notices = link.notices

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return registers.explain(NODE, self.unit, words, now_s)

    async def read(self) -> Node:
        """Read it now. Raises DeviceError. What cannot be true is missing, with a note."""
        notes: list[str] = []
        sample = Sample(_possible(await registers.read(self.link, self.unit, NODE), notes))
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
        cap = NO_CAP if order.cap_w is None else min(max(round(order.cap_w), 0), MOST_CAP_W)
        wanted = [cap, 2 if order.off else int(order.suspended)]
        if await self.link.read(self.unit, CAP_REGISTER, len(wanted)) == wanted:
            return ""
        await self.link.write(self.unit, CAP_REGISTER, wanted)
        held = await self.link.read(self.unit, CAP_REGISTER, len(wanted))
        if held != wanted:
            where = f"{self.id}, registers {CAP_REGISTER}..{CAP_REGISTER + 1}"
            raise ReadbackMismatch(where, f"{wanted} written, {held} read")
        if order.cap_w is not None and order.cap_w > MOST_CAP_W:
            return f"written and read back, {MOST_CAP_W} W: the register holds no more"
        return "written and read back"

    async def close(self) -> None:
        """Drop the connection for good."""
        await self.link.close()
