"""Exports a record to one directory that needs nothing else: for a spreadsheet, Datasette, a notebook or an auditor."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from storage import audit_format, csv_fields, durable_file, identity, schema, version
from storage.damage import DAMAGED
from storage.export.columns import DICTIONARY, Table, dictionary_rows
from storage.export.record_tables import AUDIT, CHAIN, GAPS, READERS, Span, audit_rows, gap_rows
from storage.export.rows import Piece, extent_us, pieces
from storage.export.signal_columns import QUARTERS, RAW, RESOLUTIONS, Signal, WideTable, wide_tables
from storage.export.size import Size, estimate
from storage.export.table_files import Row, TableFiles
from storage.manifest import MANIFEST, signed
from storage.reader import open_read_only
from storage.rows import to_us

FORMAT = 2  # 1: telemetry.db with the tables of the record, up to version 0.2.0
RAW_GAP_US = 5_000_000  # between two samples: less is a tick that came late
SECOND_US = 1_000_000


class ExportError(Exception):
    """The export was not made; the text says why."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds besides its span."""

    resolution: str = QUARTERS  # of RESOLUTIONS
    extremes: bool = False  # also wide tables of minima and maxima
    parquet: bool = False


DEFAULT = Options()


def nothing(_: Any) -> None:
    """Tells nobody."""


def export(
    directory_in: Path,
    directory_out: Path,
    start_utc_s: float,
    end_utc_s: float,
    options: Options = DEFAULT,
    tell_size: Callable[[Size], None] = nothing,
    tell_progress: Callable[[float], None] = nothing,
) -> dict[str, Any]:
    """Write what was recorded in [start, end) to a new or empty directory; returns the manifest.

    Files: `export.db` with all tables, a CSV file of each, with `options.parquet` a Parquet file of each, `audit.db`
    where there is an audit (whole: a part of a chain proves nothing), and `manifest.json` with rows, bytes and SHA-256
    of each, what the record holds of the span, the head of the audit's chain, and a signature with the audit's key,
    where this user may read it. What was written is deleted when the export fails.

    Args:
        directory_in: a state directory; a gateway may write to it meanwhile.
        directory_out: does not exist yet, or is empty.
        start_utc_s, end_utc_s: the span.
        options: resolution and kinds of files.
        tell_size: is told the size before anything is written.
        tell_progress: is told the share of the telemetry that is written, 0 to 1.

    Raises NoRecords if there is nothing to read, ExportError, and OSError if the directory cannot be written.
    """
    _check(options, start_utc_s, end_utc_s)
    span_us = (to_us(start_utc_s), to_us(end_utc_s))
    try:
        with closing(open_read_only(directory_in / schema.FILE)) as source:
            tables = wide_tables(_signals(source), options.resolution, options.extremes)
            size = _size(source, directory_in, directory_out, tables, options, span_us)
            tell_size(size)
            with _new_directory(directory_out):
                _refuse_too_large(size, directory_out)
                return _Export(source, directory_in, directory_out, span_us, options).write(tables, size, tell_progress)
    except (sqlite3.Error, *DAMAGED) as error:
        raise ExportError(f"the records in {directory_in} cannot be exported: {error}") from error


def size_of(directory_in: Path, directory_out: Path, start_utc_s: float, end_utc_s: float, options: Options) -> Size:
    """How large such an export would be. Raises as `export`."""
    _check(options, start_utc_s, end_utc_s)
    span_us = (to_us(start_utc_s), to_us(end_utc_s))
    try:
        with closing(open_read_only(directory_in / schema.FILE)) as source:
            tables = wide_tables(_signals(source), options.resolution, options.extremes)
            return _size(source, directory_in, directory_out, tables, options, span_us)
    except (sqlite3.Error, *DAMAGED) as error:
        raise ExportError(f"the records in {directory_in} cannot be exported: {error}") from error


class _Export:
    """One export under way."""

    def __init__(self, source: sqlite3.Connection, state: Path, out: Path, span_us: Span, options: Options) -> None:
        self._source, self._state, self._out = source, state, out
        self._span_us, self._options = span_us, options
        self._rows: dict[str, int] = {}  # by file
        self._described: list[Table] = [DICTIONARY]
        self._first_us: int | None = None
        self._end_us: int | None = None  # of the last row's step
        self._step_us = 0
        self._open: list[TableFiles] = []

    def write(self, tables: Sequence[WideTable], size: Size, tell_progress: Callable[[float], None]) -> dict[str, Any]:
        """Write all files; the manifest."""
        try:
            with closing(sqlite3.connect(self._out / schema.EXPORT_FILE, isolation_level=None)) as con:
                con.execute("PRAGMA journal_mode = OFF")  # a file that is not whole is deleted
                con.execute("PRAGMA synchronous = OFF")  # it is put on the disk at the end
                con.execute("BEGIN")
                audit = self._tables(con, tables, size, tell_progress)
                con.execute("COMMIT")
        finally:
            for files in self._open:
                files.close()
        return self._manifest(audit)

    def _tables(
        self,
        con: sqlite3.Connection,
        tables: Sequence[WideTable],
        size: Size,
        tell_progress: Callable[[float], None],
    ) -> dict[str, Any] | None:
        """Write all tables; what the manifest says of the audit."""
        gaps = self._begun(con, GAPS)
        for rows in gap_rows(self._source, self._span_us):
            gaps.write(rows)
        self._telemetry(con, tables, gaps, size, tell_progress)
        self._finish(gaps)
        for table, read in READERS:
            self._table(con, table, read(self._source, self._span_us))
        con.execute(CHAIN)
        audit = self._audit(con)
        self._table(con, DICTIONARY, [dictionary_rows(self._described)])
        return audit

    def _telemetry(
        self,
        con: sqlite3.Connection,
        tables: Sequence[WideTable],
        gaps: TableFiles,
        size: Size,
        tell_progress: Callable[[float], None],
    ) -> None:
        """Write the wide tables, and the gaps in them."""
        files = [self._begun(con, wide.table) for wide in tables]
        first_us = to_us(size.first_utc_s or 0.0)
        length_us = max(1, to_us(size.last_utc_s or 0.0) - first_us)
        resolution = self._options.resolution
        for piece in pieces(self._source, resolution, self._span_us, sum(len(wide.cells) for wide in tables)):
            for wide, file in zip(tables, files, strict=True):
                file.write(_rows(piece, wide))
            gaps.write([_gap(resolution, *span) for span in self._new_gaps(piece)])
            tell_progress(min(1.0, (piece.end_us - first_us) / length_us))
        for file in files:
            self._finish(file)

    def _new_gaps(self, piece: Piece) -> Iterator[tuple[int, int, str]]:
        """Gaps between rows, and what cannot be read; notes begin and end of what there is."""
        for begin_us, end_us in piece.damaged:
            yield begin_us, end_us, "damaged"
        allowed_us = piece.step_us if self._options.resolution != RAW else max(RAW_GAP_US, 5 * piece.step_us // 2)
        for t in piece.times_us:
            if self._first_us is None or self._end_us is None:
                self._first_us = t
            elif t - self._end_us > allowed_us - piece.step_us:
                yield self._end_us, t, "not-recorded"
            self._end_us, self._step_us = t + piece.step_us, piece.step_us

    def _audit(self, con: sqlite3.Connection) -> dict[str, Any] | None:
        """Copy the audit; the head of its chain and the key that signs it. None where there is none."""
        source_file = self._state / audit_format.FILE
        if not source_file.exists():
            return None
        copy = self._out / audit_format.FILE
        try:
            with closing(audit_format.open_read_only(source_file)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise ExportError(f"the audit {source_file} cannot be copied: {error}") from None
        with closing(sqlite3.connect(copy, isolation_level=None)) as chain:
            chain.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
            self._table(con, AUDIT, audit_rows(chain))
            seq, head = audit_format.last(chain)
            checkpoint = chain.execute("SELECT seq, public_key FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()
        return {
            "rows": seq,
            "head": audit_format.head_words(seq, head),
            "signed_up_to": 0 if checkpoint is None else checkpoint[0],
            "public_key": "" if checkpoint is None else checkpoint[1].hex(),
        }

    def _manifest(self, audit: dict[str, Any] | None) -> dict[str, Any]:
        """Write the manifest, once everything that it names is on the disk."""
        site, bounds = identity.read(self._state), self._bounds_us()
        stated = {
            "format": FORMAT,
            "versions": {
                "skerry": version.installed(),
                "schema": schema.version(self._source),
                "sqlite": sqlite3.sqlite_version,
                "python": platform.python_version(),
            },
            "site": None if site is None else {"uuid": site.site, "incarnation": site.incarnation},
            "resolution": self._options.resolution,
            "asked": {"start": _iso(self._span_us[0]), "end": _iso(self._span_us[1])},
            "start": None if bounds is None else _iso(bounds[0]),
            "end": None if bounds is None else _iso(bounds[1]),
            "gaps": self._rows[f"{GAPS.name}.csv"],
            "files": {
                path.name: {
                    "bytes": path.stat().st_size,
                    "sha256": _sha256_on_disk(path),
                    "rows": self._rows.get(path.name),
                }
                for path in sorted(self._out.iterdir())
            },
            "csv": csv_fields.RULE,
            "audit": audit,
        }
        manifest = signed(stated, self._state)
        path = self._out / MANIFEST
        path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _sha256_on_disk(path)
        return manifest

    def _bounds_us(self) -> tuple[int, int] | None:
        """Where the telemetry really begins and ends: at its first and last sample, where the record still has them."""
        if self._first_us is None or self._end_us is None:
            return None
        first = extent_us(self._source, max(self._first_us, self._span_us[0]), self._first_us + self._step_us + 1)
        last = extent_us(self._source, self._end_us - self._step_us, min(self._end_us, self._span_us[1]))
        begin_us = max(self._first_us, self._span_us[0]) if first is None else first[0]
        return begin_us, min(self._end_us, self._span_us[1]) if last is None else last[1]

    def _table(self, con: sqlite3.Connection, table: Table, found: Iterable[list[Row]]) -> None:
        """Write a whole table."""
        files = self._begun(con, table)
        for rows in found:
            files.write(rows)
        self._finish(files)

    def _begun(self, con: sqlite3.Connection, table: Table) -> TableFiles:
        if table is not DICTIONARY:
            self._described.append(table)
        files = TableFiles(con, self._out, table, self._options.parquet)
        self._open.append(files)
        return files

    def _finish(self, files: TableFiles) -> None:
        files.close()
        self._rows.update(dict.fromkeys(files.files, files.rows))


def _rows(piece: Piece, wide: WideTable) -> list[Row]:
    """The rows of a wide table: times, then a value of each column."""
    empty: list[float | None] = [None] * len(piece.times_us)
    columns = [
        empty if (raw := piece.column(signal.sid, how)) is None else _scaled(raw, signal.scale)
        for signal, how in wide.cells
    ]
    return [list(row) for row in zip(piece.times_us, *columns, strict=True)]


def _scaled(raw: Sequence[float | None], scale: float) -> list[float | None]:
    """Values in units. Divided where the scale is a fraction of ten, so that 0.01 x 4999 is 49.99."""
    inverse = round(1 / scale) if scale < 1 else 0
    if inverse and abs(inverse * scale - 1) < 1e-9:
        return [None if value is None else value / inverse for value in raw]
    if scale == int(scale):
        scale = int(scale)
    return [None if value is None else value * scale for value in raw]


def _gap(resolution: str, begin_us: int, end_us: int, reason: str) -> Row:
    return [resolution, begin_us, end_us, (end_us - begin_us) / SECOND_US, reason]


def _signals(con: sqlite3.Connection) -> list[Signal]:
    return [Signal(*row) for row in con.execute("SELECT id, name, unit, scale, kind FROM signal ORDER BY id")]


def _check(options: Options, start_utc_s: float, end_utc_s: float) -> None:
    """Raises ExportError for what cannot be exported."""
    if not end_utc_s > start_utc_s:
        raise ExportError(
            f"expected an end after the start, got {_iso(to_us(start_utc_s))} to {_iso(to_us(end_utc_s))}"
        )
    if options.resolution not in RESOLUTIONS:
        raise ExportError(f"resolution {options.resolution!r}: expected one of {', '.join(RESOLUTIONS)}")
    if options.extremes and options.resolution == RAW:
        raise ExportError("a sample has no minimum and maximum: leave them out, or choose --resolution 1m or 15m")
    if options.parquet:
        try:
            import storage.export.parquet  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name != "pyarrow":
                raise
            raise ExportError("Parquet needs pyarrow, which is not installed: pip install 'skerry[parquet]'") from None


def _size(
    source: sqlite3.Connection, state: Path, out: Path, tables: Sequence[WideTable], options: Options, span_us: Span
) -> Size:
    return estimate(source, state, out, tables, options.resolution, span_us, options.parquet)


def _refuse_too_large(size: Size, out: Path) -> None:
    """Raises ExportError if the disk lacks the space."""
    if not size.fits:
        raise ExportError(
            f"{out}: the export takes about {size.bytes / 1e6:.1f} MB and does not fit: {size.room}: "
            "free space, name a directory on another disk, or choose a shorter span or a coarser --resolution"
        )


@contextmanager
def _new_directory(path: Path) -> Iterator[None]:
    """A directory to be filled; what is in it is deleted if that fails. Raises ExportError if it is not empty."""
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise ExportError(f"{path} is not empty: name a new directory")
    try:
        yield
    except BaseException:
        for file in path.iterdir():
            file.unlink()
        if made:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _sha256_on_disk(path: Path) -> str:
    """The hash of a file that is on the disk."""
    durable_file.sync(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _iso(utc_us: int) -> str:
    return datetime.fromtimestamp(utc_us / SECOND_US, UTC).isoformat().replace("+00:00", "Z")
