"""Takes Redfish documents apart. BMCs leave properties out, send null, or another type than the schema says.

Names of properties by DMTF DSP0268 (ServiceRoot, ComputerSystem, Chassis, Processor). A path that a BMC gives is used
only if it is one below /redfish/v1: requests carry a token, and go to that BMC alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import msgspec

from dispatch.model.decoding import decoded
from drivers.http.errors import HttpError

Document = Mapping[str, Any]
ROOT = "/redfish/v1/"
MOST_LINKS = 128  # of one collection; an HGX server has some 40 chassis
TEXT_MOST = 80
MOST_W = 60_000.0  # a server of eight GPUs draws up to 15 kW; 65535 is what a sensor without a value often gives
_PATH = re.compile(r"/redfish/v1(/[A-Za-z0-9._~$@()'%+:,;=&*!-]+)*/?")
_DECODER = msgspec.json.Decoder(dict[str, Any])
# what boards state that nobody gave a number (DMI defaults of AMI and others, in many public inventories)
_NO_NUMBERS = frozenset(
    (
        *("", "none", "null", "n/a", "na", "unknown", "empty", "default string", "not specified", "not available"),
        *("to be filled by o.e.m.", "to be filled by oem", "system serial number", "chassis serial number"),
        *("0123456789", "123456789", "1234567890"),
    )
)
_NO_UUIDS = frozenset(("03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"))


def document(where: str, body: bytes) -> Document:
    """A resource. Raises HttpError: it is none."""
    try:
        return decoded(_DECODER.decode, body)
    except msgspec.DecodeError as error:
        raise HttpError(
            where, f"its answer is no JSON document: {error}", "check that a Redfish service answers"
        ) from None


def said(body: bytes) -> str:
    """What the BMC says in an error answer (DSP0266, "Error responses"); empty: nothing that can be read."""
    try:
        error = decoded(_DECODER.decode, body).get("error")
    except msgspec.DecodeError:
        return ""
    messages = [info.get("Message") for info in _items(_part(error, "@Message.ExtendedInfo")) if isinstance(info, dict)]
    found = next((m for m in (*messages, _part(error, "message")) if isinstance(m, str) and m.strip()), "")
    return _shown(found, 160)


def link(of: Any, *names: str) -> str:
    """The path of a resource that a property names; empty: none, or one that is not below /redfish/v1."""
    return path_of(_part(_inner(of, names), "@odata.id"))


def links(of: Any, *names: str) -> tuple[str, ...]:
    """The paths in a list of links, each once; at most `MOST_LINKS`."""
    found = (path_of(_part(item, "@odata.id")) for item in _items(_inner(of, names))[:MOST_LINKS])
    return tuple(dict.fromkeys(path for path in found if path))


def path_of(value: Any) -> str:
    """A path below /redfish/v1 as it stands, without fragment; empty: it is none."""
    path = value.partition("#")[0] if isinstance(value, str) else ""
    return path if len(path) <= 400 and _PATH.fullmatch(path) and "/.." not in path else ""


def member(path: str) -> str:
    """The name of a member of a collection: the last part of its path."""
    return path.rstrip("/").rpartition("/")[2]


def same(path: str, other: str) -> bool:
    """Whether two paths are of one resource: some BMCs write a slash at the end, others do not."""
    return path.rstrip("/") == other.rstrip("/")


def etag_of(resource: Document, header: str) -> str:
    """The ETag of a resource (DSP0266, "ETags"): its own or that of the header; empty: none that can be sent back."""
    own = resource.get("@odata.etag")
    etag = own if isinstance(own, str) and own else header
    return etag if etag.isascii() and etag.isprintable() and len(etag) <= 200 else ""


def text(of: Any, *names: str) -> str:
    """A property that is text, as it may be shown; empty: it is none."""
    value = _inner(of, names)
    return _shown(value, TEXT_MOST) if isinstance(value, str) else ""


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a property is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def first_control(power: Document) -> Document | None:
    """Power.PowerControl[0]; None: it is not there."""
    controls = power.get("PowerControl")
    first = controls[0] if isinstance(controls, list) and controls else None
    return first if isinstance(first, dict) else None


def number_given(value: str) -> str:
    """A serial number; empty where nobody has given one."""
    return "" if value.lower() in _NO_NUMBERS or len(set(value)) < 2 else value


def uuid_given(value: str) -> str:
    """A UUID in lower case; empty where nobody has given one."""
    uuid = value.lower()
    return "" if uuid in _NO_UUIDS or len(set(uuid) - {"-"}) < 3 or len(uuid) != 36 else uuid


def _inner(of: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        of = _part(of, name)
    return of


def _part(of: Any, name: str) -> Any:
    return of.get(name) if isinstance(of, dict) else None


def _items(of: Any) -> list[Any]:
    return of if isinstance(of, list) else []


def _shown(value: str, most: int) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in value[: 4 * most]).split())[:most]
