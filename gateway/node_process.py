"""Starts the process that reads nodes over the network, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import Protocol

STOP_S = 0.8  # it ends when its socket does; after this it is killed


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
        """Hang up; kill it if it has not ended after `STOP_S`. How it has ended, in words."""
        self.writer.close()
        try:
            with contextlib.suppress(TimeoutError):
                code = await asyncio.wait_for(self._process.wait(), STOP_S)
                return _ended(code)
            self._kill()
            with contextlib.suppress(TimeoutError):  # of one that the kernel cannot end now nothing more is heard
                await asyncio.wait_for(self._process.wait(), STOP_S)
            return "did not end and was killed"
        finally:  # also when this is cancelled
            self._kill()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


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
