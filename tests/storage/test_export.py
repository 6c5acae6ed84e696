"""An export stands on its own: what was asked for, nothing else, what it means, and hashes that hold."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from storage_samples import T0, feed
from waiting import LIMIT_S

from dispatch.model.events import Event
from drivers.clock import SystemClock
from storage import identity
from storage.audit import AuditLog
from storage.audit_format import CSV_COLUMNS
from storage.config import StorageConfig
from storage.export import writer
from storage.export.record_tables import AUDIT
from storage.export.signal_columns import Signal, wide_tables
from storage.export.size import Size
from storage.export.writer import ExportError, Options, export
from storage.reader import NoRecords
from storage.recorder import Recorder
from storage.signals import definition
from storage.verify import verify

WIDE = "telemetry_1m"
MINUTES = Options(resolution="1m", extremes=True)
HOSTILE = "=HYPERLINK(1)\x1b[31m\u202egpj\u2066"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes of a site, with an audit."""
    place = tmp_path_factory.mktemp("export") / "state"
    recorder = Recorder(place, StorageConfig(), "boot")
    feed(recorder, range(1_500))
    recorder.event(Event(T0 + 70, "device", "info", "pcs1", 'in, the "span"')).result(LIMIT_S)
    recorder.event(Event(T0 + 71, "alarm", "alarm", "peak-at-risk", HOSTILE, "eve\u200f")).result(LIMIT_S)
    recorder.event(Event(T0 + 299, "device", "info", "pcs1", "outside of it")).result(LIMIT_S)
    recorder.flush().result(LIMIT_S)
    assert recorder.close()
    audit = AuditLog(place, "boot/1", SystemClock(), lambda line: None)
    row = audit.write(
        {"kind": "intent", "command": "order.set", "who": "eve", "uid": 1000, "reason": HOSTILE, "text": ""}
    )
    why = {"code": "refused.peak", "figures": {}}
    result = {"kind": "result", "of": row.result(LIMIT_S), "outcome": "refused", "uid": 1000, "why": why}
    audit.write(result).result(LIMIT_S)
    audit.close()
    identity.establish(place)
    return place


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_export_of_minutes(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = export(state, out, T0 + 60, T0 + 240, MINUTES)
    tables = {WIDE, f"{WIDE}_min", f"{WIDE}_max", "events", "decisions", "drills", "gaps", "audit", "data_dictionary"}
    tables |= {"jobs", "job_quarters", "job_peaks"}
    csv_files = {f"{table}.csv" for table in tables}
    assert {path.name for path in out.iterdir()} == {"export.db", "audit.db", "manifest.json"} | csv_files
    assert json.loads((out / "manifest.json").read_text()) == manifest
    for name, entry in manifest["files"].items():
        content = (out / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    site = identity.read(state)
    assert site is not None
    assert manifest["site"] == {"uuid": site.site, "incarnation": site.incarnation}
    assert (manifest["format"], manifest["resolution"], manifest["gaps"]) == (2, "1m", 0)

    rows = read_csv(out / f"{WIDE}.csv")
    assert [row["time_utc"] for row in rows] == [f"2025-09-16T06:{m}:00Z" for m in (56, 57, 58)]
    assert [float(row["grid_import_w"]) for row in rows] == pytest.approx([449.5, 749.5, 1_049.5], abs=0.51)
    assert rows[0]["grid_import_wh"] == ""  # never read: empty, not zero
    assert (rows[0]["grid_l2_v"], rows[0]["site_load_w"], rows[0]["gpu_01_w"]) == ("230.12", "9450", "1500")
    assert [float(row["grid_import_w"]) for row in read_csv(out / f"{WIDE}_max.csv")] == [599, 899, 1199]
    assert next(row["text"] for row in read_csv(out / "events.csv")) == 'in, the "span"'
    decided = read_csv(out / "decisions.csv")
    assert len(decided) == manifest["files"]["decisions.csv"]["rows"] == 3
    assert (decided[0]["reason_code"], decided[0]["binding_rule"]) == ("decision.no_setpoint", "interval budget")
    assert decided[0]["reason"] == (
        "no setpoint — interval budget: 3.2 kWh left in the interval up to the contracted peak 32.0 kW "
        "(6:50 to go, import at most 30.0 kW)"
    )
    with closing(sqlite3.connect(out / "export.db")) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert con.execute(f"SELECT round(grid_import_w) FROM {WIDE}").fetchone()[0] in (449.0, 450.0)
        chain = con.execute("SELECT rule, high_w, reason_code FROM decision_chain LIMIT 2").fetchall()
        assert chain == [("device limits", None, "limit.no_pcs"), ("interval budget", 12_345.6, "budget.left")]
    assert b"outside of it" not in (out / "export.db").read_bytes()
    assert verify(out).ok


def test_every_sample(state: Path, tmp_path: Path) -> None:
    manifest = export(state, tmp_path / "out", T0 + 60.5, T0 + 240, Options(resolution="raw"))
    rows = read_csv(tmp_path / "out" / "telemetry_raw.csv")
    assert len(rows) == 179
    first = rows[0]["time_utc"]
    assert (first, rows[0]["grid_import_w"]) == ("2025-09-16T06:56:01.000000Z", "305")
    assert (manifest["asked"]["start"], manifest["start"]) == ("2025-09-16T06:56:00.500000Z", "2025-09-16T06:56:01Z")
    assert manifest["end"] == "2025-09-16T06:58:59Z"


def test_a_quarter_hour_that_has_not_ended_is_made_of_its_minutes(state: Path, tmp_path: Path) -> None:
    """True ends are those of the samples, and what lies between two rows without one is a gap."""
    later = tmp_path / "state"
    recorder = Recorder(later, StorageConfig(), "boot")
    feed(recorder, range(1_500))
    feed(recorder, range(5 * 2_700, 5 * 2_760))
    recorder.flush().result(LIMIT_S)
    assert recorder.close()
    manifest = export(later, tmp_path / "out", 0.0, 2e9)
    rows = read_csv(tmp_path / "out" / "telemetry_15m.csv")
    assert [row["time_utc"][11:16] for row in rows] == ["06:45", "07:30"]
    assert float(rows[0]["grid_import_w"]) == pytest.approx(749.5, abs=0.51)
    assert (manifest["start"], manifest["end"]) == ("2025-09-16T06:55:00Z", "2025-09-16T07:40:59Z")
    (gap,) = read_csv(tmp_path / "out" / "gaps.csv")
    assert (gap["begin_utc"][11:19], gap["end_utc"][11:19], gap["reason"]) == ("07:00:00", "07:30:00", "not-recorded")
    assert (gap["resolution"], gap["duration_s"], manifest["gaps"]) == ("15m", "1800.0", 1)


def test_reason_outcome_and_uid_are_columns_and_no_text_does_harm(state: Path, tmp_path: Path) -> None:
    export(state, tmp_path / "out", T0, T0 + 240)
    intent, result = read_csv(tmp_path / "out" / "audit.csv")
    assert (intent["uid"], intent["reason"]) == ("1000", "'=HYPERLINK(1)�[31m�gpj�")
    found = (result["of_seq"], result["outcome"], result["reason_code"], result["uid"])
    assert found == ("1", "refused", "refused.peak", "1000")
    event = read_csv(tmp_path / "out" / "events.csv")[1]
    assert (event["reason_code"], event["who"], event["text"][:2]) == ("peak-at-risk", "eve�", "'=")
    with closing(sqlite3.connect(tmp_path / "out" / "export.db")) as con:
        (text,) = con.execute("SELECT text FROM events WHERE kind = 'alarm'").fetchone()
    assert text == "=HYPERLINK(1)�[31m�gpj�"
    assert tuple(column.name for column in AUDIT.columns) == CSV_COLUMNS


def test_the_data_dictionary_names_every_column(state: Path, tmp_path: Path) -> None:
    export(state, tmp_path / "out", T0, T0 + 240, Options(extremes=True))
    described: dict[str, list[str]] = {}
    for row in read_csv(tmp_path / "out" / "data_dictionary.csv"):
        described.setdefault(row["table_name"], []).append(row["column_name"])
        assert row["meaning"]
        assert row["source"]
        assert row["null_means"]
        if row["table_name"].startswith("telemetry"):
            assert row["unit"]
    with closing(sqlite3.connect(tmp_path / "out" / "export.db")) as con:
        for (table,) in con.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = [column[1] for column in con.execute(f"PRAGMA table_info({table})")]
            assert described.pop(table) == columns
    assert not described
    wide = [row for row in read_csv(tmp_path / "out" / "data_dictionary.csv") if row["table_name"] == "telemetry_15m"]
    said = {row["column_name"]: (row["unit"], row["sign"], row["aggregated"].split()[0]) for row in wide}
    assert said["grid_import_w"] == ("W", "> 0 imports from the grid, < 0 exports to it", "mean")
    assert said["grid_import_wh"] == ("Wh", "counts up", "last")
    assert said["pcs1_w"] == ("W", "> 0 discharges, < 0 charges", "mean")


def signals(*names: str) -> list[Signal]:
    return [Signal(n, *definition(name)[:3], "measured") for n, name in enumerate(names, 1)]


def test_names_of_columns() -> None:
    """Unit last, no two alike, no character that a query must quote or a spreadsheet runs."""
    names = (
        "a.w",
        "A.w",
        "a-.w",
        "=cmd|x.w",
        "\u202eevil\x1b.w",
        "wärme 1.temp_c",
        "grid.v1",
        "x.flow",
        "device:pcs.w",
    )
    (wide,) = wide_tables(signals(*names), "15m", extremes=False)
    columns = [column.name for column in wide.table.columns]
    assert columns == [
        *("time_utc", "a_w", "a_2_w", "a_3_w", "cmd_x_w", "evil_w", "wärme_1_temp_c", "grid_l1_v", "x_flow_number"),
        "device_pcs_w",
    ]


def test_more_signals_than_a_table_holds_are_split_by_kind_of_device(tmp_path: Path) -> None:
    names = ["grid.w", "soc_pct", "pcs1.w", "pcs1.setpoint_w", "bat1.soc_pct", *(f"n{n}.w" for n in range(4_000))]
    tables = wide_tables(signals(*names), "1m", extremes=False)
    sizes = {wide.table.name: len(wide.table.columns) for wide in tables}
    assert sizes == {
        "telemetry_1m_site": 3,
        "telemetry_1m_storage": 4,
        "telemetry_1m_devices_1": 2_000,
        "telemetry_1m_devices_2": 2_000,
        "telemetry_1m_devices_3": 3,
    }
    assert [len(wide_tables(signals(*names[:n]), "1m", extremes=False)) for n in (1_999, 2_000)] == [1, 3]
    with closing(sqlite3.connect(tmp_path / "x.db")) as con:
        writer.TableFiles(con, tmp_path, tables[2].table, parquet=False).close()


def test_a_gpu_is_no_storage_and_its_power_is_not_at_the_terminals() -> None:
    gpus = [f"n1.GPU-{n}.{quantity}" for n in range(1_000) for quantity in ("w", "temp_c", "util_pct")]
    tables = wide_tables(signals("pcs1.w", "pcs1.setpoint_w", "pcs1.temp_c", *gpus), "raw", extremes=False)
    assert [wide.table.name for wide in tables if "storage" in wide.table.name] == ["telemetry_raw_storage"]
    by_name = {column.name: column for wide in tables for column in wide.table.columns}
    assert len(next(wide for wide in tables if "storage" in wide.table.name).table.columns) == 4
    power = by_name["n1_gpu_7_w"]
    assert power.meaning == "Power of the GPU n1.GPU-7, as it reports it: not at the AC terminals"
    assert power.sign == "> 0 draws"
    assert "GPUs" in power.null


def test_the_size_is_said_first_and_a_disk_without_the_space_refused(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Size] = []
    shares: list[float] = []

    def tell(size: Size) -> None:
        assert not (tmp_path / "out").exists()
        told.append(size)

    export(state, tmp_path / "out", T0, T0 + 240, Options(resolution="raw"), tell, shares.append)
    real = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert 0.5 < told[0].bytes / real < 2
    assert shares[-1] == 1.0
    free: Any = type("Usage", (), {"free": told[0].bytes + (64 << 20) - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(ExportError, match=r"does not fit: .* MB are needed, .* MB are free: free space"):
        export(state, tmp_path / "other", T0, T0 + 240, Options(resolution="raw"))
    assert not (tmp_path / "other").exists()


def test_nothing_is_left_of_an_export_that_failed(state: Path, tmp_path: Path) -> None:
    def fail(_: float) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        export(state, tmp_path / "out", T0, T0 + 240, tell_progress=fail)
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="No space"):
        export(state, tmp_path / "there", T0, T0 + 240, tell_progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not list((tmp_path / "there").iterdir())


def test_parquet(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "out"
    manifest = export(state, out, T0 + 60, T0 + 240, Options(resolution="1m", parquet=True))
    table = pq.read_table(out / f"{WIDE}.parquet")
    assert table.num_rows == manifest["files"][f"{WIDE}.parquet"]["rows"] == 3
    assert table["time_utc"][0].as_py().isoformat() == "2025-09-16T06:56:00+00:00"
    assert table["grid_import_w"].to_pylist() == [float(row["grid_import_w"]) for row in read_csv(out / f"{WIDE}.csv")]
    assert table["grid_import_wh"].null_count == 3
    assert table.schema.field("grid_import_w").metadata[b"unit"] == b"W"
    assert pq.read_table(out / "drills.parquet").num_rows == 0
    assert verify(out).ok
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # an import of it fails, as if it were not installed
    monkeypatch.delitem(sys.modules, "storage.export.parquet")
    with pytest.raises(ExportError, match=r"pyarrow, which is not installed: pip install 'skerry\[parquet\]'"):
        export(state, tmp_path / "without", T0, T0 + 240, Options(parquet=True))
    assert not (tmp_path / "without").exists()


def test_what_cannot_be_exported_is_said(state: Path, tmp_path: Path) -> None:
    with pytest.raises(NoRecords, match="no such file"):
        export(tmp_path, tmp_path / "out", T0, T0 + 1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ExportError, match="expected an end after the start"):
        export(state, tmp_path / "out", T0, T0)
    with pytest.raises(ExportError, match="resolution '5m': expected one of 15m, 1m, raw"):
        export(state, tmp_path / "out", T0, T0 + 1, Options(resolution="5m"))
    with pytest.raises(ExportError, match="a sample has no minimum"):
        export(state, tmp_path / "out", T0, T0 + 1, Options(resolution="raw", extremes=True))
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="is not empty"):
        export(state, tmp_path, T0, T0 + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
