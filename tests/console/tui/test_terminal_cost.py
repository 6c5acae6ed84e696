"""What a snapshot costs on a real terminal, counted through a pty."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import LIMIT_S

CONSOLE = Path(__file__).parent / "pty_console.py"
SNAPSHOTS = 30
CLOCK = re.compile(rb"05:00:(\d\d)")  # the site's, in the status bar; the recording begins at 05:00:06
FIRST, LAST = 10, 5 + SNAPSHOTS  # counted from the first one on that is painted in full


class Terminal:
    """A pty with the console in it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = {k: v for k, v in os.environ.items() if k not in ("COLORTERM", "COLUMNS", "LINES")}
            environment.update(TERM="xterm-256color", LANG="C.UTF-8")
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(sys.executable, [sys.executable, str(CONSOLE), str(SNAPSHOTS)], environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, until: bytes, seconds: float = LIMIT_S) -> bytes:
        """What comes until a text has been painted, for `seconds` at most."""
        seen, end = bytearray(), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and until not in seen:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    seen += os.read(self.fd, 65536)
                except OSError:  # the program has ended
                    break
        return bytes(seen)

    def bytes_per_snapshot(self) -> float:
        """Let the site live on; what each of its seconds has cost."""
        os.kill(self.pid, signal.SIGUSR1)
        seen = self.read(b"05:00:%d" % LAST)
        assert b"05:00:%d" % LAST in seen, seen[-500:]
        first = next(shown for shown in CLOCK.finditer(seen) if int(shown[1]) >= FIRST)
        return (len(seen) - first.end()) / (LAST - int(first[1]))

    def write(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def leave(self) -> int:
        """Press q until it goes; its exit code. A console that does not go is killed.

        A q that comes together with another key counts as pasted, and the console asks to press it alone.
        """
        end, pressed_s = time.monotonic() + LIMIT_S, float("-inf")
        while time.monotonic() < end:
            if time.monotonic() - pressed_s >= 1.0:
                pressed_s = time.monotonic()
                with contextlib.suppress(OSError):  # it has gone
                    self.write("q")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            self.read(b"nothing that is painted", 0.05)
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
        start = console.read(b"live tech1")
        assert b"live tech1" in start, start[-500:]
        assert 0 < console.bytes_per_snapshot() < budget
        assert console.leave() == 0


@pytest.mark.parametrize("columns", [60, 59, 40, 20])
def test_a_start_in_a_narrow_terminal_says_what_is_needed_and_answers_keys(columns: int) -> None:
    """Textual lays the hidden lines out once before it hides them: they must be drawn at any width."""
    with terminal(columns, 24) as console:
        assert b"80x24" in console.read(b"80x24")
        assert console.leave() == 0


def test_the_island_view_costs_little() -> None:
    with terminal(80, 24) as console:
        assert b"live tech1" in console.read(b"live tech1")
        console.write("4")
        assert b"Pre-checks" in console.read(b"Pre-checks")
        assert 0 < console.bytes_per_snapshot() < 300
        assert console.leave() == 0


def test_the_plan_costs_little_while_nothing_changes_and_a_move_of_its_cursor_too() -> None:
    """The clock and the why line are all that a second changes; a move redraws two columns and the text."""
    with terminal(80, 24) as console:
        assert b"live tech1" in console.read(b"live tech1")
        console.write("3")
        assert b"planned peak" in console.read(b"planned peak")
        assert 0 < console.bytes_per_snapshot() < 250
        console.write("\x1b[C")
        moved = console.read(b"05:15")
        assert b"05:15" in moved
        assert len(moved) < 1500
        assert console.leave() == 0
