"""Statistics of a run: punctuality of the ticks, energy balance of the readings, highest import, SoC."""

from __future__ import annotations

from collections import deque
from typing import Any

from dispatch.model.snapshot import Snapshot
from gateway.api.protocol import LoopStats

KEPT_TICKS = 10_000


class Punctuality:
    """Lateness of the last 10 000 ticks, and overruns of all. Lateness: decision begun minus meter poll due."""

    def __init__(self, period_s: float) -> None:
        self.period_s, self.ticks, self.overruns = period_s, 0, 0
        self._lateness_s: deque[float] = deque(maxlen=KEPT_TICKS)

    def tick(self, lateness_s: float) -> None:
        """One tick, begun this late."""
        self.ticks += 1
        self._lateness_s.append(lateness_s)

    def overrun(self, periods: int) -> None:
        """Whole periods passed without a tick."""
        self.overruns += periods

    def stats(self, consoles: int) -> LoopStats:
        """Quantiles over the kept ticks. It sorts them, about a millisecond: not for every tick."""
        late = sorted(self._lateness_s)
        if not late:
            return LoopStats(period_s=self.period_s, consoles=consoles)
        return LoopStats(
            ticks=self.ticks,
            period_s=self.period_s,
            lateness_p50_ms=round(1000 * late[len(late) // 2], 3),
            lateness_p999_ms=round(1000 * late[min(len(late) - 1, int(0.999 * len(late)))], 3),
            lateness_max_ms=round(1000 * late[-1], 3),
            overruns=self.overruns,
            consoles=consoles,
        )


class EnergyBalance:
    """Energy balance over complete snapshots: the load's own meter against grid + PCS + PV."""

    def __init__(self) -> None:
        self._error_w = self._load_w = 0.0
        self.soc_start_pct: float | None = None
        self.soc_end_pct: float | None = None
        self.peak_import_w: float | None = None

    def add(self, snapshot: Snapshot, soc_pct: float | None) -> None:
        """Add one snapshot and the site's SoC in it; an incomplete one counts for what it has."""
        grid_w = snapshot.grid.w.good
        if grid_w is not None and (self.peak_import_w is None or grid_w > self.peak_import_w):
            self.peak_import_w = grid_w
        if soc_pct is not None:
            self.soc_start_pct = soc_pct if self.soc_start_pct is None else self.soc_start_pct
            self.soc_end_pct = soc_pct
        measured_w = snapshot.load.w.good if snapshot.load is not None else None
        balance_w = snapshot.load_w
        if measured_w is not None and balance_w is not None:
            self._error_w += abs(measured_w - balance_w)
            self._load_w += measured_w

    @property
    def error_pct(self) -> float | None:
        """100 x sum |load - grid - pcs - pv| / sum load; None without a complete snapshot."""
        return 100 * self._error_w / self._load_w if self._load_w > 0 else None


def summary(
    punctuality: Punctuality, balance: EnergyBalance, reads: int, writes: int, db_rows: int, pulses_seen: int
) -> dict[str, Any]:
    """The final JSON line of a run; figures that were not measured are null."""
    stats = punctuality.stats(0)
    line: dict[str, Any] = {
        "ticks": stats.ticks,
        "period_s": stats.period_s,
        "lateness_p50_ms": stats.lateness_p50_ms,
        "lateness_p999_ms": stats.lateness_p999_ms,
    }
    if stats.ticks < KEPT_TICKS:
        line["lateness_max_ms"] = stats.lateness_max_ms
    line |= {
        "overruns": stats.overruns,
        "reads": reads,
        "writes": writes,
        "energy_balance_error_pct": _rounded(balance.error_pct, 3),
        "soc_start_pct": _rounded(balance.soc_start_pct, 2),
        "soc_end_pct": _rounded(balance.soc_end_pct, 2),
        "peak_import_w": _rounded(balance.peak_import_w, 0),
        "db_rows": db_rows,
        "pulses_seen": pulses_seen,
    }
    return line


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
