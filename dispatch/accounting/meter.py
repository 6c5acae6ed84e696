"""Meters jobs: keeps the energy of nodes until the queue tells who ran then, and gives it to the runs of the jobs.

The queue is read every half minute. What a node drew is divided only when a reading from after that time is there: so
a job is charged from its start, and no longer than it ran. If a scheduler does not answer for `LATE_S`, those who ran
last are taken to run on, and what they get is called estimated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import pairwise

import msgspec

from dispatch.accounting.allocations import Allocations, names_of
from dispatch.accounting.capped_gpus import shares
from dispatch.accounting.records import JobRecord, PeakInterval, SiteQuarter
from dispatch.accounting.reports import Reports
from dispatch.accounting.runs import Run
from dispatch.accounting.samples import Instant, NodeSamples, Segment
from dispatch.accounting.shares import Portion, divide
from dispatch.accounting.site_accounts import AccountsState, Carbon, Price, SiteAccounts, SiteTerms, name_of, not_known
from dispatch.model.equipment import Node
from dispatch.model.jobs import Job
from dispatch.power_caps.progress import JobProgress, ProgressState
from dispatch.power_caps.throughput import DEFAULT, Curve

LATE_S = 150.0  # so long the energy of nodes waits for the queue; and a quarter hour for nodes that are read rarely
STEP = 100  # jobs or nodes between two pauses
DIVIDED = 5  # nodes whose energy is divided, likewise
MOST_GONE = 1000  # nodes that were the site's once and are remembered
MOST_WAITING = 400  # segments of a node; the oldest are divided first
CLOCK_STEP_S = 1.0
SAME_START_S = 1.0


class QueueReading(msgspec.Struct, frozen=True):
    """The jobs of one scheduler, and when they were read."""

    scheduler: str
    read_utc_s: float
    jobs: Sequence[Job]


class MeterState(msgspec.Struct):
    """What is kept over a restart of the gateway."""

    runs: list[Run] = []
    accounts: AccountsState = msgspec.field(default_factory=AccountsState)
    idle_w: dict[str, float] = {}  # what the host of each node draws when idle
    progress: ProgressState = msgspec.field(default_factory=ProgressState)


Settled = JobRecord | SiteQuarter | PeakInterval


class JobMeter:
    """The runs of all jobs. What takes long is done in steps: between two of them the caller may do something else."""

    def __init__(
        self,
        terms: SiteTerms,
        *,
        schedulers: Sequence[str],
        cpus: Mapping[str, int] | None = None,
        names: Mapping[str, str] | None = None,
        state: MeterState | None = None,
        speed: float = 1.0,
        curve: Callable[[str], Curve] = lambda _: DEFAULT,
    ) -> None:
        """`schedulers`: their ids. `cpus` of each node, where that is stated. `names`: the scheduler's to ids of nodes.

        `speed`: seconds of the site in one of the machine. `curve`: throughput against power of a node's GPUs.
        """
        state = MeterState() if state is None else state
        self.accounts = SiteAccounts(terms, state.accounts, speed)
        self.settled: deque[Settled] = deque()  # what is to be recorded; the caller takes it
        self.allocations = Allocations(cpus or {}, names or {}, state.runs)
        self.reports = Reports()
        self.progress = JobProgress(state.progress)
        self._speed, self._curve = speed, curve
        self._samples: dict[str, NodeSamples] = {}
        self._idle_w = dict(state.idle_w)
        self._waiting: dict[str, deque[Segment]] = {}
        self._divided_until: dict[str, float] = {}
        self._until_s = float("-inf")  # up to when energy is divided, where there are readings
        self._read = dict.fromkeys(schedulers, float("-inf"))  # when each queue was read
        self._began_utc_s: float | None = None
        self._ahead_s: float | None = None  # of the calendar before the clock that is never set

    # ── what is seen ────────────────────────────────────────────────────────────────────────────────────────────────

    def see_nodes(self, nodes: Sequence[Node], now: Instant, capped: Mapping[str, float]) -> Iterator[None]:
        """The nodes as they are known now, and those that are to hold a cap. Yields between steps."""
        self._watch_calendar(now)
        if len(self._samples) > len(nodes) + MOST_GONE:
            self._forget_gone({node.id for node in nodes})
        for n, node in enumerate(nodes):
            if n % STEP == STEP - 1:
                yield
            samples = self._samples.get(node.id)
            if samples is None:
                samples = self._samples[node.id] = NodeSamples(self._idle_w.get(node.id), self._curve(node.id))
            gap_s = samples.gap_s
            segment = samples.take(node, now, node.id in capped, self._speed)
            if samples.gap_s > gap_s:
                self.accounts.quarter(now.utc_s).gap_s += samples.gap_s - gap_s
            if segment is None:
                continue
            waiting = self._waiting.setdefault(node.id, deque())
            waiting.append(segment)
            if len(waiting) > MOST_WAITING:
                self._divide(node.id, waiting.popleft(), assumed=True)

    def _forget_gone(self, there: Set[str]) -> None:
        """Lists may name new nodes without end: of nodes that are gone only what is still to be divided is kept."""
        kept = there | {node for node, waiting in self._waiting.items() if waiting}
        kept |= {node for run in self.allocations.every() for node in self.allocations.nodes(run)}
        for node in (self._samples.keys() | self._divided_until.keys() | self._idle_w.keys()) - kept:
            self._samples.pop(node, None)
            self._waiting.pop(node, None)
            self._divided_until.pop(node, None)
            self._idle_w.pop(node, None)

    def _watch_calendar(self, now: Instant) -> None:
        if self._began_utc_s is None:
            self._began_utc_s = now.utc_s
        ahead_s, before_s = now.utc_s - now.mono_s, self._ahead_s
        self._ahead_s = ahead_s
        if before_s is not None and abs(ahead_s - before_s) > CLOCK_STEP_S:
            for samples in self._samples.values():
                samples.forget()

    def see_queue(self, reading: QueueReading) -> Iterator[None]:
        """What a scheduler told. A job that it no longer shows has ended. Yields between steps."""
        scheduler, read_s = reading.scheduler, reading.read_utc_s
        if read_s <= self._read.get(scheduler, float("-inf")):
            return
        shown = set()
        for n, job in enumerate(reading.jobs):
            if n % STEP == STEP - 1:
                yield
            if job.runs:
                shown.add(job.id)
                self._see_job(job, read_s)
        for n, run in enumerate(self.allocations.running(scheduler)):
            if n % STEP == STEP - 1:
                yield
            if run.job.id not in shown:
                self._end(run, read_s)
        self._read[scheduler] = read_s  # at last: until then nothing is divided by it

    def _see_job(self, job: Job, read_s: float) -> None:
        run = self.allocations.run_of(job.scheduler, job.id) or self.allocations.shown_again(job)
        if run is not None and _same_start(job, run.job):
            if job.state == run.job.state == "suspended":
                run.suspended_s += read_s - run.seen_utc_s
            run.seen_utc_s = read_s
            self.allocations.update(run, job)
            self.reports.take(run, read_s)
            return
        if run is not None:  # it was requeued, and runs again
            self._end(run, read_s, job.started_utc_s)
        began_s = read_s if self._began_utc_s is None else self._began_utc_s
        started_s = read_s if job.started_utc_s is None else min(job.started_utc_s, read_s)
        run = Run(job, started_s, read_s, from_start=started_s >= began_s)
        self.reports.take(run, read_s)
        self.allocations.add(run)

    def _end(self, run: Run, read_s: float, next_start_s: float | None = None) -> None:
        """A run that was last seen before `read_s` is over: at the end that a node told, else in between."""
        latest_s = read_s if next_start_s is None else max(run.seen_utc_s, min(read_s, next_start_s))
        told_s = self.reports.take_end(run)
        if told_s is not None and run.started_utc_s <= told_s <= latest_s:
            run.ended_utc_s = told_s
        else:
            run.ended_utc_s = (run.seen_utc_s + latest_s) / 2
            run.end_within_s = (latest_s - run.seen_utc_s) / 2
        self.allocations.ended(run)

    # ── what comes of it ────────────────────────────────────────────────────────────────────────────────────────────

    def advance(
        self, now_utc_s: float, price: Price, least_peak_w: float = 0.0, carbon: Carbon = not_known
    ) -> Iterator[None]:
        """Divide what can be divided, settle the quarter hours that are over, end runs. Yields between steps.

        `least_peak_w`: the billed peak that the controller knows of. `carbon`: see `SiteAccounts.settle`.
        """
        late_s = now_utc_s - LATE_S * self._speed
        until_s = self._until_s = min([max(read_s, late_s) for read_s in self._read.values()], default=late_s)
        oldest_s = min(self._read.values(), default=now_utc_s)
        for n, (node, waiting) in enumerate(self._waiting.items()):
            if n % DIVIDED == DIVIDED - 1:
                yield
            while waiting and waiting[0].end_utc_s <= until_s:
                segment = waiting.popleft()
                self._divide(node, segment, assumed=segment.end_utc_s > oldest_s)
        self.reports.forget_old(now_utc_s)
        settled_s = until_s - LATE_S * self._speed
        for start_s, quarter, peaks in self.accounts.settle(settled_s, price, least_peak_w, carbon):
            self.settled += [quarter, *peaks]
            yield from self._price(start_s)
        for n, run in enumerate(self.allocations.over()):
            if n % STEP == STEP - 1:
                yield
            self._finish(run, until_s)

    def _divide(self, node: str, segment: Segment, assumed: bool) -> None:
        """Give the energy of a node to those who held it, slice by slice: who holds it may change in between."""
        self._divided_until[node] = segment.end_utc_s
        runs = self.allocations.on(node, segment.start_utc_s, segment.end_utc_s)
        length_s, names = segment.end_utc_s - segment.start_utc_s, frozenset(n for run in runs for n in names_of(run))
        for start_s, end_s in self._slices(segment, runs):
            middle_s, part = (start_s + end_s) / 2, (end_s - start_s) / length_s
            holding = [run for run in runs if _holds(run, middle_s)]
            claims = [self.allocations.claim(n, run) for n, run in enumerate(holding)]
            portions = divide(segment, claims, self.allocations.cpus(node), names)
            if segment.capped:
                _count_cap(segment, holding, portions, end_s - start_s)
            given_wh = self._give(holding, portions, part, middle_s, assumed)
            self.accounts.idle(segment.wh * part - given_wh, middle_s)
            quarter = self.accounts.start_of(middle_s)
            rates = self.accounts.rates_of(quarter)
            for run in holding:
                run.cover(end_s - start_s, quarter)
                if rates is not None:
                    run.price(quarter, rates)

    def _give(
        self, holding: Sequence[Run], portions: Sequence[Portion], part: float, middle_s: float, assumed: bool
    ) -> float:
        """Count portions; their sum, Wh."""
        quarter, given_wh = self.accounts.start_of(middle_s), 0.0
        for portion in portions:
            run, wh = holding[portion.job], portion.wh * part
            run.draw(portion._replace(how="estimated") if assumed else portion, part, quarter)
            self.accounts.draw(name_of(run.key), wh, middle_s)
            given_wh += wh
        return given_wh

    def _slices(self, segment: Segment, runs: Sequence[Run]) -> Iterator[tuple[float, float]]:
        """Times within a segment between which neither the jobs nor the quarter hour changes."""
        start_s, end_s = segment.start_utc_s, segment.end_utc_s
        cuts = {start_s, end_s, self.accounts.end_utc_s(self.accounts.start_of(start_s))}
        for run in runs:
            cuts.add(run.started_utc_s)
            if run.ended_utc_s is not None:
                cuts.add(run.ended_utc_s)
        found = sorted(cut for cut in cuts if start_s <= cut <= end_s)
        return ((a, b) for a, b in pairwise(found) if b > a)

    def _price(self, quarter: int) -> Iterator[None]:
        """Price what every run drew in a quarter hour."""
        rates = self.accounts.rates_of(quarter)
        assert rates is not None
        for n, run in enumerate(self.allocations.every()):
            if n % STEP == STEP - 1:
                yield
            run.price(quarter, rates)

    def _finish(self, run: Run, until_s: float) -> None:
        """Record a run that has ended, once its nodes' energy up to then is divided and priced."""
        ended_s = run.ended_utc_s
        assert ended_s is not None
        nodes = self.allocations.nodes(run)
        whole = all(self._divided_until.get(node, ended_s) >= ended_s for node in nodes)
        if run.drawn or not (whole or until_s > ended_s + LATE_S * self._speed):
            return
        self.allocations.forget(run)
        self.settled.append(run.record(ended_s))

    def as_known(self, run: Run) -> JobRecord:
        """A run with what is divided so far. What its nodes drew since the queue was read is not, and is no gap."""
        late_s = self._until_s - LATE_S * self._speed
        divided = [self._divided_until.get(node, self._until_s) for node in self.allocations.nodes(run)]
        until_s = min([at_s if at_s > late_s else self._until_s for at_s in divided], default=self._until_s)
        return run.record(until_s if run.ended_utc_s is None else min(until_s, run.ended_utc_s))

    def state(self, most: int) -> MeterState:
        """What is to be kept over a restart; of more than `most` runs those that drew most."""
        runs = self.allocations.every()
        if len(runs) > most:
            runs = sorted(runs, key=lambda run: -sum(run.energy_wh.values()))[:most]
        idle_w = {node: samples.idle_w for node, samples in self._samples.items() if samples.idle_w is not None}
        return MeterState(runs, self.accounts.state, self._idle_w | idle_w, self.progress.state())


def _count_cap(segment: Segment, holding: Sequence[Run], portions: Sequence[Portion], seconds: float) -> None:
    """Each run that held the node under a cap lost its part of what the cap took, and of what GPUs lost."""
    part = seconds / (segment.end_utc_s - segment.start_utc_s)
    gpus_wh = [sum(p.wh for p in portions if p.job == n and p.part == "gpu") for n in range(len(holding))]
    lost = shares(segment.lost_gpu_h, [run.uuids for run in holding], gpus_wh)
    for n, run in enumerate(holding):
        own_wh = sum(portion.wh for portion in portions if portion.job == n)
        run.cap(seconds, segment.withheld_wh * part * own_wh / segment.wh if segment.wh else 0.0, lost[n] * part)


def _same_start(job: Job, before: Job) -> bool:
    """Whether it is the same run of a job. As the scheduler tells its start: its clock may be ahead of ours."""
    if job.started_utc_s is None or before.started_utc_s is None:
        return True
    return abs(job.started_utc_s - before.started_utc_s) <= SAME_START_S


def _holds(run: Run, utc_s: float) -> bool:
    return run.started_utc_s <= utc_s and (run.ended_utc_s is None or utc_s < run.ended_utc_s)
