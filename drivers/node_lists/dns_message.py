"""Writes questions to DNS and takes answers apart: RFC 1035 section 4, and SRV records, RFC 2782.

Of an answer only the records that were asked for are used, SRV or A; aliases (CNAME) were followed by the server.
"""

from __future__ import annotations

import ipaddress
import struct

import msgspec

A, SRV, IN = 1, 33, 1  # RFC 1035 section 3.2, RFC 2782
HEADER = struct.Struct("!6H")
RECORD = struct.Struct("!HHIH")  # type, class, time to live, length; behind its name
RESPONSE, TRUNCATED, RECURSION_WANTED = 0x8000, 0x0200, 0x0100
REFUSALS = {  # RFC 1035 section 4.1.1, RCODE
    1: "cannot read the question",
    2: "has failed",
    3: "knows no such name",
    4: "does not answer such questions",
    5: "refuses to answer",
}
LONGEST_NAME = 255  # bytes
MOST_POINTERS = 64  # of one name: a name has 127 labels at most
MOST_RECORDS = 2048


class BadMessage(Exception):
    """Not an answer to that question; the text says what is wrong in it."""


class DnsAnswer(msgspec.Struct, frozen=True):
    """What the records say: names of hosts (SRV) or addresses (A), in their order, each once.

    `truncated`: there is more, ask over TCP. `refused`: why there is no answer; empty: there is one.
    """

    found: tuple[str, ...] = ()
    truncated: bool = False
    refused: str = ""


def kind_of(name: str) -> int:
    """Which records are asked for: SRV of a service, `_service._proto.name`; of any other name its addresses."""
    return SRV if name.startswith("_") else A


def question(number: int, name: str) -> bytes:
    """The question for a name. Raises BadMessage: that is no name of DNS."""
    return HEADER.pack(number, RECURSION_WANTED, 1, 0, 0, 0) + _encoded(name) + struct.pack("!2H", kind_of(name), IN)


def _encoded(name: str) -> bytes:
    labels = [label.encode("ascii", errors="replace") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) <= 63 for label in labels) or sum(len(label) + 1 for label in labels) >= LONGEST_NAME:
        raise BadMessage(f"{name[:80]!r} is no name of DNS: labels of 1..63 characters between dots, 253 in all")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def answer_in(message: bytes, number: int, name: str) -> DnsAnswer:
    """The answer to a question. Raises BadMessage."""
    if len(message) < HEADER.size:
        raise BadMessage(f"{len(message)} bytes, less than a header")
    its_number, flags, questions, answers, _, _ = HEADER.unpack_from(message)
    if its_number != number or not flags & RESPONSE:
        raise BadMessage("not the answer to the question that was asked")
    if code := flags & 0xF:
        return DnsAnswer(refused=REFUSALS.get(code, f"answers with error {code}"))
    if flags & TRUNCATED:
        return DnsAnswer(truncated=True)
    asked, at = _name_at(message, HEADER.size)
    if questions != 1 or asked.lower() != name.rstrip(".").lower() or _pair(message, at) != (kind_of(name), IN):
        raise BadMessage("repeats another question than was asked")
    if answers > MOST_RECORDS:
        raise BadMessage(f"announces {answers} records, at most {MOST_RECORDS} are read")
    found, at = dict[str, None](), at + 4
    for _ in range(answers):
        value, at = _record(message, at, kind_of(name))
        if value:
            found[value] = None
    return DnsAnswer(tuple(found))


def _pair(message: bytes, at: int) -> tuple[int, int]:
    if at + 4 > len(message):
        raise BadMessage("breaks off in the question")
    first, second = struct.unpack_from("!2H", message, at)
    return first, second


def _record(message: bytes, at: int, kind: int) -> tuple[str, int]:
    """What the record at that place says, empty where it is of another kind; and where the next one begins."""
    _, at = _name_at(message, at)
    if at + RECORD.size > len(message):
        raise BadMessage("breaks off in a record")
    its_kind, its_class, _, length = RECORD.unpack_from(message, at)
    begins = at + RECORD.size
    if begins + length > len(message):
        raise BadMessage(f"a record of {length} bytes, {len(message) - begins} are left")
    if (its_kind, its_class) != (kind, IN):
        return "", begins + length
    if kind == A:
        if length != 4:
            raise BadMessage(f"an address of {length} bytes")
        return str(ipaddress.IPv4Address(message[begins : begins + 4])), begins + length
    target, ends = _name_at(message, begins + 6)  # behind priority, weight and port
    if length < 7 or ends > begins + length:
        raise BadMessage("an SRV record that is shorter than its target")
    return target, begins + length  # "." says that there is no such service: an empty target


def _name_at(message: bytes, at: int) -> tuple[str, int]:
    """The name at that place, and where what follows begins. Pointers go backwards only, so none leads in circles."""
    labels: list[str] = []
    ends, size, lowest, jumps = 0, 0, at, 0
    while True:
        label, target = _label_at(message, at)
        if target is not None:
            ends, jumps = ends or at + 2, jumps + 1
            if target >= lowest or jumps > MOST_POINTERS:
                raise BadMessage("a name that points forward or in circles")
            at = lowest = target
            continue
        size += len(label) + 1
        if size > LONGEST_NAME:
            raise BadMessage(f"a name of more than {LONGEST_NAME} bytes")
        if not label:
            return ".".join(labels), ends or at + 1
        labels.append(label.decode("ascii", errors="replace"))
        at += 1 + len(label)


def _label_at(message: bytes, at: int) -> tuple[bytes, int | None]:
    """The label at that place, empty at the end of a name; or the place that a pointer names (RFC 1035, 4.1.4)."""
    length = message[at] if at < len(message) else 0
    ends = at + (2 if length & 0xC0 == 0xC0 else 1 + length)
    if ends > len(message):
        raise BadMessage("breaks off in a name")
    if length & 0xC0 == 0xC0:
        return b"", (length & 0x3F) << 8 | message[at + 1]
    if length & 0xC0:
        raise BadMessage(f"a label of kind {length >> 6}, expected 0 or a pointer")
    return message[at + 1 : ends], None
