"""Lets the month's peak rise only as far as every plan of the last hour would have let it."""

from __future__ import annotations

from collections import deque

DELAY_S = 3600.0  # four quarter hours, with the running one; a full battery of two hours loses little in it


class RiseDelay:
    """Remembers the targets of late. For sites whose jobs are known: their forecast jumps when one starts or ends.

    A job that has only just started, or whose end the queue has not yet shown, may for one reading look as if a day of
    full load lay ahead; a peak that rose on that stays for the month. The hour is paid in energy.
    """

    def __init__(self) -> None:
        self._targets: deque[tuple[float, float]] = deque()  # (POSIX seconds, W), oldest first

    def lowest_w(self, utc_s: float, target_w: float) -> float:
        """Take the target of a plan made at `utc_s`, W; returns the lowest of the last hour's, with this one.

        A clock that was set back begins anew.
        """
        if self._targets and utc_s < self._targets[-1][0]:
            self._targets.clear()
        self._targets.append((utc_s, target_w))
        while self._targets[0][0] <= utc_s - DELAY_S:
            self._targets.popleft()
        return min(w for _, w in self._targets)
