"""Commands to the islanding state machine: drill, abort, fault reset, black start.

Whether one may be done is the state machine's decision alone: it has the readings of the tick. Its "no" is an answer
with its checks, not an error, so that whoever asked sees every figure.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Literal

import msgspec

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import AlarmBook, AlarmState
from dispatch.config.schema import DispatchConfig
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.islanding import IslandReply, IslandRequest
from dispatch.model.orders import REASON_MIN
from dispatch.model.reasons import Reason, plain
from dispatch.orders.refusal import OrderRefused
from dispatch.wording.catalogue import words
from gateway.api.command_log import TICK_WAIT_S, Command, CommandLog, Handler, printable, recordable
from gateway.api.interfaces import Drills, Loop, Planner
from gateway.api.order_outlook import drill_consequence
from gateway.api.peer import Peer
from gateway.errors import CommandRefused

SCHEDULE = "schedule"  # who asks for an unattended drill

Kind = Literal["drill", "check", "abort", "reset", "black-start"]


class IslandCommands:
    """Takes the commands about one site's islanding."""

    def __init__(
        self,
        config: DispatchConfig,
        *,
        log: CommandLog,
        loop: Loop,
        alarms: AlarmBook,
        drills: Drills,
        planner: Planner,
    ) -> None:
        self._planner = planner
        self._config, self._log, self._loop, self._alarms, self._drills = config, log, loop, alarms, drills
        self._asked = 0
        self.handlers: dict[str, Handler] = {
            "drill.start": self._drill,
            "drill.abort": self._abort,
            "drill.status": self._drill_status,
            "drill.check": self._drill_check,
            "island.reset": self._reset,
            "island.black_start": self._black_start,
        }

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _drill(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Begin a drill. Params: `minutes`, `reason`, `seen_utc_s`. Raises CommandRefused."""
        minutes = float(params["minutes"])
        command = _command(peer, "drill.start", f"drill of {minutes:g} min", params)
        return await self._raise_risk(command, "drill", minutes=minutes)

    async def _reset(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Let the state machine judge the devices anew after a fault. Params: `reason`, `seen_utc_s`."""
        command = _command(peer, "island.reset", "fault reset", params)
        return await self._raise_risk(command, "reset")

    async def _black_start(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Start a dead site. Params: `reason`, `confirmed`, `seen_utc_s`. Raises CommandRefused."""
        confirmed = params.get("confirmed") is True
        text = f"black start, nobody on the bus: {'confirmed' if confirmed else 'not confirmed'}"
        command = _command(peer, "island.black_start", text, params)
        return await self._raise_risk(command, "black-start", confirmed=confirmed)

    async def _abort(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Back to the grid, or withdraw a black start; always runs. Param: `reason`."""
        command = _command(peer, "drill.abort", "abort", params)
        intent = await self._log.record_intent(command)
        return await self._hand_over(command, intent, self._request("abort", peer, command.reason))

    async def _drill_status(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Where the state machine stands, the drill under way, and the report of the last one (None: none yet)."""
        last = {
            "report": msgspec.to_builtins(self._drills.report),
            "audit_head": self._drills.audit_head,
            "plan": msgspec.to_builtins(self._drills.plan),
        }
        published = self._loop.published
        if published is None:
            return {"state": "unknown", "view": None, "soc_pct": None} | last
        return {
            "state": published.decision.island.value,
            "view": msgspec.to_builtins(published.decision.islanding),
            "soc_pct": BatteryBank(self._config, published.snapshot).soc_pct,
        } | last

    async def _drill_check(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What a drill would find now, and what it would do; begins nothing. Params: `minutes`, `reason`."""
        reason, minutes = printable(str(params.get("reason") or "")), float(params["minutes"])
        reply = await self._reply(self._request("check", peer, reason, minutes=minutes))
        done = drill_consequence(self._config, self._loop.published, self._planner.plan, minutes)
        return _answer(reply) | {"consequence": msgspec.to_builtins(done)}

    async def start_scheduled(self, minutes: float, reason: str) -> IslandReply:
        """Begin a drill that the site file lets begin by itself: on record first, like everybody's."""
        gateway = Peer(os.getpid(), os.getuid(), os.getgid(), SCHEDULE)
        text = f"drill of {minutes:g} min, unattended"
        command = Command(peer=gateway, name="drill.start", text=text, reason=reason)
        async with self._log.one_at_a_time:
            if self._log.stopping:
                return IslandReply("", False, Reason("reply.gateway_stopping"))
            try:
                intent = await self._log.record_intent(command)
            except CommandRefused as refused:
                return IslandReply("", False, plain(str(refused)))
            request = self._request("drill", gateway, reason, minutes=minutes)
            answer = await self._hand_over(command, intent, request)
        return IslandReply("", answer["ok"], msgspec.convert(answer["reason"], Reason))

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _raise_risk(self, command: Command, kind: Kind, *, minutes: float = 0.0, confirmed: bool = False) -> Any:
        """Check a command that raises risk (recent console, reason), record it, then hand it to the next tick."""

        def check() -> None:
            if len(command.reason) < REASON_MIN:
                raise OrderRefused(Reason("refused.command_reason", {"command": command.text, "least": REASON_MIN}))

        async with self._log.one_at_a_time:
            self._log.check(command, check)
            intent = await self._log.record_intent(command)
            self._log.check(command, check, intent)  # the disk may have taken its time
            request = self._request(kind, command.peer, command.reason, minutes=minutes, confirmed=confirmed)
            return await self._hand_over(command, intent, request)

    def _request(
        self, kind: Kind, peer: Peer, reason: str, *, minutes: float = 0.0, confirmed: bool = False
    ) -> IslandRequest:
        self._asked += 1
        return IslandRequest(
            id=f"i{self._asked}",
            kind=kind,
            who=peer.who,
            reason=reason,
            minutes=minutes,
            confirmed=confirmed,
            alarms=self._high_alarms() if kind in ("drill", "check") else (),
        )

    def _high_alarms(self) -> tuple[str, ...]:
        """Ids of the alarms of high priority whose condition stands."""
        listed = self._alarms.standing()
        return tuple(a.id for a in listed if a.priority is Priority.HIGH and a.state is not AlarmState.RETURNED)

    async def _hand_over(self, command: Command, intent: int | None, request: IslandRequest) -> Any:
        """Give a request to the next tick, put its answer on record, and answer."""
        reply = await self._reply(request)
        text, reason = words(reply.reason), recordable(reply.reason)
        if not reply.ok:
            self._log.record_refusal(command, text, intent, why=reason)
            return _answer(reply) | {"not_durable": ""}
        more = {"minutes": request.minutes} if request.kind == "drill" else {}
        trouble = await self._log.record_result(command, intent, "accepted", text, why=reason, **more)
        return _answer(reply) | {"not_durable": trouble}

    async def _reply(self, request: IslandRequest) -> IslandReply:
        """Give a request to the next tick and wait for its answer."""
        # Shielded: a cancelled future would be one that the tick cannot answer.
        asked = asyncio.shield(asyncio.wrap_future(self._loop.submit(request)))
        try:
            return await asyncio.wait_for(asked, TICK_WAIT_S)
        except TimeoutError:
            # What raises risk must not come true when nobody waits for it any more; an abort must.
            taken_back = request.kind != "abort" and self._loop.withdraw(request.id)
            why = (
                Reason("reply.no_tick_withdrawn", {"waited_s": TICK_WAIT_S})
                if taken_back
                else Reason("reply.no_tick_asked", {"waited_s": TICK_WAIT_S})
            )
            return IslandReply(request.id, False, why)


def _answer(reply: IslandReply) -> dict[str, Any]:
    """What whoever asked gets; `text` says the reason to programs that make no words."""
    return {
        "ok": reply.ok,
        "text": words(reply.reason),
        "reason": msgspec.to_builtins(reply.reason),
        "checks": msgspec.to_builtins(reply.checks),
    }


def _command(peer: Peer, name: str, text: str, params: dict[str, Any]) -> Command:
    reason = printable(str(params.get("reason") or ""))
    return Command(peer=peer, name=name, text=text, reason=reason, seen_utc_s=params.get("seen_utc_s"))
