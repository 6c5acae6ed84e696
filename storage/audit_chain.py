"""Checks the chain of an audit: its rows one by one, and the signatures under its heads."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

import msgspec

from storage.audit_format import GENESIS, canonical, rows_words
from storage.audit_signatures import Checkpoints
from storage.damage import DAMAGED

# the fields of the rows of this version, in canonical order; a row with others is read in the slower way
_FIELDS = (
    *("command", "effect", "kind", "mono_ms", "of", "order", "order_kind", "outcome", "pid", "reason", "run"),
    *("t", "target", "text", "uid", "value", "who"),
)
_Known: Any = msgspec.defstruct(
    "_Known",
    [(name, Any, msgspec.UNSET) for name in _FIELDS],
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
)
_read_known = msgspec.json.Decoder(_Known).decode
_read = msgspec.json.Decoder().decode
_spell = msgspec.json.Encoder(order="deterministic").encode
_sha256 = hashlib.sha256

# the body as bytes, as it is hashed: a text that is no UTF-8 is a finding on its row
_ROWS = "SELECT seq, prev, hash, CAST(body AS BLOB) FROM entry ORDER BY seq"


class Chain:
    """What the rows of an audit show."""

    def __init__(self) -> None:
        self.hashes: dict[int, bytes] = {}  # by row
        self.findings: list[str] = []
        self.open_intents: dict[int, str] = {}  # row -> command
        self.named_keys: list[tuple[int, str]] = []  # row, the public key that it names, hex
        self.reports: set[str] = set()  # SHA-256 of the reports of drills, hex

    def read(self, con: sqlite3.Connection) -> None:
        """Check all rows. Raises sqlite3.Error."""
        hashes, check_body = self.hashes, self._check_body
        expected_seq, prev = 1, GENESIS
        for seq, stated_prev, stated, body in con.execute(_ROWS):
            if seq != expected_seq or stated_prev != prev:
                self._note_break(seq, expected_seq)
            try:
                digest = _sha256(b"\x00" + seq.to_bytes(8, "big") + stated_prev + body).digest()
                check_body(seq, body)
            except DAMAGED:  # no bytes at all where a hash or the text was
                digest = b""
            if digest != stated or not digest:
                self._note_edited(seq, digest)
                stated = stated if isinstance(stated, bytes) else b""
            expected_seq, prev = seq + 1, stated
            hashes[seq] = stated

    def _note_edited(self, seq: int, digest: bytes) -> None:
        why = "its hash does not match its text" if digest else "its text or a hash is missing"
        self.findings.append(f"row {seq} was edited: {why}")

    def _note_break(self, seq: int, expected_seq: int) -> None:
        if seq != expected_seq:
            self.findings.append(rows_words(expected_seq, seq - 1, "is missing", "are missing"))
        else:
            line = f"row {seq} does not follow row {seq - 1}: the chain is broken (reordered or rewritten)"
            self.findings.append(line)

    def _check_body(self, seq: int, text: bytes) -> None:
        """Check that a row's body is canonical JSON, and that a result belongs to an intent."""
        try:
            known = _read_known(text)
        except (ValueError, RecursionError):  # msgspec.DecodeError is one
            self._check_other(seq, text)
            return
        if _spell(known) != text:
            self._check_other(seq, text)
        elif known.kind == "intent":
            self.open_intents[seq] = str("" if known.command is msgspec.UNSET else known.command)
        elif known.kind == "result":
            self._close_intent(seq, known.of)
        else:
            self._check_other(seq, text)

    def _check_other(self, seq: int, text: bytes) -> None:
        """The same of a row of any version and kind."""
        try:
            body = canonical_body(text)
        except (ValueError, RecursionError):
            self.findings.append(f"row {seq} is not JSON")
            return
        if body is None:
            self.findings.append(f"row {seq} is not in canonical form")
            return
        kind = body.get("kind")
        if kind == "found":
            self.findings.append(f"row {seq} says what a gateway found at its start: {body.get('text', '')}")
        elif kind == "intent":
            self.open_intents[seq] = str(body.get("command", ""))
        elif kind == "result":
            self._close_intent(seq, body.get("of"))
        elif kind == "start" and body.get("public_key") is not None:
            self.named_keys.append((seq, str(body["public_key"])))
        if "report_sha256" in body:
            self.reports.add(str(body["report_sha256"]))

    def _close_intent(self, seq: int, of: Any) -> None:
        """Take the intent of a result from the open ones."""
        if of is None or of is msgspec.UNSET:
            return
        if not isinstance(of, int) or self.open_intents.pop(of, None) is None:
            self.findings.append(f"row {seq} is the result of row {of}, which is no open intent")


def canonical_body(text: bytes) -> dict[str, Any] | None:
    """A body, if its text is the canonical spelling of it. Raises ValueError, RecursionError for what is no JSON.

    msgspec, ten times as fast, spells all of today's rows in the same way; what it spells otherwise, as some floats, is
    compared with Python's own.
    """
    try:
        quick = _read(text)
        if isinstance(quick, dict) and _spell(quick) == text:
            return quick
    except (ValueError, RecursionError):
        pass
    body = json.loads(text.decode())
    return body if isinstance(body, dict) and canonical(body).encode() == text else None


def check_checkpoints(
    checkpoints: Checkpoints, hashes: dict[int, bytes], wanted_key: bytes
) -> tuple[list[int], bytes, list[str]]:
    """Rows that are signed, the key, and what is wrong with the signatures."""
    findings, checked, first_key = [], [], wanted_key
    for (seq, head, key, _), holds in checkpoints.results():
        first_key = first_key or key
        if key not in (first_key, b""):
            findings.append(f"checkpoint {seq} was signed with another key, {key.hex()[:16]}…")
        if seq not in hashes:
            findings.append(f"checkpoint {seq} signs a row that is not there: the tail was cut off")
        elif hashes[seq] != head:
            findings.append(f"checkpoint {seq} signs another hash than row {seq} has: rewritten up to there")
        if holds:
            checked.append(seq)
        else:
            findings.append(f"checkpoint {seq}: the signature does not hold")
    return checked, first_key, findings
