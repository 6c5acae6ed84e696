"""Serves the page of metrics: HTTP/1.1 on one address, one request a connection, few connections, short deadlines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from drivers.connect_errors import system_reason
from gateway.outputs.metrics_page import CONTENT_TYPE
from gateway.outputs.trouble import OutputTrouble

NAME = "metrics"
MOST_HEAD_BYTES = 8_192
MOST_CONNECTIONS = 16
DEADLINE_S = 5.0  # for a whole request, and for the answer to be taken
AGAIN_S = 10.0  # until the address is tried again where it is taken
_REQUEST = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,1024}) HTTP/1\.[01]\r\n")

Page = Callable[[], str | None]  # None: there was no tick yet


def status_of(head: bytes) -> int:
    """What a request with this head is answered: 200 for the page, 400 where it is no HTTP, 404, 405."""
    found = _REQUEST.match(head)
    if found is None:
        return 400
    if found[1] not in (b"GET", b"HEAD"):
        return 405
    return 200 if found[2].partition(b"?")[0] == b"/metrics" else 404


class MetricsServer:
    """Listens as long as it runs."""

    def __init__(self, place: tuple[str, int], page: Page, trouble: OutputTrouble) -> None:
        """`place`: address and port; port 0: one that the system chooses."""
        self._place, self._page, self._trouble = place, page, trouble
        self._open = 0
        self.port = 0  # where it listens; 0: nowhere

    async def run(self) -> None:
        """Serve until cancelled; where the address is taken, try again."""
        while True:
            try:
                server = await asyncio.start_server(self._serve, *self._place, limit=MOST_HEAD_BYTES)
            except OSError as error:
                where = " port ".join(map(str, self._place))
                why = f"cannot listen on {where}: {system_reason(error)}; check [metrics] listen"
                self._trouble.failed(NAME, why)
                await asyncio.sleep(AGAIN_S)
                continue
            self._trouble.works(NAME)
            async with server:
                self.port = server.sockets[0].getsockname()[1]
                await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MOST_CONNECTIONS:
            writer.write(_answer_of(503, None, has_body=True))
            writer.close()
            return
        self._open += 1
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._answer(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # whoever asked is gone, or too slow
        finally:
            self._open -= 1
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            status = status_of(head)
        except asyncio.LimitOverrunError:
            status = 431
        text = self._page() if status == 200 else None
        if status == 200 and text is None:
            status = 503
        writer.write(_answer_of(status, text, has_body=not head.startswith(b"HEAD ")))
        await writer.drain()
        writer.write_eof()
        while await reader.read(MOST_HEAD_BYTES):
            pass  # until the other side has taken it; an abort would throw away what is under way


def _answer_of(status: int, text: str | None, *, has_body: bool) -> bytes:
    body = f"{_REASONS[status]}\n".encode() if text is None else text.encode()
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Length: {len(body)}", "Connection: close"]
    lines.append(f"Content-Type: {CONTENT_TYPE}" if status == 200 else "Content-Type: text/plain")
    lines += ["Allow: GET, HEAD"] if status == 405 else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body if has_body else b"")


_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found: the page is /metrics",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
