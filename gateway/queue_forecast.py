"""Evaluates the schedulers' queues in a thread of its own: each time they are read, and each quarter hour.

What the jobs of a queue draw is learnt from jobs that ended. A plan is asked for anew where the jobs' power in the next
hours is no longer what the plan in force was made with: one started, ended early, or waits longer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from dispatch.accounting.records import JobRecord
from dispatch.accounting.shares import IDLE_W_PER_GPU
from dispatch.forecasting.job_power import JobPower
from dispatch.forecasting.load import PROBES
from dispatch.forecasting.queue_outlook import QueueModel, QueueSeen
from dispatch.model.clock import Clock
from dispatch.model.equipment import Node
from dispatch.model.forecast import QUARTER_S
from dispatch.model.job_outlook import JobOutlook
from dispatch.model.reservations import Reservation
from gateway.parts_in_trouble import PartsInTrouble
from gateway.queues_in_force import QueuesInForce
from gateway.supervised_calls import PartHangs, SupervisedCalls

EVALUATE_S = 30.0  # machine seconds; 5000 jobs take 0.05
REMEMBERED = 2000  # finished jobs, for a model that has to be made anew
WORTH_SHARE = 0.02  # of the contracted peak: what is less is lost in what the load does by itself
WORTH_STEPS = 8  # quarter hours in which it is looked for: later ones change with every reading


# What a finished run must have been to teach what its like draw.
SHORTEST_S = 300.0  # a shorter one only loaded its program and data
COVERED_PCT = 50.0  # of its time, with readings
HOST_SHARE = 1.2  # a server draws at its supply what its GPUs draw times this, and a constant (the same)


class MeasuredJob(msgspec.Struct, frozen=True):
    """What is learnt from a job that ended."""

    user: str
    name: str
    gpus: int
    above_idle_w: float


class QueueForecast:
    """The outlook on the jobs. Used on the event loop; only the model is used in the thread, by one call at a time."""

    def __init__(
        self,
        queues: Callable[[], Sequence[QueueSeen]],
        clock: Clock,
        parts: PartsInTrouble,
        contracted_peak_w: float,
        most_w: float,
        on_outlook: Callable[[JobOutlook], bool],
        on_change: Callable[[], None],
    ) -> None:
        """`most_w`: what the site can carry.

        `on_outlook` takes each outlook, and says whether forecasts follow it; `on_change`: a plan is to be made anew.
        """
        self._queues, self._clock = queues, clock
        self._on_outlook, self._on_change = on_outlook, on_change
        self._worth_w = WORTH_SHARE * contracted_peak_w
        self._calls = SupervisedCalls("job forecast", EVALUATE_S, parts)
        self._most_w = most_w
        self._model = QueueModel(max(PROBES), most_w=most_w)
        self._measured: deque[MeasuredJob] = deque(maxlen=REMEMBERED)
        self._unlearnt: list[MeasuredJob] = []
        self._reservations: tuple[Reservation, ...] = ()
        self._nodes: tuple[Node, ...] = ()
        self._last: JobOutlook | None = None
        self._planned: JobOutlook | None = None  # that the plan in force was made with
        self._woken = asyncio.Event()

    def usual_share(self, scheduler: str) -> float | None:
        """Of their time limit nine of ten of its jobs run at least; None: not known."""
        return None if self._last is None else self._last.usual_shares.get(scheduler)

    def evaluate_anew(self) -> None:
        """A queue was read, or could not be; or something else is known of its jobs."""
        self._woken.set()

    def reserve(self, reservations: Sequence[Reservation]) -> None:
        """Power is promised to these jobs: they are counted by that."""
        self._reservations = tuple(reservations)
        self.evaluate_anew()

    def learn(self, runs: Iterable[JobRecord]) -> None:
        """Take in runs of jobs that ended, oldest first."""
        jobs = [job for run in runs if (job := measured(run)) is not None]
        self._measured.extend(jobs)
        self._unlearnt.extend(jobs)

    def note_nodes(self, nodes: tuple[Node, ...]) -> None:
        """The site's nodes: how many GPUs there are, and what one may draw."""
        self._nodes = nodes

    def planned(self) -> None:
        """A plan is made from the last outlook."""
        self._planned = self._last

    def forget(self) -> None:
        """The clock was set: what was seen belongs to other hours."""
        self._last = self._planned = None
        self.evaluate_anew()

    async def run(self) -> None:
        """Evaluate until cancelled."""
        while True:
            self._woken.clear()
            await self.evaluate()
            left_s = QUARTER_S - self._clock.utc_s() % QUARTER_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s / self._clock.speed):
                    await self._woken.wait()

    async def evaluate(self) -> None:
        """Make an outlook of the queues as they are known now."""
        queues = tuple(self._queues())
        if not queues:
            return
        fresh, self._unlearnt = self._unlearnt, []
        call = (self._clock.utc_s(), queues, self._reservations, self._nodes, fresh)
        try:
            outlook = await self._calls.call(_evaluate, self._model, *call)
        except PartHangs:  # said by its alarm; the thread that hangs keeps the model that it has
            self._model, self._unlearnt = QueueModel(max(PROBES), JobPower(), self._most_w), list(self._measured)
            return
        before, self._last = self._planned, outlook
        if self._on_outlook(outlook) and before is not None and _differs_w(before, outlook) > self._worth_w:
            self._on_change()

    async def close(self, limit_s: float) -> None:
        """Wait for the evaluation under way."""
        await self._calls.ended(limit_s)


def measured(run: JobRecord) -> MeasuredJob | None:
    """What a finished run teaches. None: too short or too seldom measured, or its GPUs' power is not known.

    Only the GPUs' part counts, less what they draw idle, with their hosts' share of it: how much of its hosts' power
    is there without the job is not known. What caps took is added, as the next job may not be capped.
    """
    if not run.gpus or not run.gpu_wh or run.mean_w is None or run.ended_utc_s is None:
        return None
    ran_s = run.ended_utc_s - run.started_utc_s - run.suspended_s
    if ran_s < SHORTEST_S or run.covered_pct < COVERED_PCT or run.suspended_s > ran_s / 10:
        return None
    gpus_w = run.mean_w * (run.gpu_wh + run.withheld_wh) / run.energy_wh
    above_idle_w = HOST_SHARE * max(0.0, gpus_w - IDLE_W_PER_GPU * run.gpus)
    return MeasuredJob(run.user, run.name, run.gpus, above_idle_w)


def seen(queues: QueuesInForce) -> tuple[QueueSeen, ...]:
    """The queues in force, as they are evaluated."""
    return tuple(
        QueueSeen(queue.scheduler, queue.cluster, queue.jobs, queues.age_s(queue.scheduler), queue.more_waiting)
        for queue in queues.queues
    )


def _evaluate(
    model: QueueModel,
    now_utc_s: float,
    queues: Sequence[QueueSeen],
    reservations: Sequence[Reservation],
    nodes: Sequence[Node],
    fresh: Sequence[MeasuredJob],
) -> JobOutlook:
    """In the thread."""
    limits_w = [w for node in nodes for gpu in node.gpus if (w := gpu.limit_w.good) is not None]
    if limits_w:
        model.power.limit_gpus_to(max(limits_w))
    gpus = sum(max(node.gpus_total, len(node.gpus)) for node in nodes)
    for job in fresh:
        model.power.learn(job.user, job.name, job.gpus, job.above_idle_w)
    return model.outlook(now_utc_s, queues, reservations, gpus or None)


def _differs_w(before: JobOutlook, now: JobOutlook) -> float:
    """The greatest difference of the jobs' power in the next quarter hours of which both tell, W."""
    shift = (now.end_utc_s - before.end_utc_s) // QUARTER_S
    if shift < 0:
        return 0.0
    pairs = zip(before.ahead_w[shift : shift + WORTH_STEPS], now.ahead_w[:WORTH_STEPS], strict=False)
    return max((abs(a - b) for a, b in pairs), default=0.0)
