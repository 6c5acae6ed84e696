"""Makes rows and sums of the states of sites: plain functions, the same for screen, text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from dispatch.alarms.priorities import Priority
from dispatch.model.islanding import IslandState
from fleet.sites import SiteAddress
from fleet.watch import SiteState
from gateway.api.site_overview import KindOfAlarm, SiteOverview

SILENT_AFTER_S = 15.0  # three questions without an answer
CONNECTING, LIVE, SILENT = "connecting", "live", "silent"
_URGENCY = {Priority.HIGH.value: 0, Priority.MEDIUM.value: 1, Priority.LOW.value: 2}
_IN_TROUBLE = frozenset({IslandState.FAULT.value, IslandState.BLACKOUT.value, IslandState.BLACK_START.value})
_AWAY = frozenset(
    {
        *(IslandState.ISLANDED.value, IslandState.SYNCHRONISING.value, IslandState.CLOSING.value),
        *(IslandState.GENSET.value, IslandState.OPENING.value),
    }
)


class Row(msgspec.Struct, frozen=True):
    """One site as it is listed."""

    name: str
    address: SiteAddress
    link: str  # connecting | live | silent
    age_s: float | None  # of what is shown; None: nothing was ever received
    overview: SiteOverview | None
    trouble: str
    urgency: int  # 0 is the worst

    @property
    def fresh(self) -> bool:
        """Whether its figures may be taken for the present, and added up."""
        return self.link == LIVE

    @property
    def top_alarm(self) -> KindOfAlarm | None:
        """The most urgent."""
        alarms = () if self.overview is None else self.overview.alarms
        return alarms[0] if alarms else None

    @property
    def peak_share(self) -> float | None:
        """Import over the peak billed so far, else over the contracted one; 1 is at the peak."""
        found = self.overview
        if found is None or found.import_w.value is None:
            return None
        limit_w = found.peak_w or found.contracted_w
        return found.import_w.value / limit_w if limit_w else None


class Total(msgspec.Struct, frozen=True):
    """A sum, and over how many sites. None: no site has it."""

    value: float | None
    sites: int


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet together. Only sites that answer count; each total says how many have the figure."""

    sites: int
    live: int
    silent: int
    import_w: Total
    load_w: Total
    pv_w: Total
    battery_w: Total
    stored_kwh: Total
    energy_kwh: Total
    cost_today_eur: Total
    jobs_running: Total
    alarms: dict[str, int]  # that hold or wait, by kind: how many sites


def rows_of(states: Sequence[SiteState], now_s: float) -> tuple[Row, ...]:
    """A row for each site, the worst first. `now_s`: of the same clock as the states."""
    claimed = _claimed_twice(states)
    rows = [_row(state, now_s, claimed.get(state.address.name, "")) for state in states]
    return tuple(sorted(rows, key=lambda row: (row.urgency, row.name)))


def _row(state: SiteState, now_s: float, claim: str) -> Row:
    age_s = state.age_s(now_s)
    if age_s is None:
        link = SILENT if state.tries else CONNECTING
    else:
        link = LIVE if age_s <= SILENT_AFTER_S else SILENT
    trouble = claim or state.trouble
    urgency = _urgency(link, state.overview, bool(trouble))
    return Row(state.address.name, state.address, link, age_s, state.overview, trouble, urgency)


def _urgency(link: str, found: SiteOverview | None, remark: bool) -> int:
    """0: in fault or with an alarm of high priority that waits; 1: silent; then off the grid, other alarms, nothing."""
    alarms = () if found is None else found.alarms
    waiting = min((_URGENCY.get(a.priority, 2) for a in alarms if a.waiting), default=3)
    if link == LIVE and found is not None and (found.island in _IN_TROUBLE or waiting == 0):
        return 0
    if link == SILENT:
        return 1
    if found is not None and found.island in _AWAY:
        return 2
    if waiting < 3:
        return 2 + waiting
    if any(a.active for a in alarms) or remark:
        return 5
    return 7 if link == LIVE else 6


def _claimed_twice(states: Sequence[SiteState]) -> dict[str, str]:
    """By name: that another address leads to a gateway with the same identity."""
    by_uuid: dict[str, list[SiteState]] = {}
    for state in states:
        identity = None if state.overview is None else state.overview.identity
        if identity is not None:
            by_uuid.setdefault(identity.site, []).append(state)
    found: dict[str, str] = {}
    for members in by_uuid.values():
        for state in members if len(members) > 1 else ():
            others = ", ".join(other.address.name for other in members if other is not state)
            found[state.address.name] = f"the same site as {others}: listed twice, or a copy of its state directory"
    return found


def sums_of(rows: Sequence[Row]) -> Sums:
    """The fleet together. A site that is listed twice counts once."""
    live: dict[str, SiteOverview] = {}
    for row in rows:
        if row.fresh and row.overview is not None:
            identity = row.overview.identity
            live.setdefault(row.name if identity is None else identity.site, row.overview)
    sites = list(live.values())

    def total(value: Callable[[SiteOverview], float | None]) -> Total:
        known = [v for site in sites if (v := value(site)) is not None]
        return Total(sum(known) if known else None, len(known))

    return Sums(
        sites=len(rows),
        live=sum(row.link == LIVE for row in rows),
        silent=sum(row.link == SILENT for row in rows),
        import_w=total(lambda s: s.import_w.good),
        load_w=total(lambda s: s.load_w),
        pv_w=total(lambda s: s.pv_w),
        battery_w=total(lambda s: s.battery_w),
        stored_kwh=total(lambda s: s.stored_kwh),
        energy_kwh=total(lambda s: s.energy_kwh),
        cost_today_eur=total(lambda s: s.cost_today_eur),
        jobs_running=total(lambda s: s.jobs_running),
        alarms=dict(Counter(kind for site in sites for kind in {a.kind for a in site.alarms}).most_common()),
    )


def _last(value: float | None, *, highest: bool = True) -> tuple[bool, float]:
    """A key that sorts by value; what is not known comes last."""
    return (value is None, 0.0 if value is None else -value if highest else value)


ORDERS: dict[str, Callable[[Row], tuple[object, ...]]] = {
    "worst": lambda row: (row.urgency, row.name),
    "name": lambda row: (row.name,),
    "peak": lambda row: (*_last(row.peak_share), row.name),
    "SoC": lambda row: (*_last(row.overview.soc_pct.value if row.overview else None, highest=False), row.name),
    "load": lambda row: (*_last(row.overview.load_w if row.overview else None), row.name),
    "price": lambda row: (*_last(row.overview.price_eur_per_kwh if row.overview else None), row.name),
    "IQ": lambda row: (*_last(row.overview.iq_today_pct if row.overview else None, highest=False), row.name),
}


def ordered(rows: Sequence[Row], order: str) -> list[Row]:
    """Rows in one of `ORDERS`. Raises KeyError."""
    return sorted(rows, key=ORDERS[order])


def matches(row: Row, text: str, words: Callable[[Row], str]) -> bool:
    """Whether a row is shown under a filter: each word of it is in its name, tags, link, or `words` on screen."""
    hay = " ".join((row.name, *row.address.tags, row.link, row.trouble, words(row))).casefold()
    return all(word in hay for word in text.casefold().split())
