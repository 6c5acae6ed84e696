"""Says which sites a fleet has and how each is reached: by arguments, or by a file `fleet.toml`."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dispatch.model.decoding import decoded
from gateway.site.paths import SOCKET_SUFFIX

FILE = "fleet.toml"
MOST_BYTES = 1 << 20
# a host as ssh takes it, with a user if need be: no option of ssh's, nothing that a shell would read
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ADDRESS = re.compile(r"(?P<host>[^:/]+@[^:/]+|[^:/@]+(?=:))(?::(?P<site>.*))?")


class FleetFileError(ValueError):
    """The file, or an argument, names no site. The text says where and what was expected."""


class SiteAddress(msgspec.Struct, frozen=True):
    """One site and how to reach it."""

    name: str
    host: str = ""  # for ssh, "user@host"; empty: this machine
    site: str = ""  # site file or socket there; empty: the only gateway that runs there
    tags: tuple[str, ...] = ()


class FleetFile(msgspec.Struct, frozen=True):
    """`fleet.toml`."""

    sites: tuple[SiteAddress, ...] = ()
    ssh: tuple[str, ...] = ("ssh",)  # the program, with options of its own


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    host: str = ""
    site: str = ""
    tags: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    site: tuple[_Listed, ...] = ()
    ssh: tuple[str, ...] = ("ssh",)


def default_path() -> Path:
    """`fleet.toml` in the user's configuration directory."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "skerry" / FILE


def read(path: Path) -> FleetFile:
    """The sites of a file. Raises FleetFileError, OSError."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    return parse(content, str(path))


def parse(content: bytes, where: str) -> FleetFile:
    """The sites in the bytes of a file. Raises FleetFileError."""
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MiB")
        document = tomllib.loads(content.decode())
        found = decoded(lambda data: msgspec.convert(data, _File, strict=True), document)
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of msgspec
        raise FleetFileError(f"{where}: {error}; expected [[site]] with name, host, site, tags") from None
    sites = tuple(SiteAddress(s.name, s.host, s.site, s.tags) for s in found.site)
    for site in sites:
        _check(site, where)
    if not found.ssh or not found.ssh[0]:
        raise FleetFileError(f'{where}: ssh: expected the program and its options, such as ["ssh", "-F", "config"]')
    return FleetFile(unlike(sites, where), found.ssh)


def chosen(arguments: Sequence[str], file: FleetFile) -> tuple[SiteAddress, ...]:
    """The sites that arguments name: of the file by name or tag, `user@host[:site]`, a site file or socket here.

    Without arguments all of the file. Raises FleetFileError.
    """
    if not arguments:
        return file.sites
    found: list[SiteAddress] = []
    for argument in arguments:
        listed = [site for site in file.sites if argument == site.name or argument in site.tags]
        found += listed or [address(argument)]
    return unlike(tuple(dict.fromkeys(found)), "the sites given")


def address(argument: str) -> SiteAddress:
    """One site by its address. Raises FleetFileError."""
    match = _ADDRESS.fullmatch(argument)
    if match is not None:
        site = SiteAddress(argument, match["host"], match["site"] or "")
    elif argument.endswith((".toml", SOCKET_SUFFIX)):
        site = SiteAddress(Path(argument).stem, "", argument)
    else:
        raise FleetFileError(
            f"{argument!r}: expected a site of {FILE}, user@host, host:, host:/path/to/SITE.toml, "
            "or a site file of this machine"
        )
    _check(site, "argument")
    return site


def unlike(sites: tuple[SiteAddress, ...], where: str) -> tuple[SiteAddress, ...]:
    """The same sites, if no two have one name. Raises FleetFileError."""
    names = [site.name for site in sites]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FleetFileError(f"{where}: more than one site is called {', '.join(twice)}")
    return sites


def _check(site: SiteAddress, where: str) -> None:
    """Raises FleetFileError."""
    if not site.name.strip() or not site.name.isprintable():
        raise FleetFileError(f"{where}: name {site.name!r}: expected a text that can be shown")
    if site.host and not _HOST.fullmatch(site.host):
        raise FleetFileError(f"{where}: host {site.host!r} of {site.name}: expected host or user@host, as ssh takes it")
    if not site.site.isprintable() or site.site.startswith("-"):
        raise FleetFileError(f"{where}: site {site.site!r} of {site.name}: expected the path of a site file or socket")
