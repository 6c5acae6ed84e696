"""What the record costs for 200 signals at 1 Hz: bytes and syncs of the disk a day, bytes kept, the time of a chart.

The shipped writer runs in simulated time: what it writes and syncs depends on rows, not on seconds. `strace` counts.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.figures import Figure, main, quantile
from dispatch.model.decision import Decision, Mode, Setpoint
from dispatch.model.equipment import Meter
from dispatch.model.islanding import IslandState
from dispatch.model.readings import reading
from dispatch.model.reasons import Reason, RuleId
from dispatch.model.snapshot import Snapshot
from storage import blocks, schema
from storage.config import StorageConfig
from storage.file import TelemetryFile
from storage.intake import Intake
from storage.reader import Archive
from storage.rollup import MINUTE_S, QUARTER_S
from storage.signals import definition

SIGNALS = 200
T0 = 1_758_005_100  # a quarter hour
DAY_S = 86_400
SOURCE = (uuid.UUID(int=1), uuid.UUID(int=2))
FLUSH_EVERY = 10  # rows, as the recorder does at 1 Hz with flush_s = 10
NAMES = ("grid.w", "grid.hz", "grid.import_wh", "grid.export_wh", "site_load.w", "decision.battery_w")
OTHERS = [f"s{n:03}.w" for n in range(SIGNALS - len(NAMES) - 1)]


def ticks(seconds: int, seed: int = 1) -> Iterator[tuple[Snapshot, Decision, dict[str, float | None]]]:
    """A site's seconds: of its signals 30 % are states, 40 % move slowly, 30 % are noisy."""
    chance = random.Random(seed)
    kinds = [n % 10 for n in range(len(OTHERS))]
    values = [float(chance.randint(0, 4) if kind < 3 else chance.randint(1_000, 30_000)) for kind in kinds]
    for n in range(seconds):
        for k, kind in enumerate(kinds):
            if 3 <= kind < 7 and chance.random() < 0.1:
                values[k] += chance.choice((-1.0, 1.0))
        noisy = [v + chance.gauss(0, 60) if kind >= 7 else v for v, kind in zip(values, kinds, strict=True)]
        grid_w = 20_000 + chance.gauss(0, 200)
        snapshot = Snapshot(
            n,
            T0 + n + chance.uniform(0, 0.004),
            float(n) + 0.001,
            Meter("grid", w=reading(grid_w), hz=reading(50 + chance.gauss(0, 0.01))),
        )
        yield snapshot, a_decision(n, snapshot.utc_s), dict(zip(OTHERS, noisy, strict=True))


def a_decision(n: int, utc_s: float) -> Decision:
    """A decision whose setpoint changes each minute."""
    setpoint_w = 1_000.0 * (n // 60)
    return Decision(
        seq=n,
        utc_s=utc_s,
        mode=Mode.PLAN,
        island=IslandState.GRID_TIED,
        setpoints=(Setpoint("pcs1", setpoint_w),),
        battery_w=setpoint_w,
        net_load_w=26_000.0,
        import_target_w=20_000.0,
        binding=RuleId.PLAN,
        reason=Reason("step.nothing_pays"),
        chain=(),
    )


def write(directory: Path, seconds: int) -> Iterator[int]:
    """Record so many seconds as the recorder does; how many there are, each time that they are on the disk."""
    file, intake = TelemetryFile(directory / schema.FILE, "boot", lambda: SOURCE), Intake(StorageConfig(), 250.0)
    file.ensure_open(T0)
    for n, tick in enumerate(ticks(seconds), 1):
        intake.take(*tick)
        if n % FLUSH_EVERY == 0:
            file.write(intake, whole=False)
            intake.written(whole=False)
            yield n
            file.pack(tick[0].utc_s)
    file.close(0)


def written(seconds: int) -> list[Figure]:
    """Bytes written, syncs, and bytes kept of raw samples, scaled to a day."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "calls"
        command = [sys.executable, "-m", "benchmarks.records", "--write", place, "--hours", str(seconds / 3600)]
        calls = "trace=pwrite64,fsync,fdatasync"
        subprocess.run(["strace", "-f", "-y", "-e", calls, "-s", "0", "-o", str(log), *command], check=True)
        lines = [line for line in log.read_text().splitlines() if schema.FILE in line]
        bytes_written = sum(int(size[1]) for line in lines if (size := re.search(r"pwrite64.* = (\d+)$", line)))
        syncs = sum(1 for line in lines if re.search(r"f(data)?sync\(", line))
        with closing(sqlite3.connect(Path(place) / schema.FILE)) as con:
            raw, packed = con.execute("SELECT sum(length(v)), count(*) FROM block").fetchone()
    days = seconds / DAY_S
    return [
        Figure(f"written a day, {SIGNALS} signals at 1 Hz", bytes_written / days / 1e6, "MB", goal=420),
        Figure("syncs a day", syncs / days, "", goal=9500),
        Figure("raw samples kept a day", raw / packed * DAY_S / QUARTER_S / 1e6, "MB", goal=10),
    ]


def fill(directory: Path, days: int) -> None:
    """A file of that many days, all packed: every block has the same samples."""
    path = directory / schema.FILE
    file = TelemetryFile(path, "boot", lambda: SOURCE)
    file.ensure_open(T0)
    file.close(0)
    signals = [definition(f"s{n:03}.w") for n in range(SIGNALS)]
    chance = random.Random(1)
    columns = [blocks.Column([5_000 + round(chance.gauss(0, 60)) for _ in range(QUARTER_S)]) for _ in signals]
    times_us = [T0 * 1_000_000 + k * 1_000_000 for k in range(QUARTER_S)]
    block = blocks.encode(SOURCE, 1, 1_000_000, blocks.dictionary_hash(signals), times_us, columns)
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("BEGIN")
        con.executemany(
            "INSERT INTO signal VALUES (?,?,?,?,?,0,NULL)", [(n, *signal) for n, signal in enumerate(signals, 1)]
        )
        sids = b"".join(n.to_bytes(4, "little") for n in range(1, SIGNALS + 1))
        con.execute("INSERT INTO dictionary VALUES (1, ?, ?)", (blocks.dictionary_hash(signals), sids))
        for day in range(days):
            begin = T0 + day * DAY_S
            for table, width_s in (("r1m", MINUTE_S), ("r15", QUARTER_S)):
                con.executemany(
                    f"INSERT INTO {table} VALUES (?,?,4900,5100,?,5001,300)",
                    ((t, n, 5_000 + n) for t in range(begin, begin + DAY_S, width_s) for n in range(1, SIGNALS + 1)),
                )
            con.executemany(
                "INSERT INTO block (t0, step_us, n, dictionary, v) VALUES (?,1000000,?,1,?)",
                ((t * 1_000_000, QUARTER_S, block) for t in range(begin, begin + DAY_S, QUARTER_S)),
            )
        con.execute("COMMIT")


def charts(days: int) -> list[Figure]:
    """The time of charts over the last of so many days."""
    with tempfile.TemporaryDirectory() as place:
        fill(Path(place), days)
        end_s = T0 + days * DAY_S
        size = (Path(place) / schema.FILE).stat().st_size
        cases = (
            ("24 h by the minute", 1, DAY_S, 60.0, 60.0),
            ("24 h by the minute, 6 signals", 6, DAY_S, 60.0, None),
            ("15 min by the second", 1, 900, 1.0, None),
            (f"{days} d by the quarter hour", 1, days * DAY_S, 900.0, None),
        )
        figures = [Figure(f"file of {days} days", size / 1e6, "MB")]
        for what, number, span_s, step_s, goal in cases:
            names = [f"s{n:03}.w" for n in range(0, SIGNALS, SIGNALS // number)][:number]
            took = []
            for _ in range(9):
                archive = Archive(Path(place), timeout_s=60.0)  # a connection of its own, as each question has
                before = time.perf_counter()
                found = archive.history(names, end_s - span_s, end_s, step_s)
                took.append(1000 * (time.perf_counter() - before))
                archive.close()
                assert all(None not in column for column in found["signals"].values())
            figures.append(Figure(f"chart: {what}, median", quantile(took, 0.5), "ms", goal))
    return figures


def measure(hours: float = 4.0, days: int = 30, write_to: str = "") -> list[Figure]:
    """All of it. Without strace, only the charts."""
    if write_to:
        for _ in write(Path(write_to), round(hours * 3600)):
            pass
        return []
    counted = written(round(hours * 3600)) if shutil.which("strace") else []
    return [*counted, *charts(days)]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--hours", type=float, default=4.0, help="of recording that are counted")
    parser.add_argument("--days", type=int, default=30, help="on record for the charts")
    parser.add_argument("--write", dest="write_to", default="", help=argparse.SUPPRESS)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
