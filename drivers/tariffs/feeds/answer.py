"""Defines what a feed answers, the errors of it, and what all answers in JSON have in common."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from dispatch.model.decoding import decoded
from dispatch.wording.formatting import one_line

Document = TypeVar("Document")

GZIP = b"\x1f\x8b"
SHOWN = 40  # characters of what is not understood
PER_MWH_DECIMALS = 6  # of a price: what multiplying adds beyond them is no price


class FeedError(ValueError):
    """An answer that cannot be used: what was found and what was expected."""


class NotPublished(FeedError):
    """The feed has no prices of the time that was asked for, and says so."""


class PriceRow(NamedTuple):
    """One price. `end_s` None: until the next row. Instants are POSIX seconds, the price is per MWh."""

    start_s: int
    end_s: int | None
    per_mwh: float


class FeedAnswer(msgspec.Struct, frozen=True):
    """What a feed tells. `currency`: its prices are in, by ISO 4217. `rows` come in any order."""

    rows: tuple[PriceRow, ...]
    currency: str


def document(body: bytes, kind: type[Document]) -> Document:
    """An answer in JSON. Raises FeedError, which says what came instead."""
    try:
        return decoded(lambda data: msgspec.json.decode(data, type=kind), body)
    except msgspec.DecodeError as error:
        raise FeedError(f"expected JSON, found {beginning(body)}: {error}") from None


def beginning(body: bytes) -> str:
    """The begin of an answer that is not understood, for a message."""
    if not body:
        return "nothing"
    if body.startswith(GZIP):
        return "content packed with gzip, which was not asked for"
    text = one_line(body[:SHOWN].decode("utf-8", "replace"))
    return f"a page of HTML ({text!r})" if text.lstrip().lower().startswith(("<!doctype html", "<html")) else repr(text)


def instant(stamp: str, what: str) -> int:
    """A time with its offset to UTC, POSIX seconds. Raises FeedError."""
    try:
        found = datetime.fromisoformat(stamp)
        if found.utcoffset() is not None and not found.microsecond:
            return int(found.timestamp())
    except (ValueError, OverflowError):
        pass
    raise FeedError(f"{what} = {stamp[:SHOWN]!r}: expected a time with its offset, such as 2026-11-30T00:00:00+01:00")


def per_mwh(price: float, factor: float) -> float:
    """A price in another unit, per MWh."""
    return round(price * factor, PER_MWH_DECIMALS)
