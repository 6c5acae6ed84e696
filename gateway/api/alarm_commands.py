"""Commands about alarms: acknowledge, shelve, take out of service, list again, look back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from dispatch.alarms.contact_conditions import LATCHED, starts_the_battery
from dispatch.alarms.shelving import LEAST_SHELVED_S, MOST_SHELVED_S, OUT_OF_SERVICE, SHELVED, Suppression
from dispatch.alarms.states import AlarmBook, NotShelved
from dispatch.model.clock import Clock
from dispatch.model.events import Event
from dispatch.model.orders import REASON_MIN
from dispatch.wording.formatting import span
from gateway.api.command_log import Command, CommandLog, Handler, printable
from gateway.api.peer import Peer
from gateway.errors import CommandRefused
from gateway.event_sink import EventSink
from storage.reader import Archive

STATE = "alarms_off"  # under which the record keeps what is shelved or out of service
DROPPED = "orders-dropped"
HISTORY_S, HISTORY_ROWS = 86_400.0, 500


def kept(alarms: AlarmBook, utc_s: float, mono_s: float) -> list[Any]:
    """What the record keeps under STATE: a restart goes on with it."""
    return [msgspec.to_builtins(one.suppression) for one in alarms.suppressed(utc_s, mono_s)]


class Records(Protocol):
    """The record on disk."""

    async def ask(self, ask: Callable[[Archive], Any]) -> Any:
        """Read from it. Raises CommandRefused where it does not answer."""
        ...


class AlarmCommands:
    """Takes the commands about one site's alarms."""

    def __init__(
        self,
        log: CommandLog,
        clock: Clock,
        events: EventSink,
        alarms: AlarmBook,
        *,
        release: Callable[[str], None],
        records: Records,
        save: Callable[[str, Any], object] = lambda key, value: None,
        dropped_seen: Callable[[], None] = lambda: None,
    ) -> None:
        """`release`: lets a protective contact go, by its id. `dropped_seen`: somebody knows of the dropped orders.

        `save` puts what is shelved on disk at once.
        """
        self._log, self._clock, self._events, self._alarms = log, clock, events, alarms
        self._release, self._records, self._save, self._dropped_seen = release, records, save, dropped_seen
        self.handlers: dict[str, Handler] = {
            "alarm.acknowledge": self._acknowledge,
            "alarm.shelve": self._shelve,
            "alarm.out_of_service": self._out_of_service,
            "alarm.return": self._return,
            "alarm.history": self._history,
        }

    async def _acknowledge(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Acknowledge one alarm, or all with "*"; answered once it is on record, or why it is not. Param: `id`.

        With "*" and `group` only those of a group. A latched contact is acknowledged by its id only, by a console that
        has seen the site lately (`seen_utc_s`), and not before that is on record: the battery goes on with it.
        """
        id, group = str(params["id"]), str(params.get("group") or "")
        name = "alarm.acknowledge contact-latched" if starts_the_battery(id) else "alarm.acknowledge"
        text = f"{id} of {printable(group)}" if group else id
        command = Command(peer=peer, name=name, text=text, seen_utc_s=params.get("seen_utc_s"))
        self._log.check(command, lambda: None)
        listed = self._alarms.active()
        if id != "*" and id not in {alarm.id for alarm in listed}:
            raise CommandRefused(f"no alarm {id!r} is listed")
        if group and group not in {alarm.group for alarm in listed}:
            there = ", ".join(sorted({alarm.group for alarm in listed})) or "none"
            raise CommandRefused(f"no alarm of the group {group!r} is listed; groups with alarms: {there}")
        intent = await self._log.record_intent(command)
        try:
            events = self._alarms.acknowledge(id, peer.who, self._clock.utc_s(), group)
        except LookupError as error:
            raise CommandRefused(str(error)) from None
        if starts_the_battery(id):
            self._release(id.removeprefix(LATCHED))
        if any(event.subject == DROPPED for event in events):
            self._dropped_seen()
        lost = await self._noted(events)
        trouble = await self._log.record_result(command, intent, "acknowledged", f"{len(events)} acknowledged")
        return {"acknowledged": len(events), "not_durable": lost or trouble}

    async def _shelve(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Take an alarm off the list for a time. Params: `id`, `for_s`, `reason`, `seen_utc_s`."""
        for_s = params["for_s"]
        if isinstance(for_s, bool) or not isinstance(for_s, (int, float)) or not math.isfinite(for_s):
            raise ValueError(f"for_s: {for_s!r}: expected seconds")
        if not LEAST_SHELVED_S <= for_s <= MOST_SHELVED_S:
            raise ValueError(f"for_s: {for_s:g}: expected {LEAST_SHELVED_S:g} to {MOST_SHELVED_S:g} s")
        return await self._suppress(peer, params, "alarm.shelve", SHELVED, float(for_s))

    async def _out_of_service(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Take an alarm off the list until somebody takes it back. Params: `id`, `reason`, `seen_utc_s`."""
        return await self._suppress(peer, params, "alarm.out_of_service", OUT_OF_SERVICE, None)

    async def _suppress(
        self, peer: Peer, params: dict[str, Any], name: str, kind: str, for_s: float | None
    ) -> dict[str, Any]:
        id, reason = str(params["id"]), printable(str(params.get("reason") or ""))
        if len(reason) < REASON_MIN:
            raise ValueError(f"reason: expected at least {REASON_MIN} characters; it is shown to others and recorded")
        text = id if for_s is None else f"{id} for {span(for_s)}"
        command = Command(
            peer=peer, name=name, text=printable(text), reason=reason, seen_utc_s=params.get("seen_utc_s")
        )
        self._log.check(command, lambda: None)
        try:
            self._alarms.may_suppress(id, kind)
        except (LookupError, NotShelved) as error:
            raise CommandRefused(str(error)) from None
        intent = await self._log.record_intent(command)
        utc_s = self._clock.utc_s()
        until_utc_s = None if for_s is None else utc_s + for_s
        try:
            events = self._alarms.suppress(
                Suppression(id, kind, peer.who, reason, utc_s, until_utc_s), utc_s, self._clock.mono_s()
            )
        except (LookupError, NotShelved) as error:  # it was over while the disk wrote
            self._log.record_refusal(command, str(error), intent)
            raise CommandRefused(str(error)) from None
        self._keep()
        lost = await self._noted(events)
        trouble = await self._log.record_result(command, intent, kind, printable(text))
        return {"id": id, "until_utc_s": until_utc_s, "not_durable": lost or trouble}

    async def _return(self, peer: Peer, params: dict[str, Any]) -> Any:
        """List an alarm again. Params: `id`, `reason`."""
        id = str(params["id"])
        command = Command(
            peer=peer, name="alarm.return", text=printable(id), reason=printable(str(params.get("reason") or ""))
        )
        self._log.check(command, lambda: None)
        if id not in {one.suppression.id for one in self._shelved()}:
            there = ", ".join(one.suppression.id for one in self._shelved()) or "none"
            raise CommandRefused(f"{printable(id)} is neither shelved nor out of service: those are {there}")
        intent = await self._log.record_intent(command)
        try:
            events = self._alarms.take_back(id, peer.who, self._clock.utc_s())
        except LookupError:  # its time was up while the disk wrote
            events = []
        self._keep()
        lost = await self._noted(events)
        trouble = await self._log.record_result(command, intent, "listed again", printable(id))
        return {"id": id, "not_durable": lost or trouble}

    async def _history(self, peer: Peer, params: dict[str, Any]) -> Any:
        """When alarms came, were acknowledged and went, newest first. Params: `since_utc_s`, `until_utc_s`, `limit`."""
        until_utc_s = float(params.get("until_utc_s") or self._clock.utc_s() + 1.0)
        since_utc_s = float(params.get("since_utc_s") or until_utc_s - HISTORY_S)
        limit = max(1, min(int(params.get("limit") or HISTORY_ROWS), HISTORY_ROWS))
        if not (math.isfinite(since_utc_s) and math.isfinite(until_utc_s) and since_utc_s < until_utc_s):
            raise ValueError("since_utc_s: expected a time before until_utc_s")
        found = await self._records.ask(lambda archive: archive.alarm_history(since_utc_s, until_utc_s, limit))
        return msgspec.to_builtins(found)

    def _shelved(self) -> tuple[Any, ...]:
        return self._alarms.suppressed(self._clock.utc_s(), self._clock.mono_s())

    def _keep(self) -> None:
        """Put what is shelved or out of service on disk: a restart goes on with it."""
        self._save(STATE, kept(self._alarms, self._clock.utc_s(), self._clock.mono_s()))

    async def _noted(self, events: list[Event]) -> str:
        """Put events on record; why that failed, empty if it did not."""
        written = [asyncio.wrap_future(self._events.note(event, durable=True)) for event in events]
        results = await asyncio.gather(*written, return_exceptions=True)
        return next((str(result) for result in results if isinstance(result, BaseException)), "")
