"""Says which address is read where several lead to one site: a copy of its state directory does not win by speed.

The incarnation that the hub already reads is preferred while it answers, whatever else calls itself the same site. Of
addresses that it does not know, the first in the list. What is new to the hub waits until every address was looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from storage.identity import Identity


class Claims:
    """Of one pull. `claimed`: by UUID of a site, the name of the address that is read for it."""

    def __init__(
        self, names: Sequence[str], read_now: Callable[[str], str | None], preferred: Sequence[str] = ()
    ) -> None:
        """`names`: of all addresses, in order. `read_now`: of a UUID, the incarnation that the hub reads.

        `preferred`: names that a person wants to be read instead.
        """
        self.claimed: dict[str, str] = {}
        self._names, self._read_now, self._preferred = tuple(names), read_now, frozenset(preferred)
        self._seen: dict[str, Identity | None] = {}
        self._all = asyncio.Event()

    def looked(self, name: str, found: Identity | None) -> None:
        """An address has answered with this identity; None: it has none, or does not answer."""
        self._seen[name] = found
        if found is not None and not self._preferred and self._read_now(found.site) == found.incarnation:
            self.claimed.setdefault(found.site, name)
        if len(self._seen) == len(self._names):
            self._decide()

    async def settled(self, found: Identity | None) -> None:
        """Until it is decided which address is read for this site."""
        if found is not None and found.site not in self.claimed:
            await self._all.wait()

    def _decide(self) -> None:
        for name in sorted(self._names, key=self._rank):
            found = self._seen[name]
            if found is not None:
                self.claimed.setdefault(found.site, name)
        self._all.set()

    def _rank(self, name: str) -> tuple[bool, bool, int]:
        found = self._seen[name]
        read = found is not None and self._read_now(found.site) == found.incarnation
        return name not in self._preferred, not read, self._names.index(name)
