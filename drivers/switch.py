"""Reads the switch at the PCC by the register map `skerry-switch`, and asks it to open or close.

A command register holds a request only: the device's own synchro-check and protection decide, and its contacts show the
result.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatch.model.equipment import Switch
from drivers.config import SwitchDevice
from drivers.maps import registers
from drivers.maps.switch import COMMAND_REGISTER, COMMANDS, SWITCH, SWITCH_2
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words
from drivers.sample import Sample

CONTACTS = {("closed", "open"): "closed", ("open", "closed"): "open"}  # (NO, NC) -> the main contact


class SwitchDriver:
    """One switch, one request a reading."""

    kind = "switch"

    def __init__(self, config: SwitchDevice, link: ModbusLink, unit: int) -> None:
        self.id, self.link, self.unit = config.id, link, unit
        self.notices = link.notices
        self._map = SWITCH  # until the device says that it knows more

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return registers.explain(self._map, self.unit, words, now_s)

    async def read(self) -> Switch:
        """Read it now: open or closed only where position and both contacts agree. Raises DeviceError."""
        values = await registers.read(self.link, self.unit, self._map)
        self._map = SWITCH_2 if values["version"] == 2 else SWITCH
        sample = Sample(values)
        by_contacts = CONTACTS.get((str(values["contact_no"]), str(values["contact_nc"])), "moving")
        position = sample.text("position")
        if position is not None and position != by_contacts:
            position = "moving"
        return Switch(
            self.id,
            position=sample.word(position),
            control=sample.status("control"),
            grid_voltage=sample.status("grid_voltage"),
            command=sample.status("command"),
            grid_v=sample.reading("grid_v"),
            grid_hz=sample.reading("grid_hz"),
            delta_v=sample.reading("delta_v"),
            delta_hz=sample.reading("delta_hz"),
            delta_deg=sample.reading("delta_deg"),
            transfer_ms=sample.reading("transfer_ms"),
            faults=sample.reading("faults"),
        )

    async def order(self, action: str) -> None:
        """Ask for "open" or "close", or withdraw with "none"; read it back. Raises DeviceError."""
        wanted = next(number for number, word in COMMANDS.items() if word == action)
        await self.link.write(self.unit, COMMAND_REGISTER, [wanted])
        held = (await self.link.read(self.unit, COMMAND_REGISTER, 1))[0]
        if held != wanted:
            where = f"{self.id}, register {COMMAND_REGISTER}"
            raise ReadbackMismatch(where, f"{action} ({wanted}) was written and {held} is read")

    async def close(self) -> None:
        """Drop the connection for good."""
        await self.link.close()
