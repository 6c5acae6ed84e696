"""One page that is fetched again and again: waits longer after each failure, and says why until then."""

from __future__ import annotations

import asyncio

from drivers.back_off import BackOff
from drivers.http.client import HttpClient
from drivers.http.page import MOST_BYTES, Access, Answer
from drivers.modbus.errors import ConnectionLost, DeviceError

DEADLINE_S = 3.0  # dcgm-exporter answers from memory, node_exporter in some 50 ms; a loaded machine takes longer
FIRST_PAUSE_S, MOST_PAUSE_S = 2.0, 60.0


class Fetcher:
    """A page and how it went. After a failure nothing is asked for 2, 4, ... 60 s: a machine that hangs is spared."""

    def __init__(self, client: HttpClient, device: str, url: str, access: Access, deadline_s: float) -> None:
        self.url, self.client, self._where = url, client, f"{device} at {url}"
        self._access, self._deadline_s = access, deadline_s
        self._back_off, self._advice = BackOff(MOST_PAUSE_S, least_s=FIRST_PAUSE_S), ""

    @property
    def where(self) -> str:
        """Device and address, for errors."""
        return self._where

    async def get(self, query: tuple[tuple[str, str], ...] = (), most_bytes: int = MOST_BYTES) -> Answer:
        """The page now. Raises DeviceError."""
        if (wait_s := self._back_off.wait_s(asyncio.get_running_loop().time())) > 0:
            raise ConnectionLost(self._where, f"{self._back_off.why}; next try in {wait_s:.0f} s", self._advice)
        try:
            answer = await self.client.get(
                self._where,
                self.url,
                deadline_s=self._deadline_s,
                access=self._access,
                query=query,
                most_bytes=most_bytes,
                doubtful=self._back_off.failing,
            )
        except DeviceError as error:
            self.failed(error)
            raise
        self._back_off.answered()
        return answer

    def failed(self, error: DeviceError) -> None:
        """Its answer was not usable: leave it alone for a while, and say why until then."""
        self._advice = error.advice
        self._back_off.failed(error.what, asyncio.get_running_loop().time())

    def forgive(self) -> None:
        """The last failure was a question that can be put otherwise: ask again at once."""
        self._back_off.end()
