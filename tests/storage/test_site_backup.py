"""A backup is of one moment, whole or not there; a restore goes on from it and says in the audit what it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from storage_samples import decision, feed, snapshot
from waiting import LIMIT_S

from storage import durable_file, identity, schema, site_backup
from storage.audit import AuditLog
from storage.audit_head import HEAD_FILE, kept
from storage.audit_reader import rows
from storage.config import StorageConfig
from storage.export.writer import export
from storage.manifest import MANIFEST, signed
from storage.reader import Archive
from storage.recorder import Recorder, _MachineClock
from storage.signing_key import KEY_FILE
from storage.site_backup import BackupError, back_up
from storage.site_restore import RestoreError, restore
from storage.verify import verify

CLOCK = _MachineClock()


def audited(state: Path, texts: list[str], run: str = "boot/1") -> str:
    """Rows of one run of a gateway; what it says has changed."""
    audit = AuditLog(state, run, CLOCK, lambda _: None)
    done = [audit.write({"kind": "start" if n == 0 else "test", "text": text}) for n, text in enumerate(texts)]
    for future in done:
        future.result(LIMIT_S)
    assert audit.close()
    return audit.changed


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a gateway left: telemetry, an audit of 20 rows, memory, limits of GPUs."""
    directory = tmp_path_factory.mktemp("left") / "state"
    directory.mkdir()
    identity.establish(directory)
    recorder = Recorder(directory, StorageConfig(), "boot")
    feed(recorder, range(600))
    recorder.save_state("controller", {"peak_w": 31_000.0})
    assert recorder.close()
    audited(directory, [f"row {n}" for n in range(1, 21)])
    (directory / "proofs.json").write_text('{"version": 1, "proofs": {}}')
    (directory / "gpus.json").write_text('{"original_mw": {"GPU-a": 500000}}')
    (directory / "gpus.json").chmod(0o640)
    (directory / "bmc-limits.json").write_text('{"n": {"own_w": 1600, "mode": ""}}')
    return directory


@pytest.fixture
def state(left: Path, tmp_path: Path) -> Path:
    return shutil.copytree(left, tmp_path / "state")


@pytest.fixture
def running(state: Path) -> Iterator[Recorder]:
    recorder = Recorder(state, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    yield recorder
    recorder.close()


def test_it_is_of_one_moment_whoever_writes_and_holds_nobody_up(
    state: Path, running: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written between any two steps; begun anew by each write, it would never end."""
    monkeypatch.setattr(site_backup, "STEP_PAGES", 2)
    before, audit = Archive(state).counts()["hot"], AuditLog(state, "boot/2", CLOCK, lambda _: None)
    written: list[int] = []

    def write(name: str, share: float) -> None:
        n = 600 + 5 * len(written)
        written.append(n)
        for k in range(n, n + 5):
            running.put(snapshot(k), decision(k))
        running.flush().result(LIMIT_S)
        audit.write({"kind": "test", "text": f"during {name}"}).result(LIMIT_S)

    made = back_up(state, tmp_path / "copy", write)
    assert len(written) > 15
    assert audit.close()
    assert made.findings == ()
    assert Archive(tmp_path / "copy").counts()["hot"] == before
    texts = [row["text"] for row in rows(tmp_path / "copy", 1000)]
    assert texts[:20] == [f"row {n}" for n in range(1, 21)]
    assert set(texts[20:]) == {"during telemetry.db"}, "the audit is copied after the telemetry"
    assert Archive(state).counts()["hot"] == before + len(written), "each write was on the disk at once"


def test_what_is_in_it(state: Path, tmp_path: Path) -> None:
    (state / "telemetry.db.corrupt.20260101T000000Z").write_text("x")
    made = back_up(state, tmp_path / "copy")
    stated = json.loads((tmp_path / "copy" / MANIFEST).read_text())
    assert stated == made.manifest
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {*stated["files"], MANIFEST} == {*site_backup.FILES, MANIFEST}
    for name, file in stated["files"].items():
        path = tmp_path / "copy" / name
        assert (path.stat().st_size, site_backup.sha256(path)) == (file["bytes"], file["sha256"])
        assert path.stat().st_mode == (state / name).stat().st_mode
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700, "it holds the key"
    assert made.left_out == ("telemetry.db.corrupt.20260101T000000Z",)
    assert made.size_bytes == sum(file["bytes"] for file in stated["files"].values())
    assert Archive(tmp_path / "copy").last_state("controller") == {"peak_w": 31_000.0}
    report = verify(tmp_path / "copy", public_key=stated["audit"]["public_key"])
    assert (report.ok, report.rows) == (True, 20)


@pytest.mark.parametrize("there", ["directory", "file", "link"])
def test_nothing_is_overwritten(state: Path, tmp_path: Path, there: str) -> None:
    place = tmp_path / "copy"
    make: dict[str, Callable[[], Any]] = {
        "directory": place.mkdir,
        "file": lambda: place.write_text("mine"),
        "link": lambda: place.symlink_to("nowhere"),
    }
    make[there]()
    with pytest.raises(BackupError, match="exists: name a new directory"):
        back_up(state, place)


def test_one_that_ends_early_leaves_nothing(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of its calls that reach the disk; the last is the directory's own name, when it is whole."""
    fsync, calls, last = os.fsync, 0, None

    def counted(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == last:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", counted)
    back_up(state, tmp_path / "whole")
    needed = calls
    assert needed >= len(site_backup.FILES) + 3
    for n in range(1, needed):
        calls, last = 0, n
        with pytest.raises(OSError, match="No space left"):
            back_up(state, tmp_path / "copy")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "whole"], f"call {n} of {needed}"


def test_one_that_is_killed_does_not_look_whole(state: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from storage import site_backup; site_backup.STEP_PAGES = 2;"
        "site_backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]), "
        "lambda name, share: os.kill(os.getpid(), signal.SIGKILL) if name == 'audit.db' else None)"
    )
    place = tmp_path / "copy"
    ended = subprocess.run([sys.executable, "-c", program, state, place], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not place.exists()
    with pytest.raises(RestoreError, match="was interrupted before it was whole"):
        restore(tmp_path / "copy.partial", tmp_path / "new", "test", replace=False)
    assert back_up(state, place).findings == ()
    assert not (tmp_path / "copy.partial").exists()


def test_two_at_once_to_one_place(state: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def second(name: str, share: float) -> None:
        with pytest.raises(BackupError) as error:
            back_up(state, tmp_path / "copy")
        refused.append(str(error.value))

    assert back_up(state, tmp_path / "copy", second).findings == ()
    assert "another backup is writing" in refused[0]


def test_what_stands_against_one(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "copy"
    with pytest.raises(BackupError, match="there are no records of a site there"):
        back_up(tmp_path / "nothing", place)
    with pytest.raises(BackupError, match="is not a directory: make it"):
        back_up(state, tmp_path / "no" / "copy")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))  # type: ignore[attr-defined]
        with pytest.raises(BackupError, match=r"does not fit: .* MB are needed, 1\.0 MB are free: free space"):
            back_up(state, place)
    with (state / "telemetry.db").open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 8192)
    with pytest.raises(BackupError, match=r"telemetry\.db (is damaged|cannot be copied)"):
        back_up(state, place)
    (state / KEY_FILE).write_bytes(b"short")
    with pytest.raises(BackupError, match="holds 5 bytes, expected 32"):
        back_up(state, place)
    assert (state / KEY_FILE).read_bytes() == b"short"
    assert {path.name for path in tmp_path.iterdir()} == {"state"}


def test_what_somebody_else_has_put_in_its_place_is_refused(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In /tmp anybody may name it first: it would get the key, and root would delete what a link leads to."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    making = tmp_path / f"copy{site_backup.UNFINISHED}"
    making.symlink_to(precious)
    with pytest.raises(BackupError, match="is no directory of a backup"):
        back_up(state, tmp_path / "copy")
    making.unlink()
    making.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(BackupError, match="belongs to another user"):
        back_up(state, tmp_path / "copy")
    assert (precious / "file").exists()
    assert list(making.iterdir()) == []


def beside(state: Path) -> tuple[str, str]:
    """Files of a rollback and of a merge that is under way."""
    names = (f"{schema.FILE}.newer.20260101T000000Z-0a1b", f"{schema.FILE}.meanwhile.20260101T000000Z-2c3d")
    for name in names:
        shutil.copy(state / schema.FILE, state / name)
    (state / f"{names[0]}.corrupt").touch()
    return names


def test_files_that_are_merged_later_are_in_it(state: Path, tmp_path: Path) -> None:
    names = beside(state)
    made = back_up(state, tmp_path / "copy")
    assert made.left_out == (f"{names[0]}.corrupt",)
    assert set(names) < made.manifest["files"].keys()
    restore(tmp_path / "copy", tmp_path / "new", "test", replace=False)
    assert all((tmp_path / "new" / name).exists() for name in names)
    (state / names[1]).write_bytes(b"garbage" * 4_000)
    made = back_up(state, tmp_path / "second")
    assert names[1] in made.left_out, "a damaged one keeps nobody from a backup"


# ── restore ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restored_site_goes_on(state: Path, tmp_path: Path) -> None:
    before = identity.read(state)
    assert before is not None
    back_up(state, tmp_path / "copy")
    done = restore(tmp_path / "copy", tmp_path / "new", "alice as root", replace=False)
    assert done.kept == ""
    assert "the state directory was empty" in done.text
    now, said = identity.establish(tmp_path / "new")
    assert (now.site, now.public_key) == (before.site, before.public_key)
    assert now.incarnation != before.incarnation
    why = f"{identity.IDENTITY} was restored or copied"
    assert said == [f"a new incarnation of the site begins, {now.incarnation}: {why}"]
    assert audited(tmp_path / "new", ["after"], "boot/9") == "", "no alarm"
    found = rows(tmp_path / "new")
    assert [row["seq"] for row in found] == list(range(1, 23))
    assert (found[20]["kind"], found[20]["who"], found[20]["text"]) == ("restored", "alice as root", done.text)
    report = verify(tmp_path / "new", public_key=before.public_key)
    assert report.findings == ()
    assert Archive(tmp_path / "new").counts() == Archive(state).counts()
    for name in json.loads((tmp_path / "copy" / MANIFEST).read_text())["files"]:
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == (state / name).stat().st_mode & 0o777
    recorder = Recorder(tmp_path / "new", StorageConfig(), "boot")
    feed(recorder, range(3_000, 3_010))
    assert recorder.close()


def test_a_site_whose_key_is_a_credential(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is not in the state directory: nor is it in the backup, and none is made."""
    given = tmp_path / "credentials"
    given.mkdir()
    (state / KEY_FILE).rename(given / KEY_FILE)
    with pytest.raises(BackupError, match="set CREDENTIALS_DIRECTORY"):
        back_up(state, tmp_path / "copy")
    with monkeypatch.context() as patch:
        patch.setenv("CREDENTIALS_DIRECTORY", str(given))
        made = back_up(state, tmp_path / "copy")
    assert KEY_FILE not in made.manifest["files"]
    assert made.findings == ()
    with pytest.raises(RestoreError, match="the site's key was a credential"):
        restore(tmp_path / "copy", tmp_path / "new", "test", replace=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    restore(tmp_path / "copy", tmp_path / "new", "test", replace=False)
    assert not (tmp_path / "new" / KEY_FILE).exists()
    assert audited(tmp_path / "new", ["start"], "boot/2") == ""
    assert verify(tmp_path / "new").findings == ()
    (given / KEY_FILE).write_bytes(bytes(32))
    with pytest.raises(RestoreError, match="is not signed with the key of the site"):
        restore(tmp_path / "copy", tmp_path / "other", "test", replace=False)


def test_rows_that_a_restore_leaves_behind_are_named(state: Path, tmp_path: Path) -> None:
    """The one way to be rid of rows that the command offers says so, signed, in what takes their place."""
    back_up(state, tmp_path / "copy")
    audited(state, ["start", *(f"a row to be rid of {n}" for n in range(9))], "boot/2")
    head = verify(state).head
    with pytest.raises(RestoreError, match="has records already: with --replace"):
        restore(tmp_path / "copy", state, "mallory", replace=False)
    done = restore(tmp_path / "copy", state, "mallory", replace=True)
    assert "rows 21 to 30 of the audit that was there are not in this one" in done.text
    (last,) = rows(state, 1)
    assert (last["text"], last["head_before"]) == (done.text, head)
    assert done.kept in done.text
    assert verify(Path(done.kept)).head == head, "kept as it was"
    assert audited(state, ["start"], "boot/3") == "", "no false alarm"
    assert verify(state).findings == ()
    (finding,) = verify(state, heads=(head,)).findings
    assert "30" in finding, "a head that left the machine shows it, too"


def test_an_audit_that_is_shorter_than_its_head_is_still_so_after_a_restore(state: Path, tmp_path: Path) -> None:
    """Tampered with before the backup: neither the backup nor the restore makes it look sound."""
    shutil.copy(state / "audit.db", tmp_path / "older.db")
    audited(state, ["start", "an act"], "boot/2")
    shutil.copy(tmp_path / "older.db", state / "audit.db")
    assert (kept(state) or pytest.fail("no head")).seq == 22
    made = back_up(state, tmp_path / "copy")
    assert (kept(tmp_path / "copy") or pytest.fail("no head")).seq == 22
    restore(tmp_path / "copy", tmp_path / "new", "test", replace=False)
    assert made.manifest["audit"]["rows"] == 20
    found = rows(tmp_path / "new")
    assert [row["kind"] for row in found[20:]] == ["found", "restored"]
    assert found[20]["text"] == "rows 21 to 22 of the audit were on the disk and are lost"


def test_an_edited_audit_is_backed_up_and_told(state: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(state / "audit.db", isolation_level=None)) as con:
        con.execute("DROP TRIGGER entry_no_update")
        con.execute("UPDATE entry SET body = replace(body, 'row 7', 'row 8') WHERE seq = 7")
    made = back_up(state, tmp_path / "copy")
    assert any("row 7 was edited" in finding for finding in made.findings)
    restore(tmp_path / "copy", tmp_path / "new", "test", replace=False)
    assert "row 7 was edited" in audited(tmp_path / "new", ["start"], "boot/2")


def test_a_change_of_any_file_is_refused(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy")
    for name in (*site_backup.FILES, MANIFEST):
        changed = tmp_path / f"changed-{name}"
        shutil.copytree(tmp_path / "copy", changed)
        content = bytearray((changed / name).read_bytes())
        content[len(content) // 2] ^= 1
        (changed / name).write_bytes(content)
        with pytest.raises(RestoreError, match=r"was changed after the backup was made|is not the manifest"):
            restore(changed, tmp_path / "new", "test", replace=False)
        (changed / name).unlink()
        with pytest.raises(RestoreError):
            restore(changed, tmp_path / "new", "test", replace=False)
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": {"../../x": {"bytes": 1, "sha256": "0" * 64, "mode": "0600"}}},
        {"files": []},
        {"files": {KEY_FILE: {"bytes": -1, "sha256": "0" * 64, "mode": "0600"}}},
        {"kind": "export"},
        {"format": 2},
        {"made": "yesterday"},
        {"audit": {"head": "x"}},
        {"audit": []},
    ],
)
def test_a_manifest_that_none_has_written(state: Path, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Signed with the site's own key: what it says is checked all the same."""
    back_up(state, tmp_path / "copy")
    path = tmp_path / "copy" / MANIFEST
    stated = json.loads(path.read_text())
    del stated["signature"]
    path.write_text(json.dumps(signed({**stated, **wrong}, state)))
    if wrong == {"audit": []}:
        (tmp_path / "copy" / "audit.db").unlink()
    with pytest.raises(RestoreError, match="manifest"):
        restore(tmp_path / "copy", tmp_path / "new", "test", replace=False)
    assert not (tmp_path / "new").exists()


def test_what_is_said_where_the_disk_is_full_or_an_export_is_given(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found: "BACKUP/telemetry.db: No space left on device", though the other disk was full; and "'kind'"."""
    back_up(state, tmp_path / "copy")
    with monkeypatch.context() as patch:

        def full(source: Path, target: Path) -> None:
            raise OSError(28, "No space left on device", str(source))

        patch.setattr(shutil, "copyfile", full)
        place = tmp_path / "new" / "site"
        with pytest.raises(RestoreError, match=rf"cannot be copied to {place}: No space left"):
            restore(tmp_path / "copy", place, "test", replace=False)
        assert not place.parent.exists(), "no directory is left empty"
        patch.setattr(durable_file, "write", lambda path, _: full(path, path))
        with pytest.raises(OSError, match="No space left"):
            restore(tmp_path / "copy", place, "test", replace=False)
        assert not place.parent.exists()
    export(state, tmp_path / "export", 0.0, 2e9)
    with pytest.raises(RestoreError, match="it is of an export, format 2; expected what `skerry backup` wrote"):
        restore(tmp_path / "export", tmp_path / "other", "test", replace=False)


def test_a_restore_that_ends_early_is_run_again(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up(state, tmp_path / "copy")
    rename, left = Path.rename, 0

    def renamed(path: Path, target: Path) -> Path:
        nonlocal left
        left -= path.parent.name == "restoring"
        if left == 0:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renamed)
    for n in (2, 4, 8):  # the first is of the kept head
        left = n
        with pytest.raises(OSError, match="Input/output error"):
            restore(tmp_path / "copy", state, "test", replace=True)
    left = -1
    done = restore(tmp_path / "copy", state, "test", replace=True)
    assert done.kept
    assert not (state / "restoring").exists()
    assert audited(state, ["start"], "boot/2") == ""
    assert (kept(state) or pytest.fail("no head")).seq == 22
    assert msgspec.to_builtins(identity.read(state))["site"] == done_site(tmp_path / "copy")
    assert (state / HEAD_FILE).stat().st_mode & 0o777 == (tmp_path / "copy" / HEAD_FILE).stat().st_mode & 0o777


def test_a_restore_moves_aside_what_the_gateway_would_merge(state: Path, tmp_path: Path) -> None:
    """A newer file that stayed would be the record again, and have the rows of the backup twice."""
    back_up(state, tmp_path / "copy")
    names = beside(state)
    done = restore(tmp_path / "copy", state, "test", replace=True)
    assert [name for name in names if (state / name).exists()] == []
    assert all((Path(done.kept) / name).exists() for name in names)


@pytest.mark.parametrize("at", ["audit.db", "telemetry.db"])
def test_a_restore_after_one_that_was_interrupted_names_the_rows_all_the_same(
    at: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While files are moved aside (the first of these), or into their place (the last one)."""
    back_up(state, tmp_path / "copy")
    audited(state, ["start", *(f"a row to be rid of {n}" for n in range(9))], "boot/2")
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        made = rename(path, target)
        if path == (state / "restoring" if at == "telemetry.db" else state) / at:
            raise OSError(5, "Input/output error")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", renamed)
        with pytest.raises(OSError, match="Input"):
            restore(tmp_path / "copy", state, "mallory", replace=True)
    done = restore(tmp_path / "copy", state, "mallory", replace=True)
    assert "rows 21 to 30 of the audit that was there are not in this one" in done.text
    kept_in = sorted(path for path in state.iterdir() if path.name.startswith("before-restore-"))
    assert len(kept_in) == 2
    assert all(str(place) in done.text for place in kept_in)
    assert not (state / "restoring").exists()


@pytest.mark.parametrize("longer", [True, False])
def test_an_audit_that_was_rewritten_before_a_restore_is_told(longer: bool, state: Path, tmp_path: Path) -> None:
    other = shutil.copytree(state, tmp_path / "other")
    audited(state, ["start", "what was done"], "boot/2")
    back_up(state, tmp_path / "copy")
    audited(other, ["start", "another", *(["more"] if longer else [])], "boot/2")
    done = restore(tmp_path / "copy", other, "mallory", replace=True)
    assert f"the audit that was there, of {22 + longer} rows, has another row 22 than this one" in done.text


def done_site(copy: Path) -> str:
    """The site of a backup."""
    return str(json.loads((copy / MANIFEST).read_text())["site"])
