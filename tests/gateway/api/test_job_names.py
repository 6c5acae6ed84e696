"""A console is sent the names of those jobs that its user may see by name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from waiting import LIMIT_S, until

from dispatch.model.jobs import Job, QueueNow, RunningJob
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation
from drivers.schedulers.config import Scheduler
from drivers.schedulers.job_list import QueueRead
from gateway.api.client import GatewayClient
from gateway.api.command_log import CommandLog
from gateway.api.job_names import shown_jobs, shown_queues, shown_reservations
from gateway.api.peer import Peer, user_name
from gateway.api.protocol import Published, Welcome
from gateway.api.queue_commands import QueueCommands
from gateway.api.roles import Roles
from gateway.api.server import LinkServer
from gateway.queues_in_force import QueuesInForce
from gateway.site.schema import RolesConfig
from gateway.supervised_calls import PartHangs

OWN = user_name(os.getuid())
JOBS = tuple(
    RunningJob(id, "train", user, "running", 4, 8, None, ("gpu01",)) for id, user in (("1", "bert"), ("2", OWN))
)


@pytest.mark.parametrize("operator", [False, True])
async def test_a_console_gets_names_by_its_users_role(
    tmp_path: Path, welcome: Callable[[Peer], Welcome], published: Callable[[int], Published], operator: bool
) -> None:
    """Until the role is known it gets those of the own jobs alone."""
    known = asyncio.Event()

    async def named(peer: Peer) -> str | None:
        await known.wait()
        return None if operator else peer.user

    async def names() -> list[str]:
        async with asyncio.timeout(LIMIT_S):
            message = await anext(aiter(client.messages()))
            while not isinstance(message, Published):
                message = await anext(aiter(client.messages()))
        assert [(job.id, job.gpus, job.nodes) for job in message.queues[0].jobs] == [(j.id, 4, j.nodes) for j in JOBS]
        return [f"{job.name} of {job.user}" for job in message.queues[0].jobs]

    async def answer(*_: object) -> None:
        return None

    server = LinkServer(tmp_path / "s.sock", welcome, answer, named=named)
    await server.start()
    shown = msgspec.structs.replace(published(1), queues=(QueueNow(scheduler="alpha", running=2, jobs=JOBS),))
    server.consoles.publish(shown)
    client = await GatewayClient.connect(server.path, rate_hz=50)
    assert await names() == [" of ", f"train of {OWN}"]
    (session,) = server.consoles.sessions
    known.set()
    await until(lambda: session.named is None if operator else session.named == OWN)
    await asyncio.sleep(0.05)  # then another snapshot is due, on any machine
    server.consoles.publish(shown)
    assert await names() == ["train of bert" if operator else " of ", f"train of {OWN}"]
    await client.close()
    await server.close()


@pytest.mark.parametrize("user", [None, "ann", "eve"])
async def test_what_owners_are_told_is_seen_by_them_and_operators(user: str | None) -> None:
    async def named(peer: Peer) -> str | None:
        return user

    queues = QueuesInForce([Scheduler(id="slurm", kind="slurm")])
    submitted: dict[str, Any] = {"scheduler": "slurm", "submitted_utc_s": 1.0, "nodes": ("gpu01",)}
    jobs = (
        Job(id="7", user="bob", state="running", **submitted),
        Job(id="9_3", user="ann", state="pending", **submitted),
        Job(id="9_4", user="ann", state="running", **submitted),
    )
    queues.take("slurm", QueueRead(jobs=jobs), 1.0)
    note = Reason("told.start_unknown")
    queues.note_told({("slurm", "7"): note, ("slurm", "9_"): note})
    log: Any = SimpleNamespace(named=named)
    answer = await QueueCommands(queues, log).handlers["queue.jobs"](Peer(1, 10, 10, "x"), {})
    shown = {answer["jobs"][int(n)]["id"]: told["code"] for n, told in answer["told"].items()}
    every = {"7": "told.start_unknown", "9_3": "told.start_unknown"}
    assert shown == {id: code for id, code in every.items() if user is None or (user == "ann" and id == "9_3")}
    (queue,) = shown_queues(queues.now(), user)
    assert [job.told for job in queue.jobs] == [note if user is None else None, None]


async def test_operators_see_all_names_others_the_own_ones() -> None:
    class Lookups:
        async def call(self, ask: Callable[[Peer], Any], peer: Peer) -> Any:
            if peer.uid == 3:
                raise PartHangs("the user database does not answer")
            return ask(peer)

    groups = {"viewers": 10, "batch": 11, "ops": 12, "engineers": 13}
    config = RolesConfig(viewer="viewers", scheduler="batch", operator="ops", engineer="engineers")
    roles = Roles(config, 99, groups=lambda uid: frozenset({uid}), gid=groups.__getitem__)
    nothing: Any = None
    lookups: Any = Lookups()
    log = CommandLog(roles, nothing, nothing, nothing, lookups)
    found = [await log.named(Peer(1, uid, uid, "anna")) for uid in (0, 10, 11, 12, 13, 3)]
    assert found == [None, "anna", "anna", None, None, "anna"]


def reservation(id: str, who: str) -> Reservation:
    when = {"start_utc_s": 0.0, "end_utc_s": 60.0, "latest_utc_s": 0.0, "given_utc_s": 0.0}
    return Reservation(id=id, name="train", power_w=1000.0, who=who, **when)


def test_a_reservation_names_its_job_to_its_owner_and_to_operators_alone() -> None:
    every = tuple(reservation(id, who) for id, who in (("r1", "ann"), ("r2", "bert"), ("r3", "root as ann")))
    assert [(r.name, r.who) for r in shown_reservations(every, "ann")] == [
        ("train", "ann"), ("r2", ""), ("train", "root as ann"),
    ]  # fmt: skip
    assert shown_reservations(every, None) == every


def test_pods_of_others_are_not_shown_as_their_names_are_the_jobs() -> None:
    jobs = [Job(scheduler="k", id=u, user=u, state="running", submitted_utc_s=0.0, pods=("a/b",)) for u in ("", OWN)]
    assert [job.pods for job in shown_jobs(jobs, OWN)] == [(), ("a/b",)]
    assert [job.pods for job in shown_jobs(jobs, None)] == [("a/b",), ("a/b",)]
