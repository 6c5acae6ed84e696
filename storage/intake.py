"""Selects what is kept of the ticks (samples, roll-ups, decisions), and holds it until it is written. No I/O."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.readings import Quality
from dispatch.model.snapshot import Snapshot
from storage.config import StorageConfig
from storage.context import Changes, Told
from storage.context import Row as ContextRow
from storage.drills import DrillRecord
from storage.jobs import JOBS_WAITING, Accounted
from storage.resolution import Layout, Resolutions
from storage.rollup import MINUTE_S, Minute
from storage.rows import decision_row, to_us
from storage.samples import QUARTER_US
from storage.signals import doubted_signals, gpu_readings, node_signals, signal_values

DECISION_EVERY_S = 60.0  # a decision that does not change is stored this often
CLOCK_STEP_S = 1.0  # wall against monotonic, between two ticks; NTP's slewing stays far below

# what waits in memory while the file cannot be written; the oldest goes first
HOT_WAITING = 3600
DECISIONS_WAITING = 3600
CONTEXT_WAITING = 3600
MINUTES_WAITING = 24 * 60
TOGETHER = 60  # samples in a row of telemetry, at most

T = TypeVar("T")


class HotRow(NamedTuple):
    """One sample of every signal of a layout."""

    ts_us: int
    mono_us: int
    layout: Layout
    values: tuple[float | None, ...]
    doubted: tuple[int, ...]  # positions in the layout


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
        self.context: deque[ContextRow] = deque()
        self.states: dict[str, tuple[str, int]] = {}  # key -> (JSON, UTC us)
        self.drills: list[DrillRecord] = []
        self.jobs: deque[Accounted] = deque()
        self.dropped = 0
        self.resolutions = Resolutions(config.hot_period_s)
        self.newest_utc_s: float | None = None  # of the ticks taken
        self._period_s = config.hot_period_s
        self._deadband_w = deadband_w
        self._slot: int | None = None
        self._coarse_slot: int | None = None
        self._before: tuple[float, float] | None = None  # (utc_s, mono_s) of the tick before
        self._stored: Decision | None = None
        self._changes = Changes()
        self._stored_mono_s = 0.0

    def minutes_due(self, whole: bool) -> list[Minute]:
        """The minutes that are to be written: those that are over, or all of them."""
        return [m for t, m in self.minutes.items() if m.changed and (whole or t != self._minute)]

    def nothing_due(self, whole: bool) -> bool:
        """Nothing waits to be written now."""
        waiting = (self.hot, self.decisions, self.context, self.states, self.drills, self.jobs)
        return not (any(waiting) or self.minutes_due(whole))

    def take(
        self,
        snapshot: Snapshot,
        decision: Decision | None,
        extras: Mapping[str, float | None] | None,
        told: Told | None = None,
    ) -> Event | None:
        """One tick. Returns the event of a clock step, if the site's calendar was moved since the tick before.

        Raises TypeError or ValueError, having taken nothing, if a value is not a number.
        """
        # many nodes are recorded seldom: between two samples a tick does not look at each of them
        due = int(snapshot.mono_s // self._period_s) != self._slot
        signals = signal_values(snapshot, decision, extras, nodes=due or self.resolutions.all_fine)
        values = {name: _number(value) for name, value in signals.items()}
        if due:
            self._sample(snapshot, values)
            for row in self._changes.rows(snapshot, decision, told) if told is not None else ():
                self._bounded(self.context, row, CONTEXT_WAITING)
        if not self.resolutions.all_fine:
            values = {name: values[name] for name in self.resolutions.fine.names if name in values}
        self.newest_utc_s = snapshot.utc_s
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

    def account(self, row: Accounted) -> None:
        """What a job drew, or the site in a quarter hour."""
        self._bounded(self.jobs, row, JOBS_WAITING)

    def memory_written(self) -> None:
        """The controller's memory and drills are in the file."""
        self.states.clear()
        self.drills.clear()

    def written(self, whole: bool) -> None:
        """Everything that was due is in the file; the minute that runs goes on."""
        for minute in self.minutes_due(whole):
            minute.changed = False
        self.hot.clear()
        self.decisions.clear()
        self.context.clear()
        self.jobs.clear()
        self.memory_written()
        self.minutes = {t: minute for t, minute in self.minutes.items() if minute.changed or t == self._minute}

    @property
    def _minute(self) -> int | None:
        """The start of the minute that runs, UTC s."""
        return None if self.newest_utc_s is None else int(self.newest_utc_s // MINUTE_S) * MINUTE_S

    def _sample(self, snapshot: Snapshot, values: dict[str, float | None]) -> None:
        """Keep this tick as a sample.

        By the monotonic clock: a calendar that is set back or ahead neither stops nor doubles the rows.
        """
        self._slot = int(snapshot.mono_s // self._period_s)
        self.resolutions.update(values, node_signals(snapshot), snapshot.mono_s)
        doubted = doubted_signals(snapshot)
        coarse_slot = int(snapshot.mono_s * 1e6 // self.resolutions.coarse.step_us)
        due = coarse_slot != self._coarse_slot
        if due:
            values, doubted = self._with_gpus(snapshot, values, doubted)
        layouts = [self.resolutions.fine]
        if due and self.resolutions.coarse.names:
            self._coarse_slot = coarse_slot
            layouts.append(self.resolutions.coarse)
        for layout in layouts:
            row = tuple(values.get(name) for name in layout.names)
            positions = tuple(n for n, name in enumerate(layout.names) if name in doubted) if doubted else ()
            times = (to_us(snapshot.utc_s), to_us(snapshot.mono_s))
            self._bounded(self.hot, HotRow(*times, layout, row, positions), HOT_WAITING)

    def _with_gpus(
        self, snapshot: Snapshot, values: dict[str, float | None], doubted: set[str]
    ) -> tuple[dict[str, float | None], set[str]]:
        """Values, and which are doubted, with those of GPUs."""
        gpus = gpu_readings(snapshot)
        self.resolutions.update_gpus(gpus, snapshot.mono_s)
        suspect = {name for name, reading in gpus.items() if reading.quality is Quality.SUSPECT}
        return values | {name: _number(reading.good) for name, reading in gpus.items()}, doubted | suspect

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


def together(rows: Iterable[HotRow]) -> Iterator[list[HotRow]]:
    """Samples that become one row: of one layout and quarter hour, in order of time."""
    waiting: dict[Layout, list[HotRow]] = {}
    for row in rows:
        begun = waiting.setdefault(row.layout, [])
        if begun and (
            row.ts_us < begun[-1].ts_us
            or row.ts_us // QUARTER_US != begun[0].ts_us // QUARTER_US
            or len(begun) == TOGETHER
        ):
            yield begun
            begun = waiting[row.layout] = []
        begun.append(row)
    yield from waiting.values()
