"""Defines the keys by which the site file says where a broker is and how it is reached."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from drivers.credentials import CredentialName
from drivers.device_keys import Host, Port
from drivers.http.config import CaFile


class BrokerKeys(msgspec.Struct, frozen=True, kw_only=True):
    """An MQTT 5 broker: its place, TLS and account."""

    host: Host
    port: Port = 1883
    tls: Annotated[bool, Meta(description="true: with TLS, mostly at port 8883.")] = False
    ca: CaFile = ""
    username: Annotated[str, Meta(max_length=128, description="Empty: none.")] = ""
    password_credential: Annotated[
        CredentialName,
        Meta(
            description="Name of the systemd credential that holds the password, or of the environment variable "
            "SKERRY_SECRET_NAME. Empty: none."
        ),
    ] = ""
