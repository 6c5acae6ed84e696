"""Makes and reads the site's signing key: Ed25519, 32 raw bytes in `audit.key`, mode 0600, made once.

It signs the audit's heads, the manifests of exports, and stands for the site in its identity. One key for all of them
is sound because every text it signs begins with what it is for, so a signature of one kind never passes for another.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "audit.key"


class KeyUnusable(Exception):
    """The file holds no key; the text says what it holds."""


def signing_key(directory: Path) -> Ed25519PrivateKey:
    """The key of a state directory, made if there is none. Raises KeyUnusable, OSError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = directory / KEY_FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        _write_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
        raw = path.read_bytes()
    if len(raw) != 32:
        raise KeyUnusable(f"{path} holds {len(raw)} bytes, expected the 32 of an Ed25519 key")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _write_once(path: Path, raw: bytes) -> None:
    """Write a file whole or not at all, mode 0600; one that is there by then stays. Raises OSError.

    A process killed in between would otherwise leave an empty key, which no later start could use.
    """
    handle, written = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(written, path)
    finally:
        os.unlink(written)
