"""Reads load traces: evenly spaced `start_utc,power_w` rows, played on the calendar and repeated."""

from __future__ import annotations

import math
from array import array
from datetime import datetime
from pathlib import Path

from drivers.text_file import NotText, text_of

DATA = Path(__file__).parent / "data"


class TraceError(Exception):
    """A trace that cannot be played: which file, what is wrong, what was expected."""


class Trace:
    """Power over time, W. Value i holds from `start_utc_s + i x step_s` on; before and after, the trace repeats."""

    def __init__(self, start_utc_s: float, step_s: float, power_w: array[float]) -> None:
        self.start_utc_s, self.step_s, self.power_w = start_utc_s, step_s, power_w
        self.low_w, self.high_w = min(power_w), max(power_w)

    def index(self, utc_s: float) -> int:
        """Which row is in force."""
        return int((utc_s - self.start_utc_s) // self.step_s) % len(self.power_w)


def trace_path(name: str, base: Path | None = None) -> Path:
    """The file that `twin.load_trace` means: "bundled:NAME" is package data, anything else is relative to `base`."""
    if name.startswith("bundled:"):
        return DATA / f"{name.removeprefix('bundled:')}.csv.gz"
    return (base or Path()) / name


def bundled() -> list[str]:
    """The names of the traces that come with Skerry, "bundled:NAME"."""
    return sorted(f"bundled:{p.name.removesuffix('.csv.gz')}" for p in DATA.glob("*.csv.gz"))


def read_trace(path: Path) -> Trace:
    """Read a CSV, gzipped or not, with the columns start_utc (ISO 8601, UTC) and power_w.

    Raises TraceError when it is absent, or its rows are not evenly spaced numbers.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        known = ", ".join(bundled())
        raise TraceError(f"{path}: {error.strerror}; twin.load_trace is a CSV file or one of {known}") from None
    try:
        lines = text_of(raw, path.suffix == ".gz").split()
    except NotText as error:
        raise TraceError(f"{path}: {error}") from None
    columns = lines[0].split(",") if lines else []
    if "start_utc" not in columns or "power_w" not in columns or len(lines) < 3:
        raise TraceError(
            f"{path}: line 1: expected the columns start_utc,power_w and at least two rows, found {columns}"
        )
    when, what = columns.index("start_utc"), columns.index("power_w")
    try:
        power_w = array("d", (float(line.split(",")[what]) for line in lines[1:]))
        start_s, second_s, last_s = (_utc_s(lines[n].split(",")[when]) for n in (1, 2, -1))
    except (ValueError, IndexError) as error:
        raise TraceError(f"{path}: expected an ISO 8601 instant and a number in every row; {error}") from None
    if not all(map(math.isfinite, power_w)):
        raise TraceError(f"{path}: expected a finite power_w in every row")
    step_s = second_s - start_s
    if step_s <= 0 or abs(start_s + step_s * (len(power_w) - 1) - last_s) > 1e-6:
        raise TraceError(
            f"{path}: expected evenly spaced rows; {len(power_w)} rows of {step_s:g} s do not end at {lines[-1]}"
        )
    return Trace(start_s, step_s, power_w)


def _utc_s(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
