"""The schedule of drills beside the tick: looked at once a second, kept over restarts, said in the log."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec

from dispatch.islanding.drill_schedule import ScheduleLook, ScheduleMemory, look
from dispatch.model.battery_bank import site_soc_pct
from dispatch.model.islanding import IslandReply
from gateway.api.protocol import DrillPlan
from gateway.control_loop import Gateway

STATE = "drills"  # under which the memory is kept
LOOK_S = 1.0  # machine seconds
SETTLE_S = 3.0  # after a start every device is read once before a drill is thought of
SEVERITY = {"missed": "warning", "done": "info"}


class Starter(Protocol):
    """Begins a drill nobody asked for."""

    async def start_scheduled(self, minutes: float, reason: str) -> IslandReply:
        """Begin it, or say why not."""


class DrillClock:
    """Follows `[drills]` of one site; `run` only where it has a schedule."""

    def __init__(self, gateway: Gateway, starter: Starter, kept: Any) -> None:
        """`kept`: what the record holds under STATE, None at first; what cannot be read is as if it were not there."""
        self._gateway, self._starter = gateway, starter
        try:
            self._memory = msgspec.convert(kept or {}, ScheduleMemory)
        except msgspec.ValidationError as error:
            self._memory = ScheduleMemory()
            gateway.event("island", "warning", "drill", f"what was kept of the schedule of drills is lost: {error}")

    async def run(self) -> None:
        """Look at the schedule until cancelled."""
        await asyncio.sleep(SETTLE_S)
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look, and what it asks for."""
        gateway = self._gateway
        published = gateway.published
        if published is None:
            return
        config, now_s = gateway.site.dispatch, gateway.clock.utc_s()
        soc_pct = site_soc_pct(config, published.snapshot)
        seen = look(config, now_s, self._memory, self._last_started_s(), gateway.planner.plan, soc_pct)
        self._keep(seen.memory)
        if seen.action in SEVERITY:
            gateway.event("island", SEVERITY[seen.action], "drill", seen.why)
        self._show(seen)
        if seen.action == "start":
            reply = await self._starter.start_scheduled(config.drills.minutes, seen.why)
            if not reply.ok:
                gateway.event("island", "warning", "drill", f"the drill that is due was not begun: {reply.text}")
                self._keep(msgspec.structs.replace(self._memory, refused=reply.text))

    def _last_started_s(self) -> float | None:
        running, report = self._gateway.controller.island.drill, self._gateway.drill_report
        if running is not None:
            return running.started_utc_s
        return None if report is None else report.started_utc_s

    def _show(self, seen: ScheduleLook) -> None:
        note = "" if seen.due_utc_s is None else seen.why
        unattended = self._gateway.site.drills.unattended
        self._gateway.drill_due = seen.why if seen.action == "announce" else ""
        self._gateway.drill_plan = DrillPlan(seen.next_utc_s, seen.due_utc_s, note, unattended)

    def _keep(self, memory: ScheduleMemory) -> None:
        if memory != self._memory:
            self._memory = memory
            self._gateway.recorder.save_state(STATE, memory)
