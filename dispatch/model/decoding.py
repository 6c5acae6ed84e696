"""Decodes msgpack and JSON from outside, with one kind of error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

Data = TypeVar("Data")
Content = TypeVar("Content")


def decoded(decode: Callable[[Data], Content], data: Data) -> Content:
    """What a decoder of msgspec makes of data. Raises msgspec.DecodeError, nothing else.

    msgspec lets two more out: UnicodeDecodeError for text that is not UTF-8, RecursionError for nesting too deep.
    """
    try:
        return decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None
