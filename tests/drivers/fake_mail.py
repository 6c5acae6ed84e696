"""An SMTP server on loopback, written from RFC 5321: it takes mails, and has faults on request."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable


class FakeMail:
    """`mails`: as they came, with their recipients. `answer`: instead of its own to a command; None: silence."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.commands: list[str] = []
        self.mails: list[tuple[list[str], str]] = []
        self.answer: Callable[[str], bytes | None] | None = None
        self.greeting = b"220 mail.test ESMTP\r\n"
        self.port = 0
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeMail:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        to: list[str] = []
        try:
            writer.write(self.greeting)
            while line := (await reader.readline()).decode().strip():
                self.commands.append(line)
                if line.startswith("RCPT"):
                    to.append(line[9:-1])
                reply = self._reply(line) if self.answer is None else self.answer(line)
                if reply is not None:
                    writer.write(reply)
                if line == "STARTTLS" and self._context is not None:
                    await writer.start_tls(self._context)
                elif line == "DATA" and reply is not None and reply.startswith(b"354"):
                    mail = await reader.readuntil(b"\r\n.\r\n")
                    self.mails.append((to, mail.decode()))
                    to = []
                    writer.write(b"250 2.0.0 taken\r\n")
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass  # the end of the connection, or of the test
        finally:
            writer.transport.abort()

    def _reply(self, line: str) -> bytes:
        verb = line.partition(" ")[0]
        if verb == "EHLO":
            return b"250-mail.test\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n"
        codes = {"STARTTLS": b"220 go on", "AUTH": b"235 2.7.0 ok", "DATA": b"354 go on", "QUIT": b"221 bye"}
        return codes.get(verb, b"250 2.1.0 ok") + b"\r\n"
