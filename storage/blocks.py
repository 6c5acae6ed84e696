"""Encodes and decodes packed blocks: all samples of a quarter hour in one sequence of bytes that describes itself.

The record keeps these blocks and a fleet is sent the same ones, so they need nothing but the dictionary of signals,
which they name by its hash. Format 1, little-endian:

    offset  bytes
         0      4  "SKBK"
         4      2  format, 1
         6      2  0
         8     16  UUID of the site
        24     16  UUID of the incarnation
        40      8  sequence, counts up over all blocks of an incarnation
        48      8  time of the first sample, UTC us, signed
        56      4  step, us: the nominal time between two samples
        60      4  n, the number of samples, at least 1
        64      4  c, the number of signals
        68     32  SHA-256 of the dictionary, see `dictionary_hash`
       100   4c+4  bytes of each stream below
               ...  the streams: times, then the signals in the order of the dictionary
        -4      4  CRC-32 (zlib) of everything before

A stream is compressed (zlib), and empty for a signal without any value. Inside, integers are stored as differences,
each from the one before (the first from 0), made positive by zigzag (0, -1, 1, -2 become 0, 1, 2, 3), and then all
their lowest bytes, all their second bytes and so on. Times: n 64-bit differences of what a time is away from
first + k * step. A signal: n 32-bit differences, modulo 2^32, of scaled integers; then, unless all are good, n bytes
of quality. A missing value repeats the one before it.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import msgspec

from storage.signals import MISSING, RAW_MAX, Signal

FORMAT = 1
MOST_SAMPLES = 1 << 14
MOST_CELLS = 1 << 23  # samples x signals; 4400 signals at one a second for a quarter hour are half of it
MOST_BYTES = 64 << 20
GOOD, ABSENT, DOUBTED = 0, 1, 2  # quality of a sample; DOUBTED: the plausibility check holds the last accepted value

_MAGIC = b"SKBK"
_HEAD = struct.Struct("<4sHH16s16sQqIII32s")
_CRC = struct.Struct("<I")
_HALF, _MASK = 1 << 31, (1 << 32) - 1
_TIME_MAX = 1 << 62


class BlockDamaged(ValueError):
    """These bytes are no block of a known format, or not as they were written."""


class Column(msgspec.Struct, frozen=True):
    """The samples of one signal."""

    raw: Sequence[int]  # value = raw x scale; MISSING for none
    quality: bytes = b""  # of each sample; empty: GOOD, and ABSENT where raw is MISSING

    def at(self, positions: Sequence[int]) -> Column:
        """The samples at these positions."""
        return Column([self.raw[k] for k in positions], bytes(self.quality[k] for k in positions if self.quality))


class Head(msgspec.Struct, frozen=True):
    """What a block says of itself."""

    site: uuid.UUID
    incarnation: uuid.UUID
    sequence: int
    t0_us: int
    step_us: int
    samples: int
    signals: int
    dictionary: bytes  # SHA-256


class Block(msgspec.Struct, frozen=True):
    """A block whose checksum and sizes are right; its streams are decoded one by one, on demand."""

    head: Head
    streams: tuple[bytes, ...]

    def times_us(self) -> list[int]:
        """Time of each sample, UTC us. Raises BlockDamaged."""
        head = self.head
        off = accumulate(_differences(_inflated(self.streams[0], (8 * head.samples,)), head.samples, 8))
        times = [head.t0_us + k * head.step_us + away for k, away in enumerate(off)]
        if not -_TIME_MAX < min(times) <= max(times) < _TIME_MAX:
            raise BlockDamaged("a time out of range")
        return times

    def column(self, n: int) -> Column:
        """The samples of signal n of the dictionary, from 0. Raises BlockDamaged, and IndexError for no such signal."""
        samples = self.head.samples
        stream = self.streams[1:][n]
        if not stream:
            return Column([MISSING] * samples, bytes([ABSENT]) * samples)
        content = _inflated(stream, (4 * samples, 5 * samples))
        sums = accumulate(_differences(content, samples, 4))
        raw = [((value + _HALF) & _MASK) - _HALF for value in sums]
        quality = content[4 * samples :]
        if quality:
            if max(quality) > DOUBTED:
                raise BlockDamaged(f"quality {max(quality)} is not known")
            raw = [MISSING if q == ABSENT else value for value, q in zip(raw, quality, strict=True)]
        return Column(raw, quality)


def dictionary_hash(signals: Iterable[Signal]) -> bytes:
    """SHA-256 of a dictionary: a line for each signal, in order, of name, unit, scale and kind with tabs between them.

    The scale is the shortest decimal that reads back as the same double, as Python writes it ("1.0", "0.01", "1e-06").
    """
    lines = "".join(f"{s.name}\t{s.unit}\t{s.scale!r}\t{s.kind}\n" for s in signals)
    return hashlib.sha256(lines.encode()).digest()


def encode(
    source: tuple[uuid.UUID, uuid.UUID],
    sequence: int,
    step_us: int,
    dictionary: bytes,
    times_us: Sequence[int],
    columns: Sequence[Column],
) -> bytes:
    """The bytes of a block. `source`: UUIDs of site and incarnation.

    Raises ValueError for what does not fit into one.
    """
    samples = len(times_us)
    if not (0 < samples <= MOST_SAMPLES and samples * len(columns) <= MOST_CELLS):
        raise ValueError(f"{samples} samples of {len(columns)} signals do not fit into a block")
    t0_us = times_us[0]
    away = [t - t0_us - k * step_us for k, t in enumerate(times_us)]
    streams = [_deflated(_shuffled([b - a for a, b in pairwise([0, *away])], 8))]
    streams += [_column_stream(column) for column in columns]
    return _written(Head(*source, sequence, t0_us, step_us, samples, len(columns), dictionary), streams)


def narrowed(block: Block, signals: Sequence[int], dictionary: bytes) -> bytes:
    """The bytes of a block with only these of its signals, from 0, whose dictionary has this hash.

    Their streams stay as they are, so the same block gives the same bytes each time. Raises IndexError for a signal
    that it lacks.
    """
    streams = [block.streams[0], *(block.streams[1:][n] for n in signals)]
    return _written(msgspec.structs.replace(block.head, signals=len(signals), dictionary=dictionary), streams)


def _written(head: Head, streams: Sequence[bytes]) -> bytes:
    """The bytes of a block. Raises ValueError for a figure that does not fit."""
    figures = (head.sequence, head.t0_us, head.step_us, head.samples, head.signals, head.dictionary)
    try:
        content = b"".join(
            (
                _HEAD.pack(_MAGIC, FORMAT, 0, head.site.bytes, head.incarnation.bytes, *figures),
                struct.pack(f"<{len(streams)}I", *map(len, streams)),
                *streams,
            )
        )
    except struct.error as error:
        raise ValueError(f"a figure does not fit into a block: {error}") from error
    return content + _CRC.pack(zlib.crc32(content))


def opened(data: bytes) -> Block:
    """The block of these bytes. Raises BlockDamaged."""
    if not _HEAD.size + 8 <= len(data) <= MOST_BYTES:
        raise BlockDamaged(f"{len(data)} bytes are no block")
    magic, number, _, site, incarnation, sequence, t0_us, step_us, samples, signals, dictionary = _HEAD.unpack_from(
        data
    )
    if magic != _MAGIC:
        raise BlockDamaged("not a block")
    if number != FORMAT:
        raise BlockDamaged(f"format {number}; this version reads format {FORMAT}")
    if zlib.crc32(data[: -_CRC.size]) != _CRC.unpack_from(data, len(data) - _CRC.size)[0]:
        raise BlockDamaged("its checksum is another one")
    if not (0 < samples <= MOST_SAMPLES and samples * signals <= MOST_CELLS):
        raise BlockDamaged(f"{samples} samples of {signals} signals are too many")
    at = _HEAD.size + 4 * (signals + 1)
    if len(data) < at + _CRC.size:
        raise BlockDamaged("it ends within its directory")
    sizes = struct.unpack_from(f"<{signals + 1}I", data, _HEAD.size)
    ends = list(accumulate(sizes, initial=at))
    if ends[-1] != len(data) - _CRC.size:
        raise BlockDamaged(f"{len(data)} bytes, {ends[-1] + _CRC.size} expected")
    head = Head(
        uuid.UUID(bytes=site), uuid.UUID(bytes=incarnation), sequence, t0_us, step_us, samples, signals, dictionary
    )
    return Block(head, tuple(data[a:b] for a, b in pairwise(ends)))


def _column_stream(column: Column) -> bytes:
    """The stream of one signal; empty if none of its samples has a value."""
    raw, quality = column.raw, column.quality
    if MISSING in raw:
        quality = bytes(ABSENT if r == MISSING else q for r, q in zip(raw, quality or bytes(len(raw)), strict=True))
        if quality.count(ABSENT) == len(raw):
            return b""
        raw = list(accumulate(raw, lambda before, r: before if r == MISSING else r, initial=0))[1:]
    if not -RAW_MAX <= min(raw) <= max(raw) <= RAW_MAX:
        raise ValueError("a value has more than 32 bits")
    differences = [((b - a + _HALF) & _MASK) - _HALF for a, b in pairwise([0, *raw])]
    return _deflated(_shuffled(differences, 4) + (quality if any(quality) else b""))


def _shuffled(differences: Sequence[int], width: int) -> bytes:
    """Zigzag, then the bytes of equal weight together. Raises struct.error for what does not fit into `width` bytes."""
    positive = [(d << 1) ^ (d >> 63) for d in differences]
    content = struct.pack(f"<{len(positive)}{'Q' if width == 8 else 'I'}", *positive)
    return b"".join(content[k::width] for k in range(width))


def _differences(content: bytes, samples: int, width: int) -> list[int]:
    """The reverse of `_shuffled`."""
    ordered = bytearray(width * samples)
    for k in range(width):
        ordered[k::width] = content[k * samples : (k + 1) * samples]
    positive = struct.unpack(f"<{samples}{'Q' if width == 8 else 'I'}", ordered)
    return [(p >> 1) ^ -(p & 1) for p in positive]


def _deflated(content: bytes) -> bytes:
    return zlib.compress(content, 6)


def _inflated(stream: bytes, sizes: tuple[int, ...]) -> bytes:
    """A stream's content, which has one of these sizes. Never more is unpacked. Raises BlockDamaged."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(stream, max(sizes) + 1)
    except zlib.error as error:
        raise BlockDamaged(str(error)) from error
    if len(content) not in sizes or not unpacker.eof or unpacker.unused_data:
        raise BlockDamaged(f"a stream of {len(content)} bytes, {sizes[0]} expected")
    return content
