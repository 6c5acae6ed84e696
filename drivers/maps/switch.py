"""Reads the switch at the PCC by a device map: from which source the site is fed, and asks it to open or close.

An order is a request only: the device's own synchro-check and protection decide, and its contacts show the result. By
a map that does not say that the device compares bus and grid before it closes, it is only watched. Starting and
stopping a generator is never ours.
"""

from __future__ import annotations

import asyncio

from dispatch.model.equipment import Switch
from dispatch.model.readings import Status
from drivers.config import SwitchDevice
from drivers.device_driver import DeviceDriver
from drivers.maps.device import MappedDevice
from drivers.maps.found_modes import FoundMode, FoundModes
from drivers.maps.named_writes import NamedWriter, registers_of_word
from drivers.maps.schema import DeviceMap
from drivers.modbus.errors import DeviceException, ReadbackMismatch, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.sample import Sample

CONTACTS = {("closed", "open"): "closed", ("open", "closed"): "open"}  # (NO, NC) -> the main contact
SOURCES = {("closed", "open"): "grid", ("open", "closed"): "genset", ("open", "open"): "none"}  # (grid, genset)
POSITIONS = {"grid": "closed", "genset": "open", "none": "open", "unknown": "moving"}
REMOTE, AUTOMATIC = "remote", "automatic"
MODE_S = 2.0  # real seconds in which it must show the control that was written
LOOK_S = 0.1
PUT_RIGHT_S = 10.0  # real seconds between two attempts to put right what an earlier gateway left


def source_of(sample: Sample) -> str | None:
    """What feeds the site: grid genset none unknown; None: the map does not tell it, or nothing was read.

    Both contacts closed, a source that its contacts contradict, and neither side where a switch with a position between
    them is not in that, are unknown.
    """
    told = sample.text("source")
    contacts = sample.text("grid_contact"), sample.text("genset_contact")
    if None in contacts:
        return told
    by_contacts = SOURCES.get((str(contacts[0]), str(contacts[1])), "unknown")
    off = sample.text("off_contact")
    if off is not None and (off == "closed") != (by_contacts == "none"):
        return "unknown"
    return by_contacts if told in (None, by_contacts) else "unknown"


def position_of(device_map: DeviceMap, sample: Sample) -> str | None:
    """The contact to the grid: open or closed only where everything that tells it agrees."""
    source, told = source_of(sample), []
    if "position" in device_map.values:
        told.append(sample.text("position"))
    if source is not None:
        told.append(POSITIONS[source])
    if "contact_no" in device_map.values:
        contacts = str(sample.text("contact_no")), str(sample.text("contact_nc"))
        told.append(CONTACTS.get(contacts, "moving"))
    if not told or None in told:
        return None
    return told[0] if len(set(told)) == 1 else "moving"


class MapSwitch(DeviceDriver[MappedDevice]):
    """One switch. `read` and `order` may be called from different tasks; one waits for the other."""

    kind = "switch"

    def __init__(
        self, config: SwitchDevice, device_map: DeviceMap, link: ModbusLink, unit: int, found: FoundModes | None = None
    ) -> None:
        """`found`: keeps in which control it was found; None: as long as the process runs."""
        device = MappedDevice(link, unit, device_map, config.units, serial=config.serial)
        super().__init__(config.id, link, unit, device)
        self.period_s = config.period_s or device_map.access.refresh_s  # machine seconds between two readings
        self._map, self._units = device_map, device.units
        self._writer = NamedWriter(link, device_map, device.units)
        self._found = found if found is not None else FoundModes()
        self._needs_remote = "control" in device_map.writes
        self.refusal = _refusal(device_map)
        self._ordered = ""  # open or close: by this driver, and not withdrawn since
        self._withdrawn = False  # nothing is to be asked of it any more, wherever it stands
        self._put_right_s = float("-inf")  # when what an earlier gateway left was last written to
        self._lock = asyncio.Lock()

    async def read(self) -> Switch:
        """Read it now. What a gateway that was killed left in remote control is put right. Raises DeviceError."""
        async with self._lock:
            sample = await self._device.read()
            if self._kept is not None and not self._ordered:
                await self._put_right(sample)
            return self._switch(sample)

    async def order(self, action: str) -> None:
        """Ask for "open" or "close", or withdraw with "none"; read it back. Raises DeviceError.

        A switch that takes orders in remote control only is given it for the order, and its automatic control with
        "none": both are read back.
        """
        async with self._lock:
            if action == "none":
                return await self._withdraw()
            if self.refusal:
                raise WrongDevice(self._where, self.refusal, f"{action} it at the switch")
            sample = await self._device.read()
            if self._needs_remote:
                await self._take_over(sample)
            self._ordered, self._withdrawn = action, False
            await self._command(action)

    async def release(self) -> str:
        """Give it its automatic control back, if a gateway has taken it; what was done. Raises DeviceError."""
        async with self._lock:
            control = self._control(await self._device.read())
            if self._kept is None or control == AUTOMATIC:
                await self._forget()
                return f"in {control or 'an unknown'} control"
            await self._restore()
            return "back in automatic control"

    async def close(self) -> None:
        """Give it its automatic control back while it is on the grid; then drop the connection for good."""
        try:
            if self._ordered and self._kept is not None:
                async with self._lock:
                    if position_of(self._map, await self._device.read()) == "closed":
                        await self._restore()
        finally:
            await self.link.close()

    @property
    def taken_over(self) -> bool:
        """Whether it was given remote control for an order, and not automatic since, as far as is on record."""
        return self._needs_remote and self._found.of(self.id) is not None

    @property
    def _where(self) -> str:
        return f"{self.id} at {self.link.at}"

    @staticmethod
    def _control(sample: Sample) -> str | None:
        return sample.text("control")

    async def _take_over(self, sample: Sample) -> None:
        """Remote control for an order, from automatic only; what was found is kept before. Raises DeviceError."""
        control = self._control(sample)
        if control == REMOTE:
            return
        if control != AUTOMATIC:
            what = f"its control is {control or 'not read'}: not ordered"
            raise WrongDevice(self._where, what, "set it to automatic at the switch")
        write = self._map.writes["control"]
        registers = {f"{self._units[write.at]} {write.address}": tuple(registers_of_word(self._map, write, AUTOMATIC))}
        error = await self._found.keep(self.id, FoundMode(self._map.name, self._serial, registers))
        if error:
            self.notices.add("warning", f"that it was found in automatic control is not on disk: {error}")
        await self._set_control(REMOTE)

    async def _withdraw(self) -> None:
        """Nothing is asked of it any more. Raises DeviceError."""
        self._ordered, self._withdrawn = "", True
        if not self.refusal and self._writer.can("command", "none"):
            await self._device.read()
            await self._command("none")
        if self._kept is not None:
            await self._device.read()
            await self._restore()

    async def _command(self, action: str) -> None:
        await self._writer.write("command", action, self._device.connection)
        await self._writer.read_back("command", action)

    async def _restore(self) -> None:
        """Automatic control, read back; then nothing of ours is left in it. Raises DeviceError."""
        await self._set_control(AUTOMATIC)
        self._ordered = ""
        await self._forget()

    async def _forget(self) -> None:
        if error := await self._found.forget(self.id):
            self.notices.add("warning", f"that it is in automatic control again is not on disk: {error}")

    async def _set_control(self, word: str) -> None:
        """Write a control and wait until the switch shows it. Raises ReadbackMismatch after MODE_S."""
        now_s = asyncio.get_running_loop().time
        await self._writer.write("control", word, self._device.connection)
        ends_s = now_s() + MODE_S
        while (shown := self._control(await self._device.read())) != word:
            if now_s() >= ends_s:
                advice = "look at the switch: its handle, its key and its own inputs come before the bus"
                what = f"{word} control was written, and it is in {shown or 'no'} control"
                raise ReadbackMismatch(self._where, what, advice)
            await asyncio.sleep(LOOK_S)

    async def _put_right(self, sample: Sample) -> None:
        """What an earlier run of the gateway left, or a withdrawal: automatic control, once the switch is on the grid.

        After a withdrawal at once: the switch then goes back to the grid by itself.

        What the switch does not take is told, and tried again later. Raises ConnectionLost.
        """
        now_s = asyncio.get_running_loop().time()
        if self._control(sample) == AUTOMATIC:
            await self._forget()
            return self.notices.add("info", "in automatic control, as it was found before an order")
        on_grid = position_of(self._map, sample) == "closed" or self._withdrawn
        if not on_grid or self._control(sample) != REMOTE or now_s - self._put_right_s < PUT_RIGHT_S:
            return
        self._put_right_s = now_s
        try:
            await self._writer.write("control", AUTOMATIC, self._device.connection)
        except DeviceException as error:
            self.notices.add("warning", f"left in remote control: {error}")

    @property
    def _kept(self) -> FoundMode | None:
        """That it was found in automatic control before an order, and not given it back since; None: it was not."""
        return self._found.of_same(self.id, self._map.name, self._serial) if self._needs_remote else None

    @property
    def _serial(self) -> str:
        return self.identity.serial if self.identity is not None else ""

    def _asked(self, sample: Sample) -> Status:
        """What it was last asked; of a switch that does not tell it, what this gateway or the one before has asked."""
        if "command" in self._map.values:
            return sample.status("command")
        if self.refusal:
            return sample.word("none")
        if self._kept is not None and not self._ordered and not self._withdrawn:
            away = self._control(sample) == REMOTE and position_of(self._map, sample) != "closed"
            return sample.word("open" if away else "none")  # by an earlier run
        return sample.word(self._ordered or "none")

    def _switch(self, sample: Sample) -> Switch:
        source = source_of(sample)
        transfer_s = sample.number("transfer_s")
        return Switch(
            self.id,
            position=sample.word(position_of(self._map, sample)),
            control=sample.status("control"),
            grid_voltage=sample.status("grid_voltage"),
            genset_voltage=sample.status("genset_voltage"),
            command=self._asked(sample),
            grid_v=sample.reading("grid_v"),
            grid_hz=sample.reading("grid_hz"),
            delta_v=sample.reading("delta_v"),
            delta_hz=sample.reading("delta_hz"),
            delta_deg=sample.reading("delta_deg"),
            transfer_ms=sample.of(None if transfer_s is None else round(transfer_s * 1000.0, 3)),
            faults=sample.reading("faults"),
            source=sample.word(None if source == "unknown" else source),
            orders_in=() if self.refusal else (REMOTE, AUTOMATIC) if self._needs_remote else (REMOTE,),
            rests_in=AUTOMATIC if self._has_automatic else "",
        )

    @property
    def _has_automatic(self) -> bool:
        control = self._map.values.get("control")
        return control is not None and AUTOMATIC in {*control.words.values(), *control.bits.values(), control.otherwise}


def _refusal(device_map: DeviceMap) -> str:
    """Why a switch takes no orders by this map; "": it does."""
    command = device_map.writes.get("command")
    if command is None:
        return f"map {device_map.name} has no command: it is only watched"
    if device_map.info.verified == "unverified":
        return f"map {device_map.name} is unverified: it is only watched"
    if not command.synchro_check:
        return f"map {device_map.name} names no synchro-check of the switch: it is only watched"
    return ""
