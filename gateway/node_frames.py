"""What flows between a gateway and the process that reads its nodes: a 4-byte length, then a msgpack document."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from dispatch.model.decoding import decoded
from dispatch.model.equipment import DeviceIdentity, Node
from drivers.node_config import NodeDevice
from drivers.nodes.observed import ObservedConfig
from drivers.notices import Notice
from drivers.redfish.limits import PowerLimit
from drivers.redfish.link import BmcSession

MOST_BYTES = 1 << 20  # of one frame; 16 nodes of 64 GPUs each have a third of it
MOST_CONFIG_BYTES = 64 << 20  # of the first one to the process, which the gateway itself has made


class BadFrame(Exception):
    """The other side sent what is no frame."""


class NodeRead(msgspec.Struct, frozen=True, array_like=True):
    """What came of the last reads of one node.

    `node`: as it was read at `at_s` of the machine's monotonic clock; None: it was not. `error`: of a read that failed;
    empty: none did. `stale_after_s`: how old it may get. `notices`: each once. `gpus`: the number of the node's GPUs
    (`node_gpus.py`).
    """

    id: str
    stale_after_s: float
    node: Node | None = None
    at_s: float = 0.0
    error: str = ""
    notices: tuple[Notice, ...] = ()
    identity: DeviceIdentity | None = None
    gpus: int = 0


class LimitAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What came of what was asked of a power limit. `limit`: as its BMC has it then; None: `what` and `advice`."""

    number: int
    limit: PowerLimit | None = None
    what: str = ""
    advice: str = ""


class ListAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What the list of a group says now. `group`: its number in the site file; `error`: why it says nothing."""

    group: int
    names: tuple[str, ...] = ()
    note: str = ""
    error: str = ""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Some nodes, answers of BMCs and lists, sessions of BMCs that have begun or ended; none: the process is alive."""

    read: tuple[NodeRead, ...] = ()
    answers: tuple[LimitAnswer, ...] = ()
    lists: tuple[ListAnswer, ...] = ()
    sessions: tuple[BmcSession, ...] = ()


class LimitAsked(msgspec.Struct, frozen=True, tag="limit"):
    """From the gateway: look at the power limit of a node in its BMC, or set it to `w` and `mode` and look at it."""

    number: int
    node: str
    set: bool = False
    w: float | None = None
    mode: str = ""


class NodesChanged(msgspec.Struct, frozen=True, tag="nodes"):
    """From the gateway: read these nodes, too, and no longer those. Those that are no longer read go first.

    `leaving`: all that are no longer listed and still read; None: the same as before.
    """

    added: tuple[NodeDevice, ...] = ()
    removed: tuple[str, ...] = ()
    leaving: tuple[str, ...] | None = None


ToReader = LimitAsked | NodesChanged  # what the gateway sends after the configuration

_BATCH, _CONFIG = msgspec.msgpack.Decoder(Batch), msgspec.msgpack.Decoder(ObservedConfig)
_TO_READER: msgspec.msgpack.Decoder[ToReader] = msgspec.msgpack.Decoder(ToReader)


def frame(message: Batch | ObservedConfig | ToReader) -> bytes:
    """A message as it is sent."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


def frames(batch: Batch) -> Iterator[bytes]:
    """Some nodes as they are sent: in several frames where one would be too long for the gateway.

    A single node that is too long is sent as one that cannot be used: no node may end the reading of the others.
    """
    whole, count = frame(batch), len(batch.read)
    if len(whole) <= MOST_BYTES:
        yield whole
    elif count > 1:
        yield from frames(Batch(batch.read[: count // 2]))
        yield from frames(Batch(batch.read[count // 2 :]))
    else:
        (read,) = batch.read
        why = f"{read.id}: what it tells of itself has {len(whole)} bytes, at most {MOST_BYTES} are taken; not used"
        yield frame(Batch((NodeRead(read.id, read.stale_after_s, error=why),)))


def sendable(text: str, most: int) -> str:
    """The first `most` characters of a text from outside, such as an error, without what cannot be sent."""
    return text[:most].encode(errors="replace").decode()


async def received(reader: asyncio.StreamReader, most_bytes: int) -> bytes | None:
    """The next message, still encoded; None: the other side has hung up. Raises BadFrame."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length > most_bytes:
            raise BadFrame(f"a frame of {length} bytes, more than {most_bytes}")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def batch_in(body: bytes) -> Batch:
    """Raises BadFrame."""
    try:
        return decoded(_BATCH.decode, body)
    except msgspec.DecodeError as error:
        raise BadFrame(f"a frame that is none: {error}") from None


def config_in(body: bytes) -> ObservedConfig:
    """Raises BadFrame."""
    try:
        return decoded(_CONFIG.decode, body)
    except msgspec.DecodeError as error:
        raise BadFrame(f"a frame that is none: {error}") from None


def order_in(body: bytes) -> ToReader:
    """Raises BadFrame."""
    try:
        return decoded(_TO_READER.decode, body)
    except msgspec.DecodeError as error:
        raise BadFrame(f"a frame that is none: {error}") from None
