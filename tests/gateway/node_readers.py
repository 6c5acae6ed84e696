"""Readers of nodes for tests: the real one as a task of the test's own loop, and ones that do as they are told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from gateway.node_process import NodeReader
from gateway.node_reader import read_nodes

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class TaskReader:
    """Over a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self.reader, self.writer, self.task = reader, writer, task

    async def stop(self) -> str:
        self.writer.close()
        await asyncio.wait([self.task])
        return "ended"


def starting(*behaviours: Behaviour) -> Callable[[], Awaitable[NodeReader]]:
    """Starts one after the other, the last one again and again."""
    left = list(behaviours)

    async def start() -> TaskReader:
        behave = left.pop(0) if len(left) > 1 else left[0]
        ours, theirs = socket.socketpair()
        their_streams = await asyncio.open_unix_connection(sock=theirs)

        async def run() -> None:
            try:
                await behave(*their_streams)
            finally:
                their_streams[1].close()

        task = asyncio.create_task(run())
        return TaskReader(*await asyncio.open_unix_connection(sock=ours), task)

    return start


in_this_loop = starting(read_nodes)
