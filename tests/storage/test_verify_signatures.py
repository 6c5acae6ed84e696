"""The signatures of an audit, checked in this process and in others: the same findings."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage import audit_signatures
from storage.audit_format import signed_text
from storage.audit_signatures import Checkpoint, Checkpoints, checkpoints

ROWS = 12


def file_of(directory: Path) -> sqlite3.Connection:
    """Signatures of one key under made-up heads. One is of another head, one cut short, one no bytes, one key none."""
    key = Ed25519PrivateKey.generate()
    con = sqlite3.connect(directory / "audit.db", isolation_level=None)
    con.execute("CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, hash, public_key, signature)")
    for seq in range(1, ROWS + 1):
        head = bytes([seq]) * 32
        row = [seq, head, key.public_key().public_bytes_raw(), key.sign(signed_text(seq, head))]
        con.execute("INSERT INTO checkpoint VALUES (?,?,?,?)", row)
    con.execute("UPDATE checkpoint SET hash = zeroblob(32) WHERE seq = 2")
    con.execute("UPDATE checkpoint SET signature = substr(signature, 1, 63) WHERE seq = 5")
    con.execute("UPDATE checkpoint SET signature = 'text' WHERE seq = 7")
    con.execute("UPDATE checkpoint SET public_key = 'key' WHERE seq = 11")
    return con


def wrong(con: sqlite3.Connection) -> list[int]:
    """The rows whose signatures do not hold."""
    with checkpoints(con) as found:
        results = list(found.results())
    assert [row.seq for row, _ in results] == list(range(1, ROWS + 1))
    return [row.seq for row, holds in results if not holds]


def test_processes_find_what_this_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(file_of(tmp_path)) as con:
        here = wrong(con)
        monkeypatch.setattr(audit_signatures, "ALONE", 4)
        monkeypatch.setattr(audit_signatures, "CHUNK", 5)
        assert here == wrong(con) == [2, 5, 7, 11]


def test_what_no_process_has_begun_is_checked_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnePart:
        """Processes that have done the first part when the rows are read, and no other."""

        def __init__(self) -> None:
            self.given: list[Future[Any]] = []

        def submit(self, call: Callable[[Any], Any], part: Any) -> Future[Any]:
            self.given.append(Future())
            if len(self.given) == 1:
                self.given[0].set_result([True for _ in part])
            return self.given[-1]

    monkeypatch.setattr(audit_signatures, "CHUNK", 5)
    pool: Any = OnePart()
    with closing(file_of(tmp_path)) as con, checkpoints(con) as found:
        shared = Checkpoints(found.rows, pool)
    assert [row.seq for row, holds in shared.results() if not holds] == [7, 11], "2 and 5 are of the first part"
    assert [part.cancelled() for part in pool.given] == [False, True, True]


def test_a_process_that_is_killed_leaves_its_part_to_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_signatures, "ALONE", 0)
    monkeypatch.setattr(audit_signatures, "CHUNK", 5)
    ours = audit_signatures.which_hold
    monkeypatch.setattr(audit_signatures, "which_hold", _die)
    with closing(file_of(tmp_path)) as con, checkpoints(con) as found:
        monkeypatch.setattr(audit_signatures, "which_hold", ours)
        assert [row.seq for row, holds in found.results() if not holds] == [2, 5, 7, 11]


def _die(rows: list[Checkpoint]) -> list[bool]:
    os.kill(os.getpid(), signal.SIGKILL)
    return [True for _ in rows]
