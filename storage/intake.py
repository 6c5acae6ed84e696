"""Selects what is kept of the ticks (samples, roll-ups, decisions), and holds it until it is written. No I/O."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.snapshot import Snapshot
from storage.config import StorageConfig
from storage.drills import DrillRecord
from storage.rollup import MINUTE_S, Minute
from storage.rows import decision_row, to_us
from storage.signals import signal_values

DECISION_EVERY_S = 60.0  # a decision that does not change is stored this often
CLOCK_STEP_S = 1.0  # wall against monotonic, between two ticks; NTP's slewing stays far below

# what waits in memory while the file cannot be written; the oldest goes first
HOT_WAITING = 3600
DECISIONS_WAITING = 3600
MINUTES_WAITING = 24 * 60

T = TypeVar("T")


class HotRow(NamedTuple):
    """One sample of every signal."""

    ts_us: int
    mono_us: int
    values: dict[str, float | None]


def _number(value: float | None) -> float | None:
    """A plain float; None for none and for what is not finite. Raises TypeError or ValueError for no number at all."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


class Intake:
    """Turns ticks into rows waiting to be written. Used by the writer thread alone."""

    def __init__(self, config: StorageConfig, deadband_w: float) -> None:
        self.hot: deque[HotRow] = deque()
        self.minutes: dict[int, Minute] = {}
        self.decisions: deque[tuple[Any, ...]] = deque()  # DECISION_COLUMNS
        self.states: dict[str, tuple[str, int]] = {}  # key -> (JSON, UTC us)
        self.drills: list[DrillRecord] = []
        self.dropped = 0
        self._period_s = config.hot_period_s
        self._deadband_w = deadband_w
        self._slot: int | None = None
        self._before: tuple[float, float] | None = None  # (utc_s, mono_s) of the tick before
        self._stored: Decision | None = None
        self._stored_mono_s = 0.0

    @property
    def empty(self) -> bool:
        """Nothing waits."""
        rows = self.hot or self.decisions or self.states or self.drills
        return not (rows or any(m.changed for m in self.minutes.values()))

    @property
    def waiting(self) -> int:
        """Rows that wait, a minute counted as one."""
        return len(self.hot) + len(self.minutes) + len(self.decisions) + len(self.states) + len(self.drills)

    def take(
        self, snapshot: Snapshot, decision: Decision | None, extras: Mapping[str, float | None] | None
    ) -> Event | None:
        """One tick. Returns the event of a clock step, if the site's calendar was moved since the tick before.

        Raises TypeError or ValueError, having taken nothing, if a value is not a number.
        """
        values = {name: _number(value) for name, value in signal_values(snapshot, decision, extras).items()}
        # sampled on the monotonic clock: a calendar that is set back or ahead neither stops nor doubles the rows
        slot = int(snapshot.mono_s // self._period_s)
        if slot != self._slot:
            self._slot = slot
            self._bounded(self.hot, HotRow(to_us(snapshot.utc_s), to_us(snapshot.mono_s), values), HOT_WAITING)
        t = int(snapshot.utc_s // MINUTE_S) * MINUTE_S
        minute = self.minutes.get(t)
        if minute is None:
            minute = self.minutes[t] = Minute(t)
            while len(self.minutes) > MINUTES_WAITING:
                del self.minutes[next(iter(self.minutes))]
                self.dropped += 1
        minute.add(values)
        if decision is not None and self._worth_storing(decision, snapshot.mono_s):
            self._stored, self._stored_mono_s = decision, snapshot.mono_s
            self._bounded(self.decisions, decision_row(decision), DECISIONS_WAITING)
        return self._clock_step(snapshot)

    def written(self) -> None:
        """Everything that waited is in the file; the minute that runs goes on."""
        self.hot.clear()
        self.decisions.clear()
        self.states.clear()
        self.drills.clear()
        if self._before is not None:
            t = int(self._before[0] // MINUTE_S) * MINUTE_S
            self.minutes = {t: self.minutes[t]} if t in self.minutes else {}
        for minute in self.minutes.values():
            minute.changed = False

    def _bounded(self, rows: deque[T], row: T, limit: int) -> None:
        """Append; beyond the limit the oldest entry is dropped."""
        rows.append(row)
        if len(rows) > limit:
            rows.popleft()
            self.dropped += 1

    def _worth_storing(self, decision: Decision, mono_s: float) -> bool:
        """A setpoint moved by more than the deadband, someone else steers or binds, or a minute has passed."""
        stored = self._stored
        if stored is None or mono_s - self._stored_mono_s >= DECISION_EVERY_S:
            return True
        if (decision.binding, decision.mode, decision.island) != (stored.binding, stored.mode, stored.island):
            return True
        if len(decision.setpoints) != len(stored.setpoints):
            return True
        for new, old in zip(decision.setpoints, stored.setpoints, strict=True):
            if new.device_id != old.device_id or (new.w is None) != (old.w is None):
                return True
            if new.w is not None and old.w is not None and abs(new.w - old.w) > self._deadband_w:
                return True
        return False

    def _clock_step(self, snapshot: Snapshot) -> Event | None:
        """The event of a moved calendar: wall time between two ticks that is not monotonic time between them."""
        before, self._before = self._before, (snapshot.utc_s, snapshot.mono_s)
        if before is None:
            return None
        step_s = (snapshot.utc_s - before[0]) - (snapshot.mono_s - before[1])
        if abs(step_s) < CLOCK_STEP_S:
            return None
        if step_s < 0:
            text = f"clock stepped back {-step_s:.1f} s; rows of both passes are kept, in the order of their times"
        else:
            text = f"clock stepped ahead {step_s:.1f} s; the records have a gap there"
        return Event(snapshot.utc_s, "gateway", "warning", "clock", text)
