"""Checks of schedulers whose queues are read: the keys of their kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from dispatch.config.cross_checks import Finding
from drivers.schedulers.config import Scheduler
from gateway.site.schema import Site
from gateway.site.unread import Unreadable

MOST_SCHEDULERS = 8


def schedulers(site: Site) -> Iterator[Finding]:
    """Each is named once and has the keys of its kind."""
    if len(site.scheduler) > MOST_SCHEDULERS:
        yield "scheduler", len(site.scheduler), f"at most {MOST_SCHEDULERS} schedulers"
    seen = Counter[str]()
    for n, scheduler in enumerate(site.scheduler):
        with suppress(Unreadable):
            seen[scheduler.id] += 1
            if seen[scheduler.id] > 1:
                yield f"scheduler[{n}].id", scheduler.id, "another name; one [[scheduler]] has it already"
        with suppress(Unreadable):
            yield from ((f"scheduler[{n}].{key}", value, expected) for key, value, expected in _own(scheduler))


def _own(scheduler: Scheduler) -> Iterator[Finding]:
    if scheduler.kind == "command" and not scheduler.command:
        yield "command", [], 'the command and its arguments, such as ["/usr/local/bin/jobs"]'
    if scheduler.kind == "file" and not scheduler.file:
        yield "file", "", 'the file with the lines, such as "jobs.jsonl"'
    if scheduler.kind != "command" and scheduler.command:
        yield "command", list(scheduler.command), f'no such key with kind = "{scheduler.kind}"'
    if scheduler.kind != "file" and scheduler.file:
        yield "file", scheduler.file, f'no such key with kind = "{scheduler.kind}"'
    if scheduler.kind != "slurm" and scheduler.squeue != ("squeue",):
        yield "squeue", list(scheduler.squeue), f'no such key with kind = "{scheduler.kind}"'
    if scheduler.admit and scheduler.kind != "slurm":
        yield "admit", True, f'no such key with kind = "{scheduler.kind}": licences are kept back in Slurm only'
    if scheduler.deadline_s > scheduler.period_s:
        yield "deadline_s", scheduler.deadline_s, f"at most period_s, {scheduler.period_s:g}; give both"
