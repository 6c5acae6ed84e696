"""Commands about grid events: list, look what one would be, start, abort."""

from __future__ import annotations

from typing import Any

import msgspec

from dispatch.events.book import Judged
from dispatch.events.model import Phase, Wanted
from dispatch.orders.refusal import OrderRefused
from dispatch.wording.catalogue import words
from gateway.api.command_log import Command, CommandLog, Handler, printable
from gateway.api.peer import Peer
from gateway.errors import CommandRefused
from gateway.grid_events_in_force import GridEventsInForce, described

_WANTED = frozenset(Wanted.__struct_fields__)


class EventCommands:
    """Takes the commands about one site's grid events."""

    def __init__(self, log: CommandLog, grid_events: GridEventsInForce) -> None:
        self._log, self._grid_events = log, grid_events
        self.handlers: dict[str, Handler] = {
            "event.list": self._list,
            "event.preview": self._preview,
            "event.start": self._start,
            "event.abort": self._abort,
        }

    async def _list(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Every event that is not over, and the last ones that are, oldest first."""
        found = self._grid_events
        return {"standing": msgspec.to_builtins(found.standing), "ended": msgspec.to_builtins(found.ended)}

    async def _preview(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What an event would be, without starting it. Raises CommandRefused as it would."""
        try:
            return _answer(self._grid_events.judge(_wanted(params), peer.who))
        except OrderRefused as refusal:
            raise CommandRefused(str(refusal), refusal.reason) from None

    async def _start(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Start one: the fields of `Wanted`, and `seen_utc_s`."""
        await self._log.permit(peer, "event.start")
        wanted = _wanted(params)
        what = "rehearsal" if wanted.rehearsal else "grid event"
        command = Command(
            peer=peer, name="event.start", text=what, reason=wanted.reason, seen_utc_s=params.get("seen_utc_s")
        )
        async with self._log.one_at_a_time:
            judged = self._log.check(command, lambda: self._grid_events.judge(wanted, peer.who))
            text = f"{what} {described(judged.event)}"
            intent = await self._log.record_intent(command, text)
            judged = self._log.check(command, lambda: self._grid_events.judge(wanted, peer.who), intent)
            state = self._grid_events.start(wanted, peer.who)
            said = "; ".join([described(state.event), *(words(note) for note in judged.notes)])
            trouble = await self._log.record_result(command, intent, state.phase.value, said, event=state.event.id)
        return _answer(judged) | {"state": msgspec.to_builtins(state), "not_durable": trouble}

    async def _abort(self, peer: Peer, params: dict[str, Any]) -> Any:
        """End one: before its start at once, while it is held in steps. One by a signal its sender ends."""
        await self._log.permit(peer, "event.abort")
        id, reason = str(params["id"]), printable(str(params.get("reason") or ""))
        command = Command(peer=peer, name="event.abort", text=printable(id), reason=reason)
        try:
            standing = self._grid_events.find(id)
        except LookupError as error:
            raise CommandRefused(str(error)) from None
        event = standing.event
        if event.signal and standing.phase is not Phase.ENDING:
            signal = event.signal
            line = f"grid event {described(event)}: it is signal {signal}; end that: skerry signal end {signal}"
            self._log.record_refusal(command, line)
            raise CommandRefused(line)
        intent = await self._log.record_intent(command, described(event))
        try:
            state = self._grid_events.abort(id, peer.who, reason)
        except LookupError as error:  # it was over while the disk wrote
            self._log.record_refusal(command, str(error), intent)
            raise CommandRefused(str(error)) from None
        trouble = await self._log.record_result(command, intent, "aborted", described(event), event=id)
        return {"state": msgspec.to_builtins(state), "not_durable": trouble}


def _wanted(params: dict[str, Any]) -> Wanted:
    """The event in a request's parameters. Raises ValueError."""
    unknown = params.keys() - _WANTED - {"seen_utc_s"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    wanted = msgspec.convert({key: value for key, value in params.items() if key in _WANTED}, Wanted)
    return msgspec.structs.replace(wanted, reason=printable(wanted.reason))


def _answer(judged: Judged) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.to_builtins(judged)
    return answer
