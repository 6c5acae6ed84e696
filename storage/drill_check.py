"""Checks the reports of drills in a telemetry file against the audit beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from storage.audit_check import check_heads
from storage.audit_format import head_of, open_read_only
from storage.drills import digest


def check_drills(telemetry: Path, con: sqlite3.Connection, chain: dict[int, bytes]) -> tuple[list[str], list[str]]:
    """Findings and remarks on the reports of drills beside the audit: edited, or of a chain that is not this one."""
    if not telemetry.exists():
        return [], []
    said = {
        row[0]
        for row in con.execute(
            "SELECT CASE WHEN json_valid(body) THEN body ->> 'report_sha256' END FROM entry "
            "WHERE instr(body, 'report_sha256')"
        )
    }
    findings, remarks = [], []
    with closing(open_read_only(telemetry)) as record:
        if record.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'drill'").fetchone()[0] == 0:
            return [], []
        for number, head, late, text in record.execute("SELECT id, audit_head, not_durable, report FROM drill"):
            if digest(text) in said:
                pass
            elif late:
                remarks.append(f"drill {number}: its report is not in the audit, as it says itself: {late}")
            else:
                findings.append(f"the report of drill {number} is not the one that the audit holds the SHA-256 of")
            if head:
                findings += [f"drill {number}: {line}" for line in _check_noted_head(chain, head)]
    return findings, remarks


def _check_noted_head(chain: dict[int, bytes], words: str) -> Iterator[str]:
    """The same of a head as it is written down beside the chain."""
    try:
        yield from check_heads(chain, [head_of(words)])
    except ValueError as error:
        yield str(error)
