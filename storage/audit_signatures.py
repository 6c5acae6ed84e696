"""Checks the signatures under the heads of an audit. Of a long one in processes, while its rows are read.

One check of Ed25519 takes about 0.15 ms, and the library holds Python's lock meanwhile: threads would not help.
"""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from storage.audit_format import signed_text
from storage.damage import DAMAGED

ALONE = 8_192  # signatures that are checked sooner than processes would start: about 1.2 s
CHUNK = 512
MOST_PROCESSES = 8  # beside this one, which reads the rows meanwhile


class Checkpoint(NamedTuple):
    """A signature under the head of a chain. What a damaged file has instead of bytes is read as none."""

    seq: int  # the row whose hash is the head
    head: bytes
    key: bytes  # public
    signature: bytes


class Checkpoints:
    """All signatures of an audit, and whether each holds."""

    def __init__(self, rows: Sequence[Checkpoint], pool: ProcessPoolExecutor | None) -> None:
        self.rows = rows
        self._begun: list[tuple[Sequence[Checkpoint], Future[list[bool]] | None]] = []
        for first in range(0, len(rows), CHUNK):
            part = rows[first : first + CHUNK]
            self._begun.append((part, None if pool is None else pool.submit(which_hold, part)))

    def results(self) -> Iterator[tuple[Checkpoint, bool]]:
        """Each one and whether its signature holds. A process that was ended leaves its part to this one."""
        here = self._not_begun()
        for number, (part, future) in enumerate(self._begun):
            try:
                holds = here[number] if future is None or number in here else future.result()
            except BrokenExecutor:
                holds = which_hold(part)
            yield from zip(part, holds, strict=True)

    def _not_begun(self) -> dict[int, list[bool]]:
        """What no process has begun, by number of the part: checked here, the last first, while they go on."""
        here = {}
        for number in reversed(range(len(self._begun))):
            part, future = self._begun[number]
            if future is not None and not future.cancel():
                break
            here[number] = which_hold(part)
        return here


@contextmanager
def checkpoints(con: sqlite3.Connection) -> Iterator[Checkpoints]:
    """Read the signatures of an audit and begin to check them. Raises sqlite3.Error."""
    found = con.execute("SELECT seq, hash, public_key, signature FROM checkpoint ORDER BY seq")
    rows = [
        Checkpoint(seq, *(field if isinstance(field, bytes) else b"" for field in fields)) for seq, *fields in found
    ]
    others = min(MOST_PROCESSES, len(os.sched_getaffinity(0)) - 1)
    if len(rows) <= ALONE or others == 0:
        yield Checkpoints(rows, None)
        return
    pool = ProcessPoolExecutor(others, multiprocessing.get_context("spawn"))
    try:
        yield Checkpoints(rows, pool)
    finally:
        pool.shutdown(cancel_futures=True)


def which_hold(rows: Sequence[Checkpoint]) -> list[bool]:
    """Whether each signature is one of its key under its head; False too where a field is not what it should be."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    keys: dict[bytes, Ed25519PublicKey] = {}
    result = []
    for row in rows:
        try:
            if row.key not in keys:
                keys[row.key] = Ed25519PublicKey.from_public_bytes(row.key)
            keys[row.key].verify(row.signature, signed_text(row.seq, row.head))
            result.append(True)
        except (InvalidSignature, *DAMAGED):
            result.append(False)
    return result
