"""Deletes what is older than it is to be kept, or does not fit under the disk cap, and gives the space back.

Each resolution has an age. Beyond the cap the oldest samples go first, then minutes, decisions, jobs, events and, last,
quarter hours; the newest day of each stays. Blocks that a holder does not have yet outlive both, as long as those that
would go fit into a reserve, and no longer than `HOLD_D` after the holder was last heard of. What went for the cap or
the reserve leaves a row in `gap`. The audit is never touched.

A call does little: two hours of a table, in one short transaction. Deletion by age is twice an hour, over restarts
too, so a clock that is ahead for a day costs the oldest four days and no more. There is none for a day after the clock
stepped, nor while the time is not known. A clock that is behind deletes less, never more; rows that one which was ahead
has left in the future stay until they are old, and keep nothing else from being deleted.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from storage import jobs
from storage.audit_format import FILE as AUDIT
from storage.config import StorageConfig
from storage.damage import DAMAGED
from storage.packing import FAR_US, note_gap
from storage.schema import FILE

DAY_S = 86_400
AT_ONCE_S = 7_200  # of a table, in one transaction
NAMES_AT_ONCE = 5  # each may be looked for in all of the roll-ups
LEAST_S = DAY_S  # what the cap leaves of each table
MB = 1_000_000
FREED_PAGES = 1_000  # given back to the file system in one go, and kept for what comes: 4 MB
COPY_D = 30.0  # a copy of before a migration is kept so long: until then an older version may go on from it
OWN = tuple(f"{FILE}{suffix}" for suffix in ("-wal", "-shm", ".schema"))
AGE_AGAIN_S = 1_700.0  # between two deletions by age, over restarts too; a little less than the recorder waits
AGED, COPY_SEEN = "retention.aged", "retention.copy."  # keys of `state`
HOLD_D = 35.0  # a holder that has not renewed its hold for so long will not come again
HOLDS_OF_ONE = 4  # of one Unix user: who may hold blocks may not fill the table
OTHERS_SHARE = 0.01  # of the cap: smaller ones, such as the site's identity, are not worth a word
AUDITS = (AUDIT, f"{AUDIT}-wal", f"{AUDIT}-shm")
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
        _Table("decisions", "context", "ts_utc_us", 1_000_000, config.keep_decisions_d),
        _Table("jobs", "job", "ts_utc_us", 1_000_000, config.keep_jobs_d),
        _Table("jobs", "job_quarter", "t", 1, config.keep_jobs_d),
        _Table("jobs", "job_peak", "t", 1, config.keep_jobs_d),
        _Table("events", "event", "ts_utc_us", 1_000_000, config.keep_events_d),
        _Table("15m", "r15", "t", 1, max(minutes_d, config.keep_quarters_d)),
    )


class Used(NamedTuple):
    """Bytes in the state directory."""

    records: int  # what the cap is for: the pages in use of the telemetry file, and the audit
    others: int  # files that are nobody's to delete: set aside, exported, copied by hand


def bytes_used(con: sqlite3.Connection, path: Path) -> Used:
    """What the state directory holds.

    Left out are the WAL of the telemetry, which grows while somebody reads for long, and copies of before a migration.
    Both go by themselves. Raises sqlite3.Error and OSError.
    """
    pages, free, size = (
        int(con.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    audit = others = 0
    with os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name == FILE or entry.name.startswith(OWN):
                continue
            with suppress(FileNotFoundError):  # gone since the directory was read
                if entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False).st_size
                    audit, others = (audit + found, others) if entry.name in AUDITS else (audit, others + found)
    return Used((pages - free) * size + audit, others)


def delete_copies(con: sqlite3.Connection, path: Path, now_s: float) -> None:
    """Delete copies of before a migration that were there `COPY_D` days ago. Raises sqlite3.Error and OSError.

    The record keeps when each was first seen here, by the clock that deletes it: its mtime is of another one.
    """
    seen = dict(con.execute("SELECT key, ts_utc_us FROM state WHERE key LIKE ? || '%'", (COPY_SEEN,)))
    copies = {f"{COPY_SEEN}{copy.name}": copy for copy in path.parent.glob(f"{path.name}.schema*")}
    for key, copy in copies.items():
        if key not in seen:
            _note_time(con, key, now_s)
        elif now_s - seen[key] / 1e6 > COPY_D * DAY_S:
            copy.unlink(missing_ok=True)
    gone = [(key,) for key in seen if key not in copies or not copies[key].exists()]
    con.executemany("DELETE FROM state WHERE key = ?", gone)


def _age_is_due(con: sqlite3.Connection, now_s: float) -> bool:
    """Whether to delete by age now: not soon after the last time.

    The time of the last deletion is kept, so restarts under a wrong clock cost no more than it costs by itself.
    """
    row = con.execute("SELECT ts_utc_us FROM state WHERE key = ?", (AGED,)).fetchone()
    if row is not None and 0 <= now_s - row[0] / 1e6 < AGE_AGAIN_S:
        return False
    _note_time(con, AGED, now_s)
    return row is None or row[0] <= now_s * 1e6  # a clock that was ahead has noted it: begin again from now


def _note_time(con: sqlite3.Connection, key: str, now_s: float) -> None:
    sql = "INSERT OR REPLACE INTO state (key, value, ts_utc_us) VALUES (?,?,?)"
    con.execute(sql, (key, f"{now_s:.0f}", round(now_s * 1e6)))


class Tidied(NamedTuple):
    """What a call of `tidy` found."""

    more: bool  # another call has more to do
    stuck_mb: float  # over the cap, with nothing more that may be deleted
    begun_mb: float  # over the cap, with nothing deleted for it in the day before
    others_mb: float  # other files, where the record would be over the cap with them


class CapNotices:
    """Says that the record is over the cap, or would be with other files, when that begins."""

    def __init__(self) -> None:
        self._over_cap = self._others = False
        self._told_s = float("-inf")

    def begun(self, found: Tidied, path: Path, cap_mb: float, utc_s: float) -> list[str]:
        """What is to be told now of what `tidy` has found."""
        told = []
        if found.others_mb and not self._others:
            text = f"other files in {path.parent} take {found.others_mb:.1f} MB; with the record that is more than "
            todo = f"disk_cap_mb = {cap_mb:g}. Nothing is deleted for them: move away what is not needed there"
            told.append(text + todo)
            self._others = True
        if found.begun_mb and abs(utc_s - self._told_s) > DAY_S:
            self._told_s = utc_s
            text = f"{path} and the audit are {found.begun_mb:.1f} MB over disk_cap_mb = {cap_mb:g}: "
            told.append(text + "the oldest rows are deleted from now on, see the view gaps")
        if found.stuck_mb and not self._over_cap:
            text = f"{path} and the audit are {found.stuck_mb:.1f} MB over disk_cap_mb = {cap_mb:g}, and nothing "
            told.append(text + "more may be deleted: raise it")
        self._over_cap = found.stuck_mb > 0
        return told


def tidy(con: sqlite3.Connection, path: Path, config: StorageConfig, now_s: float, by_age: bool) -> Tidied:
    """Delete some of what is no longer to be kept, and give space back. Raises sqlite3.Error and OSError."""
    if by_age and _age_is_due(con, now_s):
        delete_old(con, config, now_s)
        delete_copies(con, path, now_s)
        jobs.pseudonymise(con, now_s - config.pseudonyms_after_d * DAY_S)
    used = bytes_used(con, path)
    over_mb = max(0.0, used.records / MB - config.disk_cap_mb)
    others_mb = used.others / MB
    if others_mb < config.disk_cap_mb * OTHERS_SHARE or used.records / MB + others_mb <= config.disk_cap_mb:
        others_mb = 0.0
    begins = over_mb > 0 and not _lately(con, now_s)
    deleted = over_mb > 0 and delete_for_cap(con, config, now_s)
    more = give_back(con) or deleted
    return Tidied(more, 0.0 if deleted else over_mb, over_mb if begins and deleted else 0.0, others_mb)


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
    `until` alone decides nothing: a clock that was wrong may have set it.
    """
    con.execute("BEGIN IMMEDIATE")
    try:
        names = {name for (name,) in con.execute("SELECT name FROM signal WHERE until IS NULL")}
        note_left(con, sorted(names - active), now_us)
        con.execute(
            "DELETE FROM dictionary WHERE id NOT IN "
            "(SELECT dictionary FROM block UNION SELECT dictionary FROM hot WHERE dictionary IS NOT NULL)"
        )
        if not con.execute("SELECT 1 FROM hot WHERE dictionary IS NULL LIMIT 1").fetchone():
            _delete_signals(con)
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise


def note_left(con: sqlite3.Connection, names: Sequence[str], now_us: int) -> None:
    """Note since when the site no longer has these signals: not before the newest row, whatever the clock says."""
    until_us = max(now_us, newest_us(con))
    con.executemany(
        "UPDATE signal SET until = ? WHERE name = ? AND until IS NULL", [(until_us, name) for name in names]
    )


def newest_us(con: sqlite3.Connection) -> int:
    """The time of the newest sample or roll-up, UTC us; 0 without any. Raises sqlite3.Error."""
    (newest,) = con.execute(
        "SELECT max(coalesce((SELECT max(ts) FROM hot WHERE ts < :far), 0), "
        "coalesce((SELECT max(t0) FROM block WHERE t0 < :far), 0), "
        "1000000 * coalesce((SELECT max(t) FROM r1m WHERE t < :far / 1000000), 0), "
        "1000000 * coalesce((SELECT max(t) FROM r15 WHERE t < :far / 1000000), 0))",
        {"far": FAR_US},
    ).fetchone()
    return int(newest)


def _delete_signals(con: sqlite3.Connection) -> None:
    """Delete signals that left before the oldest row, once it is certain that no row has them."""
    rows = con.execute("SELECT sids FROM dictionary").fetchall()
    try:
        used = {sid for (sids,) in rows for (sid,) in struct.iter_unpack("<I", sids)}
    except DAMAGED:  # which signals a block has is not known: all names stay
        return
    left = con.execute(
        "SELECT id FROM signal WHERE id < (SELECT max(id) FROM signal) AND until < 1000000 * min("
        "coalesce((SELECT min(t) FROM r1m), 1e12), coalesce((SELECT min(t) FROM r15), 1e12), "
        "coalesce((SELECT min(t0) FROM block) / 1000000, 1e12), "
        "coalesce((SELECT min(ts) FROM hot) / 1000000, 1e12)) ORDER BY until"
    ).fetchall()
    unused = [row for row in left if row[0] not in used][:NAMES_AT_ONCE]
    con.executemany(
        "DELETE FROM signal WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM r15 WHERE sid = ?1) "
        "AND NOT EXISTS (SELECT 1 FROM r1m WHERE sid = ?1)",
        unused,
    )
    # those that have rows after all left later than was noted: they are not looked for each time
    con.executemany("UPDATE signal SET until = ?2 WHERE id = ?1", [(sid, newest_us(con)) for (sid,) in unused])


def _lately(con: sqlite3.Connection, now_s: float) -> bool:
    """Whether something was deleted for the cap in the last day."""
    sql = "SELECT 1 FROM gap WHERE reason = ? AND ts_utc_us > ? LIMIT 1"
    return bool(con.execute(sql, (DISK_CAP, (now_s - DAY_S) * 1e6)).fetchone())


def give_back(con: sqlite3.Connection) -> bool:
    """Give pages that are no longer used back to the file system; whether there may be more."""
    (free,) = con.execute("PRAGMA freelist_count").fetchone()
    if free <= FREED_PAGES:
        return False
    # executescript: execute() would free a single page (measured with Python 3.11's sqlite3)
    con.executescript(f"PRAGMA incremental_vacuum({FREED_PAGES})")
    return True


def hold(con: sqlite3.Connection, name: str, sequence: int, now_us: int) -> None:
    """Note that a holder has all blocks up to this one, and needs those after it.

    `name`: "user/hub"; of one user the newest `HOLDS_OF_ONE` stay.
    """
    con.execute(
        "INSERT INTO hold (name, seq, ts_utc_us) VALUES (?,?,?) "
        "ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, ts_utc_us = excluded.ts_utc_us",
        (name, sequence, now_us),
    )
    user = f"{name.partition('/')[0]}/"
    con.execute(
        "DELETE FROM hold WHERE name IN (SELECT name FROM hold WHERE substr(name, 1, length(?1)) = ?1 "
        "ORDER BY ts_utc_us DESC, name = ?2 DESC LIMIT -1 OFFSET ?3)",
        (user, name, HOLDS_OF_ONE),
    )


def _delete(con: sqlite3.Connection, table: _Table, before_s: float, reserve: int, now_s: float, reason: str) -> bool:
    """Delete the oldest rows of a table from before an instant; whether there were any. Without a reason: by age."""
    before = round(before_s * table.per_s)
    wanted = f"FROM {table.name} WHERE {table.column} < :before"
    values = {"before": before, "held": -1}
    if table.name == "block":
        alive_us = round((now_s - HOLD_D * DAY_S) * 1e6)
        (held,) = con.execute("SELECT min(seq) FROM hold WHERE ts_utc_us >= ?", (alive_us,)).fetchone()
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
