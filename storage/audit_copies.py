"""Checks the copies of the audit in an export, its CSV file and its table, against the chain."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

from dispatch.wording.formatting import neutralised
from storage.audit_format import (
    CSV_COLUMNS,
    CSV_COLUMNS_OF_0_1_0,
    CSV_COLUMNS_OF_0_2_0,
    csv_query,
    open_read_only,
)
from storage.csv_fields import field, quoted
from storage.schema import EXPORT_FILE

AUDIT_CSV = "audit.csv"
MOST = 20  # findings reported; more of the same say nothing new
ROWS = 2000  # compared at once

Written = Callable[[str], Any]  # how a text of the audit stands in a copy

# as this version writes it; as 0.2.0 did; as exports of before formulas were quoted
WRITTEN: tuple[Written, ...] = (field, quoted, str)


def check_copies(directory: Path, con: sqlite3.Connection) -> list[str]:
    """Findings: rows of the copies that are not those of the chain, which `con` reads."""
    return _check_csv(directory / AUDIT_CSV, con) + _check_table(directory / EXPORT_FILE, con)


def _check_csv(path: Path, con: sqlite3.Connection) -> list[str]:
    if not path.exists():
        return []
    try:
        columns, findings = _header(path)
        if not findings and any(_equal(path, con, columns, written) for written in WRITTEN):
            return []
        differences = [_differences(path, con, columns, written) for written in WRITTEN]
        return (findings + (differences[0] if all(differences) else []))[:MOST]
    except csv.Error as error:
        return [f"{path.name} cannot be read: {error}"]
    except OSError as error:
        return [f"{path.name} cannot be read: {error.strerror}"]
    except sqlite3.OperationalError:
        return []  # a row that is not JSON: the chain's own finding


def _header(path: Path) -> tuple[Sequence[str], list[str]]:
    """The columns of the CSV file; findings. Raises csv.Error, OSError."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        header = tuple(next(csv.reader(file), []))
    if header in (CSV_COLUMNS, CSV_COLUMNS_OF_0_2_0, CSV_COLUMNS_OF_0_1_0):
        return header, []
    return CSV_COLUMNS, [f"{path.name}: its header is not that of the audit"]


def _equal(path: Path, con: sqlite3.Connection, columns: Sequence[str], written: Written) -> bool:
    """Whether the file is, byte by byte, what the chain gives. Ends at the first difference."""
    with path.open("rb") as file:
        for rows in _batches(con, columns):
            expected = _csv_text(rows, written)
            if file.read(len(expected)) != expected:
                return False
        return not file.read(1)


def _batches(con: sqlite3.Connection, columns: Sequence[str]) -> Iterator[list[Sequence[Any]]]:
    """The header, then the rows of the chain."""
    yield [columns]
    found = con.execute(csv_query(columns))
    while rows := found.fetchmany(ROWS):
        yield rows


def _csv_text(rows: Sequence[Sequence[Any]], written: Written) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([written(v) if isinstance(v, str) else v for v in row] for row in rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _differences(path: Path, con: sqlite3.Connection, columns: Sequence[str], written: Written) -> list[str]:
    """Findings on rows of the file that are not as the chain has them."""
    findings: list[str] = []
    found = con.execute(csv_query(columns))
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        stated = csv.reader(file)
        next(stated, None)
        for count, (row, line) in enumerate(zip_longest(found, stated)):
            if row is None:
                return [f"{path.name} has {count + 1 + sum(1 for _ in stated)} rows, the audit {count}"]
            if line is None:
                return [f"{path.name} has {count} rows, the audit {count + 1 + sum(1 for _ in found)}"]
            if line != _as_text(row, written):
                findings.append(f"{path.name}: row {row[0]} is not as the audit has it")
    return findings


def _as_text(row: Sequence[Any], written: Written) -> list[str]:
    """A row of the audit as a CSV file has it."""
    return ["" if value is None else written(value) if isinstance(value, str) else str(value) for value in row]


def _check_table(path: Path, con: sqlite3.Connection) -> list[str]:
    """Findings on rows of the table of an export that are not as the chain has them."""
    if not path.exists():
        return []
    chain = con.execute(csv_query(CSV_COLUMNS))
    findings: list[str] = []
    try:
        with closing(open_read_only(path)) as export:
            if export.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'audit'").fetchone()[0] == 0:
                return [f"{path.name} has no table audit"]
            stated = export.execute(f"SELECT {', '.join(CSV_COLUMNS)} FROM audit ORDER BY seq")
            while rows := _fetched(chain):
                findings += _unlike(path.name, rows, stated.fetchmany(len(rows)))
            if stated.fetchone() is not None:
                findings.append(f"{path.name}: the table audit has rows that the audit has not")
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        findings.append(f"{path.name} cannot be read: {error}")
    return findings[:MOST]


def _fetched(chain: sqlite3.Cursor) -> list[Any]:
    """The next rows of the chain; none where one is not JSON, which is the chain's own finding."""
    try:
        return chain.fetchmany(ROWS)
    except sqlite3.OperationalError:
        return []


def _unlike(name: str, rows: Sequence[Sequence[Any]], lines: Sequence[Sequence[Any]]) -> list[str]:
    """Findings on rows that differ in more than that their texts are neutralised."""
    if rows == lines:
        return []
    return [
        f"{name}: row {row[0]} of the table audit is not as the audit has it"
        for row, line in zip_longest(rows, lines)
        if line is None or tuple(neutralised(v) if isinstance(v, str) else v for v in row) != tuple(line)
    ]
