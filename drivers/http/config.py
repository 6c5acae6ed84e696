"""Defines the keys of the site file by which pages are reached over HTTP, and the section of a Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from drivers.device_keys import Id
from drivers.http.page import Access

HttpUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/@?#{}]+(/[^\s#{}]*)?$",
        extra={"expected": "http://host:port/path or https://host:port/path, without user and #"},
    ),
]
CaFile = Annotated[
    str,
    Meta(
        description="With https: file of the certificates (PEM) of the authorities that sign the server's, relative to "
        "the site file. Empty: the system's."
    ),
]
Fingerprint = Annotated[
    str,
    Meta(
        pattern=r"^([0-9a-f]{64})?$",
        description="With https: SHA-256 fingerprint of the server's certificate, 64 hexadecimal digits, for one that "
        "no authority has signed. Then only it counts, neither issuer nor name.",
        extra={"expected": "64 hexadecimal digits in lower case (openssl x509 -fingerprint -sha256, without colons)"},
    ),
]
AuthorizationFile = Annotated[
    str,
    Meta(
        description="File with one line, the value of the header Authorization, such as `Bearer TOKEN`; relative to "
        "the site file. A file that every user can read is not used."
    ),
]


class Reached(Protocol):
    """What the site file says of how a server is reached."""

    @property
    def ca(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def authorization_file(self) -> str: ...


def access_of(reached: Reached, directory: Path) -> Access:
    """The same with files found from the site file's directory."""
    return Access(
        ca=directory / reached.ca if reached.ca else None,
        fingerprint=reached.fingerprint,
        authorization=directory / reached.authorization_file if reached.authorization_file else None,
    )


class PrometheusServer(msgspec.Struct, frozen=True, kw_only=True):
    """`[[prometheus]]`: the site's own Prometheus, or what answers its queries. Nodes are read from it by a label."""

    id: Annotated[Id, Meta(description="Name of the server, as nodes give it in `prometheus`.")]
    url: Annotated[HttpUrl, Meta(description="Where it is, `http://host:9090`; /api/v1/query is added.")]
    label: Annotated[
        str,
        Meta(
            pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$",
            description="Label that names the node in every metric. A value such as `gpu01:9100` or "
            "`gpu01.example.org:9100` belongs to node gpu01.",
            extra={"expected": "the name of a label"},
        ),
    ] = "instance"
    window_s: Annotated[
        int,
        Meta(
            ge=20,
            le=600,
            description="How far back the last sample is looked for; at least twice its scrape interval.",
        ),
    ] = 150
    deadline_s: Annotated[float, Meta(gt=0, le=60, description="Longest wait for an answer, real seconds.")] = 5.0
    ca: CaFile = ""
    fingerprint: Fingerprint = ""
    authorization_file: AuthorizationFile = ""
