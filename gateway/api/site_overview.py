"""What a site tells of itself to somebody who looks after many: the few figures of one line, sums only.

No name of a user, job, node or device is in it, whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.battery_bank import combined_soc
from dispatch.model.jobs import QueueNow
from dispatch.model.readings import MISSING, Reading, total
from gateway.api.protocol import Published, Welcome
from storage.identity import Identity

WAITING = frozenset({AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED})
_URGENCY = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


class KindOfAlarm(msgspec.Struct, frozen=True):
    """The alarms of one definition, such as all lost devices. Words, not enums: a newer site may know others."""

    kind: str  # of the definition, "device-lost"
    priority: str  # high | medium | low
    active: int  # whose condition holds
    waiting: int  # for somebody to acknowledge them
    since_utc_s: float  # the earliest


class SiteOverview(msgspec.Struct, frozen=True, kw_only=True):
    """A site now. None: not known, or the site has no such thing; never 0 in its place."""

    utc_s: float  # of the site's clock
    site: str  # name
    timezone: str
    island: str  # state, as in `dispatch.model.islanding.IslandState`
    mode: str  # who steers, as in `dispatch.model.decision.Mode`
    identity: Identity | None = None
    simulated: bool = False
    speed: float = 1.0
    import_w: Reading = MISSING  # > 0 imports
    peak_w: float | None = None  # billed so far in this period
    peak_at_least: bool = False  # parts of the period were not measured
    contracted_w: float | None = None
    soc_pct: Reading = MISSING
    energy_kwh: float | None = None  # rated, of all batteries
    battery_w: float | None = None  # > 0 discharges
    pv_w: float | None = None
    load_w: float | None = None  # of the site, by balance, else by the load meter
    nodes_w: float | None = None  # of all compute nodes
    nodes: int = 0
    price_eur_per_kwh: float | None = None
    iq_today_pct: float | None = None
    cost_today_eur: float | None = None  # as Energy IQ counts it: energy, rise of the peak, wear; by the last full hour
    jobs_running: int | None = None
    jobs_waiting: int | None = None
    alarms: tuple[KindOfAlarm, ...] = ()  # the most urgent first

    @property
    def stored_kwh(self) -> float | None:
        """SoC times rated energy."""
        soc_pct = self.soc_pct.good
        return None if soc_pct is None or not self.energy_kwh else soc_pct / 100 * self.energy_kwh


def overview(published: Published, welcome: Welcome) -> SiteOverview:
    """The overview of what a gateway has published; `welcome` says whose it is and what the site file rates."""
    snapshot, limits, decision = published.snapshot, welcome.limits, published.decision
    load_w = snapshot.load_w
    if load_w is None and snapshot.load is not None:
        load_w = snapshot.load.w.good
    running, waiting = _jobs(published.queues)
    iq = published.iq
    return SiteOverview(
        utc_s=snapshot.utc_s,
        site=welcome.site,
        timezone=welcome.timezone,
        island=decision.island.value,
        mode=decision.mode.value,
        identity=welcome.identity,
        simulated=welcome.simulated,
        speed=welcome.speed,
        import_w=snapshot.grid.w,
        peak_w=published.month_peak_w if published.billed_peak_w is None else published.billed_peak_w,
        peak_at_least=published.month_unmeasured_s >= 1,
        contracted_w=limits.get("contracted_peak_w"),
        soc_pct=combined_soc(snapshot.batteries, _rated_kwh(limits)),
        energy_kwh=limits.get("energy_kwh") or None,
        battery_w=snapshot.pcs_w if snapshot.pcs else None,
        pv_w=snapshot.pv_w if snapshot.pv else None,
        load_w=load_w,
        nodes_w=total(node.w for node in snapshot.nodes) if snapshot.nodes else None,
        nodes=len(snapshot.nodes),
        price_eur_per_kwh=published.tariff.now_eur_per_kwh,
        iq_today_pct=None if iq is None else iq.today_pct,
        cost_today_eur=None if iq is None else iq.today_cost_eur,
        jobs_running=running,
        jobs_waiting=waiting,
        alarms=kinds_of(published.alarms),
    )


def kinds_of(alarms: Sequence[Alarm]) -> tuple[KindOfAlarm, ...]:
    """Alarms by their definition and priority: those that wait for somebody first, then by priority and time."""
    found: dict[tuple[str, Priority], list[Alarm]] = {}
    for alarm in alarms:
        if alarm.state is not AlarmState.NORMAL:
            found.setdefault((alarm.id.partition(":")[0], alarm.priority), []).append(alarm)
    kinds = [
        KindOfAlarm(
            kind,
            priority.value,
            sum(a.state is not AlarmState.RETURNED for a in members),
            sum(a.state in WAITING for a in members),
            min(a.since_utc_s for a in members),
        )
        for (kind, priority), members in found.items()
    ]
    return tuple(sorted(kinds, key=lambda k: (not k.waiting, _URGENCY[Priority(k.priority)], k.since_utc_s, k.kind)))


def _rated_kwh(limits: Mapping[str, float]) -> dict[str, float]:
    """Rated energy by battery, as the welcome has it."""
    end = ".energy_kwh"
    return {name.removesuffix(end): kwh for name, kwh in limits.items() if name.endswith(end)}


def _jobs(queues: Sequence[QueueNow]) -> tuple[int | None, int | None]:
    """Jobs that run and that wait; None without a scheduler, or where one was never read."""
    if not queues or any(queue.read_utc_s is None for queue in queues):
        return None, None
    return sum(queue.running for queue in queues), sum(queue.waiting for queue in queues)
