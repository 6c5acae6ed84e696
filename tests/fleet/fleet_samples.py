"""Overviews of sites, and links that answer as a test says, without a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dispatch.model.readings import reading
from fleet.sites import SiteAddress
from gateway.api.protocol import VERSION, Welcome
from gateway.api.site_overview import KindOfAlarm, SiteOverview
from gateway.errors import LinkLost
from storage.identity import Identity

NOW_S = 1_758_005_700.0
LOST = KindOfAlarm("device-lost", "medium", 1, 1, NOW_S - 60)
OUTAGE = KindOfAlarm("grid-outage", "high", 1, 1, NOW_S - 30)

Answer = Callable[[str, dict[str, Any]], Any]


def identity(number: int) -> Identity:
    """Of site `number`."""
    return Identity(f"00000000-0000-0000-0000-{number:012d}", f"00000000-0000-0000-0001-{number:012d}", "", kept=True)


def site(number: int = 0, **changes: Any) -> SiteOverview:
    """The overview of a site with nothing wrong."""
    figures = SiteOverview(
        utc_s=NOW_S,
        site=f"Site {number}",
        timezone="UTC",
        island="grid-tied",
        mode="plan",
        identity=identity(number),
        import_w=reading(10_000.0 + number),
        peak_w=55_200.0,
        contracted_w=60_000.0,
        soc_pct=reading(50.0),
        energy_kwh=100.0,
        pv_w=2_000.0,
        load_w=12_000.0,
        price_eur_per_kwh=0.084,
        iq_today_pct=91.0,
        cost_today_eur=20.0,
        jobs_running=3,
    )
    return msgspec.structs.replace(figures, **changes)


class FakeClient:
    """A console's end of a link."""

    def __init__(self, name: str, answer: Answer, version: int = VERSION) -> None:
        self.welcome = Welcome(version, name, "UTC", "root", 1, NOW_S, 1.0, False, 5.0)
        self.asked = 0
        self._answer = answer

    async def request(self, method: str, **params: Any) -> Any:
        self.asked += 1
        found = self._answer(method, params)
        if found is None:  # it hangs
            await asyncio.Event().wait()
        if isinstance(found, Exception):
            raise found
        return found


class FakeLink:
    """A link. `said`: what ssh wrote."""

    def __init__(self, client: Any, said: str = "") -> None:
        self.client, self.said = client, said
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def connecting(answers: dict[str, Answer | Exception | None]) -> Callable[..., Any]:
    """Opens links by the names of sites; None hangs, an exception is raised."""

    async def connect(address: SiteAddress, ssh: Sequence[str]) -> FakeLink:
        answer = answers[address.name]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return FakeLink(FakeClient(address.name, answer))

    return connect


def answering(found: SiteOverview) -> Answer:
    """Always with this overview."""
    return lambda method, params: msgspec.to_builtins(found)


REFUSED = LinkLost("Host key verification failed.")
