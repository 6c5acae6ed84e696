"""Recovers what can be read of a damaged telemetry file into a new one. The damaged file is only read.

Rows come from `trees.py`, which goes around damaged pages, and are taken only as some version writes them: blocks by
their checksum, samples by that of their compression, others by what their columns may hold.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from storage import durable_file, schema
from storage.blocks import dictionary_hash
from storage.copying import NAMES, TABLES, Copier, Names, Row, SignalRow, Table, dictionaries_of
from storage.damage import DAMAGED
from storage.disk_room import room_for
from storage.merging import SALVAGED, Progress
from storage.moving import FILES
from storage.packing import note_gap
from storage.pages import Pages
from storage.signals import Signal
from storage.trees import Hole, Trees

AT_ONCE = 500  # rows in a transaction
NOTHING = Progress()
QUARTERS = [table.name for table in TABLES].index("r15")
_TIMES = {  # position of the time, microseconds in a unit of it, resolution of a gap
    "hot": (0, 1, "raw"),
    "block": (1, 1, "raw"),
    "r1m": (0, 1_000_000, "1m"),
    "r15": (0, 1_000_000, "15m"),
    "event": (1, 1, "events"),
    "decision": (1, 1, "decisions"),
    "context": (1, 1, "decisions"),
    "job": (1, 1, "jobs"),
    "job_quarter": (0, 1_000_000, "jobs"),
}


class TableReport(msgspec.Struct):
    """What was read of a table."""

    name: str
    read: int = 0
    pages_lost: int = 0
    lost: int = 0  # rows; of a lost page as many as the others have on average
    missing_s: list[tuple[float, float]] = []  # UTC s: where rows may be lost, from the one before to the one behind


class Report(msgspec.Struct):
    """What became of a file."""

    source: str
    out: str
    tables: list[TableReport]
    notes: list[str]


class CannotSalvage(Exception):
    """There is nothing that can be read, or no place for it; the text says why."""


def recovered_name(directory: Path, damaged: Path, file: str) -> Path:
    """Where what was recovered of a file goes, beside a site's records; by its content. Raises OSError."""
    digest = hashlib.sha256()
    for part in (damaged, Path(f"{damaged}-wal")):
        if part.exists():
            with part.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return directory / f"{file}.{SALVAGED}.{digest.hexdigest()[:16]}"


def salvage(damaged: Path, out: Path, merged: Progress = NOTHING) -> Report:
    """Write what can be read of a telemetry file to the new file `out`. Raises CannotSalvage and OSError.

    `merged`: the rows up to there are left out; the record has them already.
    """
    with recovering(damaged, out) as (pages, con):
        schema.prepare(con)
        schema.migrate(con, out)
        report = Report(str(damaged), str(out), *_copied(pages, con, merged))
        con.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
        if not any(table.read for table in report.tables):
            raise CannotSalvage(f"{damaged}: no row of a telemetry file can be read in it")
    return report


@contextmanager
def recovering(damaged: Path, out: Path) -> Iterator[tuple[Pages, sqlite3.Connection]]:
    """The pages of a damaged file, and a new database, which is `out` once the block has ended without an error.

    Raises CannotSalvage and OSError.
    """
    refuse_without_room(damaged, out)
    making = out.with_name(f"{out.name}.new")
    making.unlink(missing_ok=True)
    try:
        with closing(Pages(damaged)) as pages, closing(sqlite3.connect(making, isolation_level=None)) as con:
            con.execute("PRAGMA synchronous = OFF")  # it is put on the disk below, before it counts
            yield pages, con
        take_owner(making, damaged)
        durable_file.sync(making)
        durable_file.put_in_place(making, out)
    except sqlite3.Error as error:
        raise CannotSalvage(f"{out} cannot be written: {error}") from error
    finally:
        for suffix in FILES:
            Path(f"{making}{suffix}").unlink(missing_ok=True)


def refuse_without_room(damaged: Path, out: Path) -> None:
    """Raises CannotSalvage where what is recovered may fill a disk, most likely that of the record itself."""
    wal = Path(f"{damaged}-wal")
    room = room_for(damaged.stat().st_size + (wal.stat().st_size if wal.exists() else 0), out.parent)
    if not room.enough:
        text = f"{out.parent}: what is recovered may not fit: {room}"
        raise CannotSalvage(f"{text}: free space, or name a file on another disk with --out")


def take_owner(path: Path, of: Path) -> None:
    """Let who could read and write one file do so with another, and nobody else. Raises OSError."""
    found = of.stat()
    if os.geteuid() == 0:
        os.chown(path, found.st_uid, found.st_gid)
    path.chmod(found.st_mode & 0o666 | 0o600)


def _copied(pages: Pages, con: sqlite3.Connection, merged: Progress) -> tuple[list[TableReport], list[str]]:
    """Copy all tables; what to report of each, and notes."""
    trees = Trees(pages)
    named = {name: (TableReport(name), list[Row]()) for name in NAMES}
    for name, (report, rows) in named.items():
        rows += _read(trees, name, report)
    signals = {row[0]: SignalRow(*row[1:]) for row in named["signal"][1]}
    names = Names({row[0]: row[1:3] for row in named["run"][1]}, signals, {})
    names.dictionaries = _sound(named["dictionary"][1], signals)
    reports = [report for report, _ in named.values()]
    reports += [_copied_table(trees, con, table, names, merged) for table in TABLES]
    _note_gaps(con, reports)
    notes = []
    if pages.lost_frames:
        notes.append(f"{pages.lost_frames} pages in its write-ahead log are damaged: the newest rows may be missing")
    if trees.guessed:
        notes.append("its list of tables is damaged: they were looked for where this version puts them")
    return reports, notes


def _copied_table(trees: Trees, con: sqlite3.Connection, table: Table, names: Names, merged: Progress) -> TableReport:
    report, number = TableReport(table.name), TABLES.index(table)
    if number < merged.table:
        return report
    rolled: Callable[[int], bool] = (
        _always  # once some quarter hours are merged, the record rolls up those that are missing
    )
    if merged.table < QUARTERS or (merged.table == QUARTERS and merged.after is None):
        rolled = {t for (t,) in con.execute("SELECT DISTINCT t FROM r15")}.__contains__
    after = merged.after if number == merged.table else None
    waiting: list[Row] = []
    for row in _read(trees, table.name, report, names.dictionaries):
        if after is not None and row[: len(after)] <= after:
            report.read -= 1
            continue
        waiting.append(row)
        if len(waiting) == AT_ONCE:
            _write(con, table, names, waiting, rolled, report)
            waiting = []
    _write(con, table, names, waiting, rolled, report)
    return report


def _always(_: int) -> bool:
    return True


def _write(
    con: sqlite3.Connection,
    table: Table,
    names: Names,
    rows: list[Row],
    rolled: Callable[[int], bool],
    report: TableReport,
) -> None:
    con.execute("BEGIN")
    copier = Copier(con, names)
    copier.copy(table, rows, rolled)
    con.execute("COMMIT")
    report.read -= copier.refused
    report.lost += copier.refused


def _read(trees: Trees, name: str, report: TableReport, dictionaries: Container[int] = ()) -> Iterator[Row]:
    """The rows of a table; what is lost goes into the report."""
    before_s, hole = -math.inf, False
    for row in trees.rows(name):
        if isinstance(row, Hole) or _nameless(name, row, dictionaries):
            page = isinstance(row, Hole) and row.page
            report.pages_lost += page
            report.lost += not page
            hole = True
            continue
        report.read += 1
        now_s = _time_s(name, row)
        if hole:
            report.missing_s.append((min(now_s, before_s), now_s))
        before_s, hole = now_s, False
        yield row
    if hole:
        report.missing_s.append((before_s, math.inf))
    report.lost += round(report.pages_lost * max(1.0, report.read / max(1, trees.leaves)))


def _nameless(name: str, row: Row, dictionaries: Container[int]) -> bool:
    """Samples whose dictionary is lost: what they are of is not known."""
    return name == "hot" and row[4] is not None and row[4] not in dictionaries


def _time_s(name: str, row: Row) -> float:
    """The time of a row, UTC s; 0 where a table's rows have none."""
    place, unit_us, _ = _TIMES.get(name, (0, 0, ""))
    return float(row[place]) * unit_us / 1e6 if unit_us else 0.0


def _note_gaps(con: sqlite3.Connection, reports: list[TableReport]) -> None:
    """A row of `gap` for each time that may be missing; where nothing is before or behind, the ends of the file."""
    times = " UNION ALL ".join(
        f"SELECT {unit_us} * min({column}), {unit_us} * max({column}) FROM {table}"
        for table, column, unit_us in (
            ("event", "ts_utc_us", 1),
            ("decision", "ts_utc_us", 1),
            ("block", "t0", 1),
            ("hot", "ts", 1),
            ("r1m", "t", 1_000_000),
            ("r15", "t", 1_000_000),
        )
    )
    found = [time_us for row in con.execute(times) for time_us in row if time_us is not None]
    oldest_us, newest_us = min(found, default=0), max(found, default=0)
    con.execute("BEGIN")
    for report in reports:
        spans_us = [
            (max(oldest_us, begin_s * 1e6), max(oldest_us, min(newest_us, end_s * 1e6)))
            for begin_s, end_s in report.missing_s
            if report.name in _TIMES
        ]
        report.missing_s = [(begin_us / 1e6, end_us / 1e6) for begin_us, end_us in spans_us]
        for begin_us, end_us in spans_us:
            span_us = (round(begin_us), round(end_us))
            note_gap(con, _TIMES[report.name][2], span_us, "damaged", newest_us, apart_us=0)
    con.execute("COMMIT")


def _sound(rows: list[Row], signals: dict[int, SignalRow]) -> dict[int, tuple[bytes, tuple[int, ...]]]:
    """Dictionaries that are as their hash says, as far as all their signals are known."""
    found: dict[int, tuple[bytes, tuple[int, ...]]] = {}
    for row in rows:
        with suppress(*DAMAGED):
            found |= {
                number: (digest, sids)
                for number, (digest, sids) in dictionaries_of([row]).items()
                if _fits(digest, [signals.get(sid) for sid in sids])
            }
    return found


def _fits(digest: bytes, signals: list[SignalRow | None]) -> bool:
    """Whether a dictionary's hash is that of its signals; if one of them is lost it cannot be told."""
    known = [Signal(s.name, s.unit, s.scale, s.kind) for s in signals if s is not None]
    return len(known) < len(signals) or dictionary_hash(known) == digest
