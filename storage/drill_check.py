"""Checks the reports of drills in a record or an export against the audit beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from storage.audit_format import head_of, open_read_only
from storage.audit_self_check import check_heads
from storage.drills import digest
from storage.schema import EXPORT_FILE, FILE

# file, its table of reports, and the columns of number, audit_head, not_durable and report
REPORTS = ((EXPORT_FILE, "drills", "number"), (FILE, "drill", "id"))


def check_drills(directory: Path, said: set[str], chain: dict[int, bytes]) -> tuple[list[str], list[str]]:
    """Findings and remarks on the reports of drills beside the audit: edited, or of a chain that is not this one.

    Args:
        directory: a state directory or an export.
        said: the digests that the audit holds, hex.
        chain: hash by row.
    """
    found = [reports for reports in REPORTS if (directory / reports[0]).exists()]
    if not found:
        return [], []
    file, table, number = found[0]
    findings: list[str] = []
    remarks: list[str] = []
    try:
        with closing(open_read_only(directory / file)) as record:
            for report in _reports(record, table, number):
                _check_report(report, said, chain, findings, remarks)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        findings.append(f"{file} cannot be read: {error}")
    return findings, remarks


def _reports(record: sqlite3.Connection, table: str, number: str) -> list[tuple[int, str, str, str]]:
    """Number, audit_head, not_durable and report of each drill."""
    if record.execute("SELECT count(*) FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0] == 0:
        return []
    return record.execute(f"SELECT {number}, audit_head, not_durable, report FROM {table}").fetchall()


def _check_report(
    report: tuple[int, str, str, str],
    said: set[str],
    chain: dict[int, bytes],
    findings: list[str],
    remarks: list[str],
) -> None:
    """Add findings and remarks on one report. `said`: the digests that the audit holds."""
    drill, head, late, text = report
    if digest(text) not in said:
        if late:
            remarks.append(f"drill {drill}: its report is not in the audit, as it says itself: {late}")
        else:
            findings.append(f"the report of drill {drill} is not the one that the audit holds the SHA-256 of")
    if head:
        findings += [f"drill {drill}: {line}" for line in _check_noted_head(chain, head)]


def _check_noted_head(chain: dict[int, bytes], words: str) -> Iterator[str]:
    """The same of a head as it is written down beside the chain."""
    try:
        yield from check_heads(chain, [head_of(words)])
    except ValueError as error:
        yield str(error)
