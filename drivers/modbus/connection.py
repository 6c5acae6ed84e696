"""One connection to one Modbus device. It never reconnects: after the first mismatch it is closed.

Each byte that comes in is compared with the request that it must answer (`frames.py`) before anything is read from it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import NamedTuple

from drivers.connect_errors import system_reason
from drivers.modbus.address import Address
from drivers.modbus.channels import Channel, open_channel
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, DeviceException, NotModbus, Timeout
from drivers.modbus.frames import (
    BIT_FUNCTIONS,
    CRC_FAULT,
    MAX_WRITE,
    READ_FUNCTIONS,
    RTU,
    TCP,
    TCP_ANY_TRANSACTION,
    Framing,
    bits,
    read_request,
    registers,
    write_one_request,
    write_request,
)
from drivers.modbus.other_protocols import no_tls, other_protocol

CONNECT_S = 1.0  # a TCP handshake may be slower than an answer; it runs beside the requests, never inside one
LATE = "dropped after a timeout"
SILENT_CHARACTERS = 3.5  # between two frames on a serial line, MODBUS over Serial Line V1.02, 2.5.1.1
LEAST_SILENCE_S = 0.00175  # the same section, above 19200 baud


class Caller(NamedTuple):
    """Who asks: the device's name in the site file, and how long it may take to answer, s."""

    device: str
    deadline_s: float
    any_transaction: bool = False  # its gateway spoils transaction ids


class _Place(NamedTuple):
    """What a request is about."""

    caller: Caller
    at: Address
    unit: int
    first: int  # register
    last: int

    def __str__(self) -> str:
        registers = f"registers {self.first}-{self.last}" if self.last > self.first else f"register {self.first}"
        return f"{self.caller.device} at {self.at} unit {self.unit}, {registers}"


class _Waiting(NamedTuple):
    """A request that is out."""

    framing: Framing
    request: bytes
    answer: asyncio.Future[bytes]  # the PDU; empty: the connection has ended
    until_s: float  # the deadline, on the event loop's clock


class Connection:
    """Requests over one connection, one at a time: callers take turns (`Line.turn`).

    `lost` is empty while it may be used, else why it may not.
    """

    def __init__(self, address: Address, longest_s: float, tls: ssl.SSLContext | None = None) -> None:
        """`longest_s`: the longest deadline of any caller."""
        self.lost = ""
        self.lost_at_s = 0.0  # on the event loop's clock
        self.answered = False  # at least one clean answer came
        self.by_peer = False  # it was the other side that ended it
        self.other_protocol = ""  # that answers, in words
        self.owed = False  # the answer to the last request may still come
        self._address, self._tls = address, tls
        self._loop = asyncio.get_running_loop()  # kept: asking for it is a system call before Python 3.12
        self._connect_s = max(CONNECT_S, 2 * longest_s)
        self._silence_s = max(address.wire_s(SILENT_CHARACTERS), LEAST_SILENCE_S) if address.rtu else 0.0
        self._channel: Channel | None = None
        self._transaction = 0
        self._waiting: _Waiting | None = None
        self._reply = b""
        self._last_byte_s = float("-inf")

    async def connect(self) -> bool:
        """Open the connection. False if it cannot be had; then this object is of no more use."""
        try:
            self._channel = await open_channel(self._address, self._tls, self._received, self._closed, self._connect_s)
        except TimeoutError:
            self._end(f"cannot connect: no answer within {self._connect_s:g} s")
        except ssl.SSLError as error:
            self._end(f"cannot connect: {no_tls(error)}")
        except (OSError, UnicodeError, OverflowError) as error:  # the latter: a host name or port that cannot be one
            self._end(f"cannot connect: {system_reason(error)}")
        return not self.lost

    async def read(self, caller: Caller, unit: int, address: int, count: int, function: int = 3) -> list[int]:
        """Read `count` holding registers (function 3) or input registers (function 4) from `address`, at most MAX_READ.

        Also coils (function 1) or discrete inputs (function 2), 0 or 1 each.
        Raises Timeout, ConnectionLost, BadReply, DeviceException.
        """
        if function not in (*READ_FUNCTIONS, *BIT_FUNCTIONS):
            raise ValueError(f"function = {function}: expected 1 (coils), 2 (inputs), 3 (holding), 4 (input registers)")
        place = _Place(caller, self._address, unit, address, address + count - 1)
        answer = await self._exchange(place, read_request(function, address, count))
        return registers(answer) if function in READ_FUNCTIONS else bits(answer, count)

    async def write(self, caller: Caller, unit: int, address: int, values: Sequence[int]) -> None:
        """Write holding registers (function 16) from `address`.

        Raises Timeout, ConnectionLost, BadReply, DeviceException. After Timeout and ConnectionLost it is not known
        whether the device took the values: read them back.
        """
        if not 1 <= len(values) <= MAX_WRITE:
            raise ValueError(f"{len(values)} values: expected 1..{MAX_WRITE} registers in one request")
        place = _Place(caller, self._address, unit, address, address + len(values) - 1)
        await self._exchange(place, write_request(address, values))

    async def write_one(self, caller: Caller, unit: int, address: int, value: int) -> None:
        """Write one holding register (function 6). Raises as `write`."""
        await self._exchange(_Place(caller, self._address, unit, address, address), write_one_request(address, value))

    def close(self) -> None:
        """Close the connection; safe to call again."""
        self._end("closed")

    async def _exchange(self, place: _Place, pdu: bytes) -> bytes:
        """Send one request, await its answer under the caller's deadline, which begins now.

        The connection ends with whatever is not a clean answer.
        """
        if self._address.rtu or place.caller.any_transaction:
            await self._silence(place)
        channel = self._open_channel()
        if channel is None:
            raise self._error(str(place))
        waiting = self._ask(place, pdu)
        timer = self._loop.call_at(waiting.until_s, self._late, waiting)
        try:
            channel.write(waiting.request)
            answer = await waiting.answer
        except asyncio.CancelledError:
            self._end("dropped: a request was cancelled")
            raise
        finally:
            timer.cancel()
            self._waiting = None
        if answer:
            self.answered = True
            if answer[0] & 0x80:
                raise DeviceException(str(place), answer[1])
            return answer
        if self.lost == LATE:
            raise self._timeout(str(place), place.caller)
        raise self._error(str(place))

    def _error(self, where: str) -> DeviceError:
        """Of a request on a connection that has ended."""
        if self.other_protocol:
            return NotModbus(where, self.lost)
        if self.lost.startswith("bad reply"):
            return BadReply(where, self.lost)
        return ConnectionLost(where, self.lost or "not connected")

    def _timeout(self, where: str, caller: Caller) -> Timeout:
        what = f"no answer within {caller.deadline_s * 1000:g} ms"
        if self.answered or self._address.rtu:
            return Timeout(where, what)
        advice = (
            "it connects, so check that Modbus is switched on at this port, and the unit id; or raise its deadline_s"
        )
        return Timeout(where, what, advice)

    def _open_channel(self) -> Channel | None:
        return None if self.lost else self._channel

    def _ask(self, place: _Place, pdu: bytes) -> _Waiting:
        """A request, ready to go out."""
        caller = place.caller
        framing = RTU if self._address.rtu else TCP_ANY_TRANSACTION if caller.any_transaction else TCP
        self._transaction = self._transaction % 0xFFFF + 1
        request = framing.frame(self._transaction, place.unit, pdu)
        serial = self._address.scheme == "serial"
        wire_s = self._address.wire_s(len(request) + framing.longest(request)) if serial else 0.0
        self._reply, self.owed = b"", True
        until_s = self._loop.time() + caller.deadline_s + wire_s
        self._waiting = _Waiting(framing, request, self._loop.create_future(), until_s)
        return self._waiting

    def _late(self, waiting: _Waiting) -> None:
        """The deadline of a request has come."""
        if waiting is self._waiting:
            self._end(LATE)

    async def _silence(self, place: _Place) -> None:
        """Take what has come so far, then wait for the pause between two frames.

        Bytes may have come while the process was held up: without transaction ids they must not be read as the answer
        to what is sent now. The event loop reads them before the second of two steps. Raises BadReply where others
        never stop to talk.
        """
        if self._channel is not None and not self.lost and self._channel.unread():
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        now_s = self._loop.time()
        give_up_s = now_s + place.caller.deadline_s
        while (wait_s := self._last_byte_s + self._silence_s - now_s) > 0:
            if now_s > give_up_s:
                self._end("bad reply: bytes that nobody asked for, without a pause: is there a second master?")
                raise BadReply(str(place), self.lost)
            await asyncio.sleep(wait_s)
            now_s = self._loop.time()

    def _received(self, data: bytes) -> None:
        """Compare what has come with what was asked for.

        Between requests a byte ends a connection whose frames have transactions. On a serial line it may be noise, or
        a late answer: it is thrown away. What is read after the deadline is late, also where this process was held up.
        """
        self._last_byte_s = self._loop.time()
        waiting = self._waiting
        if waiting is None:
            if not self._address.rtu:
                self._not_asked_for(data)
            return
        if self._last_byte_s > waiting.until_s:
            return self._end(LATE)
        self._reply += data
        if fault := waiting.framing.fault(waiting.request, self._reply):
            self.owed = not fault.startswith(CRC_FAULT)
            self.other_protocol = "" if self.answered else other_protocol(self._reply)
            self._end(self.other_protocol or f"bad reply: {fault}")
        elif answer := waiting.framing.answer(waiting.request, self._reply):
            self._waiting, self.owed = None, False
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    def _not_asked_for(self, data: bytes) -> None:
        self.other_protocol = "" if self.answered else other_protocol(data)
        self._end(self.other_protocol or "bad reply: bytes that nobody asked for")

    def _closed(self, why: str) -> None:
        self.by_peer = not self.lost
        self._end(f"connection closed by the device{why and ': '}{why}")

    def _end(self, why: str) -> None:
        """No more requests on this connection; one that waits is woken at once instead of at its deadline."""
        if self.lost:
            return
        self.lost, self.lost_at_s = why, self._loop.time()
        if self._waiting is not None and not self._waiting.answer.done():
            self._waiting.answer.set_result(b"")
        if self._channel is not None:
            self._channel.close()
