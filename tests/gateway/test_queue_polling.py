"""Queues in force: read, lost, back; what consoles get of them; one call at a time, later while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dispatch.model.jobs import Job
from drivers.http.turns import Turn
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import QueueRead
from drivers.schedulers.reader import QueueReader
from gateway.api.frames import encode
from gateway.api.job_names import shown_queues
from gateway.api.peer import Peer
from gateway.api.queue_commands import MOST_JOBS, QueueCommands
from gateway.queue_polling import QueuePolling
from gateway.queues_in_force import MOST_SHOWN, USABLE_S, QueuesInForce, for_consoles

ALPHA = Scheduler(id="alpha", kind="slurm", period_s=30.0)
NOW_S = 1_796_010_600.0
DOWN = "squeue ended with exit code 1: slurm_load_jobs error: Unable to contact slurm controller"


def job(n: int, **fields: Any) -> Job:
    named = {"scheduler": "alpha", "id": str(n), "state": "running", "submitted_utc_s": NOW_S - 60, "gpus": 2}
    return Job(**named | fields)  # type: ignore[arg-type]


RUNNING = job(1, name="train", user="ann", nodes=("gpu01",), started_utc_s=NOW_S - 30)
WAITING = job(2, state="pending", reason="Priority", gpus=8)


class Clocks:
    """The site's clock, and real seconds."""

    speed = 1.0

    def __init__(self) -> None:
        self.s = 0.0

    def utc_s(self) -> float:
        return NOW_S + self.s

    def mono_s(self) -> float:
        return self.s


class Events:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.texts.append(f"{severity} {subject}: {text}")


class Scripted(QueueReader):
    """In place of a command: one answer after the other."""

    def __init__(self, *answers: QueueRead | str, config: Scheduler = ALPHA) -> None:
        super().__init__(config, Path("/"))
        self.answers = list(answers)

    async def read(self, turn: Turn) -> QueueRead:
        await turn()
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise QueueNotRead(answer)
        return answer


def polled(*answers: QueueRead | str, apart_s: float = 10.0) -> tuple[QueuesInForce, list[str], list[bool]]:
    """The queue after these answers, the events, and whether each was good."""
    clocks, events = Clocks(), Events()
    queues = QueuesInForce([ALPHA], now_s=clocks.mono_s)
    polling = QueuePolling([], queues, clocks, events, tick_s=0.2)  # type: ignore[arg-type]

    async def all_of_them() -> list[bool]:
        reader, good = Scripted(*answers), list[bool]()
        for _ in answers:
            good.append(await polling.read(reader))
            clocks.s += apart_s
        return good

    good = asyncio.run(all_of_them())
    return queues, events.texts, good


def test_counts_and_jobs_of_a_queue_with_its_age() -> None:
    queues, events, _ = polled(QueueRead(jobs=(RUNNING, WAITING), more_waiting=5, clock_utc_s=NOW_S))
    (now,) = queues.now()
    assert (now.running, now.waiting, now.running_gpus, now.waiting_gpus) == (1, 6, 2, 8)
    assert now.age_s == pytest.approx(10.0, abs=1.0)
    assert [shown.nodes for shown in now.jobs] == [("gpu01",)]
    assert (now.error, events) == ("", [])


def test_a_lost_queue_keeps_its_jobs_and_is_said_once_as_is_its_return() -> None:
    read = QueueRead(jobs=(RUNNING,))
    queues, events, good = polled(read, DOWN, DOWN, read)
    assert good == [True, False, False, True]
    assert len(events) == 2
    assert events[0] == f"warning queue of alpha: not read, the jobs before stay: {DOWN}"
    assert events[1].startswith("info queue of alpha: read again after ")
    assert queues.errors() == {"alpha": ""}
    queues, events, _ = polled(read, DOWN, DOWN)
    (queue,) = queues.queues
    assert (queue.jobs, queue.error, queues.jobs) == ((RUNNING,), DOWN, (RUNNING,))
    assert queue.read_utc_s == NOW_S


def test_an_old_queue_is_shown_and_no_longer_counted_with() -> None:
    queues, _, _ = polled(QueueRead(jobs=(RUNNING,)), DOWN, apart_s=USABLE_S / 2)
    assert queues.jobs == (), "just as old as that"
    assert queues.now()[0].running == 1
    never, events, _ = polled(DOWN)
    assert (never.jobs, never.now()[0].read_utc_s, never.now()[0].error, len(events)) == ((), None, DOWN, 1)


def test_the_jobs_are_the_same_object_until_something_changed() -> None:
    queues, _, _ = polled(QueueRead(jobs=(RUNNING,)))
    before, queue = queues.jobs, queues.queues[0]
    assert queues.jobs is before
    assert queues.queues[0] is queue
    queues.take("alpha", QueueRead(jobs=(RUNNING, WAITING)), NOW_S)
    assert queues.jobs == (RUNNING, WAITING)


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (QueueRead(jobs=(RUNNING,), clock_utc_s=NOW_S + 200), "its clock is 3 min ahead of the site's"),
        (QueueRead(jobs=(RUNNING,), asked_utc_s=NOW_S + 3600), "its clock is 1 h"),
        (QueueRead(jobs=(RUNNING,), asked_utc_s=NOW_S - 3600), "the answer is 1 h"),
    ],
)
def test_times_that_cannot_be_are_refused_with_both_clocks_in_mind(read: QueueRead, why: str) -> None:
    queues, events, good = polled(read)
    assert good == [False]
    assert queues.errors()["alpha"].startswith(why)
    assert queues.jobs == ()
    assert len(events) == 1
    assert polled(QueueRead(jobs=(RUNNING,), clock_utc_s=NOW_S + 30, asked_utc_s=NOW_S - 60))[2] == [True]


class Log:
    """Says whose jobs a peer sees by name."""

    async def named(self, peer: Peer) -> str | None:
        return None if peer.user == "olga" else peer.user


async def asked(queues: QueuesInForce, user: str = "olga", **params: object) -> dict[str, Any]:
    log: Any = Log()
    answer: dict[str, Any] = await QueueCommands(queues, log).handlers["queue.jobs"](Peer(1, 1001, 1001, user), params)
    return answer


def test_a_viewer_sees_the_names_of_the_own_jobs_only() -> None:
    queues = QueuesInForce([ALPHA])
    told = {"name": "train", "account": "film", "gpus": 4, "nodes": ("gpu01",)}
    queues.take("alpha", QueueRead(jobs=(job(1, user="anna", **told), job(2, user="bert", **told))), NOW_S)
    for user, names in (("olga", "train train"), ("anna", "train "), ("root", " ")):
        jobs = asyncio.run(asked(queues, user))["jobs"]
        assert " ".join(j["name"] for j in jobs) == names
        assert [(j["id"], j["gpus"], j["nodes"]) for j in jobs] == [("1", 4, ("gpu01",)), ("2", 4, ("gpu01",))]
    bert = asyncio.run(asked(queues, "anna"))["jobs"][1]
    assert (bert["user"], bert["account"], asyncio.run(asked(queues, "anna"))["named"]) == ("", "", "anna")
    shown = shown_queues(queues.now(), "bert")[0]
    assert [(j.user, j.name, j.nodes) for j in shown.jobs] == [("", "", ("gpu01",)), ("bert", "train", ("gpu01",))]


def many(count: int, nodes: int) -> tuple[Job, ...]:
    names = tuple(f"node-with-a-long-name-{n:04}" for n in range(nodes))
    return tuple(job(n, name="x" * 200, user="u" * 200, nodes=names, started_utc_s=NOW_S) for n in range(count))


@pytest.mark.parametrize(("count", "nodes"), [(20_000, 1), (1_000, 1_000), (1, 1_000)])
def test_what_consoles_get_fits_into_a_message(count: int, nodes: int) -> None:
    queues = QueuesInForce([ALPHA])
    queues.take("alpha", QueueRead(jobs=many(count, nodes)), NOW_S)
    (now,) = queues.now()
    assert now.running == count == len(now.jobs) + now.more_running
    assert len(msgspec.msgpack.encode(now)) < 200_000
    assert sum(1 + len(shown.nodes) for shown in now.jobs) <= MOST_SHOWN

    async def ask(**params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asked(queues, **params)
        return answer

    first = asyncio.run(ask())
    assert len(msgspec.msgpack.encode(first)) < 2**20
    assert first["of"] == count
    assert 0 < len(first["jobs"]) <= MOST_JOBS
    assert encode is not None
    second = asyncio.run(ask(skip=len(first["jobs"])))
    assert not second["jobs"] or second["jobs"][0]["id"] == str(len(first["jobs"]))


def test_jobs_of_one_node_running_ones_first() -> None:
    queues = QueuesInForce([ALPHA])
    queues.take("alpha", QueueRead(jobs=(WAITING, RUNNING, job(3, nodes=("gpu02",)))), NOW_S)

    def ids(**params: Any) -> Sequence[str]:
        answer = asyncio.run(asked(queues, **params))
        return [each["id"] for each in answer["jobs"]]

    assert ids() == ["1", "3", "2"]
    assert ids(node="gpu02") == ["3"]
    assert ids(scheduler="beta") == []


def test_it_is_asked_later_and_later_while_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real_sleep = asyncio.sleep

    class Enough(Exception):
        pass

    async def sleep(seconds: float) -> None:
        if seconds < 0.5:
            return await real_sleep(seconds)
        slept.append(seconds)
        if len(slept) == 7:
            raise Enough

    monkeypatch.setattr(asyncio, "sleep", sleep)
    reader = Scripted(QueueRead(), *([DOWN] * 5), QueueRead(), QueueRead())
    queues = QueuesInForce([ALPHA])
    polling = QueuePolling([reader], queues, Clocks(), Events(), tick_s=0.2)  # type: ignore[arg-type]
    ((name, run),) = polling.background
    assert name == "queue of alpha"
    with pytest.raises(Enough):
        asyncio.run(run())
    assert [round(seconds) for seconds in slept] == [30, 30, 60, 120, 240, 300, 30]


def test_counts_of_nothing() -> None:
    (queue,) = QueuesInForce([ALPHA]).queues
    shown = for_consoles(queue, told={}, names={})
    assert (shown.running, shown.waiting) == (0, 0)


async def test_jobs_of_a_node_are_found_by_its_id_where_the_scheduler_has_another_name() -> None:
    queues = QueuesInForce([ALPHA], names={"host-a": "gpu01"})
    queues.take("alpha", QueueRead(jobs=(job(1, nodes=("HOST-A.site",)), job(2, nodes=("host-b",)))), NOW_S)
    assert [each.nodes for each in queues.now()[0].jobs] == [("gpu01",), ("host-b",)]
    for node in ("gpu01", "host-a"):
        assert [each["id"] for each in (await asked(queues, node=node))["jobs"]] == ["1"]


def test_nodes_of_one_job_are_grouped_by_their_ids_while_the_queue_may_be_counted_with() -> None:
    clocks = Clocks()
    queues = QueuesInForce([ALPHA], now_s=lambda: clocks.s, names={"gpu01.site": "gpu01"})
    jobs = (job(1, nodes=("gpu01.site", "gpu02")), job(2, nodes=("gpu03",)))
    queues.take("alpha", QueueRead(jobs=jobs), NOW_S)
    assert queues.jobs == jobs
    assert queues.node_groups == (frozenset({"gpu01", "gpu02"}),)
    assert queues.node_groups is queues.node_groups
    clocks.s = USABLE_S + 1
    assert queues.node_groups == ()


def test_what_the_jobs_on_a_node_tolerate_is_what_the_strictest_of_their_partitions_does() -> None:
    clocks = Clocks()
    names, tiers = {"gpu01.site": "gpu01"}, {"debug": 0, "long": 25}
    queues = QueuesInForce([ALPHA], now_s=lambda: clocks.s, names=names, partition_pct=tiers)
    jobs = (
        job(1, nodes=("gpu01.site", "gpu02"), partition="long"),
        job(2, nodes=("gpu02",), partition="debug"),
        job(3, nodes=("gpu03",), partition="other"),
        job(4, nodes=("gpu04",), partition="debug", gpus=0),
        job(5, partition="debug", state="pending"),
    )
    assert queues.tolerated_pct == {"gpu01": 0}, "before the first reading any may run there"
    queues.take("alpha", QueueRead(jobs=jobs), NOW_S)
    assert queues.tolerated_pct == {"gpu01": 25, "gpu02": 0}
    clocks.s = USABLE_S + 1
    assert queues.tolerated_pct == {"gpu01": 25, "gpu02": 0}, "while it cannot be read they may still run"
