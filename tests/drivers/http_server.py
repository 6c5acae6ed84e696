"""A real HTTP server on loopback that serves what a test puts into it, faults among it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
Handler = Callable[[str, asyncio.StreamWriter], Awaitable[None]]  # target of the request, where to answer


def response(body: bytes, status: str = "200 OK", kind: str = "text/plain; version=0.0.4", **headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class HttpServer:
    """`pages`: by path what is answered, as text, as bytes on the wire, or by a handler. Keeps connections open."""

    def __init__(self, pages: dict[str, str | bytes | Handler], context: ssl.SSLContext | None = None) -> None:
        self.pages, self.asked, self.headers = pages, list[str](), list[bytes]()
        self.bodies = list[bytes]()  # of questions that have one
        self.connections = 0
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> HttpServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/metrics") -> str:
        assert self._server is not None
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                self.asked.append(target)
                self.headers.append(head)
                if (length := LENGTH.search(head)) is not None:
                    self.bodies.append(await reader.readexactly(int(length[1])))
                await self._answer(target, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass  # the end of the connection, or of the test
        finally:
            writer.transport.abort()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        page = self.pages.get(target.partition("?")[0])
        if page is None:
            writer.write(response(b"not here", "404 Not Found"))
        elif isinstance(page, str):
            writer.write(response(page.encode()))
        elif isinstance(page, bytes):
            writer.write(page)
        else:
            await page(target, writer)
        await writer.drain()
