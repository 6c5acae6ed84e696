"""Queries: what clients may ask of the gateway that changes nothing. The archive is read in a thread of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec

from dispatch.events import flexibility
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.clock import Clock
from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.planning.lp_solver import SolverFailed
from dispatch.planning.order_projection import battery_holder, holder_reason, with_raised_reserve
from dispatch.wording.catalogue import words
from gateway.api.command_log import CommandLog, Handler
from gateway.api.interfaces import EnergyIq, Loop, Planner
from gateway.api.job_names import shown_queues, shown_reservations
from gateway.api.peer import Peer
from gateway.energy_iq_history import today
from gateway.errors import CommandRefused
from gateway.site.schema import Site
from gateway.supervised_calls import PartHangs, SupervisedCalls
from storage import audit_reader
from storage.past import past
from storage.reader import Archive

MAX_EVENTS = 500
MAX_TIMES = 50
FlexHours = Annotated[list[Annotated[float, msgspec.Meta(gt=0, le=48)]], msgspec.Meta(max_length=MAX_TIMES)]
Kinds = Annotated[list[str], msgspec.Meta(max_length=MAX_TIMES)]  # of events
FlexStarts = Annotated[list[float], msgspec.Meta(max_length=MAX_TIMES)]


def no_plan(site: Site, error: Reason | None) -> Reason:
    """That there is no plan, and why; `error` is what the planner said last."""
    why = error or Reason("no_plan.first")
    if not site.battery:
        why = Reason("no_plan.no_battery")
    if not site.plan.enabled:
        why = Reason("no_plan.switched_off")
    return Reason("no_plan.none", {"why": why})


class Queries:
    """Answers the questions about one site. None of them changes anything."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        state_dir: Path,
        archive: SupervisedCalls,
        *,
        log: CommandLog,
        loop: Loop,
        planner: Planner,
        iq: EnergyIq,
    ) -> None:
        self._site, self._clock, self._state_dir = site, clock, state_dir
        self._log, self._loop, self._planner, self._energy_iq = log, loop, planner, iq
        self._archive = archive
        self.handlers: dict[str, Handler] = {
            "status": self._status,
            "role": self._role,
            "plan": self._plan,
            "history": self._history,
            "events": self._events,
            "at": self._at,
            "past": self._past,
            "why": self._why,
            "decisions": self._decisions,
            "audit": self._audit,
            "iq": self._iq,
            "flex": self._flex,
            "drill.reports": self._drill_reports,
        }

    async def ask(self, ask: Callable[[Archive], Any]) -> Any:
        """Read from the record on disk. Raises CommandRefused where it does not answer, and those of `Archive`."""

        def run() -> Any:
            archive = Archive(self._state_dir)
            try:
                return ask(archive)
            finally:
                archive.close()

        return await self._read(run)

    async def _read(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """Raises CommandRefused where the disk does not answer."""
        try:
            return await self._archive.call(ask, *arguments)
        except PartHangs as error:
            raise CommandRefused(f"the record cannot be read now: {error}") from None

    async def _status(self, peer: Peer, params: dict[str, Any]) -> Any:
        published = self._loop.published
        if published is None:
            raise CommandRefused("the gateway has not completed a tick yet; ask again in a second")
        user = await self._log.named(peer)
        queues, reservations = shown_queues(published.queues, user), shown_reservations(published.reservations, user)
        return msgspec.to_builtins(msgspec.structs.replace(published, queues=queues, reservations=reservations))

    async def _role(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What the asker may do at this moment, and what that follows from."""
        standing = await self._log.standing(peer)
        return {"role": standing.role.word, "why": standing.why}

    async def _plan(self, peer: Peer, params: dict[str, Any]) -> Any:
        plan = self._planner.plan
        if plan is None:
            why = no_plan(self._site, self._planner.error)
            raise CommandRefused(words(why), why)
        return msgspec.to_builtins(plan)

    async def _flex(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What can be offered to a grid event: `hours`, durations; `starts_utc_s`. Default: those of `flexibility`."""
        hours = msgspec.convert(params.get("hours") or flexibility.DURATIONS_H, FlexHours)
        given = msgspec.convert(params.get("starts_utc_s") or [], FlexStarts)
        if not all(map(math.isfinite, (*hours, *given))):
            raise ValueError("hours, starts_utc_s: expected finite numbers")
        published, plan, inputs = self._loop.published, self._planner.plan, self._planner.inputs()
        if published is None or plan is None or inputs is None:
            why = no_plan(self._site, self._planner.error)
            raise CommandRefused(words(why), why)
        if published.decision.island is not IslandState.GRID_TIED:
            why = Reason("flexibility.off_grid")
            raise CommandRefused(words(why), why)
        starts = given or flexibility.shown_starts(inputs.now_utc_s)
        config = with_raised_reserve(inputs.config, inputs.orders)
        compute = flexibility.compute_flexibility(config, published.snapshot.nodes)
        found = flexibility.offers(
            config,
            plan,
            inputs.soc_pct or 0.0,
            [(start, length) for start in starts for length in hours],
            compute,
            BatteryBank(config, published.snapshot).discharge_w,
        )
        holder = battery_holder(inputs.orders, config, inputs.now_utc_s)
        return {
            "now_utc_s": inputs.now_utc_s,
            "offers": msgspec.to_builtins(found),
            "compute": msgspec.to_builtins(compute),
            "note": None if holder is None else msgspec.to_builtins(holder_reason(holder, config)),
        }

    async def _history(self, peer: Peer, params: dict[str, Any]) -> Any:
        signals = [str(name) for name in params["signals"]]
        start_s, end_s, step_s = float(params["start_utc_s"]), float(params["end_utc_s"]), float(params["step_s"])
        return await self.ask(lambda archive: archive.history(signals, start_s, end_s, step_s))

    async def _events(self, peer: Peer, params: dict[str, Any]) -> Any:
        limit = min(int(params.get("limit", 100)), MAX_EVENTS)
        named = msgspec.convert(params.get("kinds") or [], Kinds)
        kinds = [*named, *([str(kind)] if (kind := params.get("kind")) is not None else [])]
        before, since, text = params.get("before_utc_s"), params.get("since_utc_s"), params.get("text")
        events = await self.ask(
            lambda archive: archive.events(limit, before_utc_s=before, text=text, kinds=kinds, since_utc_s=since)
        )
        return [msgspec.to_builtins(event) for event in events]

    async def _why(self, peer: Peer, params: dict[str, Any]) -> Any:
        at = params.get("at_utc_s")
        decision: Decision | None
        if at is None:
            published = self._loop.published
            decision = published.decision if published is not None else None
        else:
            decision = await self.ask(lambda archive: archive.why(float(at)))
        if decision is None:
            raise CommandRefused("no decision is on record within 90 s before that time")
        return msgspec.to_builtins(decision)

    async def _at(self, peer: Peer, params: dict[str, Any]) -> Any:
        """The site as it was at `utc_s`, and whether that is in a gap."""
        utc_s = float(params["utc_s"])
        return msgspec.to_builtins(await self.ask(lambda archive: archive.at(utc_s)))

    async def _past(self, peer: Peer, params: dict[str, Any]) -> Any:
        """What a console shows of `utc_s`: the site then, the charts up to then, the log before it."""
        utc_s = float(params["utc_s"])
        if not math.isfinite(utc_s):
            raise ValueError("utc_s: expected a finite number")
        return await self.ask(lambda archive: msgspec.to_builtins(past(archive, self._state_dir, utc_s)))

    async def _decisions(self, peer: Peer, params: dict[str, Any]) -> Any:
        start_s, end_s = float(params["start_utc_s"]), float(params["end_utc_s"])
        limit = min(int(params.get("limit", 100)), MAX_EVENTS)
        found = await self.ask(lambda archive: archive.decisions(start_s, end_s, limit))
        return [msgspec.to_builtins(decision) for decision in found]

    async def _drill_reports(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Reports on record, newest first; with `number`, that one."""
        limit, number = min(int(params.get("limit", 100)), MAX_EVENTS), params.get("number")
        found = await self.ask(lambda archive: archive.drills(limit, None if number is None else int(number)))
        return [msgspec.to_builtins(record) for record in found]

    async def _iq(self, peer: Peer, params: dict[str, Any]) -> Any:
        utc_s, day = self._clock.utc_s(), params.get("day")
        asked = today(utc_s, self._site.site.timezone) - timedelta(days=1) if day is None else day
        try:
            report = await self._energy_iq.report(date.fromisoformat(str(asked)), utc_s)
        except SolverFailed as error:
            raise CommandRefused(f"no Energy IQ: {error}") from None
        return msgspec.to_builtins(report)

    async def _audit(self, peer: Peer, params: dict[str, Any]) -> Any:
        limit, before = min(int(params.get("limit", 100)), MAX_EVENTS), params.get("before_seq")
        return await self._read(audit_reader.rows, self._state_dir, limit, None if before is None else int(before))
