"""Checks of schedulers whose queues are read: the keys of their kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from dispatch.config.cross_checks import Finding
from drivers.kubernetes.config import KubernetesServer
from drivers.schedulers.config import Scheduler
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY, Unreadable

MOST_SCHEDULERS = 8
PLAIN = Scheduler(id="plain", kind="slurm")
# keys of `admit`: whether of Slurm (True), of other kinds (False), or of all (None)
OF_ADMIT = {
    "scontrol": True,
    "license": True,
    "limit": False,
    "limit_unit_w": False,
    "admit_to": None,
    "admit_for_h": None,
}
# keys that go with one kind
OF_KIND = {
    "command": "command",
    "file": "file",
    "squeue": "slurm",
    "kubernetes": "kueue",
    "gpu_resources": "kueue",
    "user_label": "kueue",
}


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
            found = (*_own(scheduler, site.kubernetes), *_telling(scheduler))
            yield from ((f"scheduler[{n}].{key}", value, expected) for key, value, expected in found)


def _own(scheduler: Scheduler, clusters: Sequence[KubernetesServer]) -> Iterator[Finding]:
    if scheduler.kind == "command" and not scheduler.command:
        yield "command", [], 'the command and its arguments, such as ["/usr/local/bin/jobs"]'
    if scheduler.kind == "file" and not scheduler.file:
        yield "file", "", 'the file with the lines, such as "jobs.jsonl"'
    ids = [cluster.id for cluster in clusters]
    if scheduler.kind == "kueue" and scheduler.kubernetes not in ids:
        known = ", ".join(sorted(ids)) or "there is none"
        yield "kubernetes", scheduler.kubernetes or MISSING_KEY, f"the id of a [[kubernetes]]: {known}"
    yield from _of_another_kind(scheduler)
    yield from _admission(scheduler)
    if scheduler.deadline_s > scheduler.period_s:
        yield "deadline_s", scheduler.deadline_s, f"at most period_s, {scheduler.period_s:g}; give both"


def _admission(scheduler: Scheduler) -> Iterator[Finding]:
    """Keys of `admit` without it, and those of another kind."""
    slurm = scheduler.kind == "slurm"
    for key, value in _given(scheduler, OF_ADMIT):
        if not _may_have(scheduler, key):
            yield key, value, "no such key without admit = true, which lets it keep power back from jobs that start"
        elif OF_ADMIT[key] not in (None, slurm):
            yield key, value, f'no such key with kind = "{scheduler.kind}"'
    if scheduler.admit and not slurm:
        if not scheduler.limit:
            yield "limit", [], 'the command that sets the limit, such as ["/opt/skerry/adapters/opencue-limit", ...]'
        elif not scheduler.limit_unit_w:
            yield "limit_unit_w", 0, "what one frame draws above an idle node, W, such as 450"


def _of_another_kind(scheduler: Scheduler) -> Iterator[Finding]:
    for key, value in _given(scheduler, (key for key, kind in OF_KIND.items() if kind != scheduler.kind)):
        yield key, value, f'no such key with kind = "{scheduler.kind}"'


def _given(scheduler: Scheduler, keys: Iterable[str]) -> Iterator[tuple[str, object]]:
    """Those of these keys that have another value than without them, with that value as a site file has it."""
    for key in keys:
        if (value := getattr(scheduler, key)) != getattr(PLAIN, key):
            yield key, list(value) if isinstance(value, tuple) else value


def _may_have(scheduler: Scheduler, key: str) -> bool:
    return scheduler.admit or (key == "scontrol" and scheduler.tell_owners)


def _telling(scheduler: Scheduler) -> Iterator[Finding]:
    """Keys by which owners of jobs are told something: each with its own kinds."""
    if scheduler.tell_owners and scheduler.kind != "slurm":
        yield "tell_owners", True, f'no such key with kind = "{scheduler.kind}"; with it, tell = ["command"] does that'
    if scheduler.tell and scheduler.kind == "slurm":
        yield "tell", list(scheduler.tell), 'no such key with kind = "slurm"; there tell_owners = true does that'
