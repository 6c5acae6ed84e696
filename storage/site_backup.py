"""Copies the records of a site into a new directory, also while its gateway runs, and checks the copy.

Databases are copied by SQLite's backup API, a few pages at a time, within one read transaction: the copy is of one
moment, nobody who writes ever waits for it, and no write begins it anew. The audit is copied after the telemetry, so it
holds every row that the telemetry refers to. The directory gets its name last, once all of it is on the disk and
checked: what was interrupted is called NAME.partial, which no restore takes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from storage import audit_format, audit_head, durable_file, identity, proofs, schema
from storage.damage import DAMAGED
from storage.disk_room import room_for
from storage.manifest import MANIFEST, signed_with
from storage.signing_key import CREDENTIAL_HINT, KEY_FILE, LENGTH, signing_key
from storage.verify import CannotVerify, verify

# what GPUs and nodes were limited to before they were capped; the gateway writes it
LIMITS = ("gpus.json", "bmc-limits.json")
SMALL = (KEY_FILE, audit_head.HEAD_FILE, identity.IDENTITY, identity.INCARNATION, *LIMITS, proofs.NAME)
DATABASES = (schema.FILE, audit_format.FILE)
FILES = (*DATABASES, *SMALL)
BESIDE = re.compile(rf"{re.escape(schema.FILE)}\.(newer|meanwhile|salvaged)\.[A-Za-z0-9-]+(?<!-wal|-shm)(?<!-journal)")
PASSING = ("-wal", "-shm", "-journal", "gateway.lock", "ballast")  # of the running gateway: in no backup

UNFINISHED = ".partial"
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5)
NO_KEY = f"{CREDENTIAL_HINT}; else there are no records of a site there"
STEP_PAGES = 100  # copied in one go: 400 KiB, about a millisecond from memory
PAUSE_S = 0.004  # after each, at least; and at least as long as it took
SYNC_BYTES = 16 << 20  # handed to the disk so often: no flood of it at the end
CHUNK = 1 << 20  # bytes hashed in one go
BUSY_S = 2.0

Progress = Callable[[str, float], None]  # name of the file, share of it that is copied


class BackupError(Exception):
    """No backup was made; the text says why and what to do."""


class Backup(msgspec.Struct, frozen=True):
    """A backup that was made, is on the disk, and was checked."""

    directory: str
    seconds: float
    size_bytes: int
    manifest: dict[str, Any]
    findings: tuple[str, ...]  # what was wrong with the audit before it was copied
    left_out: tuple[str, ...]  # names in the state directory that are not in it


def back_up(state_dir: Path, destination: Path, progress: Progress = lambda *_: None) -> Backup:
    """Copy the records of a state directory into a new directory; on the disk when this returns.

    Raises BackupError, and OSError for what the disk refuses.
    """
    began_s = time.monotonic()
    if destination.exists() or destination.is_symlink():
        raise BackupError(f"{destination} exists: name a new directory")
    key = _key(state_dir)
    _room(state_dir, destination.parent)
    with _being_made(destination) as making:
        files = _copy_all(state_dir, making, key, progress)
        manifest = signed_with(
            {
                "format": 1,
                "kind": "backup",
                "made": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                **_site(making),
                "files": files,
                "audit": _audit(making),
            },
            key,
        )
        (making / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        durable_file.sync(making / MANIFEST)
        findings = _findings(making, key.public_key().public_bytes_raw().hex())
        durable_file.sync_directory(making)
        durable_file.put_in_place(making, destination)
    size = sum(file["bytes"] for file in files.values())
    took_s = round(time.monotonic() - began_s, 1)
    return Backup(str(destination), took_s, size, manifest, findings, _left_out(state_dir, files))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hex; with a pause after each part. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            began_s = time.monotonic()
            digest.update(part)
            time.sleep(time.monotonic() - began_s)
    return digest.hexdigest()


def beside(directory: Path) -> list[str]:
    """Names of telemetry files that the gateway merges or takes back, see `merging.py` and `rollback.py`."""
    return sorted(path.name for path in directory.iterdir() if BESIDE.fullmatch(path.name))


# ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _key(state_dir: Path) -> Any:
    """The site's key. It is never made here. Raises BackupError."""
    path = state_dir / KEY_FILE
    try:
        if os.environ.get(CREDENTIALS) and (Path(os.environ[CREDENTIALS]) / KEY_FILE).exists():
            return signing_key(state_dir)
        length = path.stat().st_size
        if length == LENGTH:
            return signing_key(state_dir)
    except FileNotFoundError as error:
        raise BackupError(f"{path}: {error.strerror}; {NO_KEY}") from None
    except PermissionError as error:
        why = error.strerror if error.errno == errno.EPERM else "back up as the gateway's user or root"
        raise BackupError(f"{path} cannot be read: {why}") from None
    except OSError as error:
        raise BackupError(f"{error.filename or path}: {error.strerror}") from None
    raise BackupError(f"{path} holds {length} bytes, expected {LENGTH}: start the gateway once, it makes another key")


def _room(state_dir: Path, parent: Path) -> None:
    """Raises BackupError if the copy does not fit."""
    needed = 0
    for name in (*FILES, *beside(state_dir)):
        for suffix in ("", "-wal"):
            path = state_dir / f"{name}{suffix}"
            needed += path.stat().st_size if path.exists() else 0
    if not parent.is_dir():
        raise BackupError(f"{parent} is not a directory: make it, or name another place")
    room = room_for(needed, parent)
    if not room.enough:
        raise BackupError(f"{parent}: the backup does not fit: {room}: free space, or name another place")


@contextmanager
def _being_made(destination: Path) -> Iterator[Path]:
    """A directory in which to make it, deleted unless it has got its name by the end. Raises BackupError.

    One that is there already counts only if it is ours: it gets the key, and what is in it is deleted.
    """
    making = destination.with_name(f"{destination.name}{UNFINISHED}")
    with suppress(FileExistsError):
        making.mkdir(mode=0o700)
    try:
        handle = os.open(making, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError:
        raise BackupError(f"{making} is no directory of a backup: remove it, or name another place") from None
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise BackupError(f"{making} belongs to another user: remove it, or name another place")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in making.iterdir():  # by one that was killed
            left.unlink()
        making.chmod(0o700)
        try:
            yield making
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    except BlockingIOError:
        raise BackupError(f"another backup is writing {making}") from None
    finally:
        os.close(handle)


def _copy_all(state_dir: Path, making: Path, key: Any, progress: Progress) -> dict[str, dict[str, Any]]:
    """Every file that is there, with its size, hash and permissions."""
    also = beside(state_dir)  # before the record: one that is merged and deleted meanwhile is whole in that
    for name in (*SMALL, *also, *DATABASES):
        source, target = state_dir / name, making / name
        if not source.exists():
            continue
        try:
            if name in also:
                if not _copied_beside(source, target, partial(progress, name)):
                    continue
            elif name in DATABASES:
                _copy_database(source, target, partial(progress, name))
            else:
                target.write_bytes(source.read_bytes())
            found = source.stat()
        except FileNotFoundError:
            raise BackupError(f"{source} was moved or deleted meanwhile: run it again") from None
        target.chmod(found.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(target, found.st_uid, found.st_gid)
    _sign_head(making, key)
    files = {}
    for path in sorted(making.iterdir()):
        durable_file.sync(path)
        found = path.stat()
        files[path.name] = {"bytes": found.st_size, "sha256": sha256(path), "mode": f"{found.st_mode & 0o777:04o}"}
    return files


def _copied_beside(source: Path, target: Path, progress: Callable[[float], None]) -> bool:
    """Copy a file that lies beside the record; whether it could be. One that is damaged keeps nobody from a backup."""
    with suppress(BackupError, FileNotFoundError):
        _copy_database(source, target, progress)
        return True
    target.unlink(missing_ok=True)
    return False


def _copy_database(source: Path, target: Path, progress: Callable[[float], None]) -> None:
    """One state of a database, and nothing beside it. Raises BackupError."""
    try:
        inode = source.stat().st_ino
        # audit_format's: it opens also a file at rest in a directory that we cannot write
        with (
            closing(audit_format.open_read_only(source)) as con,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            copy.execute("PRAGMA synchronous = OFF")  # put on the disk below, before it counts
            copy.execute("PRAGMA journal_mode = OFF")
            con.execute("BEGIN")  # without it a write by anybody else would begin the copy anew
            con.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            con.backup(copy, pages=STEP_PAGES, progress=_paced(target, progress))
            copy.execute("PRAGMA journal_mode = DELETE")
            finding = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise BackupError(f"{source} cannot be copied: {error}") from None
    if finding != "ok":
        raise BackupError(f"{source} is damaged: {str(finding).strip()}; no backup was made")
    if source.stat().st_ino != inode:
        raise BackupError(f"{source} was replaced meanwhile: run it again")


def _paced(target: Path, progress: Callable[[float], None]) -> Callable[[int, int, int], None]:
    """Called after each step: rests as long as the step took, and has the disk keep up."""
    last_s, unsynced = time.monotonic(), 0

    def rest(_status: int, remaining: int, total: int) -> None:
        nonlocal last_s, unsynced
        unsynced += STEP_PAGES * 4096
        if unsynced > SYNC_BYTES:
            unsynced = 0
            durable_file.sync(target)
        progress(1 - remaining / total if total else 1.0)
        time.sleep(max(PAUSE_S, time.monotonic() - last_s))
        last_s = time.monotonic()

    return rest


def _sign_head(making: Path, key: Any) -> None:
    """Bring the kept head to the end of the chain that was copied, unless it says that rows are lost or changed."""
    path = making / audit_format.FILE
    if not path.exists():
        return
    head_file = making / audit_head.HEAD_FILE
    mode = head_file.stat().st_mode & 0o777 if head_file.exists() else 0o640
    try:
        kept = audit_head.kept(making)
        with closing(audit_format.open_read_only(path)) as con:
            seq, head = audit_format.last(con)
            known = kept is None or con.execute("SELECT hash FROM entry WHERE seq = ?", (kept.seq,)).fetchone()
    except (audit_head.HeadDamaged, sqlite3.Error, *DAMAGED):
        return  # it stays as it is, and shows
    if seq and (kept is None or kept.seq == 0 or known == (kept.hash,)):
        audit_head.keep(making, seq, head, key)
        head_file.chmod(mode)


def _site(making: Path) -> dict[str, Any]:
    found = identity.read(making)
    return {"site": found.site if found else "", "incarnation": found.incarnation if found else ""}


def _audit(making: Path) -> dict[str, Any] | None:
    """The head of the chain and the key that signed it last; None where there is no audit."""
    path = making / audit_format.FILE
    if not path.exists():
        return None
    try:
        with closing(audit_format.open_read_only(path)) as con:
            seq, head = audit_format.last(con)
            row = con.execute("SELECT seq, public_key FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()
            words = audit_format.head_words(seq, head)
    except (sqlite3.Error, *DAMAGED) as error:
        raise BackupError(f"{path.name} is damaged: {error}; no backup was made") from None
    public = "" if row is None else bytes(row[1]).hex()
    return {"rows": seq, "head": words, "signed_up_to": 0 if row is None else row[0], "public_key": public}


def _findings(making: Path, public_key: str) -> tuple[str, ...]:
    """What `skerry verify` finds on it. Raises BackupError if it is not as it was written just now."""
    try:
        report = verify(making, public_key=public_key)
    except (CannotVerify, ValueError) as error:
        raise BackupError(f"the copy cannot be verified: {error}; no backup was made") from None
    if report.unsigned:
        raise BackupError(f"the copy is not signed: {report.unsigned}; no backup was made")
    return report.findings


def _left_out(state_dir: Path, files: Container[str]) -> tuple[str, ...]:
    """Names in the state directory that belong to no running gateway and are not in the backup."""
    names = sorted(entry.name for entry in state_dir.iterdir())
    return tuple(name for name in names if name not in files and not name.endswith(PASSING))
