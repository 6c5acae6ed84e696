"""Who is on the other end of a Unix socket, as the kernel says."""

from __future__ import annotations

import asyncio
import pwd
import socket
import struct
from pathlib import Path

import msgspec

from gateway.daemon_thread import may_hang

NAME_S = 2.0
_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_UNSET = 2**32 - 1  # loginuid of a process that no login started, proc(5)


class Peer(msgspec.Struct, frozen=True):
    """Process, user and group that opened the connection (SO_PEERCRED, as of connect)."""

    pid: int
    uid: int
    gid: int
    user: str  # "uid 1234" when the user database does not know it
    login: str = ""  # who logged in, where the kernel's audit id says so and it is somebody else: after sudo or su

    @property
    def who(self) -> str:
        """For the record: "root", or "alice as root" when the kernel knows who logged in."""
        return f"{self.login} as {self.user}" if self.login else self.user


def credentials(sock: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the process that connected."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def user_name(uid: int) -> str:
    """The user's name. May ask a directory server: not for the event loop."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def login_uid(pid: int, proc: Path = Path("/proc")) -> int | None:
    """The uid with which the session of a process was logged in; sudo and su do not change it. None: not known."""
    try:
        uid = int((proc / str(pid) / "loginuid").read_text())
    except (OSError, ValueError):  # the process is gone, hidden from us, or the kernel keeps no audit ids
        return None
    return None if uid == _UNSET else uid


def name_peer(pid: int, uid: int, gid: int, proc: Path = Path("/proc")) -> Peer:
    """The peer with its names. May ask a directory server: not for the event loop."""
    login = login_uid(pid, proc)
    return Peer(pid, uid, gid, user_name(uid), "" if login is None or login == uid else user_name(login))


async def identify(sock: socket.socket) -> Peer:
    """The peer of an accepted connection; names are looked up in a thread, for `NAME_S`, then it is known by number."""
    pid, uid, gid = credentials(sock)
    try:
        return await asyncio.wait_for(may_hang(name_peer, pid, uid, gid), NAME_S)
    except TimeoutError:
        return Peer(pid, uid, gid, f"uid {uid}")
