"""A terminal at the end of a slow line: it takes so many bytes in a second, and some pieces late."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.screen_cells import ScreenCells
from benchmarks.terminal import Terminal

BAUD = 9600
BYTES_PER_S = BAUD / 10  # a start bit and a stop bit
LATE_PCT = 5  # of the pieces
LATE_S = 0.3  # as a lost packet that TCP sends again
CLOCK = re.compile(r"\d\d:(\d\d):(\d\d) ")


class SlowTerminal(Terminal):
    """The same, read at the pace of the line; `cells` is what it shows."""

    piece_bytes = 48

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int, rows: int) -> None:
        super().__init__(command, environment, columns, rows)
        self.cells = ScreenCells(columns, rows)
        self._chance = random.Random(18)

    def __enter__(self) -> SlowTerminal:
        return self

    def take(self, data: bytes) -> None:
        """The time that the line takes for a piece passes; then it is on the screen, and a question answered."""
        time.sleep(len(data) / BYTES_PER_S + (LATE_S if self._chance.random() < LATE_PCT / 100 else 0.0))
        self.cells.feed(data)
        super().take(data)

    def until(self, shown: Callable[[], bool], limit_s: float) -> float:
        """Read until the screen shows something; the seconds that took. Raises TimeoutError with what it shows."""
        began = time.perf_counter()
        while not shown():
            if time.perf_counter() - began > limit_s:
                raise TimeoutError("\n".join(self.cells.lines))
            self.read_until(time.perf_counter() + 0.1)
        return time.perf_counter() - began

    def clock_ages_s(self, seconds: float) -> list[float]:
        """How far the time that is shown is behind, looked at for so long, s within an hour.

        Behind this machine's time, that is, not the site's, which a twin begins where it likes.
        """
        ages_s, until = [], time.perf_counter() + seconds
        while time.perf_counter() < until:
            self.read_until(time.perf_counter() + 0.1)
            if clock := CLOCK.search(self.cells.lines[0]):
                ages_s.append((time.time() - 60 * int(clock[1]) - int(clock[2])) % 3600)
        return ages_s

    def answer_s(self, key: str, label: str) -> float:
        """Press the key of a view; the seconds until the footer marks it as the open one."""
        at = self.cells.lines[-1].index(label)
        os.write(self._fd, key.encode())
        return self.until(lambda: "7" in self.cells.cells[-1][at][1].split(";"), 60)
