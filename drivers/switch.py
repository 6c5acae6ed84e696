"""The switch at the PCC, by the register map `skerry-switch`. Observed; never commanded by this driver."""

from __future__ import annotations

from dispatch.model import Switch
from drivers.config import SwitchDevice
from drivers.maps import registers
from drivers.maps.switch import SWITCH
from drivers.modbus.transport import ModbusLink
from drivers.sample import Sample

CONTACTS = {("closed", "open"): "closed", ("open", "closed"): "open"}  # (NO, NC) -> the main contact


class SwitchDriver:
    """One switch, one request a reading."""

    kind = "switch"

    def __init__(self, config: SwitchDevice, link: ModbusLink, unit: int) -> None:
        self.id, self._link, self._unit = config.id, link, unit

    async def read(self) -> Switch:
        """Read it now: open or closed only where position and both contacts agree. Raises DeviceError."""
        values = await registers.read(self._link, self._unit, SWITCH)
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
        )

    async def close(self) -> None:
        """Drop the connection for good."""
        await self._link.close()
