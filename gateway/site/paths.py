"""Where things are on this machine: a site's state directory, its gateway's socket, its twin's announcement.

Names paths only; `gateway.api.discovery` says which gateway is running.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # short commands need paths, but not the schema of a whole site file
    from gateway.site.schema import Site

SOCKET_SUFFIX = ".sock"
MAX_SOCKET_PATH = 100  # bytes; sun_path of unix(7) holds 108, and a suffix is needed while the socket is claimed


def system_path(path: str) -> Path:
    """A directory that all users of this machine share, such as /run/skerry; under $SKERRY_ROOT where that is set.

    That is a root directory other than /, so that a test or an image sees nothing of the machine it runs on.
    """
    return Path(os.environ.get("SKERRY_ROOT") or "/", path.lstrip("/"))


def slug(site_path: Path, longest: int = 48) -> str:
    """A site file's name on this machine: its stem and a hash of where it really is; `longest` >= 9 characters."""
    real = os.path.realpath(site_path)
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:8]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(real).stem)[: longest - 9].strip("-")
    return f"{stem}-{digest}" if stem else digest


def state_dir(site: Site) -> Path:
    """The directory of a site's records and lock; not created here.

    `gateway.state_dir` of the site file (relative to that file), else $STATE_DIRECTORY (systemd), else
    $XDG_STATE_HOME/skerry/<slug>, else ~/.local/state/skerry/<slug>. Raises FileNotFoundError without a home directory.
    """
    if site.gateway.state_dir:
        return Path(os.path.realpath(site.path)).parent / _expanded(site.gateway.state_dir)
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return state_root() / slug(site.path)


def state_root() -> Path:
    """The directory that holds one state directory per site of this user."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else _expanded("~") / ".local" / "state"
    return base / "skerry"


def _expanded(path: str) -> Path:
    """A path with the home directory that it may begin with. Raises FileNotFoundError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        what = "there is no such home directory; set HOME or XDG_STATE_HOME, or [gateway] state_dir to an absolute path"
        raise FileNotFoundError(errno.ENOENT, what, path) from None


# ── sockets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def runtime_dir() -> Path:
    """The directory for this process's sockets, made if need be.

    $RUNTIME_DIRECTORY (systemd), else $XDG_RUNTIME_DIR/skerry, else /run/skerry where we may write, else
    /tmp/skerry-<uid>, or another directory in /tmp where somebody else has made that one. Raises OSError.
    """
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    session = _session_dir()
    if session is not None and os.access(session, os.W_OK) and _fits(session / "skerry"):
        return _made(session / "skerry", 0o700)
    system = _system_dir()
    if os.access(system if system.exists() else system.parent, os.W_OK):
        return _made(system, 0o755)
    return _made_private()


def runtime_dirs() -> Iterator[Path]:
    """Every existing directory in which a gateway that concerns this user may listen: its own, and the system's."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        yield Path(given.split(":")[0])
    session = _session_dir()
    if session is not None and (session / "skerry").is_dir():
        yield session / "skerry"
    if (system := _system_dir()).is_dir():
        yield system
    yield from _private_dirs()


def socket_path(site_path: Path) -> Path:
    """Where the gateway of this site file listens."""
    return socket_in(runtime_dir(), site_path)


def announce_path(site: Path) -> Path:
    """Where the twin of a site file says on which ports its devices and its control socket are.

    A site may also be named by its gateway's socket: the file is next to it.
    """
    socket = site if site.suffix == SOCKET_SUFFIX else socket_path(site)
    return socket.with_suffix(".twin.json")


def announcements(site: Path) -> Iterator[Path]:
    """Every file in which a twin of a site file may have announced itself, in any directory of this user."""
    for directory in runtime_dirs():
        file = socket_in(directory, site).with_suffix(".twin.json")
        if file.is_file():
            yield file


def socket_in(directory: Path, site_path: Path) -> Path:
    """The longest name that fits; a directory too long for any is reported when the socket is made."""
    room = MAX_SOCKET_PATH - 1 - len(os.fsencode(directory)) - 1 - len(SOCKET_SUFFIX)
    return directory / (slug(site_path, min(48, max(9, room))) + SOCKET_SUFFIX)


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory)) + 1 + 9 + len(SOCKET_SUFFIX) < MAX_SOCKET_PATH


def _session_dir() -> Path | None:
    """$XDG_RUNTIME_DIR, if it is a directory of this user's (after `su` it may still be somebody else's)."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(given):
        return None
    try:
        found = os.stat(given)
    except OSError:
        return None
    return Path(given) if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() else None


def _system_dir() -> Path:
    """RuntimeDirectory= of the systemd unit."""
    return system_path("/run/skerry")


def _made(directory: Path, mode: int) -> Path:
    """The directory, created with this mode whatever the umask if it was missing."""
    try:
        directory.mkdir(mode)
    except FileExistsError:
        return directory
    directory.chmod(mode)
    return directory


def _made_private() -> Path:
    """A directory in /tmp that is surely ours. Anybody may have made the one of the plain name first."""
    import tempfile  # here: short commands need paths, but hardly ever this

    name = f"skerry-{os.getuid()}"
    _made(system_path("/tmp") / name, 0o700)
    return next(_private_dirs(), None) or Path(tempfile.mkdtemp(prefix=f"{name}.", dir=system_path("/tmp")))


def _private_dirs() -> Iterator[Path]:
    """Directories in /tmp in which nobody else can have put anything: this user's, mode 0700; the plain name first."""
    name = f"skerry-{os.getuid()}"
    for directory in sorted(system_path("/tmp").glob(f"{name}*")):
        if (directory.name == name or directory.name.startswith(f"{name}.")) and _own(directory):
            yield directory


def _own(directory: Path) -> bool:
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
