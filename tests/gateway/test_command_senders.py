"""Orders to compute nodes: what is capped is freed, held, and told apart from what ride-through asks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from waiting import LIMIT_S, until

from dispatch.model.decision import Decision, Mode
from dispatch.model.islanding import FOR_EVENT, IslandState, NodeOrder
from dispatch.model.orders import Order, OrderKind
from dispatch.model.reasons import Reason, RuleId, plain
from drivers.modbus.errors import DeviceError
from drivers.nodes.errors import CannotObey
from gateway import command_senders
from gateway.command_senders import NODE_RETRY_MOST_S, CommandSender, CommandSenders, longer_pause_s


@dataclass
class Actuator:
    """Notes what is applied."""

    may_be_capped: bool = False
    can_cap: bool = True
    not_kept: str = ""
    changed_by_others: str = ""
    applied: list[tuple[float | None, bool]] = field(default_factory=list)
    orders: list[NodeOrder] = field(default_factory=list)
    forgotten: int = 0
    waits_for: asyncio.Event | None = None
    fails: bool = False

    @property
    def holds_cap(self) -> bool:
        return bool(self.applied) and self.applied[-1][0] is not None

    def forget_cap(self) -> None:
        self.forgotten += 1

    async def apply(self, order: NodeOrder, ride_through: bool = False) -> list[str]:
        if self.waits_for is not None:
            await self.waits_for.wait()
        self.applied.append((order.cap_w, ride_through))
        self.orders.append(order)
        if self.fails:
            raise CannotObey(order.device_id, "GPU 3: GPU is lost")
        return []


class Events:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.texts.append(f"{subject}: {text}")

    def note(self, event: Any, durable: bool = False) -> Any:
        raise AssertionError("not used here")


def senders(**actuators: Actuator) -> tuple[CommandSenders, Events]:
    events = Events()
    return CommandSenders([], dict(actuators), DeviceError, events), events


def decided(*nodes: NodeOrder) -> Decision:
    none = (None, None, None)
    return Decision(1, 0.0, Mode.PLAN, IslandState.GRID_TIED, (), *none, RuleId.PLAN, plain(""), (), nodes=nodes)


def by_hand(node: str, cap_w: float) -> Order:
    return Order("o1", OrderKind.NODE_CAP, cap_w, node, "eve", "heat", 0.0, 0.0, 60.0)


async def test_what_an_earlier_run_may_have_capped_is_freed_unasked() -> None:
    left, free = Actuator(may_be_capped=True), Actuator()
    commands, _ = senders(left=left, free=free)
    commands.submit(decided(), ())
    running = [asyncio.create_task(sender.run()) for sender in commands.all]
    await until(lambda: left.applied == [(None, False)])
    assert (left.forgotten, free.forgotten, free.applied) == (1, 0, [])
    for task in running:
        task.cancel()


async def test_a_cap_is_looked_after_until_it_is_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_senders, "HOLD_S", 0.01)
    node = Actuator()
    commands, _ = senders(n=node)
    running = [asyncio.create_task(sender.run()) for sender in commands.all]
    commands.submit(decided(), [by_hand("n", 900.0)])
    assert commands.caps_w == {"n": 900.0}
    await until(lambda: node.applied.count((900.0, False)) >= 3)
    commands.submit(decided(), ())
    await until(lambda: node.applied[-1] == (None, False))
    count = len(node.applied)
    await asyncio.wait(running, timeout=0.1)
    assert (len(node.applied), commands.caps_w) == (count, {})
    for task in running:
        task.cancel()


@pytest.mark.parametrize(
    ("ridden_w", "hand_w", "applied"),
    [(None, 900.0, (900.0, False)), (1000.0, None, (1000.0, True)), (1000.0, 900.0, (900.0, True))],
)
async def test_ride_through_is_told_apart(ridden_w: float | None, hand_w: float | None, applied: Any) -> None:
    node = Actuator()
    commands, _ = senders(n=node)
    orders = [] if hand_w is None else [by_hand("n", hand_w)]
    commands.submit(decided(NodeOrder("n", cap_w=ridden_w)), orders)
    running = [asyncio.create_task(sender.run()) for sender in commands.all]
    await until(lambda: node.applied == [applied])
    assert commands.caps_w == {"n": applied[0]}
    for task in running:
        task.cancel()


async def test_at_the_end_nodes_are_freed_of_a_grid_event_and_not_of_ride_through() -> None:
    event, ride = Actuator(), Actuator()
    commands, _ = senders(event=event, ride=ride)
    why = Reason("ride.kept")
    nodes = (NodeOrder("event", starts_stopped=True, reason=FOR_EVENT), NodeOrder("ride", cap_w=1.0, reason=why))
    commands.submit(decided(*nodes), ())
    await commands.lift_caps()
    assert event.orders == [NodeOrder("event")]
    assert ride.orders == []


def test_the_pause_after_failures_doubles_up_to_a_minute() -> None:
    pauses_s = [0.0]
    for _ in range(8):
        pauses_s.append(longer_pause_s(pauses_s[-1], NODE_RETRY_MOST_S))
    assert pauses_s[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


async def test_a_command_that_fails_is_sent_again_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_senders, "RETRY_S", 0.02)
    node = Actuator(fails=True)
    commands, events = senders(n=node)
    commands.submit(decided(NodeOrder("n", cap_w=900.0)), ())
    running = [asyncio.create_task(sender.run()) for sender in commands.all]
    began_s = time.monotonic()
    await until(lambda: len(node.applied) >= 5)
    assert time.monotonic() - began_s > 0.02 + 0.04 + 0.08 + 0.16 - 0.01
    assert len(events.texts) == 1
    for task in running:
        task.cancel()


async def test_another_wish_does_not_wait_for_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_senders, "RETRY_S", 1000.0)
    node = Actuator(fails=True)
    commands, _ = senders(n=node)
    running = [asyncio.create_task(sender.run()) for sender in commands.all]
    for cap_w in (900.0, 800.0, None, 700.0):
        commands.submit(decided(NodeOrder("n", cap_w=cap_w)), ())
        await until(lambda cap_w=cap_w: bool(node.applied) and node.applied[-1][0] == cap_w)  # type: ignore[misc]
    assert [cap_w for cap_w, _ in node.applied] == [900.0, 800.0, None, 700.0]
    for task in running:
        task.cancel()


async def test_at_the_end_one_node_keeps_no_other_capped() -> None:
    other = asyncio.Event()
    slow, lost, fine = Actuator(True, waits_for=other), Actuator(True, fails=True), Actuator(True)
    commands, events = senders(a=slow, b=lost, c=fine)

    async def once_free() -> None:
        await until(lambda: bool(fine.applied))
        other.set()

    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(commands.lift_caps(), once_free())
    assert [node.applied[-1][0] for node in (slow, lost, fine)] == [None] * 3
    assert events.texts == ["b: cap not lifted: b: GPU 3: GPU is lost; see the node's section in the site file"]


async def test_the_end_names_caps_that_are_not_lifted_in_time_and_limits_that_others_have_changed() -> None:
    other = Actuator(True, changed_by_others="its BMC 700 W")
    commands, events = senders(a=Actuator(True, waits_for=asyncio.Event()), b=other)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(commands.lift_caps(), 0.02)
    assert events.texts == [
        "b: cap over: its BMC 700 W, which another program has set since; it is left so",
        "a: cap not lifted: no answer so far; what it had is kept, the next start lifts it",
    ]


def test_limits_that_are_not_on_disk_are_told_by_node() -> None:
    commands, _ = senders(a=Actuator(not_kept="disk full"), b=Actuator())
    assert commands.not_kept == {"a": "disk full"}


async def test_a_sender_ends_also_when_there_is_news_at_that_moment() -> None:
    """Found: `asyncio.wait_for` of Python 3.11 gave the news and forgot the cancel, and a stop waited without end."""
    sender = CommandSender("n", "node", lambda command: asyncio.sleep(0, ""), DeviceError, Events(), lambda: True)
    running = asyncio.create_task(sender.run())
    sender.submit("cap")
    await asyncio.sleep(0.05)  # taken, and to be held: the sender waits with a limit
    sender.submit("other")
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5.0)
    assert done
    assert running.cancelled()
