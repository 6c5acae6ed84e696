"""Keeps the reports of drills: the row, the digest that the audit holds, and the head of the audit's chain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.model.decoding import with_reasons
from dispatch.model.islanding import DrillReport
from dispatch.wording.catalogue import words
from storage.rows import to_us

COLUMNS = "ts_utc_us, started_utc_us, result, who, reason, why, audit_head, not_durable, report"


class DrillRecord(msgspec.Struct, frozen=True):
    """A drill's report as it is kept."""

    report: DrillReport
    audit_head: str  # newest row of the audit and its hash when it was kept, "17:9f86…"; empty: there is no audit
    not_durable: str = ""  # why the audit did not hold the report's digest by then; empty when it did
    number: int = 0  # by which it is asked for; 0: not on disk yet


def text_of(report: DrillReport) -> str:
    """The report as the JSON that is stored and digested."""
    return msgspec.json.encode(report).decode()


def digest(text: str) -> str:
    """SHA-256 of a report's JSON, as the audit's row says it."""
    return hashlib.sha256(text.encode()).hexdigest()


def row_of(record: DrillRecord) -> tuple[Any, ...]:
    """COLUMNS of a record."""
    r = record.report
    when = (to_us(r.ended_utc_s), to_us(r.started_utc_s))
    return (*when, r.result, r.who, r.reason, words(r.why), record.audit_head, record.not_durable, text_of(r))


def record_of(row: Sequence[Any]) -> DrillRecord:
    """The record of its id, audit_head, not_durable and report columns; sentences of older ones become reasons.

    Raises msgspec.DecodeError.
    """
    number, head, not_durable, text = row
    report = msgspec.convert(with_reasons(msgspec.json.decode(text), DrillReport), DrillReport)
    return DrillRecord(report, head, not_durable, number)
