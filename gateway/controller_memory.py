"""Reads and saves what the controller remembers over a restart; what a kill must not lose is saved at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container
from pathlib import Path
from typing import Any

import msgspec

from dispatch.control.controller import Controller, ControllerMemory
from gateway.daemon_thread import may_hang
from gateway.event_sink import EventSink
from storage.reader import Archive, NoRecords, QueryTimeout, RecordDamaged
from storage.recorder import Recorder

STATE = "controller"  # the key under which the record keeps it
AGAIN_S = 5.0  # of machine time, between two tries to read a memory that could not be read at the start
PERIOD_S = 30.0  # machine seconds between two saves where nothing is urgent


class MemoryNotRead(Exception):
    """There may be a memory, but it cannot be read now. The text says why."""


def read_memory(state_dir: Path) -> tuple[ControllerMemory | None, str]:
    """What was saved last, None on a new site; and why not, if it is damaged. Raises MemoryNotRead."""
    archive = Archive(state_dir)
    try:
        state = archive.last_state(STATE)
        return None if state is None else msgspec.convert(state, ControllerMemory), ""
    except (RecordDamaged, msgspec.ValidationError) as error:
        return None, f"what the controller remembered cannot be read, it starts anew: {error}"
    except QueryTimeout as error:
        raise MemoryNotRead(str(error)) from None
    except NoRecords as error:
        if _absent(archive.path):
            return None, ""
        raise MemoryNotRead(str(error)) from None
    finally:
        archive.close()


def latch_contacts(controller: Controller, events: EventSink) -> None:
    """Hold the battery behind every contact that protects: the memory that would tell which were active is damaged."""
    ids = controller.contacts.latch_all()
    if ids:
        text = (
            f"whether {', '.join(ids)} were active before cannot be read: the battery stays at 0 W until the alarm "
            "contact-latched of each is acknowledged"
        )
        events.event("gateway", "alarm", "memory", text)


def _absent(path: Path) -> bool:
    """There is no such file, as far as the disk can be believed."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


class ControllerMemorySaver:
    """Saves after ticks. `held`: not now, there may be a memory that has not been read."""

    def __init__(
        self,
        controller: Controller,
        recorder: Recorder,
        held: bool = False,
        on_nodes: Callable[[], dict[str, tuple[str, ...]]] = dict,
    ) -> None:
        """`on_nodes`: what may hold on nodes, by the fields of an order."""
        self._controller, self._recorder, self.held, self._on_nodes = controller, recorder, held, on_nodes
        self._saved_s, self._saved = 0.0, self._urgent()

    def keep_nodes(self, on_nodes: Callable[[], dict[str, tuple[str, ...]]]) -> None:
        """Keep what may hold on nodes by this, from now on: the nodes' orders are made after the controller."""
        self._on_nodes = on_nodes

    def after_tick(self, ticks: int) -> None:
        """Save if it is time to, or if something urgent has changed; then it is on disk at once."""
        if self.held:
            return
        urgent = self._urgent()
        changed = urgent != self._saved
        if changed or time.monotonic() - self._saved_s > PERIOD_S:
            self._saved_s = time.monotonic()
            self.save()
        if changed:
            self._saved = urgent
            self._recorder.flush()

    def save(self) -> None:
        """Hand the memory to the recorder, unless that is held back."""
        if self.held:
            return
        memory = msgspec.structs.replace(self._controller.memory(), nodes=self._on_nodes())
        self._recorder.save_state(STATE, msgspec.to_builtins(memory))

    def _urgent(self) -> tuple[Any, ...]:
        """An islanding fault, the step of load shedding, what nodes are asked, which contacts limit the site."""
        controller, nodes = self._controller, self._on_nodes()
        return controller.island.memory(), controller.ride.stage, controller.caps.nodes, controller.contacts.kept, nodes

    async def recover(
        self,
        state_dir: Path,
        trouble: Callable[[], str],
        events: EventSink,
        undo: Callable[[ControllerMemory, Container[str]], None],
        adopt: Callable[[], Awaitable[None]],
    ) -> None:
        """Read the memory as soon as that can be done, join it to what is known by now, and save from then on.

        `trouble`: why the directory cannot be used now; empty if it can. `undo` lets the next orders undo what was left
        on nodes, except caps of nodes that the controller caps by now. `adopt` takes over the rest of what earlier
        runs left.
        """
        while self.held:
            await asyncio.sleep(AGAIN_S)
            if trouble():
                continue
            try:
                memory, damage = await may_hang(read_memory, state_dir)
            except MemoryNotRead:
                continue
            if memory is not None:
                self._controller.recover(memory)
                undo(memory, self._controller.caps.nodes)
            elif damage:
                latch_contacts(self._controller, events)
            await adopt()
            text = "what the controller remembered has been read now, and counts from here on"
            severity = "warning" if damage else "info"
            events.event("gateway", severity, "memory", damage or (text if memory else "there was no memory to read"))
            self.held, self._saved_s = False, -PERIOD_S
