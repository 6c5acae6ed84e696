"""Writes a table of an export to its files: into `export.db`, as CSV and, if wanted, as Parquet."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dispatch.wording.formatting import neutralised
from storage import csv_fields
from storage.export.columns import Column, Kind, Table

Row = list[Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TableFiles:
    """One table on its way to the disk; rows are written as they come. Times in them are UTC us."""

    def __init__(self, con: sqlite3.Connection, directory: Path, table: Table, parquet: bool) -> None:
        """Make the table and the files. Raises sqlite3.Error, OSError."""
        self.table = table
        self.rows = 0
        self._con = con
        columns = table.columns
        names = ", ".join(f"{_quoted(column.name)} {column.kind.sql}" for column in columns)
        con.execute(f"CREATE TABLE {_quoted(table.name)} ({names})")
        self._insert = f"INSERT INTO {_quoted(table.name)} VALUES ({','.join('?' * len(columns))})"
        self._times = _at(columns, Kind.TIME)
        self._whole_s = table.resolution in ("1m", "15m")
        self._texts = _at(columns, Kind.TEXT) + _at(columns, Kind.LONG)
        self._shown = [n for n, column in enumerate(columns) if column.kind is not Kind.LONG]
        self._plain = len(self._shown) == len(columns) and not (self._texts or _at(columns, Kind.EXACT))
        path = directory / f"{table.name}.csv"
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerow(csv_fields.field(columns[n].name) for n in self._shown)
        self.files = [path.name]
        self._parquet = None
        if parquet:
            from storage.export.parquet import ParquetTable

            self._parquet = ParquetTable(directory / f"{table.name}.parquet", [columns[n] for n in self._shown])
            self.files.append(f"{table.name}.parquet")

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, in the order of the table's columns. Raises sqlite3.Error, OSError."""
        _apply(rows, self._texts, neutralised)
        if self._parquet is not None:
            self._parquet.write([[row[n] for n in self._shown] for row in rows])
        _apply(rows, self._times, iso_s if self._whole_s else iso_us)
        self._con.executemany(self._insert, rows)
        self._csv.writerows(rows if self._plain else self._fields(rows))
        self.rows += len(rows)

    def _fields(self, rows: Sequence[Row]) -> list[Row]:
        """The rows as they are written to the CSV file."""
        shown = [[row[n] for n in self._shown] for row in rows]
        kinds = [self.table.columns[n].kind for n in self._shown]
        _apply(shown, [n for n, kind in enumerate(kinds) if kind is Kind.TEXT], csv_fields.quoted)
        _apply(shown, [n for n, kind in enumerate(kinds) if kind is Kind.EXACT], csv_fields.field)
        return shown

    def close(self) -> None:
        """Finish the files; a second call does nothing. Raises OSError."""
        self._file.close()
        parquet, self._parquet = self._parquet, None
        if parquet is not None:
            parquet.close()


def iso_s(utc_us: int) -> str:
    """A time that is a whole second: "2025-09-16T06:56:00Z"."""
    return (_EPOCH + timedelta(microseconds=utc_us)).isoformat(timespec="seconds")[:-6] + "Z"


def iso_us(utc_us: int) -> str:
    """A time with six digits of a second, so that all of a column sort as text: "2025-09-16T06:56:00.200000Z"."""
    return (_EPOCH + timedelta(microseconds=utc_us)).isoformat(timespec="microseconds")[:-6] + "Z"


def _apply(rows: Sequence[Row], places: Sequence[int], change: Callable[[Any], Any]) -> None:
    """Change the values at these places of all rows, unless they are None."""
    for n in places:
        for row in rows:
            if row[n] is not None:
                row[n] = change(row[n])


def _at(columns: Sequence[Column], kind: Kind) -> list[int]:
    return [n for n, column in enumerate(columns) if column.kind is kind]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
