"""Checks the signature of a signal: JWS compact serialization (RFC 7515) with EdDSA (RFC 8037) or ES256 (RFC 7518).

What is signed are the ASCII bytes `BASE64URL(header).BASE64URL(payload)` of the event's `data`, nothing else of the
event. The kind of key decides the algorithm, not the message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any, NamedTuple

import msgspec

from dispatch.model.decoding import decoded

ED25519_BYTES = 32
P256_BYTES = (33, 65)  # a point, compressed and not (SEC 1, 2.3.3)
SIGNATURE_BYTES = 64  # of both: R | S
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class BadSignature(Exception):
    """The text says what was expected."""


class Signed(NamedTuple):
    """A payload whose signature is good, and the SHA-256 of the bytes that were signed, hexadecimal."""

    payload: bytes
    digest: str


class _Header(msgspec.Struct):
    alg: str
    crit: Any = None


def public_key(text: str) -> bytes:
    """The bytes of a key as the site file has it. Raises ValueError with what was expected."""
    expected = "base64 of a public key: 32 bytes of Ed25519, or 33 or 65 bytes of a point on P-256"
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(expected) from None
    if len(raw) != ED25519_BYTES and len(raw) not in P256_BYTES:
        raise ValueError(f"{expected}; these are {len(raw)}")
    try:
        _key(raw)
    except ValueError:
        raise ValueError(f"{expected}; this is no point on P-256") from None
    return raw


def verified(compact: str, key: bytes) -> Signed:
    """The payload of a JWS that this key has signed. Raises BadSignature."""
    if not COMPACT.fullmatch(compact):
        raise BadSignature("data is no JWS in compact serialization, expected HEADER.PAYLOAD.SIGNATURE in base64url")
    header, payload, signature = compact.split(".")
    wanted = "EdDSA" if len(key) == ED25519_BYTES else "ES256"
    try:
        said = decoded(lambda data: msgspec.json.decode(data, type=_Header), _decoded(header))
    except msgspec.DecodeError:
        raise BadSignature(f'the JWS header cannot be read, expected {{"alg":"{wanted}"}}') from None
    if said.alg != wanted or said.crit is not None:
        raise BadSignature(f'the JWS header says alg "{said.alg[:20]}", expected "{wanted}" by the key, and no crit')
    signed = f"{header}.{payload}".encode()
    _verify(key, _decoded(signature), signed)
    return Signed(_decoded(payload), hashlib.sha256(signed).hexdigest())


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise BadSignature("data is no JWS: a part of it is not base64url") from None


def _verify(key: bytes, signature: bytes, signed: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    if len(signature) != SIGNATURE_BYTES:
        raise BadSignature(f"the signature has {len(signature)} bytes, expected {SIGNATURE_BYTES}")
    found = _key(key)
    try:
        if isinstance(found, ec.EllipticCurvePublicKey):
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            found.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        else:
            found.verify(signature, signed)
    except InvalidSignature:
        raise BadSignature("the signature is not that of public_key in the site file over these bytes") from None


def _key(raw: bytes) -> Any:
    """The key itself. Raises ValueError. The library is loaded where a signature is checked."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(raw) == ED25519_BYTES:
        return Ed25519PublicKey.from_public_bytes(raw)
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
