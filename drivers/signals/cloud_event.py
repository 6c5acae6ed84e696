"""Reads one signal: a CloudEvent 1.0 as JSON whose data is signed, or comes from a member of its sender's Unix group.

Load targets have the shape of NVIDIA's DSX Flex 1.7.0 (`grid.loadtarget.set.v1`, schema `SetLoadTargetData`, in
schemas/asyncapi/dsx-flex/dsx-flex.yaml of github.com/NVIDIA/dsx-exchange at c24771cdf28a). That schema signs with ES256
or RS256; here ES256 and EdDSA are taken. Limits (`skerry.limit.set.v1`) and heartbeats (`skerry.heartbeat.v1`) are
Skerry's own, in the same envelope. Attributes that are not used, such as `traceparent`, may be there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from dispatch.model.decoding import decoded
from dispatch.model.signals import Item, Message, Quantity
from drivers.signals.config import SignalSender
from drivers.signals.signature import BadSignature, Signed, public_key, verified

Read = TypeVar("Read")

LONGEST = 65_536  # bytes of an event
MOST_ITEMS = 32
LOAD_TARGET, LIMIT, HEARTBEAT = "grid.loadtarget.set.v1", "skerry.limit.set.v1", "skerry.heartbeat.v1"
UNITS = {"watt": 1.0, "kilowatt": 1e3, "megawatt": 1e6}
MOST_W = 1e9  # beyond it a power is a mistake in the unit


class SignalNotRead(Exception):
    """A message that is no signal of a sender of this site. The text says what was expected."""


class _Event(msgspec.Struct):
    specversion: Literal["1.0", "1.0.1", "1.0.2"]
    id: Annotated[str, Meta(min_length=1, max_length=100)]
    source: Annotated[str, Meta(min_length=1, max_length=200)]
    type: str
    data: msgspec.Raw  # text: a JWS in compact serialization; else what would be signed, as it is


class _Power(msgspec.Struct):
    value: Annotated[float, Meta(ge=0)]
    unit: Literal["watt", "kilowatt", "megawatt"]


class _Interval(msgspec.Struct):
    start_time: datetime | None = None
    end_time: datetime | None = None


class _Target(msgspec.Struct):
    interval: _Interval
    load_constraint: _Power | None
    feed_tags: list[str] = []


class _Targets(msgspec.Struct):
    targets: Annotated[list[_Target], Meta(min_length=1, max_length=MOST_ITEMS)]


class _Limit(msgspec.Struct):
    quantity: Quantity
    interval: _Interval
    limit: _Power | None


class _Limits(msgspec.Struct):
    limits: Annotated[list[_Limit], Meta(min_length=1, max_length=MOST_ITEMS)]
    site: Annotated[str, Meta(pattern="^([0-9a-f-]{36})?$")] = ""  # UUID
    number: Annotated[int, Meta(ge=1, le=2**53)] | None = None


class _Heartbeat(msgspec.Struct):
    time: datetime


def read_signal(
    raw: bytes, senders: Iterable[SignalSender], in_group: Callable[[str], bool] = lambda _group: False
) -> Message:
    """What an event says. Raises SignalNotRead.

    `in_group`: whether the user who wrote it is in the sender's Unix group; without a signature that is the right.
    """
    if len(raw) > LONGEST:
        raise SignalNotRead(f"{len(raw)} bytes, expected one CloudEvent of at most {LONGEST}")
    event = _decoded(raw, _Event, "no CloudEvent 1.0 with data")
    sender = next((s for s in senders if s.source and s.source == event.source), None)
    if sender is None:
        raise SignalNotRead(f"source {event.source!r}: expected that of a [[signal]] in the site file")
    data = bytes(event.data)
    if not data.startswith(b'"'):
        return _of_group(event, sender, data, in_group)
    if not sender.public_key:
        raise SignalNotRead(f"{sender.id} has no public_key in the site file: nobody can sign for it")
    try:
        signed = verified(_decoded(data, str, f"{sender.id}: no signed data"), public_key(sender.public_key))
    except BadSignature as error:
        raise SignalNotRead(f"{sender.id}: {error}") from None
    return _message(event, sender, signed)


def _of_group(event: _Event, sender: SignalSender, data: bytes, in_group: Callable[[str], bool]) -> Message:
    if not sender.group:
        raise SignalNotRead(f"{sender.id} has no group in the site file: expected signed data, a text")
    if not in_group(sender.group):
        raise SignalNotRead(f"{sender.id}: expected signed data, or a sender in the Unix group {sender.group}")
    message = _message(event, sender, Signed(data, hashlib.sha256(data).hexdigest()))
    return msgspec.structs.replace(message, group=sender.group)


def _message(event: _Event, sender: SignalSender, signed: Signed) -> Message:
    heard = Message(sender.id, id=event.id, digest=signed.digest)
    if event.type == LOAD_TARGET:
        targets = _decoded(signed.payload, _Targets, f"{sender.id}: no data of {LOAD_TARGET}").targets
        items = tuple(_item(Quantity.IMPORT, t.interval, t.load_constraint) for t in targets if _meant(t, sender))
        if not items:
            known = ", ".join(sender.feed_tags)
            raise SignalNotRead(f"{sender.id}: the targets are for other feeds, expected one of {known}")
        return msgspec.structs.replace(heard, items=items)
    if event.type == LIMIT:
        said = _decoded(signed.payload, _Limits, f"{sender.id}: no data of {LIMIT}")
        items = tuple(_item(item.quantity, item.interval, item.limit) for item in said.limits)
        return msgspec.structs.replace(heard, items=items, site=said.site, number=said.number)
    if event.type == HEARTBEAT:
        beat = _decoded(signed.payload, _Heartbeat, f"{sender.id}: no data of {HEARTBEAT}")
        return msgspec.structs.replace(heard, beat_utc_s=_utc_s(beat.time))
    raise SignalNotRead(f"type {event.type[:60]!r}: expected {LOAD_TARGET}, {LIMIT} or {HEARTBEAT}")


def _meant(target: _Target, sender: SignalSender) -> bool:
    return not (target.feed_tags and sender.feed_tags) or bool({*target.feed_tags} & {*sender.feed_tags})


def _item(quantity: Quantity, interval: _Interval, power: _Power | None) -> Item:
    start_s = None if interval.start_time is None else _utc_s(interval.start_time)
    end_s = None if interval.end_time is None else _utc_s(interval.end_time)
    limit_w = None if power is None else power.value * UNITS[power.unit]
    if limit_w is not None and not limit_w <= MOST_W:
        raise SignalNotRead(f"a limit of {limit_w:g} W: expected at most {MOST_W:g}")
    return Item(quantity, limit_w, start_s, end_s)


def _utc_s(time: datetime) -> float:
    if time.tzinfo is None:
        raise SignalNotRead(f"time {time.isoformat()}: expected one with its offset, such as 2026-03-01T17:00:00Z")
    try:
        return time.timestamp()
    except OverflowError:
        raise SignalNotRead(f"time {time.isoformat()}: no time of this calendar") from None


def _decoded(raw: bytes, type_: type[Read], what: str) -> Read:
    try:
        return decoded(lambda data: msgspec.json.decode(data, type=type_), raw)
    except msgspec.DecodeError as error:
        raise SignalNotRead(f"{what}: {error}") from None
