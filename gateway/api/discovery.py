"""Finds the socket of a running gateway: the one that is named, or the only one on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gateway.api.ask import Conversation
from gateway.api.socket_file import listening
from gateway.errors import LinkLost, NoGateway, NoSuchSite, SeveralGateways
from gateway.site.file_access import closed, no_access
from gateway.site.paths import SOCKET_SUFFIX, runtime_dirs, socket_in, system_path


def find_socket(site: str | None = None) -> Path:
    """The socket of the gateway meant: `site` (a site file, or a socket), $SKERRY_SITE, or the only one that is live.

    Raises NoGateway, or of its kinds SeveralGateways and NoSuchSite; NoAccess.
    """
    named = site or os.environ.get("SKERRY_SITE")
    if named:
        return _socket_of(named)
    live = live_sockets()
    if not live:
        _check_readable(runtime_dirs())
        line = f"no gateway is running on this machine{of_others()}; start one with: skerry serve SITE.toml"
        raise NoGateway(line)
    if len(live) > 1:
        names = ", ".join(map(_with_site_name, live))
        raise SeveralGateways(
            f"several gateways are running; say which with --site SITE.toml or --site SOCKET: {names}"
        )
    return live[0]


def live_sockets() -> list[Path]:
    """The sockets of all gateways that run on this machine, as far as this user may see them."""
    return sorted({s for d in runtime_dirs() for s in d.glob("*" + SOCKET_SUFFIX) if listening(s)})


def of_others() -> str:
    """Words on the directories in which other users' gateways may listen, unseen by this user; empty if none."""
    dirs = [str(d) for d in sorted(system_path("/tmp").glob("skerry-*")) if d.is_dir() and closed(d, os.R_OK | os.X_OK)]
    return f" that you may see (there are {', '.join(dirs)} of other users)" if dirs else ""


def _socket_of(named: str) -> Path:
    """The socket on which the gateway of a site file, or at a socket's path, listens. Raises NoSuchSite, NoGateway."""
    path = Path(named)
    if path.suffix == SOCKET_SUFFIX:
        candidates = [path]
    elif path.exists():
        candidates = [socket_in(d, path) for d in runtime_dirs()]
    else:
        raise NoSuchSite(f"{named}: no such site file or socket")
    for candidate in candidates:
        if listening(candidate):
            return candidate
    raise NoGateway(f"{named}: no gateway is running for this site; start one with: skerry serve SITE.toml")


def _with_site_name(socket: Path) -> str:
    """A socket's path, with the name of its site where the gateway answers."""
    try:
        with Conversation(socket, 1.0) as link:
            return f"{socket} ({link.welcome.site})"
    except LinkLost:
        return str(socket)


def _check_readable(directories: Iterator[Path]) -> None:
    """Raise NoAccess for a directory in which a gateway may listen without this user seeing it."""
    for directory in directories:
        if closed(directory, os.R_OK | os.X_OK):
            join = "be put into that group and log in anew"
            raise no_access(directory, "gateways may listen here", "use: sudo -u {owner} skerry ...", join)
