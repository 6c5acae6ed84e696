"""The one HTTP client: bounded in time and bytes, follows no redirect, verifies certificates.

An exporter can hang, drip, send 50 MB or a login page. Each of these is an error of that page alone, and costs a
connection and little more.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import ssl
from functools import cached_property
from typing import Any

from drivers.connect_errors import system_reason
from drivers.http.errors import HttpError, NotTrusted
from drivers.http.page import MOST_BYTES, Access, Answer, Request, utc_s_of
from drivers.http.plain import CHUNK_BYTES, PlainAnswer, PlainPages, together
from drivers.http.secret_file import first_line, hidden
from drivers.http.trust import tls_context
from drivers.http.turns import Turns
from drivers.modbus.errors import ConnectionLost, DeviceError, Timeout
from drivers.shared import Shared

AT_ONCE = 128  # requests under way: half of 1000 nodes that fall silent at once do not keep the others waiting long
AT_ONCE_DOUBTFUL = 16  # to pages that failed before: such a request mostly lasts as long as its deadline
RECEIVE_BYTES = 64 * 1024  # of one connection, held by the kernel: a page of 8 GPUs comes in one piece
KEEP_S = 75.0  # an idle connection: longer than the longest usual period of 60 s
KEPT_SHARE = 0.4  # of a process's descriptors: with fewer pages than that all connections are kept
KEEP_OF_MANY_S = 1.5  # with more pages: only connections to those that are read every second are used again
# what exporters and Prometheus send; a server that names no type is read by what it sends
TYPES = ("text/plain", "application/openmetrics-text", "application/json", "")
PLAIN = Access()  # nothing special
REFUSAL_BYTES = 8192  # of what an error answer says
REASON_MOST = 60  # characters of what a server says beside its status
SHOWN_S = 5.0  # for a server to show its certificate once more
_SECONDS = re.compile(r"[0-9]{1,7}")  # of Retry-After
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "skerry"}


class HttpClient(Shared):
    """Fetches pages. Connections are kept and used again; one client serves a whole site.

    Its users are the pages, and the nodes of each Prometheus.

    Make it before there are ticks: to load aiohttp takes some tenths of a second.
    """

    def __init__(self, turns: Turns | None = None) -> None:
        """`turns`: those of another client, where a site has two: one may not keep the other waiting."""
        import aiohttp  # noqa: F401  here: most sites have no page to fetch

        super().__init__()
        self._session: Any = None  # of aiohttp
        self.turns = turns or Turns()
        self._room, self._room_doubtful = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE_DOUBTFUL)
        self._trust: dict[Access, ssl.SSLContext | Any] = {}

    async def _close(self) -> None:
        self._plain.close()
        del self._plain  # who joins later begins with a new one
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(
        self,
        where: str,
        url: str,
        *,
        deadline_s: float,
        access: Access = PLAIN,
        query: tuple[tuple[str, str], ...] = (),
        most_bytes: int = MOST_BYTES,
        doubtful: bool = False,
    ) -> Answer:
        """The page at `url`, as `send` has it."""
        request = Request(url, query=query)
        return await self.send(
            where, request, deadline_s=deadline_s, access=access, most_bytes=most_bytes, doubtful=doubtful
        )

    async def send(
        self,
        where: str,
        request: Request,
        *,
        deadline_s: float,
        access: Access = PLAIN,
        most_bytes: int = MOST_BYTES,
        doubtful: bool = False,
    ) -> Answer:
        """Ask once. `where`: device and address, for errors. `deadline_s`: for the whole answer.

        `doubtful`: it failed the last time; it must not keep others waiting.

        Raises ConnectionLost, Timeout, NotTrusted; HttpError for a status that is not accepted, a redirect, a page that
        is too long, packed, or of another type.
        """
        if self._closed:
            raise ConnectionLost(where, "closed", "nothing to do: the driver was closed")
        try:
            return await self._answered(where, request, deadline_s, access, most_bytes, doubtful=doubtful)
        except DeviceError as error:
            error.what = hidden(error.what, *request.secrets)
            error.args = tuple(hidden(str(text), *request.secrets) for text in error.args)
            raise

    async def _answered(
        self, where: str, request: Request, deadline_s: float, access: Access, most_bytes: int, *, doubtful: bool
    ) -> Answer:
        """As `send`; errors may have what the server has made of a secret."""
        import aiohttp

        async with self._room_doubtful if doubtful else self._room:
            try:
                async with asyncio.timeout(deadline_s):
                    return await self._ask(where, request, access, most_bytes)
            except TimeoutError:
                advice = "check the load of that machine and the network, or raise its deadline_s"
                raise Timeout(where, f"no whole answer within {deadline_s:g} s", advice) from None
            except aiohttp.ClientConnectorCertificateError as error:
                raise NotTrusted(where, _reason(error) + await self._shown(request.url)) from None
            except (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch) as error:
                raise NotTrusted(where, _reason(error)) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise ConnectionLost(where, _reason(error), "check url, that its server runs, and firewalls") from None

    async def _ask(self, where: str, request: Request, access: Access, most_bytes: int) -> Answer:
        headers = {**HEADERS, **request.headers, **_authorization(where, access)}
        ssl_setting = self._verified_by(where, access) if request.url.startswith("https:") else True
        async with self._response(request, headers, ssl_setting) as response:
            await _check(where, response, request, most_bytes)
            body = await _body(response, most_bytes) if request.body_matters else b""
            if body is None:
                raise HttpError(where, f"sends more than {most_bytes} bytes", "check that this is the page meant")
            served_utc_s = utc_s_of(response.headers.get("Date"))
            return Answer(body, response.content_type, served_utc_s, response.headers)

    async def _shown(self, url: str) -> str:
        """The fingerprint of the certificate that a server shows, for a message. It is asked nothing but that."""
        import aiohttp

        session = self._session or self._opened()
        try:
            async with asyncio.timeout(SHOWN_S), session.get(url, ssl=aiohttp.Fingerprint(bytes(32))):
                return ""
        except aiohttp.ServerFingerprintMismatch as error:  # the request was not sent
            return f"; it has the SHA-256 fingerprint {error.got.hex()}"
        except (aiohttp.ClientError, OSError, ValueError):
            return ""

    def _response(self, request: Request, headers: dict[str, str], ssl_setting: Any) -> Any:
        """The answer, once its head has come. Most pages of a large site come without TLS: these by the cheaper way."""
        if request.url.startswith("http:") and request.method == "GET":
            return self._plain.get(request.url, request.query, headers)
        session = self._session or self._opened()
        return session.request(
            request.method,
            request.url,
            params=request.query,
            headers=headers,
            data=request.body,
            ssl=ssl_setting,
            allow_redirects=False,
        )

    @cached_property
    def _plain(self) -> PlainPages:
        return PlainPages(self._keep_s, _socket)

    @cached_property
    def _keep_s(self) -> float:
        """How long an idle connection is kept; by the number of pages, known when the first is fetched."""
        room = KEPT_SHARE * resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return KEEP_S if self._users <= room else KEEP_OF_MANY_S

    def _opened(self) -> Any:
        import aiohttp

        from drivers.http.names import NameLookups

        keep_s = self._keep_s
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=keep_s, ttl_dns_cache=300, resolver=NameLookups(), socket_factory=_socket
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # `get` has the deadline
            trust_env=False,
        )
        return self._session

    def _verified_by(self, where: str, access: Access) -> Any:
        """What aiohttp is to verify the server's certificate by. Raises NotTrusted: the file of `ca` is not usable."""
        if access not in self._trust:
            import aiohttp

            if access.fingerprint:
                self._trust[access] = aiohttp.Fingerprint(bytes.fromhex(access.fingerprint))
            else:
                self._trust[access] = tls_context(where, access.ca)
        return self._trust[access]


def _socket(address: Any) -> socket.socket:
    """For aiohttp. Without a bound 256 kB come at once, and in chunks of one byte they take a third of a second."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    return made


def _authorization(where: str, access: Access) -> dict[str, str]:
    """The header of a file's first line; read at each request, so that a renewed token is taken. Raises NotTrusted."""
    if access.token is not None:
        key, path, scheme, example = "token_file", access.token, "Bearer ", "with a token"
    elif access.authorization is not None:
        key, path, scheme, example = "authorization_file", access.authorization, "", "such as: Bearer TOKEN"
    else:
        return {}
    advice = f"one line {example}; readable by the gateway's user and by no other"
    line = first_line(where, key, path, advice)
    if not line.isascii():
        raise NotTrusted(where, f"{key} = {path}: its first line is no value of a header", advice)
    return {"Authorization": scheme + line}


async def _check(where: str, response: Any, request: Request, most_bytes: int) -> None:
    """Raises HttpError for an answer whose body is not worth reading."""
    status = response.status
    if 300 <= status < 400:
        target = _target(response.headers.get("Location", "nowhere"), request)
        raise HttpError(where, f"redirects to {target!r}", "redirects are not followed: name the page itself", status)
    if status not in request.accepted:
        raise await _refusal(where, response)
    if not request.body_matters:
        return
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise HttpError(where, f"sends packed content: {response.headers['Content-Encoding'][:40]!r}")
    if response.headers.get("Content-Type") and response.content_type not in (*TYPES, *request.types):
        expected = ", ".join(("plain text", *request.types))
        raise HttpError(where, f"sends {response.content_type[:40]!r}, expected {expected} or JSON")
    if (length := response.content_length) is not None and length > most_bytes:
        advice = "check that this is the page meant"
        raise HttpError(where, f"announces {length} bytes, more than {most_bytes} are not read", advice)


def _target(location: str, request: Request) -> str:
    """Where a redirect leads; of a question with a secret the machine only: a server sends along what it was asked."""
    if not request.secrets:
        return location[:120]
    found = re.match(r"(https?://)[^/?#@]*?([^/?#@]*)([/?#]|$)", location)
    return found[1] + found[2][:100] if found else "another page of it"


async def _body(response: Any, most_bytes: int) -> bytes | None:
    """All of it; None: it is longer than that."""
    if isinstance(response, PlainAnswer):
        return await response.body(most_bytes)
    return await together(response.content.iter_chunked(CHUNK_BYTES), most_bytes)


async def _refusal(where: str, response: Any) -> HttpError:
    status = response.status
    body = b"" if response.content_type != "application/json" else await response.content.read(REFUSAL_BYTES)
    if status in (401, 403):
        advice = "check authorization_file, or what the server allows"
        return HttpError(where, f"refuses access (HTTP {status})", advice, status, body)
    wait_s = _retry_after_s(response)
    return HttpError(where, f"answers HTTP {status} {_words(response.reason)}".rstrip(), "", status, body, wait_s)


def _retry_after_s(response: Any) -> float:
    """How long the server wants to be left alone; 0: it does not say, or nothing that can be read."""
    said = response.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(said):
        return float(said)
    at_s, now_s = utc_s_of(said), utc_s_of(response.headers.get("Date"))
    return max(0.0, at_s - now_s) if at_s is not None and now_s is not None else 0.0


def _words(reason: str | None) -> str:
    """What a server says beside its status, as it may be shown."""
    return "".join(c if c.isprintable() else " " for c in (reason or "")[:REASON_MOST]).strip()


def _reason(error: Exception) -> str:
    """What went wrong in a few words, without the address that `where` has already."""
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if type(error).__name__ == "ServerFingerprintMismatch":
        return f"its certificate has the SHA-256 fingerprint {error.got.hex()}"  # type: ignore[attr-defined]
    text = getattr(inner, "verify_message", "") or system_reason(inner)
    return " ".join(text.split())[:200] or type(error).__name__
