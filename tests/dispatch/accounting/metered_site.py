"""A site in lock-step whose nodes draw a known power: what they drew in a span can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dispatch.accounting.meter import JobMeter, MeterState, QueueReading, Settled
from dispatch.accounting.records import JobRecord, PeakInterval, SiteQuarter
from dispatch.accounting.samples import Instant
from dispatch.accounting.site_accounts import SiteTerms
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.equipment import Gpu, JobUse, Node
from dispatch.model.jobs import Job
from dispatch.model.readings import MISSING, Quality, Reading

T0 = 1_758_000_600.0  # 2025-09-16 05:30 UTC, a quarter hour
PRICE = 0.25
TERMS = SiteTerms(
    demand=DemandTerms(eur_per_kw=10.0), timezone="UTC", interval_s=900, offset_s=0.0, co2_g_per_kwh=400.0
)
Power = Callable[[float], float]  # W at a time since T0


def a_job(id: str, nodes: Sequence[str], start_s: float | None, **more: object) -> Job:
    """One that runs since `start_s` after T0."""
    given = {"state": "running", "node_count": len(nodes), "user": "anna", "cpus": 64 * len(nodes), "gpus": 0}
    started_utc_s = None if start_s is None else T0 + start_s
    return Job(
        scheduler="slurm",
        id=id,
        submitted_utc_s=T0 - 100,
        started_utc_s=started_utc_s,
        nodes=tuple(nodes),
        **(given | more),  # type: ignore[arg-type]
    )


@dataclass
class Machine:
    """A node that is sampled every `period_s`."""

    id: str
    host_w: Power
    gpus_w: Sequence[Power] = ()
    period_s: float = 10.0
    source: str = "ACPI power meter"
    counters: bool = False
    missing: frozenset[int] = frozenset()  # numbers of samples that never come
    reset_at_s: float = float("inf")  # when its driver was loaded anew
    gpu_limit_w: Power | None = None  # of each GPU
    use: Callable[[float], JobUse | None] | None = None  # what its exporters tell of jobs at a time since T0

    def node(self, now_s: float) -> Node | None:
        """Its newest sample, as it is seen at a time since T0; None: there was none yet."""
        n = int(now_s // self.period_s)
        while n >= 0 and n in self.missing:
            n -= 1
        if n < 0:
            return None
        at_s = n * self.period_s
        age_s = now_s - at_s
        powers = [w(at_s) for w in self.gpus_w]
        limit_w = MISSING if self.gpu_limit_w is None else _reading(self.gpu_limit_w(at_s), age_s)
        gpus = tuple(
            Gpu(
                k,
                "GPU",
                w=_reading(w, age_s),
                limit_w=limit_w,
                uuid=f"GPU-{self.id}-{k}",
                energy_j=self._counter(k, at_s, age_s),
            )
            for k, w in enumerate(powers)
        )
        return Node(
            self.id,
            w=_reading(self.host_w(at_s) + sum(powers), age_s),
            gpus=gpus,
            gpus_total=len(gpus),
            source=self.source,
            period_s=self.period_s,
            cpu_pct=MISSING if self.use is None else _reading(50.0, age_s),
            job_use=None if self.use is None else self.use(at_s),
        )

    def _counter(self, k: int, at_s: float, age_s: float) -> Reading:
        if not self.counters:
            return MISSING
        since_s = self.reset_at_s if at_s >= self.reset_at_s else 0.0
        return _reading(joules(self.gpus_w[k], since_s, at_s) + (0.0 if since_s else 1e6), age_s)

    def wh(self, start_s: float, end_s: float) -> float:
        """What it really draws in a span."""
        return sum(joules(w, start_s, end_s) for w in (self.host_w, *self.gpus_w)) / 3600


@dataclass(frozen=True)
class Wave:
    """A power that swings around a mean; its energy is known exactly."""

    mean_w: float
    swing_w: float
    wave_s: float

    def __call__(self, at_s: float) -> float:
        return self.mean_w + self.swing_w * math.sin(2 * math.pi * at_s / self.wave_s)

    def joules(self, start_s: float, end_s: float) -> float:
        """Its energy in a span."""
        k = 2 * math.pi / self.wave_s
        return self.mean_w * (end_s - start_s) + self.swing_w * (math.cos(k * start_s) - math.cos(k * end_s)) / k


def joules(w: Power, start_s: float, end_s: float, step_s: float = 0.25) -> float:
    """Energy of a power; of one without a formula in steps so short that no sampling of the meter is like it."""
    if isinstance(w, Wave):
        return w.joules(start_s, end_s)
    steps = max(1, round((end_s - start_s) / step_s))
    length_s = (end_s - start_s) / steps
    return sum(w(start_s + (k + 0.5) * length_s) for k in range(steps)) * length_s


def _reading(value: float, age_s: float) -> Reading:
    return Reading(value, age_s, Quality.GOOD)


@dataclass
class MeteredSite:
    """Machines, the jobs of a scheduler, and the meter; one second at a time."""

    machines: Sequence[Machine]
    jobs: Callable[[float], Sequence[Job]]  # as the scheduler shows them at a time since T0
    queue_s: float = 30.0
    terms: SiteTerms = TERMS
    cpus: Mapping[str, int] = field(default_factory=dict)
    other_w: float = 500.0  # that no node draws
    capped: Mapping[str, float] = field(default_factory=dict)
    silent: tuple[float, float] = (0.0, 0.0)  # between these the scheduler does not answer
    settled: list[Settled] = field(default_factory=list)
    state: MeterState | None = None
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.meter = self.begin(self.state)

    def begin(self, state: MeterState | None) -> JobMeter:
        """The meter of a gateway that starts."""
        self.meter = JobMeter(self.terms, schedulers=["slurm"], cpus=self.cpus, state=state)
        return self.meter

    def run(self, until_s: float) -> None:
        """Go on until then."""
        while self.now_s < until_s:
            self._second()
            self.now_s += 1.0

    def _second(self) -> None:
        now_s, meter = self.now_s, self.meter
        utc_s = T0 + now_s
        nodes = [node for machine in self.machines if (node := machine.node(now_s)) is not None]
        done(meter.see_nodes(nodes, Instant(utc_s, 5000 + now_s), self.capped))
        load_w = self.other_w + sum(m.host_w(now_s) + sum(w(now_s) for w in m.gpus_w) for m in self.machines)
        meter.accounts.see(utc_s, 5000 + now_s, load_w, load_w)
        if now_s % self.queue_s == 0 and not self.silent[0] <= now_s < self.silent[1]:
            done(meter.see_queue(QueueReading("slurm", utc_s, self.jobs(now_s))))
        done(meter.advance(utc_s, lambda _: PRICE))
        while meter.settled:
            self.settled.append(meter.settled.popleft())

    @property
    def records(self) -> list[JobRecord]:
        """The runs that are over."""
        return [row for row in self.settled if isinstance(row, JobRecord)]

    @property
    def quarters(self) -> list[SiteQuarter]:
        """The quarter hours that are over."""
        return [row for row in self.settled if isinstance(row, SiteQuarter)]

    @property
    def peaks(self) -> list[PeakInterval]:
        """The peaks in the order in which they were set."""
        return [row for row in self.settled if isinstance(row, PeakInterval)]

    def live(self, id: str) -> JobRecord:
        """A run that goes on, or is not recorded yet."""
        (found,) = (self.meter.as_known(r) for r in self.meter.allocations.every() if r.job.id == id)
        return found


def done(steps: Iterator[None]) -> None:
    """Do all steps of what takes long."""
    for _ in steps:
        pass


def between(job: Job, start_s: float, end_s: float) -> Callable[[float], Sequence[Job]]:
    """A scheduler that shows a job in a span."""
    return lambda now_s: [job] if start_s <= now_s < end_s else []
