"""Shows on a terminal how far a long command has come; writes nothing where standard error is no terminal."""

from __future__ import annotations

import sys
import time

EVERY_S = 0.2


class Progress:
    """One line that is written over, with the share that is done and the time that is left."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._begun_s = self._written_s = time.monotonic()
        self._width = 0

    def show(self, share: float) -> None:
        """Say how much is done, 0 to 1."""
        now_s = time.monotonic()
        if not self._shown or now_s - self._written_s < EVERY_S:
            return
        self._written_s = now_s
        took_s = now_s - self._begun_s
        left = f", {took_s * (1 - share) / share:.0f} s left" if share > 0 else ""
        self._write(f"skerry: {self._what}: {100 * share:.0f} %{left}")

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            self._write("")

    def _write(self, line: str) -> None:
        print(f"\r{line:<{self._width}}", end="\r" if not line else "", file=sys.stderr, flush=True)
        self._width = len(line)
