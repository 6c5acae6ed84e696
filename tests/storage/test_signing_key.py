"""The signing key is there whole or not at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from waiting import LIMIT_S

from drivers.clock import SystemClock
from storage import signing_key as module
from storage.audit import AuditLog, NotDurable
from storage.manifest import SIGNATURE, key_of, signed
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


def test_without_a_directory_each_attempt_is_told_alike(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Found: "[Errno 2] … audit.key.omyh_agz", another name and so another line of the log at each attempt."""
    audit = AuditLog(tmp_path / "gone", "boot/1", SystemClock(), lambda line: None)
    for _ in range(3):
        with pytest.raises(NotDurable, match=rf"cannot be written: {tmp_path / 'gone'}\S*: No such file") as refused:
            audit.write({"kind": "intent", "who": "alice", "text": "x"}).result(LIMIT_S)
    assert "Errno" not in str(refused.value)
    audit.close()
    assert len([r for r in caplog.records if "cannot be written" in r.getMessage()]) == 1


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


def test_an_export_is_signed_with_the_key_that_the_service_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, state = tmp_path / "credentials", tmp_path / "state"
    given.mkdir()
    state.mkdir()
    key = signing_key(given)
    assert "set CREDENTIALS_DIRECTORY" in signed({}, state)[SIGNATURE]["unsigned"]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    assert key_of(signed({}, state)) == key.public_key().public_bytes_raw()
    assert list(state.iterdir()) == [], "none is made"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    for content, mode, why in ((b"short", 0o600, "holds 5 bytes"), (b"k" * 32, 0o644, "every user can read")):
        (state / KEY_FILE).write_bytes(content)
        (state / KEY_FILE).chmod(mode)
        assert why in signed({}, state)[SIGNATURE]["unsigned"]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_a_key_that_everybody_can_read_is_refused_with_what_to_do(mode: int, tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    path = tmp_path / KEY_FILE
    path.chmod(mode)
    with pytest.raises(PermissionError, match=rf"mode {mode:04o}\), so it is not used: chmod 600 {path}; "):
        signing_key(tmp_path)
    path.chmod(0o640)  # a group of backup operators
    assert signing_key(tmp_path).private_bytes_raw() == key.private_bytes_raw()


def test_the_audit_says_so_and_goes_on_once_that_is_mended(tmp_path: Path) -> None:
    signing_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    audit = AuditLog(tmp_path, "boot/1", SystemClock(), lambda line: None)
    row = {"kind": "intent", "who": "alice", "command": "stop", "text": "stop"}
    with pytest.raises(NotDurable, match="chmod 600"):
        audit.write(row).result(LIMIT_S)
    (tmp_path / KEY_FILE).chmod(0o600)
    assert audit.write(row).result(LIMIT_S) == 1
    assert audit.error == ""
    assert audit.close()


def test_the_key_that_systemd_hands_over_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    state = tmp_path / "state"
    state.mkdir()
    of_its_own = signing_key(state)  # no credential of that name
    (credentials / KEY_FILE).write_bytes(b"k" * 32)
    (credentials / KEY_FILE).chmod(0o400)
    assert signing_key(state).private_bytes_raw() == b"k" * 32
    assert (state / KEY_FILE).read_bytes() == of_its_own.private_bytes_raw()


def test_a_credential_that_is_no_key_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key would sign in silence, and its heads would look forged."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / KEY_FILE).write_bytes(b"k" * 31)
    (tmp_path / KEY_FILE).chmod(0o600)
    with pytest.raises(OSError, match="the credential holds 31 bytes, expected the 32 of an Ed25519 key"):
        signing_key(tmp_path / "none")
