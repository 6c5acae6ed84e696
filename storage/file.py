"""Writes the telemetry file: one connection, used by the writer thread only."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dispatch.model.events import Event
from storage import backup, drills, jobs, packing, retention, rollback, schema
from storage.config import StorageConfig
from storage.damage import DAMAGED, Damaged, check, is_broken
from storage.intake import HotRow, Intake, together
from storage.merging import CannotMerge, Merged, Merging
from storage.moving import free_name, moved
from storage.packing import Source
from storage.resolution import Layout
from storage.rollup import QUARTER_S, Minute, Summary, raw_rows
from storage.rows import DECISION_COLUMNS, EVENT_COLUMNS, event_row, to_us
from storage.samples import QUARTER_US, packed
from storage.signals import definition, to_raw

BUSY_S = 2.0  # someone else writes to the file: wait this long, then try again later
LOST_US = 30 * 60 * 1_000_000  # a crash loses roll-ups of its last minute; half an hour is ample

log = logging.getLogger("skerry.storage")


class _Dictionary(NamedTuple):
    """Of the rows of a layout."""

    number: int
    scales: tuple[float, ...]


class TelemetryFile:
    """Opens, checks, migrates and writes `telemetry.db`. Methods raise sqlite3.Error, OSError and NewerSchema.

    A file found damaged is moved aside, with its WAL, and a new one begun; `found` then holds the event that says so.
    """

    def __init__(
        self, path: Path, boot_id: str, source: Callable[[], Source], meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """`source` gives the UUIDs of site and incarnation. `meanwhile` is called in the course of what takes long."""
        self.path = path
        self._source, self._meanwhile = source, meanwhile
        self.found: list[Event] = []
        self.replaced = False  # a damaged file was moved aside
        self._boot_id = boot_id
        self._started_us: int | None = None
        self._con: sqlite3.Connection | None = None
        self._inode = 0
        self._cap = retention.CapNotices()
        self._run = 0
        self._merging: Merging | None = None
        self._not_merged: set[str] = set()  # why not, as far as it was told
        self._newer: Path | None = None  # a newer Skerry's file, from which a fresh one goes on
        self._known: dict[str, tuple[int, float]] = {}
        self._seen: set[str] = set()  # signals of this run
        self._dictionaries: dict[Layout, _Dictionary] = {}

    def ensure_open(self, utc_s: float) -> None:
        """Have the file open, whatever happened to it. `utc_s`: the site's time, for names and rows."""
        if self._con is not None and self._moved():
            self.abandon()
            self._tell(utc_s, "warning", f"{self.path} was moved or deleted while in use; a new one was begun")
        if self._con is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open(utc_s)
        except Damaged as error:
            self.set_aside(utc_s, str(error))
            self._open(utc_s)

    def set_aside(self, utc_s: float, why: str) -> None:
        """Rename a damaged file, its WAL first: a new file must never meet an old WAL. Raises OSError.

        Renamed before the connection closes: a last close would fold the WAL into the file and delete it.
        """
        aside = free_name(self.path.with_name(f"{self.path.name}.corrupt.{_stamp(utc_s)}"))
        moved(self.path, aside)
        self.replaced = True
        self.abandon()
        self._tell(
            utc_s,
            "alarm",
            f"{self.path} was damaged ({why}); kept as {aside.name}, a new one was begun; "
            "skerry salvage recovers what can be read",
        )

    def abandon(self) -> None:
        """Close without another word to the file: it failed, or it is gone."""
        con, self._con = self._con, None
        self._forget_ids()
        self._end_merging()
        self._run = 0
        if con is not None:
            try:
                con.close()
            except sqlite3.Error:  # the failure that led here has been reported; a second one adds nothing
                pass

    def close(self, utc_us: int) -> None:
        """Note which signals the site no longer has, and close. Raises sqlite3.Error."""
        con = self._con
        if con is None:
            return
        if self._seen:
            with self._transaction(durable=True) as con:
                retention.note_left(con, [name for name in self._known if name not in self._seen], utc_us)
        self._end_merging()
        self._con = None
        con.close()

    def write_event(self, event: Event, mono_ns: int, durable: bool) -> int:
        """One event, one commit; its row id. Durable: on the disk itself when this returns."""
        with self._transaction(durable) as con:
            cursor = con.execute(
                f"INSERT INTO event (run, mono_ns, {EVENT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)",
                (self._run, mono_ns, *event_row(event)),
            )
        return int(cursor.lastrowid or 0)

    def write(self, intake: Intake, whole: bool) -> dict[str, int]:
        """What waits, in one transaction that is on the disk when this returns; the new rows by table.

        `whole`: also the minute that still runs.
        """
        minutes = intake.minutes_due(whole)
        try:
            with self._transaction(durable=True) as con:
                self._register(con, intake, minutes)
                for rows in together(intake.hot):
                    self._insert_hot(con, rows)
                rolled = {m.t: self._write_minute(con, m) for m in minutes}
                self._roll_late(con, minutes)
                con.executemany(
                    f"INSERT INTO decision (run, {DECISION_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    [(self._run, *row) for row in intake.decisions],
                )
                con.executemany(
                    "INSERT INTO context (run, ts_utc_us, kind, v) VALUES (?,?,?,?)",
                    [(self._run, to_us(row.utc_s), row.kind, row.v) for row in intake.context],
                )
                jobs.insert(con, intake.jobs)
                self._insert_memory(con, intake)
        except BaseException:
            self._forget_ids()  # some were given out in a transaction that was rolled back
            raise
        new = 0
        for minute in minutes:
            new += rolled[minute.t] - minute.rows
            minute.rows = rolled[minute.t]
        return {"hot": len(intake.hot), "r1m": new, "decision": len(intake.decisions), "drill": len(intake.drills)}

    def write_memory(self, intake: Intake) -> dict[str, int]:
        """The controller's memory and drills alone, as `write` does: the disk is full."""
        with self._transaction(durable=True) as con:
            self._insert_memory(con, intake)
        return {"drill": len(intake.drills)}

    def _insert_memory(self, con: sqlite3.Connection, intake: Intake) -> None:
        for record in intake.drills:
            values = (self._run, *drills.row_of(record))
            con.execute(f"INSERT INTO drill (run, {drills.COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", values)
        con.executemany(
            "INSERT INTO state (key, value, ts_utc_us) VALUES (?,?,?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, ts_utc_us = excluded.ts_utc_us",
            [(key, value, ts) for key, (value, ts) in intake.states.items()],
        )

    def pack(self, utc_s: float) -> bool:
        """Pack a quarter hour that is ready, if there is one: whether there was. `utc_s`: the newest tick's."""
        con = self._con
        if con is None:
            return False
        start_s = packing.next_quarter(con, utc_s)
        if start_s is None:
            return False
        packing.pack_quarter(con, start_s, self._source(), to_us(utc_s))
        return True

    def merge(self, utc_s: float) -> bool:
        """Take in some of a file that was recorded meanwhile, or salvaged; whether there is more."""
        if self._merging is None:
            return False
        try:
            found = self._merging.step()
        except CannotMerge as error:
            if str(error) not in self._not_merged:  # it is tried each minute
                self._not_merged.add(str(error))
                self._tell(utc_s, "warning", str(error))
            return False
        if isinstance(found, Merged):
            lost = f"; {found.refused} rows were damaged and are left out" if found.refused else ""
            self._tell(utc_s, "info", f"{found.name} is merged into {self.path}: {found.rows} rows{lost}")
        self._forget_ids()  # there may be new ones
        return bool(found)

    def _end_merging(self) -> None:
        if self._merging is not None:
            self._merging.close()
            self._merging = None

    def tidy(self, config: StorageConfig, utc_s: float, by_age: bool, active: set[str]) -> bool:
        """Delete some of what is no longer to be kept; whether there is more. `active`: signals recorded now."""
        con = self._con
        if con is None:
            return False
        found = retention.tidy(con, self.path, config, utc_s, by_age)
        if by_age:
            retention.free_names(con, active, to_us(utc_s))
            self._forget_ids()
        for text in self._cap.begun(found, self.path, config.disk_cap_mb, utc_s):
            self._tell(utc_s, "warning", text)
        return found.more

    def hold(self, name: str, sequence: int, utc_s: float) -> None:
        """Note that a holder has all blocks up to this one, and still needs those after it."""
        with self._transaction(durable=False) as con:
            retention.hold(con, name, sequence, to_us(utc_s))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, utc_s: float) -> None:
        """Open, check, migrate, begin a run. Raises Damaged."""
        if self._started_us is None:
            self._started_us = to_us(utc_s)
        newer, told = rollback.right_file(self.path, _stamp(utc_s), BUSY_S)
        self._newer = newer or self._newer
        for severity, text in told:
            self._tell(utc_s, severity, text)
        if self.path.exists():
            check(self.path, BUSY_S)
        con = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            schema.prepare(con)
            for severity, text in backup.migrated(con, self.path, self._meanwhile):
                self._tell(utc_s, severity, text)
            run = (self._boot_id, self._started_us)
            con.execute("INSERT OR IGNORE INTO run (boot_id, started_utc_us) VALUES (?,?)", run)
            self._run = con.execute("SELECT id FROM run WHERE boot_id = ? AND started_utc_us = ?", run).fetchone()[0]
            self._inode = os.stat(self.path).st_ino
            self._roll_lost_minutes(con)
            if self._newer is not None and (lost := rollback.go_on_from(con, self._newer)):
                self._tell(utc_s, "warning", lost)
            self._newer = None
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            con.close()
            if is_broken(error):
                raise Damaged(str(error)) from error
            raise
        except BaseException:
            con.close()
            raise
        self._con, self._merging = con, Merging(con, self.path)

    def _roll_lost_minutes(self, con: sqlite3.Connection) -> None:
        """The roll-ups of the last minutes before this run, if it was a crash that ended the one before."""
        rows = con.execute(
            "SELECT ts, step_us, dictionary, times, v FROM hot WHERE run <> ? AND ts >= max("
            "1000000 * coalesce((SELECT max(t) FROM r1m), 0), (SELECT max(ts) FROM hot) - ?) - ? ORDER BY ts",
            (self._run, LOST_US, QUARTER_US),
        ).fetchall()
        if not rows:
            return
        try:
            packing.roll_minutes_of_samples(con, rows)
        except DAMAGED as error:
            log.error("records: samples of the run before are damaged: %s", error)

    def _moved(self) -> bool:
        """Whether the path now leads to another file than the one that is open: it was moved or replaced."""
        try:
            return os.stat(self.path).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _tell(self, utc_s: float, severity: str, text: str) -> None:
        self.found.append(Event(utc_s, "gateway", severity, "storage", text))

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[sqlite3.Connection]:
        """One write transaction, rolled back on any error. Durable: on the disk itself, with all before it."""
        con = self._con
        assert con is not None, "ensure_open comes first"
        # with FULL a commit syncs the WAL; with NORMAL only a checkpoint does, which may be minutes away
        if durable:
            con.execute("PRAGMA synchronous = FULL")
        try:
            con.execute("BEGIN IMMEDIATE")
            yield con
            con.execute("COMMIT")
        except BaseException:
            if con.in_transaction:  # a full disk has rolled back already
                con.execute("ROLLBACK")
            raise
        finally:
            if durable:
                con.execute("PRAGMA synchronous = NORMAL")

    def _forget_ids(self) -> None:
        """Ids of signals and dictionaries are read again by the next that needs them."""
        self._known, self._seen, self._dictionaries = {}, set(), {}

    def _register(self, con: sqlite3.Connection, intake: Intake, minutes: Sequence[Minute]) -> None:
        """Give every signal that waits an id."""
        if not self._known:
            self._load_known(con)
        waiting = self._not_registered(intake, minutes)
        if not waiting:
            return
        con.executemany(
            "INSERT INTO signal (id, name, unit, scale, kind, since) "
            "SELECT coalesce(max(id), 0) + 1, ?,?,?,?,? FROM signal WHERE true "
            "ON CONFLICT (name) DO UPDATE SET until = NULL",
            [(*definition(name), since_us) for name, since_us in waiting.items()],
        )
        self._load_known(con)
        self._seen.update(waiting)

    def _not_registered(self, intake: Intake, minutes: Sequence[Minute]) -> dict[str, int]:
        """Signals without an id, or not seen in this run: when each was first sampled, us, in order of coming."""
        found: dict[str, int] = {}
        layout = None
        for row in intake.hot:
            if row.layout is layout:
                continue
            layout = row.layout
            for name in layout.names:
                if name not in self._seen or name not in self._known:
                    found.setdefault(name, row.ts_us)
        for minute in minutes:
            for name in minute.names():
                if name not in self._known:
                    found.setdefault(name, minute.t * 1_000_000)
        return found

    def _load_known(self, con: sqlite3.Connection) -> None:
        rows = con.execute("SELECT name, id, scale FROM signal ORDER BY id")
        self._known = {name: (sid, scale) for name, sid, scale in rows}

    def _insert_hot(self, con: sqlite3.Connection, rows: Sequence[HotRow]) -> None:
        """Samples as one row. A clock that stepped back may have been there before: then the next free microsecond."""
        layout, ts, run = rows[0].layout, rows[0].ts_us, (self._run, rows[0].mono_us)
        known = self._dictionaries.get(layout)
        if known is None:
            known = self._dictionaries[layout] = self._dictionary(con, layout)
        raw = [[to_raw(value, scale) for value, scale in zip(row.values, known.scales, strict=True)] for row in rows]
        times = struct.pack(f"<{len(rows)}q", *(row.ts_us for row in rows))
        values = (*run, known.number, layout.step_us, times, packed(raw, [row.doubted for row in rows]))
        sql = "INSERT OR IGNORE INTO hot (ts, run, mono_us, dictionary, step_us, times, v) VALUES (?,?,?,?,?,?,?)"
        while con.execute(sql, (ts, *values)).rowcount == 0:
            ts += 1

    def _dictionary(self, con: sqlite3.Connection, layout: Layout) -> _Dictionary:
        """The dictionary of a layout's rows."""
        known = [self._known[name] for name in layout.names]
        number, _ = packing.dictionary_of(con, [sid for sid, _ in known])
        return _Dictionary(number, tuple(scale for _, scale in known))

    def _roll_late(self, con: sqlite3.Connection, minutes: Sequence[Minute]) -> None:
        """Minutes of quarter hours that were rolled up already: a clock that stepped back, a disk that was full."""
        (newest,) = con.execute("SELECT max(t) FROM r15").fetchone()
        late = {m.t // QUARTER_S * QUARTER_S for m in minutes if newest is not None and m.t < newest + QUARTER_S}
        for start_s in late:
            packing.roll_quarter(con, start_s)

    def _write_minute(self, con: sqlite3.Connection, minute: Minute) -> int:
        """The minute as it stands, over what was written of it before; how many rows it has."""
        known = self._known
        if minute.base is None:
            names = {sid: (name, scale) for name, (sid, scale) in known.items()}
            minute.base = {}
            for sid, mn, mx, mean, last, n in con.execute(
                "SELECT sid, mn, mx, mean, last, n FROM r1m WHERE t = ?", (minute.t,)
            ):
                name, scale = names[sid]
                minute.base[name] = Summary(mn * scale, mx * scale, mean * scale, last * scale, n)
            minute.rows = sum(name in minute.base for name in minute.names())
        rows = list(raw_rows(minute.t, minute.summaries(), known))
        con.executemany("INSERT OR REPLACE INTO r1m (t, sid, mn, mx, mean, last, n) VALUES (?,?,?,?,?,?,?)", rows)
        return len(rows)


def _stamp(utc_s: float) -> str:
    """A time as a part of a file's name."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(utc_s))
