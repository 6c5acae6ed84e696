"""Each part beside the control loop dies, then hangs, in a gateway that runs: the tick goes on, and it is alarmed.

The setpoint stays right, commands are taken, and the part works again once the fault has ended.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_gateway import Running, running
from waiting import LIMIT_S, until

from dispatch.alarms.states import AlarmState
from dispatch.planning.pipeline import PlanSource
from gateway import composition, energy_iq_service, poller, price_watch, supervised_calls, task_supervisor
from gateway.api import peer
from gateway.api.client import GatewayClient
from gateway.api.roles import Roles
from gateway.api.server import LinkServer
from gateway.errors import RequestFailed
from gateway.parts_in_trouble import PartsInTrouble
from gateway.supervised_calls import PartHangs, SupervisedCalls
from storage import audit, inbox, recorder
from storage.audit_file import AuditFile
from storage.file import TelemetryFile
from storage.reader import Archive
from storage.recorder import Recorder

QUIET = 5  # ticks
SHORT = {  # what a fault takes to be noticed and ended
    (task_supervisor, "RESTART_S"): 0.1,
    (task_supervisor, "WELL_S"): 0.5,
    (supervised_calls, "FIRST_AGAIN_S"): 0.1,
    (supervised_calls, "LONGEST_AGAIN_S"): 0.2,
    (composition, "ARCHIVE_S"): 0.3,
    (composition, "IQ_S"): 0.3,
    (composition, "PRICES_S"): 0.3,
    (composition, "USERS_S"): 0.3,
    (energy_iq_service, "FIRST_S"): 0.0,
    (energy_iq_service, "PERIOD_S"): 0.2,
    (energy_iq_service, "AFTER_S"): 0.0,
    (peer, "NAME_S"): 0.3,
    (poller, "GIVE_UP_S"): 0.5,
    (audit, "HANGS_S"): 0.5,
    (audit, "QUIET_S"): 0.1,
    (audit, "AGAIN_S"): 0.2,
    (recorder, "HANGS_S"): 0.5,
    (recorder, "RETRY_S"): 0.2,
    (inbox, "POLL_S"): 0.1,
}


class Fault:
    """What a broken method does, as long as the fault lasts: it raises, or does not return."""

    def __init__(self, hangs: bool) -> None:
        self.hangs, self.over = hangs, threading.Event()

    def __call__(self, *_: Any, **__: Any) -> Any:
        if not self.hangs:
            raise KeyError("a mistake")
        assert self.over.wait(LIMIT_S), "nobody ended the fault"
        raise OSError("it was a fault")


def nothing(there: Running) -> None:
    """The part is at work by itself."""


def reload(there: Running) -> None:
    there.gateway.price_watch.reload()


def plan(there: Running) -> None:
    there.gateway.planner.prices_changed()


def note(there: Running) -> None:
    there.gateway.audit.spool({"kind": "test", "who": "test", "text": "a row"})


def flush(there: Running) -> None:
    there.gateway.recorder.flush()


@dataclasses.dataclass(frozen=True)
class Part:
    """Where a part is broken, how it is made to work, and which alarm tells of it."""

    owner: object
    method: str
    alarm: str
    work: Callable[[Running], None] = nothing


DIE = {
    "planner": Part(PlanSource, "make", "part-failed:planner", plan),
    "Energy IQ": Part(energy_iq_service, "make_report", "part-failed:Energy IQ"),
    "price file": Part(price_watch, "_signature", "part-failed:price file", reload),
    "audit": Part(audit.AuditLog, "_take", "records-lost", note),
    "records": Part(Recorder, "_turn", "records-lost", flush),
    "node polling": Part(poller.Poller, "start_if_due", "part-failed:node polling"),
}
HANG = {
    **{name: DIE[name] for name in ("planner", "Energy IQ", "price file")},
    "audit": Part(AuditFile, "append", "records-lost", note),
    "records": Part(TelemetryFile, "write", "records-lost", flush),
}


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for (module, name), value in SHORT.items():
        monkeypatch.setattr(module, name, value)
    undelayed = [msgspec.structs.replace(d, on_delay_s=0.0, off_delay_s=0.0) for d in composition.DEFINITIONS]
    monkeypatch.setattr(composition, "DEFINITIONS", tuple(undelayed))


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:  # a short path: a socket lives in it
        yield Path(name)


async def ticks(there: Running, count: int) -> float:
    """The longest time between two of so many ticks, s."""
    longest_s, at_s = 0.0, time.monotonic()
    for _ in range(count):
        async with asyncio.timeout(LIMIT_S):
            await there.gateway.loop.next_tick()
        now_s = time.monotonic()
        longest_s, at_s = max(longest_s, now_s - at_s), now_s
    return longest_s


def stands(there: Running, alarm: str) -> bool:
    return any(a.id == alarm and a.state is not AlarmState.RETURNED for a in there.gateway.alarms.active())


async def seen(there: Running, alarm: str, *, standing: bool, work: Callable[[Running], None]) -> None:
    """Let the part work until the alarm stands, or does not any more."""
    async with asyncio.timeout(LIMIT_S):
        while stands(there, alarm) is not standing:
            work(there)
            await there.gateway.loop.next_tick()


def broken(there: Running, part: Part, fault: Fault) -> Any:
    """What to put in place of the method. Of the pollers only that of a node is broken."""
    if part.method != "start_if_due":
        return fault
    nodes, really = there.gateway.devices._nodes, poller.Poller.start_if_due
    return lambda self: fault() if self in nodes else really(self)


async def try_part(there: Running, name: str, part: Part, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break it, see what follows, end the fault, see it work again."""
    quiet_s, asked_w = await ticks(there, QUIET), there.devices.pcs_w
    with monkeypatch.context() as patch:
        patch.setattr(part.owner, part.method, broken(there, part, fault))
        await seen(there, part.alarm, standing=True, work=part.work)
        told = next(a for a in there.gateway.alarms.active() if a.id == part.alarm)
        assert told.detail is not None, name
        faulty_s = await ticks(there, QUIET)
        assert faulty_s < 5 * quiet_s + 1.0, f"{name}: a tick waited {faulty_s:.2f} s, {quiet_s:.2f} s before"
        published = there.gateway.loop.published
        assert published is not None
        assert published.decision.battery_w == pytest.approx(asked_w, abs=300), name
        assert there.devices.pcs_w == pytest.approx(asked_w, abs=300), name
    fault.over.set()
    await seen(there, part.alarm, standing=False, work=part.work)


@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
@pytest.mark.usefixtures("quickly")
async def test_a_part_that_fails_is_alarmed_and_begun_again_and_no_tick_waits(
    hangs: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.planning_service.PLAN_S", 0.3)
    monkeypatch.setattr("gateway.device_io.NODE_PERIOD_S", 0.1)
    section = {"enabled": True, "deadline_s": 0.1, "period_s": 10}
    async with running(place, place / "s.sock", plan=section) as there:
        for name, part in (HANG if hangs else DIE).items():
            await try_part(there, name, part, Fault(hangs), monkeypatch)


@pytest.mark.usefixtures("quickly")
async def test_an_archive_that_hangs_is_refused_and_one_that_fails_costs_one_answer(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(place, place / "s.sock") as there:
        client = await GatewayClient.connect(there.socket, 0.0)
        hung = Fault(hangs=True)
        with monkeypatch.context() as patch:
            patch.setattr(Archive, "events", Fault(hangs=False))
            with pytest.raises(RequestFailed, match="a mistake"):
                await client.request("events")
            patch.setattr(Archive, "events", hung)
            for _ in range(2):
                with pytest.raises(RequestFailed, match="the record cannot be read now: archive"):
                    await client.request("events")
            await seen(there, "part-failed:archive", standing=True, work=nothing)
            assert await client.request("status")
            await client.request("order.set", kind="hold", reason="test")
        hung.over.set()

        async def answered() -> bool:
            try:
                return bool(await client.request("events"))
            except RequestFailed:
                return False

        await until_true(answered)
        await seen(there, "part-failed:archive", standing=False, work=nothing)
        await client.close()


async def until_true(ask: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await ask():  # noqa: ASYNC110  there is no event
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("quickly")
async def test_a_user_database_that_hangs_keeps_nobody_out_and_costs_only_commands_that_need_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = Fault(hangs=True)
    monkeypatch.setattr(peer, "user_name", hung)
    monkeypatch.setattr(Roles, "of", hung)
    monkeypatch.setattr(Roles, "without_lookup", lambda self, peer: None)  # as for one who is not root
    async with running(place, place / "s.sock") as there:
        client = await GatewayClient.connect(there.socket, 0.0)
        assert client.welcome.user.startswith("uid ")
        with pytest.raises(RequestFailed, match="cannot be looked up now: users"):
            await client.request("order.set", kind="hold", reason="test")
        await seen(there, "part-failed:users", standing=True, work=nothing)
        monkeypatch.setattr(Roles, "without_lookup", lambda self, peer: self_engineer(peer))
        await client.request("order.set", kind="hold", reason="test")
        hung.over.set()
        await client.close()


def self_engineer(who: peer.Peer) -> Any:
    from gateway.api.roles import Role, Standing

    return Standing(Role.ENGINEER, "root")


@pytest.mark.usefixtures("quickly")
async def test_a_link_that_fails_to_accept_is_begun_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(place, place / "s.sock") as there:
        with monkeypatch.context() as patch:
            patch.setattr(LinkServer, "_take_in", Fault(hangs=False))
            knocking: list[socket.socket] = []

            def knock(there: Running) -> None:
                knocking.append(socket.socket(socket.AF_UNIX))
                knocking[-1].connect(str(there.socket))

            await seen(there, "part-failed:link", standing=True, work=knock)
            knocking[0].settimeout(LIMIT_S)
            assert await asyncio.to_thread(knocking[0].recv, 1) == b"", "it is not kept waiting"
            for sock in knocking:
                sock.close()
            await ticks(there, QUIET)
        await seen(there, "part-failed:link", standing=False, work=nothing)
        client = await GatewayClient.connect(there.socket, 0.0)
        assert await client.request("status")
        await client.close()


@pytest.mark.usefixtures("quickly")
async def test_a_read_of_a_node_that_hangs_is_given_up_and_begun_again(place: Path) -> None:
    async with running(place, place / "s.sock") as there:
        node = there.gateway.devices._nodes[0]
        really, reads = node.driver.read, node.reads

        async def never() -> Any:
            await asyncio.Event().wait()

        node.driver.read = never
        await until(lambda: "its read has not ended" in node.error)
        node.driver.read = really
        await until(lambda: node.reads > reads)


async def test_calls_that_hang_are_few_and_tried_again_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_calls, "FIRST_AGAIN_S", 0.02)
    parts, hung = PartsInTrouble(), Fault(hangs=True)
    calls = SupervisedCalls("test", 0.02, parts)
    begun = 0

    def work() -> None:
        nonlocal begun
        begun += 1
        hung()

    async with asyncio.timeout(LIMIT_S):
        while begun < supervised_calls.MOST_HUNG:
            with pytest.raises(PartHangs):
                await calls.call(work)
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    with pytest.raises(PartHangs, match="4 calls hang; tried again once one of them has ended"):
        await calls.call(work)
    assert begun == supervised_calls.MOST_HUNG
    assert [trouble.part for trouble in parts.now()] == ["test"]
    hung.over.set()

    async def worked() -> bool:
        try:
            return await calls.call(lambda: True)
        except PartHangs:
            return False

    await until_true(worked)
    assert parts.now() == ()
