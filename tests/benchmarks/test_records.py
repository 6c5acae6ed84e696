"""What the record costs the disk, in short; `python -m benchmarks.records` measures it at length."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from benchmarks import records
from storage.reader import Archive


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace counts what is written and synced")
def test_writes_and_syncs_of_half_an_hour_keep_the_goals_of_a_day() -> None:
    figures = {figure.unit or "syncs": figure for figure in records.written(2_700)[:2]}
    assert figures["syncs"].goal == 9_500
    assert 8_640 <= figures["syncs"].got <= 9_500, "a commit each 10 s, and checkpoints"
    assert figures["MB"].met, figures


def test_raw_samples_of_a_day_take_8_mb(tmp_path: Path) -> None:
    assert max(records.write(tmp_path, 1_810)) == 1_810
    with closing(sqlite3.connect(tmp_path / "telemetry.db")) as con:
        (size,) = con.execute("SELECT length(v) FROM block").fetchone()
    assert size * 96 <= 10_000_000


def test_a_chart_of_a_day_reads_a_fraction_of_that_day(tmp_path: Path) -> None:
    records.fill(tmp_path, 1)
    sql = "SELECT sid, t, mean FROM r1m"
    took: dict[str, list[float]] = {"chart": [], "whole": []}
    for _ in range(5):
        archive, began = Archive(tmp_path), time.thread_time()
        archive.history(["s001.w"], records.T0, records.T0 + records.DAY_S, 60.0)
        took["chart"].append(time.thread_time() - began)
        archive.close()
        with closing(sqlite3.connect(tmp_path / "telemetry.db")) as con:
            began = time.thread_time()
            con.execute(sql).fetchall()
            took["whole"].append(time.thread_time() - began)
    assert median(took["chart"]) < 0.25 * median(took["whole"])
