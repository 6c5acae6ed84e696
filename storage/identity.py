"""Keeps the identity of a site: a UUID that stays with its state directory, and an incarnation that ends at a restore.

`identity.json` holds the UUID. It is written once and never changed. `incarnation.json` holds the incarnation's UUID
and what was true when it began: the machine's id, the time of the last change to `identity.json` (ctime), the public
key. Programs cannot set a ctime, so a copy or a restored file has another one, whatever tool made it; the gateway that
finds it so begins a new incarnation. The key is the audit's, see `signing_key.py`.

What this cannot see: a whole disk or virtual machine set back to an earlier state. After that delete `incarnation.json`
before the gateway starts. What looks like a restore without being one: chmod, chown or a hard link of `identity.json`.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from dispatch.model.decoding import decoded
from storage import durable_file
from storage.signing_key import signing_key

IDENTITY, INCARNATION = "identity.json", "incarnation.json"
MACHINE_ID = Path("/etc/machine-id")  # machine-id(5); not to be shown as it is, so only a hash of it is kept

Content = TypeVar("Content", bound=msgspec.Struct)


class Identity(msgspec.Struct, frozen=True):
    """What a site calls itself."""

    site: str  # UUID
    incarnation: str  # UUID
    public_key: str  # Ed25519, hex; empty: there is no usable key
    kept: bool  # False: only in the memory of this run, the state directory could not keep it


class _Site(msgspec.Struct, frozen=True):
    """`identity.json`."""

    site: uuid.UUID


class _Incarnation(msgspec.Struct, frozen=True):
    """`incarnation.json`."""

    incarnation: uuid.UUID
    machine: str
    identity_changed_ns: int
    public_key: str


def establish(directory: Path) -> tuple[Identity, list[str]]:
    """A site's identity, made where there is none, and what the log should say of it. For the one that runs the site.

    Without a directory that can keep it there is one for this run only: nothing that controls needs it.
    """
    said: list[str] = []
    try:
        return _kept(directory, said), said
    except OSError as error:
        why = f"{error.filename or directory}: {error.strerror}"
        said.append(f"the site's identity is not kept, this run has one of its own: {why}")
        return Identity(str(uuid.uuid4()), str(uuid.uuid4()), "", kept=False), said


def read(directory: Path) -> Identity | None:
    """The identity that a state directory holds; None if it holds none or it cannot be read."""
    try:
        site, now = _read(directory / IDENTITY, _Site), _read(directory / INCARNATION, _Incarnation)
    except (OSError, msgspec.DecodeError):
        return None
    if site is None or now is None:
        return None
    return Identity(str(site.site), str(now.incarnation), now.public_key, kept=True)


def _kept(directory: Path, said: list[str]) -> Identity:
    """The identity that the directory keeps from now on. Raises OSError."""
    site = _sound(directory / IDENTITY, _Site, said)
    if site is None:
        site = _Site(uuid.uuid4())
        _write(directory / IDENTITY, site)
        said.append(f"the site has a new identity, {site.site}")
    public_key = _public_key(directory, said)
    changed_ns = os.stat(directory / IDENTITY).st_ctime_ns
    before = _sound(directory / INCARNATION, _Incarnation, said)
    now = _Incarnation(uuid.uuid4(), _machine(), changed_ns, public_key)
    if before is not None and not (why := _differs(before, now)):
        return Identity(str(site.site), str(before.incarnation), public_key, kept=True)
    _write(directory / INCARNATION, now)
    if before is not None:
        said.append(f"a new incarnation of the site begins, {now.incarnation}: {why}")
    return Identity(str(site.site), str(now.incarnation), public_key, kept=True)


def _differs(before: _Incarnation, now: _Incarnation) -> str:
    """Why this is not the incarnation it was; empty if it is."""
    if before.machine != now.machine:
        return "this is another machine"
    if before.identity_changed_ns != now.identity_changed_ns:
        return f"{IDENTITY} was restored or copied"
    if now.public_key and before.public_key and before.public_key != now.public_key:
        return "the site's key is another one"
    return ""


def _public_key(directory: Path, said: list[str]) -> str:
    """The public half of the site's key; empty when the key cannot be used: the audit says why."""
    try:
        return signing_key(directory, said).public_key().public_bytes_raw().hex()
    except OSError:
        return ""


def _machine() -> str:
    """Stands for this machine's id; empty where it has none."""
    try:
        return hashlib.sha256(b"skerry-incarnation" + MACHINE_ID.read_bytes().strip()).hexdigest()[:32]
    except OSError:
        return ""


def _read(path: Path, kind: type[Content]) -> Content | None:
    """A file's content; None if there is no such file. Raises OSError, msgspec.DecodeError."""
    try:
        return decoded(msgspec.json.Decoder(kind).decode, path.read_bytes())
    except FileNotFoundError:
        return None


def _sound(path: Path, kind: type[Content], said: list[str]) -> Content | None:
    """A file's content; one that is damaged is kept under another name. Raises OSError."""
    try:
        return _read(path, kind)
    except msgspec.DecodeError as error:
        aside = path.with_name(f"{path.name}.corrupt.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        path.rename(aside)
        said.append(f"{path} was damaged ({error}); kept as {aside.name}")
        return None


def _write(path: Path, content: msgspec.Struct) -> None:
    """Put a file in place whole, and on the disk. Raises OSError."""
    durable_file.write(path, msgspec.json.encode(content) + b"\n")
