"""Who is on the other end of a Unix socket, as the kernel says."""

from __future__ import annotations

import asyncio
import pwd
import socket
import struct

import msgspec

_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class Peer(msgspec.Struct, frozen=True):
    """Process, user and group that opened the connection (SO_PEERCRED, as of connect)."""

    pid: int
    uid: int
    gid: int
    user: str  # "uid 1234" when the user database does not know it


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


async def identify(sock: socket.socket) -> Peer:
    """The peer of an accepted connection; the user's name is looked up in a thread."""
    pid, uid, gid = credentials(sock)
    return Peer(pid, uid, gid, await asyncio.to_thread(user_name, uid))
