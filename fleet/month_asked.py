"""Asks sites for what is not in the roll-ups of a month: Energy IQ, saving, outages, drills. Reads only."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from dispatch.alarms.episodes import AlarmEpisode
from fleet.asking import Answer, ask_each
from fleet.site_text import one_line
from fleet.sites import SiteAddress
from fleet.watch import Client, ask_overview
from gateway.api.protocol import DrillPlan
from gateway.errors import RequestFailed

ANSWER_S = 60.0  # for all answers of a site
OUTAGE = "grid-outage"
MOST_EPISODES = 500  # in one answer of a site
MOST = 1e12


class AskedMonth(msgspec.Struct, frozen=True, kw_only=True):
    """What one site says of a month. None: it did not say, or there is none."""

    name: str  # in the fleet
    site: str = ""  # UUID
    iq_pct: float | None = None  # up to the last day that is over
    iq_known_h: float | None = None
    saved_eur: float | None = None  # by the battery; negative: it cost more
    outages: int | None = None
    outage_h: float | None = None  # of those whose end is known
    outages_at_least: bool = False  # more alarms came than are told at a time
    drill_overdue_d: float | None = None  # now; 0: none is due; None: no schedule
    trouble: str = ""


class _Cost(msgspec.Struct, frozen=True):
    energy_eur: float
    peak_eur: float
    wear_eur: float

    @property
    def total_eur(self) -> float:
        """As `dispatch.evaluation.energy_iq.Cost`."""
        return self.energy_eur + self.peak_eur + self.wear_eur


class _MonthIq(msgspec.Struct, frozen=True):
    known_h: float
    iq_pct: float | None = None
    none: _Cost | None = None
    own: _Cost | None = None


class _Iq(msgspec.Struct, frozen=True):
    """The answer to `iq`, as far as it is used."""

    month: _MonthIq


class _Drills(msgspec.Struct, frozen=True):
    plan: DrillPlan | None = None


async def ask_months(
    sites: Sequence[SiteAddress],
    connect: Callable[[SiteAddress], Awaitable[Any]],
    year: int,
    month: int,
    answer_s: float = ANSWER_S,
) -> list[AskedMonth]:
    """What every site says, in the order given. One that hangs delays no other."""

    async def month_of(client: Client) -> AskedMonth:
        return await ask_month(client, AskedMonth(name=""), year, month)

    return [_named(answer) for answer in await ask_each(sites, connect, month_of, answer_s)]


def _named(answer: Answer[AskedMonth]) -> AskedMonth:
    identity = None if answer.welcome is None else answer.welcome.identity
    found = AskedMonth(name="", trouble=answer.trouble) if answer.said is None else answer.said
    return msgspec.structs.replace(found, name=answer.address.name, site="" if identity is None else identity.site)


async def ask_month(client: Client, found: AskedMonth, year: int, month: int) -> AskedMonth:
    """The same with what the site says. Why it has no Energy IQ is its trouble; the rest is known all the same.

    Raises RequestFailed, LinkLost, and msgspec.ValidationError for an answer that is none.
    """
    now, _ = await ask_overview(client)
    begin_s, end_s, last = _span(now.timezone, year, month, now.utc_s)
    if begin_s > now.utc_s:
        return msgspec.structs.replace(found, trouble="the month has not begun there")
    drills = msgspec.convert(await client.request("drill.status"), _Drills)
    answer = await client.request("alarm.history", since_utc_s=begin_s, until_utc_s=end_s, limit=MOST_EPISODES)
    found = _with_outages(found, msgspec.convert(answer, list[AlarmEpisode]), begin_s, end_s)
    found = _sound(msgspec.structs.replace(found, drill_overdue_d=_overdue_d(drills.plan, now.utc_s)))
    if last is None:
        return found
    try:
        iq = msgspec.convert(await client.request("iq", day=last.isoformat()), _Iq).month
    except RequestFailed as error:
        return msgspec.structs.replace(found, trouble=one_line(str(error)))
    saved_eur = None if iq.none is None or iq.own is None else iq.none.total_eur - iq.own.total_eur
    return _sound(msgspec.structs.replace(found, iq_pct=iq.iq_pct, iq_known_h=iq.known_h, saved_eur=saved_eur))


def _sound(found: AskedMonth) -> AskedMonth:
    """The same. Raises msgspec.ValidationError for a figure that no site can have."""
    figures = (found.iq_pct, found.iq_known_h, found.saved_eur, found.outage_h, found.drill_overdue_d)
    if not all(v is None or (math.isfinite(v) and abs(v) <= MOST) for v in figures):
        raise msgspec.ValidationError("a figure that no site can have")
    return found


def _span(timezone: str, year: int, month: int, now_utc_s: float) -> tuple[float, float, date | None]:
    """Begin and end of a month by the site's calendar, UTC s, and its last day that is over; None: none is."""
    try:
        zone: Any = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = UTC
    first, following = date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
    begin_s, end_s = (datetime(d.year, d.month, d.day, tzinfo=zone).timestamp() for d in (first, following))
    today = datetime.fromtimestamp(now_utc_s, zone).date()
    last = min(following, today) - timedelta(days=1)
    return begin_s, min(end_s, now_utc_s), last if last >= first else None


def _with_outages(found: AskedMonth, episodes: Sequence[AlarmEpisode], begin_s: float, end_s: float) -> AskedMonth:
    outages = [e for e in episodes if e.id == OUTAGE]
    known_s = sum(
        max(0.0, min(e.gone_utc_s, end_s) - max(e.came_utc_s, begin_s)) for e in outages if e.gone_utc_s is not None
    )
    return msgspec.structs.replace(
        found, outages=len(outages), outage_h=known_s / 3600, outages_at_least=len(episodes) >= MOST_EPISODES
    )


def _overdue_d(plan: DrillPlan | None, now_utc_s: float) -> float | None:
    if plan is None:
        return None
    return 0.0 if plan.due_utc_s is None else max(0.0, now_utc_s - plan.due_utc_s) / 86_400
