"""Defines the sections of the site file by which the gateway tells others what it knows."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.credentials import CredentialName
from drivers.device_keys import Host, Id, Port
from drivers.http.config import CaFile, Fingerprint, HttpUrl
from drivers.mqtt.config import BrokerKeys

Topic = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]{1,40}(/[A-Za-z0-9_-]{1,40}){0,3}$",
        extra={"expected": "one to four levels of A-Z, a-z, 0-9, _ and -, divided by /"},
    ),
]
MostNodes = Annotated[
    int, Meta(ge=0, le=4096, description="Of more compute nodes than that only the first are told, by name.")
]


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[metrics]`: a page for Prometheus, `http://…/metrics`. Without this section there is none."""

    listen: Annotated[
        str,
        Meta(
            pattern=r"^([0-9.]{7,15}|\[[0-9a-fA-F:]{2,39}\]):[0-9]{1,5}$",
            description="Address and port where it is served, without TLS and without a password.",
            extra={"expected": "an address and a port, such as 127.0.0.1:9469 or [::1]:9469"},
        ),
    ] = "127.0.0.1:9469"
    any_address: Annotated[
        bool,
        Meta(
            description="true: `listen` may be another address than loopback. Then whoever reaches it reads the page."
        ),
    ] = False
    most_nodes: MostNodes = 256

    @property
    def place(self) -> tuple[str, int]:
        """Address and port. Raises ValueError."""
        host, _, port = self.listen.rpartition(":")
        address, number = ipaddress.ip_address(host.strip("[]")), int(port)
        if not 1 <= number <= 65535:
            raise ValueError(f"port {number}")
        return str(address), number


class MqttConfig(BrokerKeys, frozen=True, kw_only=True):
    """`[mqtt]`: a broker to which the gateway publishes. It subscribes to nothing, so nothing can be commanded."""

    topic_prefix: Annotated[Topic, Meta(description="Topics begin with it, then comes the name of the site.")] = (
        "skerry"
    )
    discovery: Annotated[
        bool,
        Meta(
            description="Publish, retained, what Home Assistant needs to show all figures by itself. false: what was "
            "published of it before is removed from the broker."
        ),
    ] = True
    discovery_prefix: Annotated[Topic, Meta(description="As set in Home Assistant.")] = "homeassistant"
    period_s: Annotated[
        float, Meta(ge=1, le=300, description="How often figures are published; words at once, once a second at most.")
    ] = 10.0
    most_nodes: MostNodes = 64


Address = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}$",
        extra={"expected": "an address such as name@example.org, without a name before it"},
    ),
]


class NotifyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[[notify]]`: whom the gateway tells of alarms, by webhook or mail."""

    id: Annotated[Id, Meta(description="Name of the receiver, for `skerry notify test ID` and alarms.")]
    kind: Annotated[
        Literal["webhook", "mail"], Meta(description="`webhook`: HTTP POST of JSON to `url`. `mail`: by SMTP.")
    ]
    url: Annotated[HttpUrl | None, Meta(description="Of a webhook: where the JSON is posted.")] = None
    url_credential: Annotated[
        CredentialName,
        Meta(description="Of a webhook whose url is a secret, as of many chats: name of the credential that holds it."),
    ] = ""
    secret_credential: Annotated[
        CredentialName,
        Meta(
            description="Of a webhook: name of the credential that signs the JSON (HMAC-SHA256, header "
            "`Skerry-Signature`). Empty: it is not signed."
        ),
    ] = ""
    token_credential: Annotated[
        CredentialName,
        Meta(description="Of a webhook: name of the credential that is sent as `Authorization: Bearer`. Empty: none."),
    ] = ""
    fingerprint: Fingerprint = ""
    host: Annotated[Host | None, Meta(description="Of mail: the SMTP server.")] = None
    port: Annotated[Port, Meta(description="Of mail: 587 for STARTTLS, mostly 465 for TLS.")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description="Of mail: `starttls`, `tls` from the start, or `none`, which allows no username."),
    ] = "starttls"
    username: Annotated[str, Meta(max_length=128, description="Of mail: empty: none.")] = ""
    password_credential: Annotated[
        CredentialName, Meta(description="Of mail: name of the credential that holds the password.")
    ] = ""
    sender: Annotated[Address | None, Meta(description="Of mail: the address that it comes from.")] = None
    to: Annotated[tuple[Address, ...], Meta(max_length=16, description="Of mail: the addresses that it goes to.")] = ()
    ca: CaFile = ""
    least_priority: Annotated[
        Literal["high", "medium", "low"], Meta(description="Alarms of a lower priority are not told.")
    ] = "medium"
    alarms: Annotated[
        tuple[str, ...], Meta(max_length=100, description="Only these alarms, such as `fuse-overload`. Empty: all.")
    ] = ()
    repeat_s: Annotated[
        float, Meta(ge=0, le=86_400, description="What changes of an alarm within this time is told at its end.")
    ] = 600.0
    most_per_hour: Annotated[
        int, Meta(ge=1, le=1000, description="Messages in any hour. What is held back comes with the next one.")
    ] = 20
    deadline_s: Annotated[float, Meta(gt=0, le=60, description="For the receiver to take a message.")] = 15.0
