"""Deletes what is older than it is to be kept, or does not fit under the disk cap, and gives the space back.

Each resolution has an age. Beyond the cap the oldest samples go first, then minutes, decisions, events and, last,
quarter hours; the newest day of each stays. Blocks that a holder does not have yet outlive both, as long as those that
would go fit into a reserve. What went for the cap or the reserve leaves a row in `gap`. The audit is never touched.

A call does little: two hours of a table, in one short transaction. The recorder deletes by age twice an hour, so a
clock that is wrong for a day costs the oldest four days and no more.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from storage.config import StorageConfig
from storage.packing import note_gap
from storage.schema import FILE

DAY_S = 86_400
AT_ONCE_S = 7_200  # of a table, in one transaction
LEAST_S = DAY_S  # what the cap leaves of each table
MB = 1_000_000
FREED_PAGES = 1_000  # given back to the file system in one go, and kept for what comes: 4 MB
COPY_D = 30.0  # a copy of before a migration is kept so long: until then an older version may go on from it
OWN = tuple(f"{FILE}{suffix}" for suffix in ("-wal", "-shm", ".schema"))
DISK_CAP, RESERVE = "disk-cap", "hold-reserve"  # reasons of a gap


class _Table(NamedTuple):
    """A table whose rows are deleted by time."""

    resolution: str  # as in `gap`
    name: str
    column: str
    per_s: int  # units of the column in a second
    keep_d: float


def tables(config: StorageConfig) -> tuple[_Table, ...]:
    """What is deleted, the first to go first. Coarser roll-ups are kept at least as long as finer ones."""
    minutes_d = max(config.keep_raw_d, config.keep_minutes_d)
    return (
        _Table("raw", "block", "t0", 1_000_000, config.keep_raw_d),
        _Table("1m", "r1m", "t", 1, minutes_d),
        _Table("decisions", "decision", "ts_utc_us", 1_000_000, config.keep_decisions_d),
        _Table("events", "event", "ts_utc_us", 1_000_000, config.keep_events_d),
        _Table("15m", "r15", "t", 1, max(minutes_d, config.keep_quarters_d)),
    )


def bytes_used(con: sqlite3.Connection, path: Path) -> int:
    """Bytes of the state directory that count: the pages in use of this file, and all other files.

    Neither its WAL, which is bounded, nor copies of before a migration, which go after `COPY_D`.
    """
    pages, free, size = (
        int(con.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    with os.scandir(path.parent) as entries:
        others = (
            e.stat(follow_symlinks=False).st_size
            for e in entries
            if e.name != FILE and not e.name.startswith(OWN) and e.is_file()
        )
        return (pages - free) * size + sum(others)


def delete_copies(path: Path, now_s: float) -> None:
    """Delete copies of before a migration that are old enough. Raises OSError."""
    for copy in path.parent.glob(f"{path.name}.schema*"):
        if now_s - copy.stat().st_mtime > COPY_D * DAY_S:
            copy.unlink()


class Tidied(NamedTuple):
    """What a call of `tidy` found."""

    more: bool  # another call has more to do
    stuck_mb: float  # over the cap, with nothing more that may be deleted


def tidy(con: sqlite3.Connection, path: Path, config: StorageConfig, now_s: float, by_age: bool) -> Tidied:
    """Delete some of what is no longer to be kept, and give space back. Raises sqlite3.Error and OSError."""
    if by_age:
        delete_old(con, config, now_s)
        delete_copies(path, now_s)
    over_mb = bytes_used(con, path) / MB - config.disk_cap_mb
    deleted = over_mb > 0 and delete_for_cap(con, config, now_s)
    return Tidied(give_back(con) or deleted, 0.0 if deleted else max(0.0, over_mb))


def delete_old(con: sqlite3.Connection, config: StorageConfig, now_s: float) -> bool:
    """Delete some of what is older than it is to be kept; whether there was any. Raises sqlite3.Error."""
    reserve = round(config.unsent_max_mb * MB)
    deleted = [_delete(con, table, now_s - table.keep_d * DAY_S, reserve, now_s, "") for table in tables(config)]
    return any(deleted)


def delete_for_cap(con: sqlite3.Connection, config: StorageConfig, now_s: float) -> bool:
    """Delete some of the oldest of what goes first; whether there was any. Raises sqlite3.Error."""
    reserve = round(config.unsent_max_mb * MB)
    return any(_delete(con, table, now_s - LEAST_S, reserve, now_s, DISK_CAP) for table in tables(config))


def free_names(con: sqlite3.Connection, active: set[str], now_us: int) -> None:
    """Delete dictionaries that no row has, and signals that left the site and are in no row. Raises sqlite3.Error.

    `active`: the signals that are recorded now. The highest id stays, so that none is given to another signal.
    """
    con.execute("BEGIN IMMEDIATE")
    try:
        names = {name for (name,) in con.execute("SELECT name FROM signal WHERE until IS NULL")}
        gone = [(now_us, name) for name in sorted(names - active)]
        con.executemany("UPDATE signal SET until = ? WHERE name = ?", gone)
        con.execute(
            "DELETE FROM dictionary WHERE id NOT IN "
            "(SELECT dictionary FROM block UNION SELECT dictionary FROM hot WHERE dictionary IS NOT NULL)"
        )
        if not con.execute("SELECT 1 FROM hot WHERE dictionary IS NULL LIMIT 1").fetchone():
            con.execute(
                "DELETE FROM signal WHERE id < (SELECT max(id) FROM signal) AND until < 1000000 * min("
                "coalesce((SELECT min(t) FROM r1m), 1e12), coalesce((SELECT min(t) FROM r15), 1e12), "
                "coalesce((SELECT min(t0) FROM block) / 1000000, 1e12), "
                "coalesce((SELECT min(ts) FROM hot) / 1000000, 1e12))"
            )
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise


def give_back(con: sqlite3.Connection) -> bool:
    """Give pages that are no longer used back to the file system; whether there may be more."""
    (free,) = con.execute("PRAGMA freelist_count").fetchone()
    if free <= FREED_PAGES:
        return False
    # executescript: execute() would free a single page (measured with Python 3.11's sqlite3)
    con.executescript(f"PRAGMA incremental_vacuum({FREED_PAGES})")
    return True


def hold(con: sqlite3.Connection, name: str, sequence: int, now_us: int) -> None:
    """Note that a holder has all blocks up to this one, and needs those after it."""
    con.execute(
        "INSERT INTO hold (name, seq, ts_utc_us) VALUES (?,?,?) "
        "ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, ts_utc_us = excluded.ts_utc_us",
        (name, sequence, now_us),
    )


def _delete(con: sqlite3.Connection, table: _Table, before_s: float, reserve: int, now_s: float, reason: str) -> bool:
    """Delete the oldest rows of a table from before an instant; whether there were any. Without a reason: by age."""
    before = round(before_s * table.per_s)
    wanted = f"FROM {table.name} WHERE {table.column} < :before"
    values = {"before": before, "held": -1}
    if table.name == "block":
        (held,) = con.execute("SELECT min(seq) FROM hold").fetchone()
        if held is not None:
            values["held"] = held
            (unsent,) = con.execute(f"SELECT total(length(v)) {wanted} AND seq > :held", values).fetchone()
            if unsent > reserve:
                wanted, reason = f"{wanted} AND seq > :held", RESERVE
            else:
                wanted = f"{wanted} AND seq <= :held"
    (oldest,) = con.execute(f"SELECT min({table.column}) {wanted}", values).fetchone()
    if oldest is None:
        return False
    values["before"] = end = min(before, oldest + AT_ONCE_S * table.per_s)
    con.execute("BEGIN IMMEDIATE")
    try:
        con.execute(f"DELETE {wanted}", values)
        if reason:
            span_us = (oldest * 1_000_000 // table.per_s, end * 1_000_000 // table.per_s)
            note_gap(con, table.resolution, span_us, reason, round(now_s * 1e6))
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise
    return True
