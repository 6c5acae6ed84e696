"""The signing key is there whole or not at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from storage import signing_key as module
from storage.signing_key import KEY_FILE, signing_key


def test_a_process_killed_while_it_makes_the_key_leaves_none(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os.fdopen = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the file is open and still empty
        try:
            signing_key(tmp_path)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / KEY_FILE).exists()
    assert signing_key(tmp_path).private_bytes_raw() == (tmp_path / KEY_FILE).read_bytes()


def test_a_key_that_was_made_in_the_meantime_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(written: str, path: Path) -> None:
        path.write_bytes(b"k" * 32)
        link(written, path)

    monkeypatch.setattr(module.os, "link", late)
    assert signing_key(tmp_path).private_bytes_raw() == b"k" * 32
    assert [p.name for p in tmp_path.iterdir()] == [KEY_FILE]


def test_a_file_that_is_no_key_is_kept_and_another_made(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    said: list[str] = []
    key = signing_key(tmp_path, said)
    (aside,) = tmp_path.glob(f"{KEY_FILE}.corrupt.*")
    assert aside.read_bytes() == b"short"
    held = f"{tmp_path / KEY_FILE} held 5 bytes, expected the 32 of an Ed25519 key"
    assert said == [f"{held}; kept as {aside.name}, another key is made"]
    assert signing_key(tmp_path, said).private_bytes_raw() == key.private_bytes_raw()
    assert len(said) == 1
