"""The request for the jobs of the schedulers' queues: all of them, page by page."""

from __future__ import annotations

from typing import Any

import msgspec

from dispatch.model.jobs import Job, on_node
from gateway.api.command_log import CommandLog, Handler
from gateway.api.interfaces import Queues
from gateway.api.job_names import shown_jobs
from gateway.api.peer import Peer

MOST_JOBS = 500  # of one answer, 0.4 kB each
MOST_NODES = 20_000  # names of nodes in one answer, 40 bytes at most


class QueueCommands:
    """Tells what the schedulers' queues hold."""

    def __init__(self, queues: Queues, log: CommandLog) -> None:
        self._queues, self._log = queues, log
        self.handlers: dict[str, Handler] = {"queue.jobs": self._jobs}

    async def _jobs(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Jobs from number `skip` on, running ones first. `node`: only those that run there. `scheduler`: only its.

        `named`: the user whose jobs have their names; None: all have. `told`: what owners of these are told, by the
        job's place in the list.
        """
        node, scheduler = params.get("node"), params.get("scheduler")
        found = [job for queue in self._queues.queues for job in queue.jobs if scheduler in (None, queue.scheduler)]
        if node is not None:
            found = [job for job in found if job.runs and self._is_on(job, node)]
        found = [*(job for job in found if job.runs), *(job for job in found if not job.runs)]
        user = await self._log.named(peer)
        page = _page(found[max(0, int(params.get("skip", 0))) :])
        return {
            "queues": [msgspec.to_builtins(msgspec.structs.replace(now, jobs=())) for now in self._queues.now()],
            "jobs": [msgspec.to_builtins(job) for job in shown_jobs(page, user)],
            "told": {
                str(n): msgspec.to_builtins(told)
                for n, job in enumerate(page)
                if user in (None, job.user) and (told := self._queues.told(job)) is not None
            },
            "of": len(found),
            "named": user,
        }

    def _is_on(self, job: Job, node: str) -> bool:
        """Whether it holds a node: by its id here, or by the scheduler's name."""
        return on_node(job.nodes, node) or any(self._queues.node_of(name) == node for name in job.nodes)


def _page(jobs: list[Job]) -> list[Job]:
    nodes = 0
    for n, job in enumerate(jobs[:MOST_JOBS]):
        nodes += len(job.nodes)
        if nodes > MOST_NODES and n:
            return jobs[:n]
    return jobs[:MOST_JOBS]
