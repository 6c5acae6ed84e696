"""A simulated site goes on where its record ends: with its last SoC, and the grid meter's registers where they were."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from storage_samples import T0, decision, snapshot
from waiting import LIMIT_S

from dispatch.model.readings import reading
from drivers.twin.config import TwinConfig
from gateway.simulation_start import after_record
from storage.config import StorageConfig
from storage.recorder import Recorder

BEFORE = TwinConfig(start_utc=datetime.fromtimestamp(T0 - 3600, UTC).isoformat(), soc_bias_pct=2.0)


def recorded(directory: Path, **registers: float) -> Path:
    """A record of three seconds that ends with these registers of the grid meter."""
    recorder = Recorder(directory, StorageConfig(), "boot")
    for n in range(16):
        tick = snapshot(n)
        shown = {name: reading(wh + n) for name, wh in registers.items()}
        tick = msgspec.structs.replace(tick, grid=msgspec.structs.replace(tick.grid, **shown))
        recorder.put(tick, decision(n), {"soc_pct": 55.5})
    recorder.flush().result(LIMIT_S)
    recorder.close()
    return directory


def test_soc_and_registers_go_on(tmp_path: Path) -> None:
    twin = after_record(BEFORE, recorded(tmp_path, import_wh=1_234_000.0, export_wh=56_000.0))
    assert twin.start_utc == datetime.fromtimestamp(T0 + 4, UTC).isoformat()
    assert twin.soc_pct == 53.5
    assert 1_234_015.0 <= twin.import_wh <= 1_234_025.0, "within what the record rounds, and never back"
    assert 56_015.0 <= twin.export_wh <= 56_025.0


def test_a_register_that_nobody_read_begins_as_the_site_file_says(tmp_path: Path) -> None:
    twin = after_record(msgspec.structs.replace(BEFORE, import_wh=7.0), recorded(tmp_path))
    assert (twin.import_wh, twin.export_wh) == (7.0, 0.0)


def test_a_twin_that_starts_later_than_the_record_is_as_the_site_file_says(tmp_path: Path) -> None:
    later = msgspec.structs.replace(BEFORE, start_utc=datetime.fromtimestamp(T0 + 3600, UTC).isoformat())
    assert after_record(later, recorded(tmp_path, import_wh=1_234_000.0)) == later
