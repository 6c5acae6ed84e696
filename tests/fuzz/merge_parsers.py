"""Telemetry files that lie beside a site's own and are merged, or taken back: damaged bytes and rows."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from fuzzing import Parser
from record_parsers import END_S, a_state, damaged, file_of, rows_of, with_rows

from storage import schema
from storage.file import TelemetryFile
from storage.recorder import nobody

SALVAGED, NEWER = f"{schema.FILE}.salvaged.x", f"{schema.FILE}.newer.x"


def merge_all(place: Path) -> None:
    """Open the record and merge what lies beside it. What is damaged there is told."""
    file = TelemetryFile(place / schema.FILE, "again", nobody)
    file.ensure_open(END_S)
    while file.merge(END_S):
        pass
    file.abandon()


def merge_rows(place: Path) -> None:
    """Merge the file of a directory into another."""
    (place / schema.FILE).rename(place / SALVAGED)
    shutil.copyfile(a_state() / schema.FILE, place / schema.FILE)
    merge_all(place)


def merge_without_names(place: Path) -> None:
    """Merge a file whose blocks are of dictionaries that it has lost."""
    with closing(sqlite3.connect(place / schema.FILE, isolation_level=None)) as con:
        con.execute("UPDATE dictionary SET hash = randomblob(32)")
    merge_rows(place)


PARSERS = (
    Parser(
        "telemetry.db that is merged",
        ("storage.merging:Merging._open", "storage.merging:_progress", "storage.merging:reading"),
        file_of(schema.FILE),
        damaged(SALVAGED, merge_all),
        share=0.03,
    ),
    Parser(
        "telemetry.db that is taken back",
        ("storage.rollback:_hand_over", "storage.moving:fold"),
        file_of(schema.FILE),
        damaged(NEWER, merge_all),
        share=0.03,
    ),
    Parser(
        "rows that are merged",
        ("storage.copying:Copier._hot", "storage.copying:dictionaries_of"),
        rows_of(schema.FILE, "hot", "r1m", "r15", "event", "decision", "drill", "run", "signal", "state"),
        with_rows(schema.FILE, merge_rows),
        tree="json",
        share=0.03,
    ),
    Parser(
        "blocks and dictionaries that are merged",
        ("storage.copying:Copier._without_names",),
        rows_of(schema.FILE, "dictionary", "block"),
        with_rows(schema.FILE, merge_without_names),
        tree="json",
        share=0.03,
    ),
)
