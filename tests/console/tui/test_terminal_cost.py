"""What a snapshot costs on a real terminal, counted through a pty."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONSOLE = Path(__file__).parent / "pty_console.py"
SNAPSHOTS = 30
START_LIMIT_S = 30.0


class Terminal:
    """A pty with the console in it; `read` says what came within a time."""

    def __init__(self, columns: int, rows: int) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = {k: v for k, v in os.environ.items() if k not in ("COLORTERM", "COLUMNS", "LINES")}
            environment.update(TERM="xterm-256color", LANG="C.UTF-8")
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(sys.executable, [sys.executable, str(CONSOLE), str(SNAPSHOTS)], environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float, until: bytes | None = None) -> bytes:
        seen, end = bytearray(), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and (until is None or until not in seen):
            if select.select([self.fd], [], [], left)[0]:
                try:
                    seen += os.read(self.fd, 65536)
                except OSError:  # the program has ended
                    break
        return bytes(seen)

    def write(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def close(self) -> int:
        """Its exit code; a console that does not go is killed."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            self.read(0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return -signal.SIGKILL


@contextlib.contextmanager
def terminal(columns: int, rows: int) -> Iterator[Terminal]:
    """A console in a terminal, ended however the test ends."""
    opened = Terminal(columns, rows)
    try:
        yield opened
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if os.waitpid(opened.pid, os.WNOHANG)[0] == 0:
                os.kill(opened.pid, signal.SIGKILL)
                os.waitpid(opened.pid, 0)


@pytest.mark.parametrize(("size", "budget"), [((120, 40), 2500), ((80, 24), 1500)])
def test_a_snapshot_costs_few_bytes(size: tuple[int, int], budget: int) -> None:
    with terminal(*size) as console:
        start = console.read(START_LIMIT_S, until=b"live tech1")
        assert b"live tech1" in start, start[-500:]
        console.read(0.5)
        seen = console.read(SNAPSHOTS * 0.1)
        assert 0 < len(seen) / (SNAPSHOTS - 5) < budget
        console.write("q")
        assert console.close() == 0


@pytest.mark.parametrize("columns", [60, 59, 40, 20])
def test_a_start_in_a_narrow_terminal_says_what_is_needed_and_answers_keys(columns: int) -> None:
    """Textual lays the hidden lines out once before it hides them: they must be drawn at any width."""
    with terminal(columns, 24) as console:
        assert b"80x24" in console.read(START_LIMIT_S, until=b"80x24")
        console.write("q")
        assert console.close() == 0


def test_the_island_view_costs_little() -> None:
    with terminal(80, 24) as console:
        assert b"live tech1" in console.read(START_LIMIT_S, until=b"live tech1")
        console.write("4")
        assert b"Pre-checks" in console.read(START_LIMIT_S, until=b"Pre-checks")
        console.read(0.2)
        seen = console.read(1.0)
        assert 0 < len(seen) / 10 < 300
        console.write("q")
        assert console.close() == 0


def test_the_plan_costs_little_while_nothing_changes_and_a_move_of_its_cursor_too() -> None:
    """The clock and the why line are all that a second changes; a move redraws two columns and the text."""
    with terminal(80, 24) as console:
        assert b"live tech1" in console.read(START_LIMIT_S, until=b"live tech1")
        console.read(0.3)
        console.write("3")
        assert b"planned peak" in console.read(START_LIMIT_S, until=b"planned peak")
        console.read(0.2)
        seen = console.read(1.0)
        assert 0 < len(seen) / 10 < 250
        console.write("\x1b[C")
        assert len(console.read(0.2)) < 1500
        console.write("q")
        assert console.close() == 0
