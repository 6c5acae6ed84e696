"""Commands to the islanding state machine: drill, abort, fault reset, black start. Put on record like orders.

Whether one may be done is the state machine's word alone: it has the readings of the tick. Its "no" is an answer with
its checks, not an error, so that whoever asked sees every figure.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any, Literal

import msgspec

from dispatch.alarms.states import AlarmState, Priority
from dispatch.model.battery_bank import site_soc_pct
from dispatch.model.islanding import DrillReport, IslandReply, IslandRequest
from dispatch.model.orders import REASON_MIN, OrderRefused
from gateway.api.order_commands import TICK_WAIT_S, Commands, printable
from gateway.api.peer import Peer
from gateway.api.roles import Roles
from gateway.control_loop import Gateway
from gateway.errors import CommandRefused
from storage.audit import AuditLog
from storage.drills import DrillRecord, digest, text_of

SCHEDULE = "schedule"  # who asks for an unattended drill


class IslandCommands(Commands):
    """Takes the commands of one gateway, those of islanding too."""

    def __init__(self, gateway: Gateway, roles: Roles, audit: AuditLog) -> None:
        super().__init__(gateway, roles, audit)
        self._asked = 0
        self.methods |= {
            "drill.start": self._drill,
            "drill.abort": self._abort,
            "drill.status": self._drill_status,
            "drill.check": self._drill_check,
            "island.reset": self._reset,
            "island.black_start": self._black_start,
        }
        self._head = ""  # of the audit, as the last report has it
        gateway.drill_over = self._report_over

    def adopt_drills(self, last: DrillRecord | None, cut_short: dict[str, Any] | None) -> None:
        """Take over what a run before this one left: its last report, and a drill in whose middle it was killed."""
        if last is not None:
            self._gateway.drill_report, self._head = last.report, last.audit_head
        if cut_short is not None:
            self._cut(_cut_short(cut_short))

    def finish(self) -> None:
        """As for every command; a drill under way is reported as what it is, not finished."""
        gateway = self._gateway
        drill = gateway.controller.island.drill
        if drill is not None:
            drill.failure = drill.failure or "the gateway was stopped in its middle"
            self._cut(drill.report(gateway.clock.utc_s()))
        super().finish()

    def _cut(self, report: DrillReport) -> None:
        """A drill that no tick has ended."""
        self._gateway.event("island", "alarm", "drill", f"drill of {report.who} {report.result}: {report.why}")
        self._gateway.end_drill(report)

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
            return {"state": "unknown", "view": None, "soc_pct": None} | self._last()
        return {
            "state": published.decision.island.value,
            "view": msgspec.to_builtins(published.decision.islanding),
            "soc_pct": site_soc_pct(self._gateway.site.dispatch, published.snapshot),
        } | self._last()

    async def _drill_check(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What a drill would find now, every check; begins nothing. Params: `minutes`, `reason`."""
        reason = printable(str(params.get("reason") or ""))
        request = self._request("check", peer, reason, float(params["minutes"]))
        reply = await self._reply(request)
        return {"ok": reply.ok, "text": reply.text, "checks": msgspec.to_builtins(reply.checks)}

    def _last(self) -> dict[str, Any]:
        report, plan = self._gateway.drill_report, self._gateway.drill_plan
        return {"report": msgspec.to_builtins(report), "audit_head": self._head, "plan": msgspec.to_builtins(plan)}

    def _report_over(self, report: DrillReport) -> None:
        """Put the digest of a report into the audit, then the report with the audit's head on record. Never waits."""
        self._head = ""
        row: dict[str, Any] = {"kind": "drill", "who": report.who, "outcome": report.result}
        row |= {"text": f"drill of {report.minutes:g} min: {report.why}", "report_sha256": digest(text_of(report))}
        self._audit.spool(row).add_done_callback(partial(self._keep, report))

    def _keep(self, report: DrillReport, written: Future[int]) -> None:
        """In the audit's thread, once the row is on disk or cannot be."""
        error = written.exception()
        record = DrillRecord(report, self._audit.head, "" if error is None else str(error))
        self._head = record.audit_head
        self._gateway.recorder.drill(record)

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
            if len(reason) < REASON_MIN:
                raise OrderRefused("reason", f"{said} needs a reason of at least {REASON_MIN} characters")

        async with self._one_at_a_time:
            self._checked(peer, name, said, check)
            intent = await self._durable(peer, self._row("intent", peer, name, said, reason))
            self._checked(peer, name, said, check, of=intent)  # the disk may have taken its time
            request = self._request(kind, peer, reason, minutes, confirmed)
            return await self._hand_over(peer, name, intent, request)

    def _request(
        self,
        kind: Literal["drill", "check", "abort", "reset", "black-start"],
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
            alarms=self._high_alarms() if kind in ("drill", "check") else (),
        )

    def _high_alarms(self) -> tuple[str, ...]:
        """Titles of the alarms of high priority whose condition stands."""
        listed = self._gateway.alarms.active()
        return tuple(a.title for a in listed if a.priority is Priority.HIGH and a.state is not AlarmState.RETURNED)

    async def start_scheduled(self, minutes: float, reason: str) -> IslandReply:
        """Begin a drill that the site file lets begin by itself: on record first, like everybody's."""
        name, said, nobody = (
            "drill.start",
            f"drill of {minutes:g} min, unattended",
            Peer(os.getpid(), os.getuid(), os.getgid(), SCHEDULE),
        )
        async with self._one_at_a_time:
            if self._stopping:
                return IslandReply("", False, "the gateway is stopping")
            try:
                intent = await self._durable(nobody, self._row("intent", nobody, name, said, reason))
            except CommandRefused as refused:
                return IslandReply("", False, str(refused))
            answer = await self._hand_over(nobody, name, intent, self._request("drill", nobody, reason, minutes))
        return IslandReply("", answer["ok"], answer["text"])

    async def _hand_over(self, peer: Peer, name: str, intent: int | None, request: IslandRequest) -> Any:
        """Give a request to the next tick, put its answer on record, and answer."""
        reply = await self._reply(request)
        answer: dict[str, Any] = {"ok": reply.ok, "text": reply.text, "checks": msgspec.to_builtins(reply.checks)}
        if not reply.ok:
            self._note_refusal(peer, name, reply.text, intent)
            return answer | {"not_durable": ""}
        more = {"minutes": request.minutes} if request.kind == "drill" else {}
        return answer | {"not_durable": await self._result(peer, name, intent, "accepted", reply.text, **more)}

    async def _reply(self, request: IslandRequest) -> IslandReply:
        """Give a request to the next tick and wait for its answer."""
        # Shielded: a cancelled future would be one that the tick cannot answer.
        asked = asyncio.shield(asyncio.wrap_future(self._gateway.ask(request)))
        try:
            return await asyncio.wait_for(asked, TICK_WAIT_S)
        except TimeoutError:
            # What raises risk must not come true when nobody waits for it any more; an abort must.
            taken_back = request.kind != "abort" and self._gateway.withdraw(request.id)
            then = (
                "it is withdrawn, nothing was begun"
                if taken_back
                else "it is asked all the same: see what became of it"
            )
            return IslandReply(request.id, False, f"no tick within {TICK_WAIT_S:g} s; {then}")


def _cut_short(body: dict[str, Any]) -> DrillReport:
    """The report of a drill whose gateway was killed: all that is left of it is in the audit, the row `body`."""
    began_s = datetime.fromisoformat(body["t"]).timestamp()
    return DrillReport(
        who=body["who"],
        reason=body["reason"],
        minutes=float(body.get("minutes", 0.0)),
        started_utc_s=began_s,
        ended_utc_s=began_s,
        result="failed",
        why="the gateway was killed in its middle; what came after it is in the log",
        timeline=((began_s, body["text"]),),
        checks=(),
        criteria=(),
        transfer_gap="not known",
        islanded_s=None,
        v_min=None,
        v_max=None,
        hz_min=None,
        hz_max=None,
        battery_wh=None,
        soc_track=(),
    )
