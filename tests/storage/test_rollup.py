"""Roll-ups against brute force: any ticks, any flushes, any restarts, any clock."""

from __future__ import annotations

import math
import random
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak_sizes import examples
from storage_samples import T0, snapshot

from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.intake import Intake
from storage.recorder import nobody

STEP = st.tuples(
    st.sampled_from([0.2, 0.2, 0.2, 7.0, 31.0, 61.0, -45.0, -130.0]),  # s on the calendar since the tick before
    st.one_of(st.none(), st.integers(-70_000, 70_000).map(float), st.floats(-70_000, 70_000)),  # grid W
    st.sampled_from(["", "", "", "", "flush", "restart"]),
)


@pytest.mark.soak
@given(st.lists(STEP, min_size=1, max_size=60))
@settings(max_examples=examples(20))
def test_rollups_are_what_brute_force_says(steps: list[tuple[float, float | None, str]]) -> None:
    expected: dict[int, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "telemetry.db"
        file, intake = TelemetryFile(path, "boot", nobody), Intake(StorageConfig(), 250.0)
        utc_s, restarts, chance = T0, 0, random.Random(len(steps))
        for n, (dt, value, then) in enumerate(steps):
            utc_s += dt
            intake.take(snapshot(n, utc_s, grid=value or 0.0, missing=value is None), None, None)
            if value is not None:
                expected[int(utc_s // 60) * 60].append(value)
            if then:
                file.ensure_open(utc_s)
                file.write(intake, whole=then == "restart")
                intake.written(whole=then == "restart")
                if chance.random() < 0.5:
                    file.pack(utc_s)
            if then == "restart":
                restarts += 1
                file.close(0)
                file, intake = TelemetryFile(path, f"boot-{restarts}", nobody), Intake(StorageConfig(), 250.0)
        file.ensure_open(utc_s)
        file.write(intake, whole=True)
        while file.pack(utc_s + 1e6):
            pass
        file.close(0)
        con = sqlite3.connect(path)
        sql = "SELECT t, mn, mx, mean, last, n FROM r1m JOIN signal ON id = sid WHERE name = 'grid.w'"
        found = {row[0]: row[1:] for row in con.execute(sql)}
        quarters = {row[0]: row[1:] for row in con.execute(sql.replace("r1m", "r15"))}
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert con.execute("SELECT count(*) FROM hot").fetchone() == (0,)
        con.close()
    assert found.keys() == expected.keys()
    for t, values in expected.items():
        mn, mx, mean, last, n = found[t]
        assert (mn, mx, last, n) == (round(min(values)), round(max(values)), round(values[-1]), len(values))
        # every return to a minute already on file starts from a mean rounded to 1 W
        assert mean == pytest.approx(math.fsum(values) / n, abs=0.51 * (1 + len(steps)))

    assert quarters.keys() == {t // 900 * 900 for t in expected}
    for t, (mn, mx, mean, last, n) in quarters.items():
        minutes = [found[m] for m in range(t, t + 900, 60) if m in found]
        assert (mn, mx) == (min(m[0] for m in minutes), max(m[1] for m in minutes))
        assert (last, n) == (minutes[-1][3], sum(m[4] for m in minutes))
        assert mean == pytest.approx(sum(m[2] * m[4] for m in minutes) / n, abs=0.51)


@pytest.mark.soak
@given(st.lists(st.one_of(st.none(), st.floats(-1e5, 1e5)), min_size=1, max_size=50))
@settings(max_examples=examples(12))
def test_within_one_run_the_mean_is_exact_to_its_resolution(values: list[float | None]) -> None:
    """However often the running minute is flushed: it is written again from its own sums, not from rounded rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "telemetry.db"
        file, intake = TelemetryFile(path, "boot", nobody), Intake(StorageConfig(), 250.0)
        for n, value in enumerate(values):
            intake.take(snapshot(n, grid=value or 0.0, missing=value is None), None, None)
            file.ensure_open(T0)
            file.write(intake, whole=True)
            intake.written(whole=True)
        file.close(0)
        con = sqlite3.connect(path)
        row = con.execute("SELECT mean, n FROM r1m JOIN signal ON id = sid WHERE name = 'grid.w'").fetchone()
        con.close()
    good = [v for v in values if v is not None]
    if not good:
        assert row is None
    else:
        assert row[1] == len(good)
        assert row[0] == pytest.approx(math.fsum(good) / len(good), abs=0.5001)
