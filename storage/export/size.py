"""Estimates how large an export will be, from samples of the record."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from storage import audit_format
from storage.disk_room import Room, room_for
from storage.export.record_tables import Span
from storage.export.rows import Piece, bounds_us, pieces
from storage.export.signal_columns import MINUTES, RAW, WideTable
from storage.reader import JOBS_VERSION
from storage.rollup import MINUTE_S, QUARTER_S
from storage.signals import MISSING

PROBES = 12  # spots of the telemetry that are looked at
ROWS = 200  # rows of another table that are looked at, from its begin and its end each
SECOND_US = 1_000_000


class Size(msgspec.Struct, frozen=True):
    """How large an export will be, about."""

    bytes: int
    rows: int  # of a wide table
    columns: int  # of all wide tables together, that of the time left out
    first_utc_s: float | None  # where the telemetry begins and ends, to a quarter hour; None: there is none
    last_utc_s: float | None
    room: Room  # for it on the disk of the export

    @property
    def fits(self) -> bool:
        """Whether the disk has the space."""
        return self.room.enough


def estimate(
    con: sqlite3.Connection,
    state: Path,
    out: Path,
    tables: Sequence[WideTable],
    resolution: str,
    span_us: Span,
    parquet: bool,
) -> Size:
    """The size of an export to `out`, which need not exist yet. Raises sqlite3.Error, OSError."""
    columns = sum(len(table.cells) for table in tables)
    bounds = bounds_us(con, resolution, span_us)
    rows, row_bytes = (0, 0.0) if bounds is None else _wide_rows(con, tables, resolution, bounds)
    others = _texts(con, "event", "length(kind || severity || subject || text || who) + 60", span_us)
    plain = "length(reason || mode || island || binding || setpoints) + 220"
    others += _texts(con, "decision", plain, span_us)
    if con.execute("PRAGMA user_version").fetchone()[0] >= JOBS_VERSION:
        others += _texts(con, "job", "length(record) / 2 + length(user || account || partition || name) + 120", span_us)
    in_database = _texts(con, "decision", "length(chain)", span_us)
    audit = state / audit_format.FILE
    audit_bytes = audit.stat().st_size if audit.exists() else 0
    files = 2.4 if parquet else 2.0  # SQLite, CSV; Parquet is compressed
    size = rows * row_bytes * files / 2 + others * files + in_database + audit_bytes * (1 + 0.8 * files)
    first, last = (None, None) if bounds is None else (bounds[0] / SECOND_US, bounds[1] / SECOND_US)
    return Size(round(size), rows, columns, first, last, room_for(round(size), out))


def _wide_rows(
    con: sqlite3.Connection, tables: Sequence[WideTable], resolution: str, bounds: Span
) -> tuple[int, float]:
    """How many rows the wide tables will have, and bytes of a row in SQLite and CSV together, over all tables."""
    begin_us, end_us = bounds
    quarter_us = QUARTER_S * SECOND_US
    quarters = -(-(end_us - begin_us) // quarter_us)
    spots = sorted({begin_us + quarter_us * (quarters * k // PROBES) for k in range(PROBES)})
    rows = found_bytes = 0
    for spot_us in spots:
        for piece in pieces(con, resolution, (spot_us, min(end_us, spot_us + quarter_us)), 1 << 30):
            rows += len(piece.times_us)
            found_bytes += sum(_piece_bytes(piece, table) for table in tables)
    if not rows:
        return 0, 0.0
    per_quarter = rows / len(spots)
    if resolution != RAW:
        most = QUARTER_S // (MINUTE_S if resolution == MINUTES else QUARTER_S)
        per_quarter = min(per_quarter, most)
    return round(per_quarter * quarters), found_bytes / rows


def _piece_bytes(piece: Piece, table: WideTable) -> int:
    """Bytes of a piece's values, in SQLite (https://sqlite.org/fileformat.html, section 2.1) and in CSV."""
    size = len(piece.times_us) * (2 * 28 + 8 + 2 * len(table.cells))  # times in text, an index of them; separators
    for signal, how in table.cells:
        column = piece.column(signal.sid, how)
        for raw in column or ():
            if raw is not None and raw != MISSING:
                value = raw * signal.scale
                size += len(f"{value:.6g}") + (8 if signal.scale < 1 and raw else 2 + (abs(value) > 32767))
    return size


def _texts(con: sqlite3.Connection, table: str, length: str, span_us: Span) -> float:
    """Bytes of the rows of a table in a span, from the mean of its first and last rows there."""
    where = f"FROM {table} WHERE ts_utc_us >= ? AND ts_utc_us < ?"
    (rows,) = con.execute(f"SELECT count(*) {where}", span_us).fetchone()
    total = 0.0
    for order in ("ASC", "DESC"):
        sql = f"SELECT avg(bytes) FROM (SELECT {length} AS bytes {where} ORDER BY ts_utc_us {order} LIMIT {ROWS})"
        total += con.execute(sql, span_us).fetchone()[0] or 0.0
    return float(rows) * total / 2
