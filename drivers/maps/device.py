"""Keeps what a mapped device said: that it is the right one, its texts, and its values with their age."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from dispatch.model.equipment import DeviceIdentity
from drivers.maps.decoding import Decoded
from drivers.maps.hand_writes import write_by_hand
from drivers.maps.reader import MapReader
from drivers.maps.register_view import explain
from drivers.maps.schema import DEVICE, DeviceMap
from drivers.modbus.errors import ConnectionLost, DeviceException
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words, WrittenValue
from drivers.sample import Sample
from drivers.serial_numbers import check_serial

SLOW_S = 1.0  # real seconds between two readings of the poll class "slow"


def identity_of(values: Mapping[str, Decoded | None]) -> DeviceIdentity:
    """What a device says it is, by its values."""
    texts = {name: values.get(name) for name in DeviceIdentity.__struct_fields__}
    return DeviceIdentity(**{name: text for name, text in texts.items() if isinstance(text, str)})


class MappedDevice:
    """A device that is only read. Its identity is checked again on every new connection, before any value is used."""

    def __init__(
        self,
        link: ModbusLink,
        unit: int,
        device_map: DeviceMap,
        units: Mapping[str, int],
        needed: str = "",
        serial: str = "",
    ) -> None:
        """`units`: Modbus unit ids that the site file gives by name, besides `unit`. `needed`: as in MapReader.

        `serial`: the serial number that it must tell; "": any.
        """
        self.link, self.map, self.map_name = link, device_map, device_map.name
        self.identity: DeviceIdentity | None = None
        self.units = {**device_map.units, **units, DEVICE: unit}
        self._reader = MapReader(link, self.units, device_map, needed)
        self._serial = serial
        self._connection = 0  # on which its identity was checked
        self._kept: dict[str, Decoded | None] = {}  # values of the poll classes "once" and "slow"
        self._slow_s = float("-inf")

    @property
    def connection(self) -> int:
        """The connection on which its identity was checked; 0: none."""
        return self._connection

    async def read(self) -> Sample:
        """All its values: fast ones of this moment, slow ones at most about a second old. Raises DeviceError."""
        await self._open()
        now_s = asyncio.get_running_loop().time()
        fast = await self._reader.read("fast")
        if now_s - self._slow_s >= SLOW_S:
            await self._read_slow(now_s)
        if self.link.connection != self._connection:
            where = f"{self.link.device} at {self.link.at}"
            self._connection = 0
            raise ConnectionLost(where, "connected anew during a reading", "nothing to do: its identity is checked")
        aged = {name: max(now_s - self._slow_s, 0.0) for name, v in self.map.values.items() if v.poll == "slow"}
        return Sample({**self._kept, **fast}, older_s=aged)

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return explain(self.map, self.units, words, now_s)

    async def write_by_hand(self, name: str, value: float | str) -> WrittenValue:
        """Write a value that the map gives to people. Raises as `hand_writes.write_by_hand`."""
        await self._open()
        return await write_by_hand(self.link, self.map, self.units, name, value, self._connection)

    async def _open(self) -> None:
        """Connect; on a new connection see whether it is the device of the map and of the site file.

        Raises DeviceError; WrongDevice for another serial number than it must have.
        """
        if self._connection and self._connection == self.link.connection:
            return
        self._connection, self._slow_s, self._kept = 0, float("-inf"), {}
        if self.map.access.identity == "reading":
            self._reader.begin_anew()  # each reading shows what it is
        else:
            await self._reader.identify()
        on = self.link.connection
        self._kept = await self._reader.read("once")
        self._reader.leave_out(self._not_there())
        self._identified(identity_of(self._kept))
        self._connection = on or await self._connected()

    def _identified(self, now: DeviceIdentity) -> None:
        """Take over what it says it is; a serial number other than before is told. Raises WrongDevice."""
        check_serial(f"{self.link.device} at {self.link.at} unit {self.units[DEVICE]}", self._serial, now.serial)
        before, self.identity = self.identity, now
        if before is not None and before.serial and now.serial not in ("", before.serial):
            self.link.notices.add("warning", f"another device answers: {now.text}, was {before.text}")

    def _not_there(self) -> Iterator[str]:
        """Values that a device such as this does not have, by what it said when it connected."""
        for name, value in self.map.values.items():
            if any(self._kept.get(other) not in numbers for other, numbers in value.only_if.items()):
                yield name

    async def _connected(self) -> int:
        """The number of the connection; a map without identity and texts has not asked anything on it yet."""
        await self._reader.read("fast")
        return self.link.connection

    async def _read_slow(self, now_s: float) -> None:
        """What is refused now grows old; the fast values go on."""
        try:
            slow = await self._reader.read("slow")
        except DeviceException:
            return
        self._kept.update(slow)
        self._slow_s = now_s
