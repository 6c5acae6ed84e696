"""Lets jobs of a Slurm start as far as the site has power: what is missing is kept back as licences.

Beside the tick, one call of scontrol at a time, and only where the site file says `admit = true`. The reservation that
keeps licences back is renewed with every look and lapses soon after the last: where the gateway ends, or does not know
what the site can give, nobody waits for it for longer than that.
"""

from __future__ import annotations

import asyncio

from dispatch.control.contact_states import stop_reason
from dispatch.model.clock import Clock
from dispatch.planning.start_allowance import (
    LICENCE_W,
    Licences,
    SettlingJobs,
    StartAllowance,
    StartTerms,
    closed,
    kept_back,
    start_allowance,
)
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw, span
from drivers.back_off import BackOff
from drivers.schedulers.command import Command
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.slurm_licences import (
    LASTS_S,
    Held,
    NotUnderstood,
    held_in,
    keep,
    licences_in,
    release,
    reservation_name,
    show_licences,
    show_reservations,
)
from gateway.api.interfaces import Loop, Planner
from gateway.event_sink import EventSink
from gateway.supervised_calls import PartHangs, SupervisedCalls

LOOK_S = 30.0  # real seconds between two looks
OBSERVE_S = 1.0  # real seconds between two readings of the load
LONGEST_PAUSE_S = 120.0  # after failures; below `LASTS_S`, so that one that works again finds its reservation
MOST_TEXT = 1 << 20  # bytes taken of an answer


class JobStarts:
    """Keeps back, in one scheduler, the licences of power that the site cannot give."""

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
    ) -> None:
        """`site`: its name, which the reservation bears. `calls`: what is computed."""
        self._scheduler, self._name = scheduler, reservation_name(site)
        self._terms = StartTerms(scheduler.admit_for_h * 3600, scheduler.admit_to == "plan")
        self._command = Command(scheduler.scontrol, {}, scheduler.deadline_s)
        self._clock, self._events, self._loop, self._planner, self._calls = clock, events, loop, planner, calls
        self._settling = SettlingJobs()
        self._pv_w = 0.0  # what the PV usually gives now, for loads measured while it is not known
        self._kept = 0
        self._written: int | None = None  # how many we have had kept back last; None: not known, or lapsed
        self._shut = False  # as the last look saw it
        self._told = ""
        self._trouble = ""

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
        """Keep back what is missing now; whether Slurm took it."""
        self._shut = self._closed() is not None
        try:
            await self._look()
        except (QueueNotRead, NotUnderstood) as error:
            self._tell_trouble(str(error))
            return False
        self._tell_trouble("")
        return True

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look(self) -> None:
        """Raises QueueNotRead, NotUnderstood."""
        license, mono_s = self._scheduler.license, self._clock.mono_s()
        shown = licences_in(await self._said(show_licences()), license)
        held = held_in(await self._said(show_reservations()), license, self._name)
        self._kept = held.ours or 0
        self._tell_changed(held)
        self._settling.observe_used(mono_s, shown.used)
        allowed = await self._allowed(mono_s)
        if allowed is None:
            lapses = f"what is kept back lapses within {span(LASTS_S)}"
            then = lapses if self._kept else "nothing is kept back from jobs"
            self._tell("not known", f"what the site can give is not known: {then}")
            return
        licences = Licences(shown.total, shown.used, held.others)
        count = kept_back(licences, allowed, self._kept, self._settling.settled(mono_s))
        await self._keep(count, held)
        self._tell_kept(count, shown.total, allowed)

    async def _allowed(self, mono_s: float) -> StartAllowance | None:
        """With how much power jobs may start; None: not known."""
        if self._loop.published is None:
            return None
        nothing = self._closed()
        inputs, load = self._planner.inputs(), self._settling.load(mono_s)
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

    async def _keep(self, count: int, held: Held) -> None:
        """Make, renew or end the reservation. Raises QueueNotRead."""
        self._written = None
        if count:
            await self._said(keep(self._name, self._scheduler.license, count, held.ours is not None))
        elif held.ours is not None:
            await self._said(release(self._name))
        self._kept = self._written = count

    async def _said(self, arguments: tuple[str, ...]) -> str:
        """What scontrol prints. Raises QueueNotRead."""
        text = bytearray()

        async def take(piece: bytes) -> None:
            text.extend(piece)
            if len(text) > MOST_TEXT:
                raise QueueNotRead(f"scontrol {arguments[0]} {arguments[1]} prints more than {MOST_TEXT >> 20} MiB")

        try:
            await self._command.run(arguments, take)
        except QueueNotRead as error:
            raise QueueNotRead(f"{error}{self._command.complaint}") from None
        return text.decode(errors="replace")

    # ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell_kept(self, count: int, total: int, allowed: StartAllowance) -> None:
        """Say when jobs begin to wait for power, when none may start at all, and when all may."""
        state = "closed" if allowed.closed else "waiting" if count else "open"
        waits = f"{kw(count * LICENCE_W)} of {kw(total * LICENCE_W)} are kept back from jobs: {words(allowed.why)}"
        self._tell(state, waits if count else "nothing is kept back from jobs any more")

    def _tell_changed(self, held: Held) -> None:
        """Say that another has changed our reservation, such as a second gateway whose site has the same name."""
        if self._written is None or held.ours is None or held.ours == self._written:
            return
        found = f"the reservation {self._name} was changed by another: {held.ours} licences, {self._written} were set"
        advice = "does a second gateway run whose site has the same name?"
        self._events.event("gateway", "warning", self._subject, f"{found}; {advice}")

    def _tell(self, state: str, text: str) -> None:
        if state != self._told and (self._told or state != "open"):
            self._events.event("plan", "info", self._subject, text)
        self._told = state

    def _tell_trouble(self, why: str) -> None:
        if why == self._trouble:
            return
        if why:
            text = f"power is not kept back from jobs, they start as without Skerry once it has lapsed: {why}"
        else:
            text = "power is kept back from jobs again"
        self._events.event("gateway", "warning" if why else "info", self._subject, text)
        self._trouble = why

    @property
    def _subject(self) -> str:
        return f"job starts of {self.id}"
