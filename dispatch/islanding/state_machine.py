"""Runs the islanding state machine: grid-tied → preparing → opening → islanded → synchronising → closing → grid-tied,
and fault, blackout, black start.

It follows what the devices report (contacts, modes, voltages): a new machine adopts the state it finds. It asks the
switch to open only for a drill. It permits closing only onto a grid inside the window of the site's grid code, after
its wait, with a bus formed by our own PCS. Protection and synchro-check are the devices' task. Deterministic: all
time comes from the snapshots. `transitions` says which state follows which.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.drill import Drill, prechecks
from dispatch.islanding.drill_phases import DrillCourse
from dispatch.islanding.import_ramp import GridRamp
from dispatch.islanding.observation import (
    IslandMemory,
    IslandStep,
    against_black_start,
    sight_of,
    startable,
)
from dispatch.islanding.reconnection import Reconnection
from dispatch.islanding.switch_command import Action, SwitchAsk
from dispatch.islanding.transitions import Road, Roads
from dispatch.model.events import Event
from dispatch.model.islanding import (
    OPEN_STATES,
    Islanding,
    IslandReply,
    IslandRequest,
    IslandState,
    IslandView,
    PcsOrder,
)
from dispatch.model.reasons import Reason, plain
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

S = IslandState
KEPT = " (a restart of the gateway does not reset it)"  # what version 0.1.0 put behind a fault that it kept
SEVERITY = {S.FAULT: "alarm", S.BLACKOUT: "alarm", S.ISLANDED: "warning", S.UNKNOWN: "warning"}


class IslandMachine:
    """Steps once per tick; snapshots must not go back in `mono_s`."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self.state, self.reason = S.UNKNOWN, Reason("go.nothing_read")
        self._since = (0.0, 0.0)  # utc, mono
        self._entered = False
        self._reconnection = Reconnection(config)
        self._course = DrillCourse(self._say)
        self._switch_ask = SwitchAsk()
        self._ramp = GridRamp(config, self._reconnection.code.gradient_pct_per_min)
        self._roads = Roads(config, self._reconnection, self._ramp, self._switch_ask, self._course)
        self._start_why: Reason | None = None
        self._was_riding = False
        self._road_taken: dict[str, float] = {}  # state -> utc, in the order of their last coming
        self._left_grid_utc_s: float | None = None
        self._kept_fault: Reason | None = None  # of a gateway before us

    def memory(self) -> IslandMemory:
        """What to keep for a restart."""
        fault = self.reason if self.state is S.FAULT else self._kept_fault
        return IslandMemory(fault, self._reconnection.failures)

    def restore(self, memory: IslandMemory) -> None:
        """Take over what was kept; call before the first step."""
        fault = memory.fault
        if isinstance(fault, str):
            fault = plain(fault.removesuffix(KEPT)) if fault else None
        self._kept_fault, self._reconnection.failures = fault, memory.failures

    @property
    def drill(self) -> Drill | None:
        """The drill under way."""
        return self._course.drill

    # ── one tick ────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, snapshot: Snapshot, requests: Sequence[IslandRequest] = ()) -> IslandStep:
        """Follow the devices, hear the requests, and say what is to be asked of switch and PCS."""
        self._events: list[Event] = []
        self._now = snapshot
        if not self._entered:
            self._entered, self._since = True, (snapshot.utc_s, snapshot.mono_s)
        sight = self._sight = sight_of(self._config, snapshot)
        self._reconnection.update(snapshot, sight.switch, sight.contact)
        self._roads.look(sight)
        self._course.watch(snapshot, self.state)
        replies = tuple(self._hear(request) for request in requests)
        for _ in range(2):  # one transition per tick; from UNKNOWN one more, so that the state found is adopted at once
            road, was = self._road(), self.state
            if road is None or road[0] is was:
                break
            self._go(*road)
            if was is not S.UNKNOWN and self.state is not S.UNKNOWN:
                break
        self._finish_ramp()
        return self._result(replies)

    def _road(self) -> Road:
        """Where to from here."""
        if self._kept_fault:
            fault, self._kept_fault = self._kept_fault, None
            return S.FAULT, fault if fault.code == "go.fault_kept" else Reason("go.fault_kept", {"fault": fault})
        return self._roads.onward(self.state, self._now.mono_s - self._since[1], self._start_why is not None)

    # ── going ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _go(self, state: IslandState, reason: Reason) -> None:
        was, now = self.state, self._now
        self.state, self.reason, self._since = state, reason, (now.utc_s, now.mono_s)
        self._say(SEVERITY.get(state, "info"), f"{was.value} → {state.value}: {words(reason)}")
        self._remember_path(was, state)
        if self.drill is not None:
            self.drill.note(now.utc_s, f"{state.value}: {words(reason)}")
        self._roads.entered(was, state)
        if was in (S.GRID_TIED, S.PREPARING) and state not in (S.PREPARING, S.OPENING, S.GRID_TIED):
            self._left_grid(state)
        self._command_switch(was, state, reason)
        if self.drill is not None and was is S.OPENING and state is S.ISLANDED:
            self._reconnection.rehearsing()
        self._course.moved(was, state, reason, now)
        if state is S.GRID_TIED and was in (*OPEN_STATES, S.BLACKOUT):
            self._reconnection.joined(now.mono_s)
            self._ramp.closed(now.mono_s)

    def _remember_path(self, was: IslandState, state: IslandState) -> None:
        """By which states, and since when, the site has been off the grid."""
        if was in (S.GRID_TIED, S.UNKNOWN):
            self._road_taken.clear()
        self._road_taken.pop(state.value, None)
        self._road_taken[state.value] = self._now.utc_s
        if state is S.GRID_TIED:
            self._left_grid_utc_s = None
        elif self._left_grid_utc_s is None and state not in (S.PREPARING, S.OPENING, S.UNKNOWN):
            self._left_grid_utc_s = self._now.utc_s

    def _command_switch(self, was: IslandState, state: IslandState, reason: Reason) -> None:
        """Ask for what the new state needs, or withdraw what was asked in the old one."""
        if state is S.OPENING:
            self._ask("open", plain(self.drill.request.reason if self.drill else ""))
        elif state is S.CLOSING:
            self._ask("close", reason)
        elif was in (S.CLOSING, S.FAULT) or state in (S.GRID_TIED, S.FAULT, S.BLACKOUT):
            self._ask("none", reason)

    def _left_grid(self, state: IslandState) -> None:
        self._ramp.left()
        if state in (S.ISLANDED, S.BLACKOUT) and self._reconnection.lost(self._now.mono_s):
            wait_s = self._reconnection.wait_s
            self._say("warning", f"the grid went again soon after it was back: {wait_s:.0f} s to wait next time")

    def _finish_ramp(self) -> None:
        """The drill ends when import may be what it likes again."""
        if self._ramp.back(self._now.mono_s) and self.drill is not None and self.state is S.GRID_TIED:
            self._course.end(self._now.utc_s, "")

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, request: IslandRequest) -> IslandReply:
        if request.kind in ("drill", "check"):
            return self._hear_drill(request)
        refusal = ""
        if request.kind == "abort":
            if self.drill is not None:
                self.drill.abort(request)
                text = f"aborting: the drill is in {self.drill.phase}, back to the grid by the grid code's road"
            elif self.state is S.BLACK_START:
                self._start_why, text = None, "black start is withdrawn"
            else:
                refusal = "there is no drill and no black start to abort"
        elif request.kind == "reset":
            if self.state is S.FAULT:
                text = f"fault reset by {request.who}"
                reset = Reason("go.reset", {"who": request.who, "reason": request.reason or "no reason given"})
                self._go(S.UNKNOWN, reset)
            else:
                refusal = f"there is no fault to reset: the site is {self.state.value}"
        else:
            refusal = against_black_start(self.state, request, self._sight.bus, self._now)
            if not refusal:
                self._start_why = Reason("go.black_start", {"who": request.who})
                text = words(self._start_why)
                self._go(S.BLACK_START, self._start_why)
        if refusal:
            return IslandReply(request.id, False, refusal)
        self._say("warning", text, request.who)
        return IslandReply(request.id, True, text)

    def _hear_drill(self, request: IslandRequest) -> IslandReply:
        look, running = self._reconnection.look, self.drill is not None
        checks = prechecks(self._config, self._now, request, self.state, look, running)
        failed = [c for c in checks if not c.ok]
        if failed:
            text = "; ".join(f"{c.name}: {c.figure} ({c.remedy})" for c in failed)
            return IslandReply(request.id, False, f"no drill: {text}", checks)
        if request.kind == "check":
            return IslandReply(request.id, True, f"a drill of {request.minutes:g} min may begin", checks)
        self._course.drill = Drill(self._config, request, checks, self._now)
        self._ramp.down(self._now.grid.w.good or 0.0, self._now.mono_s)
        begun = Reason("go.drill", {"drill_min": request.minutes, "who": request.who, "reason": request.reason})
        self._go(S.PREPARING, begun)
        return IslandReply(request.id, True, words(begun), checks)

    # ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────────

    def _result(self, replies: tuple[IslandReply, ...]) -> IslandStep:
        now, sight, seen = self._now, self._sight, self._sight.seen
        low_w, high_w = self._import_window()
        reason = self.reason if self.state is not seen.state or low_w is not None else seen.reason
        why = self._start_why if self.state is S.BLACK_START else None
        starts = () if why is None else tuple(PcsOrder(name, "start", why) for name in startable(now))
        view = IslandView(
            since_utc_s=self._since[0],
            since_mono_s=self._since[1],
            reason=self.reason,
            permit_close=self.state is S.CLOSING,
            reconnect=None if self.state is S.GRID_TIED else self._reconnection.view(now, sight.switch, sight.bus),
            drill=None if self.drill is None else self.drill.status(now.mono_s),
            left_grid_utc_s=self._left_grid_utc_s,
            road=tuple((utc_s, state) for state, utc_s in self._road_taken.items()),
        )
        return IslandStep(
            seen=Islanding(self.state, reason, low_w, high_w),
            view=view,
            riding=self._riding(),
            rehearsing=self.drill is not None and self._reconnection.look.ok is not False,
            switch=self._switch_ask.order(sight.switch, now.mono_s),
            pcs_orders=starts,
            events=tuple(self._events),
            replies=replies,
            report=self._course.report,
        )

    def _riding(self) -> bool:
        """Whether the site runs on the battery; while that is not known, as before."""
        if self.state in OPEN_STATES or (self.state is S.FAULT and self._sight.bus.life == "ours"):
            self._was_riding = True
        elif self.state not in (S.UNKNOWN, S.FAULT):
            self._was_riding = False
        return self._was_riding

    def _import_window(self) -> tuple[float | None, float | None]:
        """Import that rule 2 asks for: towards 0 before a drill opens, and back in a ramp once joined again."""
        if self.state is S.PREPARING:
            return self._ramp.going_down(self._now.mono_s)
        return self._ramp.coming_back(self._now.mono_s) if self.state is S.GRID_TIED else (None, None)

    def _ask(self, action: Action, reason: Reason) -> None:
        self._switch_ask.ask(action, reason, self._now.mono_s)

    def _say(self, severity: str, text: str, who: str = "") -> None:
        self._events.append(Event(self._now.utc_s, "island", severity, "island", text, who))
