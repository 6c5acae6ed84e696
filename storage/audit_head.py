"""Keeps the head of the audit in a second file, so that rows lost from the end of the first one are noticed.

`audit.head` is one line: the head as it is printed, the public key and a signature of the head, in hex. It is on the
disk before a row is acknowledged, unless it cannot be written: the audit's error says so, and rows go on. What it
cannot show: an end cut off by somebody who restores an older `audit.head` with it, or who has the key; heads noted
elsewhere (exports, syslog) show that.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from storage import durable_file
from storage.audit_format import head_of, head_words

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HEAD_FILE = "audit.head"
_CONTEXT = b"skerry-audit-head-1\x00"
_MOST_BYTES = 1024


class KeptHead(msgspec.Struct, frozen=True):
    """The newest row that was on the disk, its hash, and the key that signed for both."""

    seq: int
    hash: bytes
    public_key: bytes


class HeadDamaged(Exception):
    """The file is not as it was written; the text says what is wrong."""


def keep(directory: Path, seq: int, head: bytes, key: Ed25519PrivateKey) -> None:
    """Replace the kept head; it is on the disk once this returns. Raises OSError."""
    public = key.public_key().public_bytes_raw()
    words = (head_words(seq, head), public.hex(), key.sign(_text(seq, head)).hex())
    durable_file.write(directory / HEAD_FILE, " ".join(words).encode() + b"\n")


def kept(directory: Path) -> KeptHead | None:
    """The kept head; None if there is no such file. Raises HeadDamaged, OSError."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        with (directory / HEAD_FILE).open("rb") as file:
            found = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    try:
        words, public_hex, signature = found.decode("ascii").split()
        (seq, head), public = head_of(words), bytes.fromhex(public_hex)
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature), _text(seq, head))
    except (InvalidSignature, ValueError) as error:
        raise HeadDamaged(f"{HEAD_FILE} is damaged: {error or 'its signature does not hold'}") from None
    return KeptHead(seq, head, public)


def _text(seq: int, head: bytes) -> bytes:
    """What is signed."""
    return _CONTEXT + seq.to_bytes(8, "big") + head
