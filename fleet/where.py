"""Asks every site whether, from when and at what cost it could carry a power. Reads only: no site promises anything."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from dispatch.model.job_offer import JobOffer
from fleet.asking import Answer, ask_each
from fleet.site_text import one_line
from fleet.sites import SiteAddress
from fleet.watch import Client
from gateway.api.protocol import Welcome
from gateway.errors import RequestFailed

ANSWER_S = 30.0  # for a site, from link to answer
SKEW_S = 60.0  # a clock that is further away is told
MOST = 1e12  # W, EUR: a figure beyond it is none
LAST_UTC_S = 1e11
OLDER = "a gateway of an earlier release: it cannot be asked"


class SiteOffer(msgspec.Struct, frozen=True):
    """What one site says. `offer` None: nothing, and `trouble` says why."""

    address: SiteAddress
    offer: JobOffer | None = None
    timezone: str = "UTC"
    trouble: str = ""

    @property
    def carries(self) -> bool:
        """Whether it could."""
        return self.offer is not None and self.offer.start_utc_s is not None


async def ask_all(
    sites: Sequence[SiteAddress],
    connect: Callable[[SiteAddress], Awaitable[Any]],
    power_w: float,
    for_s: float,
    within_s: float,
    answer_s: float = ANSWER_S,
) -> list[SiteOffer]:
    """Every site's answer: those that could carry it first, by start and cost. One that hangs delays no other."""

    async def offer(client: Client) -> JobOffer:
        try:
            return await ask_offer(client, power_w, for_s, within_s)
        except RequestFailed as error:
            raise RequestFailed(OLDER) if "unknown method" in str(error) else error from None

    return sorted(map(_offer, await ask_each(sites, connect, offer, answer_s)), key=_order)


def _offer(answer: Answer[JobOffer]) -> SiteOffer:
    offer, welcome = answer.said, answer.welcome
    if offer is None or welcome is None:
        return SiteOffer(answer.address, trouble=answer.trouble)
    return SiteOffer(answer.address, offer, one_line(welcome.timezone), _skew(welcome, offer))


async def ask_offer(client: Client, power_w: float, for_s: float, within_s: float) -> JobOffer:
    """What a site says. Raises RequestFailed, LinkLost, and msgspec.ValidationError for an answer that is none."""
    answer = await client.request("fleet.where", power_w=power_w, for_s=for_s, within_s=within_s)
    found = msgspec.convert(answer, JobOffer)
    figures = (found.level_w, found.rise_w, found.rise_eur, found.energy_eur, found.within_s)
    times = (found.utc_s, found.start_utc_s)
    if not all(v is None or (math.isfinite(v) and abs(v) <= MOST) for v in figures):
        raise msgspec.ValidationError("a figure that no site can have")
    if not all(t is None or 0 <= t <= LAST_UTC_S for t in times):
        raise msgspec.ValidationError("a time that is none")
    return found


def _skew(welcome: Welcome, offer: JobOffer) -> str:
    """What is odd about the site's clock; its start is by that clock."""
    ahead_s = offer.utc_s - time.time()
    if welcome.simulated or abs(ahead_s) <= SKEW_S:
        return ""
    return f"its clock is {abs(ahead_s) / 60:.0f} min {'ahead' if ahead_s > 0 else 'behind'}"


def _order(found: SiteOffer) -> tuple[bool, bool, float, float, str]:
    """Those that carry it first, by start in quarter hours from now, then cost; then those that answer."""
    offer = found.offer
    if offer is None or offer.start_utc_s is None:
        return True, offer is None, 0.0, 0.0, found.address.name
    wait_s = max(0.0, offer.start_utc_s - offer.utc_s)
    cost = math.inf if offer.cost_eur is None else offer.cost_eur
    return False, False, wait_s // 900, cost, found.address.name
