"""Commands about power reservations: ask, list, withdraw. Put on record like orders.

The audit is also where they are kept: a reservation is granted by the row that holds it, on disk before it is answered,
and stands until a row says otherwise or its time is up. A gateway that starts reads them back from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.model.islanding import IslandState
from dispatch.model.orders import OrderRefused
from dispatch.model.plan import Plan
from dispatch.model.reservations import Reservation
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.order_projection import clock, holder
from dispatch.planning.power_admission import Asked, Grant, grant, short_of
from dispatch.wording.formatting import kw, span
from gateway.api.island_commands import IslandCommands
from gateway.api.order_commands import printable
from gateway.api.peer import Peer
from gateway.api.roles import Roles
from gateway.control_loop import Gateway
from gateway.errors import CommandRefused
from storage.audit import AuditLog

_ASKED = frozenset(Asked.__struct_fields__)


class ReservationCommands(IslandCommands):
    """Takes the commands of one gateway, those about reservations too."""

    def __init__(self, gateway: Gateway, roles: Roles, audit: AuditLog) -> None:
        super().__init__(gateway, roles, audit)
        self.methods |= {
            "reservation.ask": self._ask,
            "reservation.list": self._reservations,
            "reservation.withdraw": self._withdraw,
        }
        gateway.reservation_over = self._is_over

    def keep(self, kept: Sequence[Reservation]) -> None:
        """Take over the reservations that a run before this one granted."""
        gateway, now_s = self._gateway, self._gateway.clock.utc_s()
        for reservation in kept:
            gateway.reservations.put(reservation, now_s)
            gateway.event("command", "info", "reservation", f"{self._words(reservation)}, is kept over a restart")
        gateway.planner.reserve(gateway.reservations.kept)

    async def _ask(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Grant a job its start, or refuse. Params: those of `Asked`, and `seen_utc_s`. Raises CommandRefused."""
        unknown = params.keys() - _ASKED - {"seen_utc_s"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        asked = msgspec.convert({key: value for key, value in params.items() if key in _ASKED}, Asked)
        name, gateway = "reservation.ask", self._gateway
        said = f"{asked.name or 'a job'}: {kw(asked.power_w)} for {span(asked.for_s)} within {span(asked.within_s)}"
        await self._permit(peer, name)
        async with self._one_at_a_time:
            found = await self._found(asked)

            def check() -> Grant:
                self._fresh(params)
                if isinstance(found, OrderRefused):
                    raise found
                return found

            granted: Grant = self._checked(peer, name, said, check)
            body = self._body(asked, granted, peer)
            text = f"{said}: from {clock(granted.start_utc_s, gateway.site.dispatch)}"
            row = self._row("intent", peer, name, text, granted.why) | {"reservation": body}
            intent = await self._durable(peer, row)
            id = f"r{intent}"
            reservation = msgspec.convert(body | {"id": id, "name": asked.name or id}, Reservation)
            gateway.reservations.put(reservation)
        gateway.planner.reserve(gateway.reservations.kept)
        why = f": {granted.why}" if granted.why else ""
        words = f"{self._words(reservation)}, is granted{why}"
        gateway.event("command", "info", "reservation", words, peer.who)
        trouble = await self._result(peer, name, intent, "granted", words)
        answer = msgspec.to_builtins(granted) | {"reservation": msgspec.to_builtins(reservation)}
        return answer | {"not_durable": trouble}

    def _body(self, asked: Asked, granted: Grant, peer: Peer) -> dict[str, Any]:
        """A reservation as its row holds it; its id is the row's number."""
        now_s = self._gateway.clock.utc_s()
        return {
            "name": asked.name,
            "power_w": asked.power_w,
            "start_utc_s": granted.start_utc_s,
            "end_utc_s": granted.start_utc_s + asked.for_s,
            "latest_utc_s": max(granted.start_utc_s, now_s + asked.within_s),
            "who": peer.who,
            "given_utc_s": now_s,
        }

    async def _found(self, asked: Asked) -> Grant | OrderRefused:
        """What the site says to a job; worked out beside the tick."""
        inputs, plan, island = self._look_ahead()
        if inputs is None:
            return OrderRefused("not ready", "SoC, load or PV is not known now; try again when they are")
        try:
            standing = self._gateway.reservations.standing(self._gateway.clock.utc_s())
            return await asyncio.to_thread(grant, asked, inputs, plan, island, standing)
        except OrderRefused as refusal:
            return refusal

    def _look_ahead(self) -> tuple[PlanInputs | None, Plan | None, IslandState]:
        gateway = self._gateway
        published = gateway.published
        island = IslandState.UNKNOWN if published is None else published.decision.island
        return gateway.planner.inputs(gateway), gateway.planner.plan, island

    async def _reservations(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Those that stand, each with `ready`, and with `why` where its power is not there yet; and the site's time."""
        now_s = self._gateway.clock.utc_s()
        standing = self._gateway.reservations.standing(now_s)
        held = holder(self._gateway.orders.active, self._gateway.site.dispatch, now_s) is not None
        asks = held or any(r.start_utc_s <= now_s for r in standing)
        inputs, plan, island = self._look_ahead() if asks else (None, None, IslandState.UNKNOWN)
        listed = []
        for reservation in standing:
            if now_s < reservation.start_utc_s:
                why = f"it starts at {clock(reservation.start_utc_s, self._gateway.site.dispatch)}"
                risk = self._gateway.planner.at_risk.get(reservation.id, "")
                if held and inputs is not None:  # a plan that knows of it may be on its way
                    risk = await asyncio.to_thread(short_of, reservation, inputs, plan)
                why += f"; at risk: {risk}" if risk else ""
            elif island is not IslandState.GRID_TIED:
                why = f"the site is {island.value}"
            elif inputs is None:
                why = "SoC, load or PV is not known now"
            else:
                why = await asyncio.to_thread(short_of, reservation, inputs, plan)
            listed.append(msgspec.to_builtins(reservation) | {"ready": not why, "why": why})
        return {"utc_s": now_s, "reservations": listed}

    async def _withdraw(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Give the power back, or take it back; always runs. Params: `id` (or the job's name), `reason`."""
        name, gateway, reason = "reservation.withdraw", self._gateway, printable(str(params.get("reason") or ""))
        await self._permit(peer, name)
        try:
            found = gateway.reservations.find(str(params["id"]), gateway.clock.utc_s())
        except LookupError as error:
            raise CommandRefused(str(error)) from None
        intent = await self._intent_if_it_can(peer, name, self._words(found), reason)
        words = f"{self._words(found)}, is withdrawn by {peer.who}{': ' if reason else ''}{reason}"
        try:
            gateway.reservations.withdraw(found.id, gateway.clock.utc_s())
        except LookupError:  # over, or withdrawn by somebody else, while the disk wrote
            words = f"{self._words(found)}, was over already"
        gateway.planner.reserve(gateway.reservations.kept)
        gateway.event("command", "info", "reservation", words, peer.who)
        trouble = await self._result(peer, name, intent, "withdrawn", words, reservation_id=found.id)
        return {"withdrawn": msgspec.to_builtins(found), "not_durable": trouble}

    def _is_over(self, reservation: Reservation) -> None:
        text = f"{self._words(reservation)}, is over"
        self._audit.spool({"kind": "end", "reservation_id": reservation.id, "who": "gateway", "text": text})

    def _words(self, r: Reservation) -> str:
        config = self._gateway.site.dispatch
        named = r.name if r.name == r.id else f"{r.name} ({r.id})"
        return (
            f"reservation {named} of {r.who}, {kw(r.power_w)} from {clock(r.start_utc_s, config)} "
            f"to {clock(r.end_utc_s, config)}"
        )
