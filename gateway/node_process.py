"""Starts the process that reads nodes over the network, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any, Protocol

STOP_S = 2.5  # it ends when its socket does, and has sessions of BMCs to end before; after this it is killed
KILLED_S = 0.8  # until one that was killed has ended


class NodeReader(Protocol):
    """Who reads the nodes: a process, or a task of a test."""

    @property
    def reader(self) -> asyncio.StreamReader: ...

    @property
    def writer(self) -> asyncio.StreamWriter: ...

    async def stop(self) -> str:
        """Hang up and see it end; how it has ended."""
        ...


class ReaderProcess:
    """A process of its own, in a session of its own."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self.reader, self.writer = process, reader, writer

    async def stop(self) -> str:
        """Hang up; kill it if it has not ended after `STOP_S`. How it has ended, in words.

        Cancelled, also again and again as at the gateway's end, it waits for as long all the same.
        """
        self.writer.close()
        try:
            code = await _waited(self._process.wait(), STOP_S)
            if code is not None:
                return _ended(code)
            self._kill()
            with contextlib.suppress(TimeoutError):  # of one that the kernel cannot end now nothing more is heard
                async with asyncio.timeout(KILLED_S):
                    await self._process.wait()
            return "did not end and was killed"
        finally:  # also when this is cancelled
            self._kill()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


async def _waited(ending: Coroutine[Any, Any, int], limit_s: float) -> int | None:
    """What it gives; None: nothing in that time. Whoever is cancelled meanwhile is so afterwards."""
    loop, ended = asyncio.get_running_loop(), asyncio.ensure_future(ending)
    until_s, cancelled = loop.time() + limit_s, False
    while not ended.done() and (left_s := until_s - loop.time()) > 0:
        try:
            await asyncio.wait([ended], timeout=left_s)
        except asyncio.CancelledError:
            cancelled = True
    ended.cancel()
    if cancelled:
        raise asyncio.CancelledError
    return ended.result() if ended.done() else None


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    names = {known.value: known.name for known in signal.Signals}
    return f"was ended by signal {names.get(-code, -code)}"


async def start_process() -> ReaderProcess:
    """Start it. Raises OSError."""
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(ours.close)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "skerry.read_nodes", str(os.getpid())),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        on_failure.pop_all()
    return ReaderProcess(process, reader, writer)
