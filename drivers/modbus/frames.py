"""Builds the frames of requests, and checks the raw bytes of answers against the request that they must answer.

A reply is checked as far as it has arrived: a wrong byte is a fault before the frame is complete. No value is taken
from a frame with another transaction, unit, function, length or checksum than expected.
"""

from __future__ import annotations

import array
import functools
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

READ_FUNCTIONS = (3, 4)  # holding registers, input registers
BIT_FUNCTIONS = (1, 2)  # coils, discrete inputs
MAX_READ = 125  # registers in one request, MODBUS Application Protocol V1.1b3, 6.3
MAX_WRITE = 123  # 6.12
CRC_FAULT = "checksum"  # a fault that begins so: the answer has come to its end


class Framing(NamedTuple):
    """One way to put a request (PDU) on the wire."""

    head: int  # bytes before the PDU
    tail: int  # bytes after it
    frame: Callable[[int, int, bytes], bytes]  # transaction, unit, PDU -> what goes out
    fault: Callable[[bytes, bytes], str]  # request, reply so far -> what is wrong; "": nothing yet

    def answer(self, request: bytes, reply: bytes) -> bytes:
        """The PDU in a reply without a fault; empty while more of it is to come."""
        expected = _answer_bytes(self.pdu(request), reply[self.head :])
        whole = expected > 0 and len(reply) == self.head + expected + self.tail
        return reply[self.head : self.head + expected] if whole else b""

    def longest(self, request: bytes) -> int:
        """Bytes of the answer that was asked for."""
        pdu = self.pdu(request)
        return self.head + _answer_bytes(pdu, pdu[:1]) + self.tail

    def pdu(self, request: bytes) -> bytes:
        """The PDU in a frame of our own."""
        return request[self.head : len(request) - self.tail]


def read_request(function: int, address: int, count: int) -> bytes:
    """PDU that reads registers or bits, MODBUS Application Protocol V1.1b3, 6.1 to 6.4."""
    return struct.pack(">BHH", function, address, count)


def write_request(address: int, values: Sequence[int]) -> bytes:
    """PDU of function 16, 6.12."""
    return struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)


def write_one_request(address: int, value: int) -> bytes:
    """PDU of function 6, 6.6."""
    return struct.pack(">BHH", 6, address, value)


def registers(answer: bytes) -> list[int]:
    """The registers in the PDU that answers a read."""
    return list(struct.unpack(f">{len(answer) // 2 - 1}H", answer[2:]))


def bits(answer: bytes, count: int) -> list[int]:
    """The first `count` coils or inputs, 0 or 1, in the PDU that answers a read of bits; 6.1 and 6.2."""
    return [answer[2 + n // 8] >> n % 8 & 1 for n in range(count)]


def crc(data: bytes) -> bytes:
    """Checksum of a frame on a serial line, MODBUS over Serial Line V1.02, 6.2.2: as it is sent, low byte first."""
    value, table = 0xFFFF, _crc_of_words()
    for word in struct.unpack(f"<{len(data) // 2}H", data[: len(data) & ~1]):
        value = table[value ^ word]
    if len(data) % 2:
        value = value >> 8 ^ _CRC[(value ^ data[-1]) & 0xFF]
    return value.to_bytes(2, "little")


def frame_fault(request: bytes, reply: bytes) -> str:
    """What is wrong with the bytes of a reply so far, or "" if they can still be, or are, the answer to `request`.

    Frames are ADUs of MODBUS Messaging on TCP/IP V1.0b, 3.1.3: transaction, protocol 0, length, unit, function, data.
    """
    if not request[:2].startswith(reply[:2]):
        return f"transaction {reply[:2].hex()}, expected {request[:2].hex()}"
    return any_transaction_fault(request, reply)


def any_transaction_fault(request: bytes, reply: bytes) -> str:
    """The same without a look at the transaction, for gateways that spoil it."""
    if any(reply[2:4]):
        return f"protocol {reply[2:4].hex()}, expected 0000"
    if len(reply) > 6 and reply[6] != request[6]:
        return f"unit {reply[6]}, expected {request[6]}"
    if fault := _pdu_fault(request[7:], reply[7:]):
        return fault
    if not (pdu_bytes := _answer_bytes(request[7:], reply[7:])):
        return ""
    length, expected = int.from_bytes(reply[4:6], "big") + 6, 7 + pdu_bytes
    if length != expected:
        return f"a frame of {length} bytes, expected {expected}"
    return _excess(reply, expected)


def rtu_fault(request: bytes, reply: bytes) -> str:
    """The same for frames of MODBUS over Serial Line V1.02, 2.5.1: unit, function, data, checksum.

    They have neither transaction nor length: the length follows from the request.
    """
    if reply and reply[0] != request[0]:
        return f"unit {reply[0]}, expected {request[0]}"
    if fault := _pdu_fault(request[1:-2], reply[1:]):
        return fault
    if not (pdu_bytes := _answer_bytes(request[1:-2], reply[1:])):
        return ""
    expected = 1 + pdu_bytes + 2
    if len(reply) < expected:
        return ""
    if (checksum := crc(reply[: expected - 2])) != reply[expected - 2 : expected]:
        return f"{CRC_FAULT} {reply[expected - 2 : expected].hex()}, expected {checksum.hex()}"
    return _excess(reply, expected)


def _pdu_fault(request: bytes, reply: bytes) -> str:
    """Function and data against the request's, as far as they have arrived."""
    function = request[0]
    if not reply or reply[0] == function | 0x80:
        return ""
    if reply[0] != function:
        return f"function {reply[0]}, expected {function}"
    if data_bytes := _data_bytes(request):
        wrong = len(reply) > 1 and reply[1] != data_bytes
        kind = "registers" if function in READ_FUNCTIONS else "bits"
        return f"{reply[1]} bytes of {kind}, expected {data_bytes}" if wrong else ""
    # function 16 repeats address and count, function 6 address and value
    if not request[1:5].startswith(reply[1:5]):
        meaning = "address, value" if function == 6 else "address, count"
        return f"a write of {reply[1:5].hex()}, expected {request[1:5].hex()} ({meaning})"
    return ""


def _answer_bytes(request: bytes, reply: bytes) -> int:
    """How long the PDU of a reply must be; 0 while its function has not arrived."""
    if not reply:
        return 0
    if reply[0] & 0x80:
        return 2
    data_bytes = _data_bytes(request)
    return 2 + data_bytes if data_bytes else 5


def _data_bytes(request: bytes) -> int:
    """How many bytes of values answer a read; 0 for a write."""
    count = int.from_bytes(request[3:5], "big")
    if request[0] in READ_FUNCTIONS:
        return 2 * count
    return (count + 7) // 8 if request[0] in BIT_FUNCTIONS else 0


def _excess(reply: bytes, expected: int) -> str:
    return f"{len(reply) - expected} bytes after the answer" if len(reply) > expected else ""


def _tcp_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def _rtu_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    frame = bytes([unit]) + pdu
    return frame + crc(frame)


def _crc_of(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


_CRC = tuple(_crc_of(value) for value in range(256))


@functools.cache
def _crc_of_words() -> Sequence[int]:
    """The checksum after two bytes, low one first, by these two as a number and the checksum before them, XORed."""
    return array.array("H", [_CRC[low & 0xFF ^ high] ^ low >> 8 for high in range(256) for low in _CRC])


TCP = Framing(7, 0, _tcp_frame, frame_fault)
TCP_ANY_TRANSACTION = Framing(7, 0, _tcp_frame, any_transaction_fault)
RTU = Framing(1, 2, _rtu_frame, rtu_fault)
