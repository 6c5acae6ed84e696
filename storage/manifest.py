"""Writes and signs the manifest of an export: its files with their hashes, signed with the key of the audit.

Whoever has the key (the gateway's user, and root of the machine) can sign another one; only heads and keys noted
elsewhere show that. A user who may read the record but not the key gets an export without a signature, which proves
nothing.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.audit_format import canonical
from storage.signing_key import CREDENTIAL_HINT, found_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST = "manifest.json"
SIGNATURE = "signature"
_CONTEXT = b"skerry-export-manifest-1\x00"


def signed(manifest: dict[str, Any], state_dir: Path) -> dict[str, Any]:
    """The manifest with its signature: key and signature in hex, or `unsigned` with the reason."""
    try:
        key = found_key(state_dir)
    except OSError as error:
        hint = "; export as the gateway's user or root" if error.errno == errno.EACCES else ""
        hint = f"; {CREDENTIAL_HINT}" if isinstance(error, FileNotFoundError) else hint
        return {**manifest, SIGNATURE: {"unsigned": f"{error.filename}: {error.strerror}{hint}"}}
    return signed_with(manifest, key)


def signed_with(manifest: dict[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """The manifest with its signature."""
    proof = {"public_key": key.public_key().public_bytes_raw().hex(), "ed25519": key.sign(_text(manifest)).hex()}
    return {**manifest, SIGNATURE: proof}


def key_of(manifest: dict[str, Any]) -> bytes | None:
    """The public key whose signature the manifest carries; None if it carries none. ValueError: it is wrong."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    proof = manifest.get(SIGNATURE)
    if not isinstance(proof, dict) or "ed25519" not in proof:
        return None
    try:
        key = bytes.fromhex(proof["public_key"])
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(proof["ed25519"]), _text(manifest))
    except (InvalidSignature, ValueError, TypeError, KeyError):
        raise ValueError(f"{MANIFEST}: its signature does not hold") from None
    return key


def _text(manifest: dict[str, Any]) -> bytes:
    """What is signed: everything but the signature."""
    return _CONTEXT + canonical({name: value for name, value in manifest.items() if name != SIGNATURE}).encode()
