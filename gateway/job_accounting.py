"""Meters jobs in the background: once a second it looks at the last snapshot and at the queues, in small pieces.

The tick only leaves its snapshot here. What is settled goes to the recorder at once; what is not is kept in the
record's memory once a minute, so that the next gateway goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from dispatch.accounting.meter import JobMeter, MeterState, QueueReading, Settled
from dispatch.accounting.records import JobRecord
from dispatch.accounting.reported import kind_of, measured_curves, watch
from dispatch.accounting.samples import Instant
from dispatch.accounting.site_accounts import SiteTerms, key_of, not_known
from dispatch.billing.charges.energy_prices import import_price
from dispatch.billing.peak_charges import peak_charges
from dispatch.model.clock import Clock
from dispatch.model.forecast import QUARTER_S
from dispatch.model.jobs import Queue
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.throughput import Curve, stated
from drivers.node_config import NodeDevice
from gateway.errors import CommandRefused
from gateway.prices_in_force import PricesInForce
from gateway.site.schema import Site

STATE = "jobs"  # its key in the record's memory
LOOK_S = 1.0  # machine seconds
SAVE_S = 55.0  # machine seconds: with the recorder's flush a crash loses no more than the last minute
MOST_SAVED = 5000  # runs; those that drew least are left out


class Seen(msgspec.Struct, frozen=True):
    """What a tick leaves here."""

    snapshot: Snapshot
    caps_w: Mapping[str, float]  # of nodes that are to hold one
    billed_peak_w: float  # so far in this period; 0: not known, or days are averaged


class JobAccounting:
    """The meter of a running gateway. It does nothing on a site without a scheduler."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        prices: PricesInForce,
        *,
        schedulers: Sequence[str],
        nodes: Sequence[NodeDevice],
        queues: Callable[[], Sequence[QueueReading]],
        record: Callable[[Settled], None],
        save: Callable[[str, Any], None],
        kept: MeterState | None = None,
        on_finished: Callable[[JobRecord], None] = lambda _: None,
        carbon: Callable[[float], float | None] | None = None,
    ) -> None:
        """`schedulers`: their ids. `nodes`: every one of the site. `queues`: the last good reading of each.

        `record` keeps what is settled.

        `save` keeps a value under a key in the record's memory; `kept`: what the gateway before has saved there.
        `on_finished` is called with each run that is over and priced. `carbon`: what a kWh of the grid emits, g, where
        that is fetched.
        """
        self.active = bool(schedulers)
        self.meter = JobMeter(
            site_terms(site),
            schedulers=schedulers,
            cpus=cpus_of(nodes),
            names=scheduler_names(nodes),
            state=kept,
            speed=clock.speed,
            curve=curves(site),
        )
        self._terms, self._clock, self._prices = site.tariff, clock, prices
        self._timezone, self._carbon = site.site.timezone, carbon or not_known
        self._queues, self._record, self._save, self._on_finished = queues, record, save, on_finished
        self._clusters = {scheduler.known_as: scheduler.id for scheduler in site.scheduler}
        self._seen: Seen | None = None
        self._saved_s = 0.0
        self.measured: dict[str, Curve] = {}  # by node, throughput against power of its jobs, where they reported it

    def observe(self, seen: Seen) -> None:
        """A tick has ended."""
        self._seen = seen

    async def run(self) -> None:
        """Look once a second, until cancelled. What was not saved then is saved at the end."""
        if not self.active:
            return
        self._saved_s = asyncio.get_running_loop().time()
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                seen = self._seen
                if seen is not None and seen.snapshot.utc_known:
                    await self._look(seen)
        finally:
            self.keep()

    async def _look(self, seen: Seen) -> None:
        snapshot, meter = seen.snapshot, self.meter
        now = Instant(snapshot.utc_s, snapshot.mono_s)
        load_w = snapshot.load_w if snapshot.load is None else snapshot.load.w.good
        meter.accounts.see(now.utc_s, now.mono_s, snapshot.grid.w.good, load_w)
        await _in_pieces(meter.see_nodes(snapshot.nodes, now, seen.caps_w))
        for queue in self._queues():
            await _in_pieces(meter.see_queue(queue))
        self._follow_progress(seen)
        await _in_pieces(meter.advance(now.utc_s, self._import_price, seen.billed_peak_w, self._carbon))
        settled = bool(meter.settled)
        while meter.settled:
            row = meter.settled.popleft()
            self._record(row)
            if isinstance(row, JobRecord):
                self._on_finished(row)
        if settled or asyncio.get_running_loop().time() - self._saved_s >= SAVE_S:
            self.keep()

    def know(self, nodes: Sequence[NodeDevice]) -> None:
        """The site has these nodes from now on."""
        self.meter.allocations.know(cpus_of(nodes), scheduler_names(nodes))

    def _follow_progress(self, seen: Seen) -> None:
        progress, allocations = self.meter.progress, self.meter.allocations
        if not progress.runs and not progress.known:
            return
        runs = [(run, allocations.nodes(run)) for run in allocations.running()]
        nodes = {node.id: node for node in seen.snapshot.nodes}
        watch(progress, runs, nodes, seen.caps_w.keys(), seen.snapshot.mono_s)
        self.measured = measured_curves(progress, runs)

    def keep(self) -> None:
        """Save what is not settled: with what was, so that no run is recorded twice."""
        if not self.active:
            return
        self._saved_s = asyncio.get_running_loop().time()
        self._save(STATE, self.meter.state(MOST_SAVED))

    def _import_price(self, utc_s: float) -> float | None:
        return import_price(self._terms, self._timezone, utc_s, self._prices.series.at(utc_s))

    # ── for requests ────────────────────────────────────────────────────────────────────────────────────────────────

    async def live(self, user: str | None) -> list[JobRecord]:
        """The runs that go on, and those that are over and not priced yet; of one user, or of all."""
        found = []
        for n, run in enumerate(self.meter.allocations.every()):
            if n % 100 == 99:
                await asyncio.sleep(0)
            if user is None or run.job.user == user:
                found.append(self.meter.as_known(run))
        return found

    @property
    def full(self) -> bool:
        """Whether so many run that others are not metered."""
        return self.meter.allocations.full

    def progress(self, job: str, units: float, cluster: str, user: str | None) -> int:
        """A running job, of this user or of anybody, has done so many units since its start.

        Returns how many spans under caps are known of such jobs. Raises CommandRefused.
        """
        scheduler = self._clusters.get(cluster, "")
        found = [
            run
            for run in self.meter.allocations.running(scheduler)
            if job in (run.job.id, run.job.number) and user in (None, run.job.user)
        ]
        if not found:
            raise CommandRefused(
                f"no job {job}{'' if user is None else f' of {user}'} runs, as its queue was last read"
            )
        if len(found) > 1:
            raise CommandRefused(f"{len(found)} schedulers have a job {job}: name its cluster")
        (run,) = found
        if not run.job.gpus:
            raise CommandRefused(f"job {job} holds no GPU, and only what caps cost GPUs is learnt")
        if not self.meter.progress.report(run.key, kind_of(run), units, self._clock.mono_s()):
            raise CommandRefused("too many jobs report their progress")
        return self.meter.progress.spans(kind_of(run))

    def begins(self, job: str, gpus: Sequence[str], cluster: str = "") -> bool:
        """A node told which of its GPUs a job holds; False: too many reports."""
        return self.meter.reports.begins(job, gpus, self._clock.utc_s(), self._clusters.get(cluster, ""))

    def ends(self, job: str, cluster: str = "") -> bool:
        """A node told that a job has ended on it; False: too many reports."""
        return self.meter.reports.ends(job, self._clock.utc_s(), self._clusters.get(cluster, ""))


async def _in_pieces(steps: Iterator[None]) -> None:
    """Do steps one in each pass of the event loop."""
    for _ in steps:
        await asyncio.sleep(0)


def readings(queues: Sequence[Queue]) -> list[QueueReading]:
    """Each queue that was read, for the meter."""
    return [QueueReading(q.scheduler, q.read_utc_s, q.jobs) for q in queues if q.read_utc_s is not None]


def curves(site: Site) -> Callable[[str], Curve]:
    """Throughput against power of a node's GPUs, by the node's id: its own, that of [caps], or the published one."""
    own = {node.id: stated(node.throughput, site.caps.throughput) for node in site.node}
    common = stated((), site.caps.throughput)
    return lambda id: own.get(id, common)


def site_terms(site: Site) -> SiteTerms:
    """What the site file says of prices and intervals."""
    main, *others = peak_charges(site.dispatch, "granted")
    return SiteTerms(
        demand=main,
        others=tuple(others),
        timezone=site.site.timezone,
        interval_s=site.grid.interval_of_steps_s(QUARTER_S),
        offset_s=site.grid.interval_offset_s,
        co2_g_per_kwh=site.tariff.co2_g_per_kwh,
    )


def cpus_of(nodes: Iterable[NodeDevice]) -> dict[str, int]:
    """The CPUs of each node for which they are stated."""
    return {node.id: node.cpus for node in nodes if node.cpus}


def scheduler_names(nodes: Sequence[NodeDevice]) -> dict[str, str]:
    """The nodes' names with the scheduler, by host name or by id, perhaps without its domain, to their ids here.

    In small letters: names of hosts are the same in capitals (RFC 4343).
    """
    short = {node.id.partition(".")[0]: node.id for node in nodes}
    hosts = {node.hostname: node.id for node in nodes if node.hostname}
    ids = {node.id: node.id for node in nodes}
    return {name.casefold(): id for name, id in (short | hosts | ids).items()}


def kept_state(raw: Any) -> MeterState | None:
    """What an earlier gateway has saved. Raises msgspec.ValidationError."""
    if raw is None:
        return None
    state = msgspec.convert(raw, MeterState, str_keys=True)
    for runs_wh in (state.accounts.runs_wh, *(quarter.runs_wh for quarter in state.accounts.quarters.values())):
        for name in runs_wh:
            key_of(name)
    return state
