"""The check of raw frames, in each framing: no value from a wrong frame; any part of a good one may pass."""

from __future__ import annotations

import struct

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu.bit_message import ReadCoilsResponse

from drivers.modbus.frames import (
    RTU,
    TCP,
    TCP_ANY_TRANSACTION,
    Framing,
    bits,
    crc,
    read_request,
    registers,
    write_one_request,
    write_request,
)

WORDS = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125)
UNITS = st.integers(0, 255)
FRAMINGS = st.sampled_from([TCP, TCP_ANY_TRANSACTION, RTU])


def reading(framing: Framing, function: int, unit: int, words: list[int]) -> tuple[bytes, bytes]:
    """A request and its answer."""
    answer = struct.pack(f">BB{len(words)}H", function, 2 * len(words), *words)
    return framing.frame(7, unit, read_request(function, 100, len(words))), framing.frame(7, unit, answer)


@settings(max_examples=30)
@given(FRAMINGS, st.sampled_from([3, 4]), UNITS, WORDS)
def test_every_part_of_an_answer_may_become_one_and_the_whole_is_its_values(
    framing: Framing, function: int, unit: int, words: list[int]
) -> None:
    request, reply = reading(framing, function, unit, words)
    for n in range(len(reply)):
        assert (framing.fault(request, reply[:n]), framing.answer(request, reply[:n])) == ("", b"")
    assert framing.fault(request, reply) == ""
    assert registers(framing.answer(request, reply)) == words
    assert framing.longest(request) == len(reply)
    assert framing.fault(request, reply + b"\x00") == "1 bytes after the answer"


@settings(max_examples=100)
@given(FRAMINGS, UNITS, WORDS, st.data())
def test_a_damaged_answer_gives_no_value(framing: Framing, unit: int, words: list[int], data: st.DataObject) -> None:
    """One to three bits are others, anywhere ahead of the values; with a checksum, anywhere at all."""
    request, reply = reading(framing, 3, unit, words)
    first = 2 if framing is TCP_ANY_TRANSACTION else 0
    end = len(reply) if framing is RTU else 9
    damaged = bytearray(reply)
    for bit in data.draw(st.sets(st.integers(8 * first, 8 * end - 1), min_size=1, max_size=3)):
        damaged[bit // 8] ^= 1 << bit % 8
    assert framing.fault(request, bytes(damaged)) or not framing.answer(request, bytes(damaged))


@settings(max_examples=100)
@given(FRAMINGS, st.sampled_from([3, 6, 16]), st.binary(max_size=40))
def test_bytes_of_chance_are_no_answer(framing: Framing, function: int, reply: bytes) -> None:
    pdu = {3: read_request(3, 100, 2), 6: write_one_request(100, 9), 16: write_request(100, [1, 2])}[function]
    request = framing.frame(0x4711, 9, pdu)
    assume(not reply.startswith(request[: framing.head]))
    assert framing.fault(request, reply) or not framing.answer(request, reply)


@settings(max_examples=50)
@given(st.binary(max_size=60))
def test_the_checksum_is_that_of_others(data: bytes) -> None:
    assert crc(data) == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_the_checksum_of_the_standard() -> None:
    """MODBUS over Serial Line V1.02, appendix B: 02 07 has the checksum 0x1241, low byte first."""
    assert crc(b"\x02\x07") == b"\x41\x12"


@pytest.mark.parametrize(
    ("pdu", "answer", "fault"),
    [
        (read_request(3, 100, 2), "01 03 04 000b 0016", ""),
        (read_request(3, 100, 2), "02 03 04 000b 0016", "unit 2, expected 1"),
        (read_request(3, 100, 2), "01 04 04 000b 0016", "function 4, expected 3"),
        (read_request(3, 100, 2), "01 03 06 000b 0016 0021", "6 bytes of registers, expected 4"),
        (write_request(100, [1, 2]), "01 10 0064 0002", ""),
        (write_request(100, [1, 2]), "01 10 0064 0001", "a write of 00640001, expected 00640002 (address, count)"),
        (write_one_request(100, 9), "01 06 0064 0009", ""),
        (write_one_request(100, 9), "01 06 0064 0008", "a write of 00640008, expected 00640009 (address, value)"),
    ],
)
def test_what_is_said_of_a_wrong_frame(pdu: bytes, answer: str, fault: str) -> None:
    data = bytes.fromhex(answer)
    assert RTU.fault(RTU.frame(0, 1, pdu), data + crc(data)) == fault
    assert TCP.fault(TCP.frame(5, 1, pdu), TCP.frame(5, data[0], data[1:])) == fault


def test_a_spoilt_transaction_passes_only_where_it_may() -> None:
    request, reply = reading(TCP, 3, 1, [7])
    spoilt = b"\x00\x00" + reply[2:]
    assert TCP.fault(request, spoilt) == "transaction 0000, expected 0007"
    assert TCP_ANY_TRANSACTION.fault(request, spoilt) == ""
    for n in range(2, 9):  # everything else must fit nevertheless
        other = bytearray(spoilt)
        other[n] ^= 1
        assert TCP_ANY_TRANSACTION.fault(request, bytes(other)), n


def test_a_wrong_checksum_is_seen_at_the_end() -> None:
    request, reply = reading(RTU, 3, 1, [7])
    damaged = reply[:4] + b"\x08" + reply[5:]
    assert RTU.fault(request, damaged[:-1]) == ""
    assert RTU.fault(request, damaged).startswith("checksum ")


@settings(max_examples=30)
@given(FRAMINGS, st.sampled_from([1, 2]), UNITS, st.lists(st.integers(0, 1), min_size=1, max_size=125), st.data())
def test_bits_come_out_as_they_went_in_and_no_wrong_answer_gives_any(
    framing: Framing, function: int, unit: int, values: list[int], data: st.DataObject
) -> None:
    """Against pymodbus, which packs them."""
    packed = ReadCoilsResponse(bits=[bool(v) for v in values]).encode()
    request = framing.frame(7, unit, read_request(function, 100, len(values)))
    reply = framing.frame(7, unit, bytes([function]) + packed)
    assert framing.fault(request, reply) == ""
    assert bits(framing.answer(request, reply), len(values)) == values
    cut = data.draw(st.integers(0, len(reply) - 1))
    assert framing.answer(request, reply[:cut]) == b""
    other = framing.frame(7, unit, bytes([3 - function]) + packed)
    assert framing.fault(request, other) != ""
    longer = framing.frame(7, unit, bytes([function, len(packed)]) + packed[1:] + b"\0")
    assert framing.fault(request, longer) != ""
