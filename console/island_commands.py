"""Commands to the islanding state machine: drill, abort, fault reset, black start. Put on record like orders.

Whether one may be done is the state machine's word alone: it has the readings of the tick. Its "no" is an answer with
its checks, not an error, so that whoever asked sees every figure.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec

from console.commands import TICK_WAIT_S, Commands, printable
from console.gateway import Gateway
from console.link.peer import Peer
from console.roles import Roles
from dispatch.alarms import AlarmState, Priority
from dispatch.island_view import IslandReply, IslandRequest
from dispatch.limits import site_soc_pct
from dispatch.order_check import OrderRefused
from storage.audit import AuditLog


class IslandCommands(Commands):
    """Takes the commands of one gateway, those of islanding too."""

    def __init__(self, gateway: Gateway, roles: Roles, audit: AuditLog) -> None:
        super().__init__(gateway, roles, audit)
        self._asked = 0
        self.methods |= {
            "drill.start": self._drill,
            "drill.abort": self._abort,
            "drill.status": self._drill_status,
            "island.reset": self._reset,
            "island.black_start": self._black_start,
        }

    async def _drill(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Begin a drill. Params: `minutes`, `reason`, `seen_utc_s`. Raises CommandRefused."""
        minutes = float(params["minutes"])
        return await self._raise(peer, "drill.start", f"drill of {minutes:g} min", params, "drill", minutes=minutes)

    async def _reset(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Let the state machine look anew after a fault. Params: `reason`, `seen_utc_s`. Raises CommandRefused."""
        return await self._raise(peer, "island.reset", "fault reset", params, "reset")

    async def _black_start(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Start a dead site. Params: `reason`, `confirmed`, `seen_utc_s`. Raises CommandRefused."""
        confirmed = params.get("confirmed") is True
        said = f"black start, nobody on the bus: {'confirmed' if confirmed else 'not confirmed'}"
        return await self._raise(peer, "island.black_start", said, params, "black-start", confirmed=confirmed)

    async def _abort(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Back to the grid, or withdraw a black start; always runs."""
        name, reason = "drill.abort", printable(str(params.get("reason") or ""))
        await self._permit(peer, name)
        intent = await self._intent_if_it_can(peer, name, "abort", reason)
        return await self._hand_over(peer, name, intent, self._request("abort", peer, reason))

    async def _drill_status(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Where the state machine stands, the drill under way, and the report of the last one (None: none yet)."""
        published = self._gateway.published
        if published is None:
            return {"state": "unknown", "view": None, "soc_pct": None, "report": self._report()}
        return {
            "state": published.decision.island.value,
            "view": msgspec.to_builtins(published.decision.islanding),
            "soc_pct": site_soc_pct(self._gateway.site.dispatch, published.snapshot),
            "report": self._report(),
        }

    def _report(self) -> Any:
        return msgspec.to_builtins(self._gateway.drill_report)

    async def _raise(
        self,
        peer: Peer,
        name: str,
        said: str,
        params: dict[str, Any],
        kind: Literal["drill", "reset", "black-start"],
        minutes: float = 0.0,
        confirmed: bool = False,
    ) -> Any:
        """What raises risk: from a live console, with a reason, on disk, and only then for the next tick."""
        reason = printable(str(params.get("reason") or ""))
        await self._permit(peer, name)

        def check() -> None:
            self._fresh(params)
            if not reason:
                raise OrderRefused("reason", f"{said} needs a reason: --reason TEXT")

        async with self._one_at_a_time:
            self._checked(peer, name, said, check)
            intent = await self._durable(self._audit.write(self._row("intent", peer, name, said, reason)))
            self._checked(peer, name, said, check, of=intent)  # the disk may have taken its time
            request = self._request(kind, peer, reason, minutes, confirmed)
            return await self._hand_over(peer, name, intent, request)

    def _request(
        self,
        kind: Literal["drill", "abort", "reset", "black-start"],
        peer: Peer,
        reason: str,
        minutes: float = 0.0,
        confirmed: bool = False,
    ) -> IslandRequest:
        self._asked += 1
        return IslandRequest(
            id=f"i{self._asked}",
            kind=kind,
            who=peer.who,
            reason=reason,
            minutes=minutes,
            confirmed=confirmed,
            alarms=self._high_alarms() if kind == "drill" else (),
        )

    def _high_alarms(self) -> tuple[str, ...]:
        """Titles of the alarms of high priority whose condition stands."""
        listed = self._gateway.alarms.active()
        return tuple(a.title for a in listed if a.priority is Priority.HIGH and a.state is not AlarmState.RETURNED)

    async def _hand_over(self, peer: Peer, name: str, intent: int | None, request: IslandRequest) -> Any:
        """Give a request to the next tick, put its answer on record, and answer."""
        # Shielded: a cancelled future would be one that the tick cannot answer.
        asked = asyncio.shield(asyncio.wrap_future(self._gateway.ask(request)))
        try:
            reply = await asyncio.wait_for(asked, TICK_WAIT_S)
        except TimeoutError:
            line = f"no tick within {TICK_WAIT_S:g} s; it is asked all the same: see what became of it"
            reply = IslandReply(request.id, False, line)
        answer: dict[str, Any] = {"ok": reply.ok, "text": reply.text, "checks": msgspec.to_builtins(reply.checks)}
        if not reply.ok:
            self._note_refusal(peer, name, reply.text, intent)
            return answer | {"not_durable": ""}
        return answer | {"not_durable": await self._result(peer, name, intent, "begun", reply.text)}
