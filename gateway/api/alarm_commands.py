"""Commands about alarms: acknowledge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dispatch.alarms.contact_conditions import LATCHED, starts_the_battery
from dispatch.alarms.states import AlarmBook
from dispatch.model.clock import Clock
from gateway.api.command_log import Command, CommandLog, Handler
from gateway.api.peer import Peer
from gateway.errors import CommandRefused
from gateway.event_sink import EventSink


class AlarmCommands:
    """Takes the commands about one site's alarms. `release`: lets a protective contact go, by its id."""

    def __init__(
        self, log: CommandLog, clock: Clock, events: EventSink, alarms: AlarmBook, release: Callable[[str], None]
    ) -> None:
        self._log, self._clock, self._events, self._alarms = log, clock, events, alarms
        self._release = release
        self.handlers: dict[str, Handler] = {"alarm.acknowledge": self._acknowledge}

    async def _acknowledge(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Acknowledge one alarm, or all with "*"; answered once it is on record, or why it is not. Param: `id`.

        A latched contact is acknowledged by its id only, by a console that has seen the site lately (`seen_utc_s`), and
        not before that is on record: the battery goes on with it.
        """
        id = str(params["id"])
        name = "alarm.acknowledge contact-latched" if starts_the_battery(id) else "alarm.acknowledge"
        command = Command(peer=peer, name=name, text=id, seen_utc_s=params.get("seen_utc_s"))
        self._log.check(command, lambda: None)
        if id != "*" and id not in {alarm.id for alarm in self._alarms.active()}:
            raise CommandRefused(f"no alarm {id!r} is listed")
        intent = await self._log.record_intent(command)
        try:
            events = self._alarms.acknowledge(id, peer.who, self._clock.utc_s())
        except LookupError as error:
            raise CommandRefused(str(error)) from None
        if starts_the_battery(id):
            self._release(id.removeprefix(LATCHED))
        written = [asyncio.wrap_future(self._events.note(event, durable=True)) for event in events]
        results = await asyncio.gather(*written, return_exceptions=True)
        lost = next((str(result) for result in results if isinstance(result, BaseException)), "")
        trouble = await self._log.record_result(command, intent, "acknowledged", f"{len(events)} acknowledged")
        return {"acknowledged": len(events), "not_durable": lost or trouble}
