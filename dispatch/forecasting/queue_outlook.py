"""Makes of the schedulers' queues what the load forecast needs to know of their jobs.

Every job counts once: one with a power reservation only as that says, one that is held, depends on another or is at a
limit not at all, a suspended one with what a GPU draws that keeps its memory. Power is learnt from finished jobs.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Collection, Sequence, Set

import msgspec

from dispatch.forecasting.job_power import JobPower, PowerEstimate
from dispatch.forecasting.job_queue import UNLIMITED_S, JobModel, KnownJob
from dispatch.forecasting.load import LATEST_S
from dispatch.forecasting.waiting_reasons import obstacle
from dispatch.model.forecast import QUARTER_S
from dispatch.model.job_outlook import SHOWN_STARTS, ExpectedStart, JobCounts, JobOutlook, StartBy, StartErrors
from dispatch.model.jobs import Job
from dispatch.model.reservations import Reservation

TOO_OLD_S = 900.0  # of a queue: after a step of the forecast it says nothing of how that step began
# A GPU that holds a job's memory and computes nothing draws 26 to 50 W more than an idle one of its kind with HBM
# (A100, H100; "The Model Parking Tax", 2026, arXiv:2605.23918): suspended jobs are not taken for less.
RESIDENT_W_PER_GPU = 50.0
OVERDUE_S = 900.0  # a job that could have started for so long waits for something that the queue does not show
HOLDING = ("configuring", "running", "suspended")  # states of jobs that hold GPUs and are not over
DOUBTED = 0.1  # one that counts for so much less than its power is told
ERRORS_KEPT = 200  # starts, of each kind


class QueueSeen(msgspec.Struct, frozen=True):
    """One scheduler's queue as it was read last."""

    scheduler: str  # id in the site file
    cluster: str  # what its jobs call it in their reservations
    jobs: tuple[Job, ...]
    age_s: float  # since that reading; infinite: never read
    unlisted: int = 0  # jobs that wait and are not among them, as they are too many


class _Pool:
    """What is known of the jobs of one scheduler."""

    def __init__(self) -> None:
        self.model = JobModel(0)
        self.gpus_total: int | None = None
        self.most_gpus = 0  # that its jobs ever held at once
        self.running: list[Job] | None = None  # at the last look; None: not known
        self.startable_since: dict[str, float] = {}  # jobs for which there seemed to be room
        self.seen_since: dict[str, float] = {}  # running jobs without a start, as render jobs are: when first seen


class _Sorted(msgspec.Struct):
    """The jobs of one queue, sorted out."""

    known: list[KnownJob] = []
    running: list[KnownJob] = []  # of those
    left_out: Counter[str] = msgspec.field(default_factory=Counter)
    assumed: set[str] = set()  # ids of jobs whose power is a default


class QueueModel:
    """Learns from the queues it is shown, and says what to expect of their jobs. Used by one thread at a time."""

    def __init__(self, quarters: int, power: JobPower | None = None, most_w: float = math.inf) -> None:
        """`quarters`: how far the forecast goes. `most_w`: what the site can carry at most."""
        self.power = power or JobPower()
        self._quarters, self._most_w = quarters, most_w
        self._pools: dict[str, _Pool] = {}
        self._starts = _StartRecord()
        self._seen_utc_s = 0.0
        self._end_utc_s = 0
        self._at_end: dict[str, list[Job]] = {}  # by scheduler: those that ran at the end of the last quarter hour

    def outlook(
        self,
        now_utc_s: float,
        queues: Sequence[QueueSeen],
        reservations: Sequence[Reservation] = (),
        gpus_total: int | None = None,
    ) -> JobOutlook:
        """What to expect from these queues. `gpus_total`: the site's GPUs, where known; used if there is one queue."""
        end_s = int(now_utc_s // QUARTER_S) * QUARTER_S
        if not 0 <= now_utc_s - self._seen_utc_s <= TOO_OLD_S:
            for pool in self._pools.values():
                pool.model.forget_running()
                pool.running = None
        turned = end_s != self._end_utc_s
        if turned:
            self._at_end = {name: pool.running for name, pool in self._pools.items() if pool.running is not None}
        self._seen_utc_s, self._end_utc_s = now_utc_s, end_s
        total = _Total(self._quarters)
        for queue in queues:
            if queue.age_s > TOO_OLD_S:
                total.stale.append((queue.scheduler, queue.age_s))
                self._pools.pop(queue.scheduler, None)
                self._at_end.pop(queue.scheduler, None)
            else:
                pool = self._pools.setdefault(queue.scheduler, _Pool())
                pool.gpus_total = gpus_total if len(queues) == 1 else None
                self._add(total, now_utc_s, queue, _Reserved(queue, reservations), turned)
        self._starts.forget_all_but(total.read)
        outlook = total.outlook(now_utc_s, end_s, self._starts.errors())
        return msgspec.structs.replace(outlook, usual_shares=self._usual_shares())

    def _usual_shares(self) -> dict[str, float]:
        shares = {name: pool.model.usual_share for name, pool in self._pools.items()}
        return {name: share for name, share in shares.items() if share is not None}

    def _add(self, total: _Total, now_utc_s: float, queue: QueueSeen, reserved: _Reserved, turned: bool) -> None:
        pool = self._pools[queue.scheduler]
        startless = [job.id for job in queue.jobs if job.state in HOLDING and job.started_utc_s is None]
        pool.seen_since = {id: pool.seen_since.get(id, now_utc_s) for id in startless}
        found = self._sort_out(queue, now_utc_s, reserved)
        self._add_late(total, now_utc_s, queue, reserved, found)
        self._add_ahead(total, now_utc_s, queue, found, turned)
        pool.running = [job for job in queue.jobs if job.state in HOLDING]

    def _add_late(self, total: _Total, now_utc_s: float, queue: QueueSeen, reserved: _Reserved, found: _Sorted) -> None:
        """The power of late, before the last end of a quarter hour and the next one.

        Before the last one as the jobs were at that end, but by what is known of their power now: else what was just
        learnt would look like a change of the load.
        """
        there, pool = self._at_end.get(queue.scheduler), self._pools[queue.scheduler]
        before = found.running if there is None else [self._known(job, now_utc_s, reserved, pool) for job in there]
        total.late_w += sum(_of_late_w(job, self._end_utc_s) for job in before)
        total.next_late_w += sum(_of_late_w(job, self._end_utc_s + QUARTER_S) for job in found.running)

    def _add_ahead(self, total: _Total, now_utc_s: float, queue: QueueSeen, found: _Sorted, turned: bool) -> None:
        """The power of the coming quarter hours."""
        pool = self._pools[queue.scheduler]
        pool.most_gpus = max(pool.most_gpus, sum(job.gpus for job in found.running))
        model = pool.model
        model.gpus_total = max(pool.gpus_total or 0, pool.most_gpus)
        model.observe(now_utc_s, found.known, *_begun_and_listed(queue))
        expected = model.expected_starts(now_utc_s, found.known)
        theirs = {j.id: j.expected_utc_s for j in found.known if j.expected_utc_s is not None}
        ours = expected
        if theirs:  # our own start of all of them is needed for its error alone: once a quarter hour is enough
            ours = model.expected_starts(now_utc_s, found.known, by_scheduler=False) if turned else {}
        overdue = _overdue(pool, now_utc_s, expected, theirs)
        jobs = [job for job in found.known if job.id not in overdue]
        self._starts.note(queue.scheduler, found.running, expected.keys(), ours, theirs)
        total.read.add(queue.scheduler)
        total.counts.update(found.left_out)
        total.counts["overdue"] += len(overdue)
        total.counts["unlisted"] += queue.unlisted
        near = total.add_power(model, now_utc_s, self._end_utc_s, jobs, expected)
        told = [job for job in near if now_utc_s >= job.counts_from_utc_s]
        total.count(told, expected, theirs)
        total.doubt(told, model)
        total.counts["assumed"] += sum(1 for job in told if job.id in found.assumed)

    def _sort_out(self, queue: QueueSeen, now_utc_s: float, reserved: _Reserved) -> _Sorted:
        """The jobs that are forecast, and how many are not, by the reason."""
        found, pool = _Sorted(), self._pools[queue.scheduler]
        for job in queue.jobs:
            if job.state == "completing":  # its processes have ended
                continue
            if job.state == "pending":
                why = self._against(job, pool)
                if why is not None:
                    found.left_out[why] += 1
                    continue
            found.left_out["reserved"] += reserved.until_s(job) is not None
            found.left_out["suspended"] += job.state == "suspended"
            found.known.append(self._known(job, now_utc_s, reserved, pool))
            if job.state != "pending":
                found.running.append(found.known[-1])
            if job.state != "suspended" and self._estimate(job).basis == "default":
                found.assumed.add(job.id)
        return found

    def _against(self, job: Job, pool: _Pool) -> str | None:
        """Why a waiting job is not forecast, as `JobCounts` calls it; None: it is."""
        why = obstacle(job.reason, job.expected_start_utc_s is not None)
        return "too_large" if why is None and self._too_large(job, pool) else why

    def _too_large(self, job: Job, pool: _Pool) -> bool:
        """Whether a waiting job cannot start here: nothing is to be charged or capped for it, and none waits behind it.

        A scheduler that expects its start knows of GPUs that the site file does not name, but not of its connection.
        """
        if self._estimate(job).w > self._most_w:
            return True
        known = pool.gpus_total is not None and job.expected_start_utc_s is None
        return known and job.gpus > max(pool.gpus_total or 0, pool.most_gpus)

    def _estimate(self, job: Job) -> PowerEstimate:
        return self.power.estimate(job.user, job.name, job.gpus)

    def _known(self, job: Job, now_utc_s: float, reserved: _Reserved, pool: _Pool) -> KnownJob:
        waits, reserved_until_s = job.state == "pending", reserved.until_s(job)
        started_s = pool.seen_since.get(job.id, now_utc_s) if job.started_utc_s is None else job.started_utc_s
        if job.state == "suspended":
            power_w = RESIDENT_W_PER_GPU * job.gpus
        else:
            power_w = min(self._estimate(job).w, self._most_w)
        known = KnownJob(
            id=job.id,
            power_w=power_w,
            submitted_utc_s=job.submitted_utc_s,
            started_utc_s=None if waits else min(now_utc_s, started_s),
            time_limit_s=job.time_limit_s,
            gpus=job.gpus,
            expected_utc_s=job.expected_start_utc_s if waits else None,
            user=job.user,
        )
        if reserved_until_s is not None:
            known = msgspec.structs.replace(known, counts_from_utc_s=reserved_until_s)
        return known


class _Total:
    """The sum over the queues, as it is made."""

    def __init__(self, quarters: int) -> None:
        import numpy as np

        self.late_w = self.next_late_w = 0.0
        self.ahead_w, self.waiting_w = np.zeros(quarters + 1), np.zeros(quarters + 1)
        self.counts: Counter[str] = Counter()
        self.running_w = self.expected_w = self.doubted_w = 0.0
        self.starts: list[ExpectedStart] = []  # of the largest
        self.first_start_s = math.inf
        self.read: set[str] = set()  # schedulers
        self.stale: list[tuple[str, float]] = []

    def add_power(
        self, model: JobModel, now_utc_s: float, end_s: int, jobs: Sequence[KnownJob], expected: dict[str, float]
    ) -> list[KnownJob]:
        """The power of the jobs of one scheduler. Returns those that draw any within the forecast."""
        import numpy as np

        quarters = [float(end_s + QUARTER_S * k) for k in range(len(self.ahead_w))]
        far_s = quarters[-1] + QUARTER_S
        near = [job for job in jobs if job.started_utc_s is not None or expected[job.id] < far_s]
        if near:
            powers_w = model.powers_w(now_utc_s, near, expected, quarters)
            self.ahead_w += powers_w.sum(axis=0)
            self.waiting_w += powers_w[np.array([job.started_utc_s is None for job in near])].sum(axis=0)
        self.counts["later"] += len(jobs) - len(near)
        return near

    def count(self, jobs: Sequence[KnownJob], expected: dict[str, float], by_scheduler: Collection[str]) -> None:
        """Count jobs that draw power by themselves, not by a reservation."""
        running_w = [job.power_w for job in jobs if job.started_utc_s is not None]
        self.counts["running"] += len(running_w)
        self.running_w += sum(running_w)
        self.counts["unlimited"] += sum(1 for job in jobs if not job.time_limit_s)
        waiting = [job for job in jobs if job.started_utc_s is None]
        self.counts["expected"] += len(waiting)
        self.expected_w += sum(job.power_w for job in waiting)
        self.counts["by_scheduler"] += sum(1 for job in waiting if job.id in by_scheduler)
        first_s = min((expected[job.id] for job in waiting), default=math.inf)
        self.first_start_s = min(self.first_start_s, first_s)
        for job in heapq.nlargest(SHOWN_STARTS, waiting, key=lambda job: job.power_w):
            start_s = expected[job.id]
            by: StartBy = "scheduler" if job.id in by_scheduler else "queue"
            end_s = start_s + (job.time_limit_s or UNLIMITED_S)
            self.starts.append(ExpectedStart(job.id, start_s, end_s, job.power_w, by))

    def doubt(self, jobs: Sequence[KnownJob], model: JobModel) -> None:
        """Count those that wait and count for less, as their users' jobs often do not come."""
        less_w = [job.power_w * less for job in jobs if (less := 1 - model.share_of(job)) >= DOUBTED]
        self.counts["doubted"] += len(less_w)
        self.doubted_w += sum(less_w)

    def outlook(self, now_utc_s: float, end_s: int, errors: tuple[StartErrors, ...]) -> JobOutlook:
        """What came out."""
        counts = self.counts
        return JobOutlook(
            utc_s=now_utc_s,
            end_utc_s=end_s,
            late_w=self.late_w,
            next_late_w=self.next_late_w,
            ahead_w=tuple(self.ahead_w.tolist()),
            waiting_w=tuple(self.waiting_w.tolist()),
            counts=JobCounts(
                running=counts["running"],
                running_w=self.running_w,
                reserved=counts["reserved"],
                suspended=counts["suspended"],
                expected=counts["expected"],
                expected_w=self.expected_w,
                by_scheduler=counts["by_scheduler"],
                first_start_utc_s=self.first_start_s if self.starts else None,
                later=counts["later"],
                held=counts["held"],
                dependent=counts["dependency"],
                at_limit=counts["limit"],
                unavailable=counts["unavailable"],
                overdue=counts["overdue"],
                too_large=counts["too_large"],
                unlisted=counts["unlisted"],
                unlimited=counts["unlimited"],
                assumed=counts["assumed"],
                doubted=counts["doubted"],
                doubted_w=self.doubted_w,
            ),
            queues=len(self.read),
            starts=tuple(sorted(self.starts, key=lambda start: (-start.power_w, start.job))[:SHOWN_STARTS]),
            errors=errors,
            stale=tuple(self.stale),
        )


class _Reserved:
    """Which jobs of a queue have a power reservation."""

    def __init__(self, queue: QueueSeen, reservations: Sequence[Reservation]) -> None:
        names = Counter(job.name for job in queue.jobs)
        self._by_job = {r.job_id: r for r in reservations if r.job_id and r.cluster in ("", queue.cluster)}
        # given by a person, who says only a name: it is one job's, so of several with that name none is taken for it
        self._by_name = {r.name: r for r in reservations if not r.job_id and names[r.name] == 1}

    def until_s(self, job: Job) -> float | None:
        """Until when its reservation has its power; None: it has none."""
        if not self._by_job and not self._by_name:
            return None
        reservation = self._by_job.get(job.id) or self._by_job.get(job.number) or self._by_name.get(job.name)
        return None if reservation is None else reservation.end_utc_s


class _StartRecord:
    """The start first expected of each waiting job, by both, and what came of it."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, dict[StartBy, float]]] = {}  # by scheduler, job
        self._errors: dict[StartBy, deque[float]] = {by: deque(maxlen=ERRORS_KEPT) for by in ("scheduler", "queue")}

    def note(
        self,
        scheduler: str,
        running: Sequence[KnownJob],
        waiting: Set[str],
        ours: dict[str, float],
        theirs: dict[str, float],
    ) -> None:
        """Take in what runs now, and what is expected of the rest."""
        known = self._expected.setdefault(scheduler, {})
        for job in running:
            first = known.pop(job.id, None)
            if first is not None and job.started_utc_s is not None:
                for by, expected_s in first.items():
                    self._errors[by].append(job.started_utc_s - expected_s)
        of_whom: tuple[tuple[StartBy, dict[str, float]], ...] = (("queue", ours), ("scheduler", theirs))
        for by, starts in of_whom:
            for id, start_s in starts.items():
                known.setdefault(id, {}).setdefault(by, start_s)
        for gone in known.keys() - waiting:  # neither runs nor waits
            del known[gone]

    def forget_all_but(self, schedulers: set[str]) -> None:
        """The queues of the others are not read: which of their jobs started, and when, is not known."""
        for gone in self._expected.keys() - schedulers:
            del self._expected[gone]

    def errors(self) -> tuple[StartErrors, ...]:
        """Of both, where there are any."""
        found: list[StartErrors] = []
        for by, late_s in self._errors.items():
            if late_s:
                ordered = sorted(late_s)
                low_s, median_s, high_s = (ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.5, 0.9))
                found.append(StartErrors(by, len(ordered), median_s, low_s, high_s))
        return tuple(found)


def _begun_and_listed(queue: QueueSeen) -> tuple[set[str], set[str] | None]:
    """The ids of a queue's jobs that do not wait, and of all; None: it lists not all."""
    begun = {job.id for job in queue.jobs if job.state != "pending"}
    return begun, None if queue.unlisted else {job.id for job in queue.jobs}


def _overdue(pool: _Pool, now_utc_s: float, expected: dict[str, float], theirs: dict[str, float]) -> set[str]:
    """Jobs for which there has been room for a while by our reading alone, and which have not started."""
    startable = {id for id, start_s in expected.items() if start_s <= now_utc_s and id not in theirs}
    pool.startable_since = {id: pool.startable_since.get(id, now_utc_s) for id in startable}
    return {id for id, since_s in pool.startable_since.items() if now_utc_s - since_s > OVERDUE_S}


def _of_late_w(job: KnownJob, end_utc_s: float) -> float:
    """A running job's mean power in the last minutes before this end; see `JobModel.known_w`."""
    assert job.started_utc_s is not None
    if end_utc_s < job.counts_from_utc_s:
        return 0.0
    return job.power_w * min(1.0, max(0.0, end_utc_s - job.started_utc_s) / LATEST_S)
