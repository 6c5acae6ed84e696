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
from dispatch.islanding.drill import Drill
from dispatch.islanding.drill_phases import DrillPhases
from dispatch.islanding.drill_prechecks import contact_check, failing, prechecks
from dispatch.islanding.import_ramp import ImportRamp
from dispatch.islanding.observation import (
    IslandMemory,
    IslandStep,
    black_start_obstacle,
    observation_of,
    startable_pcs,
)
from dispatch.islanding.reconnection import Reconnection
from dispatch.islanding.switch_command import Action, SwitchCommand
from dispatch.islanding.transitions import Transition, Transitions
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
SEVERITY = {S.FAULT: "alarm", S.BLACKOUT: "alarm", S.ISLANDED: "warning", S.GENSET: "warning", S.UNKNOWN: "warning"}


class IslandMachine:
    """Steps once per tick; snapshots must not go back in `mono_s`."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self.state, self.reason = S.UNKNOWN, Reason("go.nothing_read")
        self._since = (0.0, 0.0)  # utc, mono
        self._entered = False
        self._reconnection = Reconnection(config)
        self._drill_phases = DrillPhases(self._emit)
        self._switch_command = SwitchCommand()
        self._ramp = ImportRamp(config, self._reconnection.code.gradient_pct_per_min)
        self._transitions = Transitions(
            config, self._reconnection, self._ramp, self._switch_command, self._drill_phases
        )
        self._start_why: Reason | None = None
        self._stopped: Reason | None = None
        self._was_on_battery = False
        self._path: dict[str, float] = {}  # state -> utc, in the order of their last coming
        self._left_grid_utc_s: float | None = None
        self._kept_fault: Reason | None = None  # of a gateway before us

    def memory(self) -> IslandMemory:
        """What to keep for a restart."""
        fault = self.reason if self.state is S.FAULT else self._kept_fault
        return IslandMemory(fault, self._reconnection.failures)

    def restore(self, memory: IslandMemory) -> None:
        """Take over what was kept; call before the first step."""
        self._kept_fault, self._reconnection.failures = _fault(memory), memory.failures

    def recover(self, memory: IslandMemory) -> None:
        """Latch the fault that was kept, unless there is one by now; between two steps."""
        if self.state is not S.FAULT:
            self._kept_fault = _fault(memory)
        self._reconnection.failures = max(self._reconnection.failures, memory.failures)

    @property
    def drill(self) -> Drill | None:
        """The drill under way."""
        return self._drill_phases.drill

    # ── one tick ────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(
        self, snapshot: Snapshot, requests: Sequence[IslandRequest] = (), stopped: Reason | None = None
    ) -> IslandStep:
        """Follow the devices, hear the requests, and say what is to be asked of switch and PCS.

        stopped: why a protective contact holds the battery; then no drill and no black start begins, and one ends.
        """
        self._stopped = stopped
        if stopped is not None:
            self._start_why = None
            if self.drill is not None:
                self.drill.interrupt(Reason("drill.contact", {"why": stopped}))
        self._events: list[Event] = []
        self._now = snapshot
        if not self._entered:
            self._entered, self._since = True, (snapshot.utc_s, snapshot.mono_s)
        observation = self._observation = observation_of(self._config, snapshot)
        self._reconnection.update(snapshot, observation.switch, observation.contact)
        self._transitions.update(observation)
        self._drill_phases.update(snapshot, self.state)
        replies = tuple(self._answer(request) for request in requests)
        for _ in range(2):  # one transition per tick; from UNKNOWN one more, so that the state found is adopted at once
            transition, was = self._next_state(), self.state
            if transition is None or transition[0] is was:
                break
            self._enter(*transition)
            if was is not S.UNKNOWN and self.state is not S.UNKNOWN:
                break
        self._finish_ramp()
        return self._result(replies)

    def _next_state(self) -> Transition:
        """The next state and why; None if the state stays."""
        if self._kept_fault:
            fault, self._kept_fault = self._kept_fault, None
            return S.FAULT, fault if fault.code == "go.fault_kept" else Reason("go.fault_kept", {"fault": fault})
        return self._transitions.next_state(self.state, self._now.mono_s - self._since[1], self._start_why is not None)

    # ── going ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _enter(self, state: IslandState, reason: Reason) -> None:
        was, now = self.state, self._now
        self.state, self.reason, self._since = state, reason, (now.utc_s, now.mono_s)
        self._emit(SEVERITY.get(state, "info"), f"{was.value} → {state.value}: {words(reason)}")
        self._remember_state(was, state)
        if self.drill is not None:
            self.drill.note(now.utc_s, Reason("drill.state", {"state": state.value, "reason": reason}))
        self._transitions.entered(was, state)
        if was in (S.GRID_TIED, S.PREPARING) and state not in (S.PREPARING, S.OPENING, S.GRID_TIED):
            self._left_grid(state)
        self._command_switch(was, state, reason)
        if self.drill is not None and was is S.OPENING and state is S.ISLANDED:
            self._reconnection.start_drill()
        self._drill_phases.state_changed(was, state, reason, now)
        if state is S.GRID_TIED and was in (*OPEN_STATES, S.BLACKOUT, S.GENSET):
            self._reconnection.note_joined(now.mono_s)
            self._ramp.start_back(now.mono_s)

    def _remember_state(self, was: IslandState, state: IslandState) -> None:
        """By which states, and since when, the site has been off the grid."""
        if was in (S.GRID_TIED, S.UNKNOWN):
            self._path.clear()
        self._path.pop(state.value, None)
        self._path[state.value] = self._now.utc_s
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
        elif was in (S.CLOSING, S.FAULT) or state in (S.GRID_TIED, S.FAULT, S.BLACKOUT, S.GENSET):
            self._ask("none", reason)

    def _left_grid(self, state: IslandState) -> None:
        self._ramp.stop()
        if state in (S.ISLANDED, S.BLACKOUT, S.GENSET) and self._reconnection.note_lost(self._now.mono_s):
            wait_s = self._reconnection.wait_s
            self._emit("warning", f"the grid went again soon after it was back: {wait_s:.0f} s to wait next time")

    def _finish_ramp(self) -> None:
        """The drill ends when import may be what it likes again."""
        if self._ramp.finish_back(self._now.mono_s) and self.drill is not None and self.state is S.GRID_TIED:
            self._drill_phases.finish(self._now.utc_s)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, request: IslandRequest) -> IslandReply:
        if request.kind in ("drill", "check"):
            return self._answer_drill(request)
        answer = {"abort": self._abort, "reset": self._reset, "black-start": self._black_start}[request.kind]
        ok, reason = answer(request)
        if ok:
            self._emit("warning", words(reason), request.who)
        return IslandReply(request.id, ok, reason)

    def _abort(self, request: IslandRequest) -> tuple[bool, Reason]:
        if self.drill is not None:
            self.drill.abort(request)
            return True, Reason("reply.aborting", {"phase": self.drill.phase})
        if self.state is S.BLACK_START:
            self._start_why = None
            return True, Reason("reply.black_start_withdrawn")
        return False, Reason("reply.nothing_to_abort")

    def _reset(self, request: IslandRequest) -> tuple[bool, Reason]:
        if self.state is not S.FAULT:
            return False, Reason("reply.no_fault", {"state": self.state.value})
        why = request.reason or Reason("found.no_reason")
        self._enter(S.UNKNOWN, Reason("go.reset", {"who": request.who, "reason": why}))
        return True, Reason("reply.fault_reset", {"who": request.who})

    def _black_start(self, request: IslandRequest) -> tuple[bool, Reason]:
        if self._stopped is not None:
            return False, Reason("start.contact", {"why": self._stopped})
        dead_for_s, nominal_v = self._transitions.dead_for_s, self._config.grid.voltage_v
        obstacle = black_start_obstacle(self.state, request, self._observation, dead_for_s, nominal_v)
        if obstacle is not None:
            return False, obstacle
        self._start_why = Reason("go.black_start", {"who": request.who})
        self._enter(S.BLACK_START, self._start_why)
        return True, self._start_why

    def _answer_drill(self, request: IslandRequest) -> IslandReply:
        window, running = self._reconnection.window, self.drill is not None
        checks = prechecks(self._config, self._now, request, self.state, window, running)
        if self._config.contacts:
            checks = (*checks, contact_check(self._stopped))
        failed = [c for c in checks if not c.ok]
        if failed:
            return IslandReply(
                request.id, False, Reason("reply.no_drill", {"failed": [failing(c) for c in failed]}), checks
            )
        if request.kind == "check":
            possible = Reason("reply.drill_possible", {"drill_min": request.minutes})
            return IslandReply(request.id, True, possible, checks)
        self._drill_phases.drill = Drill(self._config, request, checks, self._now)
        self._ramp.start_down(self._now.grid.w.good or 0.0, self._now.mono_s)
        begun = Reason("go.drill", {"drill_min": request.minutes, "who": request.who, "reason": request.reason})
        self._enter(S.PREPARING, begun)
        return IslandReply(request.id, True, begun, checks)

    # ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────────

    def _result(self, replies: tuple[IslandReply, ...]) -> IslandStep:
        now, observation, seen = self._now, self._observation, self._observation.seen
        low_w, high_w = self._import_window()
        entered = self.reason
        if self.state is S.GENSET and seen.state is S.UNKNOWN:  # what it was entered for is not read now
            entered = Reason("go.genset_unread", {"seen": seen.reason})
        reason = entered if self.state is not seen.state or low_w is not None else seen.reason
        why = self._start_why if self.state is S.BLACK_START else None
        starts = () if why is None else tuple(PcsOrder(name, "start", why) for name in startable_pcs(now))
        alone = not self._transitions.gateway_closes()
        view = IslandView(
            since_utc_s=self._since[0],
            since_mono_s=self._since[1],
            reason=entered,
            permit_close=self.state is S.CLOSING,
            reconnect=None
            if self.state is S.GRID_TIED
            else self._reconnection.view(now, observation.switch, observation.bus, by_device=alone),
            drill=None if self.drill is None else self.drill.status(now.mono_s),
            left_grid_utc_s=self._left_grid_utc_s,
            road=tuple((utc_s, state) for state, utc_s in self._path.items()),
        )
        return IslandStep(
            seen=Islanding(self.state, reason, low_w, high_w),
            view=view,
            joined=seen.state is S.GRID_TIED,
            on_battery=self._on_battery(),
            drilling=self.drill is not None and self._reconnection.window.ok is not False,
            switch=self._switch_command.order(observation.switch, now.mono_s),
            pcs_orders=starts,
            events=tuple(self._events),
            replies=replies,
            report=self._drill_phases.report,
        )

    def _on_battery(self) -> bool:
        """Whether the site runs on the battery; while that is not known, as before."""
        if self.state in OPEN_STATES or (self.state is S.FAULT and self._observation.bus.life == "ours"):
            self._was_on_battery = True
        elif self.state not in (S.UNKNOWN, S.FAULT):
            self._was_on_battery = False
        return self._was_on_battery

    def _import_window(self) -> tuple[float | None, float | None]:
        """Import asked for: towards 0 before a drill opens, and back in a ramp once joined again."""
        if self.state is S.PREPARING:
            return self._ramp.window_down(self._now.mono_s)
        return self._ramp.window_back(self._now.mono_s) if self.state is S.GRID_TIED else (None, None)

    def _ask(self, action: Action, reason: Reason) -> None:
        self._switch_command.ask(action, reason, self._now.mono_s)

    def _emit(self, severity: str, text: str, who: str = "") -> None:
        self._events.append(Event(self._now.utc_s, "island", severity, "island", text, who))


def _fault(memory: IslandMemory) -> Reason | None:
    """The fault that was kept, also by version 0.1.0."""
    if isinstance(memory.fault, str):
        return plain(memory.fault.removesuffix(KEPT)) if memory.fault else None
    return memory.fault
