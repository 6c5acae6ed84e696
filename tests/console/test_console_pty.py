"""The console in a real terminal with a gateway of its own: what happens when terminal or console go away, or hang."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from harness import Site, a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE
from waiting import LIMIT_S
from warm_start import SKERRY

from dispatch.model.decision import Mode
from gateway.api.client import GatewayClient
from storage.reader import Archive


class Terminal:
    """A pty with `skerry SITE.toml` in it; everything painted is read, so that the console never waits for us."""

    def __init__(self, site: Site, below: tuple[str, ...] = ()) -> None:
        """`below`: a command that starts the console, as a shell does."""
        self.seen = bytearray()
        self._news = asyncio.Event()
        environment = site.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        environment |= {"XDG_STATE_HOME": str(site.directory / "home")}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            command = [*below, *SKERRY, str(site.path)]
            os.execvpe(command[0], command, environment)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other side is gone
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.seen += data
        self._news.set()

    async def shows(self, text: str) -> None:
        """Wait until the text has been painted since the last `forget`."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while text.encode() not in self.seen:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{text!r} was not painted; the end of what was: {bytes(self.seen[-400:])!r}"
            ) from None

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed and edits lines, as a shell expects it."""
        return termios.tcgetattr(self._fd)[3] & (termios.ECHO | termios.ICANON) == termios.ECHO | termios.ICANON

    def restored(self) -> bool:
        """Whether the terminal is back from the alternate screen, shows the cursor, and what is typed."""
        _, left, after = bytes(self.seen).rpartition(b"\x1b[?1049l")
        return bool(left) and b"\x1b[?25h" in after and self.echoes()

    def stop_reading(self) -> None:
        """Take nothing more of what is painted."""
        asyncio.get_running_loop().remove_reader(self._fd)

    def hang_up(self) -> None:
        """Close the terminal, as a lost SSH session does: SIGHUP to the console, end of its input."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    async def ended(self) -> int:
        """The console's wait status."""
        status = await asyncio.wait_for(asyncio.to_thread(os.waitpid, self.pid, 0), LIMIT_S)
        self.pid = 0
        return status[1]

    def close(self) -> None:
        """Leave nothing behind."""
        if self._fd >= 0:
            self.hang_up()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[tuple[Site, Terminal, GatewayClient, psutil.Process]]:
    """A console that shows a living site; a client of its gateway; the gateway's process."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT)) as site:
        terminal = Terminal(site)
        try:
            await terminal.shows("GRID-TIED")
            client = await site.client(rate_hz=5)
            await until(client, lambda state: state.decision.mode is not Mode.OBSERVE)
            yield site, terminal, client, psutil.Process(client.welcome.pid)
        finally:
            terminal.close()


async def gone(process: psutil.Process) -> None:
    """Wait for a process that is not our child; it stops in order, which takes a moment."""
    await asyncio.wait_for(asyncio.to_thread(_wait, process), LIMIT_S)


def _wait(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.wait(LIMIT_S)


def last_events(site: Site) -> list[str]:
    """What the gateway wrote down at its end."""
    (state,) = (site.directory / "home" / "skerry").iterdir()
    archive = Archive(state)
    try:
        return [event.text for event in archive.events(5)]
    finally:
        archive.close()


async def test_quit_stops_the_gateway_it_started(console) -> None:
    """`q`: the console ends with 0, its gateway stops in order and says why."""
    site, terminal, _, gateway = console
    terminal.type("q")
    assert os.waitstatus_to_exitcode(await terminal.ended()) == 0
    await gone(gateway)
    events = last_events(site)
    assert any("end of stdin" in text for text in events)
    assert any("safe value" in text and "read back" in text for text in events)


async def test_console_killed(console) -> None:
    """kill -9 of the console: nothing in it can react, and the gateway still stops in order."""
    site, terminal, _, gateway = console
    os.kill(terminal.pid, signal.SIGKILL)
    await terminal.ended()
    await gone(gateway)
    assert any("read back" in text for text in last_events(site))


async def test_terminal_lost(console) -> None:
    """The SSH session is gone: SIGHUP reaches the console, the gateway stops in order."""
    site, terminal, _, gateway = console
    terminal.hang_up()
    await terminal.ended()
    await gone(gateway)
    assert any("read back" in text for text in last_events(site))


async def test_terminal_lost_without_a_signal(tmp_path: Path) -> None:
    """The leader of the session ignores SIGHUP, as below `nohup`: the console, which gets none, ends all the same."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT)) as site:
        terminal = Terminal(site, ("sh", "-c", 'trap "" HUP; "$@"; exit $?', "sh"))
        try:
            await terminal.shows("GRID-TIED")
            terminal.hang_up()
            assert os.waitstatus_to_exitcode(await terminal.ended()) == 128 + signal.SIGHUP
        finally:
            terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_console_ended_by_a_signal(console, number: signal.Signals) -> None:
    """The terminal is as before, and its last line says that the console ended and when."""
    site, terminal, _, gateway = console
    os.kill(terminal.pid, number)
    assert os.waitstatus_to_exitcode(await terminal.ended()) == 128 + number
    await terminal.shows("the gateway that it started stops in order")
    _, _, after = bytes(terminal.seen).rpartition(b"\x1b[?1049l")  # back from the alternate screen
    assert "skerry: the console ended at " in after.decode()
    assert number.name in after.decode()
    assert b"\x1b[?25h" in terminal.seen, "the cursor is shown again"
    assert terminal.echoes(), "what is typed is shown again"
    await gone(gateway)
    assert any("read back" in text for text in last_events(site))


async def test_the_parent_is_killed(tmp_path: Path) -> None:
    """A shell below that of the session is killed: the terminal lives on, and is as before."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT)) as site:
        terminal = Terminal(site, ("sh", "-c", '"$@"; read line', "sh", "sh", "-c", '"$@"; exit $?', "sh"))
        try:
            await terminal.shows("GRID-TIED")
            (parent,) = psutil.Process(terminal.pid).children()
            (console,) = parent.children()
            parent.kill()
            await gone(console)
            assert terminal.restored()
        finally:
            terminal.close()


async def test_console_ended_while_its_terminal_takes_nothing(console) -> None:
    """Output is stopped (ctrl+s) and the app waits for it for ever: the signal ends it all the same."""
    _, terminal, _, gateway = console
    terminal.stop_reading()
    os.kill(terminal.pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(await terminal.ended()) == 128 + signal.SIGTERM
    await gone(gateway)


async def test_console_hung(console) -> None:
    """A console that hangs (stopped by a signal) delays nothing: ticks go on, another console sees them."""
    _, terminal, client, _ = console
    os.kill(terminal.pid, signal.SIGSTOP)
    try:
        before = await until(client, lambda s: True)
        after = await until(client, lambda s: s.loop.ticks >= before.loop.ticks + 25)
        assert after.snapshot.grid.w.good is not None
    finally:
        os.kill(terminal.pid, signal.SIGCONT)
