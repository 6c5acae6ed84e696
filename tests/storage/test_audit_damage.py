"""What a crash, a disk or a person does to the audit between two runs: it is noticed, named, and stops nothing."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from storage_samples import T0
from waiting import LIMIT_S

from drivers.clock import VirtualClock
from storage import audit as module
from storage import audit_file, audit_head, audit_reader, audit_self_check, durable_file, signing_key
from storage.audit import AuditLog, NotDurable
from storage.audit_format import FILE, GENESIS, chained, rows_words
from storage.audit_head import HEAD_FILE
from storage.signing_key import KEY_FILE
from storage.verify import verify

FILES = (FILE, f"{FILE}-wal", KEY_FILE, HEAD_FILE)
ROWS = 21  # signed up to row 16
VERSIONS = Path(__file__).parents[1] / "versions"


def log_on(directory: Path) -> AuditLog:
    return AuditLog(directory, "boot/2", VirtualClock(T0), lambda line: None)


def write(audit: AuditLog, number: int) -> int:
    return audit.write({"kind": "intent", "who": "alice", "text": f"→ {number} kW"}).result(LIMIT_S)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory as a gateway leaves it that is killed after its last row was acknowledged."""
    running, left = tmp_path_factory.mktemp("running"), tmp_path_factory.mktemp("killed")
    audit = log_on(running)
    with pytest.MonkeyPatch.context() as patch:
        for number in range(1, ROWS + 1):
            if number == 17:  # from here on somebody reads the file, so that its WAL stays
                patch.setattr(audit_file.AuditFile, "fold", lambda self: None)
            assert write(audit, number) == number
        for name in FILES:
            shutil.copy(running / name, left / name)
    audit.close()
    return left


@pytest.fixture
def state(killed: Path, tmp_path: Path) -> Path:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return tmp_path


def opened(directory: Path) -> tuple[AuditLog, int]:
    """An audit that goes on, and the number of its first row; it is closed."""
    began_s = time.monotonic()
    audit = log_on(directory)
    number = write(audit, 0)
    took_s = time.monotonic() - began_s
    assert audit.close()
    assert took_s < 2.0
    return audit, number


def on_disk(directory: Path) -> int:
    with closing(sqlite3.connect(f"file:{directory / FILE}?mode=ro", uri=True)) as con:
        return int(con.execute("SELECT count(*) FROM entry").fetchone()[0])


# ── rows that were acknowledged ─────────────────────────────────────────────────────────────────────────────────────


def test_an_acknowledged_row_does_not_stay_in_the_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL is read up to its first damaged frame: one bit would cost every row that is in it alone."""
    monkeypatch.setattr(module, "QUIET_S", LIMIT_S)  # nothing is signed meanwhile
    audit, wal = log_on(tmp_path), tmp_path / f"{FILE}-wal"
    for number in range(3):
        write(audit, number)
        until_s = time.monotonic() + LIMIT_S
        while wal.stat().st_size:
            assert time.monotonic() < until_s
    audit.close()


def test_one_flipped_bit_in_the_wal(killed: Path, tmp_path: Path) -> None:
    """Found: every row behind it was gone, and `verify` said "verified". Now the missing rows are named, for good."""
    wal = (killed / f"{FILE}-wal").read_bytes()
    seen = set()
    for at in random.Random(1).sample(range(len(wal)), 40):
        place = tmp_path / str(at)
        shutil.copytree(killed, place)
        (place / f"{FILE}-wal").write_bytes(wal[:at] + bytes([wal[at] ^ 4]) + wal[at + 1 :])
        left = on_disk(place)
        before = verify(place)
        audit, number = opened(place)
        seen.add(left)
        if left == ROWS:
            assert (before.ok, audit.changed, number) == (True, "", ROWS + 1)
            continue
        assert any(f"row {ROWS} was on the disk, but the chain ends at row {left}" in f for f in before.findings)
        lost = rows_words(left + 1, ROWS, *audit_file.LOST)
        assert audit.changed == lost
        assert any(lost in line for line in audit.found)
        assert (next(place.glob(f"{FILE}-wal.corrupt.*"))).read_bytes()[at] == wal[at] ^ 4
        after = verify(place)
        assert any(lost in finding for finding in after.findings), "also when later rows stand in their place"
    assert min(seen) < ROWS


@pytest.mark.parametrize("name", FILES)
def test_whatever_byte_is_damaged_the_audit_goes_on(killed: Path, tmp_path: Path, name: str) -> None:
    """Flipped, garbled, cut off, empty or gone: rows are taken at once, and a row that is lost or edited is named."""
    content, chance = (killed / name).read_bytes(), random.Random(name)

    def flipped(at: int) -> bytes:
        return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]

    damaged = [flipped(chance.randrange(len(content))) for _ in range(25)]
    damaged += [content[: chance.randrange(len(content))] for _ in range(5)]
    damaged += [content[:4096] + chance.randbytes(4096) + content[8192:], chance.randbytes(len(content)), b"", None]
    for number, found in enumerate(damaged):
        place = tmp_path / str(number)
        shutil.copytree(killed, place)
        if found is None:
            (place / name).unlink()
        else:
            (place / name).write_bytes(found)
        audit, _ = opened(place)
        texts = [row.get("text") for row in audit_reader.rows(place, 100)]
        whole = all(f"→ {n} kW" in texts for n in range(1, ROWS + 1))
        assert whole or audit.changed or any("kept as" in line for line in audit.found), (number, audit.found)
        assert whole or not verify(place).ok, "what is lost shows later, too"


@pytest.mark.parametrize("broken", ["none", "unreadable"])
def test_an_audit_whose_head_is_not_known(state: Path, broken: str) -> None:
    """As an earlier version left it: nothing is wrong. A damaged one is kept and said."""
    if broken == "none":
        (state / HEAD_FILE).unlink()
    else:
        (state / HEAD_FILE).write_bytes(b"21:00\n")
        assert any(f"{HEAD_FILE} is damaged" in line for line in verify(state).findings)
    audit, number = opened(state)
    assert (audit.changed, number) == ("", ROWS + 1)
    assert [HEAD_FILE in line for line in audit.found] == ([] if broken == "none" else [True])
    assert verify(state).ok
    kept = audit_head.kept(state)
    assert kept is not None
    assert kept.seq == ROWS + 1


def test_a_head_cut_off_with_its_checkpoints(state: Path) -> None:
    """Somebody with write access, but without the key, cannot make the head fit."""
    opened(state)
    with closing(sqlite3.connect(state / FILE, isolation_level=None)) as con:
        for name in ("entry_no_delete", "checkpoint_no_delete"):
            con.execute(f"DROP TRIGGER {name}")
        con.execute("DELETE FROM checkpoint WHERE seq > 16")
        con.execute("DELETE FROM entry WHERE seq > 16")
    assert any("the chain ends at row 16" in line for line in verify(state).findings)


def test_rows_lost_from_the_end_are_told_by_number_in_the_audit_itself(state: Path) -> None:
    opened(state)
    tamper(
        state,
        *("DROP TRIGGER entry_no_delete", "DROP TRIGGER checkpoint_no_delete", "DELETE FROM checkpoint WHERE seq > 16"),
        "DELETE FROM entry WHERE seq > 16",
    )
    opened(state)
    rows = [row for row in audit_reader.rows(state, 5) if "lost" in row]
    assert [row["lost"] for row in rows] == [[17, ROWS + 1]]


def test_a_file_that_cannot_be_signed_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_times = []
    really = audit_file.AuditFile._open

    def counted(self: audit_file.AuditFile) -> sqlite3.Connection:
        opened_times.append(self.path)
        return really(self)

    def fails(self: audit_file.AuditFile) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(audit_file.AuditFile, "_open", counted)
    audit = log_on(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(audit_file.AuditFile, "fold", fails)
        assert write(audit, 1) == 1
        assert write(audit, 2) == 2
    assert write(audit, 3) == 3
    audit.close()
    assert len(opened_times) > 1
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o640


def test_before_it_is_opened_an_audit_has_no_row(tmp_path: Path) -> None:
    assert audit_file.AuditFile(tmp_path).head == (0, GENESIS)


def test_a_signature_is_of_the_row_that_it_stands_for(state: Path) -> None:
    """Somebody without the key has written the rows anew from 16 on, with a chain that holds."""
    opened(state)
    with closing(sqlite3.connect(state / FILE, isolation_level=None)) as con:
        con.execute("DROP TRIGGER entry_no_update")
        (head,) = con.execute("SELECT hash FROM entry WHERE seq = 15").fetchone()
        for seq, body in con.execute("SELECT seq, body FROM entry WHERE seq > 15 ORDER BY seq").fetchall():
            body = body.replace("alice", "mallory")
            prev, head = head, chained(seq, head, body)
            con.execute("UPDATE entry SET prev = ?, hash = ?, body = ? WHERE seq = ?", (prev, head, body, seq))
    audit, _ = opened(state)
    assert "the signature of row 16 is of another row" in "; ".join(audit.found)
    assert "was edited" not in audit.changed


def test_the_head_is_on_disk_before_a_row_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit, acknowledged, written = log_on(tmp_path), threading.Event(), []
    write(audit, 1)
    really = durable_file.write

    def watched(path: Path, content: bytes) -> None:
        written.append((path.name, acknowledged.is_set()))
        really(path, content)

    monkeypatch.setattr(durable_file, "write", watched)
    future = audit.write({"kind": "intent"})
    future.add_done_callback(lambda _: acknowledged.set())
    assert future.result(LIMIT_S) == 2
    assert written == [(HEAD_FILE, False)]
    audit.close()


def test_a_head_that_cannot_be_kept_is_said_and_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = log_on(tmp_path)
    write(audit, 1)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / HEAD_FILE))

    with monkeypatch.context() as patch:
        patch.setattr(durable_file, "write", full)
        assert write(audit, 2) == 2, "the row itself is on the disk"
        assert "No space left on device; rows lost from the audit's end would not show" in audit.error
    write(audit, 3)
    assert audit.error == ""
    audit.close()
    assert verify(tmp_path).ok


def test_a_reader_does_not_hold_up_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL stays until nobody reads it any more."""
    monkeypatch.setattr(module, "QUIET_S", 0.05)
    audit, wal = log_on(tmp_path), tmp_path / f"{FILE}-wal"
    write(audit, 1)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as con:
        con.execute("BEGIN")
        con.execute("SELECT count(*) FROM entry").fetchone()
        began_s = time.monotonic()
        for number in range(2, 40):
            write(audit, number)
        assert time.monotonic() - began_s < audit_file.BUSY_S
        assert wal.stat().st_size > 0
    until_s = time.monotonic() + LIMIT_S
    while wal.stat().st_size:
        assert time.monotonic() < until_s
    audit.close()


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def flip(key: Path) -> None:
    key.write_bytes(bytes([key.read_bytes()[0] ^ 1]) + key.read_bytes()[1:])


KEYS: dict[str, Callable[[Path], Any]] = {
    "flipped": flip,
    "cut off": lambda key: key.write_bytes(key.read_bytes()[:20]),
    "empty": lambda key: key.write_bytes(b""),
    "too long": lambda key: key.write_bytes(key.read_bytes() * 2),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("how", KEYS)
def test_another_key_is_said_and_stops_no_command(state: Path, how: str) -> None:
    """Found: replaced in silence; an empty one refused every command that raises risk, for ever."""
    KEYS[how](state / KEY_FILE)
    audit, number = opened(state)
    assert number == ROWS + 2, "the first row says that the key is another one"
    assert audit.changed.startswith(f"{KEY_FILE} was lost, damaged or replaced: up to row 16 the key ")
    (row,) = (row for row in audit_reader.rows(state, 5) if row["kind"] == "key")
    assert row["text"] == audit.changed
    assert row["public_key"] != row["before"]
    kept = list(state.glob(f"{KEY_FILE}.corrupt.*"))
    assert bool(kept) == (how in ("cut off", "empty", "too long"))
    again, _ = opened(state)
    assert (again.changed, again.found) == ("", []), "said once, and for good in the audit"
    assert any("was signed with another key" in line for line in verify(state).findings)


def test_the_key_is_on_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes before its name, its name before anything it signs: a power cut leaves the key or no key."""
    calls, fsync, link = [], os.fsync, os.link

    def synced(handle: int) -> None:
        calls.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name.split('.')[0]}")
        fsync(handle)

    def linked(source: str, target: Path) -> None:
        calls.append(f"link {Path(target).name}")
        link(source, target)

    monkeypatch.setattr(signing_key.os, "fsync", synced)
    monkeypatch.setattr(signing_key.os, "link", linked)
    (tmp_path / "state").mkdir()
    signing_key.signing_key(tmp_path / "state")
    assert calls == ["sync audit", "link audit.key", "sync state"]


def test_a_file_is_on_disk_before_its_name_and_its_name_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, fsync, rename = [], os.fsync, Path.rename

    def synced(handle: int) -> None:
        calls.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        calls.append(f"rename {self.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    (tmp_path / "state").mkdir()
    durable_file.write(tmp_path / "state" / HEAD_FILE, b"x")
    assert calls == [f"sync {HEAD_FILE}.new", f"rename {HEAD_FILE}.new", "sync state"]


# ── rows, triggers, files ───────────────────────────────────────────────────────────────────────────────────────────


def tamper(directory: Path, *statements: str) -> None:
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as con:
        for statement in statements:
            con.execute(statement)


EDITS = {
    "row 20 was edited": ["DROP TRIGGER entry_no_update", "UPDATE entry SET body = '{}' WHERE seq = 20"],
    "row 18 is missing": ["DROP TRIGGER entry_no_delete", "DELETE FROM entry WHERE seq = 18"],
    "the signature of row 16 does not hold": [
        "DROP TRIGGER checkpoint_no_update",
        "UPDATE checkpoint SET signature = zeroblob(64)",
    ],
    "missing or changed, and are made anew: entry_appends": ["DROP TRIGGER entry_appends"],
    "made anew: spy": ["CREATE TRIGGER spy AFTER INSERT ON entry BEGIN DELETE FROM entry; END"],
}


@pytest.mark.parametrize("said", EDITS)
def test_what_somebody_changed_between_two_runs_is_noticed_at_the_start(state: Path, said: str) -> None:
    opened(state)
    tamper(state, *EDITS[said])
    audit, number = opened(state)
    assert said in audit.changed
    assert any(said in line for line in audit.found)
    assert any("made anew" in row.get("text", "") for row in audit_reader.rows(state, 5)), (
        "the triggers are in the audit, too"
    )
    assert number >= ROWS + 1
    with pytest.raises(sqlite3.IntegrityError):
        tamper(state, "DELETE FROM entry WHERE seq = 1")
    assert not verify(state).ok


def test_an_edit_far_from_the_end_is_noticed_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_self_check, "LAST_ROWS", 4)
    monkeypatch.setattr(audit_self_check, "CHUNK_ROWS", 7)
    audit = log_on(tmp_path)
    for number in range(40):
        audit.write({"kind": "intent", "text": str(number)})
    write(audit, 41)
    audit.close()
    tamper(tmp_path, "DROP TRIGGER entry_no_update", "UPDATE entry SET body = '{}' WHERE seq = 9")
    audit = log_on(tmp_path)
    write(audit, 42)
    check = audit._file._check
    assert check is not None
    assert check.done.wait(LIMIT_S)
    assert audit.changed.endswith("; row 9 was edited")
    audit.close()


def test_a_file_that_is_moved_away_is_noticed_although_nobody_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.02)
    audit = log_on(tmp_path)
    write(audit, 1)
    (tmp_path / FILE).rename(tmp_path / "away.db")
    until_s = time.monotonic() + LIMIT_S
    while not (tmp_path / FILE).exists():
        assert time.monotonic() < until_s
    write(audit, 2)
    audit.close()
    assert any("was moved or deleted while in use" in line for line in audit.found)
    assert "row 1 of the audit was on the disk and is lost" in audit.changed


def test_a_file_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    """By an older copy of itself, say: the row goes into the file that is there now, and the rows since are named."""
    audit = log_on(tmp_path)
    write(audit, 1)
    audit.close()
    shutil.copyfile(tmp_path / FILE, tmp_path / "older.db")
    audit = log_on(tmp_path)
    write(audit, 2)
    (tmp_path / "older.db").rename(tmp_path / FILE)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"{FILE}{suffix}").unlink(missing_ok=True)
    write(audit, 3)
    audit.close()
    assert any("was moved or deleted while in use" in line for line in audit.found)
    assert "row 2 of the audit was on the disk and is lost" in audit.changed
    assert [row["text"] for row in audit_reader.rows(tmp_path)][::2] == ["→ 1 kW", "→ 3 kW"]


def test_a_damaged_file_takes_its_wal_with_it(state: Path) -> None:
    """A new file must never meet an old WAL."""
    wal = (state / f"{FILE}-wal").read_bytes()
    (state / FILE).write_bytes(b"garbage" * 4000)
    audit, _ = opened(state)
    (aside,) = (path for path in state.glob(f"{FILE}.corrupt.*") if path.name.endswith("Z-wal"))
    assert aside.read_bytes() == wal
    assert any("was damaged" in line for line in audit.found)
    assert f"rows 1 to {ROWS} of the audit were on the disk and are lost" in audit.changed


def test_an_audit_of_version_0_1_0_is_taken_as_it_is(tmp_path: Path) -> None:
    with tarfile.open(VERSIONS / "v0_1_0" / "state.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (file,) = tmp_path.rglob(FILE)
    audit, number = opened(file.parent)
    assert (audit.found, audit.changed, number) == ([], "", 68)


# ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[AuditLog]:
    log = log_on(tmp_path)
    write(log, 1)
    yield log
    log.close()


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError(), RecursionError(), KeyError("x"), SystemExit(1)])
def test_whatever_fails_the_next_row_is_written(
    audit: AuditLog, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Found: a dead thread refused every setpoint from then on, without an alarm."""

    def fails(*arguments: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "_insert", fails)
        with pytest.raises(NotDurable, match="cannot be written"):
            audit.write({"kind": "intent"}).result(LIMIT_S)
        with pytest.raises(NotDurable):
            audit.spool({"kind": "result", "text": "held"}).result(LIMIT_S)
        assert "cannot be written" in audit.error
    write(audit, 2)
    assert audit.error == ""
    assert audit.spooled == 0


def test_a_disk_that_hangs_is_said(audit: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on, insert = threading.Event(), threading.Event(), AuditLog._insert

    def hangs(self: AuditLog, con: Any, records: Any) -> Any:
        entered.set()
        go_on.wait(LIMIT_S)
        return insert(self, con, records)

    monkeypatch.setattr(module, "HANGS_S", 0.0)
    monkeypatch.setattr(AuditLog, "_insert", hangs)
    future = audit.write({"kind": "intent"})
    assert entered.wait(LIMIT_S)
    time.sleep(0.001)
    assert "the disk hangs" in audit.error
    go_on.set()
    assert future.result(LIMIT_S) == 2


def test_a_head_that_cannot_be_read_stops_no_command(state: Path) -> None:
    (state / HEAD_FILE).unlink()
    (state / HEAD_FILE).mkdir()
    audit, number = opened(state)
    assert number == ROWS + 1
    assert any(f"{HEAD_FILE} cannot be read: Is a directory" in line for line in audit.found)
    assert not verify(state).ok
