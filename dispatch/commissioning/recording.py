"""Defines what is recorded while a PCS is proven: setpoints, its own power, the grid meter's, each with its time."""

from __future__ import annotations

from dataclasses import dataclass, field

from dispatch.model.snapshot import Snapshot

PHASES = 3
SAME_S = 0.02  # the same reading, as its age is known: a gateway's clock goes on while it looks at its devices


class TooLittle(Exception):
    """The recording does not show enough for an estimate; the text says what is missing."""


@dataclass
class Series:
    """Readings by the time at which they were taken, ascending, mono_s; a reading seen before is not added again."""

    t_s: list[float] = field(default_factory=list)
    w: list[float] = field(default_factory=list)

    def add(self, t_s: float, w: float | None) -> None:
        """Add a reading taken at `t_s`, unless there is none, or it was added before."""
        if w is not None and (not self.t_s or t_s > self.t_s[-1] + SAME_S):
            self.t_s.append(t_s)
            self.w.append(w)

    def until(self, to_s: float) -> Series:
        """The part that was read before `to_s`."""
        count = sum(1 for t_s in self.t_s if t_s < to_s)
        return Series(self.t_s[:count], self.w[:count])

    def since(self, from_s: float, to_s: float = float("inf")) -> list[float]:
        """Powers read in [from_s, to_s]."""
        return [w for t_s, w in zip(self.t_s, self.w, strict=True) if from_s <= t_s <= to_s]


@dataclass
class Recording:
    """Everything of one proof, in site time (mono_s). Setpoints and PCS: > 0 discharges. Meter: > 0 imports."""

    setpoints: list[tuple[float, float]] = field(default_factory=list)  # when decided or written, W; changes only
    pcs: Series = field(default_factory=Series)
    meter: Series = field(default_factory=Series)
    phases: tuple[Series, ...] = field(default_factory=lambda: tuple(Series() for _ in range(PHASES)))
    steps_end_s: float = float("inf")  # what is recorded later is no answer to a setpoint

    def ask(self, t_s: float, w: float) -> None:
        """Note that `w` is asked from `t_s` on."""
        if not self.setpoints or self.setpoints[-1][1] != w:
            self.setpoints.append((t_s, w))

    def read(self, snapshot: Snapshot, pcs_id: str) -> None:
        """Take the readings of a snapshot as the devices gave them, not as they were judged."""
        pcs = next((p for p in snapshot.pcs if p.id == pcs_id), None)
        if pcs is not None:
            self.pcs.add(snapshot.mono_s - (pcs.w.age_s or 0.0), pcs.w.good)
        grid = snapshot.grid
        self.meter.add(snapshot.mono_s - (grid.w.age_s or 0.0), grid.w.good)
        for series, w in zip(self.phases, grid.w_phases, strict=False):
            series.add(snapshot.mono_s - (w.age_s or 0.0), w.good)
