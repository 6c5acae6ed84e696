"""A terminal for a program to run in: a pty that is read all the time and answers where its cursor is."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import psutil

POSITION = re.compile(rb"\x1b\[1(?:;(\d+))?H\x1b\[6n")
STOP_LIMIT_S = 10.0


class Terminal:
    """One program in a pty of a given size. Everything it paints is counted and kept. A context manager."""

    piece_bytes = 65536  # that are read at once at most

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._answered = 0  # up to which byte
        size = struct.pack("HHHH", rows, columns, 0, 0)
        self.painted = bytearray()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execvpe(command[0], list(command), dict(environment))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)
        self.process = psutil.Process(self.pid)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def read_until(self, when_s: float) -> bool:
        """Read what is painted next; False if nothing came by this `time.perf_counter()`, or the program ended."""
        ready, _, _ = select.select([self._fd], [], [], max(0.0, when_s - time.perf_counter()))
        if not ready:
            return False
        try:
            data = os.read(self._fd, self.piece_bytes)
        except OSError:  # EIO: nobody holds the other end any more
            return False
        self.painted += data
        self.take(data)
        return bool(data)

    def take(self, data: bytes) -> None:
        """Say where the cursor is, which the console asks behind a frame, having put it into the first row."""
        for asked in POSITION.finditer(self.painted, self._answered):
            self._answered = asked.end()
            os.write(self._fd, b"\x1b[1;%dR" % int(asked[1] or 1))

    def read_for(self, seconds: float) -> int:
        """Read for so long; returns the number of bytes painted meanwhile."""
        before, until = len(self.painted), time.perf_counter() + seconds
        while time.perf_counter() < until:
            if not self.read_until(until) and not self.alive:
                break
        return len(self.painted) - before

    def wait_for(self, text: bytes, limit_s: float) -> None:
        """Read until the text has been painted. Raises TimeoutError with the end of what was painted instead."""
        until = time.perf_counter() + limit_s
        while text not in self.painted:
            if not self.read_until(until) and (time.perf_counter() >= until or not self.alive):
                raise TimeoutError(
                    f"{text!r} was not painted within {limit_s:g} s; last: {bytes(self.painted[-600:])!r}"
                )

    def press(self, key: str, limit_s: float = 2.0) -> float:
        """Wait for a quiet moment, press the key; returns the seconds until the first byte painted after it."""
        while self.read_for(0.1):
            pass
        before, pressed = len(self.painted), time.perf_counter()
        os.write(self._fd, key.encode())
        while len(self.painted) == before:
            if not self.read_until(pressed + limit_s) and time.perf_counter() >= pressed + limit_s:
                raise TimeoutError(f"key {key!r} painted nothing within {limit_s:g} s")
        return time.perf_counter() - pressed

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return bool(self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE)

    def cpu_s(self) -> float:
        """CPU seconds so far of the program itself, without children."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        """Hang up, as a lost connection does, and wait for the program and what it started; insist after 10 s."""
        started = self.process.children(recursive=True) if self.alive else []
        if self.alive:
            self.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + STOP_LIMIT_S
        while self.alive and time.monotonic() < until:
            self.read_for(0.05)
        if self.alive:
            self.process.kill()
        os.waitpid(self.pid, 0)
        os.close(self._fd)
        for process in psutil.wait_procs(started, timeout=STOP_LIMIT_S)[1]:
            process.kill()
