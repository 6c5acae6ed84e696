"""The gateway's socket as a file: claimed atomically, never taken from a gateway that still listens."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import SocketInUse
from gateway.site.paths import MAX_SOCKET_PATH

MODE = 0o660
BACKLOG = 512  # clients that wait to be accepted; the kernel lowers it to net.core.somaxconn
_PROBE_S = 0.5
_LOCK_S = 0.5


def listening(path: Path) -> bool:
    """Whether somebody listens on the socket. One we may not open, or whose queue is full, counts as listening."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:  # a datagram socket
                return False
            if isinstance(error, (PermissionError, TimeoutError)) or error.errno == errno.EAGAIN:
                return True
            raise
    return True


def claim(path: Path, gid: int | None = None) -> tuple[socket.socket, int]:
    """A listening socket at `path`, mode 0660, of group `gid` if given, and its inode. One nobody listens on goes.

    The socket is bound under another name and linked into place when it listens: no client ever finds it half made.
    Raises SocketInUse, or OSError when the directory does not let us.
    """
    if len(os.fsencode(path)) >= MAX_SOCKET_PATH:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path must stay below {MAX_SOCKET_PATH} bytes", str(path))
    making = path.with_name(path.name + ".new")
    with _locked(path.parent):
        if os.path.lexists(path):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise FileExistsError(errno.EEXIST, "expected a socket here; move this file away", str(path))
            if listening(path):
                raise SocketInUse(f"{path}: a gateway of this site is already running")
            path.unlink()
        making.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(str(making))
            if gid is not None:
                hand_over(making, gid)
            os.chmod(making, MODE)
            sock.listen(BACKLOG)
            os.rename(making, path)
        except OSError:
            sock.close()
            making.unlink(missing_ok=True)
            raise
    return sock, os.stat(path).st_ino


def hand_over(path: Path, gid: int) -> None:
    """Give the socket to the viewers' group. Raises PermissionError with what to do."""
    try:
        os.chown(path, -1, gid, follow_symlinks=False)
    except PermissionError:
        line = f"the socket cannot be handed to group {gid} of [roles]: make the gateway's user a member, restart it"
        raise PermissionError(errno.EPERM, line, str(path)) from None


def release(path: Path, inode: int) -> None:
    """Remove the socket file if it is still the one with this inode."""
    with contextlib.suppress(FileNotFoundError), _locked(path.parent):
        if path.lstat().st_ino == inode:
            path.unlink()


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Alone among gateways in this directory, for the moment of claiming or releasing.

    Whoever may read the directory can hold this lock for ever; so it is not insisted on.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    until_s = time.monotonic() + _LOCK_S
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until_s:
                    break
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)
