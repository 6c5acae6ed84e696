"""Finds the models of a SunSpec device, and reads and writes their points over a Modbus link."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from drivers.modbus.connection import Connection
from drivers.modbus.errors import BadReply, DeviceException, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.sunspec.model import MAX_READ, Value, encode, model, plan

BASES = (40000, 0, 50000)  # SunSpec Device Information Model Specification 1.1, 6.2
MARK = [0x5375, 0x6E53]  # "SunS"
END = 0xFFFF
MAX_MODELS = 200  # more means that we are walking through something else
ADDRESSES = 0x10000


@dataclass(frozen=True)
class FoundModel:
    """A model on a device. `address` is that of its ID register, `length` its L."""

    id: int
    address: int
    length: int


class SunSpecDevice:
    """The models of one unit behind a link, found again on every new connection: a device may come back as another."""

    def __init__(self, link: ModbusLink, unit: int) -> None:
        self.link, self.unit = link, unit
        self.found: tuple[FoundModel, ...] = ()
        self._connection: Connection | None = None

    async def open(self) -> bool:
        """Connect and find the models if need be. True if they were found anew, so that old knowledge is void.

        Raises ConnectionLost, Timeout, BadReply, WrongDevice.
        """
        connection = await self.link.open()
        if connection is self._connection:
            return False
        self.found = await discover(connection, self.unit, self._where)
        self._connection = connection
        return True

    def has(self, model_id: int) -> bool:
        """Whether the device has this model."""
        return any(f.id == model_id for f in self.found)

    def first(self, *model_ids: int) -> int:
        """The first of these models that it has. Raises WrongDevice if it has none."""
        for model_id in model_ids:
            if self.has(model_id):
                return model_id
        wanted = "/".join(map(str, model_ids))
        there = ", ".join(str(f.id) for f in self.found)
        raise WrongDevice(self._where, f"has no SunSpec model {wanted}, only {there}")

    async def read(self, model_id: int, names: tuple[str, ...]) -> dict[str, Value | None]:
        """Read points of a model the device has; None for each that is not implemented or that it lacks.

        Raises as `Connection.read`; WrongDevice if it lacks the model.
        """
        found, connection = self._at(model_id)
        values: dict[str, Value | None] = dict.fromkeys(names)
        for block in plan(model_id, names, found.length):
            registers = await connection.read(self.unit, found.address + block.offset, block.count)
            values.update(block.decode(registers))
        return values

    async def write(
        self, model_id: int, values: dict[str, float | str], scales: dict[str, int | None] | None = None
    ) -> None:
        """Write points that lie side by side, in one request. `scales`: the raw scale factor of each scaled point.

        Raises as `Connection.write`; ValueError for what a point cannot hold.
        """
        found, connection = self._at(model_id)
        points = [model(model_id).points[name] for name in values]
        if any(a.end != b.offset for a, b in itertools.pairwise(points)):
            raise ValueError(f"{', '.join(values)}: expected neighbours in ascending order")
        registers: list[int] = []
        for point in points:
            registers += encode(point, values[point.name], (scales or {}).get(point.name))
        await connection.write(self.unit, found.address + points[0].offset, registers)

    @property
    def _where(self) -> str:
        return f"{self.link.device} at {self.link.host}:{self.link.port} unit {self.unit}"

    def where(self, model_id: int, point: str) -> str:
        """A point's place for an error message: device, model, point and register."""
        found = next((f for f in self.found if f.id == model_id), None)
        register = f", register {found.address + model(model_id).points[point].offset}" if found else ""
        return f"{self._where}, model {model_id} {point}{register}"

    def _at(self, model_id: int) -> tuple[FoundModel, Connection]:
        self.first(model_id)
        if self._connection is None:
            raise RuntimeError("open() comes before read() and write()")
        return next(f for f in self.found if f.id == model_id), self._connection


async def discover(connection: Connection, unit: int, where: str) -> tuple[FoundModel, ...]:
    """Walk a device's chain of models. Unknown ones are stepped over by their length.

    Raises WrongDevice when there is no SunSpec; Timeout, ConnectionLost, BadReply.
    """
    walker = _Walker(connection, unit)
    for base in BASES:
        try:
            if await walker.pair(base) == MARK:
                break
        except DeviceException:
            continue
    else:
        at = ", ".join(map(str, BASES))
        raise WrongDevice(where, f"no 'SunS' at register {at}", "check url, unit and that SunSpec is enabled")
    found: list[FoundModel] = []
    address = base + 2
    while address < ADDRESSES - 1 and len(found) < MAX_MODELS:
        model_id, length = await walker.pair(address)
        if model_id == END:
            return tuple(found)
        if model_id == 0:
            break
        found.append(FoundModel(model_id, address, length))
        address += 2 + length
    raise BadReply(f"{where}, register {address}", f"the chain of models does not end, after {len(found)} of them")


class _Walker:
    """Reads ahead, so that short models come several to a request; back to single headers where that is refused."""

    def __init__(self, connection: Connection, unit: int) -> None:
        self._connection, self._unit = connection, unit
        self._start = 0
        self._registers: list[int] = []

    async def pair(self, address: int) -> list[int]:
        at = address - self._start
        if not 0 <= at <= len(self._registers) - 2:
            self._start, at = address, 0
            try:
                count = min(MAX_READ, ADDRESSES - address)
                self._registers = await self._connection.read(self._unit, address, count)
            except DeviceException:  # past the last register it has
                self._registers = await self._connection.read(self._unit, address, 2)
        return self._registers[at : at + 2]


def raw_scale(values: dict[str, Value | None], name: str) -> int | None:
    """A scale factor read as a point, or None if it is not a usable one."""
    value = values.get(name)
    return value if isinstance(value, int) and -10 <= value <= 10 else None
