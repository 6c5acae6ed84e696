"""Defines the sections of the site file for devices behind NUT's upsd: UPSs and metered PDUs."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from drivers.device_keys import Deadline, Id, Period

PORT = 3493  # by IANA, for NUT (NUT, docs/net-protocol.txt)
_HOST = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
NutUrl = Annotated[
    str,
    Meta(
        pattern=rf"^nut://{_HOST}(:{_PORT})?/[A-Za-z0-9_.-]{{1,64}}$",
        description="Where upsd listens and the name by which its ups.conf knows the device, `nut://host:port/name`. "
        "Port 3493 may be left out.",
        extra={"expected": "nut://host:3493/name, with the name of the device in upsd's ups.conf"},
    ),
]


class NutAddress(NamedTuple):
    """Where a device behind upsd is."""

    host: str
    port: int
    name: str


def address_of(url: str) -> NutAddress:
    """The parts of a `NutUrl`."""
    place, _, name = url.removeprefix("nut://").partition("/")
    found = re.fullmatch(r"(.*?)(?::(\d+))?", place) if not place.endswith("]") else None
    host, port = (place, None) if found is None else found.groups()
    return NutAddress(str(host).strip("[]"), PORT if port is None else int(port), name)


class UpsDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[ups]]`: a UPS that NUT's upsd serves. It is shown, recorded and alarmed, never commanded."""

    id: Annotated[Id, Meta(description="Name of the UPS.")]
    url: NutUrl
    deadline_s: Deadline | None = None
    period_s: Period | None = None


class PduDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`[[pdu]]`: a PDU that measures its outlets and that NUT's upsd serves. Nodes name its outlets."""

    id: Annotated[Id, Meta(description="Name of the PDU, as the `outlets` of a node name it.")]
    url: NutUrl
    deadline_s: Deadline | None = None
