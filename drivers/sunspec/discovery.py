"""Finds where a device's SunSpec models are: its base, then model after model to the end of the chain.

Sources: SunSpec Device Information Model Specification 1.1, 6.2 (bases, the mark "SunS", the end 0xFFFF 0x0000). What
devices do otherwise: one 0x0000 as the end, and an exception for two registers there (github.com/sunspec/models,
issue 44); an end without a length (pysunspec2, `modbus/client.py`, `scan`).
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.modbus.errors import BadReply, DeviceException, Timeout, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.sunspec.layout import MAX_READ

BASES = (40000, 0, 50000)
MARK = [0x5375, 0x6E53]  # "SunS"
END = 0xFFFF
MAX_MODELS = 200  # more means that we are walking through something else
ADDRESSES = 0x10000
ABSENT = (1, 2, 3)  # exceptions that say "there is no such register"; others pass: busy, gateway without its device
NO_BASE = (*ABSENT, 4)  # some give this one for a unit that they do not have


@dataclass(frozen=True)
class FoundModel:
    """A model on a device. `address` is that of its ID register, `length` its L."""

    id: int
    address: int
    length: int


@dataclass(frozen=True)
class Chain:
    """A device's models in their order.

    `open_end`: how the chain ends, where it is not as the standard says. There may be more models than were found.
    """

    models: tuple[FoundModel, ...]
    open_end: str = ""


class ChainWalker:
    """Walks the chain of one unit. What it learns about the device, it keeps for the next walk.

    Some devices do not answer at all for registers that they lack. Silence is taken for that only where the device
    answers something else; each silence costs the connection, so that a late answer is never taken for the next one's.
    """

    def __init__(self, link: ModbusLink, unit: int) -> None:
        self._link, self._unit = link, unit
        self._base: int | None = None
        self._ahead = True  # whole stretches are read, so that several short models come with one request
        self._start = 0
        self._registers: list[int] = []

    async def walk(self) -> Chain:
        """Find the models. Unknown ones are stepped over by their length.

        Raises WrongDevice when there is no SunSpec; BadReply for a chain that leads nowhere; Timeout, ConnectionLost,
        DeviceException.
        """
        self._registers = []
        base = await self._find_base()
        found: list[FoundModel] = []
        address = base + 2
        while True:
            header = await self._header(address)
            if len(header) < 2 or header[0] in (0, END):
                break
            model_id, length = header
            if len(found) == MAX_MODELS:
                raise self._lost(address, f"the chain of models does not end, after {MAX_MODELS} of them")
            if address + 2 + length > ADDRESSES:
                raise self._lost(address, f"model {model_id} claims {length} registers, beyond register 65535")
            found.append(FoundModel(model_id, address, length))
            address += 2 + length
        if not found:
            raise self._lost(address, f"there is no model after 'SunS': it {_seen(header)}")
        proper = len(header) == 2 and header[0] == END
        return Chain(tuple(found), "" if proper else f"register {address} {_seen(header)}")

    async def _find_base(self) -> int:
        """Where "SunS" is. A base once found is the only one asked, until something else is there."""
        if self._base is not None and await self._marked(self._base):
            return self._base
        self._base, silent = None, []
        for base in BASES:
            try:
                if await self._marked(base):
                    self._base = base
                    return base
            except Timeout as timeout:
                self._link.retry_at_once()
                silent.append(timeout)
        at = ", ".join(map(str, BASES))
        if len(silent) == len(BASES):
            raise Timeout(self._where, f"{silent[0].what} at any of the registers {at}")
        raise WrongDevice(self._where, f"no 'SunS' at register {at}", "check url, unit and that SunSpec is enabled")

    async def _marked(self, base: int) -> bool:
        try:
            return await self._read(base, 2) == MARK
        except DeviceException as refused:
            if refused.code not in NO_BASE:
                raise
            return False

    async def _header(self, address: int) -> list[int]:
        """ID and L of the model at an address: both, the ID alone or neither, as far as there are registers."""
        at = address - self._start
        if 0 <= at <= len(self._registers) - 2:
            return self._registers[at : at + 2]
        count = min(MAX_READ, self._link.max_registers, ADDRESSES - address)
        if count < 2:
            return []
        if self._ahead:
            try:
                self._registers, self._start = await self._read(address, count), address
                return self._registers[:2]
            except DeviceException as refused:  # past the last register it has, or more than it gives at once
                _raise_unless_absent(refused)
            except Timeout:
                self._ahead = False
                self._link.retry_at_once()
        return await self._exact_header(address)

    async def _exact_header(self, address: int) -> list[int]:
        try:
            return await self._read(address, 2)
        except DeviceException as refused:
            _raise_unless_absent(refused)
            return await self._one(address)
        except Timeout:
            self._link.retry_at_once()
            if self._base is None or not await self._marked(self._base):  # Timeout: the whole device is silent
                raise
            only = await self._one(address)
            if only and only[0] not in (0, END):
                raise  # there is a model: that answer was lost
            return only

    async def _one(self, address: int) -> list[int]:
        """The register at an address; empty: it is refused or not answered."""
        try:
            return await self._read(address, 1)
        except DeviceException as refused:
            _raise_unless_absent(refused)
        except Timeout:
            self._link.retry_at_once()
        return []

    async def _read(self, address: int, count: int) -> list[int]:
        return await self._link.read(self._unit, address, count)

    def _lost(self, address: int, what: str) -> BadReply:
        return BadReply(f"{self._where}, register {address}", what, "check the device's firmware and its SunSpec map")

    @property
    def _where(self) -> str:
        return f"{self._link.device} at {self._link.at} unit {self._unit}"


def _raise_unless_absent(refused: DeviceException) -> None:
    if refused.code not in ABSENT:
        raise refused


def _seen(header: list[int]) -> str:
    """What is there instead of a model, in words."""
    if not header:
        return "is not there"
    return "holds " + " ".join(f"0x{word:04X}" for word in header) + (" and no length" if len(header) == 1 else "")
