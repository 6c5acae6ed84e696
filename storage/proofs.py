"""Keeps what has been proven of a site's devices, as one small JSON file in the state directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from dispatch.model.decoding import decoded
from dispatch.model.proofs import VERSION, Proofs
from storage import durable_file

NAME = "proofs.json"
DAMAGED = "proofs.json.damaged"
LARGEST = 1 << 20  # bytes; a proof takes one kilobyte


class ProofsNotRead(Exception):
    """There is a file of proofs that cannot be used. The text says where, what, and what to do."""


def read(state_dir: Path) -> Proofs:
    """What is kept; nothing on a new site. Raises ProofsNotRead."""
    path = state_dir / NAME
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Proofs()
    except OSError as error:
        raise ProofsNotRead(f"{path}: {error}; every device counts as not proven") from None
    return parse(content, str(path))


def parse(content: bytes, where: str = NAME) -> Proofs:
    """What a file says. Raises ProofsNotRead for one that is damaged or of a later version."""
    hint = f"every device counts as not proven; the next proof puts it aside as {DAMAGED}"
    try:
        if len(content) > LARGEST:
            raise ProofsNotRead(f"{where}: {len(content)} bytes or more, expected {LARGEST} at most; {hint}")
        found = decoded(lambda data: msgspec.json.decode(data, type=Proofs), content)
    except msgspec.DecodeError as error:
        raise ProofsNotRead(f"{where}: {error}; {hint}") from None
    if found.version > VERSION:
        raise ProofsNotRead(f"{where}: version {found.version}, expected at most {VERSION}; {hint}")
    wrong = [id for id, proof in found.proofs.items() if id != proof.device_id]
    if wrong:
        raise ProofsNotRead(f"{where}: proof of {wrong[0]}: expected it to be of that device; {hint}")
    return found


def write(state_dir: Path, proofs: Proofs, with_room: Callable[[Callable[[], None]], None] = lambda put: put()) -> None:
    """Replace what is kept; once this returns, it is on disk. What could not be read is put aside. Raises OSError.

    `with_room` calls what it is given, on a full disk after it has made room.
    """
    path = state_dir / NAME
    try:
        read(state_dir)
    except ProofsNotRead:
        path.rename(state_dir / DAMAGED)
    content = msgspec.json.format(msgspec.json.encode(proofs), indent=1)
    with_room(partial(durable_file.write, path, content))
