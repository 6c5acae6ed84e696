"""A site's identity: kept over restarts, the same site but another incarnation after a restore."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import identity
from storage.identity import IDENTITY, INCARNATION, Identity, establish, read
from storage.signing_key import KEY_FILE


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's id is a file that a test may write."""
    file = tmp_path / "machine-id"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(identity, "MACHINE_ID", file)
    return file


def made(state: Path) -> Identity:
    """The identity of a first run."""
    first, said = establish(state)
    assert first.kept
    assert said == [f"the site has a new identity, {first.site}"]
    return first


def test_it_is_made_once_and_read_by_everybody(state: Path) -> None:
    assert read(state) is None
    first = made(state)
    assert establish(state) == (first, [])
    assert read(state) == first
    assert uuid.UUID(first.site) != uuid.UUID(first.incarnation)
    assert {file.name for file in state.iterdir()} == {IDENTITY, INCARNATION, KEY_FILE}
    assert (state / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_the_machines_id_is_not_shown(state: Path, machine: Path) -> None:
    made(state)
    kept = b"".join(file.read_bytes() for file in state.iterdir())
    assert machine.read_bytes().strip() not in kept


def copied(state: Path) -> Path:
    """With every time stamp that can be set."""
    return Path(shutil.copytree(state, state.with_name("copy")))


def packed_and_unpacked(state: Path) -> Path:
    """Lost and restored at the same place."""
    with tarfile.open(state.with_name("backup.tar"), "w") as tar:
        tar.add(state, ".")
    shutil.rmtree(state)
    with tarfile.open(state.with_name("backup.tar")) as tar:
        tar.extractall(state, filter="data")
    return state


def restored_over(state: Path) -> Path:
    """Only its contents written anew, into the files that are there."""
    for file in state.iterdir():
        times = file.stat()
        file.write_bytes(file.read_bytes())
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    return state


@pytest.mark.parametrize("restore", [copied, packed_and_unpacked, restored_over])
def test_a_restored_directory_is_the_same_site_in_a_new_incarnation(
    state: Path, restore: Callable[[Path], Path]
) -> None:
    first = made(state)
    there = restore(state)
    second, said = establish(there)
    assert (second.site, second.public_key) == (first.site, first.public_key)
    assert second.incarnation != first.incarnation
    assert said == [f"a new incarnation of the site begins, {second.incarnation}: {IDENTITY} was restored or copied"]
    assert establish(there) == (second, [])


def test_another_machine_another_key_and_the_marker_deleted_by_hand(state: Path, machine: Path) -> None:
    first = made(state)
    machine.write_text("another\n")
    second, said = establish(state)
    assert said[0].endswith("this is another machine")
    (state / KEY_FILE).unlink()
    third, said = establish(state)
    assert said[0].endswith("the site's key is another one")
    assert third.public_key != first.public_key
    (state / INCARNATION).unlink()
    fourth, said = establish(state)
    assert said == []
    found = (first, second, third, fourth)
    assert len({one.incarnation for one in found}) == 4
    assert len({one.site for one in found}) == 1


def test_a_moved_directory_is_no_restore(state: Path) -> None:
    first = made(state)
    state.rename(state.with_name("elsewhere"))
    assert establish(state.with_name("elsewhere")) == (first, [])


def test_a_key_that_is_none_is_kept_aside_and_another_one_begins_an_incarnation(state: Path) -> None:
    first = made(state)
    (state / KEY_FILE).write_bytes(b"short")
    second, said = establish(state)
    assert (second.site, second.kept) == (first.site, True)
    assert second.public_key not in ("", first.public_key)
    assert "held 5 bytes, expected the 32 of an Ed25519 key; kept as audit.key.corrupt." in said[0]
    assert said[1].endswith("the site's key is another one")
    assert establish(state) == (second, [])


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"site": 3}', b"\xff"])
def test_a_damaged_file_is_kept_aside(state: Path, damage: bytes) -> None:
    first = made(state)
    (state / IDENTITY).write_bytes(damage)
    assert read(state) is None
    second, said = establish(state)
    assert second.kept
    assert second.site != first.site
    assert "was damaged" in said[0]
    (aside,) = state.glob(f"{IDENTITY}.corrupt.*")
    assert aside.read_bytes() == damage
    assert establish(state) == (second, [])


def test_without_a_directory_it_lasts_for_the_run_and_says_so(state: Path) -> None:
    state.rmdir()
    first, said = establish(state)
    assert (first.kept, first.public_key) == (False, "")
    assert said[0].startswith("the site's identity is not kept, this run has one of its own: ")
    second, _ = establish(state)
    assert second.site != first.site
    assert read(state) is None


def test_it_is_json_that_others_can_read(state: Path) -> None:
    first = made(state)
    assert json.loads((state / IDENTITY).read_text()) == {"site": first.site}
    assert json.loads((state / INCARNATION).read_text())["incarnation"] == first.incarnation
