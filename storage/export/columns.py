"""Describes the tables and columns of an export: what the data dictionary says of each."""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.Enum):
    """How the values of a column are kept."""

    TIME = "time"  # UTC us inside; ISO 8601 in SQLite and CSV, a timestamp in Parquet
    REAL = "real"
    INTEGER = "integer"
    TEXT = "text"  # control characters and marks of direction replaced
    EXACT = "exact text"  # as in the record, because a hash is taken of it; replaced in CSV
    LONG = "long text"  # in export.db only

    @property
    def sql(self) -> str:
        """The type of the column in SQLite."""
        return self.name if self in (Kind.REAL, Kind.INTEGER) else "TEXT"


class Column(msgspec.Struct, frozen=True):
    """One column."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    sign: str = ""
    source: str = ""
    aggregated: str = ""
    null: str = ""  # what NULL, in CSV an empty field, means; empty: never NULL


class Table(msgspec.Struct, frozen=True):
    """One table of an export, and the name of its CSV file without the ending."""

    name: str
    resolution: str
    source: str  # of its columns that name none
    columns: tuple[Column, ...]


COLUMNS = (
    Column("table_name", Kind.TEXT, "Table, and name of its CSV and Parquet file"),
    Column("column_name", Kind.TEXT, "Column"),
    Column("meaning", Kind.TEXT, "What the value says"),
    Column("unit", Kind.TEXT, "Unit; ISO 8601 for times; empty for text and plain numbers"),
    Column("sign", Kind.TEXT, "What a positive value means, where values can be negative or that is not plain"),
    Column("source", Kind.TEXT, "Signal or table of the record that it comes from"),
    Column("resolution", Kind.TEXT, "Time between two rows, or 'event' for one row each"),
    Column("aggregated", Kind.TEXT, "How a row is made from samples: mean, min, max, last; none: not aggregated"),
    Column("null_means", Kind.TEXT, "What NULL in SQLite and Parquet, an empty field in CSV, means"),
)
DICTIONARY = Table("data_dictionary", "one row per column", "this export", COLUMNS)


def dictionary_rows(tables: list[Table]) -> list[list[object]]:
    """What the data dictionary says of these tables."""
    return [
        [
            table.name,
            column.name,
            column.meaning,
            "ISO 8601, UTC" if column.kind is Kind.TIME else column.unit,
            column.sign,
            column.source or table.source,
            table.resolution,
            column.aggregated or "none",
            column.null or "never NULL",
        ]
        for table in tables
        for column in table.columns
    ]
