"""Packed blocks: bytes fixed by hand, a second decoder, and what damage does."""

from __future__ import annotations

import uuid
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import blocks
from storage.blocks import ABSENT, DOUBTED, GOOD, BlockDamaged, Column, dictionary_hash, encode, opened
from storage.signals import MISSING, RAW_MAX, definition

SITE = uuid.UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
INCARNATION = uuid.UUID("10111213-1415-1617-1819-1a1b1c1d1e1f")
T0_US = 1_758_005_700_000_000
SIGNALS = [definition(name) for name in ("grid.w", "bat1.soc_pct", "pv.w")]

# Written by hand, streams not compressed ("stored" blocks of RFC 1951), from the table in storage/blocks.py alone.
GOLDEN = bytes.fromhex(
    """
    534b424b 0100 0000
    000102030405060708090a0b0c0d0e0f
    101112131415161718191a1b1c1d1e1f
    0700000000000000
    00f94299e53e0600 40420f00 04000000 03000000
    57947febc1809625e37f0947c7b7e81e3e6a13336049b30dfd8f17953f90b0fe
    2b000000 1f000000 1b000000 00000000
    7801012000dfff 00040502 00000000 00000000 00000000 00000000 00000000 00000000 00000000 016c000c
    7801011400ebff 5801005f 02000002 00000000 00000000 00000102 0d9400c0
    7801011000efff 5c000000 2b000000 00000000 00000000 07d40088
    d8d9801c
    """
)
GOLDEN_TIMES = [T0_US, T0_US + 1_000_002, T0_US + 1_999_999, T0_US + 3_000_000]
GOLDEN_COLUMNS = [
    Column([300, 299, MISSING, -5], bytes([GOOD, GOOD, ABSENT, DOUBTED])),
    Column([5_550] * 4),
    Column([MISSING] * 4, bytes([ABSENT]) * 4),
]


def test_golden_bytes_are_read() -> None:
    block = opened(GOLDEN)
    head = block.head
    assert (head.site, head.incarnation, head.sequence) == (SITE, INCARNATION, 7)
    assert (head.t0_us, head.step_us, head.samples, head.signals) == (T0_US, 1_000_000, 4, 3)
    assert head.dictionary == dictionary_hash(SIGNALS)
    assert block.times_us() == GOLDEN_TIMES
    assert [block.column(n) for n in range(3)] == GOLDEN_COLUMNS
    with pytest.raises(IndexError):
        block.column(3)


def test_the_same_content_is_written_in_the_same_layout() -> None:
    """Up to compression, which may differ between versions of zlib."""
    made = encode((SITE, INCARNATION), 7, 1_000_000, dictionary_hash(SIGNALS), GOLDEN_TIMES, GOLDEN_COLUMNS)
    assert second_decoder(made) == second_decoder(GOLDEN)
    assert made[:100] == GOLDEN[:100]


def second_decoder(data: bytes) -> tuple[list[int], list[list[tuple[int, int]]]]:
    """(times, (value, quality) of each signal) of the table's description, value by value; shares no code."""
    assert (data[:4], int.from_bytes(data[4:6], "little")) == (b"SKBK", 1)
    t0 = int.from_bytes(data[48:56], "little", signed=True)
    step, n, signals = (int.from_bytes(data[k : k + 4], "little") for k in (56, 60, 64))
    crc = 0xFFFFFFFF
    for byte in data[:-4]:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    assert crc ^ 0xFFFFFFFF == int.from_bytes(data[-4:], "little")
    at, streams = 100 + 4 * (signals + 1), []
    for k in range(signals + 1):
        size = int.from_bytes(data[100 + 4 * k : 104 + 4 * k], "little")
        streams.append(zlib.decompress(data[at : at + size]) if size else b"")
        at += size

    def summed(content: bytes, width: int) -> list[int]:
        values, value = [], 0
        for k in range(n):
            positive = sum(content[plane * n + k] << (8 * plane) for plane in range(width))
            value += positive // 2 if positive % 2 == 0 else -(positive + 1) // 2
            values.append(value)
        return values

    times = [t0 + k * step + away for k, away in enumerate(summed(streams[0], 8))]
    columns = []
    for content in streams[1:]:
        if not content:
            columns.append([(0, 1)] * n)
            continue
        values = [(v + 2**31) % 2**32 - 2**31 for v in summed(content, 4)]
        quality = content[4 * n :] or bytes(n)
        columns.append([(0 if q == 1 else v, q) for v, q in zip(values, quality, strict=True)])
    return times, columns


RAW = st.one_of(st.integers(-RAW_MAX, RAW_MAX), st.integers(-50, 50), st.just(MISSING))
TIMES = st.lists(st.integers(-(2**61), 2**61) | st.integers(T0_US, T0_US + 10**9), min_size=1, max_size=40)


@given(st.data(), TIMES)
@settings(max_examples=60)
def test_what_is_written_comes_back(data: st.DataObject, times: list[int]) -> None:
    n = len(times)
    raws = data.draw(st.lists(st.lists(RAW, min_size=n, max_size=n), max_size=5))
    doubts = [data.draw(st.none() | st.lists(st.booleans(), min_size=n, max_size=n)) for _ in raws]
    columns = [
        Column(raw, bytes(DOUBTED if doubt else GOOD for doubt in doubted) if doubted else b"")
        for raw, doubted in zip(raws, doubts, strict=True)
    ]
    made = encode((SITE, INCARNATION), 2**63, 250_000, bytes(range(32)), times, columns)
    block = opened(made)
    assert block.times_us() == times
    expected = []
    for column in columns:
        quality = bytes(
            ABSENT if r == MISSING else q for r, q in zip(column.raw, column.quality or bytes(n), strict=True)
        )
        expected.append(Column(list(column.raw), quality if any(quality) else b""))
    found = [block.column(k) for k in range(len(columns))]
    assert [(list(c.raw), c.quality) for c in found] == [(c.raw, c.quality) for c in expected]
    told_times, told = second_decoder(made)
    assert told_times == times
    assert [[MISSING if q == ABSENT else v for v, q in column] for column in told] == [list(c.raw) for c in found]


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    for bit in range(8 * len(GOLDEN)):
        flipped = bytearray(GOLDEN)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlockDamaged):
            opened(bytes(flipped))


@pytest.mark.parametrize("length", [0, 99, 107, 130, len(GOLDEN) - 1])
def test_a_block_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(BlockDamaged):
        opened(GOLDEN[:length])


def sealed(content: bytes) -> bytes:
    """With a checksum that is right: what only an adversary, or another program, makes."""
    return content + zlib.crc32(content).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("offset", "value", "told"),
    [
        (4, b"\x02\x00", "format 2; this version reads format 1"),
        (60, b"\xff\xff\xff\x7f", "too many"),
        (60, b"\x00\x00\x00\x00", "too many"),
        (64, b"\xff\xff\xff\x00", "too many"),
        (64, b"\xff\xff\x00\x00", "directory"),
        (100, b"\x2c\x00\x00\x00", "bytes, 222 expected"),
    ],
)
def test_figures_that_cannot_be_are_refused(offset: int, value: bytes, told: str) -> None:
    changed = bytearray(GOLDEN[:-4])
    changed[offset : offset + len(value)] = value
    with pytest.raises(BlockDamaged, match=told):
        opened(sealed(bytes(changed)))


def test_a_stream_that_unpacks_to_more_is_not_unpacked() -> None:
    """100 MB of zeros in 100 kB: only as much as belongs there is ever in memory."""
    bomb = zlib.compress(bytes(100_000_000), 9)
    sizes = (len(bomb)).to_bytes(4, "little") * 2
    content = GOLDEN[:64] + (1).to_bytes(4, "little") + GOLDEN[68:100] + sizes + bomb * 2
    block = opened(sealed(content))
    for read in (block.times_us, lambda: block.column(0)):
        with pytest.raises(BlockDamaged, match=r"a stream of (33|21) bytes"):
            read()


def test_a_quality_that_nobody_knows_is_refused() -> None:
    changed = GOLDEN[:-4].replace(bytes.fromhex("00000102 0d9400c0"), bytes.fromhex("00000103 0d9500c1"))
    with pytest.raises(BlockDamaged, match="quality 3 is not known"):
        opened(sealed(changed)).column(0)


def test_what_does_not_fit_is_refused_before_it_is_written() -> None:
    source = (SITE, INCARNATION)
    with pytest.raises(ValueError, match="do not fit"):
        encode(source, 1, 1, bytes(32), [], [])
    with pytest.raises(ValueError, match="do not fit"):
        encode(source, 1, 1, bytes(32), range(blocks.MOST_SAMPLES + 1), [])
    with pytest.raises(ValueError, match="more than 32 bits"):
        encode(source, 1, 1, bytes(32), [0], [Column([2**31])])
    with pytest.raises(ValueError, match="does not fit"):
        encode(source, 2**64, 1, bytes(32), [0], [])


def test_the_hash_of_a_dictionary_depends_on_names_units_scales_and_order() -> None:
    assert dictionary_hash(SIGNALS) != dictionary_hash(SIGNALS[::-1])
    assert dictionary_hash(SIGNALS[:1]) != dictionary_hash([SIGNALS[0]._replace(scale=0.1)])
    assert dictionary_hash([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
