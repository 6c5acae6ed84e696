"""Defines what goes over the bus between uplinks and hubs: subjects, and messages as compressed MessagePack.

A site publishes to `skerry.<site>.<kind>.<key>`, `<site>` its UUID. Each message has a key of its own and the stream
keeps one message of a subject: what is sent again takes the place of the first, so a site that waits fills nothing.
`now` goes to a bucket of keys and values, the newest of each site; how far a hub has stored a site comes back in
another one, by site and incarnation.
"""

from __future__ import annotations

import zlib
from uuid import UUID

import msgspec

from dispatch.model.decoding import decoded
from fleet.store import Source
from gateway.api.site_overview import SiteOverview
from storage.outgoing import OutgoingBlock, OutgoingEvent, QuarterPage
from storage.signals import Signal

STREAM, PREFIX, CONSUMER = "skerry", "skerry", "hub"
NOW, STORED = "skerry_now", "skerry_stored"  # buckets
FORMAT = 1  # of messages; a hub leaves those of another one to a hub that knows it
MOST_BYTES = 64 << 20  # of a message, unpacked
PAGE_BYTES, MOST_PACKED = 4 << 20, 4  # a message of more than a page is a block, which is compressed already
OVERVIEW_BYTES = 256 << 10  # of an overview, unpacked


class NotAMessage(ValueError):
    """These bytes are none of an uplink's, or of another format. The text says what is wrong."""


class BlockSent(msgspec.Struct, frozen=True, kw_only=True, tag="block"):
    """A whole block, or one that is damaged at the site (`block.damaged`), and the one before it in the record."""

    after_seq: int
    after_sha256: bytes
    block: OutgoingBlock
    signals: tuple[Signal, ...] = ()


class QuartersSent(msgspec.Struct, frozen=True, kw_only=True, tag="quarters"):
    """A page of roll-ups: all after a time, or those of the blocks after a sequence."""

    page: QuarterPage
    after_t: int | None = None
    after_seq: int = 0


class EventsSent(msgspec.Struct, frozen=True, kw_only=True, tag="event"):
    """The events after one."""

    after_id: int
    events: tuple[OutgoingEvent, ...]


class HeadSent(msgspec.Struct, frozen=True, kw_only=True, tag="audit"):
    """The head of the audit, as printed."""

    head: str


class TroubleSent(msgspec.Struct, frozen=True, kw_only=True, tag="trouble"):
    """Why the uplink cannot go on with this site."""

    kind: str
    text: str


Body = BlockSent | QuartersSent | EventsSent | HeadSent | TroubleSent


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message of an uplink."""

    format: int
    incarnation: str  # of the gateway that was asked, UUID
    name: str
    timezone: str
    body: Body


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """How far a hub has stored an incarnation of a site, after its database has committed that."""

    source: Source = Source()
    event_id: int = 0
    refused: str = ""  # why nothing more is taken of it, for a person
    kind: str = ""  # the same for programs


def subject(site: str, body: Body) -> str:
    """Where a message goes. The same content has the same subject each time."""
    if isinstance(body, BlockSent):
        key = f"block.{body.block.seq}"
    elif isinstance(body, QuartersSent):
        key = f"quarters.{body.after_seq}" if body.after_t is None else f"quarters.t{body.after_t}"
    elif isinstance(body, EventsSent):
        key = f"event.{body.after_id}"
    else:
        key = "audit.head" if isinstance(body, HeadSent) else "trouble.last"
    return f"{PREFIX}.{site}.{key}"


def site_of(name: str) -> str:
    """The site that published to this subject, which the server allows it alone. Raises NotAMessage."""
    words = name.split(".")
    if len(words) != 4 or words[0] != PREFIX or not is_uuid(words[1]):
        raise NotAMessage(f"{name[:200]}: expected {PREFIX}.SITE.KIND.KEY, SITE a UUID")
    return words[1]


def is_uuid(text: str) -> bool:
    """Whether this is a UUID as Python writes it."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def packed(content: Sent | Stored | SiteOverview) -> bytes:
    """The bytes of a message or a value."""
    return zlib.compress(msgspec.msgpack.encode(content), 1)


def sent(data: bytes) -> Sent:
    """The message of these bytes. Raises NotAMessage."""
    content = _unpacked(data, min(MOST_BYTES, PAGE_BYTES + MOST_PACKED * len(data)))
    try:
        number = decoded(_FORMAT.decode, content).format
        if number != FORMAT:
            raise NotAMessage(f"messages of format {number}; this release reads format {FORMAT}")
        return decoded(_SENT.decode, content)
    except msgspec.DecodeError as error:
        raise NotAMessage(f"not a message of an uplink: {error}") from None


def stored(data: bytes) -> Stored:
    """The value that a hub has put. Raises NotAMessage."""
    try:
        return decoded(_STORED.decode, _unpacked(data, PAGE_BYTES))
    except msgspec.DecodeError as error:
        raise NotAMessage(f"not a hub's: {error}") from None


def overview(site: str, data: bytes) -> SiteOverview:
    """The value that the uplink of this site has put, whose UUID the server vouches for. Raises NotAMessage."""
    try:
        found = decoded(_OVERVIEW.decode, _unpacked(data, OVERVIEW_BYTES))
    except msgspec.DecodeError as error:
        raise NotAMessage(f"not an overview of a site: {error}") from None
    if found.identity is None or found.identity.site != site:
        raise NotAMessage("it has the identity of another site")
    return found


class _Format(msgspec.Struct, frozen=True):
    format: int


_FORMAT, _SENT = msgspec.msgpack.Decoder(_Format), msgspec.msgpack.Decoder(Sent)
_STORED, _OVERVIEW = msgspec.msgpack.Decoder(Stored), msgspec.msgpack.Decoder(SiteOverview)


def _unpacked(data: bytes, most: int) -> bytes:
    """The content, of so many bytes at most. Raises NotAMessage."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, most)
    except zlib.error as error:
        raise NotAMessage(f"not a message: {error}") from None
    if not unpacker.eof:
        raise NotAMessage(f"a message that is cut off, or of more than {most >> 10} KiB")
    return content
