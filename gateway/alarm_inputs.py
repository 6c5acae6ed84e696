"""Inputs of alarms that are not in the snapshot: growth of counters in the last minute, steps of the wall clock."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

from dispatch.model.clock import ClockState
from dispatch.wording.formatting import span


class GrowthPerMinute:
    """How much a counter, which only grows, has grown in the last 60 s."""

    SPAN_S = 60.0

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def update(self, mono_s: float, count: int) -> int:
        """Take the value of the counter now; its growth in the last 60 s. A value is kept at most once a second."""
        if not self._marks or mono_s - self._marks[-1][0] >= 1.0:
            self._marks.append((mono_s, count))
        while len(self._marks) > 1 and mono_s - self._marks[0][0] > self.SPAN_S:
            self._marks.popleft()
        return count - self._marks[0][1]


class ClockStepDetector:
    """Finds steps of the wall clock by comparing it with the monotonic clock."""

    STEP_S = 2.0  # smaller corrections are slewing
    REMEMBER_S = 600.0

    def __init__(self, utc_s: float, mono_s: float) -> None:
        self._offset_s = utc_s - mono_s
        self._step_s, self._step_at_s = 0.0, float("-inf")

    def update(self, utc_s: float, mono_s: float) -> float:
        """Take both clocks; the step since the last call, s; 0 when there was none."""
        step_s = utc_s - mono_s - self._offset_s
        self._offset_s = utc_s - mono_s
        if abs(step_s) < self.STEP_S:
            return 0.0
        self._step_s, self._step_at_s = step_s, mono_s
        return step_s

    def recent_s(self, mono_s: float) -> float:
        """The last step within ten minutes, s; 0 when there was none."""
        return self._step_s if mono_s - self._step_at_s < self.REMEMBER_S else 0.0


def clock_event(before: ClockState, now: ClockState, step_s: float) -> str:
    """What the log says of the clock, empty: nothing. `step_s`: by how much the site's time was moved."""
    if before.known and not now.known:
        machine = (
            "" if now.machine_utc_s is None else f", it says {datetime.fromtimestamp(now.machine_utc_s, UTC):%F %T} UTC"
        )
        return (
            f"the time is not known: the machine's clock cannot be relied on{machine}; the site's time goes on "
            "from the end of the record until the clock is synchronised or set. Nothing is billed or planned, no drill "
            "begins"
        )
    if now.known and not before.known:
        early = f"what was recorded since the start bears times that are {span(step_s)} too early" if step_s > 0 else ""
        return f"the time is known now; {early or 'what was recorded since the start bears the right times'}"
    if step_s:
        return f"wall clock stepped by {step_s:+.1f} s; deadlines are unaffected"
    return ""
