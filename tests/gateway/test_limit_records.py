"""The record of this machine's GPUs in the state directory: whole or old, never in between; damage is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drivers.nodes.known_gpus import SeenGpu
from gateway.limit_records import FILE, open_gpu_record
from storage import durable_file

SEEN = {"GPU-a": SeenGpu(0, "H200"), "GPU-b": SeenGpu(1, "H200")}


def test_the_next_gateway_knows_what_this_one_kept(tmp_path: Path) -> None:
    known, note = open_gpu_record(tmp_path)
    assert (note, known.capped, known.expected(0)) == ("", False, 0)
    known.see(SEEN, 0)
    assert known.keep({"GPU-a": 500_000}, [250_000]) == ""
    restarted, note = open_gpu_record(tmp_path)
    assert (note, restarted.record) == ("", known.record)
    assert restarted.record.original_mw == {"GPU-a": 500_000}
    assert (restarted.expected(0), restarted.expected(1)) == (2, 1)
    restarted.forget(["GPU-a"])
    assert not open_gpu_record(tmp_path)[0].capped


def test_it_is_on_disk_before_it_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's content, then its name, then the directory."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append("directory" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("name")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    known, _ = open_gpu_record(tmp_path)
    known.keep({"GPU-a": 500_000}, [250_000])
    assert done == ["file", "name", "directory"]


def test_a_directory_that_takes_nothing_is_told(tmp_path: Path) -> None:
    known, _ = open_gpu_record(tmp_path / "gone")
    assert known.keep({"GPU-a": 500_000}, []).endswith("gpus.json.new: No such file or directory")
    assert not known.capped
    known.keep({"GPU-a": 500_000}, [], insist=True)
    assert known.not_kept.endswith("No such file or directory")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"original_mw": {"GPU-a": "x"}}', b'{"count": 1e999}'])
def test_damage_is_told_and_kept_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    known, note = open_gpu_record(tmp_path)
    assert known.damage
    assert "kept as gpus.json.corrupt; the limits that GPUs had before they were capped are not known" in note
    assert (tmp_path / "gpus.json.corrupt").read_bytes() == content
    known.see(SEEN, 0)
    assert open_gpu_record(tmp_path)[1] == ""


def test_a_file_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()  # stands for any error of the disk; root may read every file
    known, note = open_gpu_record(tmp_path)
    assert "cannot be read: Is a directory" in note
    assert known.keep({"GPU-a": 500_000}, [])
    assert (tmp_path / FILE).is_dir()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    durable_file.write(path, b"old")
    path.with_name("x.json.new").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        durable_file.write(path, b"new")
    assert path.read_bytes() == b"old"
