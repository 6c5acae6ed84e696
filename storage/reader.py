"""Reads the records over its own read-only connection, with bounded queries that do not disturb the writer.

Loads no sqlite_utils and no numpy: `skerry status` and an attached console use it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from dispatch.accounting.records import PeakInterval
from dispatch.alarms.episodes import AlarmEpisode
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from storage import jobs, outgoing
from storage.alarm_history import episodes
from storage.context import Context, context_at
from storage.damage import DAMAGED
from storage.drills import DrillRecord, record_of
from storage.history import Buckets, means, minute_roll_ups
from storage.intake import DECISION_EVERY_S
from storage.jobs import Group, JobQuestion, KeptJob
from storage.moment import Gap, Moment, gaps_between, moment
from storage.outgoing import BlockPage, OutgoingEvent, QuarterPage, Wanted
from storage.rollup import MINUTE_S
from storage.rows import DECISION_COLUMNS, EVENT_COLUMNS, decision_of, event_of, to_us
from storage.samples import row_times_us
from storage.schema import FILE
from storage.signals import Signal

POINTS = 5000  # of one history, at most: the step grows until it fits
ROWS = 1000  # of one list of events or decisions, at most
SLACK_S = 30.0  # a decision may come this much later than once a minute
MINUTES_SPAN_S = 26 * 3600  # of one question for minutes: a day of 25 h, and an hour before it
MINUTE_US = MINUTE_S * 1_000_000
READS_VERSION = 1  # schemas from this one on
DRILLS_VERSION = 3  # and drills from this one on
REASONS_VERSION = 4  # decisions of earlier ones have sentences only
BLOCKS_VERSION = 6  # packed blocks, and roll-ups of quarter hours, from this one on
CONTEXT_VERSION = 8  # what stood besides the signals, from this one on
JOBS_VERSION = 7  # what jobs drew, from this one on


class NoRecords(Exception):
    """There is nothing to read here: no file, or none that can be read. The text says which and where."""


class RecordDamaged(NoRecords):
    """There is something, but a row of it is none that any version has written: a disk or a person has changed it."""


class QueryTimeout(Exception):
    """The question took longer than it may; ask for a shorter span."""


class Archive:
    """The records of one state directory, for any thread, one question at a time.

    The file is opened by the first question and again when it was replaced. Every method raises NoRecords when there is
    nothing to read, its kind RecordDamaged for a row that nobody can read, and QueryTimeout after `timeout_s`.
    """

    def __init__(self, directory: Path, timeout_s: float = 2.0) -> None:
        self.path = directory / FILE
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._con: sqlite3.Connection | None = None
        self._inode = 0
        self._deadline = 0.0

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._drop()

    def signals(self) -> list[Signal]:
        """Every signal on record."""
        with self._asking() as con:
            return [Signal(*row) for row in con.execute("SELECT name, unit, scale, kind FROM signal ORDER BY id")]

    def history(self, signals: Sequence[str], start_utc_s: float, end_utc_s: float, step_s: float) -> dict[str, Any]:
        """Means over time: {"t": [bucket starts, UTC s], "step_s": s, "signals": {name: [mean or None, ...]}}.

        Buckets are aligned to whole steps of UTC and cover [start, end). From 60 s up the step is made a multiple of a
        minute and answered from the roll-ups of minutes, whole quarter hours from theirs; below, from the samples. What
        is no longer kept, or not yet made, is answered from the next resolution that has it.
        A step that would give more than `POINTS` grows until it fits. A signal nobody recorded is all None.

        Raises ValueError if the end is not after the start or the step not above 0.
        """
        if not (end_utc_s > start_utc_s and step_s > 0):
            raise ValueError(f"expected start < end and step > 0, got {start_utc_s:g}, {end_utc_s:g}, {step_s:g}")
        step_us = _step_us(start_utc_s, end_utc_s, step_s)
        first = to_us(start_utc_s) // step_us
        count = -(-to_us(end_utc_s) // step_us) - first
        with self._asking() as con:
            known = {name: (sid, scale) for name, sid, scale in _known(con, signals)}
            scales = dict(known[name] for name in signals if name in known)
            columns = means(con, scales, Buckets(first, count, step_us), self._on_time)
        empty: list[float | None] = [None] * count
        return {
            "t": [(first + n) * step_us / 1e6 for n in range(count)],
            "step_s": step_us / 1e6,
            "signals": {name: columns[known[name][0]] if name in known else list(empty) for name in signals},
        }

    def minutes(
        self, signals: Sequence[str], start_utc_s: int, end_utc_s: int
    ) -> dict[str, dict[int, tuple[float, float]]]:
        """The one-minute roll-ups that start in [start, end), 26 h at most: {signal: {start, UTC s: (mean, last)}}.

        A minute without a sample, and a signal nobody recorded, are absent. Raises ValueError for a longer span.
        """
        if end_utc_s - start_utc_s > MINUTES_SPAN_S:
            raise ValueError(f"expected at most {MINUTES_SPAN_S / 3600:g} h, got {(end_utc_s - start_utc_s) / 3600:g}")
        found: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in signals}
        with self._asking() as con:
            known = {name: (sid, scale) for name, sid, scale in _known(con, signals)}
            rolled = minute_roll_ups(con, [sid for sid, _ in known.values()], start_utc_s, end_utc_s, self._on_time)
            for name, (sid, scale) in known.items():
                found[name] = {t: (row.mean * scale, row.last * scale) for t, row in rolled[sid].items()}
        return found

    def events(
        self,
        limit: int,
        before_utc_s: float | None = None,
        text: str | None = None,
        kinds: Sequence[str] = (),
        since_utc_s: float | None = None,
    ) -> list[Event]:
        """Events in [since, before), newest first, at most `limit` (and `ROWS`); of all kinds where none is named.

        `text` is looked for in text, subject and who.
        """
        where = ["true"]
        values: list[str | int] = []
        if before_utc_s is not None:
            where.append("ts_utc_us < ?")
            values.append(to_us(before_utc_s))
        if since_utc_s is not None:
            where.append("ts_utc_us >= ?")
            values.append(to_us(since_utc_s))
        if kinds:
            where.append(f"kind IN ({','.join('?' * len(kinds))})")
            values += kinds
        if text:
            pattern = "%" + text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
            where.append(r"(text LIKE ? ESCAPE '\' OR subject LIKE ? ESCAPE '\' OR who LIKE ? ESCAPE '\')")
            values += [pattern] * 3
        sql = f"SELECT {EVENT_COLUMNS} FROM event WHERE {' AND '.join(where)} ORDER BY ts_utc_us DESC, id DESC LIMIT ?"
        with self._asking() as con:
            return [event_of(row) for row in con.execute(sql, (*values, _limited(limit)))]

    def alarm_history(self, since_utc_s: float, until_utc_s: float, limit: int = ROWS) -> list[AlarmEpisode]:
        """When alarms came in [since, until), were acknowledged and went, newest first, at most `limit`."""
        with self._asking() as con:
            return episodes(con, since_utc_s, until_utc_s, _limited(limit))

    def decisions(self, start_utc_s: float, end_utc_s: float, limit: int = ROWS) -> list[Decision]:
        """Stored decisions in [start, end), newest first, at most `limit` (and `ROWS`)."""
        where = "WHERE ts_utc_us >= ? AND ts_utc_us < ? ORDER BY ts_utc_us DESC, id DESC LIMIT ?"
        with self._asking() as con:
            values = (to_us(start_utc_s), to_us(end_utc_s), _limited(limit))
            return [decision_of(row) for row in con.execute(f"{_decisions(con)} {where}", values)]

    def why(self, at_utc_s: float | None = None) -> Decision | None:
        """The decision in force at an instant, with its whole chain; without one, the latest on record.

        None if none is on record, or if nothing was decided then: decisions are stored at least once a minute.
        """
        at_us = 2**62 if at_utc_s is None else to_us(at_utc_s)
        where = "WHERE ts_utc_us <= ? ORDER BY ts_utc_us DESC, id DESC LIMIT 1"
        with self._asking() as con:
            row = con.execute(f"{_decisions(con)} {where}", (at_us,)).fetchone()
            decision = None if row is None else decision_of(row)
        if decision is None:
            return None
        if at_utc_s is not None and at_utc_s - decision.utc_s > DECISION_EVERY_S + SLACK_S:
            return None
        return decision

    def at(self, utc_s: float) -> Moment:
        """The site as it was at a moment: every signal with its quality, nodes among them, alarms and decision."""
        decision = self.why(utc_s)
        with self._asking() as con:
            return moment(con, utc_s, decision, self._on_time)

    def context(self, utc_s: float) -> Context:
        """What stood at a moment besides the signals; a record of before schema 8 says nothing of it."""
        with self._asking() as con:
            has = int(con.execute("PRAGMA user_version").fetchone()[0]) >= CONTEXT_VERSION
            return context_at(con, utc_s) if has else Context()

    def counts(self) -> dict[str, int]:
        """Rows by table; of `hot`, the samples that are not yet packed."""
        tables = ["signal", "r1m", "event", "decision", "state"]
        with self._asking() as con:
            hot = "count(*)"
            if con.execute("PRAGMA user_version").fetchone()[0] >= BLOCKS_VERSION:
                tables += ["block", "r15", "gap"]
                hot = "coalesce(sum(coalesce(length(times) / 8, 1)), 0)"
            found = {table: int(con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables}
            return found | {"hot": int(con.execute(f"SELECT {hot} FROM hot").fetchone()[0])}

    def ends_utc_s(self) -> float | None:
        """The time of the newest row of telemetry, events and decisions; None of an empty record."""
        newest = "SELECT 1000000 * max(t) AS t FROM r1m"
        for table in ("event", "decision"):
            newest += f" UNION ALL SELECT max(ts_utc_us) FROM {table}"
        with self._asking() as con:
            (ts_us,) = con.execute(f"SELECT max(t) FROM ({newest})").fetchone()
            row = con.execute("SELECT max(ts) FROM hot").fetchone()
            found = [ts_us] if row[0] is None else [ts_us, *row_times_us(con, row[0])]
        return max((t / 1e6 for t in found if t is not None), default=None)

    def gaps(self, start_utc_s: float, end_utc_s: float) -> list[Gap]:
        """What was deleted of [start, end) before its time, oldest first, at most `ROWS`."""
        with self._asking() as con:
            return gaps_between(con, start_utc_s, end_utc_s, ROWS)

    def drills(self, limit: int = ROWS, number: int | None = None) -> list[DrillRecord]:
        """Reports of drills, newest first, at most `limit` (and `ROWS`); with `number`, that one alone."""
        sql = "SELECT id, audit_head, not_durable, report FROM drill WHERE ? IN (id, 0) ORDER BY id DESC LIMIT ?"
        with self._asking() as con:
            if con.execute("PRAGMA user_version").fetchone()[0] < DRILLS_VERSION:
                return []
            return [record_of(row) for row in con.execute(sql, (number or 0, _limited(limit)))]

    def jobs(self, asked: JobQuestion, limit: int = ROWS, before: tuple[float, int] | None = None) -> list[KeptJob]:
        """Finished runs of jobs, the last to end first, at most `limit` (and `ROWS`).

        `before`: end (UTC s) and number of the last one of the page before.
        """
        with self._asking() as con:
            return jobs.jobs(con, asked, _limited(limit), before) if self._has_jobs(con) else []

    def job_groups(self, asked: JobQuestion, by: str, accounts: Sequence[str]) -> tuple[list[Group], dict[str, float]]:
        """Finished runs added up by user, account or partition, and what each caused of the peaks of `accounts`, EUR.

        Raises ValueError for another `by`.
        """
        jobs.check_group(by)
        with self._asking() as con:
            if not self._has_jobs(con):
                return [], {}
            return jobs.groups(con, asked, by), jobs.group_peaks(con, asked, by, accounts)

    def job_quarters(self, start_utc_s: float, end_utc_s: float) -> dict[str, float]:
        """What jobs, idle nodes and the whole site drew in the quarter hours that began in [start, end), added up."""
        with self._asking() as con:
            return jobs.quarters(con, start_utc_s, end_utc_s) if self._has_jobs(con) else {}

    def job_peaks(self) -> list[PeakInterval]:
        """The highest interval of each account, and who drew how much then."""
        with self._asking() as con:
            return jobs.peaks(con) if self._has_jobs(con) else []

    def _has_jobs(self, con: sqlite3.Connection) -> bool:
        return int(con.execute("PRAGMA user_version").fetchone()[0]) >= JOBS_VERSION

    def outgoing_blocks(self, after_seq: int, wanted: Wanted, most_bytes: int, offset: int = 0) -> BlockPage:
        """Blocks after a sequence as they leave the site, see `storage/outgoing.py`. Empty of a record without any."""
        with self._asking() as con:
            has = int(con.execute("PRAGMA user_version").fetchone()[0]) >= BLOCKS_VERSION
            return outgoing.block_page(con, after_seq, wanted, most_bytes, offset) if has else BlockPage()

    def outgoing_quarters(self, after: int, wanted: Wanted, *, by_time: bool) -> QuarterPage:
        """Roll-ups of quarter hours as they leave, by the sequence of their blocks, or all after a time (UTC s)."""
        with self._asking() as con:
            if int(con.execute("PRAGMA user_version").fetchone()[0]) < BLOCKS_VERSION:
                return QuarterPage()
            return (outgoing.quarters_from if by_time else outgoing.quarter_page)(con, after, wanted)

    def outgoing_events(self, after_id: int) -> list[OutgoingEvent]:
        """Events after one, in the order in which they were written, a page."""
        with self._asking() as con:
            return outgoing.events_after(con, after_id)

    def last_state(self, key: str) -> Any:
        """What the controller last saved under a key, as decoded JSON; None if nothing."""
        with self._asking() as con:
            row = con.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
            return None if row is None else msgspec.json.decode(row[0])

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        """The connection for one question, all of whose reads see one state of the file."""
        with self._lock:
            con = self._connected()
            self._deadline = time.monotonic() + self.timeout_s
            try:
                con.execute("BEGIN")
                yield con
                con.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._drop()
                if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                    raise self._too_long() from error
                raise NoRecords(f"cannot read {self.path}: {error}") from error
            except DAMAGED as error:
                self._drop()
                raise RecordDamaged(f"cannot read {self.path}: a row of it is damaged, {error}") from error
            except BaseException:
                self._drop()
                raise

    def _connected(self) -> sqlite3.Connection:
        """The open connection, if its file is still the one of that name, else a new one."""
        try:
            inode = os.stat(self.path).st_ino
        except OSError as error:
            self._drop()
            raise NoRecords(f"no records at {self.path}: {error.strerror}") from error
        if self._con is None or inode != self._inode:
            self._drop()
            self._con, self._inode = self._open(), inode
        return self._con

    def _open(self) -> sqlite3.Connection:
        con = open_read_only(self.path)
        con.set_progress_handler(lambda: int(time.monotonic() > self._deadline), 20_000)
        return con

    def _on_time(self) -> None:
        """Raises QueryTimeout once the question has taken too long outside SQLite."""
        if time.monotonic() > self._deadline:
            raise self._too_long()

    def _too_long(self) -> QueryTimeout:
        return QueryTimeout(f"reading {self.path} took longer than {self.timeout_s:g} s; ask for a shorter span")

    def _drop(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            con.close()


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that can only read a telemetry file. Raises NoRecords."""
    if not path.exists():
        raise NoRecords(f"no records at {path}: there is no such file")
    try:
        con = _connect(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise NoRecords(f"cannot read {path}: {error}") from error
    if con.execute("PRAGMA user_version").fetchone()[0] < READS_VERSION:
        con.close()
        raise NoRecords(f"no records at {path}: the file is there, but nothing has been written yet")
    return con


def _connect(path: Path) -> sqlite3.Connection:
    """A read-only connection. At rest in a directory we cannot write, a file needs `immutable`; never beside a WAL."""
    uri = path.absolute().as_uri()
    con = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        con.execute("PRAGMA query_only = ON")
        con.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except UnicodeDecodeError:
        con.close()
        raise
    except sqlite3.DatabaseError as error:
        con.close()
        wal = Path(f"{path}-wal")
        if error.sqlite_errorname != "SQLITE_CANTOPEN" or wal.exists():
            raise
        uri = f"{uri}?mode=ro&immutable=1"
        con = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    return con


def _decisions(con: sqlite3.Connection) -> str:
    """The query for decisions that fits the file: one that no newer gateway has opened yet has sentences only."""
    columns = DECISION_COLUMNS
    if con.execute("PRAGMA user_version").fetchone()[0] < REASONS_VERSION:
        columns = columns.replace("worded", "1")
    return f"SELECT {columns} FROM decision"


def _known(con: sqlite3.Connection, signals: Sequence[str]) -> list[tuple[str, int, float]]:
    """(name, id, scale) of those signals that are on record."""
    marks = ",".join("?" * len(signals))
    return con.execute(f"SELECT name, id, scale FROM signal WHERE name IN ({marks})", list(signals)).fetchall()


def _limited(limit: int) -> int:
    return max(0, min(limit, ROWS))


def _step_us(start_utc_s: float, end_utc_s: float, step_s: float) -> int:
    """The step that answers: at most POINTS of them, whole minutes from a minute up."""
    step_us = max(to_us(step_s), 1, -(-to_us(end_utc_s - start_utc_s) // (POINTS - 1)))
    return step_us if step_us < MINUTE_US else -(-step_us // MINUTE_US) * MINUTE_US
