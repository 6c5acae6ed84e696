"""Files of the state directory and of an export: damaged bytes, and rows that no version of Skerry has written."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fuzzing import Feed, Parser, Session, simple
from storage_samples import T0, feed

from dispatch.accounting.meter import MeterState
from dispatch.accounting.records import JobRecord, PeakInterval, SiteQuarter
from dispatch.accounting.runs import Drawn, Run
from dispatch.accounting.site_accounts import AccountsState, Quarter, name_of
from dispatch.alarms.shelving import Suppression
from dispatch.billing.market_prices import PriceSeries
from dispatch.model.carbon import CarbonSeries
from dispatch.model.events import Event
from dispatch.model.jobs import Job
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.orders.signal_book import KeptSignals
from drivers.clock import SystemClock
from gateway import controller_memory, previous_run
from gateway.api.alarm_commands import STATE as SHELVED
from gateway.carbon_feed import STATE as CARBON
from gateway.carbon_feed import KeptCarbon
from gateway.job_accounting import STATE as JOBS
from gateway.node_lists import STATE as NODES
from gateway.price_feeds import STATE as PRICES
from gateway.price_feeds import KeptPrices
from gateway.signals_in_force import STATE as SIGNALS
from storage import audit_format, audit_head, audit_reader, identity, manifest, schema, signing_key
from storage.audit import AuditLog
from storage.config import StorageConfig
from storage.export.writer import ExportError, export
from storage.file import TelemetryFile
from storage.jobs import Accounted, JobQuestion
from storage.reader import Archive, NoRecords, QueryTimeout
from storage.recorder import Recorder, nobody
from storage.site_backup import BackupError, back_up
from storage.site_restore import KEPT, RestoreError, _earlier, checked
from storage.verify import CannotVerify, verify

RECORDED = Path(__file__).parents[1] / "versions" / "v0_1_0" / "state.tar.xz"
BEGIN_S, END_S = 1_757_974_000.0, T0 + 60  # of the last minutes of that record, and of what is put behind it
TABLES = ("run", "signal", "hot", "block", "dictionary", "r1m", "r15", "gap", "event", "decision", "drill", "state")
TABLES += ("job", "job_quarter", "job_peak", "context")
ROWS = 3  # of a table in an example, its newest
WAIT_S = 60.0


A_SIGNAL = Signal(
    "s1", Sort.MARKET, "acme", Quantity.IMPORT, 40_000.0, 1796010600.0, 1796014200.0, 1796010000.0, "m1", "alice"
)
SIGNALS_KEPT = KeptSignals((A_SIGNAL,), {"00ff": 1796014200.0}, {"acme": 1796010000.0}, {"acme": 1796010000.0}, 1)


@functools.cache
def a_state() -> Path:
    """A state directory: rows of version 0.1.0 and of this version, few of each."""
    place = Path(tempfile.mkdtemp(prefix="skerry-fuzz-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    with tarfile.open(RECORDED) as tar:
        tar.extractall(place, filter="data")
    with closing(sqlite3.connect(place / schema.FILE, isolation_level=None)) as con:
        for table in ("hot", "r1m", "event", "decision"):
            time = {"hot": "ts", "r1m": "t"}.get(table, "id")
            con.execute(
                f"DELETE FROM {table} WHERE {time} NOT IN (SELECT {time} FROM {table} ORDER BY {time} DESC LIMIT 5)"
            )
    recorder = Recorder(place, StorageConfig(), "boot")
    feed(recorder, range(10))
    for row in accounted():
        recorder.account(row)
    recorder.save_state(JOBS, a_meter())
    recorder.save_state(PRICES, FETCHED)
    recorder.save_state(CARBON, KeptCarbon("de", 1796010600.0, CarbonSeries(1796007600, (310.5, None))))
    recorder.save_state(NODES, {"DNS, _x._tcp": {"names": ["gpu1", "gpu2"], "read_utc_s": 1796010600.0}})
    recorder.save_state(SIGNALS, SIGNALS_KEPT)
    recorder.save_state(SHELVED, [Suppression("no-plan", "shelved", "alice", "solver", END_S, END_S + 60.0)])
    assert recorder.close()
    identity.establish(place)
    file = TelemetryFile(place / schema.FILE, "boot", nobody)
    file.ensure_open(END_S)
    while file.pack(END_S):  # what is of version 0.1.0; the rows just written stay hot
        pass
    file.close(0)
    with closing(sqlite3.connect(place / schema.FILE, isolation_level=None)) as con:
        con.execute("VACUUM")
        con.execute("PRAGMA journal_mode = DELETE")
    return place


def accounted() -> list[Accounted]:
    """A run of a job, a quarter hour, a peak."""
    run = JobRecord(scheduler="slurm", id="7", started_utc_s=T0 - 60, ended_utc_s=T0, user="anna", host_wh=5.0, gpus=1)
    energies = dict.fromkeys(("import_wh", "load_wh", "jobs_wh", "idle_wh"), 10.0)
    quarter = SiteQuarter(
        start_utc_s=int(T0) - 60, known_s=900.0, gap_s=0.0, eur_per_kwh=0.2, co2_g_per_kwh=None, **energies
    )
    shares = ((*run.key, 5.0),)
    peak = PeakInterval(account="2025-09", start_utc_s=int(T0), import_w=1e4, load_wh=9.0, eur=9.0, shares=shares)
    return [run, quarter, peak]


def a_meter() -> MeterState:
    """What is kept of a job that runs."""
    job = Job(scheduler="slurm", id="8", state="running", submitted_utc_s=T0, started_utc_s=T0, nodes=("gpu1",))
    run = Run(job, T0, T0, True, energy_wh={"host measured": 5.0}, drawn={int(T0): Drawn(5.0, 60.0)})
    account = Quarter(import_wh=9.0, load_wh=9.0, known_s=60.0, runs_wh={name_of(run.key): 5.0})
    return MeterState([run], AccountsState({int(T0): account}, [], {name_of(run.key): 1.0}, {"2025-09": 1e4}))


@functools.cache
def an_export() -> Path:
    """An export of that state directory."""
    place = a_state().with_name(f"{a_state().name}-export")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    export(a_state(), place, BEGIN_S, END_S)
    return place


@functools.cache
def a_backup() -> Path:
    """A backup of that state directory."""
    place = a_state().with_name(f"{a_state().name}-backup")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    back_up(a_state(), place)
    return place


def damaged(name: str, use: Callable[[Path], object], source: Callable[[], Path] = a_state) -> Session:
    """Use a directory of which one file holds the input."""

    def feed_file(data: bytes, directory: Path) -> None:
        place = directory / "state"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source(), place)
        (place / name).write_bytes(data)
        use(place)

    return simple(feed_file)


def file_of(name: str, source: Callable[[], Path] = a_state) -> Callable[[], list[bytes]]:
    return lambda: [(source() / name).read_bytes()]


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(file: str, *tables: str) -> Callable[[], list[bytes]]:
    """The newest rows of each table as JSON, each table an example of its own; blobs as {"hex": …}."""

    def read() -> list[bytes]:
        with closing(sqlite3.connect(a_state() / file)) as con:
            con.row_factory = sqlite3.Row
            newest = {
                name: con.execute(f"SELECT * FROM {name} ORDER BY 1 DESC LIMIT {ROWS}").fetchall() for name in tables
            }
        return [json.dumps({name: [_json(row) for row in rows]}).encode() for name, rows in newest.items()]

    return read


def kinds_of_audit_rows() -> list[bytes]:
    """A row of each kind, command and outcome, as the newest; then the newest checkpoints."""
    told = "body ->> 'kind', body ->> 'command', body ->> 'outcome'"
    with closing(sqlite3.connect(a_state() / audit_format.FILE)) as con:
        con.row_factory = sqlite3.Row
        newest = _json(con.execute("SELECT * FROM entry ORDER BY seq DESC LIMIT 1").fetchone())
        bodies = [_json(row)["body"] for row in con.execute(f"SELECT max(seq), body FROM entry GROUP BY {told}")]
    return [
        *(json.dumps({"entry": [newest | {"body": body}]}).encode() for body in bodies),
        *rows_of(audit_format.FILE, "checkpoint")(),
    ]


def _json(row: sqlite3.Row) -> dict[str, Any]:
    """A row's columns; those that hold JSON opened up, so that what is in them changes, too."""
    opened: dict[str, Any] = {}
    for name in row.keys():  # noqa: SIM118  a Row iterates over values
        value = row[name]
        if isinstance(value, bytes):
            value = {"hex": value.hex()}
        elif isinstance(value, str) and value[:1] in ("{", "["):
            value = {"json": json.loads(value)}
        opened[name] = value
    return opened


def _column(value: Any) -> Any:
    if isinstance(value, dict) and "hex" in value:
        with contextlib.suppress(ValueError, TypeError):
            return bytes.fromhex(value["hex"])
    if isinstance(value, dict) and "json" in value:
        return json.dumps(value["json"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def with_rows(file: str, use: Callable[[Path], object]) -> Session:
    """Use a state directory in which the newest rows of a table are those of the input."""

    def feed_rows(data: bytes, directory: Path) -> None:
        place = directory / "state"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(a_state(), place)
        try:
            tables = json.loads(data)
            with closing(sqlite3.connect(place / file, isolation_level=None)) as con:
                for (trigger,) in con.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                    con.execute(f"DROP TRIGGER {trigger}")
                for table, rows in tables.items():
                    _insert(con, table, rows)
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError, sqlite3.Error):
            return  # the input is no rows, or SQLite itself keeps them out
        use(place)

    return simple(feed_rows)


def _insert(con: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    con.execute(f'DELETE FROM "{table}" WHERE rowid IN (SELECT rowid FROM "{table}" ORDER BY 1 DESC LIMIT {ROWS})') if (
        table not in ("r1m", "r15", "state")
    ) else con.execute(f'DELETE FROM "{table}"')
    for row in rows:
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        con.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', [_column(value) for value in row.values()])


def read_everything(place: Path) -> None:
    """Every question that console and command line ask of a record. Raises NoRecords, QueryTimeout."""
    archive = Archive(place, timeout_s=WAIT_S)
    try:
        archive.counts()
        signals = [signal.name for signal in archive.signals()]
        archive.why()
        archive.why(END_S)
        archive.decisions(BEGIN_S, END_S)
        archive.events(50, text="a")
        archive.ends_utc_s()
        for step_s in (1.0, 60.0):
            archive.history(signals[:40], END_S - 600, END_S, step_s)
        archive.minutes(signals[:40], int(END_S) - 600, int(END_S))
        archive.gaps(BEGIN_S, END_S)
        archive.at(END_S)
        archive.at(BEGIN_S)
        archive.context(T0 + 5.0)
        archive.drills()
        archive.alarm_history(BEGIN_S, END_S + 1.0)
        asked = JobQuestion(start_utc_s=0.0, end_utc_s=4e9)
        archive.jobs(asked)
        archive.job_groups(asked, "user", ["2025-09"])
        archive.job_quarters(0.0, 4e9)
        archive.job_peaks()
        for key in ("controller", "drills", "iq", "jobs", "dispatch"):
            archive.last_state(key)
    finally:
        archive.close()


def start_from(place: Path) -> None:
    """What a gateway reads when it starts; it must start."""
    controller_memory.read_memory(place)
    previous_run.read_previous_run(place, END_S)


def read_audit(place: Path) -> None:
    audit_reader.rows(place)
    audit_reader.rows_until(place, BEGIN_S)
    audit_reader.ends_utc_s(place)
    audit_reader.orders_in_force(place)
    audit_reader.orders_stopped(place)
    audit_reader.unreported_drill(place)
    audit_reader.unreported_proof(place)
    audit_reader.reservations(place, BEGIN_S)


def record_on(place: Path) -> None:
    """Go on recording. What is damaged is set aside."""
    recorder = Recorder(place, StorageConfig(), "again")
    try:
        recorder.event(Event(END_S, "gateway", "info", "start", "again")).result(WAIT_S)
    finally:
        recorder.close()


def audit_on(place: Path) -> None:
    """Go on with the audit. What is damaged is set aside."""
    audit = AuditLog(place, "boot/2", SystemClock(), lambda line: None)
    try:
        audit.write({"kind": "start"}).result(WAIT_S)
    finally:
        audit.close()


def kept_head() -> list[bytes]:
    """The head of an audit that has gone on."""
    with tempfile.TemporaryDirectory(prefix="skerry-fuzz-") as name:
        audit_on(shutil.copytree(a_state(), Path(name) / "state"))
        return [(Path(name) / "state" / audit_head.HEAD_FILE).read_bytes()]


def export_it(place: Path) -> None:
    out = place.with_name("out")
    shutil.rmtree(out, ignore_errors=True)
    export(place, out, BEGIN_S, END_S)


def back_it_up(place: Path) -> None:
    out = place.with_name("out")
    shutil.rmtree(out, ignore_errors=True)
    back_up(place, out)


@contextlib.contextmanager
def machine_ids(directory: Path) -> Iterator[Feed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "MACHINE_ID", directory / "machine-id")

        def feed_id(data: bytes) -> None:
            (directory / "machine-id").write_bytes(data)
            identity.establish(directory)

        yield feed_id


ARCHIVE = (
    "storage.reader:_connect",
    "storage.reader:Archive.last_state",
    "storage.samples:sids_of",
    "storage.samples:segments_of",
    "storage.samples:_unpacked",
    "storage.rows:decision_of",
    "storage.rows:_chain",
    "storage.rows:_worded_chain",
    "storage.drills:record_of",
    "storage.context:context_at",
    "storage.context:decoded",
    "storage.jobs:record_of",
    "storage.jobs:peaks",
)
AUDIT = (
    "storage.audit_format:open_read_only",
    "storage.audit_reader:rows",
    "storage.audit_reader:rows_until",
    "storage.audit_reader:ends_utc_s",
    "storage.audit_reader:orders_in_force",
    "storage.audit_reader:orders_stopped",
    "storage.audit_reader:_unreported",
    "storage.audit_reader:reservations",
)
START = ("gateway.controller_memory:read_memory", "gateway.previous_run:read_previous_run")
KEPT_JOBS = ("gateway.job_accounting:kept_state", "dispatch.accounting.site_accounts:key_of")
FETCHED = KeptPrices("entsoe", "DE-LU", 1796010600.0, PriceSeries((1796007600, 1796011200), (81.5, None), 1796014800))
KEPT_PRICES = ("gateway.price_feeds:kept_prices", "gateway.carbon_feed:kept_carbon")
KEPT_NODES = ("gateway.node_lists:kept_lists",)
KEPT_SIGNALS = ("gateway.previous_run:_signals", "gateway.previous_run:_list")
KEPT_EVENTS = ("gateway.grid_events_in_force:kept_events",)
VERIFY = (
    "storage.verify:_manifest",
    "storage.audit_copies:_header",
    "storage.audit_copies:_equal",
    "storage.verify:_files",
    "storage.audit_chain:canonical_body",
)

PARSERS = (
    Parser(
        "telemetry.db",
        ARCHIVE,
        file_of(schema.FILE),
        damaged(schema.FILE, read_everything),
        (NoRecords, QueryTimeout),
        share=0.5,
    ),
    Parser(
        "rows of telemetry.db",
        ARCHIVE,
        rows_of(schema.FILE, *TABLES),
        with_rows(schema.FILE, read_everything),
        (NoRecords, QueryTimeout),
        tree="json",
    ),
    Parser(
        "audit.db", AUDIT, file_of(audit_format.FILE), damaged(audit_format.FILE, read_audit), (NoRecords,), share=0.5
    ),
    Parser(
        "rows of audit.db",
        AUDIT,
        kinds_of_audit_rows,
        with_rows(audit_format.FILE, read_audit),
        (NoRecords,),
        tree="json",
    ),
    Parser(
        "what a gateway starts from, its record",
        (*START, *KEPT_JOBS, *KEPT_NODES, *KEPT_PRICES, *KEPT_SIGNALS, *KEPT_EVENTS),
        rows_of(schema.FILE, "state", "drill", "r1m"),
        with_rows(schema.FILE, start_from),
        tree="json",
    ),
    Parser(
        "what a gateway starts from, its audit",
        START[1:],
        kinds_of_audit_rows,
        with_rows(audit_format.FILE, start_from),
        tree="json",
    ),
    Parser(
        "telemetry.db that is written on",
        ("storage.file:TelemetryFile._open", "storage.damage:check"),
        file_of(schema.FILE),
        damaged(schema.FILE, record_on),
        share=0.1,
    ),
    Parser(
        "audit.db that is written on",
        ("storage.audit_file:AuditFile._open", "storage.audit_self_check:restore_triggers"),
        file_of(audit_format.FILE),
        damaged(audit_format.FILE, audit_on),
        share=0.1,
    ),
    Parser(
        "audit.head",
        ("storage.audit_head:kept",),
        kept_head,
        damaged(audit_head.HEAD_FILE, lambda place: (verify(place), audit_on(place))),
        share=0.2,
    ),
    Parser(
        "export of damaged rows",
        (
            "storage.export.writer:_Export.write",
            "storage.export.writer:_Export._audit",
            "storage.export.writer:_sha256_on_disk",
            "storage.export.record_tables:_reason",
        ),
        rows_of(schema.FILE, "decision", "drill", "event", "job"),
        with_rows(schema.FILE, export_it),
        (NoRecords, ExportError),
        tree="json",
        share=0.2,
    ),
    *(
        Parser(
            f"{name} that is backed up",
            (
                "storage.site_backup:_key",
                "storage.site_backup:_copy_all",
                "storage.site_backup:_copy_database",
                "storage.site_backup:sha256",
            ),
            file_of(name),
            damaged(name, back_it_up),
            (BackupError,),
            share=0.05,
        )
        for name in (audit_format.FILE, schema.FILE, identity.IDENTITY)
    ),
    Parser(
        "manifest of a backup",
        ("storage.site_restore:_manifest", "storage.site_restore:_public"),
        file_of(manifest.MANIFEST, a_backup),
        damaged(manifest.MANIFEST, checked, a_backup),
        (RestoreError,),
        tree="json",
        share=0.5,
    ),
    Parser(
        "what an interrupted restore has noted",
        ("storage.site_restore:_earlier",),
        lambda: [b"before-restore-20260101T000000Z\nbefore-restore-20260102T000000Z-0a1b2c"],
        simple(lambda data, directory: ((directory / KEPT).write_bytes(data), _earlier(directory))),
        share=0.5,
    ),
    Parser(
        "verify a manifest",
        VERIFY,
        file_of(manifest.MANIFEST, an_export),
        damaged(manifest.MANIFEST, verify, an_export),
        (CannotVerify,),
        tree="json",
    ),
    Parser(
        "verify audit.csv",
        (*VERIFY, "storage.audit_copies:_differences"),
        file_of("audit.csv", an_export),
        damaged("audit.csv", verify, an_export),
        (CannotVerify,),
    ),
    Parser(
        "verify an audit",
        VERIFY,
        file_of(audit_format.FILE, an_export),
        damaged(audit_format.FILE, verify, an_export),
        (CannotVerify,),
        share=0.5,
    ),
    Parser(
        "verify the telemetry of an export",
        VERIFY,
        file_of(schema.EXPORT_FILE, an_export),
        damaged(schema.EXPORT_FILE, verify, an_export),
        (CannotVerify,),
        share=0.2,
    ),
    Parser(
        "verify rows of an audit",
        ("storage.audit_chain:canonical_body",),
        kinds_of_audit_rows,
        with_rows(audit_format.FILE, verify),
        (CannotVerify,),
        tree="json",
    ),
    Parser(
        "verify a record of drills",
        ("storage.audit_format:open_read_only",),
        rows_of(schema.FILE, "drill"),
        with_rows(schema.FILE, verify),
        (CannotVerify,),
        tree="json",
    ),
    *(
        Parser(
            name,
            ("storage.identity:_read",),
            file_of(name),
            damaged(name, lambda place: (identity.read(place), identity.establish(place))),
            tree="json",
        )
        for name in (identity.IDENTITY, identity.INCARNATION)
    ),
    Parser(
        "/etc/machine-id",
        ("storage.identity:_machine",),
        lambda: [b"0123456789abcdef0123456789abcdef\n"],
        machine_ids,
        share=0.2,
    ),
    Parser(
        "audit.key",
        ("storage.signing_key:_read", "storage.signing_key:signing_key"),
        file_of(signing_key.KEY_FILE),
        damaged(signing_key.KEY_FILE, lambda place: (manifest.signed({}, place), signing_key.signing_key(place))),
    ),
)
