"""Builds and takes apart the packets of MQTT 5 that this client needs.

By the OASIS standard "MQTT Version 5.0" of 7 March 2019; sections are named where a rule is used. QoS 2, topic aliases
and enhanced authentication are not offered, so a broker may not use them.
"""

from __future__ import annotations

from typing import NamedTuple

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14  # 2.1.2, types of packets
PINGREQ_PACKET = b"\xc0\x00"
DISCONNECT_PACKET = b"\xe0\x00"
REFUSED = 0x80  # 2.4: reason codes from here on are failures
MOST_TEXT_BYTES = 65_535  # 1.5.4
MOST_REMAINING = 268_435_455  # 1.5.5

# 2.2.2.2, identifiers of properties by the type of their value
_BYTE = frozenset((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A))
_TWO_BYTES = frozenset((0x13, 0x21, 0x22, 0x23))
_FOUR_BYTES = frozenset((0x02, 0x11, 0x18, 0x27))
_TEXT = frozenset((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F))  # UTF-8 or binary: both with a length
_NUMBER, _PAIR = 0x0B, 0x26
_RECEIVE_MAXIMUM, _MAXIMUM_PACKET_SIZE, _KEEP_ALIVE, _MAXIMUM_QOS = 0x21, 0x27, 0x13, 0x24
_REASON_TEXT = 0x1F

# 2.4, of the reason codes those that a person can do something about
REASONS = {
    0x81: "malformed packet",
    0x82: "protocol error",
    0x84: "it does not speak MQTT 5",
    0x85: "it does not accept the client identifier",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8D: "keep alive timeout",
    0x8E: "another client has connected with the same client identifier",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x93: "receive maximum exceeded",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x9A: "retain not supported",
}


class Malformed(ValueError):
    """A packet that is not one of MQTT 5, or not one that may come now."""


class Will(NamedTuple):
    """What the broker publishes, retained, when this client is gone without a word."""

    topic: str
    payload: bytes


class Connack(NamedTuple):
    """The broker's answer to CONNECT. `keep_alive_s`: what it wants instead; `most_bytes`: of a packet to it."""

    reason: int
    keep_alive_s: int | None
    most_qos: int
    most_bytes: int
    text: str


class Message(NamedTuple):
    """A PUBLISH. `packet_id`: to be acknowledged; None with QoS 0."""

    topic: str
    payload: bytes
    packet_id: int | None


class Acknowledged(NamedTuple):
    """A PUBACK or SUBACK."""

    packet_id: int
    reason: int
    text: str


def reason_words(reason: int, text: str = "") -> str:
    """A reason code and what the broker says beside it, short and printable."""
    said = "".join(c if c.isprintable() else " " for c in text[:60]).strip()
    return (REASONS.get(reason) or f"reason code 0x{reason:02X}") + (f" ({said})" if said else "")


# ── to the broker ───────────────────────────────────────────────────────────────────────────────────────────────────


def connect(
    client_id: str,
    *,
    keep_alive_s: int,
    most_bytes: int,
    most_unacknowledged: int,
    username: str = "",
    password: str = "",
    will: Will | None = None,
) -> bytes:
    """CONNECT with a clean start, 3.1. `most_bytes`: of a packet from the broker."""
    flags = 0x02
    payload = _text(client_id)
    if will is not None:
        flags |= 0x04 | 0x08 | 0x20  # will, at QoS 1, retained
        payload += b"\x00" + _text(will.topic) + _binary(will.payload)
    if username:
        flags |= 0x80
        payload += _text(username)
    if password:
        flags |= 0x40
        payload += _text(password)
    properties = bytes((_RECEIVE_MAXIMUM,)) + most_unacknowledged.to_bytes(2, "big")
    properties += bytes((_MAXIMUM_PACKET_SIZE,)) + most_bytes.to_bytes(4, "big")
    head = _text("MQTT") + bytes((5, flags)) + keep_alive_s.to_bytes(2, "big")
    return _packet(0x10, head + number(len(properties)) + properties + payload)


def publish(topic: str, payload: bytes, *, retain: bool, packet_id: int | None) -> bytes:
    """PUBLISH at QoS 1; without a packet id at QoS 0. 3.3."""
    first = 0x30 | (0x02 if packet_id is not None else 0) | (0x01 if retain else 0)
    id_bytes = b"" if packet_id is None else packet_id.to_bytes(2, "big")
    return _packet(first, _text(topic) + id_bytes + b"\x00" + payload)


def puback(packet_id: int) -> bytes:
    """PUBACK for a message that was taken. 3.4."""
    return _packet(0x40, packet_id.to_bytes(2, "big"))


def subscribe(packet_id: int, topic_filter: str) -> bytes:
    """SUBSCRIBE to one filter at QoS 1; what is retained comes, too. 3.8."""
    return _packet(0x82, packet_id.to_bytes(2, "big") + b"\x00" + _text(topic_filter) + b"\x01")


def number(value: int) -> bytes:
    """A variable byte integer. 1.5.5."""
    found = bytearray()
    while True:
        value, digit = divmod(value, 128)
        found.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(found)


def _packet(first: int, rest: bytes) -> bytes:
    return bytes((first,)) + number(len(rest)) + rest


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(data: bytes) -> bytes:
    if len(data) > MOST_TEXT_BYTES:
        raise ValueError(f"{len(data)} bytes, expected at most {MOST_TEXT_BYTES}")
    return len(data).to_bytes(2, "big") + data


# ── from the broker ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Bytes:
    """Takes one value after another off the content of a packet. Raises Malformed where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise Malformed(f"ends after {len(self._data)} bytes, expected {self._at + count} at least")
        self._at += count
        return self._data[self._at - count : self._at]

    def whole(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def number(self) -> int:
        value = 0
        for place in range(4):
            digit = self.whole(1)
            value |= (digit & 0x7F) << (7 * place)
            if not digit & 0x80:
                return value
        raise Malformed("a variable byte integer of more than four bytes")

    def binary(self) -> bytes:
        return self.take(self.whole(2))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"a text that is not UTF-8: {error.reason}") from None

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def properties(self) -> dict[int, int | bytes]:
        """Those that occur once, by identifier; the others are passed over. 2.2.2."""
        if self._at == len(self._data):
            return {}  # may be left out at the end of some packets
        inner = _Bytes(self.take(self.number()))
        found: dict[int, int | bytes] = {}
        while inner._at < len(inner._data):
            key = inner.number()
            found[key] = inner._value(key)
        return found

    def _value(self, key: int) -> int | bytes:
        if key in _BYTE:
            return self.whole(1)
        if key in _TWO_BYTES:
            return self.whole(2)
        if key in _FOUR_BYTES:
            return self.whole(4)
        if key in _TEXT:
            return self.binary()
        if key == _NUMBER:
            return self.number()
        if key == _PAIR:
            return self.binary() + self.binary()
        raise Malformed(f"property 0x{key:02X}, which MQTT 5 does not have")


def connack(content: bytes) -> Connack:
    """The content of a CONNACK. 3.2. Raises Malformed."""
    data = _Bytes(content)
    data.take(1)  # whether a session was there: this client has none
    reason, properties = data.whole(1), data.properties()
    keep_alive_s, most_bytes = properties.get(_KEEP_ALIVE), properties.get(_MAXIMUM_PACKET_SIZE, MOST_REMAINING)
    most_qos = properties.get(_MAXIMUM_QOS, 2)
    assert keep_alive_s is None or isinstance(keep_alive_s, int)
    assert isinstance(most_bytes, int)
    assert isinstance(most_qos, int)
    return Connack(reason, keep_alive_s, most_qos, most_bytes, _said(properties))


def message(flags: int, content: bytes) -> Message:
    """The content of a PUBLISH, `flags` being the lower half of its first byte. 3.3. Raises Malformed."""
    qos = flags >> 1 & 3
    if qos > 1:
        raise Malformed(f"a message at QoS {qos}, asked for was 1 at most")
    data = _Bytes(content)
    topic = data.text()
    if not topic or "\x00" in topic:
        raise Malformed("a message without a topic")  # 3.3.2.1; aliases were not offered
    packet_id = data.whole(2) if qos else None
    if packet_id == 0:
        raise Malformed("packet identifier 0")  # 2.2.1
    data.properties()
    return Message(topic, data.rest(), packet_id)


def acknowledged(kind: int, content: bytes) -> Acknowledged:
    """The content of a PUBACK (3.4) or of a SUBACK to one filter (3.9). Raises Malformed."""
    data = _Bytes(content)
    packet_id = data.whole(2)
    if kind == SUBACK:
        properties = data.properties()
        return Acknowledged(packet_id, data.whole(1), _said(properties))
    reason = int.from_bytes(data.rest()[:1], "big")  # 3.4.2.1: it may be left out, which is success
    rest = _Bytes(content[3:])
    return Acknowledged(packet_id, reason, _said(rest.properties()))


def disconnect_words(content: bytes) -> str:
    """Why the broker ends the connection. 3.14. Raises Malformed."""
    if not content:
        return "without a reason"
    data = _Bytes(content)
    return reason_words(data.whole(1), _said(data.properties()))


def _said(properties: dict[int, int | bytes]) -> str:
    text = properties.get(_REASON_TEXT, b"")
    return text.decode(errors="replace") if isinstance(text, bytes) else ""
