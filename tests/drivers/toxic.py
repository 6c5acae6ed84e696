"""A Modbus TCP server that misbehaves on demand, in front of a fake device or of a real server.

    device = FakeDevice({40000: [0x5375, 0x6E53]})
    async with ToxicServer(device) as server:
        server.toxic = "late"

`Upstream(host, port)` instead of a FakeDevice makes it a proxy.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from typing import Protocol

TOXICS = (
    "hang",  # takes the request, says nothing
    "late",  # answers, after `late_s`
    "short",  # one register less, with a byte count that fits
    "truncated",  # the last byte never comes
    "bad_byte_count",  # byte count larger than the frame
    "wrong_tid",
    "zero_tid",
    "previous_tid",
    "wrong_protocol",
    "wrong_unit",
    "wrong_function",
    "exception",
    "reset",  # TCP RST
    "close",  # orderly close instead of an answer
    "garbage",
    "flood",
    "extra",  # the answer and then some
    "long",  # a length of 65535
    "cut_off",  # half of the answer, then TCP RST
)
HARMLESS = (  # the answer is in it: it may be taken
    "slow",  # byte by byte
    "half_close",  # the answer, then no more
    "twice",  # and once again a moment later
)
# An answer that is not that of the request has other values, too. Its first two registers say what it is: they stay.
NOT_ITS_OWN = ("wrong_tid", "zero_tid", "previous_tid", "wrong_protocol", "wrong_unit", "wrong_function", "short")
OTHERS = (
    "refuse",  # drops each connection as soon as it is made, and those that are there
    "any_exception",  # any of the 256 codes
    "bad_header",  # one bit of the first 8 bytes is another
)


class Backend(Protocol):
    async def exchange(self, frame: bytes) -> bytes: ...


class FakeDevice:
    """Registers. `writes` records each (address, values), `reads` each (address, count).

    Functions 3 and 4 read the same, 1 and 2 the lowest bit of it, except where `inputs` holds something else for 4.

    What devices in the field do otherwise: `max_count` registers in a read at most; `silent`: no answer where others
    give an exception; `single_by`: the one function that writes a single register; `busy_every`: each such request,
    counted over all, is answered by the exception "busy".
    """

    def __init__(self, blocks: dict[int, list[int]], unit: int = 1) -> None:
        self.registers = {base + n: value for base, values in blocks.items() for n, value in enumerate(values)}
        self.unit = unit
        self.inputs: dict[int, int] = {}  # input registers that hold something else than the holding register there
        self.reads: list[tuple[int, int]] = []
        self.writes: list[tuple[int, list[int]]] = []
        self.on_write: Callable[[int, list[int]], None] = lambda address, values: None
        self.refuse: dict[int, int] = {}  # register -> exception code on read or write
        self.max_count, self.silent = 125, False
        self.single_by = self.busy_every = 0  # 0: any, never
        self.refuses_with = 1  # a single register by the other function
        self.asked = 0
        self.write_functions: list[int] = []

    def __getitem__(self, address: int) -> int:
        return self.registers[address]

    def __setitem__(self, address: int, value: int) -> None:
        self.registers[address] = value & 0xFFFF

    async def exchange(self, frame: bytes) -> bytes:
        tid, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", frame[:12])
        reading = function in (1, 2, 3, 4)
        values = [] if reading else list(struct.unpack(f">{len(frame[13:]) // 2}H", frame[13:]))
        if function == 6:
            values, count = [count], 1
        if not reading:
            self.write_functions.append(function)
        if code := self._refusal(unit, function, range(address, address + count)):
            return b"" if self.silent else adu(tid, unit, bytes([function | 0x80, code]))
        wanted = range(address, address + count)
        if reading:
            self.reads.append((address, count))
            held = self.registers | self.inputs if function == 4 else self.registers
            if function in (1, 2):  # the lowest bit of each register
                packed = sum((held[r] & 1) << n for n, r in enumerate(wanted)).to_bytes((count + 7) // 8, "little")
                body = bytes([function, len(packed)]) + packed
            else:
                body = struct.pack(f">BB{count}H", function, 2 * count, *(held[r] for r in wanted))
        else:
            self.writes.append((address, values))
            self.registers.update(zip(wanted, values, strict=True))
            self.on_write(address, values)
            body = frame[7:12]
        return adu(tid, unit, body)

    def _refusal(self, unit: int, function: int, wanted: range) -> int:
        """The exception code for a request; 0: it is granted."""
        self.asked += 1
        if self.busy_every and self.asked % self.busy_every == 0:
            return 6
        if unit != self.unit:
            return 11
        if code := next((self.refuse[r] for r in wanted if r in self.refuse), 0):
            return code
        if function in (3, 4) and len(wanted) > self.max_count:
            return 3
        if function not in (1, 2, 3, 4) and len(wanted) == 1 and self.single_by not in (0, function):
            return self.refuses_with
        return 2 if any(r not in self.registers for r in wanted) else 0

    def replace(self, base: int, values: list[int]) -> None:
        """Another register map, at once."""
        self.registers = {base + n: value for n, value in enumerate(values)}


class Units:
    """Several devices behind one address, told apart by their unit. One that hangs is in `hung`."""

    def __init__(self, *devices: FakeDevice) -> None:
        self.devices = {device.unit: device for device in devices}
        self.hung: set[int] = set()
        self.asked: list[int] = []  # units, in the order of their requests

    async def exchange(self, frame: bytes) -> bytes:
        unit = frame[6]
        self.asked.append(unit)
        return b"" if unit in self.hung else await self.devices[unit].exchange(frame)


class Upstream:
    """A real Modbus TCP server; one connection, reopened after it fails."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()

    async def exchange(self, frame: bytes) -> bytes:
        async with self._lock:
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self.address)
            reader, writer = self._streams
            try:
                writer.write(frame)
                return await read_adu(reader)
            except (OSError, asyncio.IncompleteReadError):
                writer.close()
                self._streams = None
                raise

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()


def adu(tid: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


async def read_adu(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(6)
    return head + await reader.readexactly(int.from_bytes(head[4:6], "big"))


class ToxicServer:
    """Serves `backend` on an ephemeral loopback port; `toxic` ("": none) applies to each answer."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.toxic = ""
        self.late_s = 0.15
        self.chance = random.Random(1)
        self.next_toxic = ""  # begins with the request after so many
        self.begins_in: int | None = None
        self.requests = 0
        self.connections = 0
        self.most_open = 0  # connections at a time; one more is closed at once where it would exceed `max_open`
        self.max_open: int | None = None
        self.host, self.port = "127.0.0.1", 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ToxicServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.toxic == "refuse":
            writer.transport.abort()
            return
        if self.max_open is not None and len(self._writers) >= self.max_open:
            writer.close()
            return
        self._writers.add(writer)
        self.most_open = max(self.most_open, len(self._writers))
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                request = await read_adu(reader)
                self.requests += 1
                toxic = self._toxic_now()
                await self._reply(writer, toxic, request, await self.backend.exchange(request))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)

    def _toxic_now(self) -> str:
        if self.begins_in is not None:
            self.begins_in -= 1
            if self.begins_in < 0:
                self.toxic, self.begins_in = self.next_toxic, None
        return self.toxic

    async def _reply(self, writer: asyncio.StreamWriter, toxic: str, request: bytes, reply: bytes) -> None:
        if toxic == "hang" or not reply:
            return
        if toxic == "late":
            await asyncio.sleep(self.late_s)
        if toxic == "slow":
            for byte in reply:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.001)
            return
        if toxic == "reset":
            writer.transport.abort()
            return
        if toxic in ("close", "refuse"):
            writer.close()
            return
        writer.write(poison(toxic, request, reply, self.chance))
        await writer.drain()
        if toxic == "cut_off":
            writer.transport.abort()
        if toxic == "half_close":
            writer.write_eof()
        if toxic == "twice":
            await asyncio.sleep(0.002)
            writer.write(reply)


def poison(toxic: str, request: bytes, reply: bytes, chance: random.Random) -> bytes:
    """The bytes that go out instead of `reply`."""
    if toxic in NOT_ITS_OWN and reply[7] == 3:
        reply = reply[:13] + bytes(byte ^ 1 for byte in reply[13:])
    tid, unit, function = int.from_bytes(reply[:2], "big"), reply[6], reply[7]
    pdu = reply[7:]
    match toxic:
        case "short":
            return adu(tid, unit, bytes([function, max(pdu[1] - 2, 0)]) + pdu[2:-2])
        case "truncated":
            return reply[:-1]
        case "bad_byte_count":
            return adu(tid, unit, bytes([function, 250]) + pdu[2:])
        case "wrong_tid":
            return adu(tid ^ 0x0100, unit, pdu)
        case "zero_tid":
            return adu(0, unit, pdu)
        case "previous_tid":
            return adu(max(tid - 1, 0), unit, pdu)
        case "wrong_protocol":
            return reply[:2] + b"\x00\x07" + reply[4:]
        case "wrong_unit":
            return adu(tid, unit ^ 0x11, pdu)
        case "wrong_function":
            return adu(tid, unit, bytes([4 if function == 3 else 6]) + pdu[1:])
        case "exception":
            return adu(tid, unit, bytes([request[7] | 0x80, 4]))
        case "garbage":
            return bytes((17 * n + 3) & 0xFF for n in range(61))
        case "flood":
            return b"\xa5" * 4000
        case "extra":
            return reply + reply
        case "long":
            return reply[:4] + b"\xff\xff" + reply[6:]
        case "cut_off":
            return reply[: len(reply) // 2]
        case "any_exception":
            return adu(tid, unit, bytes([request[7] | 0x80, chance.randrange(256)]))
        case "bad_header":
            at, bit = chance.randrange(8), 1 << chance.randrange(8)
            return reply[:at] + bytes([reply[at] ^ bit]) + reply[at + 1 :]
        case _:
            return reply
