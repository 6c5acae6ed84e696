"""Writes tables of an export as Parquet, by pyarrow: the extra `parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.export.columns import Column, Kind

CELLS = 1_000_000  # in memory at once; each so many are a row group

_TYPES = {Kind.TIME: pa.timestamp("us", tz="UTC"), Kind.REAL: pa.float64(), Kind.INTEGER: pa.int64()}


class ParquetTable:
    """One Parquet file; meaning, unit and sign of each column are in its schema's metadata."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        """Make the file. Raises OSError."""
        self._schema = pa.schema(
            [
                pa.field(
                    column.name,
                    _TYPES.get(column.kind, pa.string()),
                    metadata={"unit": column.unit, "meaning": column.meaning, "sign": column.sign},
                )
                for column in columns
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[list[Any]] = []

    def write(self, rows: Sequence[list[Any]]) -> None:
        """Add rows, which stay as they are; times are UTC us. Raises OSError."""
        self._rows += rows
        if len(self._rows) * len(self._schema) >= CELLS:
            self._flush()

    def close(self) -> None:
        """Finish the file. Raises OSError."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in self._schema)
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []
