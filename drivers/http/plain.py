"""Fetches pages over plain HTTP/1.1 (RFC 9112) with kept connections, in less than half of the time that aiohttp takes.

Only what a page needs: GET, no redirects, no packing, no proxies, one request at a time on a connection. What does not
keep to the format ends the connection, with an error. `HttpClient` chooses; whatever is not this goes by aiohttp.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import string
from collections.abc import AsyncIterable, AsyncIterator, Callable
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from drivers.http.names import NameLookups
from drivers.http.plain_link import MOST_HEAD_BYTES, BadAnswer, Link

MOST_SIZE_BYTES = 256  # of the line before a chunk
MOST_CHUNKS = 10_000  # 8 MiB in the usual pieces of 4 kB are 2000; in pieces of a byte they would take a minute
MOST_TRAILERS = 64  # lines after the last chunk
MOST_INFORMATION = 8  # answers 1xx before the one that counts
TRY_S = 1.0  # of an address that does not answer, where a name has others
NAMES_S = 300.0  # a looked-up name is used for so long
CHUNK_BYTES = 64 * 1024  # of a body, taken at once
KNOWN_HEADERS, LONGEST_KNOWN = 1024, 128  # lines of heads that are kept, taken apart
KNOWN_PLACES = 4096  # pages whose requests are kept: two of each of 2000 nodes
SWEEP_S = 10.0  # between two looks for connections that were idle for too long
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([^\r\n]*))?")
_LINE_END = re.compile(r"\r?\n")  # RFC 9112, 2.2: a line feed alone ends a line, too; small servers send that
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


Place = tuple[str, int]  # host and port


class PlainAnswer:
    """An answer whose head has come. Its attributes are named as those of aiohttp."""

    def __init__(self, link: Link, head: bytes) -> None:
        """Raises BadAnswer."""
        self.content = self
        self._link = link
        lines = _LINE_END.split(head.decode("latin-1").removesuffix("\r"))
        if (match := _STATUS.fullmatch(lines[0])) is None:
            raise BadAnswer(f"its answer begins with {lines[0][:40]!r}, which is not HTTP/1.1")
        self.status, self.reason = int(match[2]), match[3] or ""
        self.headers = _Headers(lines[1:])
        self._chunked = self.headers.get("Transfer-Encoding", "").lower()
        if self._chunked not in ("", "chunked"):
            raise BadAnswer(f"its answer comes in the transfer coding {self._chunked[:40]!r}")
        self.content_length = None if self._chunked else _length(self.headers.get("Content-Length"))
        says = self.headers.get("Connection", "").lower()
        self.kept = "close" not in says and (match[1] == "1" or "keep-alive" in says)
        if self._chunked and (match[1] == "0" or "content-length" in self.headers):
            self.kept = False  # where its end is may be seen in two ways (RFC 9112, 6.1 and 6.3)
        self.whole = self.status in (204, 304)

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case."""
        return str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()

    async def body(self, most_bytes: int) -> bytes | None:
        """All of it; None: it is longer than that. Raises BadAnswer, ConnectionError."""
        length = None if self.whole else self.content_length
        if length is not None and length <= most_bytes and (found := self._link.taken(length)) is not None:
            self.whole = True  # most pages come with their head
            return found
        if self._chunked and not self.whole:
            return await self._joined(most_bytes)
        return await together(self.iter_chunked(CHUNK_BYTES), most_bytes)

    async def _joined(self, most_bytes: int) -> bytes | None:
        """The pieces of a body together; None: they are more than that. In little time, however small they are."""
        body, number = bytearray(), 0
        while size := _size(await self._link.until(b"\r\n", MOST_SIZE_BYTES)):
            if len(body) + size > most_bytes:
                return None
            if (piece := self._link.taken(size + 2)) is not None:
                _ends(piece[size:].removesuffix(b"\r\n"))
                body += piece[:size]
            else:
                async for some in self._exactly(size, CHUNK_BYTES):
                    body += some
                _ends(await self._link.until(b"\r\n", 2))
            number = _counted(number)
        await self._trailers()
        self.whole = True
        return bytes(body)

    async def iter_chunked(self, most_bytes: int) -> AsyncIterator[bytes]:
        """The body in pieces. Raises BadAnswer, ConnectionError."""
        if self.whole:
            return
        if self._chunked:
            pieces = self._chunks(most_bytes)
        elif self.content_length is not None:
            pieces = self._exactly(self.content_length, most_bytes)
        else:
            pieces = self._rest(most_bytes)
        async for piece in pieces:
            yield piece
        self.whole = True

    async def _chunks(self, most_bytes: int) -> AsyncIterator[bytes]:
        number = 0
        while size := _size(await self._link.until(b"\r\n", MOST_SIZE_BYTES)):
            async for piece in self._exactly(size, most_bytes):
                yield piece
            _ends(await self._link.until(b"\r\n", 2))
            number = _counted(number)
        await self._trailers()

    async def _trailers(self) -> None:
        """What follows the last piece."""
        for _ in range(MOST_TRAILERS):
            if not await self._link.until(b"\r\n", MOST_HEAD_BYTES):
                return
        raise BadAnswer(f"its answer ends in more than {MOST_TRAILERS} lines")

    async def _rest(self, most_bytes: int) -> AsyncIterator[bytes]:
        """Until the server closes the connection. Raises ConnectionError where it breaks: the end may be missing."""
        self.kept = False
        while not self._link.ended or self._link.holds:
            with contextlib.suppress(ConnectionError):
                yield await self._link.some(most_bytes)
        if self._link.broken:
            raise ConnectionResetError("its connection broke before the end of its answer")

    async def _exactly(self, size: int, most_bytes: int) -> AsyncIterator[bytes]:
        left = size
        while left:
            piece = await self._link.some(min(left, most_bytes))
            left -= len(piece)
            yield piece

    async def read(self, most_bytes: int) -> bytes:
        """The beginning of the body."""
        body = b""
        async for piece in self.iter_chunked(most_bytes):
            body += piece
            if len(body) >= most_bytes:
                break
        return body[:most_bytes]


async def together(pieces: AsyncIterable[bytes], most_bytes: int) -> bytes | None:
    """A body that comes in pieces; None: it is longer than that."""
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > most_bytes:
            return None
    return bytes(body)


class _Headers(dict[str, str]):
    """By name in lower case. Raises BadAnswer."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        for line in lines:
            name, value = _known_header(line) if len(line) <= LONGEST_KNOWN else _header(line)
            before = super().get(name)
            if name != "content-length":
                self[name] = value if before is None else f"{before}, {value}"  # RFC 9110, 5.2
            elif self.setdefault(name, value) != value:
                raise BadAnswer("its answer has two lengths")

    def get(self, name: str, default: Any = None) -> Any:
        """In any case of letters."""
        return super().get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return str(super().__getitem__(name.lower()))


def _header(line: str) -> tuple[str, str]:
    """Its name in lower case, and its value. Raises BadAnswer."""
    name, colon, value = line.partition(":")
    if not colon or _NAME.fullmatch(name) is None:
        raise BadAnswer(f"its answer has a header {line[:40]!r}")
    return name.lower(), value.strip(" \t\r")


@lru_cache(KNOWN_HEADERS)
def _known_header(line: str) -> tuple[str, str]:
    """As `_header`: servers of one kind send the same lines with each answer."""
    return _header(line)


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadAnswer(f"its answer has the length {text[:40]!r}")
    return int(text)


def _ends(more: bytes) -> None:
    """`more`: what stands between the end of a piece and its line end."""
    if more:
        raise BadAnswer("a piece of its answer is longer than it says")


def _counted(number: int) -> int:
    """One piece more."""
    if number >= MOST_CHUNKS:
        raise BadAnswer(f"its answer comes in more than {MOST_CHUNKS} pieces")
    return number + 1


def _size(line: bytes) -> int:
    """Of a chunk; extensions after a semicolon are passed over."""
    text = line.partition(b";")[0].strip()
    if re.fullmatch(rb"[0-9A-Fa-f]{1,8}", text) is None:
        raise BadAnswer(f"a piece of its answer has the size {line[:20]!r}")
    return int(text, 16)


class PlainPages:
    """The connections to every server."""

    def __init__(self, keep_s: float, make_socket: Callable[[Any], socket.socket]) -> None:
        """`keep_s`: how long an idle connection is kept. `make_socket`: of what `getaddrinfo` gives."""
        self._keep_s, self._make_socket = keep_s, make_socket
        self._idle: dict[Place, list[Link]] = {}
        self._names, self._known = NameLookups(), dict[Place, tuple[float, list[Any]]]()
        self._swept_s = 0.0

    def get(self, url: str, query: tuple[tuple[str, str], ...], headers: dict[str, str]) -> Asked:
        """The answer to a request, within `async with`, which raises BadAnswer, OSError."""
        return Asked(self, url, query, headers)

    async def ask(
        self, url: str, query: tuple[tuple[str, str], ...], headers: dict[str, str]
    ) -> tuple[Place, Link, PlainAnswer]:
        """Ask, as `get` does. Raises BadAnswer, OSError."""
        place, request = _asking(url, query)[0], request_to(url, query, headers)
        link, answer = await self._asked(place, request)
        return place, link, answer

    def keep(self, place: Place, link: Link, answer: PlainAnswer) -> None:
        """The answer has been used: its connection can be used again, or is dropped."""
        if answer.whole and answer.kept and link.usable:
            link.idle_since_s = asyncio.get_running_loop().time()
            self._idle.setdefault(place, []).append(link)
            self._sweep(link.idle_since_s)
        else:
            link.close()

    async def _asked(self, place: Place, request: bytes) -> tuple[Link, PlainAnswer]:
        """Ask on an idle connection; on a new one if there is none, or if it was closed just now."""
        link = self._taken(place)
        if link is not None:
            with contextlib.suppress(ConnectionError):
                return link, await _answer(link, request)
        link = await self._connected(place)
        return link, await _answer(link, request)

    def _taken(self, place: Place) -> Link | None:
        links, fresh_s = self._idle.get(place), asyncio.get_running_loop().time() - self._keep_s
        while links:
            link = links.pop()
            if link.usable and link.idle_since_s >= fresh_s:
                return link
            link.close()
        return None

    def _sweep(self, now_s: float) -> None:
        if now_s - self._swept_s < SWEEP_S:
            return
        self._swept_s, fresh_s = now_s, now_s - self._keep_s
        for place, links in list(self._idle.items()):
            kept = [link for link in links if link.usable and link.idle_since_s >= fresh_s]
            for link in links:
                if link not in kept:
                    link.close()
            if kept:
                self._idle[place] = kept
            else:
                del self._idle[place]

    async def _connected(self, place: Place) -> Link:
        """To the first of its addresses that answers. Raises OSError."""
        addresses = await self._addresses(*place)
        for address in addresses[:-1]:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(TRY_S):
                    return await self._connected_to(address)
        try:
            return await self._connected_to(addresses[-1])
        except OSError:
            self._known.pop(place, None)  # its name may lead elsewhere now
            raise

    async def _connected_to(self, address: Any) -> Link:
        loop, made = asyncio.get_running_loop(), self._make_socket(address)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address[4])
            _, link = await loop.create_connection(Link, sock=made)
        except BaseException:
            made.close()
            raise
        return link

    async def _addresses(self, host: str, port: int) -> list[Any]:
        """As `getaddrinfo` gives them. Raises OSError."""
        with contextlib.suppress(ValueError):
            family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 0, "", (host, port))]
        now_s = asyncio.get_running_loop().time()
        until_s, found = self._known.get((host, port), (0.0, []))
        if now_s >= until_s:
            looked_up = await self._names.resolve(host, port, socket.AF_UNSPEC)
            found = [(one["family"], socket.SOCK_STREAM, 0, "", (one["host"], port)) for one in looked_up]
            if not found:
                raise OSError("its name has no address")
            self._known[host, port] = now_s + NAMES_S, found
        return found

    def close(self) -> None:
        """Drop every connection that is idle."""
        for links in self._idle.values():
            for link in links:
                link.close()
        self._idle.clear()


class Asked:
    """One request, from its sending to the end of its use."""

    def __init__(
        self, pages: PlainPages, url: str, query: tuple[tuple[str, str], ...], headers: dict[str, str]
    ) -> None:
        self._pages, self._request = pages, (url, query, headers)
        self._asked: tuple[Place, Link, PlainAnswer] | None = None

    async def __aenter__(self) -> PlainAnswer:
        self._asked = await self._pages.ask(*self._request)
        return self._asked[2]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._asked is not None
        if kind is None:
            self._pages.keep(*self._asked)
        else:
            self._asked[1].close()


async def _answer(link: Link, request: bytes) -> PlainAnswer:
    """Raises BadAnswer, ConnectionError; then the connection is closed."""
    try:
        link.send(request)
        for _ in range(MOST_INFORMATION):
            answer = PlainAnswer(link, await link.head())
            if answer.status >= 200:
                return answer
        raise BadAnswer("it answers 1xx again and again")
    except BaseException:
        link.close()
        raise


@lru_cache(KNOWN_PLACES)
def _asking(url: str, query: tuple[tuple[str, str], ...]) -> tuple[Place, str]:
    """Whom to ask, and the first lines of the request: the same at each reading. Raises ValueError."""
    parts = urlsplit(url)
    place = (parts.hostname or "").replace("%25", "%"), parts.port or 80  # RFC 6874, of a link-local address
    asked = "&".join(filter(None, (quote(parts.query, safe=string.punctuation), urlencode(query))))
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{asked}" if asked else "")
    return place, f"GET {target} HTTP/1.1\r\nHost: {_host(parts)}\r\n"


def request_to(url: str, query: tuple[tuple[str, str], ...], headers: dict[str, str]) -> bytes:
    """A request for a page, as it is sent. Raises ValueError for a host that cannot be one."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return (_asking(url, query)[1] + "".join(lines) + "\r\n").encode("ascii")


def _host(parts: Any) -> str:
    """For the header: in ASCII, without the interface of a link-local address (RFC 6874, 1)."""
    host = (parts.hostname or "").partition("%")[0]
    name = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    return name if parts.port is None else f"{name}:{parts.port}"
