"""A node that several jobs share and use unequally: what each is charged, and what it drew.

`.venv/bin/python tests/dispatch/accounting/shared_nodes.py 60` prints how wrong the hosts' energy of jobs is in so many
runs drawn by chance, with the CPU time of their cgroups and by allocated CPUs alone. What is true follows from the
model: what the host draws idle is theirs by allocated CPUs, and each second of CPU time above it draws the same.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from metered_site import T0, Machine, MeteredSite, Wave, a_job

from dispatch.accounting.records import JobRecord
from dispatch.model.equipment import JobUse
from dispatch.model.jobs import Job
from drivers.nodes.job_metrics import JobCpus

CPUS = 64
FIRST_S = 700  # until then the node is idle
LAST_S = 3400


class Sharer(NamedTuple):
    """A job. `use`: CPUs that it uses of each that it holds, 0 to 1."""

    id: str
    cpus: int
    start_s: float
    end_s: float
    use: Wave

    def cpu_s(self, at_s: float) -> float:
        """CPU time that it has used by then."""
        return self.cpus * self.use.joules(self.start_s, min(max(at_s, self.start_s), self.end_s))

    def runs(self, at_s: float) -> bool:
        """Whether it runs then."""
        return self.start_s <= at_s < self.end_s


class SharedNode(NamedTuple):
    """Its host, and the jobs on it."""

    idle_w: float
    above_w: float  # at full use, above idle
    sharers: Sequence[Sharer]
    period_s: float = 10.0

    def host_w(self, at_s: float) -> float:
        """What the host draws."""
        used = sum(one.cpus * one.use(at_s) for one in self.sharers if one.runs(at_s))
        return self.idle_w + self.above_w * used / CPUS

    def exporter(self) -> Callable[[float], JobUse]:
        """What a node's driver makes of the counters of an exporter of cgroups, which shows the jobs that run."""
        cpus = JobCpus()

        def use(at_s: float) -> JobUse:
            cpus.take({one.id: one.cpu_s(at_s) for one in self.sharers if one.runs(at_s)}, at_s)
            return JobUse(cpus.used(at_s, 60.0))

        return use

    def true_wh(self, sharer: Sharer) -> float:
        """What a job draws."""
        idle_j = self.idle_w * sharer.cpus / CPUS * (sharer.end_s - sharer.start_s)
        return (idle_j + self.above_w / CPUS * sharer.cpu_s(sharer.end_s)) / 3600

    def records(self, with_cpu_time: bool) -> dict[str, JobRecord]:
        """What each job is charged, by its id."""
        use = self.exporter() if with_cpu_time else lambda _: None
        machine = Machine("n1", self.host_w, period_s=self.period_s, use=use)
        site = MeteredSite([machine], self._queue, cpus={"n1": CPUS})
        for one in sorted(self.sharers, key=lambda sharer: sharer.end_s):
            site.run(one.end_s)
            site.meter.reports.ends(one.id, T0 + one.end_s)
        site.run(LAST_S + 1700)
        return {record.id: record for record in site.records}

    def _queue(self, now_s: float) -> list[Job]:
        return [a_job(one.id, ["n1"], one.start_s, cpus=one.cpus) for one in self.sharers if one.runs(now_s)]


def drawn(seed: int) -> SharedNode:
    """A node and its jobs, drawn by chance."""
    chance = random.Random(seed)
    sharers = []
    for number, cpus in enumerate(chance.choice([(32, 32), (32, 16, 16), (8, 24, 16), (16, 16, 16, 16), (4, 40)])):
        mean = chance.uniform(0.02, 0.98)
        use = Wave(mean, chance.uniform(0, min(mean, 1 - mean)), chance.uniform(120, 1200))
        start_s = FIRST_S + chance.randrange(0, 600)
        sharers.append(Sharer(str(number + 1), cpus, start_s, start_s + chance.randrange(1200, 1800), use))
    return SharedNode(
        chance.uniform(100, 300), chance.uniform(200, 600), sharers, chance.choice([1.0, 5.0, 10.0, 30.0])
    )


def errors_pct(node: SharedNode, with_cpu_time: bool) -> list[float]:
    """How wrong the energy of each job is, %."""
    records = node.records(with_cpu_time)
    return [100 * (records[one.id].host_wh / node.true_wh(one) - 1) for one in node.sharers]


def main() -> None:
    """Print the errors of runs drawn by chance; how many is the first argument."""
    nodes = [drawn(seed) for seed in range(int(sys.argv[1]))]
    for told in (True, False):
        found = [abs(error) for node in nodes for error in errors_pct(node, told)]
        how = "with CPU time" if told else "by allocated CPUs alone"
        figures = (statistics.mean(found), sorted(found)[int(0.95 * len(found))], max(found))
        mean, most_95, most = (f"{each:.1f} %" for each in figures)
        print(
            f"{len(nodes)} nodes, {len(found)} jobs, {how}: wrong by {mean} on average, {most_95} (95 of 100), {most}"
        )


if __name__ == "__main__":
    main()
