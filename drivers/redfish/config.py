"""Defines the section `[[bmc]]` of the site file, and the keys by which a node names its BMC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from drivers.device_keys import Id
from drivers.http.config import CaFile
from drivers.http.errors import NotTrusted

LEAST_PERIOD_S = 30.0  # a BMC is a small computer that also watches fans and temperatures
MOST_BYTES = 1_000_000  # of the file of fingerprints
# http only to this machine: where a tunnel ends
_PLACE = r"(https://[^\s/@?#{}]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)/?"
BmcUrl = Annotated[
    str,
    Meta(
        pattern=rf"^({_PLACE})?$",
        description="Its BMC, `https://gpu01-bmc`, which is read by Redfish; the account is of a `[[bmc]]`. With "
        "`redfish` its power is what the BMC measures; with `exporters` and `prometheus` that goes before what these "
        "tell, and after the outlets.",
        extra={"expected": "https://host or https://host:port, without a path (http only to this machine)"},
    ),
]
BmcNameUrl = Annotated[
    str,
    Meta(
        pattern=rf"^({_PLACE.replace('{}', '')})?$",
        description="Their BMCs, {name} stands for the node's name: `https://{name}-bmc`.",
        extra={"expected": "https://{name}-bmc, without a path; {name} stands for the node's name"},
    ),
]
BmcAccountId = Annotated[
    str, Meta(description="With `bmc`: the `id` of the `[[bmc]]` that counts. Empty: there is only one.")
]
BmcMember = Annotated[
    str,
    Meta(
        pattern=r"^[^/\s?#%]{0,120}$",
        extra={"expected": "the last part of its path, such as System.Embedded.1"},
    ),
]
BmcSystem = Annotated[
    BmcMember,
    Meta(
        description="With `bmc`: which system of the BMC the node is, by the last part of its path below "
        "/redfish/v1/Systems. Empty: the only one."
    ),
]
BmcChassis = Annotated[
    BmcMember,
    Meta(
        description="With `bmc`: the chassis whose power is this node's and no other's, by the last part of its path "
        "below /redfish/v1/Chassis. Empty: the one in which the system is."
    ),
]
BmcSerial = Annotated[
    str,
    Meta(
        description="With `bmc`: serial number that the system must state; another one is refused. Empty: any, and a "
        "change is told."
    ),
]


class BmcDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """`[[bmc]]`: how BMCs are read: with which account, how often. The BMCs themselves are the `bmc` of nodes.

    The account needs the Redfish role ReadOnly and no more, and nothing is set in them, unless `may_cap` is true.
    """

    id: Annotated[Id, Meta(description="Name of these settings, as nodes give it in `bmc_account`.")]
    user: Annotated[
        str,
        Meta(
            pattern=r"^[^:\x00-\x1f\x7f]{1,64}$",  # RFC 7617: no colon
            description="Name of the account.",
            extra={"expected": "1..64 characters without a colon"},
        ),
    ]
    password_file: Annotated[
        str,
        Meta(
            min_length=1,
            description="File with its password in the first line; relative to the site file. A file that every user "
            "can read is not used.",
        ),
    ]
    login: Annotated[
        Literal["session", "basic"],
        Meta(
            description="`session`: log in once, and out at the end; a BMC that has no sessions gets the password at "
            "each request. `basic`: always that."
        ),
    ] = "session"
    may_cap: Annotated[
        bool,
        Meta(
            description="true: with this account the power limits of the nodes with `cap_by` may be set. It needs more "
            "than ReadOnly then, and should be another one than that of the other nodes."
        ),
    ] = False
    ca: CaFile = ""
    fingerprints_file: Annotated[
        str,
        Meta(
            description="File with the SHA-256 fingerprints of BMCs' certificates, for those that no authority has "
            "signed: host and fingerprint, one BMC a line, # begins a comment; relative to the site file. For a BMC in "
            "it only its fingerprint counts."
        ),
    ] = ""
    period_s: Annotated[
        float, Meta(ge=LEAST_PERIOD_S, le=600, description="How often each BMC is read, real seconds.")
    ] = LEAST_PERIOD_S
    deadline_s: Annotated[
        float, Meta(gt=0, le=60, description="Longest wait for one answer of a BMC, real seconds.")
    ] = 30.0


class NodeOfBmc(Protocol):
    """What the site file says of a node and its BMC."""

    @property
    def id(self) -> str: ...

    @property
    def bmc(self) -> str: ...

    @property
    def bmc_system(self) -> str: ...

    @property
    def bmc_chassis(self) -> str: ...

    @property
    def bmc_serial(self) -> str: ...

    @property
    def bmc_fingerprint(self) -> str: ...


class Account(msgspec.Struct, frozen=True):
    """How a BMC is logged in to and verified, files by their paths."""

    user: str
    password: Path
    basic: bool = False
    ca: Path | None = None
    fingerprints: Path | None = None
    fingerprint: str = ""  # of this BMC, where its node gives it
    deadline_s: float = 30.0


def account_of(defaults: BmcDefaults, fingerprint: str, directory: Path) -> Account:
    """`directory`: of the site file."""
    return Account(
        defaults.user,
        directory / defaults.password_file,
        defaults.login == "basic",
        directory / defaults.ca if defaults.ca else None,
        directory / defaults.fingerprints_file if defaults.fingerprints_file else None,
        fingerprint,
        defaults.deadline_s,
    )


def pinned(where: str, account: Account, url: str) -> str:
    """The fingerprint that a BMC's certificate must have; empty: it is verified by its authority. Raises NotTrusted."""
    if account.fingerprint or account.fingerprints is None:
        return account.fingerprint
    key = f"fingerprints_file = {account.fingerprints}"
    try:
        text = account.fingerprints.read_bytes()[:MOST_BYTES].decode()
    except OSError as error:
        raise NotTrusted(where, f"{key}: {error.strerror}", "a text file: host and fingerprint, one a line") from None
    except UnicodeDecodeError as error:
        raise NotTrusted(where, f"{key}: not UTF-8 at byte {error.start}", "a text file") from None
    found = _fingerprints(text)
    if isinstance(found, str):
        raise NotTrusted(where, f"{key}, {found}", "host and 64 hexadecimal digits in lower case")
    return found.get((urlsplit(url).hostname or "").lower(), "")


def _fingerprints(text: str) -> Mapping[str, str] | str:
    """By host in lower case; or which line is none."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        host, digits = words[0].lower(), words[-1].lower().replace(":", "")
        if len(words) != 2 or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            return f"line {number}: {line.strip()[:60]!r}"
        if found.setdefault(host, digits) != digits:
            return f"line {number}: a second fingerprint of {host[:60]}"
    return found
