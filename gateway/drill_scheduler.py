"""Follows the site file's schedule of drills: checks it once a second, reports what is due, starts unattended ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from dispatch.islanding.drill_schedule import ScheduleMemory, ScheduleVerdict, judge
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.clock import Clock
from dispatch.model.islanding import IslandReply
from dispatch.wording.catalogue import words
from gateway.api.protocol import DrillPlan, Published
from gateway.drill_state import DrillState
from gateway.event_sink import EventSink
from gateway.planning_service import PlanningService
from gateway.site.schema import Site

STATE = "drills"  # the key under which the record keeps what must outlive a restart
PERIOD_S = 1.0  # machine seconds
SETTLE_S = 3.0  # after a start every device is read once before a drill is considered
SEVERITY = {"missed": "warning", "done": "info"}


class Loop(Protocol):
    """What the scheduler reads of the control loop."""

    @property
    def published(self) -> Published | None:
        """The state after the last tick."""
        ...

    @property
    def drill_started_utc_s(self) -> float | None:
        """When the drill that is under way began."""
        ...


class Starter(Protocol):
    """Starts a drill that no person asked for."""

    async def start_scheduled(self, minutes: float, reason: str) -> IslandReply:
        """Start it, or say why not."""
        ...


class DrillScheduler:
    """Follows `[drills]` of one site. Made only where it has a schedule."""

    def __init__(
        self,
        *,
        site: Site,
        clock: Clock,
        events: EventSink,
        loop: Loop,
        planner: PlanningService,
        drills: DrillState,
        starter: Starter,
        save: Callable[[str, Any], None],
        kept: Any,
    ) -> None:
        """`save` keeps a value under a key in the record's memory; `kept` is what it has under STATE, None at first."""
        self._memory = ScheduleMemory()
        self._site, self._clock, self._events = site, clock, events
        self._loop, self._planner, self._drills, self._starter, self._save = loop, planner, drills, starter, save
        self.adopt(kept)

    def adopt(self, kept: Any) -> None:
        """Take over what the record's memory has of earlier runs, before the first check."""
        try:
            self._memory = msgspec.convert(kept or {}, ScheduleMemory)
        except msgspec.ValidationError as error:
            text = f"what was kept of the schedule of drills is lost: {error}"
            self._events.event("island", "warning", "drill", text)

    async def run(self) -> None:
        """Check the schedule until cancelled."""
        await asyncio.sleep(SETTLE_S)
        while True:
            await self.check()
            await asyncio.sleep(PERIOD_S)

    async def check(self) -> None:
        """Check the schedule once, and do what is due."""
        published = self._loop.published
        if published is None or not published.snapshot.utc_known or not self._drills.known:
            return
        config, now_s = self._site.dispatch, self._clock.utc_s()
        soc_pct = BatteryBank(config, published.snapshot).soc_pct
        found = judge(config, now_s, self._memory, self._last_started_utc_s(), self._planner.plan, soc_pct)
        self._keep(found.memory)
        if found.action in SEVERITY:
            self._events.event("island", SEVERITY[found.action], "drill", words(found.why))
        self._show(found)
        if found.action == "start":
            reply = await self._starter.start_scheduled(config.drills.minutes, words(found.why))
            if not reply.ok:
                text = f"the drill that is due was not begun: {words(reply.reason)}"
                self._events.event("island", "warning", "drill", text)
                self._keep(msgspec.structs.replace(self._memory, refused=reply.reason))

    def _last_started_utc_s(self) -> float | None:
        """When the drill that is under way, or else the last one, began."""
        running_s, report = self._loop.drill_started_utc_s, self._drills.report
        if running_s is not None:
            return running_s
        return None if report is None else report.started_utc_s

    def _show(self, found: ScheduleVerdict) -> None:
        note = None if found.due_utc_s is None else found.why
        plan = DrillPlan(found.next_utc_s, found.due_utc_s, note, self._site.drills.unattended)
        self._drills.set_schedule(plan, found.why if found.action == "announce" else None)

    def _keep(self, memory: ScheduleMemory) -> None:
        if memory != self._memory:
            self._memory = memory
            self._save(STATE, memory)
