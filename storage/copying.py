"""Copies rows of one telemetry file into another. Merging and salvaging share it.

Ids of runs, signals and dictionaries belong to a file: a copied row gets those of the file it goes to. A block keeps
its bytes, and so its identity (site, incarnation, sequence), and its number, unless another block has that number.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from storage.blocks import BlockDamaged, encode, opened
from storage.damage import DAMAGED
from storage.jobs import record_of
from storage.packing import ROLLED, dictionary_of, roll_quarter
from storage.rollup import QUARTER_S
from storage.samples import packed, sids_blob
from storage.signals import RAW_MAX

Row = tuple[Any, ...]
LOST = "lost."  # begin of names of signals whose own are lost
LOST_RUN = ("lost", 0)  # boot id and start of a run of which no row is left


class Table(NamedTuple):
    """A table whose rows are copied."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    at_once: int  # rows in one step of a merge


def _table(name: str, key: str, columns: str, at_once: int) -> Table:
    return Table(name, tuple(key.split()), tuple(columns.split()), at_once)


# In this order: a quarter hour's roll-up is there before those of its minutes, see `Copier._minutes`.
TABLES = (
    _table("state", "key", "key value ts_utc_us", 20),
    _table("hold", "name", "name seq ts_utc_us", 20),
    _table("gap", "id", "id resolution t0 t1 reason ts_utc_us", 200),
    _table("drill", "id", "id ts_utc_us run started_utc_us result who reason why audit_head not_durable report", 5),
    _table("event", "id", "id ts_utc_us run mono_ns kind severity subject text who", 200),
    _table(
        "decision",
        "id",
        "id ts_utc_us run seq mode island binding reason battery_w net_load_w import_target_w setpoints chain worded",
        100,
    ),
    _table("r15", "t sid", "t sid mn mx mean last n", 500),
    _table("r1m", "t sid", "t sid mn mx mean last n", 500),
    _table("block", "seq", "seq t0 step_us n dictionary v", 4),
    _table("hot", "ts", "ts run mono_us v dictionary step_us times", 20),
    _table(
        "job",
        "id",
        "id ts_utc_us scheduler job started_utc_us user account partition name pseudonym energy_wh cost_eur record",
        200,
    ),
    _table("job_quarter", "t", "t import_wh load_wh known_s jobs_wh idle_wh gap_s eur_per_kwh co2_g_per_kwh", 200),
    _table("job_peak", "account", "account t import_w load_wh eur shares", 5),
    _table("context", "id", "id ts_utc_us run kind v", 50),
)
NAMES = ("run", "signal", "dictionary")  # tables that the others refer to
OWN_STATES = "retention."  # begin of keys that say something of one file only


class SignalRow(NamedTuple):
    """A signal as a file has it."""

    name: str
    unit: str
    scale: float
    kind: str
    since: int
    until: int | None


class Names(msgspec.Struct):
    """What the rows of the file that is copied refer to, by its own ids."""

    runs: dict[int, tuple[str, int]]
    signals: dict[int, SignalRow]
    dictionaries: dict[int, tuple[bytes, tuple[int, ...]]]  # hash, ids of signals


def names_of(con: sqlite3.Connection) -> Names:
    """The names of an open file of this version's schema. Raises sqlite3.Error and those of `damage.DAMAGED`."""
    runs = {row[0]: (row[1], row[2]) for row in con.execute("SELECT id, boot_id, started_utc_us FROM run")}
    found = con.execute("SELECT id, name, unit, scale, kind, since, until FROM signal")
    signals = {row[0]: SignalRow(*row[1:]) for row in found}
    return Names(runs, signals, dictionaries_of(con.execute("SELECT id, hash, sids FROM dictionary").fetchall()))


def dictionaries_of(rows: Sequence[Row]) -> dict[int, tuple[bytes, tuple[int, ...]]]:
    """Rows of the table `dictionary`. Raises struct.error."""
    return {number: (digest, struct.unpack(f"<{len(sids) // 4}I", sids)) for number, digest, sids in rows}


class Copier:
    """Writes rows within the caller's transaction. Methods raise sqlite3.Error.

    A row that no version has written is not copied; `refused` counts those. Made anew for each transaction: another
    part of the program may delete names that no row has.
    """

    def __init__(self, con: sqlite3.Connection, names: Names) -> None:
        self._con, self._names = con, names
        self.refused = 0
        self._runs: dict[int, int] = {}
        self._sids: dict[int, int] = {}
        self._dictionaries: dict[bytes, int] = {}
        self._first: dict[int, int] = {}  # count of signals -> dictionary
        self._copy: dict[str, Callable[[Table, Row], None]] = {
            "state": self._state,
            "hold": self._hold,
            "r15": self._rolled,
            "r1m": self._rolled,
            "block": self._block,
            "hot": self._hot,
            "job": self._job,
            "job_quarter": self._accounted,
            "job_peak": self._accounted,
        }

    def copy(self, table: Table, rows: Sequence[Row], rolled: Callable[[int], bool] = lambda _: False) -> None:
        """Write rows, each with the columns of its table.

        `rolled`: of minutes, whether the file that they come from has the roll-up of the quarter hour that begins then.
        """
        copy = self._copy.get(table.name, self._plain)
        for row in rows:
            try:
                copy(table, row)
            except DAMAGED:
                self.refused += 1
        if table.name == "r1m":
            for start_s in sorted({row[0] // QUARTER_S * QUARTER_S for row in rows}):
                if not rolled(start_s):
                    roll_quarter(self._con, start_s)

    # ── what rows refer to ──────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, number: int) -> int:
        if number not in self._runs:
            run = self._names.runs.get(number, LOST_RUN)
            self._con.execute("INSERT OR IGNORE INTO run (boot_id, started_utc_us) VALUES (?,?)", run)
            sql = "SELECT id FROM run WHERE boot_id = ? AND started_utc_us = ?"
            self._runs[number] = self._con.execute(sql, run).fetchone()[0]
        return self._runs[number]

    def _sid(self, number: int) -> int:
        """The id of a signal here. One of the same name in another unit or scale gets a name of its own."""
        if number not in self._sids:
            lost = SignalRow(f"{LOST}signal{number}", "", 1.0, "measured", 0, 0)
            signal = self._names.signals.get(number, lost)
            if signal.name.startswith(LOST) and (known := self._named_here(number)) is not None:
                self._sids[number] = known
                return known
            there = self._con.execute("SELECT unit, scale FROM signal WHERE name = ?", (signal.name,)).fetchone()
            if there is not None and there != (signal.unit, signal.scale):
                signal = signal._replace(name=f"{signal.name} ({signal.scale:g} {signal.unit})")
            self._con.execute(
                "INSERT INTO signal (id, name, unit, scale, kind, since, until) "
                "SELECT coalesce(max(id), 0) + 1, ?,?,?,?,?,? FROM signal WHERE true "
                "ON CONFLICT (name) DO UPDATE SET since = min(since, excluded.since)",
                signal,
            )
            sql = "SELECT id FROM signal WHERE name = ?"
            self._sids[number] = self._con.execute(sql, (signal.name,)).fetchone()[0]
        return self._sids[number]

    def _named_here(self, number: int) -> int | None:
        """The id here of a signal whose name is lost there, by a dictionary that both files have."""
        for digest, sids in self._names.dictionaries.values():
            if number in sids:
                row = self._con.execute("SELECT sids FROM dictionary WHERE hash = ?", (digest,)).fetchone()
                if row is not None and len(row[0]) == 4 * len(sids):
                    return int(struct.unpack_from("<I", row[0], 4 * sids.index(number))[0])
        return None

    def _dictionary(self, digest: bytes, sids: Sequence[int]) -> int:
        """The number of a dictionary here; `sids` are those of the file that is copied."""
        if digest not in self._dictionaries:
            row = self._con.execute("SELECT id FROM dictionary WHERE hash = ?", (digest,)).fetchone()
            if row is None:
                values = (digest, sids_blob([self._sid(sid) for sid in sids]))
                row = self._con.execute(
                    "INSERT INTO dictionary (hash, sids) VALUES (?,?) RETURNING id", values
                ).fetchone()
            self._dictionaries[digest] = row[0]
        return self._dictionaries[digest]

    def _without_names(self, digest: bytes, count: int) -> Sequence[int]:
        """Signals of a block whose dictionary is lost. If this file has one of that hash, its names count."""
        first = -int.from_bytes(digest[:6], "big") << 16
        for n in range(count):
            lost = SignalRow(f"{LOST}{digest.hex()[:12]}.{n}", "", 1.0, "measured", 0, 0)
            self._names.signals.setdefault(first - n, lost)
        return range(first, first - count, -1)

    # ── rows, by table ──────────────────────────────────────────────────────────────────────────────────────────────

    def _plain(self, table: Table, row: Row) -> None:
        """A row with an id that nothing refers to: it gets the next one."""
        values = [self._run(value) if name == "run" else value for name, value in zip(table.columns, row, strict=True)]
        marks = ",".join("?" * (len(values) - 1))
        self._insert(f"INSERT INTO {table.name} ({', '.join(table.columns[1:])}) VALUES ({marks})", values[1:])

    def _insert(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        """Raises ValueError for values that the table does not take."""
        try:
            return self._con.execute(sql, values)
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError) as error:
            raise ValueError(str(error)) from error

    def _state(self, _: Table, row: Row) -> None:
        """The later one stays; what a file says of itself alone is not copied."""
        if not str(row[0]).startswith(OWN_STATES):
            self._insert(
                "INSERT INTO state (key, value, ts_utc_us) VALUES (?,?,?) ON CONFLICT (key) DO UPDATE "
                "SET value = excluded.value, ts_utc_us = excluded.ts_utc_us WHERE excluded.ts_utc_us > ts_utc_us",
                row,
            )

    def _hold(self, _: Table, row: Row) -> None:
        """The lower number stays: everything behind it may still be needed."""
        self._insert(
            "INSERT INTO hold (name, seq, ts_utc_us) VALUES (?,?,?) ON CONFLICT (name) DO UPDATE "
            "SET seq = min(seq, excluded.seq)",
            row,
        )

    def _rolled(self, table: Table, row: Row) -> None:
        """A roll-up. Where both files have a part of the same minute or quarter hour, both count."""
        t, sid, *figures = row
        if figures[4] < 1 or any(abs(figure) > RAW_MAX for figure in figures[:4]):
            raise ValueError("a roll-up that no version has written")
        # integers are made floats before they are multiplied: a sum of 64 bits might overflow
        self._insert(
            f"INSERT INTO {table.name} {ROLLED} ON CONFLICT (t, sid) DO UPDATE SET "
            "mn = min(mn, excluded.mn), mx = max(mx, excluded.mx), last = excluded.last, n = n + excluded.n, "
            "mean = CAST(round((1.0 * mean * n + 1.0 * excluded.mean * excluded.n) / (n + excluded.n)) AS INTEGER)",
            (t, self._sid(sid), *figures),
        )

    def _block(self, _: Table, row: Row) -> None:
        """A block under its own number. Raises BlockDamaged."""
        number, _, _, _, dictionary, v = row
        block = opened(v)
        head = block.head
        sids: Sequence[int]
        digest, sids = self._names.dictionaries.get(dictionary, (b"", ()))
        if digest != head.dictionary or len(sids) != head.signals:
            sids = self._without_names(head.dictionary, head.signals)
        there = self._con.execute("SELECT v FROM block WHERE seq = ?", (number,)).fetchone()
        if there is not None:
            if there[0] == v:
                return
            number, v = self._renumbered(there[0], v)
        values = (number, head.t0_us, head.step_us, head.samples, self._dictionary(head.dictionary, sids), v)
        self._insert("INSERT INTO block (seq, t0, step_us, n, dictionary, v) VALUES (?,?,?,?,?,?)", values)

    def _renumbered(self, there: bytes, v: bytes) -> tuple[int, bytes]:
        """Number and bytes of a block whose number another one has: a clock was wrong when its file was made.

        Of another incarnation it keeps its bytes; of the same one it gets a new sequence, which no other block has.
        """
        block = opened(v)
        head = block.head
        (number,) = self._con.execute("SELECT seq + 1 FROM sqlite_sequence WHERE name = 'block'").fetchone()
        try:
            other = opened(there).head
        except BlockDamaged:
            return number, v
        if (other.site, other.incarnation) != (head.site, head.incarnation):
            return number, v
        source = (head.site, head.incarnation)
        columns = [block.column(n) for n in range(head.signals)]
        return number, encode(source, number, head.step_us, head.dictionary, block.times_us(), columns)

    def _hot(self, _: Table, row: Row) -> None:
        """Samples that are not packed. A row whose time another one has gets the next free microsecond."""
        ts, run, mono_us, v, dictionary, step_us, times = row
        if dictionary is None:  # a sample as version 0.1.0 wrote it: signals 1, 2, 3, … of its own file
            count = len(v) // 4
            number, times = self._first_signals(count), struct.pack("<q", ts)
            v = packed([struct.unpack_from(f"<{count}i", v)], [[]])
        else:
            number = self._dictionary(*self._names.dictionaries[dictionary])
        values = (self._run(run), mono_us, v, number, step_us, times)
        sql = "INSERT OR IGNORE INTO hot (ts, run, mono_us, v, dictionary, step_us, times) VALUES (?,?,?,?,?,?,?)"
        while self._insert(sql, (ts, *values)).rowcount == 0:
            ts += 1

    def _job(self, table: Table, row: Row) -> None:
        """A run of a job, unless it is there. Raises what reading it would."""
        record_of([row[0], *row[2:4], *row[5:10], row[12]])
        self._accounted(table._replace(columns=table.columns[1:]), row[1:])

    def _accounted(self, table: Table, row: Row) -> None:
        """A row by a key of its own: what is there stays."""
        marks = ",".join("?" * len(row))
        self._insert(f"INSERT OR IGNORE INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", row)

    def _first_signals(self, count: int) -> int:
        """The number here of a dictionary of the first signals of the file that is copied."""
        if count not in self._first:
            self._first[count] = dictionary_of(self._con, [self._sid(sid) for sid in range(1, count + 1)])[0]
        return self._first[count]
