"""Keeps up to date what the owner of each job is told: how much power it waits for, or to what its nodes are capped.

Beside the tick. Lists of jobs show it; `gateway.owner_telling` writes it into schedulers, only where the site file says
`tell_owners` or `tell`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from dispatch.model.clock import Clock
from dispatch.model.equipment import Gpu
from dispatch.model.jobs import HELD_REASONS, Job
from dispatch.model.orders import OrderKind
from dispatch.model.power_caps import CapsView
from dispatch.model.reasons import Reason
from dispatch.planning.owner_notes import (
    WAITING,
    CappedNode,
    Ends,
    FreePower,
    Holder,
    Key,
    ToldOwners,
    WaitingJob,
    capped_note,
    waiting_note,
)
from dispatch.planning.start_allowance import LICENCE_W
from dispatch.power_caps.priced_caps import for_energy, for_event
from dispatch.power_caps.pricing import HOW
from drivers.http.turns import Turn
from drivers.schedulers.slurm_comments import TellableJob
from gateway.api.interfaces import Loop
from gateway.api.protocol import Published
from gateway.queues_in_force import QueuesInForce

LOOK_S = 15.0  # real seconds
MOST_WAITING = 200  # jobs of one scheduler whose owners are told what they wait for, those of the highest priority
PIECE, NOTES = 200, 10  # jobs looked at, and notes made, between two turns: half a millisecond
FOR_POWER = ("Licenses", "None", "")  # reasons of Slurm; it has none right after a job was changed
CAP_NEAR_W = 1.0


class OwnerNotes:
    """What owners are told now. Used on the event loop."""

    def __init__(
        self,
        queues: QueuesInForce,
        clock: Clock,
        loop: Loop,
        zone: ZoneInfo,
        turn: Turn,
        usual_share: Callable[[str], float | None],
    ) -> None:
        """`turn` is waited for before each piece of work. `usual_share`: as of `QueueForecast`."""
        self._queues, self._clock, self._loop, self._zone = queues, clock, loop, zone
        self._turn, self._usual_share = turn, usual_share
        self._seen: dict[str, Sequence[TellableJob]] = {}  # by scheduler, as Slurm showed them
        self._since: dict[str, float] = {}  # by node: when its cap was first seen, utc_s
        self._owners = ToldOwners()

    @property
    def told(self) -> Mapping[Key, Reason]:
        """By scheduler and job; the waiting tasks of an array by its number and "_"."""
        return self._owners.told

    def take(self, scheduler: str, jobs: Sequence[TellableJob]) -> None:
        """The jobs of a Slurm, with the licences they hold and wait for."""
        self._seen[scheduler] = jobs

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Find what is to be told now."""
        published = self._loop.published
        if published is None:
            return
        caps = self._caps(published)
        notes = await self._capped(caps) if caps else {}
        for scheduler, jobs in tuple(self._seen.items()):
            notes |= await self._waiting(scheduler, jobs)
        running, waiting = await self._there()

        def over(key: Key, told: Reason) -> bool:
            return key not in (waiting if told.code == WAITING else running)

        before = self._owners.told
        for _ in self._owners.update(self._clock.mono_s(), notes, over):
            await self._turn()
        if self._owners.told is not before:
            self._queues.note_told(self._owners.told)

    # ── caps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _caps(self, published: Published) -> dict[str, CappedNode]:
        """By node."""
        now_utc_s = self._clock.utc_s()
        found = {cap.node: cap.cap_w for cap in published.node_caps}
        self._since = {node: self._since.get(node, now_utc_s) for node in found}
        limits_w = {node.id: _gpu_limit_w(node.gpus) for node in published.snapshot.nodes if node.id in found}
        by_hand = {order.target: order for order in published.orders if order.kind is OrderKind.NODE_CAP}
        for_peak = _for_peak(published.decision.caps)
        caps: dict[str, CappedNode] = {}
        for node, cap_w in found.items():
            order, why = by_hand.get(node), for_peak.get(node, CappedNode(node, cap_w, Reason("told.off_grid")))
            times: tuple[float, float | None] = self._since[node], None
            if order is not None and order.value <= cap_w + CAP_NEAR_W:
                why = CappedNode(node, cap_w, Reason("told.by_order"))
                times = order.given_utc_s, order.ends_utc_s
            since_utc_s, until_utc_s = times
            caps[node] = msgspec.structs.replace(
                why, cap_w=cap_w, since_utc_s=since_utc_s, until_utc_s=until_utc_s, gpu_limit_w=limits_w.get(node)
            )
        return caps

    async def _capped(self, caps: Mapping[str, CappedNode]) -> dict[Key, Reason]:
        notes: dict[Key, Reason] = {}
        now_utc_s = self._clock.utc_s()
        async for job in self._jobs():
            if job.runs and job.state != "completing":
                nodes = [self._queues.node_of(name) for name in job.nodes]
                note = capped_note(nodes, caps, now_utc_s, self._zone)
                if note is not None:
                    notes[job.scheduler, job.id] = note
                    if len(notes) % NOTES == 0:
                        await self._turn()
        return notes

    # ── jobs that wait ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _waiting(self, scheduler: str, jobs: Sequence[TellableJob]) -> dict[Key, Reason]:
        power = self._queues.power(scheduler)
        if power is None:  # what its licences are for is not ours to say
            return {}
        free = None
        if power.free_w is not None and not power.error:
            free = FreePower(power.free_w, power.closed)
        now_utc_s = self._clock.utc_s()
        await self._turn()
        ends = Ends(_holders(jobs), self._usual_share(scheduler), now_utc_s)
        gpus = await self._gpus(scheduler)
        notes: dict[Key, Reason] = {}
        ahead_w, told = 0.0, 0
        for n, job in enumerate(sorted(_in_turn(jobs), key=lambda job: -job.priority)):
            if n % (NOTES if told < MOST_WAITING else PIECE) == 0:
                await self._turn()
            need_w = LICENCE_W * job.licences
            if job.reason in FOR_POWER and told < MOST_WAITING:
                waits = WaitingJob(need_w, job.nodes, gpus.get(job.key, 0), ahead_w)
                note = waiting_note(waits, free, ends, now_utc_s, self._zone)
                if note is not None:
                    notes[scheduler, job.key], told = note, told + 1
            ahead_w += need_w * job.tasks
        return notes

    async def _gpus(self, scheduler: str) -> dict[str, int]:
        """GPUs that waiting jobs ask for."""
        found: dict[str, int] = {}
        async for job in self._jobs():
            if job.scheduler == scheduler and not job.runs and job.gpus:
                for key in _keys(job):
                    found.setdefault(key, job.gpus)
        return found

    # ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _there(self) -> tuple[set[Key], set[Key]]:
        """The jobs that run, and those that wait, by the queues last read."""
        running: set[Key] = set()
        waiting: set[Key] = set()
        async for job in self._jobs():
            if job.runs:
                running.add((job.scheduler, job.id))
            else:
                waiting.update((job.scheduler, key) for key in _keys(job))
        for scheduler, jobs in self._seen.items():  # of very long queues all are here
            waiting.update((scheduler, job.key) for job in jobs if job.waits)
        return running, waiting - running

    async def _jobs(self) -> AsyncIterator[Job]:
        for queue in self._queues.queues:
            for n, job in enumerate(queue.jobs):
                if n % PIECE == 0:
                    await self._turn()
                yield job


def _keys(job: Job) -> tuple[str, ...]:
    """What a waiting job may be called: a task of an array also as one of those that wait together."""
    array, task, _ = job.id.partition("_")
    return (job.id, f"{array}_") if task else (job.id,)


def _in_turn(jobs: Sequence[TellableJob]) -> Iterator[TellableJob]:
    """Those that wait for their turn, and ask for power."""
    return (job for job in jobs if job.waits and job.licences and job.reason not in HELD_REASONS)


def _holders(jobs: Sequence[TellableJob]) -> Iterator[Holder]:
    for job in jobs:
        if job.runs and job.licences and job.started_utc_s is not None:
            yield Holder(LICENCE_W * job.licences, job.started_utc_s, job.end_utc_s)


def _for_peak(view: CapsView | None) -> dict[str, CappedNode]:
    """The caps for the month's peak, or for dear energy, with what they cost where that is priced."""
    if view is None:
        return {}
    costs = {cost.node: cost for cost in view.costs if cost.basis in HOW}
    why = Reason("told.for_peak")
    if for_energy(view.reason):
        why = Reason("told.for_energy")
    elif for_event(view.reason):
        why = Reason("told.for_limit")
    caps = {node: CappedNode(node, cap_w, why) for node, cap_w in view.nodes}
    for node in caps.keys() & costs.keys():
        slower_pct, by = 100 * costs[node].slowdown, HOW[costs[node].basis]
        caps[node] = msgspec.structs.replace(caps[node], slower_pct=slower_pct, slower_by=by)
    return caps


def _gpu_limit_w(gpus: Sequence[Gpu]) -> float | None:
    """The lowest power limit that GPUs follow, W; None: not known."""
    limits_w = (gpu.limit_w.good if gpu.enforced_w.good is None else gpu.enforced_w.good for gpu in gpus)
    return min((limit_w for limit_w in limits_w if limit_w is not None), default=None)
