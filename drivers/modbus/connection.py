"""One TCP connection to one Modbus device. It never reconnects: after the first mismatch it is closed.

pymodbus builds and parses the frames. Before it sees an incoming byte, `frame_fault` has compared the raw frame with
the request it must answer, because pymodbus accepts transaction id 0, short register lists and other function codes,
and raises inside the event loop on a wrong byte count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from drivers.modbus.errors import BadReply, ConnectionLost, DeviceException, Timeout

CONNECT_S = 1.0  # a TCP handshake may be slower than an answer; it runs beside the requests, never inside one
MAX_READ = 125  # registers in one request, MODBUS Application Protocol V1.1b3, 6.3
MAX_WRITE = 123  # 6.12
READ_FUNCTIONS = (3, 4)  # holding registers, input registers

# Without a handler Python prints pymodbus' warnings on stderr; whoever wants them configures the logger "pymodbus".
logging.getLogger("pymodbus").addHandler(logging.NullHandler())


class Caller(NamedTuple):
    """Who asks: the device's name in the site file, and how long it may take to answer, s."""

    device: str
    deadline_s: float


class Connection:
    """Requests over one TCP connection, one at a time: callers take turns (`Line.turn`).

    `lost` is empty while it may be used, else why it may not.
    """

    def __init__(self, host: str, port: int, longest_s: float) -> None:
        """`longest_s`: the longest deadline of any caller."""
        self.lost = ""
        self.lost_at_s = 0.0  # on the event loop's clock
        self.answered = False  # at least one clean answer came
        self.by_peer = False  # it was the other side that ended it
        self._host, self._port = host, port
        self._request = b""  # the frame that waits for its answer; empty between requests
        self._scope: asyncio.Timeout | None = None
        self._client = AsyncModbusTcpClient(
            host,
            port=port,
            name=f"{host}:{port}",
            timeout=max(CONNECT_S, 2 * longest_s),  # pymodbus' own answer timeout: always later than ours
            retries=0,
            reconnect_delay=0,
            trace_packet=self._packet,
            trace_connect=self._connected,
        )

    async def connect(self) -> bool:
        """Open the connection. False if it cannot be had; then this object is of no more use."""
        try:
            connected = await self._client.connect()
        except (UnicodeError, OverflowError) as error:  # a host name or a port that cannot be one
            self._end(f"cannot connect: {error}")
            return False
        if not connected:
            self._end("cannot connect")
        return connected

    async def read(self, caller: Caller, unit: int, address: int, count: int, function: int = 3) -> list[int]:
        """Read `count` holding registers (function 3) or input registers (function 4) from `address`.

        Raises Timeout, ConnectionLost, BadReply, DeviceException.
        """
        if not 1 <= count <= MAX_READ:
            raise ValueError(f"count = {count}: expected 1..{MAX_READ} registers in one request")
        if function not in READ_FUNCTIONS:
            raise ValueError(f"function = {function}: expected 3 (holding registers) or 4 (input registers)")

        def request() -> Awaitable[ModbusPDU]:
            if function == 3:
                return self._client.read_holding_registers(address, count=count, device_id=unit)
            return self._client.read_input_registers(address, count=count, device_id=unit)

        reply = await self._exchange(caller, self.where(caller, unit, address, count), request)
        return list(reply.registers)

    async def write(self, caller: Caller, unit: int, address: int, values: Sequence[int]) -> None:
        """Write holding registers (function 16) from `address`.

        Raises Timeout, ConnectionLost, BadReply, DeviceException. After Timeout and ConnectionLost it is not known
        whether the device took the values: read them back.
        """
        if not 1 <= len(values) <= MAX_WRITE:
            raise ValueError(f"{len(values)} values: expected 1..{MAX_WRITE} registers in one request")
        await self._exchange(
            caller,
            self.where(caller, unit, address, len(values)),
            lambda: self._client.write_registers(address, list(values), device_id=unit),
        )

    async def write_one(self, caller: Caller, unit: int, address: int, value: int) -> None:
        """Write one holding register (function 6). Raises as `write`."""
        await self._exchange(
            caller,
            self.where(caller, unit, address, 1),
            lambda: self._client.write_register(address, value, device_id=unit),
        )

    def where(self, caller: Caller, unit: int, address: int, count: int) -> str:
        """The place of a request for an error message."""
        registers = f"register {address}" if count == 1 else f"registers {address}-{address + count - 1}"
        return f"{caller.device} at {self._host}:{self._port} unit {unit}, {registers}"

    def close(self) -> None:
        """Close the connection; safe to call again."""
        self._end("closed")

    async def _exchange(self, caller: Caller, where: str, request: Callable[[], Awaitable[ModbusPDU]]) -> ModbusPDU:
        """Await one pymodbus request under the caller's deadline, which begins now.

        The connection ends with whatever is not a clean answer.
        """
        if self.lost:
            raise ConnectionLost(where, self.lost)
        try:
            async with asyncio.timeout(caller.deadline_s) as scope:
                self._scope = scope
                try:
                    reply = await request()
                finally:
                    self._request, self._scope = b"", None
        except TimeoutError:
            fault = self.lost
            self._end("dropped after a timeout")
            if fault.startswith("bad reply"):
                raise BadReply(where, fault) from None
            if fault:
                raise ConnectionLost(where, fault) from None
            raise Timeout(where, f"no answer within {caller.deadline_s * 1000:g} ms") from None
        except ModbusException as error:
            self._end(f"dropped: {error}")
            raise ConnectionLost(where, str(error)) from None
        except asyncio.CancelledError:
            self._end("dropped: a request was cancelled")
            raise
        self.answered = True
        if reply.isError():
            raise DeviceException(where, reply.exception_code)
        return reply

    def _packet(self, sending: bool, data: bytes) -> bytes:
        """pymodbus' packet hook: remember what is sent, let through only what answers it."""
        if sending:
            self._request = data
            return data
        fault = frame_fault(self._request, data) if self._request else "bytes that nobody asked for"
        if fault:
            self._end(f"bad reply: {fault}")
            return b""
        return data

    def _connected(self, connected: bool) -> None:
        if not connected:
            self.by_peer = not self.lost
            self._end("connection closed by the device")

    def _end(self, why: str) -> None:
        """No more requests on this connection; one that waits is woken at once instead of at its deadline."""
        if self.lost:
            return
        now_s = asyncio.get_running_loop().time()
        self.lost, self.lost_at_s = why, now_s
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(now_s)
        self._client.close()


def frame_fault(request: bytes, reply: bytes) -> str:
    """What is wrong with the bytes of a reply so far, or "" if they can still be, or are, the answer to `request`.

    Frames are ADUs of MODBUS Messaging on TCP/IP V1.0b, 3.1.3: transaction, protocol 0, length, unit, function, data.
    """
    function = request[7]
    if fault := _header_fault(request, reply):
        return fault
    if len(reply) < 9:  # the shortest answer, an exception
        return ""
    if reply[7] == function | 0x80:
        expected = 9
    elif reply[7] != function:
        return f"function {reply[7]}, expected {function}"
    elif function in READ_FUNCTIONS:
        register_bytes = 2 * int.from_bytes(request[10:12], "big")
        if reply[8] != register_bytes:
            return f"{reply[8]} bytes of registers, expected {register_bytes}"
        expected = 9 + register_bytes
    else:  # function 16 repeats address and count, function 6 address and value
        if not request[8:12].startswith(reply[8:12]):
            meaning = "address, value" if function == 6 else "address, count"
            return f"a write of {reply[8:12].hex()}, expected {request[8:12].hex()} ({meaning})"
        expected = 12
    length = int.from_bytes(reply[4:6], "big") + 6
    if length != expected:
        return f"a frame of {length} bytes, expected {expected}"
    if len(reply) > expected:
        return f"{len(reply) - expected} bytes after the answer"
    return ""


def _header_fault(request: bytes, reply: bytes) -> str:
    """Transaction, protocol and unit against the request's, as far as they have arrived."""
    if not request[:2].startswith(reply[:2]):
        return f"transaction {reply[:2].hex()}, expected {request[:2].hex()}"
    if any(reply[2:4]):
        return f"protocol {reply[2:4].hex()}, expected 0000"
    if len(reply) > 6 and reply[6] != request[6]:
        return f"unit {reply[6]}, expected {request[6]}"
    return ""
