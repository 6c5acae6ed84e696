"""One connection to an MQTT broker: bounded packets, queues and waits. Whoever uses it reconnects, with a back-off."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from drivers.connect_errors import system_reason
from drivers.credentials import CredentialName, secret
from drivers.http.secret_file import hidden
from drivers.http.trust import tls_context
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, Timeout
from drivers.mqtt import packets
from drivers.mqtt.packets import Acknowledged, Connack, Malformed, Message, Will

KEEP_ALIVE_S = 30
MOST_BYTES = 65_536  # of a payload that comes in
HEADROOM = 1_024  # of a packet beside its payload: topic and properties
WAITING = 16  # messages that have come and were not taken yet
CLOSE_S = 1.0  # for a broker to take the end; TLS has one of its own
ADVICE = "check host and port, that the broker runs, its log, and firewalls"

T = TypeVar("T")


class Broker(msgspec.Struct, frozen=True, kw_only=True):
    """Where a broker is and how a client names itself. `password`: name of a credential; `ca`: None: the system's."""

    host: str
    port: int
    tls: bool = False
    ca: Path | None = None
    username: str = ""
    password: CredentialName = ""
    client_id: str = ""  # empty: the broker gives one
    deadline_s: float = 5.0  # of connecting, and of each answer

    @property
    def where(self) -> str:
        """For errors."""
        return f"mqtt at {self.host}:{self.port}"


@asynccontextmanager
async def connected(
    broker: Broker, *, will: Will | None = None, most_bytes: int = MOST_BYTES
) -> AsyncIterator[Connection]:
    """A connection, ended in order. Raises DeviceError: ConnectionLost, Timeout, BadReply, NotTrusted."""
    connection = Connection(broker, most_bytes)
    try:
        await connection.open(will)
        yield connection
    finally:
        await connection.close()


async def subscribe(broker: Broker, topic: str, *, most_bytes: int = MOST_BYTES) -> AsyncIterator[tuple[str, bytes]]:
    """Messages of a topic or filter as (topic, payload), those retained first. It never ends by itself.

    A message is acknowledged when it is put into a queue of `WAITING`; while that is full nothing more is read.
    Raises DeviceError when the connection ends: ConnectionLost, Timeout, BadReply, NotTrusted.
    """
    async with connected(broker, most_bytes=most_bytes) as connection:
        await connection.subscribe(topic)
        while True:
            found = await connection.message()
            yield found.topic, found.payload


class Connection:
    """What `connected` gives. Each call waits for the broker's answer, at most its deadline."""

    def __init__(self, broker: Broker, most_bytes: int) -> None:
        self._broker, self._most_bytes = broker, most_bytes + HEADROOM
        self._loop = asyncio.get_running_loop()
        self._connack: asyncio.Future[Connack] = self._loop.create_future()
        self._ended: asyncio.Future[DeviceError] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[Acknowledged]] = {}
        self._messages: asyncio.Queue[Message] = asyncio.Queue(WAITING)
        self._last_id = 0
        self._most_qos, self._most_sent = 1, packets.MOST_REMAINING
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._heard_s = self._loop.time()
        self._ping: asyncio.TimerHandle | None = None
        self._keep_alive_s = float(KEEP_ALIVE_S)

    async def open(self, will: Will | None) -> None:
        """Connect, and say who this is. Raises DeviceError."""
        broker = self._broker
        try:
            async with asyncio.timeout(broker.deadline_s):
                password, tls = await asyncio.to_thread(_trust, broker)  # reads files
                first = packets.connect(
                    broker.client_id,
                    keep_alive_s=KEEP_ALIVE_S,
                    most_bytes=self._most_bytes,
                    most_unacknowledged=WAITING,
                    username=broker.username,
                    password=password,
                    will=will,
                )
                reader, self._writer = await asyncio.open_connection(broker.host, broker.port, ssl=tls)
                self._writer.write(first)
                self._reading = asyncio.create_task(self._read(reader), name=broker.where)
                answer = await self._or_ended(self._connack)
        except TimeoutError:
            raise Timeout(broker.where, f"no answer within {broker.deadline_s:g} s", ADVICE) from None
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConnectionLost(broker.where, system_reason(error) or type(error).__name__, ADVICE) from None
        if answer.reason >= packets.REFUSED:
            what = f"refuses: {hidden(packets.reason_words(answer.reason, answer.text), password)}"
            raise ConnectionLost(broker.where, what, "check username, password and what the broker allows")
        self._most_qos, self._most_sent = answer.most_qos, answer.most_bytes
        if answer.keep_alive_s:  # 3.2.2.3.14: the broker's counts; 0: none is asked for
            self._keep_alive_s = float(answer.keep_alive_s)
        self._schedule_ping()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it; at QoS 0 where it takes no more. Raises DeviceError."""
        id = self._next_id() if self._most_qos else None
        packet = packets.publish(topic, payload, retain=retain, packet_id=id)
        if len(packet) > self._most_sent:
            what = f"takes packets of {self._most_sent} bytes at most, {topic} has {len(packet)}"
            raise BadReply(self._broker.where, what, "raise its limit of the packet size")
        await self._send(packet, id, f"does not take {topic}")

    async def subscribe(self, topic: str) -> None:
        """Ask for the messages of a filter. Raises DeviceError."""
        id = self._next_id()
        await self._send(packets.subscribe(id, topic), id, f"refuses the subscription to {topic}")

    async def message(self) -> Message:
        """The next message that has come. Raises DeviceError when the connection has ended."""
        return await self._or_ended(asyncio.ensure_future(self._messages.get()))

    def check(self) -> None:
        """Raises DeviceError once the connection has ended."""
        if self._ended.done():
            raise self._ended.result().with_traceback(None)

    async def close(self) -> None:
        """End it in order, without waiting for a broker that hangs. The will is not published."""
        if self._ping is not None:
            self._ping.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._writer is not None:
            if not self._ended.done():
                self._writer.write(packets.DISCONNECT_PACKET)
            self._writer.close()
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._writer.wait_closed()
            except (OSError, TimeoutError):
                pass  # it is gone already, or hangs
            finally:
                self._writer.transport.abort()

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send(self, packet: bytes, id: int | None, refused: str) -> None:
        """Send a packet and wait for what acknowledges it. Raises DeviceError."""
        self.check()
        assert self._writer is not None
        self._writer.write(packet)
        if id is None:
            return
        where, deadline_s = self._broker.where, self._broker.deadline_s
        answer = self._waiting[id] = self._loop.create_future()
        try:
            async with asyncio.timeout(deadline_s):
                found = await self._or_ended(answer)
        except TimeoutError:
            raise Timeout(where, f"no acknowledgement within {deadline_s:g} s", ADVICE) from None
        finally:
            del self._waiting[id]
        if found.reason >= packets.REFUSED:
            what = f"{refused}: {packets.reason_words(found.reason, found.text)}"
            raise BadReply(where, what, "check what the broker allows this user (its ACL)")

    def _next_id(self) -> int:
        self._last_id = self._last_id % 65_535 + 1
        return self._last_id

    async def _or_ended(self, answer: asyncio.Future[T]) -> T:
        """The answer. Raises DeviceError when the connection ends before."""
        try:
            await asyncio.wait((answer, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise self._ended.result().with_traceback(None)
        finally:
            answer.cancel()

    # ── receiving ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self, reader: asyncio.StreamReader) -> None:
        where = self._broker.where
        try:
            while True:
                await self._take(*await self._packet(reader))
                self._heard_s = self._loop.time()
        except Malformed as error:
            self._end(BadReply(where, f"sends what is no MQTT 5: {error}", "is this the port of an MQTT broker?"))
        except asyncio.IncompleteReadError:
            self._end(ConnectionLost(where, "closed by the broker", ADVICE))
        except OSError as error:
            self._end(ConnectionLost(where, system_reason(error), ADVICE))

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        """First byte and content of the next packet. Raises Malformed, IncompleteReadError, OSError."""
        first, length = (await reader.readexactly(1))[0], 0
        if not self._connack.done() and first >> 4 != packets.CONNACK:
            raise Malformed(f"packet type {first >> 4} before its answer to CONNECT")
        for place in range(4):
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 0x7F) << (7 * place)
            if not digit & 0x80:
                break
        else:
            raise Malformed("a length of more than four bytes")
        if length > self._most_bytes:
            raise Malformed(f"a packet of {length} bytes, asked for were {self._most_bytes} at most")
        return first, await reader.readexactly(length)

    async def _take(self, first: int, content: bytes) -> None:
        """Raises Malformed; OSError where the broker has ended the connection."""
        kind = first >> 4
        if kind == packets.CONNACK:
            if self._connack.done():
                raise Malformed("a second answer to CONNECT")
            self._connack.set_result(packets.connack(content))
        elif kind == packets.PUBLISH:
            await self._take_message(packets.message(first & 0x0F, content))
        elif kind in (packets.PUBACK, packets.SUBACK):
            found = packets.acknowledged(kind, content)
            waiting = self._waiting.get(found.packet_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(found)
        elif kind == packets.DISCONNECT:
            raise OSError(f"the broker ends the connection: {packets.disconnect_words(content)}")
        elif kind != packets.PINGRESP:
            raise Malformed(f"packet type {kind}, which a broker does not send to this client")

    async def _take_message(self, found: Message) -> None:
        await self._messages.put(found)
        if found.packet_id is not None and self._writer is not None:
            self._writer.write(packets.puback(found.packet_id))

    def _schedule_ping(self) -> None:
        self._ping = self._loop.call_later(self._keep_alive_s / 2, self._keep_alive)

    def _keep_alive(self) -> None:
        """Ask for a sign of life; end a connection on which nothing has come for too long."""
        assert self._writer is not None
        silent_s = self._loop.time() - self._heard_s
        if silent_s > 1.5 * self._keep_alive_s and not self._messages.full():
            self._end(Timeout(self._broker.where, f"silent for {silent_s:.0f} s", ADVICE))
            return
        self._writer.write(packets.PINGREQ_PACKET)
        self._schedule_ping()

    def _end(self, why: DeviceError) -> None:
        if not self._ended.done():
            self._ended.set_result(why)
        if self._writer is not None:
            self._writer.transport.abort()


def _trust(broker: Broker) -> tuple[str, ssl.SSLContext | None]:
    """Password, and what the broker's certificate is verified by. Raises NotTrusted."""
    password = secret(broker.where, "password", broker.password) if broker.password else ""
    return password, tls_context(broker.where, broker.ca) if broker.tls else None
