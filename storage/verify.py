"""Verifies whether an export or a state directory is as it was written. Needs only the files.

What each check finds: the manifest's signature (another manifest), its hashes (a file changed or missing), `audit.csv`
against the chain (rows that were never commanded), the chain (a row edited, deleted, inserted, reordered), checkpoints
(an end rewritten or cut off without the key, an invalid signature), heads noted elsewhere (an end cut off with its
checkpoints, or rewritten by someone who had the key).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from storage import identity
from storage.audit_chain import Chain, check_checkpoints
from storage.audit_copies import AUDIT_CSV, MOST, check_copies
from storage.audit_format import (
    FILE,
    GENESIS,
    head_of,
    head_words,
    open_read_only,
)
from storage.audit_head import HEAD_FILE, HeadDamaged, KeptHead, kept
from storage.audit_self_check import check_heads
from storage.audit_signatures import Checkpoints, checkpoints
from storage.damage import DAMAGED
from storage.drill_check import check_drills
from storage.manifest import MANIFEST, SIGNATURE, key_of

KEY_BYTES = 32  # of a public key, Ed25519
SHOWN = 5  # names of files that the manifest lacks
LOGS = ("-journal", "-wal")  # https://sqlite.org/tempfiles.html
Head = tuple[int, bytes]  # of the chain: number and hash of its last row


class Report(msgspec.Struct, frozen=True):
    """What was looked at and what is wrong with it. `findings` empty: nothing was found to be changed."""

    files: int
    rows: int
    checkpoints: int
    head: str  # of the chain, as printed in exports
    public_key: str
    findings: tuple[str, ...]
    remarks: tuple[str, ...] = ()  # not signs of tampering, but worth knowing
    unsigned: str = ""  # why an export, though nothing was found, is not shown to be as it was written

    @property
    def ok(self) -> bool:
        """Nothing was found, and what an export holds is signed for."""
        return not self.findings and not self.unsigned


class CannotVerify(Exception):
    """There is nothing here to verify, or it cannot be read."""


def verify(directory: Path, heads: tuple[str, ...] = (), public_key: str = "") -> Report:
    """Check a directory. `heads`: from earlier exports or syslog; `public_key`: hex, what must have signed.

    Of a state directory only the audit and the reports of drills are checked; nothing else in it is signed for.

    Raises CannotVerify, and ValueError for a head or key that is none.
    """
    given, wanted_key = [head_of(words) for words in heads], _key_of(public_key)
    manifest, findings = _manifest(directory)
    files = _files(directory, manifest) if manifest is not None else []
    findings += [line for line in files if line]
    beside, not_named = ([], []) if manifest is None else _beside(directory, manifest["files"])
    findings += beside
    if not (directory / FILE).exists():
        report = _without_audit(directory, manifest, len(files), findings, given, wanted_key)
        return msgspec.structs.replace(report, remarks=tuple(not_named))
    outside, stated = list(given), (manifest or {}).get("audit")
    if stated:
        try:
            outside.append(head_of(str(stated["head"])))
            wanted_key = wanted_key or bytes.fromhex(str(stated["public_key"]))
        except (LookupError, TypeError, ValueError) as error:
            findings.append(f"{MANIFEST}: head and key of the audit cannot be read: {error!r}")
    audit = _audit(directory, outside, wanted_key, in_use=manifest is None)
    findings, remarks, unsigned = findings + audit.findings, not_named + audit.remarks, ""
    if manifest is not None:
        lines, unsigned = _signature(manifest, audit.key)
        findings += lines
        if not public_key and not unsigned:
            remarks += _unanchored(given, audit.named_from)
    seq = max(audit.chain, default=0)
    return Report(
        files=len(files),
        rows=len(audit.chain),
        checkpoints=audit.checkpoints,
        head=head_words(seq, audit.chain.get(seq, GENESIS)),
        public_key=audit.key.hex(),
        findings=tuple(findings[:MOST]),
        remarks=tuple(remarks),
        unsigned=unsigned,
    )


def site_of(directory: Path) -> str | None:
    """The UUID of the site that a state directory, a backup or an export is of; None where it does not say."""
    found = identity.read(directory)
    if found is not None:
        return found.site
    try:
        manifest, _ = _manifest(directory)
    except CannotVerify:
        return None
    site = (manifest or {}).get("site")
    uuid = site.get("uuid") if isinstance(site, dict) else None
    return uuid if isinstance(uuid, str) else None


def _key_of(words: str) -> bytes:
    """A public key as it was printed; empty of none. Raises ValueError with what was expected."""
    try:
        key = bytes.fromhex(words)
    except ValueError:
        key = b"?"
    if len(key) not in (0, KEY_BYTES):
        raise ValueError(f"{words!r}: expected a public key, {2 * KEY_BYTES} hexadecimal digits")
    return key


def _without_audit(
    directory: Path,
    manifest: dict[str, Any] | None,
    files: int,
    findings: list[str],
    given: list[Head],
    wanted_key: bytes,
) -> Report:
    """The report on an export of telemetry alone. Raises CannotVerify for a directory that is none."""
    if manifest is None:
        raise CannotVerify(f"{directory}: expected an export with {MANIFEST}, or a state directory with {FILE}")
    missing = [f"{FILE} is missing"] if manifest.get("audit") or given else []
    lines, unsigned = _signature(manifest, wanted_key)
    shown = tuple((findings + missing + lines)[:MOST])
    return Report(files, 0, 0, "", wanted_key.hex(), shown, unsigned=unsigned)


class _Audit(msgspec.Struct):
    """What the audit shows."""

    findings: list[str]
    chain: dict[int, bytes]  # hash by row
    checkpoints: int
    key: bytes  # that signs it
    remarks: list[str]
    named_from: int | None = None  # the first row that names the key


def _audit(directory: Path, outside: list[Head], wanted_key: bytes, in_use: bool) -> _Audit:
    """Check the audit, and the reports of drills and the CSV file against it. Raises CannotVerify.

    `in_use`: in a state directory, where the gateway keeps its head in a second file.
    """
    file = directory / FILE
    head, on_head = _kept_head(directory) if in_use else (None, [])  # before the rows: they only grow
    try:
        with closing(open_read_only(file)) as con:
            con.execute("BEGIN")  # one state of the file, whoever appends meanwhile
            chain = Chain()
            with checkpoints(con) as signed:
                chain.read(con)
                audit = _rows(signed, chain, outside, wanted_key)
            lines, notes = check_drills(directory, chain.reports, audit.chain)
            audit.findings += lines
            audit.remarks += notes
            lines, audit.key, audit.named_from = _named_keys(chain, audit.key)
            audit.findings += lines + check_copies(directory, con) + on_head
            if in_use and not on_head:
                _compare_head(head, audit)
            return audit
    except (sqlite3.Error, *DAMAGED) as error:
        raise CannotVerify(f"{file}: {error}") from None


def _rows(signed: Checkpoints, chain: Chain, outside: list[Head], wanted_key: bytes) -> _Audit:
    """What the rows and the signatures under them show."""
    checked, key, lines = check_checkpoints(signed, chain.hashes, wanted_key)
    findings = chain.findings + lines + list(check_heads(chain.hashes, outside))
    remarks = [
        f"row {seq}: {what} has no result; the gateway ended in between" for seq, what in chain.open_intents.items()
    ]
    unsigned = max(chain.hashes, default=0) - max(checked, default=0)
    if unsigned > 0:  # fewer: a finding, the tail was cut off
        which = "the last row is" if unsigned == 1 else f"the last {unsigned} rows are"
        remarks.append(f"{which} not signed yet")
    return _Audit(findings, chain.hashes, len(checked), key, remarks[:MOST])


def _kept_head(directory: Path) -> tuple[KeptHead | None, list[str]]:
    """The head that the gateway keeps beside the audit, and findings on that file."""
    try:
        return kept(directory), []
    except HeadDamaged as error:
        return None, [str(error)]
    except OSError as error:
        return None, [f"{HEAD_FILE}: {error.strerror}"]


def _compare_head(head: KeptHead | None, audit: _Audit) -> None:
    """Say whether the chain still has the row that was on the disk last."""
    if head is None:
        if audit.chain:
            audit.remarks.append(f"there is no {HEAD_FILE}: rows lost from the end of the audit would not show")
        return
    if audit.key not in (b"", head.public_key):
        audit.findings.append(f"{HEAD_FILE} was signed with another key than the audit")
    if head.seq not in audit.chain:
        ends = max(audit.chain, default=0)
        audit.findings.append(f"row {head.seq} was on the disk, but the chain ends at row {ends}: rows are lost")
    elif audit.chain[head.seq] != head.hash:
        audit.findings.append(f"row {head.seq} is not the one that {HEAD_FILE} knows: the chain was rewritten")


def _manifest(directory: Path) -> tuple[dict[str, Any] | None, list[str]]:
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        lost = (directory / AUDIT_CSV).exists()  # which only an export has
        return None, [f"{MANIFEST} is missing: nothing shows that the other files are as they were written"] * lost
    except (OSError, ValueError, RecursionError) as error:
        raise CannotVerify(f"{directory / MANIFEST}: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise CannotVerify(f"{directory / MANIFEST}: expected the manifest of an export")
    return manifest, []


def _signature(manifest: dict[str, Any], key: bytes) -> tuple[list[str], str]:
    """Findings on the manifest's signature, which must be of `key`, and why the manifest is not signed for."""
    try:
        signer = key_of(manifest)
    except ValueError as error:
        return [str(error)], ""
    if signer is None:
        stated = manifest.get(SIGNATURE)
        why = f" ({stated['unsigned']})" if isinstance(stated, dict) and "unsigned" in stated else ""
        return [], f"{MANIFEST} carries no signature{why}: anybody can have changed it with the files that it names"
    if not key:
        return [], f"{MANIFEST} is signed with {signer.hex()}, but no audit here names that key: compare it with --key"
    if signer != key:
        return [f"{MANIFEST} was signed with another key than the audit, {signer.hex()[:16]}…"], ""
    return [], ""


def _unanchored(given: list[Head], named_from: int | None) -> list[str]:
    """What a key that came with the export does not prove. A head proves the key that the chain names up to it."""
    if named_from is not None and any(seq >= named_from for seq, _ in given):
        return []
    return [
        "the key came with the export: somebody who made all of it anew, with another key, would not show; "
        "compare the key with the site's, --key HEX"
        + ("" if named_from is None else ", or give a --head that left the machine before")
    ]


def _named_keys(chain: Chain, key: bytes) -> tuple[list[str], bytes, int | None]:
    """Findings on the keys that the chain itself names, at each start of a gateway; the key; the first such row."""
    findings, first = [], None
    for seq, named in chain.named_keys:
        try:
            key = key or _key_of(named)
        except ValueError:
            findings.append(f"row {seq} names a key that is none")
            continue
        first = first or seq
        if named != key.hex():
            findings.append(f"row {seq} names another key than the one that signs, {named[:16]}…")
    return findings, key, first


def _files(directory: Path, manifest: dict[str, Any]) -> list[str]:
    """One line per file of the manifest: empty when its bytes are those that were written."""
    lines = []
    for name, stated in manifest["files"].items():
        path = directory / Path(name).name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError) as error:  # ValueError: no name of a file
            lines.append(f"{name}: {error}" if isinstance(error, ValueError) else f"{name}: {error.strerror}")
            continue
        expected = stated.get("sha256") if isinstance(stated, dict) else None
        lines.append("" if digest == expected else f"{name}: its SHA-256 is not that of the manifest")
    return lines


def _beside(directory: Path, named: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Findings on files that SQLite would take into a database of the manifest; a remark on others that it lacks."""
    found = sorted(path.name for path in directory.iterdir() if path.name not in {MANIFEST, *named})
    logs = [name for name in found if _log_of(name) in named and (directory / name).stat().st_size]
    findings = [f"{name} is not of the manifest: whoever opens {_log_of(name)} reads what is in it" for name in logs]
    others = [name for name in found if _log_of(name) not in named and name.removesuffix("-shm") not in named]
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    listed = ", ".join(name.encode(errors="replace").decode() for name in others[:SHOWN]) + more
    return findings, [f"not in the manifest, so not verified: {listed}"] if others else []


def _log_of(name: str) -> str:
    """The database to which a journal or write-ahead log belongs by its name; empty of another file."""
    return next((name.removesuffix(end) for end in LOGS if name.endswith(end)), "")
