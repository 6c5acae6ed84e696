"""Starts a simulated site after the end of its record, so that no record holds the same hours twice."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from drivers.twin.config import TwinConfig
from storage import audit_reader
from storage.reader import Archive, NoRecords, QueryTimeout

FILES = ("telemetry.db", "audit.db")
SOC_WITHIN_S = 300.0  # before the record's end its last SoC is looked for


def record_ends_utc_s(state_dir: Path) -> float | None:
    """The time of the newest row in a state directory, site time; None where nothing is on record, or readable."""
    if not any(os.path.exists(state_dir / name) for name in FILES):  # also False where it may not be looked at
        return None
    ends = []
    archive = Archive(state_dir)
    for newest in (archive.ends_utc_s, lambda: audit_reader.ends_utc_s(state_dir)):
        try:
            ends.append(newest())
        except (NoRecords, QueryTimeout):
            continue  # whoever writes to it will say what is wrong with it
    archive.close()
    return max((end_s for end_s in ends if end_s is not None), default=None)


def after_record(twin: TwinConfig, state_dir: Path) -> TwinConfig:
    """The twin as the site file has it; where the record goes on longer, from its next second on, with its last SoC."""
    end_s = record_ends_utc_s(state_dir)
    if end_s is None or end_s < datetime.fromisoformat(twin.start_utc).timestamp():
        return twin
    start = datetime.fromtimestamp(math.floor(end_s) + 1, UTC).isoformat()
    shown_pct = _last_soc_pct(state_dir, end_s)
    soc_pct = twin.soc_pct if shown_pct is None else min(max(shown_pct - twin.soc_bias_pct, 0.0), 100.0)
    return msgspec.structs.replace(twin, start_utc=start, soc_pct=soc_pct)


def _last_soc_pct(state_dir: Path, end_s: float) -> float | None:
    archive = Archive(state_dir)
    try:
        found = archive.history(["soc_pct"], end_s - SOC_WITHIN_S, end_s + 1, 1.0)["signals"]["soc_pct"]
    except (NoRecords, QueryTimeout):
        return None
    finally:
        archive.close()
    return next((pct for pct in reversed(found) if pct is not None), None)
