"""Makes the tokens that the REST gateway of OpenCue takes."""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

from manager_http import bearer, secret_in

TOKEN_S = 300  # a token is good for


def with_secret(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """A command line that may name the file of the secret."""
    about = "JWT_SECRET of its REST gateway, by which tokens are made"
    parser.add_argument("--secret-file", metavar="FILE", help=about)
    return parser


def authorization(given: argparse.Namespace) -> Callable[[], str] | None:
    """What makes the header, by what was given."""
    if given.token_file:
        return bearer(given.token_file)
    return signed(given.secret_file) if given.secret_file else None


def signed(path: str) -> Callable[[], str]:
    """The header with a token signed by the secret of a file: HS256, RFC 7515 and RFC 7519."""

    def coded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    def header() -> str:
        claims = {"sub": "skerry", "exp": int(time.time()) + TOKEN_S}
        said = ".".join(coded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        signature = hmac.new(secret_in(path).encode(), said.encode(), hashlib.sha256).digest()
        return f"Bearer {said}.{coded(signature)}"

    return header
