"""Commands about signals from outside: hand one in, list, end.

A signed signal may be handed in by anybody who may open the socket: its signature is the right. An unsigned one may be
by members of its sender's Unix group. Without either an operator enters it for the sender, by name and reason.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from dispatch.model.signals import Item, Message, Quantity, Signal, Sort
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.signal_book import Taken
from drivers.signals.cloud_event import SignalNotRead
from gateway.api.command_log import Command, CommandLog, Handler, printable
from gateway.api.interfaces import Loop
from gateway.api.peer import Peer
from gateway.errors import CommandRefused
from gateway.signals_in_force import SignalsInForce, described
from gateway.supervised_calls import PartHangs

LONGEST_SHOWN = 40  # characters of a message that is no signal


class _Entered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signal that a person enters for a sender."""

    sender: str
    quantity: Quantity
    limit_w: float
    end_utc_s: float
    start_utc_s: float | None = None
    reason: str = ""
    seen_utc_s: Any = None


class SignalCommands:
    """Takes the commands about one site's signals."""

    def __init__(self, log: CommandLog, signals: SignalsInForce, loop: Loop) -> None:
        self._log, self._signals, self._loop = log, signals, loop
        self.handlers: dict[str, Handler] = {
            "signal.list": self._list,
            "signal.send": self._send,
            "signal.end": self._end,
        }

    async def _list(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Every signal that is not over, with what it limits as measured now, and the names of the senders."""
        published = self._loop.published
        views = () if published is None else self._signals.views(published.snapshot)
        senders = [
            {"id": s.id, "sort": s.sort, "signed": bool(s.public_key), "group": s.group} for s in self._signals.senders
        ]
        listed = [msgspec.to_builtins(view) | {"shortfall_w": view.shortfall_w} for view in views]
        return {"signals": listed, "senders": senders}

    async def _send(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Hand a signal in: `event`, the text of a signed CloudEvent; or the fields of `_Entered`."""
        if "event" in params:
            await self._log.permit(peer, "signal.send")
            return await self._signed(peer, str(params["event"]))
        await self._log.permit(peer, "signal.send unsigned")
        return await self._unsigned(peer, msgspec.convert(params, _Entered))

    async def _signed(self, peer: Peer, event: str) -> Any:
        try:
            message, taken = await self._signals.receive(event.encode(), f"the link, user {peer.who}", peer.uid)
        except (SignalNotRead, PartHangs) as error:
            shown = printable(event)[:LONGEST_SHOWN]
            self._log.record_refusal(Command(peer=peer, name="signal.send", text=shown), str(error))
            raise CommandRefused(str(error)) from None
        except OrderRefused as error:
            self._log.record_refusal(Command(peer=peer, name="signal.send", text="signal"), str(error))
            raise CommandRefused(str(error), error.reason) from None
        return _answer(message.sender, taken)

    async def _unsigned(self, peer: Peer, asked: _Entered) -> Any:
        if not (asked.limit_w >= 0 and math.isfinite(asked.limit_w)):
            raise ValueError(f"limit_w: {asked.limit_w:g}: expected 0 or more")
        what = f"{asked.quantity.value} at most {asked.limit_w:g} W for {printable(asked.sender)}"
        name, reason = "signal.send unsigned", printable(asked.reason)
        command = Command(peer=peer, name=name, text=what, reason=reason, seen_utc_s=asked.seen_utc_s)
        self._log.check(command, lambda: None)
        if asked.sender not in {s.id for s in self._signals.senders}:
            known = ", ".join(s.id for s in self._signals.senders) or "there is none"
            raise CommandRefused(f"sender {printable(asked.sender)!r}: expected a [[signal]] of the site file: {known}")
        intent = await self._log.record_intent(command)
        item = Item(asked.quantity, asked.limit_w, asked.start_utc_s, asked.end_utc_s)
        message = Message(sender=asked.sender, items=(item,), who=peer.who)
        taken = self._log.check(command, lambda: self._signals.take(message, "an operator"), intent)
        said = "; ".join(described(signal) for signal in taken.signals)
        trouble = await self._log.record_result(command, intent, "in force", said)
        return _answer(asked.sender, taken) | {"not_durable": trouble}

    async def _end(self, peer: Peer, params: dict[str, Any]) -> Any:
        """End a market target, or what a person has entered. Signed obligations and limits only their sender ends."""
        id, reason = str(params["id"]), printable(str(params.get("reason") or ""))
        command = Command(peer=peer, name="signal.end", text=printable(id), reason=reason)
        try:
            signal = self._signals.find(id)
        except LookupError as error:
            raise CommandRefused(str(error)) from None
        if not _may_end(signal):
            line = f"signal {described(signal)}: only its sender ends it, by a signed message"
            self._log.record_refusal(command, line)
            raise CommandRefused(line)
        intent = await self._log.record_intent(command, described(signal))
        try:
            self._signals.end(id, peer.who, reason)
        except LookupError as error:  # over, or ended by somebody else, while the disk wrote
            self._log.record_refusal(command, str(error), intent)
            raise CommandRefused(str(error)) from None
        trouble = await self._log.record_result(command, intent, "ended", described(signal))
        return {"ended": msgspec.to_builtins(signal), "not_durable": trouble}


def _may_end(signal: Signal) -> bool:
    return signal.sort is Sort.MARKET or bool(signal.who)


def _answer(sender: str, taken: Taken) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.to_builtins(taken)
    return answer | {"sender": sender}
