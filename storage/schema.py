"""Defines the telemetry file: tables, views, and the migrations from older versions.

Times are UTC microseconds (`ts_utc_us`, `ts`, `t0`) or UTC seconds (`t` of a minute or quarter hour). Scaled values are
integers: value in the signal's unit = raw x signal.scale. The signals of a hot row and of a block, and their order, are
those of its dictionary. A hot row holds the samples of one write (`samples.packed`); one without a dictionary, from
before version 6, holds one sample of signals 1, 2, 3, … in order. A signal is never rescaled, and its id is never given
to another one.

Migrations run through sqlite-utils, imported only when a file is behind; readers never need it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = "telemetry.db"
EXPORT_FILE = "export.db"  # of an export, with tables for readers
APPLICATION_ID = 0x534B_5259  # "SKRY", for file(1) and for whoever finds the file in ten years

TABLES = """
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  boot_id TEXT NOT NULL,             -- of the machine; mono_us counts within one run
  started_utc_us INTEGER NOT NULL,
  UNIQUE (boot_id, started_utc_us)
) STRICT;
CREATE TABLE signal (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  unit TEXT NOT NULL,
  scale REAL NOT NULL,
  kind TEXT NOT NULL,                -- measured | derived | decided | given
  since INTEGER NOT NULL,            -- UTC us of its first row
  until INTEGER                      -- UTC us from which on the site no longer had it
) STRICT;
CREATE TABLE hot (
  ts INTEGER PRIMARY KEY,            -- UTC us
  run INTEGER NOT NULL REFERENCES run(id),
  mono_us INTEGER NOT NULL,
  v BLOB NOT NULL                    -- little-endian int32, one per signal; -2147483648 is missing
) STRICT;
CREATE TABLE r1m (
  t INTEGER NOT NULL,                -- UTC s, start of the minute
  sid INTEGER NOT NULL REFERENCES signal(id),
  mn INTEGER NOT NULL, mx INTEGER NOT NULL, mean INTEGER NOT NULL, last INTEGER NOT NULL,
  n INTEGER NOT NULL,                -- samples
  PRIMARY KEY (t, sid)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
  id INTEGER PRIMARY KEY,
  ts_utc_us INTEGER NOT NULL,
  run INTEGER NOT NULL REFERENCES run(id),
  mono_ns INTEGER NOT NULL,
  kind TEXT NOT NULL,
  severity TEXT NOT NULL,            -- info | warning | alarm
  subject TEXT NOT NULL,
  text TEXT NOT NULL,
  who TEXT NOT NULL
) STRICT;
CREATE INDEX event_ts ON event (ts_utc_us);
CREATE TABLE decision (
  id INTEGER PRIMARY KEY,
  ts_utc_us INTEGER NOT NULL,
  run INTEGER NOT NULL REFERENCES run(id),
  seq INTEGER NOT NULL,
  mode TEXT NOT NULL,
  island TEXT NOT NULL,
  binding TEXT NOT NULL,
  reason TEXT NOT NULL,
  battery_w REAL, net_load_w REAL, import_target_w REAL,
  setpoints TEXT NOT NULL,           -- JSON: [[device, W or null], ...]
  chain TEXT NOT NULL                -- JSON: [[rule, name, low W, high W, preferred W, bound, reason], ...]
) STRICT;
CREATE INDEX decision_ts ON decision (ts_utc_us);
CREATE TABLE state (
  key TEXT PRIMARY KEY,              -- the controller's memory: the month's peak, ...
  value TEXT NOT NULL,               -- JSON
  ts_utc_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1e6, 'unixepoch')"
VIEWS = f"""
CREATE VIEW telemetry_1m AS
  SELECT strftime('%Y-%m-%dT%H:%M:%SZ', r.t, 'unixepoch') AS t, s.name AS signal, s.unit AS unit,
         round(r.mean * s.scale, 6) AS mean, round(r.mn * s.scale, 6) AS min, round(r.mx * s.scale, 6) AS max,
         round(r.last * s.scale, 6) AS last, r.n AS samples
  FROM r1m AS r JOIN signal AS s ON s.id = r.sid;
CREATE VIEW events AS
  SELECT {_TIME.format("e.ts_utc_us")} AS t, e.severity, e.kind, e.subject, e.text, e.who, run.boot_id
  FROM event AS e JOIN run ON run.id = e.run;
CREATE VIEW decisions AS
  SELECT {_TIME.format("ts_utc_us")} AS t, mode, island, binding, reason,
         battery_w, net_load_w, import_target_w, setpoints
  FROM decision;
CREATE VIEW decision_chain AS
  SELECT {_TIME.format("d.ts_utc_us")} AS t, d.binding, r.value ->> 0 AS rule, r.value ->> 1 AS name,
         r.value ->> 2 AS low_w, r.value ->> 3 AS high_w,
         r.value ->> 4 AS preferred_w, r.value ->> 5 AS bound, r.value ->> 6 AS reason
  FROM decision AS d, json_each(d.chain) AS r;
"""


def _code(path: str, prefix: str = "") -> str:
    """The code of a reason in a drill's report; reports of 0.1.0 have a sentence there."""
    return f"CASE json_type(report, '{path}') WHEN 'text' THEN 'text' ELSE report ->> '{path}.code' END AS {prefix}code"


def _figures(path: str, prefix: str = "") -> str:
    """Its figures."""
    said = f"json_object('text', report ->> '{path}')"
    return (
        f"CASE json_type(report, '{path}') WHEN 'text' THEN {said} ELSE report -> '{path}.figures' END "
        f"AS {prefix}figures"
    )


DRILLS = f"""
CREATE TABLE drill (
  id INTEGER PRIMARY KEY,
  ts_utc_us INTEGER NOT NULL,        -- its end
  run INTEGER NOT NULL REFERENCES run(id),
  started_utc_us INTEGER NOT NULL,
  result TEXT NOT NULL,              -- passed | aborted | failed
  who TEXT NOT NULL,
  reason TEXT NOT NULL,
  why TEXT NOT NULL,
  audit_head TEXT NOT NULL,          -- row and hash of the audit's newest row when this was kept
  not_durable TEXT NOT NULL,         -- why the audit did not hold the report's SHA-256 by then; empty when it did
  report TEXT NOT NULL               -- JSON
) STRICT;
CREATE VIEW drills AS
  SELECT {_TIME.format("started_utc_us")} AS t, {_TIME.format("ts_utc_us")} AS ended, result, who, reason, why,
         report ->> 'minutes' AS minutes, report ->> 'islanded_s' AS islanded_s, report ->> 'battery_wh' AS battery_wh,
         report ->> 'transfer_gap' AS transfer_gap, audit_head, not_durable
  FROM drill;
"""


# Adding a column with a default rewrites no row: a record of years is ready at once.
REASONS = f"""
-- how reason, and those of the chain, are kept: 1 as sentences, 0 as JSON of code and figures
ALTER TABLE decision ADD COLUMN worded INTEGER NOT NULL DEFAULT 1;
DROP VIEW decisions;
DROP VIEW decision_chain;
CREATE VIEW decisions AS
  SELECT {_TIME.format("ts_utc_us")} AS t, mode, island, binding,
         CASE worded WHEN 1 THEN 'text' ELSE reason ->> 'code' END AS code,
         CASE worded WHEN 1 THEN json_object('text', reason) ELSE reason -> 'figures' END AS figures,
         battery_w, net_load_w, import_target_w, setpoints
  FROM decision;
CREATE VIEW decision_chain AS
  SELECT {_TIME.format("d.ts_utc_us")} AS t, d.binding, r.value ->> (1 * d.worded) AS rule,
         r.value ->> (1 + d.worded) AS low_w, r.value ->> (2 + d.worded) AS high_w,
         r.value ->> (3 + d.worded) AS preferred_w, r.value ->> (4 + d.worded) AS bound,
         CASE d.worded WHEN 1 THEN 0 ELSE r.value ->> 5 END AS unmet,
         CASE d.worded WHEN 1 THEN 'text' ELSE r.value ->> '$[6].code' END AS code,
         CASE d.worded WHEN 1 THEN json_object('text', r.value ->> 6) ELSE r.value -> '$[6].figures' END AS figures
  FROM decision AS d, json_each(d.chain) AS r;
"""

DRILL_REASONS = f"""
DROP VIEW drills;
CREATE VIEW drills AS
  SELECT {_TIME.format("started_utc_us")} AS t, {_TIME.format("ts_utc_us")} AS ended, result, who, reason, why,
         {_code("$.why")}, {_figures("$.why")},
         report ->> 'minutes' AS minutes, report ->> 'islanded_s' AS islanded_s, report ->> 'battery_wh' AS battery_wh,
         {_code("$.transfer_gap", "transfer_gap_")}, {_figures("$.transfer_gap", "transfer_gap_")},
         audit_head, not_durable
  FROM drill;
"""


# New columns with a default rewrite no row. The sequence of blocks begins at the second in which the file is made: a
# file that takes the place of a damaged one gives no number a second time.
BLOCKS = f"""
CREATE TABLE dictionary (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,         -- SHA-256, as in the blocks
  sids BLOB NOT NULL                 -- little-endian uint32: ids of its signals, in order
) STRICT;
ALTER TABLE hot ADD COLUMN dictionary INTEGER REFERENCES dictionary(id);
ALTER TABLE hot ADD COLUMN step_us INTEGER NOT NULL DEFAULT 1000000;
-- times: little-endian int64, UTC us of each sample; all are of one quarter hour
ALTER TABLE hot ADD COLUMN times BLOB;
CREATE TABLE block (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  t0 INTEGER NOT NULL,               -- UTC us of its first sample; all are of one quarter hour
  step_us INTEGER NOT NULL,
  n INTEGER NOT NULL,                -- samples
  dictionary INTEGER NOT NULL REFERENCES dictionary(id),
  v BLOB NOT NULL                    -- the block, see storage/blocks.py; it says all of this itself
) STRICT;
CREATE INDEX block_t0 ON block (t0);
INSERT INTO sqlite_sequence (name, seq) VALUES ('block', unixepoch());
CREATE TABLE r15 (
  t INTEGER NOT NULL,                -- UTC s, start of the quarter hour
  sid INTEGER NOT NULL REFERENCES signal(id),
  mn INTEGER NOT NULL, mx INTEGER NOT NULL, mean INTEGER NOT NULL, last INTEGER NOT NULL,
  n INTEGER NOT NULL,                -- samples
  PRIMARY KEY (t, sid)
) STRICT, WITHOUT ROWID;
CREATE TABLE gap (
  id INTEGER PRIMARY KEY,
  resolution TEXT NOT NULL,          -- of what was deleted: raw | 1m | 15m | events | decisions
  t0 INTEGER NOT NULL,               -- UTC us, first
  t1 INTEGER NOT NULL,               -- UTC us, end
  reason TEXT NOT NULL,              -- disk-cap | hold-reserve | damaged
  ts_utc_us INTEGER NOT NULL         -- when it was deleted, last
) STRICT;
CREATE TABLE hold (
  name TEXT PRIMARY KEY,             -- who still needs blocks, such as a fleet's uplink
  seq INTEGER NOT NULL,              -- the last one it has; those after it are kept
  ts_utc_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE VIEW telemetry_15m AS
  SELECT strftime('%Y-%m-%dT%H:%M:%SZ', r.t, 'unixepoch') AS t, s.name AS signal, s.unit AS unit,
         round(r.mean * s.scale, 6) AS mean, round(r.mn * s.scale, 6) AS min, round(r.mx * s.scale, 6) AS max,
         round(r.last * s.scale, 6) AS last, r.n AS samples
  FROM r15 AS r JOIN signal AS s ON s.id = r.sid;
CREATE VIEW gaps AS
  SELECT {_TIME.format("t0")} AS t, {_TIME.format("t1")} AS until, resolution, reason,
         {_TIME.format("ts_utc_us")} AS deleted
  FROM gap;
"""


JOBS = f"""
CREATE TABLE job (
  id INTEGER PRIMARY KEY,
  ts_utc_us INTEGER NOT NULL,        -- its end
  scheduler TEXT NOT NULL,
  job TEXT NOT NULL,                 -- the scheduler's id
  started_utc_us INTEGER NOT NULL,   -- of this run: a requeued job has several
  user TEXT NOT NULL,
  account TEXT NOT NULL,
  partition TEXT NOT NULL,
  name TEXT NOT NULL,
  pseudonym INTEGER NOT NULL DEFAULT 0,  -- 1: user is a pseudonym, drawn by lot for each user and month
  energy_wh REAL NOT NULL,
  cost_eur REAL,
  record TEXT NOT NULL,              -- JSON: what it drew by parts and how that is known, without the names
  UNIQUE (scheduler, job, started_utc_us)
) STRICT;
CREATE INDEX job_ts ON job (ts_utc_us);
CREATE TABLE job_quarter (
  t INTEGER PRIMARY KEY,             -- UTC s by the utility meter's clock, start of the quarter hour
  import_wh REAL NOT NULL,
  load_wh REAL NOT NULL,
  known_s REAL NOT NULL,             -- of it with import and load
  jobs_wh REAL NOT NULL,             -- of all jobs together
  idle_wh REAL NOT NULL,             -- of nodes, allocated to no job
  gap_s REAL NOT NULL,               -- without readings, of all nodes together
  eur_per_kwh REAL,                  -- what a kWh of load cost
  co2_g_per_kwh REAL
) STRICT;
CREATE TABLE job_peak (
  account TEXT PRIMARY KEY,          -- bill period, or day where days are averaged
  t INTEGER NOT NULL,                -- UTC s, start of its highest metering interval
  import_w REAL NOT NULL,
  load_wh REAL NOT NULL,
  eur REAL NOT NULL,                 -- what it adds to the bill
  shares TEXT NOT NULL               -- JSON: [[scheduler, job, start of the run, Wh], ...]
) STRICT, WITHOUT ROWID;
CREATE VIEW jobs AS
  SELECT {_TIME.format("started_utc_us")} AS t, {_TIME.format("ts_utc_us")} AS ended, scheduler, job, user, account,
         partition, name, pseudonym, record ->> 'nodes' AS nodes, record ->> 'cpus' AS cpus, record ->> 'gpus' AS gpus,
         energy_wh, record ->> 'gpu_wh' AS gpu_wh, record ->> 'host_wh' AS host_wh, record ->> 'node_wh' AS node_wh,
         record ->> 'covered_pct' AS covered_pct, record ->> 'mean_w' AS mean_w, cost_eur, record ->> 'co2_g' AS co2_g
  FROM job;
"""


CONTEXT = """
CREATE TABLE context (
  id INTEGER PRIMARY KEY,
  ts_utc_us INTEGER NOT NULL,        -- since when it stood
  run INTEGER NOT NULL REFERENCES run(id),
  kind TEXT NOT NULL,                -- plan | orders | prices | limits | alarms | ride | link <device>
  v BLOB NOT NULL                    -- JSON, compressed (zlib), see storage/context.py
) STRICT;
CREATE INDEX context_ts ON context (ts_utc_us);
"""


def tables(db: Any) -> None:
    """Version 1: what is stored."""
    _script(db.conn, TABLES)


def views(db: Any) -> None:
    """Version 2: the same with names, units and scaled values, for Datasette and sqlite-utils."""
    _script(db.conn, VIEWS)


def drills(db: Any) -> None:
    """Version 3: reports of drills."""
    _script(db.conn, DRILLS)


def reasons(db: Any) -> None:
    """Version 4: decisions keep code and figures of their reasons; rows from before keep their sentences."""
    _script(db.conn, REASONS)


def drill_reasons(db: Any) -> None:
    """Version 5: reports of drills hold code and figures; `why` in the table is the English text."""
    _script(db.conn, DRILL_REASONS)


def blocks(db: Any) -> None:
    """Version 6: packed blocks, roll-ups of quarter hours, and what was deleted. Older samples are packed later."""
    _script(db.conn, BLOCKS)


def jobs(db: Any) -> None:
    """Version 7: what jobs drew and cost."""
    _script(db.conn, JOBS)


def context(db: Any) -> None:
    """Version 8: what stood besides the signals. Of times before it that is not known."""
    _script(db.conn, CONTEXT)


# Step n brings a file to version n + 1. Steps are only ever appended; one that has shipped never changes.
STEPS: list[Callable[[Any], None]] = [tables, views, drills, reasons, drill_reasons, blocks, jobs, context]


class NewerSchema(Exception):
    """The file was written by a newer Skerry than this one."""


def version(con: sqlite3.Connection) -> int:
    """The schema version of an open file; 0 for an empty one. Raises sqlite3.DatabaseError if it is no database."""
    return int(con.execute("PRAGMA user_version").fetchone()[0])


def prepare(con: sqlite3.Connection) -> None:
    """Set an autocommit connection up for writing telemetry. What must precede the first table does.

    Raises sqlite3.Error.
    """
    if con.execute("PRAGMA page_count").fetchone()[0] == 0:
        con.execute("PRAGMA page_size = 4096")
        con.execute("PRAGMA auto_vacuum = INCREMENTAL")
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = NORMAL")
    con.execute(f"PRAGMA journal_size_limit = {8 << 20}")


def migrate(con: sqlite3.Connection, path: Path) -> int:
    """Bring an open file up to date, each step in its own transaction; returns the version it had.

    Raises NewerSchema, and sqlite3.Error from a step: the file then stays at the last version that was complete.
    """
    found = version(con)
    if found > len(STEPS):
        raise NewerSchema(
            f"{path} has schema {found}, this Skerry writes schema {len(STEPS)}: "
            "start the newer Skerry, or move the file away"
        )
    if found < len(STEPS):
        _apply(con)
    return found


def _apply(con: sqlite3.Connection) -> None:
    """Run the missing steps; each leaves its number in user_version, within its transaction."""
    import sqlite_utils

    # its journal of migrations is read by sqlite-utils' own tools; user_version is what decides and what readers check
    migrations = sqlite_utils.Migrations("skerry")

    def register(number: int, step: Callable[[Any], None]) -> None:
        def run(db: Any) -> None:
            step(db)
            db.conn.execute(f"PRAGMA user_version = {number}")

        migrations(name=f"{number:04d}_{step.__name__}")(run)

    for number, step in enumerate(STEPS, 1):
        register(number, step)
    db = sqlite_utils.Database(con, recursive_triggers=False, execute_plugins=False)
    con.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrations.apply(db)


def _script(con: sqlite3.Connection, sql: str) -> None:
    """Run statements one by one: executescript would commit the transaction around them."""
    for statement in sql.split(";\n"):
        if statement.strip():
            con.execute(statement)
