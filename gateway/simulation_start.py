"""Starts a simulated site after the end of its record: no record has the same hours twice, no register begins anew."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from drivers.twin.config import TwinConfig
from storage import audit_reader
from storage.reader import Archive, NoRecords, QueryTimeout
from storage.signals import definition

FILES = ("telemetry.db", "audit.db")
SHOWN_WITHIN_S = 300.0  # before the record's end the last readings are looked for


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
    """The twin as the site file has it; where the record goes on longer, from its next second on, as it was last read.

    That is with its last SoC, and with the grid meter's registers where they were, as those of a real meter are.
    """
    end_s = record_ends_utc_s(state_dir)
    if end_s is None or end_s < datetime.fromisoformat(twin.start_utc).timestamp():
        return twin
    start = datetime.fromtimestamp(math.floor(end_s) + 1, UTC).isoformat()
    shown = _last_shown(state_dir, end_s, ("soc_pct", "grid.import_wh", "grid.export_wh"))
    soc_pct = min(max(shown["soc_pct"] - twin.soc_bias_pct, 0.0), 100.0) if "soc_pct" in shown else twin.soc_pct
    return msgspec.structs.replace(
        twin,
        start_utc=start,
        soc_pct=soc_pct,
        import_wh=_register_wh(shown, "grid.import_wh", twin.import_wh),
        export_wh=_register_wh(shown, "grid.export_wh", twin.export_wh),
    )


def _register_wh(shown: dict[str, float], name: str, instead_wh: float) -> float:
    """Where a register goes on: never below where it was, which the record has rounded."""
    return shown[name] + definition(name).scale / 2 if name in shown else instead_wh


def _last_shown(state_dir: Path, end_s: float, names: Sequence[str]) -> dict[str, float]:
    """The last reading of each of these signals; none of what was not read in the last minutes of the record."""
    archive = Archive(state_dir)
    try:
        found = archive.history(names, end_s - SHOWN_WITHIN_S, end_s + 1, 1.0)["signals"]
    except (NoRecords, QueryTimeout):
        return {}
    finally:
        archive.close()
    read = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {name: values[-1] for name, values in read.items() if values}
