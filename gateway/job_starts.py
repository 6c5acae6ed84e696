"""Lets jobs start as far as the site has power: what is missing is kept back, as licences of Slurm or by a limit.

Beside the tick, one call of the scheduler at a time, and only where the site file says `admit = true`. What is kept
back is renewed with every look and lapses soon after the last: where the gateway ends, or does not know what the site
can give, nobody waits for it for longer than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dispatch.control.contact_states import stop_reason
from dispatch.model.clock import Clock
from dispatch.model.jobs import StartPower
from dispatch.model.reasons import Reason
from dispatch.planning.start_allowance import (
    Licences,
    SettlingJobs,
    StartAllowance,
    StartTerms,
    closed,
    kept_back,
    start_allowance,
)
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw
from drivers.back_off import BackOff
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.limit_holder import LimitHolder
from drivers.schedulers.slurm_holder import SlurmHolder
from drivers.schedulers.start_holder import Seen, StartHolder
from gateway.api.interfaces import Loop, Planner
from gateway.event_sink import EventSink
from gateway.starts_in_trouble import StartsInTrouble
from gateway.supervised_calls import PartHangs, SupervisedCalls

LOOK_S = 30.0  # real seconds between two looks
OBSERVE_S = 1.0  # real seconds between two readings of the load
LONGEST_PAUSE_S = 120.0  # after failures; less than what is kept back lasts, so that one that works again finds it


def holder_of(scheduler: Scheduler, site: str) -> StartHolder:
    """What keeps power back in a scheduler. `site`: its name."""
    return SlurmHolder(scheduler, site) if scheduler.kind == "slurm" else LimitHolder(scheduler)


class JobStarts:
    """Keeps back, in one scheduler, the power that the site cannot give."""

    def __init__(
        self,
        scheduler: Scheduler,
        site: str,
        clock: Clock,
        events: EventSink,
        *,
        loop: Loop,
        planner: Planner,
        calls: SupervisedCalls,
        trouble: StartsInTrouble,
        on_power: Callable[[str, StartPower], None] = lambda id, power: None,
    ) -> None:
        """`site`: its name, which the reservation bears. `calls`: runs what is computed. `trouble`: notes what fails.

        `on_power` gets the scheduler and what came of each look.
        """
        self._scheduler, self._holder = scheduler, holder_of(scheduler, site)
        self._terms = StartTerms(scheduler.admit_for_h * 3600, scheduler.admit_to == "plan", self._holder.unit_w)
        self._in_trouble, self._turn, self._ended = trouble, asyncio.Lock(), False
        self._clock, self._events, self._loop, self._planner, self._calls = clock, events, loop, planner, calls
        self._settling = SettlingJobs()
        self._pv_w = 0.0  # what the PV usually gives now, for loads measured while it is not known
        self._kept = 0
        self._changed = ""  # how another has changed what we had set, as last told
        self._shut = False  # as the last look saw it
        self._told = ""
        self._trouble = ""
        self._on_power = on_power

    @property
    def id(self) -> str:
        """The scheduler's."""
        return self._scheduler.id

    @property
    def kept(self) -> int:
        """How many licences are kept back, as far as we know."""
        return self._kept

    def observe(self) -> None:
        """Take the load of the last tick."""
        if (published := self._loop.published) is None:
            return
        load_w, net_w = published.snapshot.load_w, published.snapshot.net_load_w
        if load_w is None and net_w is not None:
            load_w = max(0.0, net_w + self._pv_w)
        if load_w is not None:
            self._settling.observe_load(published.snapshot.mono_s, load_w)

    async def run(self) -> None:
        """Look again and again, until cancelled. The first time once the site has been seen for a while."""
        loop, pause = asyncio.get_running_loop(), BackOff(LONGEST_PAUSE_S, least_s=LOOK_S)
        due_s = loop.time() + LOOK_S
        while True:
            await asyncio.sleep(OBSERVE_S)
            self.observe()
            if loop.time() < due_s and (self._closed() is not None) == self._shut:
                continue
            if await self.look():
                pause.answered()
            else:
                pause.failed("", loop.time())
            due_s = loop.time() + max(LOOK_S, pause.wait_s(loop.time()))

    async def look(self) -> bool:
        """Keep back what is missing now; whether the scheduler took it."""
        self._shut = self._closed() is not None
        async with self._turn:
            if self._ended:
                return True
            try:
                await self._look()
            except QueueNotRead as error:
                self._on_power(self.id, StartPower(error=str(error)))  # what is kept back may have lapsed
                self._tell_trouble(str(error))
                return False
        self._tell_trouble("")
        return True

    async def end(self) -> None:
        """The gateway ends: a limit is put back, a reservation lapses. Nothing is kept back any more after this."""
        async with self._turn:
            self._ended = True
            try:
                await self._holder.end()
            except QueueNotRead as error:
                self._tell_trouble(str(error))

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look(self) -> None:
        """Raises QueueNotRead."""
        mono_s = self._clock.mono_s()
        seen = await self._holder.look()
        self._kept = seen.kept or 0
        self._tell_changed(seen)
        self._settling.observe_used(mono_s, seen.licences.used)
        if seen.stays:
            self._on_power(self.id, self._power_of(seen.licences, error=seen.changed))
            return
        allowed = await self._allowed(mono_s)
        if allowed is None:
            self._on_power(self.id, self._power_of(seen.licences, error="what the site can give is not known"))
            self._tell("not known", f"what the site can give is not known: {self._holder.lapses(self._kept)}")
            return
        count = self._count(seen.licences, allowed, mono_s)
        await self._holder.keep(count, seen)
        self._kept = count
        self._on_power(self.id, self._power_of(seen.licences, allowed.why if allowed.closed else None))
        if count and seen.in_vain:
            kept = kw(count * self._holder.unit_w)
            self._tell("in vain", f"{kept} are kept back in vain: {seen.in_vain}")
        else:
            why = allowed.why
            if not self._settling.settled(mono_s) and count > self._least(seen.licences, allowed):
                why = Reason("starts.not_fewer_yet")
            self._tell_kept(count, seen.licences.total, allowed.closed, why)

    def _power_of(self, licences: Licences, closed: Reason | None = None, error: str = "") -> StartPower:
        """The power of jobs, as the scheduler counts it. Kept back is what would be free: not what jobs hold anyhow."""
        unit_w = self._holder.unit_w
        most = max(0, licences.total - licences.used - licences.others)
        return StartPower(
            total_w=licences.total * unit_w,
            held_w=licences.used * unit_w,
            kept_w=min(self._kept, most) * unit_w,
            others_w=licences.others * unit_w,
            closed=closed,
            error=error,
        )

    def _count(self, licences: Licences, allowed: StartAllowance, mono_s: float) -> int:
        """How many licences to keep back."""
        return kept_back(licences, allowed, self._kept, self._settling.settled(mono_s), self._holder.unit_w)

    def _least(self, licences: Licences, allowed: StartAllowance) -> int:
        """How many would be kept back, had none been before."""
        return kept_back(licences, allowed, 0, True, self._holder.unit_w)

    async def _allowed(self, mono_s: float) -> StartAllowance | None:
        """With how much power jobs may start; None: not known."""
        if self._loop.published is None:
            return None
        nothing = self._closed()
        inputs, load = self._planner.inputs(), self._settling.load(mono_s, self._holder.unit_w)
        if inputs is not None and inputs.pv_w:
            self._pv_w = inputs.pv_w[0]
        if nothing is not None or inputs is None or load is None:
            return nothing
        try:
            return await self._calls.call(start_allowance, inputs, self._planner.plan, load, self._terms)
        except PartHangs:  # said by its alarm
            return None

    def _closed(self) -> StartAllowance | None:
        """Why nothing may start now, whatever the site draws; None: that decides, or there was no tick yet."""
        if (published := self._loop.published) is None:
            return None
        return closed(published.decision.island, stop_reason(published.decision.contacts))

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell_kept(self, count: int, total: int, closed: bool, why: Reason) -> None:
        """Say when jobs begin to wait for power, when none may start at all, and when all may."""
        state = "closed" if closed else "waiting" if count else "open"
        unit_w = self._holder.unit_w
        waits = f"{kw(count * unit_w)} of {kw(total * unit_w)} are kept back from jobs: {words(why)}"
        self._tell(state, waits if count else "nothing is kept back from jobs any more")

    def _tell_changed(self, seen: Seen) -> None:
        """Say that another has changed what we had set."""
        if seen.changed and seen.changed != self._changed:
            self._events.event("gateway", "warning", self._subject, seen.changed)
        self._changed = seen.changed
        self._in_trouble.changed(self.id, seen.changed if seen.stays else "")

    def _tell(self, state: str, text: str) -> None:
        if state != self._told and (self._told or state != "open"):
            self._events.event("plan", "info", self._subject, text)
        self._told = state

    def _tell_trouble(self, why: str) -> None:
        self._in_trouble.failed(self.id, why)
        if why == self._trouble:
            return
        if why:
            text = f"what is kept back from jobs cannot be changed ({self._holder.lapses(self._kept)}): {why}"
        else:
            text = "what is kept back from jobs can be changed again"
        self._events.event("gateway", "warning" if why else "info", self._subject, text)
        self._trouble = why

    @property
    def _subject(self) -> str:
        return f"job starts of {self.id}"
