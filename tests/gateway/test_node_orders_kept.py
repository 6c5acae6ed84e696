"""What nodes were ordered outlives no gateway: the next one undoes what an earlier one could not undo any more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from small_gateway import small_site
from test_command_senders import Events, by_hand, decided
from waiting import LIMIT_S, until

from dispatch.control.controller import Controller
from dispatch.model.islanding import NodeOrder
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.actuators import NodeActuator
from drivers.nodes.errors import CannotObey
from gateway import command_senders
from gateway.command_senders import CommandSenders
from gateway.controller_memory import ControllerMemorySaver, read_memory
from gateway.left_orders import undo_left_orders
from storage.config import StorageConfig
from storage.recorder import Recorder

COMMAND = "import os, sys; open(sys.argv[1], 'a').write(sys.argv[3] + chr(10)); sys.exit(os.path.exists(sys.argv[2]))"


class MapNode:
    """A node with a register map. It notes its orders, and while `broken` is there takes none to be free."""

    def __init__(self, log: Path, broken: Path) -> None:
        self._log, self._broken = log, broken

    async def order(self, order: NodeOrder) -> str:
        with self._log.open("a") as log:
            log.write("uncap\n" if order.cap_w is None else "cap\n")
        if order.cap_w is None and self._broken.exists():
            raise CannotObey("n", "no answer")
        return ""


def by_commands(log: Path, broken: Path) -> NodeActuator:
    run = (sys.executable, "-S", "-c", COMMAND, str(log))
    commands: dict[str, Any] = {"on_cap": (*run, "/nowhere", "cap"), "on_uncap": (*run, str(broken), "uncap")}
    return NodeActuator(NodeDevice(id="n", source="psutil", **commands))


def by_map(log: Path, broken: Path) -> NodeActuator:
    return NodeActuator(NodeDevice(id="n", source="modbus"), driver=MapNode(log, broken))  # type: ignore[arg-type]


class Life:
    """Of a gateway that ends as if it was killed: nothing is undone."""

    def __init__(self, place: Path, actuator: NodeActuator) -> None:
        site = small_site(place)
        self.recorder = Recorder(place, StorageConfig(), "boot")
        assert self.recorder.wait_open(LIMIT_S)
        self.commands = CommandSenders([], {"n": actuator}, DeviceError, Events())
        controller = Controller(site.dispatch)
        memory, _ = read_memory(place)
        if memory is not None:
            controller.restore(memory)
            undo_left_orders(self.commands, Events(), site.dispatch, memory)
        self._saver = ControllerMemorySaver(controller, self.recorder, on_nodes=lambda: self.commands.may_hold)
        self._place, self._ticks = place, 0

    def tick(self, *orders: Any) -> dict[str, tuple[str, ...]]:
        """Submit; what a gateway that follows would read now."""
        self._ticks += 1
        self.commands.submit(decided(), orders)
        self._saver.after_tick(self._ticks)
        self.recorder.flush().result(LIMIT_S)
        memory, damage = read_memory(self._place)
        assert (damage, memory is None) == ("", False)
        return {} if memory is None else memory.nodes


@asynccontextmanager
async def life(place: Path, actuator: NodeActuator) -> AsyncIterator[Life]:
    it = Life(place, actuator)
    running = [asyncio.create_task(sender.run()) for sender in it.commands.all]
    yield it
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    it.recorder.close()


@pytest.mark.parametrize("made", [by_commands, by_map])
async def test_a_cap_by_order_that_a_killed_gateway_could_not_lift_is_lifted_by_a_later_one(
    tmp_path: Path, made: Callable[[Path, Path], NodeActuator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_senders, "RETRY_S", 0.02)
    log, broken = tmp_path / "log", tmp_path / "broken"
    broken.touch()

    def said() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    async with life(tmp_path, made(log, broken)) as first:
        assert first.tick() == {}
        assert first.tick(by_hand("n", 900.0)) == {"n": ("cap_w",)}, "before the node is asked"
        await until(lambda: said() == ["cap"])
        assert first.tick() == {"n": ("cap_w",)}, "the order is over, the cap is not"
        await until(lambda: "uncap" in said())
        assert first.tick() == {"n": ("cap_w",)}
    tried = len(said())
    async with life(tmp_path, made(log, broken)) as second:
        assert second.tick() == {"n": ("cap_w",)}, "killed again before it could lift it"
        await until(lambda: len(said()) > tried)
    broken.unlink()
    tried = len(said())
    async with life(tmp_path, made(log, broken)) as third:
        third.tick()
        await until(lambda: len(said()) > tried and not third.commands.may_hold)
        assert third.tick() == {}
    async with life(tmp_path, made(log, broken)) as fourth:
        assert fourth.tick() == {}
