"""Power caps on their way to compute nodes: latest wins, tried again until the node holds it, outside the tick."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

RETRY_S = 1.0


class NodeCaps:
    """Brings each node's cap to what was submitted last. A node never mentioned is left as it is."""

    def __init__(
        self, drivers: Mapping[str, Any], device_error: type[Exception], on_result: Callable[[str, str], None]
    ) -> None:
        self._drivers, self._device_error, self._on_result = drivers, device_error, on_result
        self._wanted: dict[str, float | None] = {}
        self._held: dict[str, float | None] = {}
        self._errors: dict[str, str] = {}
        self._news = asyncio.Event()

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that take a cap."""
        return frozenset(self._drivers)

    def submit(self, caps: Mapping[str, float]) -> None:
        """These caps hold now, W; a node capped before and not named here is freed. Never waits."""
        wanted: dict[str, float | None] = {**dict.fromkeys(self._wanted), **caps}
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    def free(self, node: str) -> None:
        """Lift whatever cap a node was left with by a gateway before this one."""
        if node in self._drivers and node not in self._wanted:
            self._wanted[node] = None
            self._news.set()

    async def run(self) -> None:
        """Carry caps until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), RETRY_S if self._errors else None)
            self._news.clear()
            await self._deliver()

    async def lift(self) -> None:
        """Free every node that was capped, once; for the end."""
        self._wanted = dict.fromkeys(self._wanted)
        await self._deliver()

    async def _deliver(self) -> None:
        for node, w in list(self._wanted.items()):
            if node in self._held and self._held[node] == w:
                continue
            try:
                await self._drivers[node].cap(w)
            except self._device_error as error:
                self._report(node, str(error))
                continue
            self._held[node] = w
            self._report(node, "")

    def _report(self, node: str, error: str) -> None:
        if error != self._errors.get(node, ""):
            self._on_result(node, error)
        if error:
            self._errors[node] = error
        else:
            self._errors.pop(node, None)
