"""Damaged records and audits from which `skerry salvage` recovers what can be read."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fuzzing import Parser
from record_parsers import END_S, a_state, damaged, file_of, rows_of, with_rows

from console.cli.failures import Failure
from console.cli.salvage import _salvaged
from storage import audit_format, schema

COMMAND = ("console.cli.salvage:_salvaged", "storage.salvage:recovered_name")
PAGES = (
    "storage.pages:Pages.__init__",
    "storage.pages:Pages.cells",
    "storage.pages:Pages._cell",
    "storage.pages:Pages._payload",
    "storage.pages:_value",
)
ROWS = ("storage.trees:_check", "storage.trees:_check_samples", "storage.pages:Pages._read_map")


def salvage(name: str) -> Callable[[Path], object]:
    """The command on a file of that name that was set aside."""

    def use(place: Path) -> None:
        aside = place / f"{name}.corrupt.x"
        (place / name).rename(aside)
        for wal in place.glob(f"{name}-wal"):
            wal.rename(f"{aside}-wal")
        _salvaged(aside, None)

    return use


def a_wal() -> list[bytes]:
    """What is in a write-ahead log alone."""
    with tempfile.TemporaryDirectory(prefix="skerry-fuzz-") as name:
        place = shutil.copytree(a_state(), Path(name) / "state")
        with closing(sqlite3.connect(place / schema.FILE, isolation_level=None)) as con:
            con.execute("PRAGMA journal_mode = WAL")
            con.execute("UPDATE event SET ts_utc_us = ?", (round(END_S * 1e6),))
            con.execute("UPDATE decision SET ts_utc_us = ?", (round(END_S * 1e6),))
            return [Path(f"{place / schema.FILE}-wal").read_bytes()]


PARSERS = (
    Parser(
        "telemetry.db that is salvaged",
        (*COMMAND, *PAGES, *ROWS, "storage.salvage:recovering"),
        file_of(schema.FILE),
        damaged(schema.FILE, salvage(schema.FILE)),
        (Failure,),
        share=0.1,
    ),
    Parser(
        "telemetry.db-wal that is salvaged",
        ("storage.pages:Pages._index_wal", "storage.pages:_checksum"),
        a_wal,
        damaged(f"{schema.FILE}-wal", salvage(schema.FILE)),
        (Failure,),
        share=0.1,
    ),
    Parser(
        "rows that are salvaged",
        ROWS,
        rows_of(schema.FILE, "hot", "block", "dictionary", "r1m", "event", "decision", "drill", "run", "signal"),
        with_rows(schema.FILE, salvage(schema.FILE)),
        (Failure,),
        tree="json",
        share=0.02,
    ),
    Parser(
        "audit.db that is salvaged",
        ("storage.salvage:recovering",),
        file_of(audit_format.FILE),
        damaged(audit_format.FILE, salvage(audit_format.FILE)),
        (Failure,),
        share=0.1,
    ),
)
