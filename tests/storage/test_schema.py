"""Schema versions: from nothing, from version 1, from a step that fails."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from storage_samples import T0, feed, sampled
from waiting import LIMIT_S

from storage import recorder as recorder_module
from storage import schema
from storage.config import StorageConfig
from storage.inbox import NotRecorded
from storage.reader import Archive
from storage.recorder import Recorder

CONFIG = StorageConfig(flush_s=0.1)


def recorded(directory: Path, ticks: range) -> None:
    """A gateway's run."""
    recorder = Recorder(directory, CONFIG, "boot")
    feed(recorder, ticks)
    recorder.flush().result(LIMIT_S)
    assert recorder.close()


def facts(directory: Path) -> dict[str, Any]:
    """What a file says of itself."""
    con = sqlite3.connect(directory / "telemetry.db")
    found = {name: con.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")}
    found |= {name: con.execute(f"PRAGMA {name}").fetchone()[0] for name in ("auto_vacuum", "journal_mode")}
    found["steps"] = [row[0] for row in con.execute("SELECT name FROM _sqlite_migrations ORDER BY id")]
    con.close()
    return found


@pytest.mark.parametrize("before", ["absent", "empty"])
def test_from_nothing(tmp_path: Path, before: str) -> None:
    if before == "empty":
        (tmp_path / "telemetry.db").write_bytes(b"")
    recorded(tmp_path, range(50))
    assert facts(tmp_path) == {
        "user_version": 8,
        "application_id": int.from_bytes(b"SKRY", "big"),
        "auto_vacuum": 2,
        "journal_mode": "wal",
        "steps": [f"{n + 1:04d}_{step.__name__}" for n, step in enumerate(schema.STEPS)],
    }


def test_from_version_1_keeps_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(schema, "STEPS", schema.STEPS[:1])
        con = sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None)
        schema.prepare(con)
        schema.migrate(con, tmp_path / "telemetry.db")
        con.execute("INSERT INTO run VALUES (1, 'boot', 1)")
        con.executemany("INSERT INTO hot VALUES (?, 1, 0, x'')", [(n,) for n in range(20)])
        con.close()
    assert facts(tmp_path)["user_version"] == 1
    assert Archive(tmp_path).counts()["hot"] == 20
    recorded(tmp_path, range(100, 200))
    assert facts(tmp_path)["steps"][-1] == "0008_context"
    assert len(facts(tmp_path)["steps"]) == 8
    assert len(sampled(tmp_path, "grid.w")) == 40
    con = sqlite3.connect(tmp_path / "telemetry.db")
    assert con.execute("SELECT count(*) FROM telemetry_1m WHERE signal = 'grid.w'").fetchone() == (1,)
    con.close()


def test_a_step_that_fails_leaves_the_version_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path, range(100))

    def broken(db: Any) -> None:
        db.conn.execute("ALTER TABLE event ADD COLUMN half TEXT")
        db.conn.execute("SELECT * FROM no_such_table")

    monkeypatch.setattr(recorder_module, "RETRY_S", 0.05)
    with monkeypatch.context() as newer:
        newer.setattr(schema, "STEPS", [*schema.STEPS, broken])
        recorder = Recorder(tmp_path, CONFIG, "boot")
        with pytest.raises(NotRecorded, match="no such table"):
            recorder.flush().result(LIMIT_S)
        assert not recorder.close()
    assert facts(tmp_path)["user_version"] == 8
    con = sqlite3.connect(tmp_path / "telemetry.db")
    assert "half" not in [row[1] for row in con.execute("PRAGMA table_info(event)")]
    con.close()
    recorded(tmp_path, range(100, 200))
    assert Archive(tmp_path).counts()["hot"] == 40


def test_sqlite_utils_is_loaded_only_to_migrate(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from storage.recorder import Recorder; "
        "from storage.config import StorageConfig; r = Recorder(Path(sys.argv[1]), StorageConfig(), 'b'); "
        "assert r.wait_open(60), r.error; assert r.close(), r.error; print('sqlite_utils' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    answers = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]
    assert answers == ["True", "False"]


def test_times_are_utc(tmp_path: Path) -> None:
    recorded(tmp_path, range(5))
    con = sqlite3.connect(tmp_path / "telemetry.db")
    assert con.execute("SELECT ts FROM hot").fetchone() == (int(T0 * 1e6),)
    con.close()
