"""Queues of schedulers, in words."""

from __future__ import annotations

from collections.abc import Iterable

from console.display.formats import duration, how_old
from console.display.language import say, say_n, words
from dispatch.accounting.records import JobRecord
from dispatch.model.jobs import QueueNow, RunningJob, StartPower, on_node
from dispatch.wording.formatting import kw


def queue_counts(queue: QueueNow) -> str:
    """How many jobs run and wait, with how many GPUs."""
    running, waiting = say("queue.running", n=queue.running), say("queue.waiting", n=queue.waiting)
    if queue.running_gpus:
        running = say("queue.on", what=running, gpus=_gpus(queue.running_gpus))
    if queue.waiting_gpus:
        waiting = say("queue.for", what=waiting, gpus=_gpus(queue.waiting_gpus))
    return f"{running}, {waiting}"


def queue_sentence(queue: QueueNow) -> str:
    """A queue in one line of a command: its counts and their age in words, or why it is not read."""
    age_s = queue.age_s
    if age_s is None:
        return queue_line(queue)
    return _line(queue, say("queue.just_read") if age_s < 1 else say("queue.read_ago", duration=duration(age_s)))


def queue_line(queue: QueueNow, extra_age_s: float = 0.0) -> str:
    """A queue in one line on screen: its counts and their age, or why it is not read."""
    return _line(queue, how_old(None if queue.age_s is None else queue.age_s + extra_age_s))


def _line(queue: QueueNow, old: str) -> str:
    if queue.read_utc_s is None:
        why = say("queue.not_read", error=queue.error) if queue.error else say("queue.not_read_yet")
        return f"{queue.scheduler}: {why}"
    told = f"{queue.scheduler}: {queue_counts(queue)}, {old}"
    return say("queue.not_read_now", what=told, error=queue.error) if queue.error else told


def power_lines(queue: QueueNow) -> list[str]:
    """How much power is kept back from the jobs of a queue; no line where none is."""
    return [] if queue.power is None else [f"{queue.scheduler}: {power_text(queue.power)}"]


def power_text(power: StartPower) -> str:
    """The power of jobs as their scheduler counts it, in licences or frames: free, held by jobs, kept back, of all."""
    if power.free_w is None or power.total_w is None:
        return say("queue.power_not_known", error=power.error) if power.error else say("queue.power_not_known_yet")
    others = say("queue.others", w=kw(power.others_w)) if power.others_w else ""
    figures = {"free": power.free_w, "held": power.held_w, "kept": power.kept_w, "total": power.total_w}
    text = say("queue.free", others=others, **{name: kw(w) for name, w in figures.items()})
    closed = f"; {words(power.closed)}" if power.closed is not None else ""
    error = say("queue.not_renewed", error=power.error) if power.error else ""
    return f"{text}{closed}{error}"


def job_line(job: RunningJob, now_utc_s: float | None, drawn: Iterable[JobRecord] = ()) -> str:
    """A job that holds nodes: by name, user, GPUs, since when; what it has drawn and cost, where that is known."""
    since = ""
    if job.started_utc_s is not None and now_utc_s is not None:
        since = say("job.for", duration=duration(max(0.0, now_utc_s - job.started_utc_s)))
    state = "" if job.state == "running" else job.state
    cpus = say_n("queue.cpu", job.cpus) if job.cpus else ""  # 0: the scheduler does not say
    share = _gpus(job.gpus) if job.gpus else cpus
    nodes = say("queue.nodes", n=len(job.nodes)) if len(job.nodes) > 1 else ""
    record = next((r for r in drawn if (r.id, r.user, r.ended_utc_s) == (job.id, job.user, None)), None)
    energy = "" if record is None else drawn_text(record)
    return "  ".join(part for part in (job.id, job.name, job.user, share, nodes, since, state, energy) if part)


def drawn_text(record: JobRecord) -> str:
    """What a job has drawn so far, how that is known, and what it cost as far as it is priced."""
    seen = "" if record.covered_pct >= 99 else say("job.seen", pct=f"{record.covered_pct:.0f}")
    cost = "" if record.cost_eur is None else f", {record.cost_eur:.2f} EUR"
    return f"{record.energy_wh / 1000:.2f} kWh{cost}, {record.how}{seen}"


def jobs_on(node: str, queues: Iterable[QueueNow]) -> list[RunningJob]:
    """The jobs that hold a node, which the scheduler knows by the same name, perhaps without its domain."""
    return [job for queue in queues for job in queue.jobs if on_node(job.nodes, node)]


def _gpus(count: int) -> str:
    return say_n("queue.gpu", count)
