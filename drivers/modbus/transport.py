"""Keeps a link to one Modbus device: its requests, how long they may take, and how often a silent one is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from drivers.back_off import BackOff
from drivers.modbus.address import Address
from drivers.modbus.connection import Caller, Connection
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, DeviceException, Timeout
from drivers.modbus.frames import MAX_READ
from drivers.modbus.line import Line
from drivers.modbus.traffic import Place, Traffic
from drivers.notices import Notices

T = TypeVar("T")

BROADCAST = 0  # on a serial line, MODBUS over Serial Line V1.02, 2.2; on TCP it may be the device itself

NOT_BY_THIS_FUNCTION = (1, 2, 3)  # exceptions of devices that take a single register by the other function only
BUSY = 6  # the exception that asks for the same request again (MODBUS Application Protocol V1.1b3, section 7)
BUSY_TRIES, BUSY_PAUSE_S = 3, 0.03


class ModbusLink:
    """One device behind a line. All times are the machine's, never the site's: sockets do not know scaled time.

    The deadline of a request begins when it goes out, not while another device of the line has its turn. After a
    timeout, a bad reply or a loss the connection is dropped; the next call opens a fresh one, but not before the
    device's back-off has passed: none if it had answered on the last one, else 0.1 s, doubling to `backoff_max_s`.
    Until then calls fail at once with ConnectionLost.
    """

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        *,
        deadline_s: float,
        backoff_max_s: float,
        device: str = "device",
        line: Line | None = None,
        connect_delay_s: float = 0.0,
        spacing_s: float = 0.0,
        max_registers: int = MAX_READ,
        any_transaction: bool = False,
    ) -> None:
        """`line`: the one that it shares with other devices; None: one of its own, Modbus TCP to `host` and `port`.

        `max_registers`: longer reads are split. A value that must not be torn lies within one read no longer than it.
        `any_transaction`: the transaction ids of answers are not looked at.
        """
        self.device, self.max_registers = device, max_registers
        self.notices = Notices()
        self.traffic = Traffic()
        self.answered_on = 0  # number of the connection on which the last clean answer came; 0: none yet
        self._dropped = 0  # connections, for this device's own silence or answers
        self._line = line or Line(Address("tcp", host, port), backoff_max_s=backoff_max_s)
        self._line.join()
        self._line.allow_for(deadline_s, connect_delay_s, spacing_s)
        self._caller = Caller(device, deadline_s, any_transaction)
        self._back_off = BackOff(backoff_max_s)
        self._write_one = False  # a single register is written by function 6
        self._closed = False

    @property
    def at(self) -> str:
        """Where it leads, for error messages."""
        return str(self._line.address)

    @property
    def connection(self) -> int:
        """Number of the connection in use; 0: there is none. With another number nothing known before counts."""
        return self._line.number if self._line.live else 0

    @property
    def dropped_for_others(self) -> int:
        """Connections that ended for the silence or the answers of other devices on the line, as yet."""
        return self._line.dropped - self._dropped

    async def read(self, unit: int, address: int, count: int, function: int = 3) -> list[int]:
        """Read holding registers (`function` 3), input registers (4), coils (1) or inputs (2) over any connection.

        Raises as `Connection.read`.
        """
        if not 1 <= count <= MAX_READ:
            raise ValueError(f"count = {count}: expected 1..{MAX_READ} registers in one request")
        words: list[int] = []
        while len(words) < count:
            at, part = address + len(words), min(count - len(words), self.max_registers)

            def ask(connection: Connection, at: int = at, part: int = part) -> Awaitable[list[int]]:
                return connection.read(self._caller, unit, at, part, function)

            words += await self._request(unit, ask)
        self.traffic.keep(Place(unit, function, address), words, asyncio.get_running_loop().time())
        return words

    async def write(
        self, unit: int, address: int, values: Sequence[int], on: int = 0, function: int | None = None
    ) -> None:
        """Write holding registers, all of them in one request: over the connection number `on`, 0: over any.

        `function` 6 (one register) or 16: by this one only; what the device refuses is refused. None: by 16, but a
        single register that it is refused for (exception 1, 2 or 3) is written by function 6, from then on at once.
        Raises as `Connection.write`; ConnectionLost when the connection is another one by now.
        """
        if function not in (None, 6, 16) or (function == 6 and len(values) != 1):
            raise ValueError(f"function = {function}, {len(values)} values: expected 16, or 6 with one value")

        async def by_16(connection: Connection) -> None:
            await connection.write(self._caller, unit, address, values)

        async def by_6(connection: Connection) -> None:
            await connection.write_one(self._caller, unit, address, values[0])

        if unit == BROADCAST and self._line.address.rtu:
            what = "not written: unit 0 on a serial line is every device at once"
            raise DeviceError(self._where, what, "give the unit of the device in the site file")
        if function is not None or len(values) != 1:
            return await self._request(unit, by_6 if function == 6 else by_16, on)
        first, second = (by_6, by_16) if self._write_one else (by_16, by_6)
        try:
            await self._request(unit, first, on)
        except DeviceException as refused:
            if refused.code not in NOT_BY_THIS_FUNCTION:
                raise
            await self._write_otherwise(unit, refused, second, on)
            self._write_one = second is by_6
            number = "6" if self._write_one else "16"
            self.notices.add("info", f"takes a single register by function {number} only: written so from now on")

    async def _write_otherwise(
        self, unit: int, refused: DeviceException, write: Callable[[Connection], Awaitable[None]], on: int
    ) -> None:
        """Try the other function. If it is refused, too, say that both were tried."""
        try:
            await self._request(unit, write, on)
        except DeviceException as also:
            both = f"functions 16 and 6 were both tried: {refused.what}; then {also.what}"
            raise DeviceException(refused.where, refused.code, what=both) from None

    def retry_at_once(self) -> None:
        """Let the next request go out without back-off: this device's silence was an answer."""
        self._back_off.end()

    async def close(self) -> None:
        """Close for good."""
        if not self._closed:
            self._closed = True
            await self._line.leave()

    async def _request(self, unit: int, ask: Callable[[Connection], Awaitable[T]], on: int = 0) -> T:
        """One request when it is this device's turn; again while the device says that it is busy, which did nothing."""
        for _ in range(BUSY_TRIES - 1):
            try:
                return await self._ask(unit, ask, on)
            except DeviceException as refused:
                if refused.code != BUSY:
                    raise
            await asyncio.sleep(BUSY_PAUSE_S)
        return await self._ask(unit, ask, on)

    async def _ask(self, unit: int, ask: Callable[[Connection], Awaitable[T]], on: int) -> T:
        while True:
            if not self._line.settled(unit):
                await self._line.settle(unit)
            async with self._line.turn:
                if self._line.settled(unit):
                    return await self._ask_in_turn(unit, ask, on)

    async def _ask_in_turn(self, unit: int, ask: Callable[[Connection], Awaitable[T]], on: int) -> T:
        if self._closed:
            raise ConnectionLost(self._where, "closed", "nothing to do: the driver was closed")
        loop = asyncio.get_running_loop()
        if (wait_s := self._back_off.wait_s(loop.time())) > 0:
            raise ConnectionLost(self._where, f"{self._back_off.why}; next try in {wait_s:.1f} s")
        connection = await self._line.connection(self._caller)
        number = self._line.number
        if on not in (0, number):
            what = "connected anew before a write"
            raise ConnectionLost(self._where, what, "nothing to do: its map is checked first")
        await self._line.pause()
        self.traffic.connect_s, asked_s = self._line.connect_s, loop.time()
        try:
            answer = await ask(connection)
        except DeviceException:
            self.traffic.answered(loop.time() - asked_s, refused=True)
            self.answered_on = number
            raise
        except DeviceError as error:
            self.traffic.failed()
            if isinstance(error, (Timeout, BadReply)):
                self._dropped += 1
                self._line.dropped += 1
            # at once again if the device had answered on that connection, else later and later
            self._back_off.failed(error.what, connection.lost_at_s, at_once=self.answered_on == number)
            raise
        finally:
            self._line.asked(self._caller, unit, connection)
        self.traffic.answered(loop.time() - asked_s)
        self.answered_on = number
        return answer

    @property
    def _where(self) -> str:
        return f"{self.device} at {self.at}"
