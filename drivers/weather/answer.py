"""Defines what services of weather answer, the error of it, and what their answers in JSON have in common."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from dispatch.model.decoding import decoded
from dispatch.wording.formatting import one_line

Document = TypeVar("Document")

SHOWN = 40  # characters of what is not understood
MOST_ROWS = 2000  # three weeks of quarter hours


class WeatherError(ValueError):
    """An answer that cannot be used: what was found and what was expected."""


def document(body: bytes, kind: type[Document]) -> Document:
    """An answer in JSON. Raises WeatherError, which says what came instead."""
    try:
        return decoded(lambda data: msgspec.json.decode(data, type=kind), body)
    except msgspec.DecodeError as error:
        found = one_line(body[:SHOWN].decode("utf-8", "replace"))
        raise WeatherError(f"expected JSON as documented, found {found!r}: {error}") from None
