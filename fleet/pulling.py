"""Pulls the sites of a fleet: links are opened, it is decided which address is read for a site; then it is read.

One that hangs takes a turn until its time is over; one that always has more would let no pull end.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from fleet.claims import Claims
from fleet.pull import Pace, Pulled, SitePull
from fleet.site_text import one_line
from fleet.store import Store
from gateway.errors import LinkLost, RequestFailed

AT_ONCE = 8  # sites
MOST_S = 3600.0  # for one site in one pull


class FleetPull:
    """One pull of the sites with these names."""

    def __init__(
        self,
        names: Sequence[str],
        store: Store,
        pace: Pace,
        *,
        current: Sequence[str] = (),
        hub: str = "",
        most_s: float = MOST_S,
    ) -> None:
        """`current`: sites that are read although others call themselves the same. `hub`: for holds at the sites."""
        self._store, self._pace, self._current = store, pace, frozenset(current)
        self._hub, self._most_s = hub, most_s
        self._opening, self._turn = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._claims = Claims(names, self._read_now, current)

    async def pull(self, name: str, open_client: Callable[[], Awaitable[Any]]) -> Pulled:
        """One site, from link to end. To be called of every name at a time.

        A link that cannot be had or breaks is trouble of this site. Raises sqlite3.Error.
        """
        link, result = None, Pulled(name)
        try:
            link = await self._opened(name, open_client)
            await self._claims.settled(link.client.welcome.identity)
            async with self._turn, asyncio.timeout(self._most_s):
                pull = SitePull(name, link.client, self._store, self._pace, hub=self._hub)
                result = pull.result
                return await pull.run(self._claims.claimed, name in self._current)
        except TimeoutError:
            result.kind, result.trouble = "time", f"not all within {self._most_s:g} s; the next pull goes on from here"
        except (LinkLost, RequestFailed, OSError) as error:
            result.kind, result.trouble = "link", one_line(str(error))
        finally:
            if link is not None:
                await link.close()
        return result

    async def _opened(self, name: str, open_client: Callable[[], Awaitable[Any]]) -> Any:
        found = None
        try:
            async with self._opening:
                link = await open_client()
            found = link.client.welcome.identity
            return link
        finally:
            self._claims.looked(name, found)

    def _read_now(self, uuid: str) -> str | None:
        known = self._store.site(uuid)
        return None if known is None else known.current


def hub_name(directory: Path) -> str:
    """By which name sites keep blocks for a hub: its machine, and what tells its directory from others there."""
    where = hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:8]
    return f"{platform.node()[:40]} {where}"
