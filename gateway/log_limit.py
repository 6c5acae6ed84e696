"""Keeps the log short while somebody misbehaves: one line for each kind of trouble and user, then how many more."""

from __future__ import annotations

from collections.abc import Callable, Hashable

WINDOW_S = 60.0


class LogLimit:
    """Says which lines are to be logged. The clock (monotonic seconds) is passed in."""

    def __init__(self, clock: Callable[[], float], window_s: float = WINDOW_S) -> None:
        self._clock, self._window_s = clock, window_s
        self._open: dict[Hashable, tuple[float, int, str]] = {}  # begun at, further ones, the last of them

    def passes(self, key: Hashable, line: str) -> bool:
        """Whether to log this line: the first of its key in a window. Others are counted."""
        if key in self._open:
            begun_s, count, _ = self._open[key]
            self._open[key] = (begun_s, count + 1, line)
            return False
        self._open[key] = (self._clock(), 0, line)
        return True

    def counts(self, everything: bool = False) -> list[str]:
        """A line for each window that is over and counted something; for each open one, too, if `everything`."""
        now_s = self._clock()
        over = [k for k, (begun_s, _, _) in self._open.items() if everything or now_s - begun_s >= self._window_s]
        closed = [self._open.pop(key) for key in over]
        return [
            f"{line} (the last of {count} more of this kind in {now_s - begun_s:.0f} s)"
            for begun_s, count, line in closed
            if count
        ]
