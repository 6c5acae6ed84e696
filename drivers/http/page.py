"""What is asked over HTTP, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

import msgspec

MOST_BYTES = 8 * 2**20  # of one answer; a node_exporter's page has 60 kB, one of 8 GPUs 30 kB


class Access(msgspec.Struct, frozen=True):
    """How a server is reached: what its certificate is verified by, and with which credentials it is asked.

    `ca`: certificates of authorities (PEM); None: the system's. `fingerprint`: SHA-256 of its certificate, 64
    hexadecimal digits; then the certificate itself is compared, and neither its issuer nor its name. `authorization`:
    file with one line, the value of the header Authorization; `token`: file with one line, a token that is sent in it
    after the word Bearer (RFC 6750, section 2.1). At most one of both.
    """

    ca: Path | None = None
    fingerprint: str = ""
    authorization: Path | None = None
    token: Path | None = None


class Request(msgspec.Struct, frozen=True):
    """What is asked. `accepted`: the statuses of an answer that is used. `types`: of content, besides text and JSON."""

    url: str
    method: str = "GET"
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    accepted: tuple[int, ...] = (200,)
    body_matters: bool = True  # False: only its status counts, and its content is not read
    secrets: tuple[str, ...] = ()  # in it: no error has them, whatever the server answers
    types: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """One page. `served_utc_s`: the server's own clock when it answered, whole seconds; None: it does not say."""

    body: bytes
    content_type: str
    served_utc_s: float | None = None
    headers: Mapping[str, str] = {}


@lru_cache(64)
def utc_s_of(date: str | None) -> float | None:
    """The POSIX seconds of a Date header; None for none, and for one that cannot be read.

    A thousand servers tell the same second.
    """
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError, OSError):
        return None
