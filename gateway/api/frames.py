"""Frames of the link: a 4-byte big-endian length and a msgpack document, in the version that the other side speaks."""

from __future__ import annotations

import msgspec

from gateway.api.protocol import VERSION

MAX_FRAME = 1 << 20


class FrameError(Exception):
    """The peer sent something that is not a frame of this protocol."""


def encode(message: msgspec.Struct, version: int = VERSION) -> bytes:
    """A message as one frame of a link version. Raises FrameError beyond 1 MiB."""
    body = msgspec.msgpack.encode(message if version == VERSION else _former(message, version))
    if len(body) > MAX_FRAME:
        raise FrameError(f"{type(message).__name__} of {len(body)} bytes exceeds the frame limit of {MAX_FRAME}")
    return len(body).to_bytes(4, "big") + body


def _former(message: msgspec.Struct, version: int) -> object:
    """The message for an earlier version, whose module a console of this one does without: it starts faster."""
    from gateway.api.previous_version import for_version

    return for_version(message, version)
