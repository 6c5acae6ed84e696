"""A gateway killed with -9, again and again on one file: nothing that was flushed is lost, and the file is sound."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from storage_samples import T0, sampled

from storage.file import TelemetryFile
from storage.reader import Archive
from storage.recorder import nobody

HERE = Path(__file__).parent
KILLS = 10
WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:4]
from storage_samples import T0, decision, snapshot
from dispatch.model.events import Event
from dispatch.model.reasons import RuleId
from storage.config import StorageConfig
from storage.recorder import Recorder

run = int(sys.argv[4])
RULES = [*RuleId]
recorder = Recorder(Path(sys.argv[1]), StorageConfig(flush_s=0.01), f"boot-{run}")
n = 0
while True:
    for _ in range(50):
        utc_s = T0 + run * 100_020 + n * 0.2
        recorder.put(snapshot(n, utc_s), decision(n, binding=RULES[n % len(RULES)], utc_s=utc_s))
        n += 1
    event = recorder.event(Event(T0 + run * 100_020, "twin", "info", str(run), str(n)))
    recorder.flush().result()
    event.result()
    print(n, flush=True)
"""


def test_nothing_flushed_is_lost(tmp_path: Path) -> None:
    chance = random.Random(9)
    acknowledged = []
    for run in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(HERE), str(HERE.parent), str(run)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        flushed = 0
        for _ in range(chance.randint(1, 40)):
            flushed = int(process.stdout.readline())
        process.kill()  # wherever it is by now: filling, writing, checkpointing
        flushed = max([flushed, *(int(line) for line in process.stdout if line.endswith("\n"))])
        process.wait()
        process.stdout.close()
        acknowledged.append(flushed)

    file = TelemetryFile(tmp_path / "telemetry.db", "boot", nobody)
    file.ensure_open(T0)  # what the next gateway does
    while file.pack(T0 + 1e7):
        pass
    file.close(0)
    stamps = sampled(tmp_path, "grid.w")
    con = sqlite3.connect(tmp_path / "telemetry.db")
    assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for run, ticks in enumerate(acknowledged):
        begin, end = int(T0 + run * 100_020), int(T0 + (run + 1) * 100_020)
        first = [ts for ts in stamps if begin * 1_000_000 <= ts < end * 1_000_000]
        assert len(first) >= ticks // 5
        # and no hole among those that came after the last acknowledgement
        assert [round(ts / 1e6 - begin) for ts in sorted(first)] == list(range(len(first)))
        # every minute is rolled up, the last one of its samples
        sql = "SELECT t FROM r1m JOIN signal ON id = sid WHERE name = 'grid.w' AND t >= ? AND t < ?"
        minutes = {t for (t,) in con.execute(sql, (begin, end))}
        assert minutes == {ts // 60_000_000 * 60 for ts in first}
        sql = "SELECT count(*) FROM decision WHERE ts_utc_us >= ? AND ts_utc_us < ?"
        assert con.execute(sql, (begin * 1_000_000, end * 1_000_000)).fetchone()[0] >= ticks
        sql = "SELECT count(*) FROM event WHERE subject = ?"
        assert con.execute(sql, (str(run),)).fetchone()[0] >= ticks // 50
    con.close()
    assert not [path.name for path in tmp_path.iterdir() if "corrupt" in path.name]
    assert Archive(tmp_path).why() is not None
