"""Keeps the energy measured in the last hours by monotonic time, so that it can be given to other metering intervals.

Which interval a second belongs to is known only as well as the wall clock. When that is set, or known for the first
time, the seconds before are placed by the new time; the log says what was measured in any part of them. Only what was
measured counts, by the rules of `import_energy`: two good readings at most `GAP_S` apart, `BRIDGED_S` with a rejected
one between them.
"""

from __future__ import annotations

import math
from array import array

from dispatch.billing.import_energy import BRIDGED_S, GAP_S

KEPT_S = 26 * 3600  # a clock that is a day wrong is found out within this; two numbers a second are 1.5 MB
DROPPED_S = 3600  # dropped in such pieces


class EnergyLog:
    """Energy, Ws, and measured time, s, of each second of monotonic time."""

    def __init__(self) -> None:
        self._first: int | None = None  # the second of the first entry
        self._ws, self._known_s = array("d"), array("d")
        self._last: tuple[float, float] | None = None  # the last good reading: mono_s, W
        self._hole = False  # a reading since then was not good
        self.begin_s = 0.0  # what is before this is not in the log
        self._end_s = 0.0  # nor what is after this
        self.dropped_ws = 0.0  # what was measured before `begin_s`

    @property
    def empty(self) -> bool:
        """Whether nothing was logged yet."""
        return self._first is None

    def read(self, mono_s: float, import_w: float | None) -> None:
        """Take in a reading; None: not a good one."""
        if self._first is None or mono_s - self._first - len(self._ws) > KEPT_S:  # or nothing was measured for so long
            self.dropped_ws += sum(self._ws)
            del self._ws[:], self._known_s[:]
            self._first, self.begin_s, self._end_s = math.floor(mono_s), mono_s, mono_s
        if import_w is None:
            self._hole = True
            return
        if self._last is not None:
            before_s, before_w = self._last
            if mono_s - before_s <= (BRIDGED_S if self._hole else GAP_S):
                self._add(before_s, mono_s, (before_w + import_w) / 2)
        self._last, self._hole = (mono_s, import_w), False

    def _add(self, from_s: float, to_s: float, w: float) -> None:
        assert self._first is not None
        missing = math.floor(to_s) + 1 - self._first - len(self._ws)
        if missing > 0:
            zeros = bytes(8 * missing)
            self._ws.frombytes(zeros)
            self._known_s.frombytes(zeros)
        self._end_s = to_s
        at_s = from_s
        while at_s < to_s:
            k = math.floor(at_s) - self._first
            until_s = min(to_s, self._first + k + 1.0)
            self._ws[k] += w * (until_s - at_s)
            self._known_s[k] += until_s - at_s
            at_s = until_s

    def measured(self, from_s: float, to_s: float) -> tuple[float, float]:
        """Energy, Ws, and measured time, s, between two instants; within a second in proportion."""
        if self._first is None:
            return 0.0, 0.0
        from_s, to_s = max(from_s, self.begin_s), min(to_s, self._end_s)
        if to_s <= from_s:
            return 0.0, 0.0
        a, b = math.floor(from_s) - self._first, math.floor(to_s) - self._first
        ws, known_s = sum(self._ws[a:b]), sum(self._known_s[a:b])
        for k, share in ((a, -self._share(a, from_s)), (b, self._share(b, to_s))):
            if share:
                ws += share * self._ws[k]
                known_s += share * self._known_s[k]
        return max(ws, 0.0), max(known_s, 0.0)

    def _share(self, k: int, at_s: float) -> float:
        """How much of second `k`, as far as the log has it, is before an instant in it."""
        assert self._first is not None
        begin_s, end_s = max(self._first + k, self.begin_s), min(self._first + k + 1, self._end_s)
        return (at_s - begin_s) / (end_s - begin_s) if end_s > begin_s else 0.0

    def forget_since(self, mono_s: float) -> None:
        """What was read since then was not measured: the meter stood still."""
        self._last = None
        if self._first is None:
            return
        keep = max(math.floor(mono_s) - self._first, 0)
        del self._ws[keep:], self._known_s[keep:]
        self._end_s = min(self._end_s, max(float(self._first + keep), self.begin_s))

    def drop_old(self, mono_s: float) -> bool:
        """Forget what is older than `KEPT_S`; whether there was any."""
        if self._first is None or mono_s - self._first < KEPT_S + DROPPED_S:
            return False
        drop = math.floor(mono_s - KEPT_S) - self._first
        self.dropped_ws += sum(self._ws[:drop])
        del self._ws[:drop], self._known_s[:drop]
        self._first += drop
        self.begin_s = float(self._first)
        return True
