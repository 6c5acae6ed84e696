"""Queues of schedulers, in words."""

from __future__ import annotations

from collections.abc import Iterable

from console.display.formats import duration, how_old
from console.display.language import words
from dispatch.accounting.records import JobRecord
from dispatch.model.jobs import QueueNow, RunningJob, StartPower, on_node
from dispatch.wording.formatting import kw


def queue_counts(queue: QueueNow) -> str:
    """How many jobs run and wait, with how many GPUs."""
    running, waiting = f"{queue.running} running", f"{queue.waiting} waiting"
    if queue.running_gpus:
        running += f" on {_gpus(queue.running_gpus)}"
    if queue.waiting_gpus:
        waiting += f" for {_gpus(queue.waiting_gpus)}"
    return f"{running}, {waiting}"


def queue_sentence(queue: QueueNow) -> str:
    """A queue in one line of a command: its counts and their age in words, or why it is not read."""
    age_s = queue.age_s
    if age_s is None:
        return queue_line(queue)
    return _line(queue, "just read" if age_s < 1 else f"read {duration(age_s)} ago")


def queue_line(queue: QueueNow, extra_age_s: float = 0.0) -> str:
    """A queue in one line on screen: its counts and their age, or why it is not read."""
    return _line(queue, how_old(None if queue.age_s is None else queue.age_s + extra_age_s))


def _line(queue: QueueNow, old: str) -> str:
    if queue.read_utc_s is None:
        return f"{queue.scheduler}: not read: {queue.error}" if queue.error else f"{queue.scheduler}: not read yet"
    told = f"{queue.scheduler}: {queue_counts(queue)}, {old}"
    return f"{told}, NOT READ: {queue.error}" if queue.error else told


def power_lines(queue: QueueNow) -> list[str]:
    """How much power is kept back from the jobs of a queue; no line where none is."""
    return [] if queue.power is None else [f"{queue.scheduler}: {power_text(queue.power)}"]


def power_text(power: StartPower) -> str:
    """The power of jobs as their scheduler counts it, in licences or frames: free, held by jobs, kept back, of all."""
    if power.free_w is None or power.total_w is None:
        return f"power of jobs not known: {power.error}" if power.error else "power of jobs not known yet"
    others = f", of others {kw(power.others_w)}" if power.others_w else ""
    parts = f"held {kw(power.held_w)}, kept back {kw(power.kept_w)}{others}, of {kw(power.total_w)}"
    closed = f"; {words(power.closed)}" if power.closed is not None else ""
    error = f"; NOT RENEWED: {power.error}" if power.error else ""
    return f"{kw(power.free_w)} free for jobs, {parts}{closed}{error}"


def job_line(job: RunningJob, now_utc_s: float | None, drawn: Iterable[JobRecord] = ()) -> str:
    """A job that holds nodes: by name, user, GPUs, since when; what it has drawn and cost, where that is known."""
    since = ""
    if job.started_utc_s is not None and now_utc_s is not None:
        since = f"for {duration(max(0.0, now_utc_s - job.started_utc_s))}"
    state = "" if job.state == "running" else job.state
    cpus = f"{job.cpus} CPU{'' if job.cpus == 1 else 's'}" if job.cpus else ""  # 0: the scheduler does not say
    share = _gpus(job.gpus) if job.gpus else cpus
    nodes = f"{len(job.nodes)} nodes" if len(job.nodes) > 1 else ""
    record = next((r for r in drawn if (r.id, r.user, r.ended_utc_s) == (job.id, job.user, None)), None)
    energy = "" if record is None else drawn_text(record)
    return "  ".join(part for part in (job.id, job.name, job.user, share, nodes, since, state, energy) if part)


def drawn_text(record: JobRecord) -> str:
    """What a job has drawn so far, how that is known, and what it cost as far as it is priced."""
    seen = "" if record.covered_pct >= 99 else f", {record.covered_pct:.0f} % seen"
    cost = "" if record.cost_eur is None else f", {record.cost_eur:.2f} EUR"
    return f"{record.energy_wh / 1000:.2f} kWh{cost}, {record.how}{seen}"


def jobs_on(node: str, queues: Iterable[QueueNow]) -> list[RunningJob]:
    """The jobs that hold a node, which the scheduler knows by the same name, perhaps without its domain."""
    return [job for queue in queues for job in queue.jobs if on_node(job.nodes, node)]


def _gpus(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"
