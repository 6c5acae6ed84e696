"""An export stands on its own: what was asked for, nothing else, and hashes that hold."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
from storage_samples import T0, feed, sampled
from waiting import LIMIT_S

from dispatch.model.events import Event
from storage.config import StorageConfig
from storage.export import ExportError, export
from storage.reader import NoRecords
from storage.recorder import Recorder


def test_an_export_of_a_running_gateway(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "state", StorageConfig(), "boot")
    feed(recorder, range(1_500))
    recorder.event(Event(T0 + 70, "device", "info", "pcs1", 'in, the "span"')).result(LIMIT_S)
    recorder.event(Event(T0 + 299, "device", "info", "pcs1", "outside of it")).result(LIMIT_S)
    recorder.flush().result(LIMIT_S)
    out = tmp_path / "out"
    manifest = export(tmp_path / "state", out, T0 + 60, T0 + 240)
    recorder.close()

    assert {path.name for path in out.iterdir()} == {
        "telemetry.db",
        "telemetry.csv",
        "events.csv",
        "decisions.csv",
        "drills.csv",
        "gaps.csv",
        "manifest.json",
    }
    assert json.loads((out / "manifest.json").read_text()) == manifest
    for name, entry in manifest["files"].items():
        content = (out / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])

    with (out / "telemetry.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["t"] for row in rows] == [f"2025-09-16T06:{m}:00Z" for m in (56, 57, 58)]
    assert [float(row["grid.w"]) for row in rows] == pytest.approx([449.5, 749.5, 1_049.5], abs=0.51)
    assert rows[0]["grid.import_wh"] == ""  # never read: empty, not zero
    with (out / "events.csv").open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == ['in, the "span"']
    assert manifest["files"]["decisions.csv"]["rows"] == 3
    with (out / "decisions.csv").open(newline="") as file:
        decided = next(csv.DictReader(file))
    assert decided["code"] == "decision.no_setpoint"
    assert decided["reason"] == (
        "no setpoint — interval budget: 3.2 kWh left in the interval up to the contracted peak 32.0 kW "
        "(6:50 to go, import at most 30.0 kW)"
    )

    con = sqlite3.connect(out / "telemetry.db")
    assert list(sampled(out, "grid.w")) == [int((T0 + n) * 1e6) for n in range(60, 240)]
    assert con.execute('SELECT round("grid.w") FROM telemetry_wide_1m').fetchone()[0] in (449.0, 450.0)
    assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    con.close()
    assert b"outside of it" not in (out / "telemetry.db").read_bytes()


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoRecords, match="no such file"):
        export(tmp_path, tmp_path / "out", T0, T0 + 1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ExportError, match="expected an end after the start"):
        export(tmp_path, tmp_path / "out", T0, T0)
    recorder = Recorder(tmp_path / "state", StorageConfig(), "boot")
    recorder.close()
    with pytest.raises(ExportError, match="is not empty"):
        export(tmp_path / "state", tmp_path, T0, T0 + 1)
