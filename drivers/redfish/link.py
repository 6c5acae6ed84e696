"""One BMC: one request at a time, one session that is used again and ended in order, a long rest after failures.

DMTF DSP0266, "Session management": POST to the collection of sessions gives the header X-Auth-Token and the session's
path; DELETE of that path ends it. The role ReadOnly may do both for its own sessions (its privilege ConfigureSelf).
BMCs have few sessions: an iDRAC has 8, and answers 503 when all are taken (RAC0218; stmcginnis/gofish#75).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from drivers.back_off import BackOff
from drivers.http.client import HttpClient
from drivers.http.errors import HttpError, NotTrusted
from drivers.http.page import Access, Answer, Request
from drivers.http.secret_file import first_line
from drivers.modbus.errors import ConnectionLost, DeviceError
from drivers.redfish.config import Account, pinned
from drivers.redfish.documents import ROOT, Document, document, etag_of, link, path_of, said
from drivers.redfish.pace import Pace
from drivers.shared import Shared

log = logging.getLogger("skerry.drivers.redfish")
Found = TypeVar("Found")

MOST_BYTES = 2**20  # of one answer; Power of a server with eight supplies has 40 kB
FIRST_PAUSE_S, MOST_PAUSE_S = 60.0, 600.0
REFUSED_S = 900.0  # after a refused password: BMCs lock an account for some minutes after three to ten
LOGOUT_S, LOGIN_S = 1.2, 0.5  # at the end, for the logout and for a login under way
SESSIONS = "/redfish/v1/SessionService/Sessions"
TOKEN = "X-Auth-Token"
NO_SESSIONS = (404, 405, 501)
LACKS = (404, 410)  # only that resource is missing, the BMC answers
REFUSES = (400, 403, 404, 405, 409, 410, 412, 428, 501)  # the BMC answers, but does not do what was ordered
CHANGED = (200, 202, 204)  # DSP0266, "PATCH (update)"
HEADERS = {"Accept": "application/json", "OData-Version": "4.0"}  # DSP0266, "Request headers"
ADVICE = {
    401: "check user and password_file of its [[bmc]], and that the account may use Redfish",
    403: "give the account the role ReadOnly; look whether its password has to be changed first",
    503: "wait if its firmware is being updated; else end old sessions of the account in the BMC",
}


class Refused(HttpError):
    """The BMC refuses the account."""

    advice = ADVICE[401]


class BmcSession(msgspec.Struct, frozen=True, array_like=True):
    """A session with the BMC at an address. Its token is as good as a password; empty: the session has ended."""

    url: str
    path: str = ""
    token: str = ""


class BmcLink(Shared):
    """The conversation with one BMC. Its users are the nodes behind it, mostly one."""

    def __init__(
        self,
        client: HttpClient,
        pace: Pace,
        url: str,
        account: Account,
        left: BmcSession | None = None,
        on_session: Callable[[BmcSession], None] = lambda session: None,
    ) -> None:
        """`left`: an open session, used in place of a login. `on_session` is called when one begins or ends."""
        super().__init__()
        self._left, self._on_session = left, on_session
        self.url, self._account, self._client, self._pace = url.rstrip("/"), account, client, pace
        self.where = f"BMC at {self.url}"
        self.connections = 0  # how often it was connected anew: what was found before may not hold any more
        self._root: Document = {}
        self._turn, self._orders = asyncio.Lock(), 0  # how many orders wait for their turn
        self._back_off, self._advice = BackOff(MOST_PAUSE_S, least_s=FIRST_PAUSE_S), ""
        self._access = Access()
        self._credentials: dict[str, str] = {}  # headers; empty: not logged in
        self._session = ""  # its path
        self._login: asyncio.Task[None] | None = None
        self._password = ""  # with which it was logged in last
        self._refused, self._refused_until_s = "", 0.0  # which password, and until when it is not tried again
        client.join()

    @property
    def users(self) -> int:
        """How many nodes share it."""
        return max(self._users, 1)

    @property
    def client(self) -> HttpClient:
        """By which it is asked."""
        return self._client

    async def get(self, path: str) -> Document:
        """A resource, when it is its turn. Raises DeviceError; HttpError with its status where there is none."""
        return await self._in_turn(lambda: self._resource(path))

    async def service_root(self) -> Document:
        """The service root of the BMC, which is logged in to if need be. Raises DeviceError."""
        return await self._in_turn(self._connected)

    async def look(self, path: str, order: bool = True) -> tuple[Document, str]:
        """A resource and its ETag, empty: it has none. `order`: before requests that only read. Raises as `get`."""
        return await self._in_turn(lambda: self._tagged(path, order), order)

    async def change(self, path: str, body: object, etag: str) -> None:
        """Change properties of a resource, before requests that only read; `etag`: only if it is still this one.

        Raises DeviceError; HttpError with its status where the BMC refuses.
        """
        headers = {"Content-Type": "application/json"} | ({"If-Match": etag} if etag else {})
        request = Request(path, "PATCH", headers=headers, body=msgspec.json.encode(body), accepted=CHANGED)
        await self._in_turn(lambda: self._answer(request, first=True), order=True, harmless=REFUSES)

    async def _in_turn(
        self, ask: Callable[[], Awaitable[Found]], order: bool = False, harmless: tuple[int, ...] = LACKS
    ) -> Found:
        await self._take_turn(order)
        try:
            now_s = asyncio.get_running_loop().time()
            if (wait_s := self._back_off.wait_s(now_s)) > 0:
                raise ConnectionLost(self.where, f"{self._back_off.why}; next try in {wait_s:.0f} s", self._advice)
            found = await self._counted(ask, harmless)
        finally:
            self._turn.release()
        self._back_off.answered()
        return found

    async def _counted(self, ask: Callable[[], Awaitable[Found]], harmless: tuple[int, ...]) -> Found:
        """Ask; after a failure that is not `harmless` the BMC is left alone for a while."""
        try:
            return await ask()
        except HttpError as error:
            if error.status not in harmless:
                self._failed(error)
            raise
        except DeviceError as error:
            self._failed(error)
            raise

    async def _take_turn(self, order: bool) -> None:
        """Wait for it: orders go first, as they came, then requests that only read."""
        self._orders += order
        try:
            await self._turn.acquire()
        finally:
            self._orders -= order
        while self._orders and not order:
            self._turn.release()
            await self._turn.acquire()  # behind whoever waits

    async def _connected(self) -> Document:
        if not self._credentials:
            await self._logged_in()
        return self._root

    async def _resource(self, path: str) -> Document:
        return self._document(path, await self._answer(Request(path)))

    async def _tagged(self, path: str, first: bool) -> tuple[Document, str]:
        answer = await self._answer(Request(path), first)
        found = self._document(path, answer)
        return found, etag_of(found, answer.headers.get("ETag", ""))

    def _document(self, path: str, answer: Answer) -> Document:
        return document(f"{self.where}{path}", answer.body)

    async def _answer(self, request: Request, first: bool = False) -> Answer:
        if not self._credentials:
            await self._logged_in()
        try:
            return await self._heard(request, first)
        except HttpError as error:
            if error.status != 401:
                raise
            if TOKEN not in self._credentials:
                raise self._refusal(error) from None
        await self._end_session()  # mostly it has lapsed; where it has not, it is not left behind
        await self._logged_in()
        return await self._heard(request, first)

    async def _heard(self, request: Request, first: bool) -> Answer:
        headers = {**request.headers, **self._credentials}
        answer = await self._send(msgspec.structs.replace(request, headers=headers), first)
        await self._client.turns.turn()
        return answer

    async def _logged_in(self) -> None:
        """Log in. Whoever waits for it may be cancelled, the login is not: its session would be left behind."""
        self._login = asyncio.get_running_loop().create_task(self._log_in(), name=f"log in to the {self.where}")
        await asyncio.shield(self._login)

    async def _log_in(self) -> None:
        """Raises DeviceError; Refused, also at once for a password that was refused a short while ago."""
        account, now_s = self._account, asyncio.get_running_loop().time()
        advice = "one line with the account's password; readable by the gateway's user and by no other"
        password = first_line(self.where, "password_file", account.password, advice)
        if password == self._refused and now_s < self._refused_until_s:
            what = f"has refused user {account.user}; tried again in {self._refused_until_s - now_s:.0f} s"
            raise Refused(self.where, what, status=401)
        self._password = password
        self._access = Access(ca=account.ca, fingerprint=pinned(self.where, account, self.url))
        self._root = await self._service_root()
        self.connections += 1
        if self._left is not None:  # where it has lapsed the first request is refused, and a login follows
            self._credentials, self._session = {TOKEN: self._left.token}, self._left.path
            self._left = None
            return
        if account.basic or not await self._new_session(password):
            text = str(base64.b64encode(f"{account.user}:{password}".encode()), "ascii")
            self._credentials = {"Authorization": f"Basic {text}"}

    async def _service_root(self) -> Document:
        """The service root, which needs no login (DSP0266, "Service root request")."""
        try:
            answer = await self._send(Request(ROOT))
        except HttpError as error:
            if error.status == 401:
                return {}
            raise
        return document(self.where, answer.body)

    async def _new_session(self, password: str) -> bool:
        """Whether the BMC has sessions. Raises DeviceError."""
        body = msgspec.json.encode({"UserName": self._account.user, "Password": password})
        headers = {"Content-Type": "application/json"}
        path = link(self._root, "Links", "Sessions") or SESSIONS
        try:
            answer = await self._send(Request(path, "POST", headers=headers, body=body, accepted=(200, 201)))
        except HttpError as error:
            if error.status in NO_SESSIONS:
                return False
            raise self._refusal(error) if error.status in (400, 401, 403) else error from None
        token = answer.headers.get(TOKEN, "")
        if not token or not token.isascii() or not token.isprintable():
            raise HttpError(
                self.where, "its answer to a login has no X-Auth-Token", 'set login = "basic" in its [[bmc]]'
            )
        self._credentials, self._refused = {TOKEN: token}, ""
        self._session = _path_in(answer.headers.get("Location", ""))
        if not self._session:
            with contextlib.suppress(HttpError):  # logged in all the same
                self._session = link(document(self.where, answer.body or b"{}"))
        self._on_session(BmcSession(self.url, self._session, token))
        return True

    def _refusal(self, error: HttpError) -> Refused:
        """The account was refused: the same password is not tried again soon."""
        self._credentials, self._refused = {}, self._password
        self._refused_until_s = asyncio.get_running_loop().time() + REFUSED_S
        what = f"refuses user {self._account.user} (HTTP {error.status}){_quoted(error.body)}"
        return Refused(self.where, what, status=error.status)

    async def _send(self, request: Request, first: bool = False) -> Answer:
        """Send to a path of this BMC, `first`: for an order. Raises DeviceError with words for a BMC."""
        await self._pace.turn(first)
        where = f"{self.where}{request.url}"
        request = msgspec.structs.replace(
            request, url=f"{self.url}{request.url}", headers={**HEADERS, **request.headers}
        )
        try:
            return await self._client.send(
                where,
                request,
                deadline_s=self._account.deadline_s,
                access=self._access,
                most_bytes=MOST_BYTES,
                doubtful=self._back_off.failing,
            )
        except HttpError as error:
            what = f"{error.what}{_quoted(error.body)}"
            advice = ADVICE.get(error.status, "open the address with curl from this machine")
            raise HttpError(where, what, advice, error.status, error.body) from None
        except NotTrusted as error:
            shown = "compare it at the BMC, then put it into fingerprints_file or bmc_fingerprint, or set ca"
            raise NotTrusted(self.where, error.what, shown if "fingerprint" in error.what else error.advice) from None
        except ConnectionLost as error:
            advice = "check bmc, that the BMC is reachable from here, and firewalls"
            raise ConnectionLost(self.where, error.what, advice) from None

    def _failed(self, error: DeviceError) -> None:
        self._advice = error.advice
        self._back_off.failed(error.what, asyncio.get_running_loop().time())
        if isinstance(error, ConnectionLost):
            self.connections += 1  # another BMC may answer there next

    async def _close(self) -> None:
        """End the session, so that it does not take a place in the BMC until it lapses."""
        if self._login is not None:
            await asyncio.wait([self._login], timeout=LOGIN_S)
            if self._login.done() and not self._login.cancelled():
                self._login.exception()  # told already to whoever waited for it
        await self._end_session()
        await self._client.leave()

    async def _end_session(self) -> None:
        if self._session:
            url, headers = f"{self.url}{self._session}", {**HEADERS, **self._credentials}
            request = Request(url, "DELETE", headers=headers, accepted=(200, 202, 204))
            try:
                await self._client.send(self.where, request, deadline_s=LOGOUT_S, access=self._access)
            except DeviceError as error:
                log.info("%s: its session was not ended and lapses by itself: %s", self.where, error.what)
            self._on_session(BmcSession(self.url))
        self._session, self._credentials = "", {}


def _path_in(location: str) -> str:
    """The path in a Location header. BMCs put their own name, an address or a port before it."""
    _, scheme, rest = location.partition("://")
    return path_of(f"/{rest.partition('/')[2]}" if scheme else location)


def _quoted(body: bytes) -> str:
    words = said(body) if body else ""
    return f": {words!r}" if words else ""
