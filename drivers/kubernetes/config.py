"""Defines `[[kubernetes]]`: the API server of a Kubernetes cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from drivers.device_keys import Id
from drivers.http.config import CaFile, Fingerprint
from drivers.http.page import Access

ApiUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/@?#{}]+(/[^\s?#{}]*)?$",
        description='Address of the API server, `"https://10.0.0.1:6443"`, as `kubectl cluster-info` shows it. http '
        "only on this machine (`kubectl proxy`).",
        extra={"expected": "https://host:port of the API server"},
    ),
]


class KubernetesServer(msgspec.Struct, frozen=True, kw_only=True):
    """`[[kubernetes]]`: the API server of a Kubernetes cluster. Lists are read from it; nothing is changed in it."""

    id: Annotated[Id, Meta(description="Name of the cluster.")]
    url: ApiUrl
    token_file: Annotated[
        str,
        Meta(
            description="File with one line, the token of a service account; relative to the site file. It is read at "
            "each request, so a token that is renewed in it is used at once. A file that every user can read is not "
            "used. Empty: none is sent."
        ),
    ] = ""
    ca: CaFile = ""
    fingerprint: Fingerprint = ""
    deadline_s: Annotated[
        float, Meta(gt=0, le=120, description="Longest wait for a whole list of nodes, real seconds.")
    ] = 20.0

    @property
    def root(self) -> str:
        """The address without a slash at its end."""
        return self.url.rstrip("/")

    def access(self, directory: Path) -> Access:
        """How it is reached. `directory`: that of the site file."""
        return Access(
            ca=directory / self.ca if self.ca else None,
            fingerprint=self.fingerprint,
            token=directory / self.token_file if self.token_file else None,
        )
