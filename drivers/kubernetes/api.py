"""Asks an API server for lists, page by page.

Kubernetes API concepts, "Retrieving large results sets in chunks": with `limit`, an answer has at most so many objects
and, where more follow, a `continue` token for the next request. A token expires after some minutes; the server then
answers 410 (ResourceExpired), and a list that is to be consistent is begun again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from dispatch.wording.formatting import one_line
from drivers.http.client import HttpClient
from drivers.http.errors import HttpError
from drivers.http.turns import Turn
from drivers.kubernetes.config import KubernetesServer
from drivers.kubernetes.errors import KubernetesError
from drivers.modbus.errors import DeviceError, Timeout

PAGE_OBJECTS = 50  # a workload or a pod has 5 to 20 kB: half a megabyte, decoded in a millisecond or two
PAGE_BYTES = 16 << 20
MOST_OBJECTS = 50_000  # of one list
RESTARTS = 2  # of a list whose token has expired
LEAST_S = 0.001  # for a page where none is left
PIECE = 10  # objects decoded at once
LONGEST_SHOWN = 200
EXPIRED = 410
RIGHTS = "deploy/kubernetes has the rights that are needed"
NEW_TOKEN = "has it expired? `kubectl create token` makes a new one; the file is read at each request"

Query = tuple[tuple[str, str], ...]
Made = TypeVar("Made")


class _ListMetadata(msgspec.Struct, frozen=True, rename={"continue_": "continue"}):
    continue_: str | None = None


class _Page(msgspec.Struct, frozen=True):
    kind: str
    items: tuple[msgspec.Raw, ...] | None
    metadata: _ListMetadata = _ListMetadata()


class _Status(msgspec.Struct, frozen=True):
    """What the server says with an error."""

    message: str = ""


class Refused(KubernetesError):
    """The server answers, but not with the list. `status`: of HTTP; 0: it was another fault than that."""

    def __init__(self, text: str, status: int) -> None:
        self.status = status
        super().__init__(text)


class Wanted(msgspec.Struct, Generic[Made], frozen=True):
    """What is to be listed. `kind`: of the list, such as NodeList; `query`: selectors.

    `make` makes one object of its JSON; None: it is not wanted. ValueError: it cannot be used, and is left out.
    """

    path: str
    kind: str
    make: Callable[[bytes | msgspec.Raw], Made | None]
    query: Query = ()


class Listing(msgspec.Struct, Generic[Made], frozen=True):
    """What a list has given. `unusable`: what is wrong with objects that were left out."""

    made: list[Made] = []
    unusable: list[str] = []

    def add(self, wanted: Wanted[Made], item: msgspec.Raw) -> None:
        """One object of it."""
        try:
            made = wanted.make(item)
        except (ValueError, RecursionError) as error:
            self.unusable.append(one_line(str(error))[:LONGEST_SHOWN])
            return
        if made is not None:
            self.made.append(made)


class KubernetesApi:
    """One API server, while `async with` lasts; its connections are closed at the end."""

    def __init__(self, server: KubernetesServer, directory: Path, deadline_s: float) -> None:
        """`directory`: that of the site file. `deadline_s`: for all that is asked."""
        self._server, self._access, self._deadline_s = server, server.access(directory), deadline_s
        self._client, self._ends_s = HttpClient(), 0.0
        self.clock_utc_s: float | None = None  # the server's, when it answered last, whole seconds

    async def __aenter__(self) -> KubernetesApi:
        self._client.join()
        self._ends_s = asyncio.get_running_loop().time() + self._deadline_s
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.leave()

    async def list(self, wanted: Wanted[Made], turn: Turn) -> Listing[Made]:
        """Every object that is wanted. `turn` is waited for before each piece of work.

        Raises KubernetesError; Refused where the server answers with an error.
        """
        refusal = None
        for _ in range(RESTARTS + 1):
            try:
                return await self._list(wanted, turn)
            except Refused as error:
                if error.status != EXPIRED:
                    raise
                refusal = error
        raise Refused(f"{refusal}; it was begun anew {RESTARTS} times", EXPIRED)

    async def _list(self, wanted: Wanted[Made], turn: Turn) -> Listing[Made]:
        listing, asked = Listing[Made]([], []), 0
        query: Query = (*wanted.query, ("limit", str(PAGE_OBJECTS)))
        more: Query = ()
        while True:
            page = await self._page(wanted, (*query, *more))
            items = page.items or ()
            for n, item in enumerate(items):
                if n % PIECE == 0:
                    await turn()
                listing.add(wanted, item)
            asked += max(1, len(items))
            if not page.metadata.continue_:
                return listing
            if asked >= MOST_OBJECTS:
                raise KubernetesError(f"{self._where(wanted)}: more than {MOST_OBJECTS} objects are not read")
            more = (("continue", page.metadata.continue_),)

    async def _page(self, wanted: Wanted[Made], query: Query) -> _Page:
        where = self._where(wanted)
        try:
            answer = await self._client.get(
                where,
                self._server.root + wanted.path,
                deadline_s=max(LEAST_S, self._ends_s - asyncio.get_running_loop().time()),
                access=self._access,
                query=query,
                most_bytes=PAGE_BYTES,
            )
        except HttpError as error:
            raise self._refused(where, error) from None
        except Timeout:
            advice = "check the load of the API server and the network, or raise deadline_s"
            raise KubernetesError(f"{where}: no whole list within {self._deadline_s:g} s; {advice}") from None
        except DeviceError as error:
            raise KubernetesError(str(error)) from None
        self.clock_utc_s = answer.served_utc_s
        return page_of(answer.body, wanted.kind, where)

    def _refused(self, where: str, error: HttpError) -> Refused:
        """The error with what the server says of it."""
        if not error.status:
            return Refused(str(error), 0)
        said = message_of(error.body)
        advice = {401: NEW_TOKEN, 403: RIGHTS}.get(error.status, "")
        what = f"refuses token_file = {self._server.token_file!r} (HTTP 401)" if error.status == 401 else error.what
        return Refused("; ".join(part for part in (f"{where}: {what}", said, advice) if part), error.status)

    def _where(self, wanted: Wanted[Made]) -> str:
        return f"{self._server.id} at {self._server.root}{wanted.path}"


def page_of(body: bytes, kind: str, where: str) -> _Page:
    """One page of a list. Raises KubernetesError where it is none of this kind."""
    try:
        page = msgspec.json.decode(body, type=_Page)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = one_line(body[:80].decode(errors="replace"))
        raise KubernetesError(f"{where}: found {shown!r}, expected a {kind}; {error}") from None
    if page.kind != kind:
        found = one_line(page.kind)[:80]
        raise KubernetesError(f"{where}: found a {found!r}, expected a {kind}; is url that of an API server?")
    return page


def message_of(body: bytes) -> str:
    """What the server says in an error's body, of which only the beginning may have come; empty: nothing."""
    try:
        return one_line(msgspec.json.decode(body, type=_Status).message)[:LONGEST_SHOWN]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
