"""Describes and reads what a record holds besides telemetry: events, decisions, drills, gaps, and the audit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words
from storage import audit_format
from storage.drills import record_of
from storage.export.columns import Column, Kind, Table
from storage.export.table_files import Row
from storage.jobs import KeptJob
from storage.jobs import record_of as record_of_job
from storage.reader import BLOCKS_VERSION, DRILLS_VERSION, JOBS_VERSION, REASONS_VERSION
from storage.rows import to_us

ROWS_AT_ONCE = 2000

Span = tuple[int, int]  # UTC us

_TEXT, _TIME, _REAL, _INTEGER = Kind.TEXT, Kind.TIME, Kind.REAL, Kind.INTEGER
_WHO = Column("who", _TEXT, "User who gave the command or acknowledged; empty: nobody, the gateway itself")
_DISCHARGES = "> 0 discharges, < 0 charges"

EVENTS = Table(
    "events",
    "event",
    "telemetry.db, event",
    (
        Column(
            "time_utc",
            _TIME,
            "Time of the event",
        ),
        Column("severity", _TEXT, "info, warning or alarm"),
        Column("kind", _TEXT, "gateway, device, alarm, rule, command, plan, twin, island, node, …"),
        Column("subject", _TEXT, "Device, alarm or other thing that it is about"),
        Column(
            "reason_code",
            _TEXT,
            "Code of the alarm, as in the list of alarms",
            null="the event is not of an alarm: its text says all that is recorded",
        ),
        Column("text", _TEXT, "What happened, in words"),
        Column("who", _TEXT, f"{_WHO.meaning}. Uid, outcome and reason of a command: table audit"),
        Column("boot_id", _TEXT, "Boot of the machine in which the gateway ran"),
    ),
)
DECISIONS = Table(
    "decisions",
    "at each change of setpoint or binding rule, else once a minute",
    "telemetry.db, decision",
    (
        Column("time_utc", _TIME, "Time of the snapshot that was decided on"),
        Column("seq", _INTEGER, "Number of the tick in its run of the gateway"),
        Column("mode", _TEXT, "Mode of the controller: plan, rules, manual, safe, …"),
        Column("islanding_state", _TEXT, "State of the islanding: grid-tied, islanded, …"),
        Column("binding_rule", _TEXT, "Rule that determined the setpoint"),
        Column("reason_code", _TEXT, "Code of the reason; text: a sentence of version 0.1.0"),
        Column("reason", _TEXT, "The reason in words"),
        Column("figures_json", _TEXT, "Figures of the reason, units in their names", unit="JSON"),
        Column(
            "battery_w", _REAL, "Setpoints of all PCS together", "W", _DISCHARGES, null="no setpoint was to be sent"
        ),
        Column("net_load_w", _REAL, "Load less PV that was decided on", "W", "> 0 consumes", null="not known"),
        Column(
            "import_target_w",
            _REAL,
            "Import at the PCC that was aimed at",
            "W",
            "> 0 imports from the grid, < 0 exports to it",
            null="none",
        ),
        Column("setpoints_w_json", _TEXT, "Setpoint of each PCS: [[device, W or null], …]", "W, JSON", _DISCHARGES),
        Column("worded", _INTEGER, "1: reasons are kept as sentences (version 0.1.0), 0: as code and figures"),
        Column(
            "chain_w_json",
            Kind.LONG,
            "All rules with limits, W, and reasons; in export.db only. The view decision_chain has a row for each",
            "W, JSON",
        ),
    ),
)
CHAIN = """CREATE VIEW decision_chain AS
  SELECT d.time_utc, d.binding_rule, r.value ->> d.worded AS rule,
         r.value ->> (1 + d.worded) AS low_w, r.value ->> (2 + d.worded) AS high_w,
         r.value ->> (3 + d.worded) AS preferred_w, r.value ->> (4 + d.worded) AS bound,
         CASE d.worded WHEN 1 THEN 0 ELSE r.value ->> 5 END AS unmet,
         CASE d.worded WHEN 1 THEN 'text' ELSE r.value ->> '$[6].code' END AS reason_code,
         CASE d.worded WHEN 1 THEN json_object('text', r.value ->> 6) ELSE r.value -> '$[6].figures' END AS figures_json
  FROM decisions AS d, json_each(d.chain_w_json) AS r"""
DRILLS = Table(
    "drills",
    "event",
    "telemetry.db, drill",
    (
        Column("number", _INTEGER, "Number of the drill in the record"),
        Column("start_utc", _TIME, "When it was started"),
        Column("end_utc", _TIME, "When it had ended"),
        Column("outcome", _TEXT, "passed, aborted or failed"),
        Column("reason_code", _TEXT, "Code of why it ended so; text: a sentence of version 0.1.0"),
        Column("why", _TEXT, "The same in words"),
        _WHO,
        Column("reason", _TEXT, "Reason that was given for it"),
        Column("planned_min", _REAL, "Time off the grid that was asked for", "min"),
        Column("islanded_s", _REAL, "Time off the grid", "s", null="its gateway was killed, nobody knows"),
        Column("battery_wh", _REAL, "Energy from the batteries", "Wh", _DISCHARGES, null="not measured"),
        Column("transfer_gap_code", _TEXT, "Code of the gap in the voltage at the transfer"),
        Column("transfer_gap", _TEXT, "Gap in the voltage at the transfer, or why it is not known, in words"),
        Column("audit_head", _TEXT, "Row and hash of the audit's newest row when the report was kept"),
        Column("not_durable", _TEXT, "Why the audit did not hold the report's SHA-256 by then; empty: it did"),
        Column("report", Kind.EXACT, "The whole report; the audit holds its SHA-256 (of export.db's text)", "JSON"),
    ),
)
JOBS = Table(
    "jobs",
    "one row per run of a job",
    "telemetry.db, job",
    (
        Column("end_utc", _TIME, "When it ended"),
        Column("start_utc", _TIME, "When this run began; a requeued job has several"),
        Column("scheduler", _TEXT, "Scheduler, as the site file names it"),
        Column("job", _TEXT, "The scheduler's id of the job"),
        Column("user", _TEXT, "Unix user, or where pseudonym is 1 a pseudonym, drawn by lot for each user and month"),
        Column("pseudonym", _INTEGER, "1: the user is a pseudonym and the job's name is deleted"),
        Column("account", _TEXT, "Account in the scheduler; empty: none"),
        Column("partition", _TEXT, "Partition or queue; empty: none"),
        Column("name", _TEXT, "Name of the job"),
        Column("nodes", _INTEGER, "Nodes allocated"),
        Column("cpus", _INTEGER, "CPUs allocated, on all nodes together"),
        Column("gpus", _INTEGER, "GPUs allocated, on all nodes together"),
        Column("energy_wh", _REAL, "Energy, all parts together", "Wh"),
        Column("energy_how", _TEXT, "measured, apportioned or estimated: how it is known, by its least certain part"),
        Column("gpu_wh", _REAL, "Energy of GPUs", "Wh"),
        Column("gpu_how", _TEXT, "How that is known", null="there is none"),
        Column("host_wh", _REAL, "Energy of hosts: idle by allocated CPUs, the rest by CPU time where known", "Wh"),
        Column("host_how", _TEXT, "How that is known", null="there is none"),
        Column("node_wh", _REAL, "Energy of nodes whose GPUs are not known singly", "Wh"),
        Column("node_how", _TEXT, "How that is known", null="there is none"),
        Column("by_cpu_time_wh", _REAL, "Part of host_wh that was divided by CPU time", "Wh"),
        Column(
            "by_activity_wh", _REAL, "Part of gpu_wh that was divided by activity: of MIG instances, time slices", "Wh"
        ),
        Column("covered_pct", _REAL, "Share of its time with readings of its nodes; the rest has no energy", "%"),
        Column("from_start", _INTEGER, "0: it ran already when metering began"),
        Column("end_within_s", _REAL, "The end is right to so much", "s"),
        Column("suspended_s", _REAL, "Time suspended", "s"),
        Column("mean_w", _REAL, "Mean power over the time with readings", "W", null="there was none"),
        Column("peak_w", _REAL, "Highest mean of a quarter hour", "W", null="there was no reading"),
        Column("cost_eur", _REAL, "Cost of its energy, without a share of the peak", "EUR", null="no price was known"),
        Column("unpriced_wh", _REAL, "Energy that is not in the cost, as no price or load was known", "Wh"),
        Column("co2_g", _REAL, "CO2 of its energy", "g", null="the site file states none"),
        Column("capped_s", _REAL, "Time under a cap, of all its nodes together", "s"),
        Column("withheld_wh", _REAL, "About what caps took, against the power before", "Wh"),
        Column("lost_gpu_h", _REAL, "About what GPUs lost by that", "GPU-hours"),
    ),
)
JOB_QUARTERS = Table(
    "job_quarters",
    "quarter hour",
    "telemetry.db, job_quarter",
    (
        Column("time_utc", _TIME, "Start of the quarter hour, by the utility meter's clock"),
        Column("import_wh", _REAL, "Energy imported", "Wh"),
        Column("load_wh", _REAL, "Energy of the whole load", "Wh"),
        Column("known_s", _REAL, "Time of it with import and load", "s"),
        Column("jobs_wh", _REAL, "Energy of all jobs", "Wh"),
        Column("idle_wh", _REAL, "Energy of nodes, allocated to no job", "Wh"),
        Column("rest_wh", _REAL, "Load less jobs and idle nodes: cooling, losses, nodes without readings", "Wh"),
        Column("gap_s", _REAL, "Time without readings, of all nodes together", "s"),
        Column("eur_per_kwh", _REAL, "What a kWh of load cost: import x price / load", "EUR/kWh", null="not known"),
        Column("co2_g_per_kwh", _REAL, "CO2 of a kWh of load", "g/kWh", null="not stated or not known"),
    ),
)
JOB_PEAKS = Table(
    "job_peaks",
    "one row per bill period, where days are averaged per day",
    "telemetry.db, job_peak",
    (
        Column("account", _TEXT, "Bill period or day"),
        Column("time_utc", _TIME, "Start of its highest metering interval"),
        Column("import_w", _REAL, "Mean import in it", "W", "> 0 imports from the grid"),
        Column("load_wh", _REAL, "Energy of the load in it", "Wh"),
        Column("eur", _REAL, "What it adds to the bill if it is billed", "EUR"),
        Column("shares_wh_json", _TEXT, "[[scheduler, job, start of the run in us, Wh], …]", "Wh, JSON"),
    ),
)
GAPS = Table(
    "gaps",
    "one row per gap",
    "telemetry.db, gap; times between rows of this export",
    (
        Column("resolution", _TEXT, "What is missing: raw, 1m, 15m, events, decisions, jobs"),
        Column("begin_utc", _TIME, "Begin of the gap"),
        Column("end_utc", _TIME, "End of the gap"),
        Column("duration_s", _REAL, "Length of the gap", "s"),
        Column(
            "reason",
            _TEXT,
            "not-recorded: the gateway did not run or write; damaged: cannot be read; disk-cap, hold-reserve: deleted "
            "before its age",
        ),
    ),
)
AUDIT = Table(
    "audit",
    "event",
    "audit.db, entry",
    (
        Column("seq", _INTEGER, "Number of the row in the chain"),
        Column("time_utc", _TEXT, "Time of the row", "ISO 8601, UTC"),
        Column("kind", _TEXT, "start, intent, result, refused, end, drill, stop, …"),
        Column("of_seq", _INTEGER, "Row of the intent that this is the result of", null="no result"),
        Column("who", _TEXT, "User, or gateway", null="the row names nobody"),
        Column("uid", _INTEGER, "Number of the Unix user, from the kernel", null="the gateway itself"),
        Column("command", _TEXT, "Command", null="the row is not of a command"),
        Column("outcome", _TEXT, "What became of it: in force, ended, refused, …", null="the row is no result"),
        Column("reason_code", _TEXT, "Code of the refusal or effect", null="none on record; 0.1.0 kept only the text"),
        Column("reason", _TEXT, "Reason that the user gave", null="the row is not of a command"),
        Column("text", _TEXT, "What was asked or done, in words", null="none"),
        Column("durable", _INTEGER, "0: carried out before it was on disk", null="it was on disk first"),
        Column("sha256", _TEXT, "Hash of the row, which the next one contains", "hex"),
    ),
)


def audit_rows(con: sqlite3.Connection) -> Iterator[list[Row]]:
    """The whole audit: a part of a chain proves nothing. Raises sqlite3.Error."""
    found = con.execute(audit_format.csv_query([column.name for column in AUDIT.columns]))
    while rows := found.fetchmany(ROWS_AT_ONCE):
        yield [list(row) for row in rows]


def event_rows(con: sqlite3.Connection, span: Span) -> Iterator[list[Row]]:
    """Events of a span, oldest first."""
    columns = "severity, kind, subject, CASE kind WHEN 'alarm' THEN subject END, text, who, "
    columns += "(SELECT boot_id FROM run WHERE run.id = event.run)"
    for rows in _paged(con, "event", columns, span):
        yield [list(row[1:]) for row in rows]


def decision_rows(con: sqlite3.Connection, span: Span) -> Iterator[list[Row]]:
    """Decisions of a span, oldest first. Raises those of `damage.DAMAGED`."""
    worded = "worded" if _version(con) >= REASONS_VERSION else "1"
    columns = f"seq, mode, island, binding, reason, battery_w, net_load_w, import_target_w, setpoints, {worded}, chain"
    for rows in _paged(con, "decision", columns, span):
        yield [[*row[1:6], *_reason(row[6], bool(row[11])), *row[7:]] for row in rows]


def drill_rows(con: sqlite3.Connection, span: Span) -> Iterator[list[Row]]:
    """Drills that ended in a span, oldest first. Raises those of `damage.DAMAGED`."""
    if _version(con) < DRILLS_VERSION:
        return
    for rows in _paged(con, "drill", "started_utc_us, audit_head, not_durable, report", span):
        yield [_drill(*row) for row in rows]


def job_rows(con: sqlite3.Connection, span: Span) -> Iterator[list[Row]]:
    """Runs of jobs that ended in a span, oldest first. Raises those of `damage.DAMAGED`."""
    if _version(con) < JOBS_VERSION:
        return
    columns = "scheduler, job, user, account, partition, name, pseudonym, record"
    for rows in _paged(con, "job", columns, span):
        yield [_job(record_of_job((row[0], *row[2:])), row[1]) for row in rows]


def job_quarter_rows(con: sqlite3.Connection, span: Span) -> Iterator[list[Row]]:
    """Quarter hours of a span."""
    if _version(con) >= JOBS_VERSION:
        sql = (
            "SELECT 1000000 * t, import_wh, load_wh, known_s, jobs_wh, idle_wh, load_wh - jobs_wh - idle_wh, gap_s, "
            "eur_per_kwh, co2_g_per_kwh FROM job_quarter WHERE 1000000 * t >= ? AND 1000000 * t < ? ORDER BY t"
        )
        yield from _many(con.execute(sql, span))


def job_peak_rows(con: sqlite3.Connection, span: Span) -> Iterator[list[Row]]:
    """Highest intervals that began in a span."""
    if _version(con) >= JOBS_VERSION:
        sql = (
            "SELECT account, 1000000 * t, import_w, load_wh, eur, shares FROM job_peak "
            "WHERE 1000000 * t >= ? AND 1000000 * t < ? ORDER BY t"
        )
        yield from _many(con.execute(sql, span))


def _many(found: sqlite3.Cursor) -> Iterator[list[Row]]:
    while rows := found.fetchmany(ROWS_AT_ONCE):
        yield [list(row) for row in rows]


def _job(kept: KeptJob, end_us: int) -> Row:
    r = kept.record
    names = (r.scheduler, r.id, r.user, int(kept.pseudonym), r.account, r.partition, r.name)
    parts = (r.energy_wh, r.how, r.gpu_wh, r.gpu_how, r.host_wh, r.host_how, r.node_wh, r.node_how)
    divided = (r.by_cpu_time_wh, r.by_activity_wh)
    seen = (r.covered_pct, int(r.from_start), r.end_within_s, r.suspended_s, r.mean_w, r.peak_w)
    cost = (r.cost_eur, r.unpriced_wh, r.co2_g, r.capped_s, r.withheld_wh, r.lost_gpu_h)
    return [end_us, to_us(r.started_utc_s), *names, r.nodes, r.cpus, r.gpus, *parts, *divided, *seen, *cost]


def gap_rows(con: sqlite3.Connection, span: Span) -> Iterator[list[Row]]:
    """What was deleted of a span before its age."""
    if _version(con) >= BLOCKS_VERSION:
        sql = "SELECT resolution, t0, t1, (t1 - t0) / 1e6, reason FROM gap WHERE t1 > ? AND t0 < ? ORDER BY t0, id"
        yield [list(row) for row in con.execute(sql, span)]


READERS: tuple[tuple[Table, Callable[[sqlite3.Connection, Span], Iterator[list[Row]]]], ...] = (
    (EVENTS, event_rows),
    (DECISIONS, decision_rows),
    (DRILLS, drill_rows),
    (JOBS, job_rows),
    (JOB_QUARTERS, job_quarter_rows),
    (JOB_PEAKS, job_peak_rows),
)


def _paged(con: sqlite3.Connection, table: str, columns: str, span: Span) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of a table by time, with id and time before the columns, in transactions of `ROWS_AT_ONCE`."""
    sql = (
        f"SELECT id, ts_utc_us, {columns} FROM {table} WHERE ts_utc_us >= :begin AND ts_utc_us < :end "
        "AND (ts_utc_us > :begin OR id > :after) ORDER BY ts_utc_us, id LIMIT :most"
    )
    begin, after = span[0], -1
    while True:
        values = {"begin": begin, "end": span[1], "after": after, "most": ROWS_AT_ONCE}
        rows = con.execute(sql, values).fetchall()
        if not rows:
            return
        yield rows
        after, begin = rows[-1][0], rows[-1][1]


def _reason(text: str, worded: bool) -> tuple[str, str, str]:
    """Code, words and figures of a decision's reason as it is kept."""
    if worded:
        return "text", text, json.dumps({"text": text}, ensure_ascii=False)
    reason = _REASON.decode(text)
    return reason.code, words(reason), msgspec.json.encode(reason.figures).decode()


def _drill(number: int, end_us: int, start_us: int, head: str, late: str, text: str) -> Row:
    report = record_of((number, head, late, text)).report
    return [
        *(number, start_us, end_us, report.result, report.why.code, words(report.why), report.who, report.reason),
        *(report.minutes, report.islanded_s, report.battery_wh, report.transfer_gap.code, words(report.transfer_gap)),
        *(head, late, text),
    ]


def _version(con: sqlite3.Connection) -> int:
    return int(con.execute("PRAGMA user_version").fetchone()[0])


_REASON = msgspec.json.Decoder(Reason)
