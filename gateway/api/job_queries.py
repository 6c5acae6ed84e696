"""Requests about jobs: what they draw and cost, and what nodes report of them.

A viewer, and a scheduler, sees the jobs of the Unix user that the kernel names; operators see all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dispatch.config.demand_terms import DemandTerms
from gateway.api.command_log import CommandLog, Handler
from gateway.api.interfaces import JobAccounts, Records
from gateway.api.job_report import MOST_JOBS, job_report, shown_job
from gateway.api.peer import Peer
from gateway.api.roles import Role
from gateway.errors import CommandRefused
from storage.jobs import JobQuestion

TEXT_MOST, GPUS_MOST = 128, 64
NO_SCHEDULER = "the site file names no scheduler ([[scheduler]]), so no job is known"


class JobQueries:
    """Answers them."""

    def __init__(
        self, charges: Sequence[DemandTerms], *, log: CommandLog, accounts: JobAccounts, records: Records
    ) -> None:
        self._charges, self._log, self._accounts, self._records = tuple(charges), log, accounts, records
        self.handlers: dict[str, Handler] = {
            "jobs.list": self._list,
            "jobs.report": self._report,
            "job.report": self._told,
            "job.progress": self._progress,
        }

    async def _whose(self, peer: Peer, method: str, asked: Any) -> str | None:
        """The user whose jobs may be shown and are asked for; None: everybody's. Raises CommandRefused."""
        user = None if asked is None else str(asked)
        if user == peer.user:
            return user
        if user is not None:
            await self._log.permit(peer, f"{method} of others")
            return user
        standing = await self._log.standing(peer)
        return None if standing.role >= Role.OPERATOR else peer.user

    async def _list(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Jobs that run, those that draw most first. Params: `user`, `limit`."""
        user = await self._whose(peer, "jobs.list", params.get("user"))
        if not self._accounts.active:
            raise CommandRefused(NO_SCHEDULER)
        found = sorted(await self._accounts.live(user), key=lambda record: -record.energy_wh)
        shown = found[: _limit(params)]
        return {
            "jobs": [shown_job(record) for record in shown],
            "of": len(found),
            "user": user,
            "not_metered": self._accounts.full,
        }

    async def _report(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Runs that ended in [start_utc_s, end_utc_s), the last first.

        Params: `user`, `account`, `partition`; `by` adds them up; `limit`; `before`: end and number of the last run
        of the page before. Operators get the site's account of that time, too.
        """
        user = await self._whose(peer, "jobs.report", params.get("user"))
        asked = JobQuestion(
            start_utc_s=_time(params["start_utc_s"]),
            end_utc_s=_time(params["end_utc_s"]),
            user=user,
            account=_text(params.get("account")),
            partition=_text(params.get("partition")),
        )
        by, limit, before = _text(params.get("by")), _limit(params), params.get("before")
        after = None if before is None else (_time(before[0]), int(before[1]))
        charges = self._charges
        report = await self._records.ask(lambda archive: job_report(archive, charges, asked, by, limit, after))
        return report | {"user": user} | ({} if asked.everybody else {"site": None})

    async def _told(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What a node's prolog or epilog says. Params: `what` start or end, `job_id`, `cluster`, `gpu_uuids`.

        Others are left.
        """
        if not self._accounts.active:
            raise CommandRefused(NO_SCHEDULER)
        what, job, cluster = str(params["what"]), _job_id(params), str(params.get("cluster") or "")
        gpus = params.get("gpu_uuids") or ()
        if not isinstance(gpus, list | tuple) or len(gpus) > GPUS_MOST:
            raise ValueError(f"gpu_uuids: expected a list of at most {GPUS_MOST}")
        if any(not isinstance(uuid, str) or not 0 < len(uuid) <= TEXT_MOST for uuid in gpus):
            raise ValueError(f"gpu_uuids: expected texts of at most {TEXT_MOST} characters")
        if what not in ("start", "end"):
            raise ValueError(f"what {what!r}: expected start or end")
        accounts = self._accounts
        taken = accounts.begins(job, gpus, cluster) if what == "start" else accounts.ends(job, cluster)
        if not taken:
            raise CommandRefused("too many jobs or GPUs were reported that no queue has shown yet")
        return {"taken": True}

    async def _progress(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What a job has done since its start. Params: `job_id`, `units`, `cluster`, `user` whose job it is."""
        asked, standing = params.get("user"), await self._log.standing(peer)
        anybody = asked is None and standing.role >= Role.SCHEDULER
        user = None if anybody else await self._whose(peer, "job.progress", asked)
        if not self._accounts.active:
            raise CommandRefused(NO_SCHEDULER)
        job, cluster = _job_id(params), str(params.get("cluster") or "")
        units = float(params["units"])
        if not math.isfinite(units) or units < 0:
            raise ValueError(f"units {params['units']!r}: expected a number from 0")
        return {"taken": True, "spans": self._accounts.progress(job, units, cluster, user)}


def _job_id(params: dict[str, Any]) -> str:
    job = str(params["job_id"])
    if not job or len(job) > TEXT_MOST:
        raise ValueError(f"job_id: expected 1 to {TEXT_MOST} characters")
    return job


def _limit(params: dict[str, Any]) -> int:
    return max(1, min(int(params.get("limit", 100)), MOST_JOBS))


def _time(value: Any) -> float:
    utc_s = float(value)
    if not math.isfinite(utc_s) or abs(utc_s) > 1e11:
        raise ValueError(f"{value!r} is no time")
    return utc_s


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
