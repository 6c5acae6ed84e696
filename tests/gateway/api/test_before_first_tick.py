"""Requests that arrive while the gateway listens already and has not completed a tick."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from small_gateway import Devices, SmallDevice, running

from gateway.api.client import GatewayClient


class _Slow(SmallDevice):
    """A grid meter that answers once it is allowed to."""

    def __init__(self, meter: SmallDevice, allowed: asyncio.Event) -> None:
        super().__init__(meter.id, meter.kind, meter.site, meter._make)
        self._allowed = allowed

    async def read(self) -> Any:
        await self._allowed.wait()
        return await super().read()


class _SlowSite(Devices):
    def __init__(self) -> None:
        super().__init__()
        self.allowed = asyncio.Event()

    def drivers(self) -> list[Any]:
        meter, *others = super().drivers()
        return [_Slow(meter, self.allowed), *others]


async def test_they_wait_for_the_first_tick(place: Path) -> None:
    site, answers = _SlowSite(), dict[str, Any]()
    answered = asyncio.Event()

    async def ask() -> None:
        client = await GatewayClient.connect(place / "s.sock")
        methods = ("status", "why", "drill.status")
        asked = {method: asyncio.create_task(client.request(method)) for method in methods}
        done, _ = await asyncio.wait(asked.values(), timeout=0.2)
        assert not done, "there is nothing to tell yet"
        site.allowed.set()
        for method, task in asked.items():
            answers[method] = await task
        await client.close()
        answered.set()

    async with running(place, place / "s.sock", beside=[ask], devices=site):
        await asyncio.wait_for(answered.wait(), 10)
    assert answers["status"]["snapshot"]["grid"]["w"][0] == 20_000.0
    assert answers["why"]["chain"]
    assert answers["drill.status"]["state"] == "grid-tied"
