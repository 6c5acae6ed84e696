"""Puts a backup in the place of a site's records. The gateway must not run; whoever calls keeps it from starting.

What was there before stays, in a directory of its own. The audit that is restored gets a row that says which backup it
is from, where its chain ends, and which rows of the audit before are not in it: a restore neither looks like rows lost
nor hides that some are.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
import uuid
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from storage import audit_head, durable_file
from storage.audit_file import AuditFile
from storage.audit_format import FILE as AUDIT
from storage.audit_format import head_of, head_words, last, open_read_only, rows_words
from storage.damage import DAMAGED
from storage.manifest import MANIFEST, key_of
from storage.signing_key import KEY_FILE, LENGTH
from storage.site_backup import BESIDE, CREDENTIALS, DATABASES, FILES, NO_KEY, SMALL, UNFINISHED, beside, sha256

BEFORE = "before-restore-"  # with the time: what was there
MAKING = "restoring"
KEPT = "kept"  # file in it: names of the directories with what was there, for a restore that begins anew
BUSY_S = 5.0
MOST_BYTES = 1 << 20  # of a manifest
SUFFIXES = ("", "-wal", "-shm", "-journal")


class RestoreError(Exception):
    """Nothing was restored, unless the text says so; it says why and what to do."""


class Restored(msgspec.Struct, frozen=True):
    """What was done."""

    directory: str
    size_bytes: int
    made: str  # when the backup was made, ISO 8601
    kept: str  # the directory with what was there before; empty: nothing was
    text: str  # of the row of the audit that says it


def restore(backup: Path, state_dir: Path, who: str, replace: bool) -> Restored:
    """Put a backup into a state directory; on the disk when this returns.

    `who`: for the audit. `replace`: what is there already is moved aside. Raises RestoreError, and OSError for what
    the disk refuses.
    """
    manifest = checked(backup)
    absent = [path for path in (state_dir, *state_dir.parents) if not path.exists()]
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        return _restored(backup, manifest, state_dir, who, replace)
    except BaseException:
        for path in absent:  # nothing was restored: it leaves no empty directory
            with suppress(OSError):
                path.rmdir()
        raise


def _restored(backup: Path, manifest: dict[str, Any], state_dir: Path, who: str, replace: bool) -> Restored:
    databases = (*DATABASES, *beside(state_dir))
    own = (*(f"{name}{suffix}" for name in databases for suffix in SUFFIXES), *SMALL)
    there = [name for name in own if (state_dir / name).exists()]
    if there and not replace:
        raise RestoreError(f"{state_dir} has records already: with --replace they are moved aside, not deleted")
    making = state_dir / MAKING
    earlier = _earlier(making)
    place, before = max(((place, _audit_end(place)) for place in (state_dir, *earlier)), key=_rows_of)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = _unused(state_dir / f"{BEFORE}{stamp}") if there else None
    places = [*earlier, *([] if kept is None else [kept])]
    try:
        _begin(making, places)
        for name, stated in manifest["files"].items():
            _copy(backup / name, making / name, stated)
        parted = before is not None and _parted(making, place, before, manifest)
        text = _told(manifest, before, parted, places)
        if manifest["audit"]:
            _put_on_record(making, who, text, manifest, before)
        _keep_owner(making, state_dir)
    except BaseException:
        if not earlier:
            shutil.rmtree(making, ignore_errors=True)
        raise
    _swap(state_dir, making, kept, there)
    shutil.rmtree(making, ignore_errors=True)
    size = sum(stated["bytes"] for stated in manifest["files"].values())
    return Restored(str(state_dir), size, manifest["made"], "" if kept is None else str(kept), text)


def checked(backup: Path) -> dict[str, Any]:
    """The manifest of a backup whose files are those that were written. Raises RestoreError."""
    if backup.name.endswith(UNFINISHED):
        raise RestoreError(f"{backup} was interrupted before it was whole: take an earlier one")
    manifest = _manifest(backup / MANIFEST)
    for name, stated in manifest["files"].items():
        path = backup / name
        try:
            found = sha256(path)
        except OSError as error:
            raise RestoreError(f"{path}: {error.strerror}") from None
        if found != stated["sha256"]:
            raise RestoreError(
                f"{path} was changed after the backup was made: its SHA-256 is not that of {MANIFEST}; "
                "take another backup"
            )
    return manifest


# ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _manifest(path: Path) -> dict[str, Any]:
    """A manifest that is signed with the key of its backup. Raises RestoreError."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MOST_BYTES))
        files, signer = found["files"], key_of(found)
        kind, number = found.get("kind", "export"), found["format"]
        if kind != "backup" or number != 1:
            raise ValueError(f"it is of an {kind}, format {number!r}; expected what `skerry backup` wrote, format 1")
        if not (all(name in FILES or BESIDE.fullmatch(name) for name in files) and set(files) & set(DATABASES)):
            raise ValueError(f"files {', '.join(map(str, files))}")
        for stated in files.values():
            if not 0 <= int(stated["mode"], 8) <= 0o777 or int(stated["bytes"]) < 0 or len(stated["sha256"]) != 64:
                raise ValueError("size, mode or hash of a file")
        if found["audit"]:
            head_of(found["audit"]["head"])
        datetime.fromisoformat(found["made"])
    except FileNotFoundError:
        raise RestoreError(f"{path.parent} is no backup: it has no {MANIFEST}") from None
    except OSError as error:
        raise RestoreError(f"{path}: {error.strerror}") from None
    except DAMAGED as error:
        raise RestoreError(f"{path} is not the manifest of a backup: {error or repr(error)}") from None
    if signer is None or signer != _public(path.parent, KEY_FILE in files):
        raise RestoreError(
            f"{path} is not signed with the key of the site: it or the key was changed after the backup was made, "
            "or it is of another site"
        )
    return dict(found)


def _public(backup: Path, has_key: bool) -> bytes:
    """The public half of the key that a backup holds, else of that which systemd hands over. Raises RestoreError."""
    path = backup / KEY_FILE
    if not has_key and not os.environ.get(CREDENTIALS):
        raise RestoreError(f"{backup} holds no {KEY_FILE}, the site's key was a credential: {NO_KEY}")
    try:
        with (path if has_key else Path(os.environ[CREDENTIALS]) / KEY_FILE).open("rb") as file:
            raw = file.read(LENGTH + 1)
    except OSError as error:
        raise RestoreError(f"{error.filename}: {error.strerror}") from None
    if len(raw) != LENGTH:
        raise RestoreError(f"{path} is not a key: expected {LENGTH} bytes")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()


def _earlier(making: Path) -> list[Path]:
    """Where a restore that was interrupted while it moved files has kept what was there."""
    try:
        names = (making / KEPT).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []
    return [place for name in names if (place := making.parent / Path(name).name).is_dir()]


def _begin(making: Path, places: list[Path]) -> None:
    """Begin to make the files anew, and note where what was there will be kept. Raises RestoreError, OSError."""
    if making.is_symlink():
        raise RestoreError(f"{making} is a link: remove it")
    making.mkdir(mode=0o700, exist_ok=True)
    for left in making.iterdir():  # by one that was interrupted
        if left.name != KEPT:
            left.unlink()
    durable_file.write(making / KEPT, "\n".join(path.name for path in places).encode())


def _rows_of(found: tuple[Path, tuple[int, bytes] | None]) -> int:
    return 0 if found[1] is None else found[1][0]


def _parted(making: Path, place: Path, before: tuple[int, bytes], manifest: dict[str, Any]) -> bool:
    """Whether the audit in `place` and that of the backup have another row under the same number."""
    if not manifest["audit"]:
        return False
    end = head_of(manifest["audit"]["head"])
    other, (seq, stated) = (making, before) if before[0] <= end[0] else (place, end)
    try:
        with closing(open_read_only(other / AUDIT)) as con:
            row = con.execute("SELECT hash FROM entry WHERE seq = ?", (seq,)).fetchone()
    except (sqlite3.Error, OSError, *DAMAGED):
        return False
    return row is not None and row[0] != stated


def _audit_end(state_dir: Path) -> tuple[int, bytes] | None:
    """The last row known of the audit that is in the directory, by itself or by its kept head; None of none."""
    found: list[tuple[int, bytes]] = []
    try:
        head = audit_head.kept(state_dir)
        found += [] if head is None else [(head.seq, head.hash)]
    except (audit_head.HeadDamaged, OSError):
        pass  # the audit itself may say
    try:
        with closing(open_read_only(state_dir / AUDIT)) as con:
            found.append(last(con))
    except (sqlite3.Error, OSError, *DAMAGED):
        pass  # damaged or not there: what may have led to the restore
    found = [end for end in found if end[0]]
    return max(found) if found else None


def _told(manifest: dict[str, Any], before: tuple[int, bytes] | None, parted: bool, places: list[Path]) -> str:
    """What the row of the audit says. `parted`: see `_parted`; `places`: where what was there is kept."""
    seq, head = head_of(manifest["audit"]["head"]) if manifest["audit"] else (0, b"")
    text = f"restored from the backup of {manifest['made']}, whose audit ends with row {seq}"
    if not places:
        return f"{text}; the state directory was empty"
    where = f"what was there is kept in {', '.join(map(str, places))}"
    if before is None:
        return f"{text}; the audit that was there could not be read; {where}"
    if before == (seq, head):
        return f"{text}, as did the one that was there; {where}"
    if parted:
        both = min(before[0], seq)
        return f"{text}; the audit that was there, of {before[0]} rows, has another row {both} than this one; {where}"
    if before[0] > seq:
        of = "of the audit that was there"
        lost = rows_words(seq + 1, before[0], f"{of} is not in this one", f"{of} are not in this one")
        return f"{text}; {lost}; {where}"
    return f"{text}; the audit that was there ended with row {before[0]}; {where}"


def _put_on_record(
    making: Path, who: str, text: str, manifest: dict[str, Any], before: tuple[int, bytes] | None
) -> None:
    """Add the row that tells of the restore, signed. Raises RestoreError."""
    t = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    stamp = {"t": t, "mono_ms": round(time.monotonic() * 1000), "run": f"restore/{os.getpid()}"}
    row = {
        "kind": "restored",
        "who": who,
        "text": text,
        "backup_made": manifest["made"],
        "backup_head": manifest["audit"]["head"],
        "head_before": "" if before is None else head_words(*before),
    }
    audit = AuditFile(making)
    try:
        con = audit.ensure_open()
        audit.append(con, [{**stamp, **told} for told in (*audit.due, row)])  # what the backup's own audit lacks first
        audit.keep_head()
        audit.sign()
    except sqlite3.Error as error:
        raise RestoreError(f"the audit of the backup cannot be continued: {error}; nothing was restored") from None
    finally:
        audit.abandon()
    for name in DATABASES:
        if (making / name).exists():
            _without_wal(making / name)


def _without_wal(path: Path) -> None:
    """Have all of a database in its file. Raises RestoreError."""
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as con:
        if con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise RestoreError(f"{path} is in use by another program; nothing was restored")


def _copy(source: Path, target: Path, stated: dict[str, Any]) -> None:
    """One file, with its permissions, checked against the manifest. Raises RestoreError."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:  # which names the source, whichever of the two it is about
        where = target.parent.parent
        raise RestoreError(f"{source} cannot be copied to {where}: {error.strerror}; nothing was restored") from None
    if sha256(target) != stated["sha256"]:
        raise RestoreError(f"{source} was read differently twice: check the disk; nothing was restored")
    target.chmod(int(stated["mode"], 8))


def _keep_owner(making: Path, state_dir: Path) -> None:
    """Root restores for the user who owns the state directory. All files onto the disk."""
    owner = state_dir.stat()
    for path in making.iterdir():
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
        durable_file.sync(path)


def _swap(state_dir: Path, making: Path, kept: Path | None, there: list[str]) -> None:
    """Move what was there aside, and what was made into its place. One that is interrupted is run again.

    WAL first: a file must never meet the WAL of another. Raises OSError.
    """
    if kept is not None:
        kept.mkdir(mode=0o700)
        for name in sorted(there, key=lambda name: not name.endswith(("-wal", "-shm", "-journal"))):
            if (state_dir / name).exists():
                (state_dir / name).rename(kept / name)
        durable_file.sync_directory(kept)
    for path in sorted(making.iterdir()):
        if path.name != KEPT and not path.name.endswith(("-wal", "-shm", ".new")):
            path.rename(state_dir / path.name)
    durable_file.sync_directory(state_dir)


def _unused(path: Path) -> Path:
    """A name that nothing has yet."""
    return path if not path.exists() else path.with_name(f"{path.name}-{uuid.uuid4().hex[:6]}")
