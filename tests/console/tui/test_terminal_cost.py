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
from itertools import islice
from pathlib import Path

import msgspec
import psutil
import pytest
from counted_terminal import counted
from record import Recorder
from recorded_client import RecordedClient
from scenes import read
from screen import Eventually, open_view, screen_text
from soak_sizes import long_only
from waiting import LIMIT_S

from benchmarks.reliability import tell
from console.tui.app import SkerryApp
from gateway.api.protocol import Published

CONSOLE = Path(__file__).parent / "pty_console.py"
SECONDS = 3  # in each view
VIEW_KEYS = {
    "2": "compute",
    "3": "plan",
    "4": "island",
    "5": "alarms",
    "6": "log",
    "7": "devices",
    "question_mark": "help",
    "1": "overview",
}
MOST_PER_SECOND, MOST_PER_SWITCH = 500, 6000  # bytes


class Terminal:
    """A pty with the console in it."""

    def __init__(self, columns: int, rows: int, what: str = "1") -> None:
        self.echoed_at_the_end = False
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = {k: v for k, v in os.environ.items() if k not in ("COLORTERM", "COLUMNS", "LINES")}
            environment.update(TERM="xterm-256color", LANG="C.UTF-8")
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(sys.executable, [sys.executable, str(CONSOLE), what], environment)
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
                self.echoed_at_the_end = bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            self.read(b"nothing that is painted", 0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return -signal.SIGKILL


@contextlib.contextmanager
def terminal(columns: int, rows: int, what: str = "1") -> Iterator[Terminal]:
    """A console in a terminal, ended however the test ends."""
    opened = Terminal(columns, rows, what)
    try:
        yield opened
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if os.waitpid(opened.pid, os.WNOHANG)[0] == 0:
                os.kill(opened.pid, signal.SIGKILL)
                os.waitpid(opened.pid, 0)


class Recorded(RecordedClient):
    """A site that lives on for some seconds."""

    def __init__(self, seconds: int) -> None:
        recorder = Recorder()
        recorder.run(5)
        self.feed = [(recorder.step(), recorder.plan) for _ in range(seconds)]
        super().__init__(msgspec.structs.replace(read("calm"), published=self.feed[0][0], plan=self.feed[0][1]))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_second_and_another_view_cost_few_bytes(size: tuple[int, int], eventually: Eventually) -> None:
    client = Recorded(SECONDS * len(VIEW_KEYS) + 1)

    async def connect() -> RecordedClient:
        return client

    feed = iter(client.feed[1:])
    async with counted(SkerryApp(connect, monotonic=lambda: 100.0), size) as (pilot, terminal):
        await eventually(pilot, lambda: "decisions" in [method for method, _ in client.asked])
        for key, name in VIEW_KEYS.items():
            before = terminal.count
            await open_view(pilot, key, name, eventually)
            await eventually(pilot, lambda: terminal.cells.lines == screen_text(pilot.app).split("\n"))
            assert terminal.count - before < MOST_PER_SWITCH, name
            before = terminal.count
            for published, _ in islice(feed, SECONDS):
                client.push(published)
                await eventually(pilot, lambda p=published: pilot.app.model.published is p)
            await pilot.pause()
            assert 0 < (terminal.count - before) / SECONDS < MOST_PER_SECOND, name


@pytest.mark.parametrize("messages", [long_only(28_800)])
async def test_hours_of_messages_leave_memory_as_it_is(messages: int, eventually: Eventually) -> None:
    """28 800 are 8 h at 1 Hz, sent as fast as they are taken, forty at a time: all views have been opened before."""
    client = Recorded(60)

    async def connect() -> RecordedClient:
        return client

    async with counted(SkerryApp(connect, monotonic=lambda: 100.0), (120, 40)) as (pilot, _):
        await eventually(pilot, lambda: "decisions" in [method for method, _ in client.asked])
        for key, name in VIEW_KEYS.items():
            await open_view(pilot, key, name, eventually)
        sent, process, before_b, began_s = 0, psutil.Process(), 0, time.monotonic()
        while sent < messages:
            sent, last = sent + 40, [later(client.feed[n % 60][0], n) for n in range(sent, sent + 40)]
            for published in last:
                client.push(published)
            await eventually(pilot, lambda p=last[-1]: pilot.app.model.published is p)
            before_b = before_b or (process.memory_info().rss if sent >= messages / 8 else 0)
        grown_mb = (process.memory_info().rss - before_b) / 2**20
        tell("memory growth of the console, MB", grown_mb, "max")
        tell("times the rate of 1 Hz", messages / (time.monotonic() - began_s), "max")
        assert grown_mb < 5


def later(published: Published, seconds: int) -> Published:
    """What was recorded, as if at a later time."""
    utc_s = published.snapshot.utc_s + 60 * (seconds // 60)
    return msgspec.structs.replace(
        published,
        snapshot=msgspec.structs.replace(published.snapshot, utc_s=utc_s),
        decision=msgspec.structs.replace(published.decision, utc_s=utc_s),
    )


def test_a_crash_leaves_the_terminal_as_it_was_and_says_what_happened() -> None:
    with terminal(80, 24, "crash") as console:
        seen = console.read(b"\0never")
        _, left, after = seen.rpartition(b"\x1b[?1049l")
        assert left
        assert b"\x1b[?25h" in after
        assert b"a fault of the console" in after
        assert console.leave() == 3
        assert console.echoed_at_the_end


@pytest.mark.parametrize("columns", [20])
def test_a_start_in_a_narrow_terminal_says_what_is_needed_and_answers_keys(columns: int) -> None:
    """Textual lays the hidden lines out once before it hides them: they must be drawn at any width."""
    with terminal(columns, 24) as console:
        assert b"80x24" in console.read(b"80x24")
        assert console.leave() == 0
