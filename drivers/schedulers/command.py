"""Runs a command and takes what it prints, piece by piece, within bounds of time and size.

The command runs in a session of its own, which is ended as a whole when a bound is passed. No thread waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from dispatch.wording.formatting import one_line
from drivers.schedulers.errors import QueueNotRead

MOST_BYTES = 16 << 20  # printed
PIECE = 16_384  # bytes taken at once: some fifty jobs, half a millisecond
MOST_ERRORS = 4_096  # bytes kept of what it says on standard error
SHOWN = 300
MOST_TEXT = 1 << 20  # bytes of an answer that is taken as a whole
ENDS_S = 2.0  # after it was killed, or its standard error after its end


class Command:
    """One command, which may be run again and again, but never twice at a time."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], deadline_s: float) -> None:
        """`environment`: in addition to that of this process."""
        self._arguments, self._environment, self._deadline_s = tuple(arguments), dict(environment), deadline_s
        self._running: _Output | None = None

    async def run(self, more: Sequence[str], take: Callable[[bytes], Awaitable[None]]) -> None:
        """Run it with more arguments. `take` gets what it prints, piece by piece, within the deadline, too.

        Raises QueueNotRead where it cannot be run, ends with an exit code, takes too long or prints too much, and what
        `take` raises.
        """
        before = self._running
        if before is not None and not before.ended.is_set():
            raise QueueNotRead(f"{self._name}: the call before does not end although it was killed (pid {before.pid})")
        output = self._running = await self._begin(more)
        told = 0
        try:
            async with asyncio.timeout(self._deadline_s):
                while piece := await output.piece():
                    told += len(piece)
                    if told > MOST_BYTES:
                        raise QueueNotRead(f"{self._name} prints more than {MOST_BYTES >> 20} MiB: ended")
                    await take(piece)
                await output.ended.wait()
                await output.all_said()
        except TimeoutError:
            came = f"{told} bytes came" if told else "nothing came"
            raise QueueNotRead(f"{self._name}: no whole answer within {self._deadline_s:g} s, {came}") from None
        finally:
            await output.end()
        if output.code:
            how = f"was ended by signal {-output.code}" if output.code < 0 else f"ended with exit code {output.code}"
            raise QueueNotRead(f"{self._name} {how}{'' if output.complaint else ' and said nothing'}")

    @property
    def errors(self) -> str:
        """What the last call said on standard error, as it said it."""
        return "" if self._running is None else self._running.errors

    @property
    def complaint(self) -> str:
        """What the last call said on standard error, to be appended to a text; empty: nothing."""
        return "" if self._running is None else self._running.complaint

    @property
    def _name(self) -> str:
        return one_line(" ".join(self._arguments))[:80]

    async def _begin(self, more: Sequence[str]) -> _Output:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
        try:
            _, output = await asyncio.get_running_loop().subprocess_exec(
                _Output,
                *self._arguments,
                *more,
                stdin=asyncio.subprocess.DEVNULL,
                env=kept | self._environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise QueueNotRead(
                f"{self._name}: {self._arguments[0]} cannot be run: {why}; check path and rights"
            ) from None
        return output


async def said(command: Command, arguments: Sequence[str], what: str, most: int = MOST_TEXT) -> str:
    """All that a command prints with more arguments, at most `most` bytes; `what`: how people call that.

    Raises QueueNotRead.
    """
    text = bytearray()

    async def take(piece: bytes) -> None:
        text.extend(piece)
        if len(text) > most:
            raise QueueNotRead(f"{what} prints more than {most >> 20} MiB")

    try:
        await command.run(arguments, take)
    except QueueNotRead as error:
        raise QueueNotRead(f"{error}{command.complaint}") from None
    return text.decode(errors="replace")


class _Output(asyncio.SubprocessProtocol):
    """What a process prints, until it is taken."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._came, self._errors_end = asyncio.Event(), asyncio.Event()
        self._printed, self._errors = bytearray(), bytearray()
        self._closed = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self._errors += data[: max(0, MOST_ERRORS - len(self._errors))]
            return
        self._printed += data
        if len(self._printed) > 4 * PIECE:
            self._transport.get_pipe_transport(1).pause_reading()
        self._came.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._closed = True
            self._came.set()
        else:
            self._errors_end.set()

    def process_exited(self) -> None:
        self.ended.set()

    @property
    def pid(self) -> int:
        """Of the process, which is also its session."""
        pid: int = self._transport.get_pid()
        return pid

    @property
    def code(self) -> int | None:
        """Its exit code; below 0: the signal that ended it."""
        code: int | None = self._transport.get_returncode()
        return code

    @property
    def errors(self) -> str:
        """What it said on standard error, up to a bound."""
        return self._errors.decode(errors="replace")

    @property
    def complaint(self) -> str:
        """What it said on standard error, to be appended to a text."""
        said = one_line(self.errors)[:SHOWN]
        return f": {said}" if said else ""

    async def piece(self) -> bytes:
        """What came next; empty: nothing more comes."""
        while not self._printed and not self._closed:
            self._came.clear()
            await self._came.wait()
        piece = bytes(self._printed[:PIECE])
        del self._printed[:PIECE]
        if not self._closed and len(self._printed) <= PIECE:
            with contextlib.suppress(RuntimeError):
                self._transport.get_pipe_transport(1).resume_reading()
        return piece

    async def all_said(self) -> None:
        """Wait for what it said on standard error, which may come after its end; not for who else holds that open."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDS_S):  # wait_for of Python 3.11 may lose a cancel, here and below
                await self._errors_end.wait()

    async def end(self) -> None:
        """End what is left of it, and close its pipes, whoever may still hold their other ends."""
        if not self.ended.is_set() or not self._closed:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENDS_S):
                    await self.ended.wait()
        self._transport.close()
