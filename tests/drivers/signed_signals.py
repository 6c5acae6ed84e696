"""Makes signed signals as their senders do, apart from the code that checks them."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
SOURCE = "//grid/v1/isv/acme-energy"


def ed25519_key() -> str:
    """The public key as the site file has it."""
    return base64.b64encode(ED25519.public_key().public_bytes_raw()).decode()


def p256_key(form: PublicFormat = PublicFormat.CompressedPoint) -> str:
    """The same of the other kind."""
    return base64.b64encode(P256.public_key().public_bytes(Encoding.X962, form)).decode()


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: dict[str, Any], alg: str = "EdDSA", header: dict[str, Any] | None = None) -> str:
    """A JWS in compact serialization."""
    head = b64url(json.dumps(header or {"alg": alg, "kid": "1"}).encode())
    text = f"{head}.{b64url(json.dumps(payload).encode())}"
    if alg == "EdDSA":
        return f"{text}.{b64url(ED25519.sign(text.encode()))}"
    r, s = utils.decode_dss_signature(P256.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64url(r.to_bytes(32) + s.to_bytes(32))}"


def event(data: str | dict[str, Any], type_: str = "grid.loadtarget.set.v1", **changes: Any) -> bytes:
    """A CloudEvent with this data."""
    said = {
        "specversion": "1.0.2",
        "id": "0b7c1f2e-6d0a-4a55-9c43-0f6f3a5f0001",
        "source": SOURCE,
        "type": type_,
        "time": "2025-09-16T07:59:58Z",
        "datacontenttype": "application/json",
        "subject": "loadtarget",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": data,
    }
    return json.dumps(said | changes).encode()


def load_target(kilowatts: float | None, start: str | None, end: str | None, **more: Any) -> dict[str, Any]:
    """The data of a load target."""
    interval = {name: time for name, time in (("start_time", start), ("end_time", end)) if time is not None}
    constraint = None if kilowatts is None else {"value": kilowatts, "unit": "kilowatt"}
    return {"targets": [{"interval": interval, "load_constraint": constraint, **more}]}
