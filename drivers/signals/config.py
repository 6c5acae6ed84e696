"""Defines the sections `[signals]` and `[[signal]]` of the site file."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dispatch.config.signal_terms import SignalTerms
from drivers.mqtt.config import BrokerKeys


class SignalBrokerConfig(BrokerKeys, frozen=True, kw_only=True):
    """`[signals.mqtt]`: an MQTT 5 broker from which signed signals are taken. Nothing is published there."""

    topic: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="Topic or filter, such as `grid/v1/isv/acme-energy/loadtarget/set`.",
        ),
    ]


class SignalsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[signals]`: ways by which signals from outside come in, besides the link."""

    directory: Annotated[
        str,
        Meta(
            description="Directory that is looked at every 2 s for files `*.json`, each one signed CloudEvent, beside "
            "the site file unless absolute. They are only read. Empty: none."
        ),
    ] = ""
    mqtt: SignalBrokerConfig | None = None


class SignalSender(SignalTerms, frozen=True, kw_only=True):
    """`[[signal]]`: one that may send signals, and what proves that they are its own."""

    source: Annotated[
        str, Meta(max_length=200, description="Its `source` in CloudEvents, such as `//grid/v1/isv/acme-energy`.")
    ] = ""
    public_key: Annotated[
        str,
        Meta(
            description="Its public key in base64: 32 bytes of Ed25519 (JWS EdDSA), or 33 or 65 bytes of a point on "
            "P-256 (JWS ES256). Without one and without a group, only an operator may enter its signals."
        ),
    ] = ""
    group: Annotated[
        str,
        Meta(
            max_length=32,
            description="Unix group whose members may send its signals without a signature: by the link, or as files "
            "that they own in the directory of [signals]. Empty: none.",
        ),
    ] = ""
    feed_tags: Annotated[
        tuple[str, ...], Meta(description="By which names its load targets may mean this site. Empty: by any.")
    ] = ()
