"""Makes and reads the site's signing key: Ed25519, 32 raw bytes in `audit.key`, mode 0600, made once.

It signs the audit's heads, the manifests of exports, and stands for the site in its identity. One key for all of them
is sound because every text it signs begins with what it is for, so a signature of one kind never passes for another.

Where systemd hands the service a credential `audit.key` (LoadCredential=), that is the key, and none is kept in the
state directory. A key that every user can read is refused: whoever has it can sign for the site.

Any 32 bytes are a key: that one was damaged or replaced shows only against what it has signed, see `audit_file.py`.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from storage import durable_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "audit.key"
LENGTH = 32
CREDENTIAL_HINT = (
    "where the site's key is a credential of systemd (LoadCredential=audit.key:FILE), set CREDENTIALS_DIRECTORY to the "
    "directory of FILE"
)


def signing_key(directory: Path, said: list[str] | None = None) -> Ed25519PrivateKey:
    """The key that systemd hands over, else that of a state directory, made if there is none. Raises OSError.

    A file that holds none is kept under another name, and another key made; `said` gets a line for the log.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if (given := _credential()) is not None:
        return Ed25519PrivateKey.from_private_bytes(given)
    path = directory / KEY_FILE
    raw = _read(path)
    if raw is not None and len(raw) != LENGTH:
        aside = path.with_name(f"{KEY_FILE}.corrupt.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        path.rename(aside)
        if said is not None:
            held = f"{path} held {len(raw)} bytes, expected the {LENGTH} of an Ed25519 key"
            said.append(f"{held}; kept as {aside.name}, another key is made")
        raw = None
    if raw is None:
        _write_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
        raw = path.read_bytes()
    return Ed25519PrivateKey.from_private_bytes(raw)


def found_key(directory: Path) -> Ed25519PrivateKey:
    """The same key, where there is one: none is made. Raises OSError, FileNotFoundError if there is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = directory / KEY_FILE
    raw = _credential() or _read(path)
    if raw is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if len(raw) != LENGTH:
        line = f"holds {len(raw)} bytes, expected {LENGTH}: start the gateway once, it makes another key"
        raise OSError(errno.EINVAL, line, str(path))
    return Ed25519PrivateKey.from_private_bytes(raw)


def _credential() -> bytes | None:
    """The key among the credentials of the service; None if there is none. Raises OSError.

    One that is no key is not replaced by another: somebody has chosen it.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    path = Path(directory) / KEY_FILE
    raw = _read(path)
    if raw is not None and len(raw) != LENGTH:
        line = f"the credential holds {len(raw)} bytes, expected the {LENGTH} of an Ed25519 key"
        raise OSError(errno.EINVAL, f"{line}: head -c {LENGTH} /dev/urandom makes one", str(path))
    return raw


def _read(path: Path) -> bytes | None:
    """What a file of a key holds; None if there is none. Raises OSError, also for a key that every user can read."""
    try:
        with path.open("rb") as file:
            raw, mode = file.read(LENGTH + 1), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        return None
    if len(raw) == LENGTH and mode & stat.S_IROTH:
        line = f"every user can read this key (mode {mode:04o}), so it is not used: chmod 600 {path}"
        what_else = "if somebody may have copied it, remove it for a new one"
        raise PermissionError(errno.EPERM, f"{line}; {what_else}", str(path))
    return raw


def _write_once(path: Path, raw: bytes) -> None:
    """Write a file whole or not at all, mode 0600; one that is there by then stays. On disk at the end. Raises OSError.

    A process killed in between would otherwise leave an empty key, which no later start could use.
    """
    try:
        handle, written = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    except OSError as error:  # names a file that nobody knows, and another one at each attempt
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(written, path)
    finally:
        os.unlink(written)
    durable_file.sync_directory(path.parent)
