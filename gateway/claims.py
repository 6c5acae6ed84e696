"""Claims of gateways on this machine: no second one commands the same devices, or keeps the same records.

A claim is a listening Unix socket in the abstract namespace (unix(7)). It needs neither directory nor disk, and the
kernel drops it with its process. Its name ends with random digits, so that nobody can take it first; /proc/net/unix
lists all claims, and SO_PEERCRED tells whose a claim is. Only those of this user, of root and of the owner of
/run/skerry stop a gateway: another user could otherwise keep the site's gateway from starting. Gateways in different
network namespaces (containers) do not see each other's claims.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import random
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gateway.api.peer import credentials, user_name
from gateway.daemon_thread import in_daemon_thread
from gateway.instance_lock import AlreadyRunning, dead
from gateway.site.paths import system_path

SOCKETS = Path("/proc/net/unix")
TRIES, PAUSE_S = 8, 0.1  # gateways that start in the same moment see each other: each lets go and tries again
ACCEPT_PAUSE_S = 0.02  # between two connections accepted: whoever floods a claim costs no more than this
PROBE_S = 0.5  # for claims whose queue is full, all together: the gateway's own are emptied all the time
SHOWN = 3  # claims that do not count, named in the log
RESOLVE_S = 1.0  # for the addresses of a host's name; without them its name alone is claimed

_PREFIX = "@skerry-gateway/"  # as /proc/net/unix shows it, @ for the zero byte


class Claims:
    """What this process has claimed; all is given up by `release` or with the process."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []
        self._wake: socket.socket | None = None  # its end wakes the thread that accepts

    def take(self, wanted: Mapping[str, str]) -> list[str]:
        """Claim things, key -> words for people. Returns what the log should say of claims that do not count.

        Where nothing can be claimed (no file descriptor left, forbidden) that is said, too: control goes on without.
        Raises AlreadyRunning when another gateway of a user that counts has claimed one of them.
        """
        in_the_way: list[_Other] = []
        for _ in range(TRIES):
            taken, why_not = _bound(wanted)
            try:
                others = list(_others(wanted, {name for _, name in taken}))
            except OSError as error:
                unseen = f"gateways of this machine that command the same devices are not seen: {error}"
                return [*self._hold(taken, why_not), unseen]
            in_the_way = [other for other in others if other.counts]
            if not in_the_way:
                return [*self._hold(taken, why_not), *sorted({other.line for other in others})[:SHOWN]]
            for sock, _ in taken:
                sock.close()
            time.sleep(random.uniform(PAUSE_S / 2, PAUSE_S))
        first = min(in_the_way, key=lambda other: list(wanted.values()).index(other.what))
        raise AlreadyRunning(f"a gateway already runs on this machine, pid {first.pid}, and holds {first.what}")

    def release(self) -> None:
        """Give up everything."""
        if self._wake is not None:
            self._wake.close()
        for sock in self._held:
            sock.close()
        self._held, self._wake = [], None

    def _hold(self, taken: Iterable[tuple[socket.socket, str]], why_not: str) -> list[str]:
        """Keep what was taken; what the log should say if it could not be taken, or cannot be looked after."""
        self._held += [sock for sock, _ in taken]
        try:
            wake, woken = socket.socketpair()
        except OSError as error:
            why_not = str(error)
        else:
            if self._wake is not None:
                self._wake.close()
            self._wake = wake
            threading.Thread(target=_accept, args=(tuple(self._held), woken), name="claims", daemon=True).start()
        line = f"another gateway on this machine could command the same devices, they cannot be claimed: {why_not}"
        return [line] if why_not else []


def site_claim(site_file: Path) -> dict[str, str]:
    """The claim on a site file, with its words."""
    path = os.path.realpath(site_file)
    return {f"site {path}": f"the site file {path}"}


def device_keys(host: str, port: int, unit: int) -> set[str]:
    """What to claim for a unit behind an address: by the host as it is written, and by its addresses.

    All addresses of this machine's loopback are one.
    """
    hosts = {host.lower()}
    try:
        hosts |= in_daemon_thread(lambda: _addresses(host)).result(RESOLVE_S)
    except (OSError, ValueError):  # not in time either; ValueError: no name of a host
        pass
    return {f"device {_plain(found)}:{port} unit {unit}" for found in hosts}


def _addresses(host: str) -> set[str]:
    return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}


def _plain(host: str) -> str:
    """One spelling of an address; a name as it is."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    address = getattr(address, "ipv4_mapped", None) or address
    return "loopback" if address.is_loopback else str(address)


class _Other:
    """A claim that another process holds."""

    def __init__(self, pid: int, uid: int, what: str) -> None:
        self.pid, self.what = pid, what
        self.counts = uid in _users_that_count()
        who = f"user {user_name(uid)}, pid {pid}" if pid else "a process that does not say whose it is"
        self.line = f"{who}, has claimed {what}, too; it does not keep this gateway from commanding. End it"


def _users_that_count() -> set[int]:
    """Ourselves, root, and the user of the system's gateway."""
    users = {os.geteuid(), 0}
    with contextlib.suppress(OSError):
        users.add(system_path("/run/skerry").stat().st_uid)
    return users


def _topic(key: str) -> str:
    """The part of a name that all claims on the same thing share. A root of its own is a machine of its own."""
    return hashlib.sha256(f"{system_path('/')}\0{key}".encode(errors="surrogateescape")).hexdigest()[:32]


def _bound(keys: Iterable[str]) -> tuple[list[tuple[socket.socket, str]], str]:
    """Listening sockets and their names as /proc/net/unix shows them; and why there is not one for each key."""
    taken: list[tuple[socket.socket, str]] = []
    for key in keys:
        name = f"{_PREFIX}{_topic(key)}/{secrets.token_hex(8)}"
        try:
            with contextlib.ExitStack() as unless_done:
                sock = unless_done.enter_context(socket.socket(socket.AF_UNIX))
                sock.bind("\0" + name[1:])
                sock.listen(64)
                unless_done.pop_all()
        except OSError as error:
            return taken, str(error)
        taken.append((sock, name))
    return taken, ""


def _others(wanted: Mapping[str, str], own: set[str]) -> Iterator[_Other]:
    """Claims on the same things. Raises OSError where they cannot be seen."""
    words, deadline_s = {_topic(key): what for key, what in wanted.items()}, time.monotonic() + PROBE_S
    for line in SOCKETS.read_text(errors="replace").splitlines():
        name = line.rsplit(" ", 1)[-1]
        topic = name.removeprefix(_PREFIX).split("/")[0]
        if not name.startswith(_PREFIX) or topic not in words or name in own:
            continue
        if (holder := _holder("\0" + name[1:], deadline_s)) is not None:
            yield _Other(*holder, words[topic])


def _holder(address: str, deadline_s: float) -> tuple[int, int] | None:
    """Process and user that listen there; (0, -1) when its queue stays full, None when nobody does, or a dead one."""
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(address)
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    return 0, -1
            except OSError:  # let go between the list and the call
                return None
            else:
                pid, uid, _ = credentials(probe)
                return None if dead(pid) else (pid, uid)
        time.sleep(ACCEPT_PAUSE_S)


def _accept(held: tuple[socket.socket, ...], woken: socket.socket) -> None:
    """Close what connects to the claims, one at a time, until they are given up."""
    with selectors.PollSelector() as selector, woken:  # poll(2): needs no file descriptor of its own
        selector.register(woken, selectors.EVENT_READ)
        try:
            for sock in held:
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
        except (OSError, ValueError):  # given up meanwhile
            return
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    return
                with contextlib.suppress(OSError):  # it has gone again, or no file descriptor is left: it stays queued
                    key.fileobj.accept()[0].close()  # type: ignore[union-attr]
            time.sleep(ACCEPT_PAUSE_S)
