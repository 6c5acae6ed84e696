"""The bus: a connection to NATS with its streams and buckets. The one module that imports nats-py, when it connects.

JetStream keeps messages until a hub has acknowledged them, and syncs its files every two minutes only: a power cut at
the broker may lose what it has accepted. Nothing relies on it: an uplink sends again what no hub has stored.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fleet.bus_messages import CONSUMER, NOW, PREFIX, STORED, STREAM
from fleet.site_text import one_line

log = logging.getLogger("skerry.fleet")

CONNECT_S = 20.0
ANSWER_S = 10.0
ACK_WAIT_S = 60.0  # after which a message that no hub has acknowledged is delivered again
UNACKNOWLEDGED = 2000  # messages at hubs, at most
STREAM_BYTES = 4 << 30
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class BusFailed(Exception):
    """The bus does not answer, or refuses. The text says what and what to do."""


class NotInstalled(Exception):
    """A client library that is not installed with Skerry itself cannot be imported."""

    def __init__(self, error: ImportError) -> None:
        super().__init__(f"{error}; install it with: pip install 'skerry[hub]'")


class Broker(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bus is, and by which files this process is known there."""

    url: str  # tls://host:4222; nats:// on this machine only
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Delivered:
    """A message at a hub. Exactly one of its methods is to be called. Both raise BusFailed."""

    def __init__(self, message: Any) -> None:
        self._message = message
        self.subject: str = message.subject
        self.data: bytes = message.data
        self.deliveries: int = message.metadata.num_delivered

    async def done(self) -> None:
        """It is stored, or never will be: the bus forgets it."""
        await _sent(self._message.ack())

    async def later(self, delay_s: float) -> None:
        """Deliver it again, to any hub."""
        await _sent(self._message.nak(delay=delay_s))


class Bus:
    """A connection that comes back by itself. Raises BusFailed."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._stream = connection.jetstream(timeout=ANSWER_S)
        self._fetching: Any = None

    @classmethod
    async def connect(cls, broker: Broker, name: str, inbox: str) -> Bus:
        """Connect. `inbox`: what the subjects of answers begin with; the server lets a site read its own alone."""
        try:
            import nats
            from nats.errors import Error
        except ImportError as error:
            raise NotInstalled(error) from None

        async def said(error: Exception) -> None:
            log.warning("bus: %s", one_line(str(error)) or type(error).__name__)

        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await nats.connect(
                    broker.url,
                    name=name,
                    tls=tls_context(broker),
                    inbox_prefix=inbox.encode(),
                    connect_timeout=5,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=2,
                    error_cb=said,
                )
        except (Error, OSError, TimeoutError) as error:
            why = one_line(str(error)) or f"no answer within {CONNECT_S:g} s"
            raise BusFailed(f"{broker.url}: {why}; is nats-server running there, with JetStream?") from None
        return cls(connection)

    async def close(self) -> None:
        """Hang up. What was not sent is given up, and does not fail: it is sent again over the next connection."""
        from nats.errors import Error

        try:
            await self._connection.close()
        except (Error, OSError, AttributeError) as error:  # nats-py 2.16 writes to a TLS connection that is gone
            log.debug("bus: closed, with something not sent: %s", error)

    def check(self) -> None:
        """Raises BusFailed while the connection is broken."""
        if not self._connection.is_connected:
            raise BusFailed("the connection to the bus is broken")

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand a message to the stream, which has taken it when this returns."""
        most = self._connection.max_payload
        if len(data) > most:
            raise TooLarge(f"a message of {len(data)} bytes, the bus takes {most}: raise max_payload of nats-server")
        await self._asked(self._stream.publish(subject, data, timeout=ANSWER_S), subject)

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Set a value."""
        subject = _subject(bucket, key)
        await self._asked(self._stream.publish(subject, data, timeout=ANSWER_S), subject)

    async def value(self, bucket: str, key: str) -> bytes | None:
        """A value; None: nobody has set it."""
        from nats.js.errors import NotFoundError

        subject = _subject(bucket, key)
        try:
            message = await self._asked(self._stream.get_last_msg(f"KV_{bucket}", subject, direct=True), subject)
        except NotFoundError:
            return None
        data: bytes | None = message.data
        return data

    async def follow(self, bucket: str, key: str, heard: Callable[[bytes], None]) -> None:
        """Hear of each new value from now on."""

        async def hear(message: Any) -> None:
            heard(message.data)

        await self._asked(self._connection.subscribe(_subject(bucket, key), cb=hear), bucket)

    async def follow_all(self, bucket: str, heard: Callable[[str, float, bytes], None]) -> None:
        """Hear of the newest value of every key, and of each new one: key, its age (s), value.

        Returns when the values that there are have been heard. New ones come by a plain subscription, which outlives
        a restart of the bus.
        """
        from nats.js import api

        subject, begins = _subject(bucket, ">"), len(_subject(bucket, ""))

        async def hear(message: Any) -> None:
            heard(message.subject[begins:], 0.0, message.data)

        await self._asked(self._connection.subscribe(subject, cb=hear), subject)
        found: list[Any] = []
        complete = asyncio.Event()

        async def collect(message: Any) -> None:
            found.append(message)
            if message.metadata.num_pending == 0:
                complete.set()

        inbox = self._connection.new_inbox()
        collecting = await self._asked(self._connection.subscribe(inbox, cb=collect), subject)
        newest = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT,
            ack_policy=api.AckPolicy.NONE,
            deliver_subject=inbox,
            filter_subject=subject,
        )
        try:
            made = await self._asked(self._stream.add_consumer(f"KV_{bucket}", newest), subject)
            if made.num_pending:
                await asyncio.wait_for(complete.wait(), ANSWER_S)
        except TimeoutError:
            raise BusFailed(f"{subject}: not all values within {ANSWER_S:g} s") from None
        finally:
            await self._asked(collecting.unsubscribe(), subject)
        for message in found:
            age_s = (made.created - message.metadata.timestamp).total_seconds()
            heard(message.subject[begins:], max(0.0, age_s), message.data)

    async def prepare(self, stream_bytes: int = STREAM_BYTES) -> bool:
        """Make stream, buckets and the hubs' consumer; whether one was not there. For hubs."""
        from nats.js import api

        # one message of a subject: what is sent again takes the place of the first. A full stream refuses, and deletes
        # nothing that no hub has stored
        queue = api.StreamConfig(
            name=STREAM,
            subjects=[f"{PREFIX}.*.*.*"],
            retention=api.RetentionPolicy.WORK_QUEUE,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy.NEW,
            max_msgs_per_subject=1,
            max_bytes=stream_bytes,
        )
        made = [await self._made(queue)]
        for bucket in (NOW, STORED):
            values = api.StreamConfig(
                name=f"KV_{bucket}",
                subjects=[_subject(bucket, ">")],
                storage=api.StorageType.FILE,
                discard=api.DiscardPolicy.NEW,
                max_msgs_per_subject=1,
                allow_direct=True,
                allow_rollup_hdrs=True,
                deny_delete=True,
            )
            made.append(await self._made(values))
        consumer = api.ConsumerConfig(
            durable_name=CONSUMER,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_ack_pending=UNACKNOWLEDGED,
        )
        await self._asked(self._stream.add_consumer(STREAM, consumer), STREAM)
        if self._fetching is None:
            binding = self._stream.pull_subscribe_bind(durable=CONSUMER, stream=STREAM)
            self._fetching = await self._asked(binding, STREAM)
        return any(made)

    async def fetch(self, count: int, timeout_s: float) -> Sequence[Delivered]:
        """So many messages at most; those that are there, or the first that comes in time. After `prepare`."""
        from nats.errors import Error

        try:
            return [Delivered(m) for m in await _cancellable(self._fetching.fetch(count, timeout=timeout_s))]
        except TimeoutError:  # nats-py's are of this kind
            return ()
        except Error as error:
            raise BusFailed(f"{STREAM}: {one_line(str(error))}") from None

    async def _made(self, config: Any) -> bool:
        """Whether a stream was not there. One that is there gets this configuration."""
        from nats.js.errors import BadRequestError, NotFoundError

        try:
            await self._asked(self._stream.stream_info(config.name), config.name)
        except NotFoundError:
            await self._asked(self._stream.add_stream(config), config.name)
            return True
        try:
            await self._asked(self._stream.update_stream(config), config.name)
        except BadRequestError as error:
            raise BusFailed(f"{config.name}: {one_line(str(error))}") from None
        return False

    async def _asked(self, asking: Coroutine[Any, Any, Any], what: str) -> Any:
        """An answer. Raises BusFailed; NotFoundError and BadRequestError as they are."""
        from nats.errors import Error
        from nats.js.errors import BadRequestError, NotFoundError

        try:
            return await _cancellable(asking)
        except (BadRequestError, NotFoundError):
            raise
        except TimeoutError:
            raise BusFailed(f"{what}: no answer within {ANSWER_S:g} s; or this process may not use it") from None
        except (Error, OSError) as error:
            raise BusFailed(f"{what}: {one_line(str(error))}") from None


class TooLarge(BusFailed):
    """A message that the bus would never take."""


def tls_context(broker: Broker) -> ssl.SSLContext | None:
    """TLS by the files of a broker; None on this machine without them. Raises BusFailed."""
    try:
        url = urlsplit(broker.url)
        known = url.hostname is not None and url.port != 0 and url.username is None and url.password is None
    except ValueError:  # a port that is none, brackets that do not close
        known = False
    if not known:  # not told in full: it may hold a password
        raise BusFailed("the URL of the bus: expected tls://HOST:4222, without user and password")
    if url.scheme == "nats" and url.hostname in LOOPBACK:
        return None
    if url.scheme != "tls":
        raise BusFailed(f"{broker.url}: expected tls://HOST:4222; nats:// without TLS is for this machine only")
    try:
        context = ssl.create_default_context(cafile=None if broker.ca is None else str(broker.ca))
        if broker.certificate is not None:
            context.load_cert_chain(broker.certificate, broker.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(path) for path in (broker.ca, broker.certificate, broker.key) if path is not None)
        raise BusFailed(f"{files}: {error}; expected PEM files, see deploy/hub") from None
    return context


def _subject(bucket: str, key: str) -> str:
    return f"$KV.{bucket}.{key}"


async def _sent(answering: Coroutine[Any, Any, Any]) -> None:
    """Hand an answer to a message to the connection. Raises BusFailed."""
    from nats.errors import Error

    try:
        await answering
    except (Error, OSError) as error:
        raise BusFailed(f"{STREAM}: {one_line(str(error)) or type(error).__name__}") from None


async def _cancellable(asking: Coroutine[Any, Any, Any]) -> Any:
    """An answer. nats-py waits by `asyncio.wait_for`, which before Python 3.12 may swallow that it is cancelled."""
    task = asyncio.create_task(asking)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # looked at, also where nobody waits
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    return task.result()
