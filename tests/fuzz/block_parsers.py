"""Packed blocks: from a file, and later from another machine."""

from __future__ import annotations

import contextlib
import uuid
import zlib
from pathlib import Path

from fuzzing import Parser, simple
from storage_samples import T0

from storage import blocks
from storage.signals import MISSING


def examples() -> list[bytes]:
    """Blocks with all that there is: values, none, doubts, a signal without any; one without signals."""
    source, times_us = (uuid.UUID(int=1), uuid.UUID(int=2)), [round(T0 * 1e6) + n * 1_000_000 for n in range(60)]
    columns = [
        blocks.Column([n * n for n in range(60)]),
        blocks.Column([MISSING, *range(59)], bytes([0, 2] * 30)),
        blocks.Column([MISSING] * 60),
    ]
    return [
        blocks.encode(source, 1, 1_000_000, bytes(32), times_us, columns),
        blocks.encode(source, 2, 60_000_000, bytes(32), times_us[:1], []),
    ]


def read(data: bytes, _: Path) -> None:
    """Read every stream, of the input as it is and with a checksum that is right."""
    for content in (data, data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")):
        with contextlib.suppress(blocks.BlockDamaged):
            block = blocks.opened(content)
            block.times_us()
            for n in range(block.head.signals):
                block.column(n)


PARSERS = (
    Parser(
        "packed blocks",
        ("storage.blocks:opened", "storage.blocks:_differences", "storage.blocks:_inflated"),
        examples,
        simple(read),
    ),
)
