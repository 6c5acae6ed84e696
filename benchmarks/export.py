"""What an export and its verification cost: a year of 200 signals by the quarter hour, and a million rows of audit.

The record also holds 200 days of decisions, one a minute, as it keeps them by default.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.figures import Figure, main
from benchmarks.records import DAY_S, SIGNALS, SOURCE, T0, a_decision
from storage import audit_format, schema, signing_key
from storage.audit import CHECKPOINT_EVERY
from storage.export.size import Size
from storage.export.writer import Options, export
from storage.file import TelemetryFile
from storage.rollup import MINUTE_S, QUARTER_S
from storage.rows import DECISION_COLUMNS, decision_row
from storage.signals import definition
from storage.verify import verify

DECISIONS_D = 200


def fill(directory: Path, days: int) -> None:
    """A record of that many days by the quarter hour, and of its last decisions."""
    path = directory / schema.FILE
    file = TelemetryFile(path, "boot", lambda: SOURCE)
    file.ensure_open(T0)
    file.close(0)
    end = T0 + days * DAY_S
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("BEGIN")
        signals = [definition(f"s{n:03}.{'w' if n % 2 else 'temp_c'}") for n in range(SIGNALS)]
        con.executemany(
            "INSERT INTO signal VALUES (?,?,?,?,?,0,NULL)", [(n, *signal) for n, signal in enumerate(signals, 1)]
        )
        con.executemany(
            "INSERT INTO r15 VALUES (?,?,4900,5100,?,5001,300)",
            (
                (t, n, 5_000 + (t // QUARTER_S * n) % 977)
                for t in range(T0, end, QUARTER_S)
                for n in range(1, SIGNALS + 1)
            ),
        )
        (run,) = con.execute("SELECT max(id) FROM run").fetchone()
        marks = ",".join("?" * (len(DECISION_COLUMNS.split(",")) + 1))
        begin = max(T0, end - DECISIONS_D * DAY_S)
        con.executemany(
            f"INSERT INTO decision ({DECISION_COLUMNS}, run) VALUES ({marks})",
            ((*decision_row(a_decision(t // MINUTE_S, float(t))), run or 1) for t in range(begin, end, MINUTE_S)),
        )
        con.execute("COMMIT")


def fill_audit(directory: Path, rows: int) -> None:
    """An audit of that many rows: orders and their results, signed as often as a busy gateway does."""
    key = signing_key.signing_key(directory, [])
    public = key.public_key().public_bytes_raw()
    with closing(sqlite3.connect(directory / audit_format.FILE, isolation_level=None)) as con:
        for statement in audit_format.SCHEMA.split("CREATE TRIGGER")[0].split(";\n"):
            con.execute(statement)
        con.execute("BEGIN")
        head = audit_format.GENESIS
        for seq in range(1, rows + 1):
            body = audit_format.canonical(_audit_body(seq, public.hex()))
            before, head = head, audit_format.chained(seq, head, body)
            con.execute("INSERT INTO entry VALUES (?,?,?,?)", (seq, before, head, body))
            if seq % CHECKPOINT_EVERY == 0 or seq == rows:
                signature = key.sign(audit_format.signed_text(seq, head))
                con.execute("INSERT INTO checkpoint VALUES (?,?,?,?)", (seq, head, public, signature))
        con.execute("COMMIT")


def _audit_body(seq: int, public_key: str) -> dict[str, object]:
    body: dict[str, object] = {"mono_ms": seq * 1000, "run": "c5e7c805/1", "who": "alice"}
    body["t"] = "2025-09-15T22:16:23.821Z"
    if seq == 1:
        return body | {"kind": "start", "public_key": public_key, "text": "gateway of Small started"}
    body |= {"command": "order.set setpoint", "uid": 1000, "pid": 4711}
    text = "discharge 6.2 kW → discharge 5.0 kW, for 15 min"
    if seq % 2 == 0:
        return body | {"kind": "intent", "reason": "feeder work", "text": text, "value": 5000.0}
    effect = {"code": "decision.setpoint", "figures": {"w": 5000.0}}
    more = {"of": seq - 1, "order": f"o{seq - 1}", "order_kind": "setpoint", "outcome": "in force", "effect": effect}
    return body | more | {"kind": "result", "reason": "", "target": "", "text": f"{text}; now discharge 5.0 kW"}


def exported(days: int) -> list[Figure]:
    """The time, size and memory of an export by the quarter hour."""
    told: list[Size] = []
    with tempfile.TemporaryDirectory() as place:
        state, out = Path(place) / "state", Path(place) / "out"
        state.mkdir()
        fill(state, days)
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, cpu = time.perf_counter(), time.process_time()
        export(state, out, 0.0, 4e9, Options(), told.append)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        grew_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mb
        size = sum(path.stat().st_size for path in out.iterdir())
    return [
        Figure(f"export of {days} days, {SIGNALS} signals by the quarter hour", took_s, "s", goal=60),
        Figure("… CPU", cpu_s, "s"),
        Figure("… memory above that of before", grew_mb, "MB"),
        Figure("… size", size / 1e6, "MB"),
        Figure("… size as estimated, share of the real one", 100 * told[0].bytes / size, "%"),
    ]


def verified(rows: int) -> list[Figure]:
    """The time to verify an audit."""
    with tempfile.TemporaryDirectory() as place:
        fill_audit(Path(place), rows)
        began, cpu = time.perf_counter(), time.process_time()
        report = verify(Path(place))
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        assert report.ok, report.findings
        assert report.rows == rows
    return [
        Figure(f"verify {rows} rows of audit, {report.checkpoints} signatures", took_s, "s", goal=10 * rows / 1e6),
        Figure("… CPU", cpu_s, "s"),
    ]


def measure(days: int = 365, rows: int = 1_000_000) -> list[Figure]:
    """Both."""
    return [*exported(days), *verified(rows)]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--days", type=int, default=365, help="on record")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of audit")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
