"""Sends alarms to the receivers of `[[notify]]`: one task looks once a second, and one sends for each receiver.

A message is tried again later and later until it is taken, so a receiver may get one twice, by its `id`. One that
nobody has taken for a day is given up, which is an event. State is kept in the gateway's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm
from dispatch.model.clock import Clock
from drivers.back_off import BackOff
from drivers.http.client import HttpClient
from drivers.modbus.errors import DeviceError
from gateway.errors import CommandRefused
from gateway.event_sink import EventSink
from gateway.outputs.alarm_changes import SETTLE_S, AlarmFilter, changes
from gateway.outputs.outbox import Message, Outbox, is_over
from gateway.outputs.receivers import Receiver
from gateway.outputs.trouble import OutputTrouble
from gateway.task_supervisor import Work

STATE = "notifications"
LOOK_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 900.0

Alarms = Callable[[], Sequence[Alarm] | None]  # those listed now; None: no tick is known


class _Told:
    """One receiver and what it is to be told."""

    def __init__(self, receiver: Receiver, state: Outbox) -> None:
        config = receiver.config
        self.id, self.receiver, self.state = config.id, receiver, state
        self.filter = AlarmFilter(Priority(config.least_priority), config.alarms)
        self.turn = asyncio.Lock()  # one message at a time, a test too
        self.due = asyncio.Event()  # there is a message

    @property
    def name(self) -> str:
        """For alarms and events."""
        return f"notify {self.id}"


class Notifier:
    """All receivers of a site."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        *,
        alarms: Alarms,
        shelved: Callable[[], frozenset[str]] = frozenset,
        clock: Clock,
        events: EventSink,
        trouble: OutputTrouble,
        save: Callable[[str, Any], object],
        kept: dict[str, Outbox],
        client: HttpClient | None = None,
        look_s: float = LOOK_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """`kept`: by receiver what an earlier run left; `save` keeps it for the next one. `client`: of webhooks.

        `shelved`: ids of alarms of which nobody is told for now.
        """
        self._shelved = shelved
        self._alarms, self._clock, self._events, self._trouble, self._save = alarms, clock, events, trouble, save
        self._look_s, self._first_pause_s, self._client = look_s, first_pause_s, client
        self._told = [_Told(receiver, _restored(kept.get(receiver.config.id))) for receiver in receivers]
        self._began_s: float | None = None  # on the event loop's clock
        for told in self._told:
            if told.state.pending is not None:
                told.due.set()

    @property
    def background(self) -> list[Work]:
        """What is to run, by name."""
        senders = [(told.name, partial(self._send_all, told)) for told in self._told]
        return [("notifications", self._run), *senders] if senders else []

    async def _run(self) -> None:
        if self._client is not None:
            self._client.join()
        try:
            while True:
                await asyncio.sleep(self._look_s)
                self.look()
        finally:
            if self._client is not None:
                await self._client.leave()

    def look(self) -> None:
        """See what has changed of alarms; put what may be told now into messages. Never waits."""
        alarms = self._alarms()
        if alarms is None:
            return
        now_s, utc_s = asyncio.get_running_loop().time(), self._clock.utc_s()
        self._began_s = now_s if self._began_s is None else self._began_s
        settled = now_s - self._began_s > SETTLE_S
        changed = False
        for told in self._told:
            changed |= self._look(told, alarms, utc_s, settled)
        if changed:
            self._keep()

    def _look(self, told: _Told, alarms: Sequence[Alarm], utc_s: float, settled: bool) -> bool:
        """Whether there is something to be kept."""
        own = f"output-failed:{told.name}"  # whom it could not tell, it need not tell that
        passing = [alarm for alarm in alarms if told.filter.passes(alarm) and alarm.id != own]
        found = changes(told.state.seen, passing, utc_s, settled=settled, shelved=self._shelved())
        told.state.hold(found)
        config = told.receiver.config
        made = told.state.next_message(utc_s, config.repeat_s, config.most_per_hour)
        if made is not None:
            told.due.set()
        return bool(found) or made is not None

    async def _send_all(self, told: _Told) -> None:
        """One message after the other, until cancelled."""
        loop, pause = asyncio.get_running_loop(), BackOff(LONGEST_PAUSE_S, least_s=self._first_pause_s)
        while True:
            await told.due.wait()
            if (message := told.state.pending) is None:
                told.due.clear()
                continue
            if await self._sent(told, message):
                pause.answered()
                self._done(told)
                continue
            if is_over(message, self._clock.utc_s()):
                text = f"given up after a day: a message of {len(message.told)} alarms; see `skerry events`"
                self._events.event("gateway", "warning", told.name, text)
                self._done(told)
            pause.failed("", loop.time())
            await asyncio.sleep(max(self._look_s, pause.wait_s(loop.time())))

    async def _sent(self, told: _Told, message: Message) -> bool:
        try:
            async with told.turn:
                remark = await told.receiver.send(message)
        except DeviceError as error:
            self._trouble.failed(told.name, str(error))
            return False
        if remark:
            self._events.event("gateway", "warning", told.name, f"not all recipients: {remark}")
        self._trouble.works(told.name)
        return True

    def _done(self, told: _Told) -> None:
        told.state.done()
        told.due.clear()
        self._keep()

    def _keep(self) -> None:
        self._save(STATE, {told.id: msgspec.to_builtins(told.state) for told in self._told})

    async def test(self, id: str | None) -> list[dict[str, Any]]:
        """Send a test to one receiver, or to all; what came of each. Raises CommandRefused."""
        chosen = [told for told in self._told if id in (None, told.id)]
        if not chosen:
            names = ", ".join(told.id for told in self._told) or "none"
            raise CommandRefused(
                f"no receiver {id or 'at all'} in [[notify]] of the gateway's site file, only: {names}"
            )
        if any(told.turn.locked() for told in chosen):
            raise CommandRefused("a message is being sent just now; try again in a few seconds")
        return list(await asyncio.gather(*(self._test(told) for told in chosen)))

    async def _test(self, told: _Told) -> dict[str, Any]:
        async with told.turn:
            return await tested(told.receiver, self._clock.utc_s())


async def tested(receiver: Receiver, utc_s: float) -> dict[str, Any]:
    """Send a test to a receiver: `id`, `ok`, `text`."""
    try:
        remark = await receiver.send(Message(f"test-{int(utc_s)}", utc_s, ()), test=True)
    except DeviceError as error:
        return {"id": receiver.config.id, "ok": False, "text": str(error)}
    return {"id": receiver.config.id, "ok": not remark, "text": remark or "taken"}


def _restored(state: Outbox | None) -> Outbox:
    found = Outbox() if state is None else state
    found.begin_anew()
    return found
