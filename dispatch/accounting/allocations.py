"""Keeps which runs hold which nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dispatch.accounting.records import RunKey
from dispatch.accounting.runs import Run
from dispatch.accounting.shares import Claim
from dispatch.model.jobs import Job, node_id

MOST_RUNS = 10_000  # at once; those beyond are not metered


class Allocations:
    """Runs that go on or are not recorded yet, and their nodes."""

    def __init__(self, cpus: Mapping[str, int], names: Mapping[str, str], runs: Sequence[Run]) -> None:
        """`cpus` of each node. `names` of nodes with the scheduler, in small letters. `runs`: of before a restart."""
        self._cpus, self._names = cpus, names
        self._running: dict[tuple[str, str], Run] = {}
        self._over: dict[RunKey, Run] = {}
        self._on: dict[str, list[Run]] = {}
        for run in runs:
            if run.ended_utc_s is None:
                self.add(run)
            else:
                self._over[run.key] = run
                self._put(run)

    def know(self, cpus: Mapping[str, int], names: Mapping[str, str]) -> None:
        """There are these nodes from now on."""
        self._cpus, self._names, self._on = cpus, names, {}
        for run in self.every():
            self._put(run)

    def add(self, run: Run) -> None:
        """A run begins."""
        if self.full:
            return
        self._running[run.job.scheduler, run.job.id] = run
        self._put(run)

    def update(self, run: Run, job: Job) -> None:
        """The scheduler tells of it again."""
        before, run.job = run.job, job
        if before.nodes != job.nodes:
            self._take_off(run, self._ids(before))
            self._put(run)

    def ended(self, run: Run) -> None:
        """It has ended: it holds its nodes until it is recorded, up to its end."""
        self._running.pop((run.job.scheduler, run.job.id), None)
        self._over[run.key] = run

    def shown_again(self, job: Job) -> Run | None:
        """The run of a job that its scheduler left out of a reading, and shows again as it was; it goes on."""
        if job.started_utc_s is None:
            return None
        run = self._over.pop((job.scheduler, job.id, job.started_utc_s), None)
        if run is not None:
            run.ended_utc_s, run.end_within_s = None, 0.0
            self._running[job.scheduler, job.id] = run
        return run

    def forget(self, run: Run) -> None:
        """It is recorded."""
        self._over.pop(run.key, None)
        self._take_off(run, self.nodes(run))

    @property
    def full(self) -> bool:
        """Whether there are so many that others are not metered."""
        return len(self._running) + len(self._over) >= MOST_RUNS

    def run_of(self, scheduler: str, job: str) -> Run | None:
        """The run of a job that goes on."""
        return self._running.get((scheduler, job))

    def running(self, scheduler: str = "") -> list[Run]:
        """The runs that go on; of one scheduler, or of all."""
        return [run for run in self._running.values() if scheduler in ("", run.job.scheduler)]

    def over(self) -> list[Run]:
        """Those that have ended."""
        return list(self._over.values())

    def every(self) -> list[Run]:
        """All of them."""
        return [*self._running.values(), *self._over.values()]

    def on(self, node: str, start_utc_s: float, end_utc_s: float) -> list[Run]:
        """Those that hold a node in a part of a span."""
        return [
            run
            for run in self._on.get(node, ())
            if run.started_utc_s < end_utc_s and (run.ended_utc_s is None or run.ended_utc_s > start_utc_s)
        ]

    def nodes(self, run: Run) -> list[str]:
        """The ids of its nodes."""
        return self._ids(run.job)

    def cpus(self, node: str) -> float:
        """The CPUs of a node; 0: not stated."""
        return float(self._cpus.get(node, 0))

    def claim(self, number: int, run: Run) -> Claim:
        """What it holds of one of its nodes: what it has of all, divided evenly."""
        job, nodes = run.job, run.node_count
        return Claim(number, job.gpus / nodes, job.cpus / nodes, run.uuids, job.state == "suspended", names_of(run))

    def _ids(self, job: Job) -> list[str]:
        return [node_id(self._names, name) for name in job.nodes]

    def _put(self, run: Run) -> None:
        for node in self.nodes(run):
            self._on.setdefault(node, []).append(run)

    def _take_off(self, run: Run, nodes: Iterable[str]) -> None:
        for node in nodes:
            left = [other for other in self._on.get(node, ()) if other is not run]
            if left:
                self._on[node] = left
            else:
                self._on.pop(node, None)


def names_of(run: Run) -> frozenset[str]:
    """By which the exporters of its nodes know its job."""
    job = run.job
    return frozenset((job.id, job.number or job.id, *job.pods))
