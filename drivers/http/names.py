"""Looks up host names in threads of its own: the shared ones must not all wait for a DNS server that is gone.

The shared threads (`asyncio.to_thread`) read contacts and set limits of GPUs. A look-up can take half a minute, cannot
be cancelled, and must not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

AT_ONCE = 4
NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class NameLookups(AbstractResolver):
    """What aiohttp asks for addresses."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a name. Raises OSError."""
        await self._room.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult] | OSError] = loop.create_future()

        def told(found: list[ResolveResult] | OSError) -> None:
            self._room.release()  # only now: whoever asked may have given up long ago
            if not answer.done():
                answer.set_result(found)

        def look_up() -> None:
            found = _addresses(host, port, family)
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(told, found)

        try:
            threading.Thread(target=look_up, name="look up a host name", daemon=True).start()
        except RuntimeError:  # no more threads
            told(OSError("no thread to look its name up"))
        found = await answer
        if isinstance(found, OSError):
            raise found
        return found

    async def close(self) -> None:
        """Nothing is open."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult] | OSError:
    try:
        infos: list[Any] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host,
                host=socket.getnameinfo(address, NUMERIC)[0],  # with its scope, where it is a link's
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in infos
        ]
    except OSError as error:
        return error
    except UnicodeError as error:
        return OSError(f"{host[:60]!r} cannot be a host name: {error}")
