"""Follows the state of every site: each has a task, a link and a pause of its own, so none waits for another.

What was known of a site that is silent is kept, with its age. Where a link fails, the next try comes after a pause that
doubles up to a minute, spread by the site's name: a fleet does not knock at the same moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from drivers.back_off import BackOff, spread
from fleet.site_text import one_line
from fleet.sites import SiteAddress
from fleet.transport import open_link
from gateway.api.protocol import VERSION, Published, Welcome
from gateway.api.site_overview import KindOfAlarm, SiteOverview, overview
from gateway.errors import LinkLost, RequestFailed

PERIOD_S = 5.0  # between two questions to a site
LEAST_PAUSE_S, MOST_PAUSE_S = 1.0, 60.0
SPREAD = 0.3  # of a pause is added, by the site's name and the number of the try
SKEW_S = 60.0  # a clock that is further away is told
MOST = 1e12  # W, kWh, EUR, jobs: a figure beyond it is none
LAST_UTC_S = 1e11  # a time beyond it is none
MOST_KINDS, MOST_ALARMS = 100, 100_000  # of alarms of one site, of one kind


class Link(Protocol):
    """A link to one site, as `fleet.transport` makes it."""

    @property
    def client(self) -> Client:
        """Who asks."""
        ...

    @property
    def said(self) -> str:
        """The last error line of what carries it."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Client(Protocol):
    """What is used of a console's end of the link."""

    @property
    def welcome(self) -> Welcome:
        """Who is on the other end."""
        ...

    async def request(self, method: str, **params: Any) -> Any:
        """Raises RequestFailed, LinkLost."""
        ...


class SiteState(msgspec.Struct, frozen=True):
    """What is known of one site. `overview` is the last one, however old."""

    address: SiteAddress
    overview: SiteOverview | None = None
    received_s: float | None = None  # by this machine's monotonic clock; None: never
    linked: bool = False  # it has answered the last question
    trouble: str = ""  # why it does not answer, or what is odd about it
    tries: int = 0  # that failed in a row
    ahead_s: float | None = None  # of its clock, by this machine's; None: simulated, or not known

    def age_s(self, now_s: float) -> float | None:
        """Since its last answer."""
        return None if self.received_s is None else now_s - self.received_s


class Followed(Protocol):
    """What a screen needs of whatever follows the sites."""

    monotonic: Callable[[], float]
    trouble: str  # why nothing is heard of any site; empty: each has its own

    @property
    def states(self) -> tuple[SiteState, ...]:
        """Of every site."""
        ...

    def start(self) -> None:
        """Begin to follow the sites."""
        ...

    async def stop(self) -> None:
        """Hang up everywhere."""
        ...

    async def all_looked(self, timeout_s: float) -> None:
        """Until it is known of each site whether it answers, or the time is over."""
        ...


class Watch:
    """The states of all sites, in the order given."""

    trouble = ""

    def __init__(
        self,
        sites: Sequence[SiteAddress],
        ssh: Sequence[str] = ("ssh",),
        *,
        connect: Callable[[SiteAddress, Sequence[str]], Awaitable[Link]] = open_link,
        period_s: float = PERIOD_S,
        monotonic: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self.monotonic = monotonic
        self._ssh, self._connect, self._period_s, self._utc = tuple(ssh), connect, period_s, utc
        self._states = {site.name: SiteState(site) for site in sites}
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._looked = {site.name: asyncio.Event() for site in sites}

    @property
    def states(self) -> tuple[SiteState, ...]:
        """Of every site."""
        return tuple(self._states.values())

    def start(self) -> None:
        """Begin to follow the sites."""
        self._tasks = [asyncio.create_task(self._follow(state.address)) for state in self.states]

    async def stop(self) -> None:
        """Hang up everywhere."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def all_looked(self, timeout_s: float) -> None:
        """Until each site has answered or failed once, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                for event in self._looked.values():
                    await event.wait()
        except TimeoutError:
            return

    async def change(self) -> None:
        """Until something of a site has changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    async def _follow(self, address: SiteAddress) -> None:
        pauses = BackOff(MOST_PAUSE_S, least_s=LEAST_PAUSE_S)
        while True:
            try:
                await self._ask_while_it_answers(address, pauses)
            except (LinkLost, RequestFailed, OSError, msgspec.ValidationError) as error:
                now_s = self.monotonic()
                pauses.failed(str(error), now_s)
                tries = self._states[address.name].tries + 1
                self._note(address, linked=False, trouble=one_line(str(error)), tries=tries)
                pause_s = max(0.0, pauses.wait_s(now_s))
                await asyncio.sleep(pause_s * (1 + SPREAD * spread(address.name, tries)))

    async def _ask_while_it_answers(self, address: SiteAddress, pauses: BackOff) -> None:
        """Connect and ask again and again. Raises LinkLost, RequestFailed, OSError, msgspec.ValidationError."""
        link = await self._connect(address, self._ssh)
        try:
            while True:
                found, remark = await ask_overview(link.client)
                pauses.answered()
                self._take(address, found, remark)
                await asyncio.sleep(self._period_s)
        except LinkLost as error:
            raise LinkLost(f"{address.name}: {link.said}" if link.said else str(error)) from None
        finally:
            await link.close()

    def _take(self, address: SiteAddress, found: SiteOverview, remark: str) -> None:
        ahead_s = None if found.simulated else found.utc_s - self._utc()
        remark = clock_remark(ahead_s) or remark
        self._note(
            address,
            overview=found,
            received_s=self.monotonic(),
            linked=True,
            trouble=remark,
            tries=0,
            ahead_s=ahead_s,
        )

    def _note(self, address: SiteAddress, **changes: Any) -> None:
        self._states[address.name] = msgspec.structs.replace(self._states[address.name], **changes)
        self._looked[address.name].set()
        self._changed.set()


async def ask_overview(client: Client) -> tuple[SiteOverview, str]:
    """The overview of a site, and a remark on a gateway that cannot give all of it.

    Raises RequestFailed, LinkLost, and msgspec.ValidationError for an answer that is none.
    """
    try:
        return sound(msgspec.convert(await client.request("fleet.now"), SiteOverview)), ""
    except RequestFailed as error:
        if "unknown method" not in str(error):
            raise
    published = msgspec.convert(await client.request("status"), Published)
    version = client.welcome.version
    older = "" if version == VERSION else f", link version {version}"
    return sound(overview(published, client.welcome)), f"an earlier release{older}: its history cannot be pulled"


def sound(found: SiteOverview) -> SiteOverview:
    """The same with texts of one line and without figures that are none: one site spoils neither screen nor sums.

    Raises msgspec.ValidationError for a time that is none, and for more alarms than any site has.
    """
    if not 0 <= found.utc_s <= LAST_UTC_S:
        raise msgspec.ValidationError("utc_s: expected UTC seconds")
    if len(found.alarms) > MOST_KINDS or any(max(a.active, a.waiting) > MOST_ALARMS for a in found.alarms):
        raise msgspec.ValidationError(f"alarms: expected {MOST_KINDS} kinds, {MOST_ALARMS} of each, at most")
    wrong: dict[str, Any] = {name: None for name in found.__struct_fields__ if _is_no_figure(getattr(found, name))}
    for name in ("import_w", "soc_pct"):
        reading = getattr(found, name)
        if _is_no_figure(reading.value) or _is_no_figure(reading.age_s):
            wrong[name] = msgspec.structs.replace(reading, value=None, age_s=None)
    said = {name: one_line(getattr(found, name)) for name in ("site", "timezone", "island", "mode")}
    if found.identity is not None:
        words = {name: one_line(getattr(found.identity, name)) for name in ("site", "incarnation", "public_key")}
        wrong["identity"] = msgspec.structs.replace(found.identity, **words)
    return msgspec.structs.replace(found, **said, **wrong, alarms=tuple(map(_printed, found.alarms)))


def clock_remark(ahead_s: float | None) -> str:
    """What is odd about a clock that is so much ahead; empty: nothing, or not known."""
    if ahead_s is None or abs(ahead_s) <= SKEW_S:
        return ""
    return f"its clock is {_span(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}"


def _is_no_figure(value: object) -> bool:
    return isinstance(value, int | float) and not abs(value) <= MOST


def _printed(kind: KindOfAlarm) -> KindOfAlarm:
    return msgspec.structs.replace(kind, kind=one_line(kind.kind), priority=one_line(kind.priority))


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
