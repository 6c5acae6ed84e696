"""What a backup costs a running gateway: lateness of ticks and time of a durable command, with and without one.

Quiet and loaded phases of one run alternate. Every tick is in the record (`hot_period_s` = 0.1), with its time: so how
late it was against the median of its phase, and whether one was left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import SKERRY, Plant, running
from gateway.api.ask import Conversation, ask
from storage.reader import open_read_only
from storage.samples import samples
from storage.schema import FILE

RATE_HZ = 10
CHUNK = 8 << 20  # bytes added to the record in one transaction
COMMAND_EVERY_S = 0.5

Phase = dict[str, list[float]]


def measure(seconds: float = 60.0, rounds: int = 2, size_mb: int = 300) -> list[Figure]:
    """`seconds` of each phase, so many times, on a record of that size."""
    sections = {
        "gateway": {"rate_hz": RATE_HZ},
        "io": {"deadline_s": 0.04},
        "storage": {"hot_period_s": 0.1},
    }
    quiet: Phase = {"late_ms": [], "missing": [], "command_ms": [], "backup_s": []}
    loaded: Phase = {"late_ms": [], "missing": [], "command_ms": [], "backup_s": []}
    with running(sections) as plant:
        (record,) = plant.site.parent.rglob("telemetry.db")
        _fill(record, size_mb)
        time.sleep(15)
        for _ in range(rounds):
            for phase, with_backups in ((quiet, False), (loaded, True)):
                _watch(plant, record.parent, phase, seconds, with_backups)
    figures = []
    for name, phase in (("quiet", quiet), ("during backups", loaded)):
        late_ms, command_ms = phase["late_ms"], phase["command_ms"]
        figures += [
            Figure(f"tick later than the median, p99, {name}, {len(late_ms)} ticks", quantile(late_ms, 0.99), "ms"),
            Figure(f"tick later than the median, p99.9, {name}", quantile(late_ms, 0.999), "ms"),
            Figure(f"ticks left out, {name}", round(sum(phase["missing"])), "ticks"),
            Figure(f"durable command p50, {name}", quantile(command_ms, 0.5), "ms"),
            Figure(f"durable command worst of {len(command_ms)}, {name}", max(command_ms), "ms"),
        ]
    figures.append(
        Figure(f"one backup of {size_mb} MB, mean of {len(loaded['backup_s'])}", _mean(loaded["backup_s"]), "s")
    )
    return figures


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _fill(record: Path, size_mb: int) -> None:
    """Make the record as large as that of some months."""
    with closing(sqlite3.connect(record, isolation_level=None, timeout=10)) as con:
        con.execute("CREATE TABLE filler (v BLOB)")
        for _ in range(size_mb * 1_000_000 // CHUNK):
            con.execute("INSERT INTO filler VALUES (?)", (os.urandom(CHUNK),))
            time.sleep(0.2)


def _watch(plant: Plant, state_dir: Path, phase: Phase, seconds: float, with_backups: bool) -> None:
    """One phase: commands all the time, backups one after the other, and the lateness of its ticks afterwards."""
    begin_s, until = _now_s(plant), time.monotonic() + seconds
    process: subprocess.Popen[Any] | None = None
    count = 0
    while time.monotonic() < until or process is not None:
        if with_backups and process is None and time.monotonic() < until:
            count += 1
            target = plant.site.parent / f"backup-{count}-{round(begin_s)}"
            arguments = [*SKERRY, "backup", str(target), "--json"]
            process = subprocess.Popen(
                arguments, env=plant.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        began = time.monotonic()
        with Conversation(plant.socket_path()) as link:
            answer = link.request("stop", reason="benchmark")
        if answer["not_durable"]:
            raise RuntimeError(f"a command was not on record in time: {answer['not_durable']}")
        phase["command_ms"].append(1000 * (time.monotonic() - began))
        time.sleep(COMMAND_EVERY_S)
        if process is not None and process.poll() is not None:
            phase["backup_s"].append(json.loads(process.communicate()[0])["seconds"])
            process = None
    end_s = _now_s(plant)
    time.sleep(12)  # the record is written each 10 s
    phase["late_ms"] += _late_ms(state_dir, begin_s, end_s, phase)


def _late_ms(state_dir: Path, begin_s: float, end_s: float, phase: Phase) -> list[float]:
    """How much later than the median each tick was, ms; notes how many are missing."""
    span_us = (round(begin_s * 1e6), round(end_s * 1e6))
    with closing(open_read_only(state_dir / FILE)) as con:
        times_us = [t for part in samples(con, *span_us) for t in part.times_us() if span_us[0] <= t < span_us[1]]
    period_us = 1_000_000 // RATE_HZ
    phase["missing"] += [max(0.0, (times_us[-1] - times_us[0]) / period_us + 1 - len(times_us))]
    within = [(t - times_us[0] + period_us / 2) % period_us for t in times_us]
    median = quantile(within, 0.5)
    return [((t - median + period_us / 2) % period_us - period_us / 2) / 1000 for t in within]


def _now_s(plant: Plant) -> float:
    return float(ask(plant.socket_path(), "status")["snapshot"]["utc_s"])


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size-mb", type=int, default=300)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
