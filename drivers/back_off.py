"""Makes tries to reach something later and later as long as they fail."""

from __future__ import annotations

import zlib

LEAST_S = 0.1


def spread(identity: str, number: int) -> float:
    """From 0 up to 1, the same for the same site and number: sites do not ask a service at the same moment."""
    return zlib.crc32(f"{identity}/{number}".encode()) / 2**32


class BackOff:
    """How long nothing is to be tried, and why. All times are of one clock, whichever the caller has."""

    def __init__(self, most_s: float, *, least_s: float = LEAST_S, why: str = "") -> None:
        """`least_s`: the pause after the first failure; it doubles up to `most_s`. `why`: until something failed."""
        self.why = why
        self._least_s, self._most_s = least_s, most_s
        self._pause_s, self._not_before_s = 0.0, float("-inf")

    def wait_s(self, now_s: float) -> float:
        """How long to wait before the next try; 0 or less: not at all."""
        return self._not_before_s - now_s

    @property
    def failing(self) -> bool:
        """Whether the last try failed and had a pause after it."""
        return self._pause_s > 0

    def failed(self, why: str, at_s: float, *, at_once: bool = False) -> None:
        """A try failed at `at_s`. `at_once`: the next one needs no pause, nor is it the second of a row."""
        self.why = why
        self._pause_s = 0.0 if at_once else min(max(2 * self._pause_s, self._least_s), self._most_s)
        self._not_before_s = at_s + self._pause_s

    def answered(self) -> None:
        """A try succeeded: the next failure is the first again. A pause that has begun stays."""
        self._pause_s = 0.0

    def end(self) -> None:
        """Try again at once."""
        self._pause_s, self._not_before_s = 0.0, float("-inf")
