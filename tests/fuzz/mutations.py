"""Inputs for a parser: its valid examples, and what a fault of a disk, a device or a person makes of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

TOKENS = (
    *(
        b"\0",
        b"\xff\xff\xff\xff",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r",
        b"\t",
        b",",
        b";",
        b'"',
        b"'",
        b"#",
    ),
    *(b"NaN", b"nan", b"Infinity", b"-inf", b"-1", b"0", b"1e999", b"-1e999", b"0x10", b"9" * 400, b"1_000", b"1,5"),
    *(b"\x91" * 2000, b"\x81\xa0" * 1000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"[" * 3000,
        b'{"":' * 1500,
        b"=",
        b"[[",
        b"]]",
        b"\\u0000",
        b"\\",
        b"%s",
        b"{0}",
    ),
    *(
        b"9999-12-31T23:59:59Z",
        b"0001-01-01T00:00:00Z",
        b"2025-02-30",
        b"2025-10-26T02:30:00+02:00",
        "٣".encode(),
        "ü".encode(),
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 1e308, -1e308, 5e-324),
    *(
        float("nan"),
        float("inf"),
        "",
        "x",
        "\0",
        "ü",
        "9" * 60,
        "NaN",
        "2025-13-45",
        "a" * 5000,
        "../../etc",
        "{0}%s\n",
    ),
    *([], {}, [[]], [None], {"": 0}, {"code": "", "figures": {}}),
)


def inputs(examples: Sequence[bytes], tree: str, count: int, chance: random.Random) -> Iterator[bytes]:
    """The examples, then `count` others. `tree`: "json" or "msgpack" where they are; then values change, too."""
    yield from examples
    yield b""
    for _ in range(count):
        example = chance.choice(examples)
        roll = chance.random()
        if roll < 0.05:
            yield chance.randbytes(chance.randrange(300))
        elif tree and roll < 0.65:
            yield _with_other_values(example, tree, chance)
        else:
            yield _damaged(example, chance)


def _damaged(data: bytes, chance: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(made) + 1)
        until = min(len(made), at + chance.choice((1, 1, 2, 4, 16, 200)))
        match chance.randrange(7):
            case 0:  # cut off
                del made[at:]
            case 1 if made:  # a bit
                made[at % len(made)] ^= 1 << chance.randrange(8)
            case 2:  # a hole
                del made[at:until]
            case 3:  # twice
                made[at:at] = made[at:until]
            case 4:  # bytes of anything
                made[at:until] = chance.randbytes(until - at)
            case _:  # a word that means something, beside what is there or in its place
                made[at : chance.choice((at, until))] = chance.choice(TOKENS)
    return bytes(made)


def _with_other_values(data: bytes, tree: str, chance: random.Random) -> bytes:
    """A document in which some values, keys or lengths are others."""
    decode, encode = (json.loads, _json) if tree == "json" else (msgspec.msgpack.decode, msgspec.msgpack.encode)
    document = decode(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        document = _changed(document, chance)
    try:
        return encode(document)
    except OverflowError:  # msgpack has integers of 64 bits
        return _damaged(data, chance)


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _changed(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.93:
        key = chance.choice(list(value))
        match chance.randrange(12):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return value | {chance.choice(("", "x", f"{key}x", "type")): chance.choice(VALUES)}
            case _:
                return value | {key: _changed(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.93:
        at = chance.randrange(len(value))
        match chance.randrange(12):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, *value[at:]]
            case _:
                return [*value[:at], _changed(value[at], chance), *value[at + 1 :]]
    if isinstance(value, (int, float)) and chance.random() < 0.4:
        return chance.choice((-value, value * 1000, value + 1, float(value), str(value)))
    return chance.choice(VALUES)
