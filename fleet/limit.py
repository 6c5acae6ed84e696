"""Signs limits for sites of a fleet: a CloudEvent whose data names the site, has a number, and ends.

The form is that of `drivers.signals.cloud_event`, which reads it at the site; docs/signals.md says what is accepted.
"""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dispatch.model.signals import Quantity
from dispatch.orders.signal_book import Taken
from fleet.watch import Client

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TYPE = "skerry.limit.set.v1"
SOURCE = "//skerry/fleet"
KEY_BYTES = 32  # of Ed25519
LAST_UTC_S = 1e11


class NoKey(Exception):
    """The text says which file, and what was expected."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of one site's import. `import_w` None: those of this key that overlap the time end."""

    site: str  # UUID
    number: int  # higher than that of the last limit that this key has signed for the site
    import_w: float | None
    start_utc_s: float
    end_utc_s: float


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file, 32 bytes that only its owner may read. Raises NoKey."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        with path.open("rb") as file:
            mode, raw = os.fstat(file.fileno()).st_mode, file.read(KEY_BYTES + 1)
    except OSError as error:
        raise NoKey(f"{path}: {error.strerror}; make a key with: skerry fleet key {path}") from None
    if mode & 0o077:
        raise NoKey(f"{path}: others may read it (mode {mode & 0o777:o}); chmod 600, and think of a new key")
    if len(raw) != KEY_BYTES:
        raise NoKey(f"{path}: expected the {KEY_BYTES} bytes of an Ed25519 key, as `skerry fleet key` writes it")
    return Ed25519PrivateKey.from_private_bytes(raw)


def new_key(path: Path) -> Ed25519PrivateKey:
    """A new private key in a new file. Raises NoKey."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes_raw())
    except OSError as error:
        raise NoKey(f"{path}: {error.strerror}; a key is written to a new file only") from None
    return key


def public_key(key: Ed25519PrivateKey) -> str:
    """The public half as the site file has it."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def signed(limit: Limit, key: Ed25519PrivateKey, source: str) -> str:
    """The event, JSON. What is signed is its `data`: site, number, limit and times."""
    power = None if limit.import_w is None else {"value": limit.import_w, "unit": "watt"}
    interval = {"start_time": _time(limit.start_utc_s), "end_time": _time(limit.end_utc_s)}
    item = {"quantity": Quantity.IMPORT.value, "interval": interval, "limit": power}
    payload = {"site": limit.site, "number": limit.number, "limits": [item]}
    text = f"{_base64url(json.dumps({'alg': 'EdDSA'}).encode())}.{_base64url(json.dumps(payload).encode())}"
    event = {"specversion": "1.0.2", "id": f"{limit.site}/{limit.number}", "source": source, "type": TYPE}
    return json.dumps(
        event | {"datacontenttype": "application/json", "data": f"{text}.{_base64url(key.sign(text.encode()))}"}
    )


async def hand_in(client: Client, event: str) -> Taken:
    """What a site says to a signed event. Raises RequestFailed, LinkLost, and msgspec.ValidationError for no answer."""
    taken = msgspec.convert(await client.request("signal.send", event=event), Taken)
    for signal in (*taken.signals, *taken.ended):
        if not (0 <= signal.start_utc_s <= LAST_UTC_S and 0 <= signal.end_utc_s <= LAST_UTC_S):
            raise msgspec.ValidationError("a time that is none")
    return taken


def _time(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="seconds")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
