"""The islanding state machine: grid-tied → preparing → opening → islanded → synchronising → closing → grid-tied,
and fault, blackout, black start.

It follows what the devices say (contacts, modes, voltages) and assumes nothing: a fresh machine adopts the state it
finds. It asks the switch to open only for a drill, permits closing only onto a grid inside the window of the site's
grid code, after its wait, with a bus that our own PCS forms; protection and synchro-check stay with the devices.
Deterministic: all time comes from the snapshots.

| from | to | when |
|---|---|---|
| grid-tied | preparing | a drill is asked for and every pre-check passes |
| preparing | opening, grid-tied | import stays near 0; aborted, or it cannot get there |
| opening | islanded, grid-tied, fault | the contact says open; aborted or not confirmed; contacts disagree |
| any joined | islanded, blackout | the devices say so: an outage |
| islanded | synchronising | the grid is inside the window and no drill is to be held |
| synchronising | closing, islanded, fault | nothing speaks against closing; the grid left the window; never in step |
| closing | grid-tied, synchronising, fault | the contact says closed; not confirmed in time; too often |
| islanded, synchronising, closing | blackout, fault | the bus is dead; a foreign source keeps it alive |
| blackout | black-start, islanded, grid-tied | an engineer's word; a PCS forms; the grid is back by contact |
| black-start | islanded, blackout | a PCS forms; none did in time, or aborted |
| fault | as the devices say | an operator's reset |
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.config import DispatchConfig
from dispatch.drill import Drill, prechecks, switch_of
from dispatch.figures import kw
from dispatch.grid_ramp import GridRamp
from dispatch.island_evidence import IslandMemory, IslandStep, against_black_start, contact_of, differences, startable
from dispatch.island_view import (
    DrillReport,
    IslandReply,
    IslandRequest,
    IslandView,
    PcsOrder,
)
from dispatch.islanding import Islanding, bus_of, observe
from dispatch.model import Event, IslandState, Snapshot, Switch
from dispatch.reconnect import Reconnection
from dispatch.switch_ask import Action, SwitchAsk

S = IslandState
OPEN_STATES = frozenset({S.ISLANDED, S.SYNCHRONISING, S.CLOSING})
DEAD_S = 1.0  # a bus must read dead for so long before it is called so
WITHDRAW_S = 2.0  # after an order is withdrawn the contact must still say closed for so long
KEPT = " (a restart of the gateway does not reset it)"
SEVERITY = {S.FAULT: "alarm", S.BLACKOUT: "alarm", S.ISLANDED: "warning", S.UNKNOWN: "warning"}

Road = tuple[IslandState, str] | None  # where to, and why


class IslandMachine:
    """Steps once per tick; snapshots must not go back in `mono_s`."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config, self._island = config, config.island
        self.state, self.reason = S.UNKNOWN, "nothing has been read yet"
        self._since = (0.0, 0.0)  # utc, mono
        self._entered = False
        self._reconnection = Reconnection(config)
        self._drill: Drill | None = None
        self._switch_ask = SwitchAsk()
        self._ramp = GridRamp(config, self._reconnection.code.gradient_pct_per_min)
        self._withdrawn_s: float | None = None  # opening: since when the order has been withdrawn
        self._not_ours_s: float | None = None  # since when the bus has not been ours while the switch was open
        self._apart_s: float | None = None  # synchronising: since when only being out of step is against closing
        self._both_s: float | None = None  # since when the switch is closed and a PCS still forms
        self._tries = 0  # closings asked for in vain in this islanding
        self._start_why = ""
        self._was_riding = False
        self._road_taken: dict[str, float] = {}  # state -> utc, in the order of their last coming
        self._left_grid_utc_s: float | None = None
        self._kept_fault = ""  # of a gateway before us

    def memory(self) -> IslandMemory:
        """What to keep for a restart."""
        fault = self.reason if self.state is S.FAULT else self._kept_fault
        return IslandMemory(fault, self._reconnection.failures)

    def restore(self, memory: IslandMemory) -> None:
        """Take over what was kept; call before the first step."""
        self._kept_fault, self._reconnection.failures = memory.fault, memory.failures

    @property
    def drill(self) -> Drill | None:
        """The drill under way."""
        return self._drill

    # ── one tick ────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, snapshot: Snapshot, requests: Sequence[IslandRequest] = ()) -> IslandStep:
        """Follow the devices, hear the requests, and say what is to be asked of switch and PCS."""
        self._events: list[Event] = []
        self._report: DrillReport | None = None
        self._now = snapshot
        if not self._entered:
            self._entered, self._since = True, (snapshot.utc_s, snapshot.mono_s)
        self._switch: Switch | None = switch_of(self._config, snapshot)
        contact = contact_of(snapshot)
        self._seen = observe(snapshot)
        self._bus = bus_of(snapshot, contact, self._config.grid.voltage_v)
        self._reconnection.update(snapshot, self._switch, contact)
        self._watch_bus(contact)
        if self._drill is not None:
            self._drill.watch(snapshot, self.state in OPEN_STATES)
        replies = tuple(self._hear(request) for request in requests)
        for _ in range(2):  # one road a tick, and one more for who knew nothing: what is found is adopted at once
            road, was = self._road(contact), self.state
            if road is None or road[0] is was:
                break
            self._go(*road)
            if was is not S.UNKNOWN and self.state is not S.UNKNOWN:
                break
        self._finish_ramp()
        return self._result(replies)

    def _watch_bus(self, contact: str | None) -> None:
        if contact == "open" and self._bus.life in ("dead", "foreign"):
            if self._not_ours_s is None:
                self._not_ours_s = self._now.mono_s
        else:
            self._not_ours_s = None

    def _road(self, contact: str | None) -> Road:
        """Where to from here, by what is seen now."""
        if self._kept_fault:
            fault, self._kept_fault = self._kept_fault, ""
            return S.FAULT, f"{fault.removesuffix(KEPT)}{KEPT}"
        if self.state is S.UNKNOWN:
            return self._from_unknown()
        if self.state is S.GRID_TIED:
            return self._from_tied()
        if self.state is S.PREPARING:
            return self._from_tied() or self._from_preparing()
        if self.state is S.OPENING:
            return self._from_opening(contact)
        if self.state in OPEN_STATES:
            return self._from_open(contact)
        if self.state is S.BLACKOUT:
            return self._from_blackout(contact)
        if self.state is S.BLACK_START:
            return self._from_black_start(contact)
        return None  # fault: an operator resets it

    def _from_unknown(self) -> Road:
        """Adopt what is found. Behind an open switch the PCS get their time to say who keeps the bus alive."""
        seen, bus = self._seen, self._bus
        if seen.state is S.ISLANDED and bus.life != "ours" and self._age_s() < self._island.form_timeout_s:
            since_s = self._not_ours_s
            dead = bus.life == "dead" and since_s is not None and self._now.mono_s - since_s >= DEAD_S
            return (S.BLACKOUT, f"{seen.reason}, the bus is dead: {bus.why}") if dead else None
        return None if seen.state is S.UNKNOWN else (seen.state, seen.reason)

    # ── roads ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _from_tied(self) -> Road:
        if self._seen.state is S.GRID_TIED:
            return None
        return self._seen.state, self._seen.reason

    def _from_preparing(self) -> Road:
        drill, island, now = self._drill, self._island, self._now
        assert drill is not None
        if drill.aborted:
            return S.GRID_TIED, "drill aborted before the switch was asked to open"
        w = now.grid.w.good
        if self._ramp.steady(w, now.mono_s) and w is not None:
            return S.OPENING, f"import {kw(w)}: the switch opens unloaded"
        if self._age_s() > island.prepare_timeout_s:
            shown = "not read" if w is None else kw(w)
            drill.failure = f"import is {shown}, not within {kw(island.prepare_w)} in {island.prepare_timeout_s:g} s"
            return S.GRID_TIED, drill.failure
        return None

    def _from_opening(self, contact: str | None) -> Road:
        drill, now = self._drill, self._now
        if self._seen.state in (S.ISLANDED, S.BLACKOUT):
            return self._seen.state, self._seen.reason
        late = self._age_s() > self._island.open_timeout_s
        if self._withdrawn_s is None and (late or (drill is not None and drill.aborted)):
            if drill is not None and not drill.aborted:
                position = "nothing" if contact is None else contact
                drill.failure = (
                    f"the switch did not confirm open in {self._island.open_timeout_s:g} s: reads {position}"
                )
            self._withdrawn_s = now.mono_s
            self._ask("none", "opening is withdrawn")
        if self._withdrawn_s is not None and now.mono_s - self._withdrawn_s >= WITHDRAW_S:
            if self._seen.state is S.GRID_TIED:
                return S.GRID_TIED, "opening is withdrawn, the contact says closed"
            return S.FAULT, f"opening is withdrawn and the contacts do not say closed: {self._seen.reason}"
        return None

    def _from_open(self, contact: str | None) -> Road:
        """Islanded, synchronising, closing: what all three have in common comes first."""
        if self._seen.state is S.GRID_TIED and not self._still_forming():
            how = "as permitted" if self.state is S.CLOSING else "by the device itself or by hand"
            return S.GRID_TIED, f"the switch has closed, {how}"
        if self._seen.state is S.BLACKOUT:
            return S.BLACKOUT, self._seen.reason
        trouble = self._bus_trouble()
        if trouble is not None:
            return trouble
        if self._seen.state is S.UNKNOWN and contact != "moving" and self._bus.life != "ours":
            return S.UNKNOWN, self._seen.reason
        if contact == "closed":  # the PCS is given its time to follow the grid
            if self._age_s() > self._island.close_timeout_s:
                return S.FAULT, f"the switch reads closed and a PCS still forms: {self._seen.reason}"
            return None
        if self.state is S.ISLANDED:
            return self._from_islanded()
        if self.state is S.SYNCHRONISING:
            return self._from_synchronising()
        return self._from_closing()

    def _still_forming(self) -> bool:
        """The contact says closed, a PCS still says that it forms: it gets a moment, and no setpoint meanwhile."""
        if not any(p.mode.good == "grid_forming" for p in self._now.pcs):
            self._both_s = None
            return False
        if self._both_s is None:
            self._both_s = self._now.mono_s
        return self._now.mono_s - self._both_s < self._island.form_timeout_s

    def _bus_trouble(self) -> Road:
        if self._not_ours_s is None:
            return None
        for_s = self._now.mono_s - self._not_ours_s
        dead = self._bus.life == "dead"
        # Just after the switch opened the PCS is given its time to form.
        if for_s < (DEAD_S if self.state is not S.ISLANDED or self._age_s() > for_s else self._island.form_timeout_s):
            return None
        return (S.BLACKOUT if dead else S.FAULT), f"the bus is {self._bus.life}: {self._bus.why}"

    def _from_islanded(self) -> Road:
        drill, now = self._drill, self._now
        if drill is not None and drill.holding:
            if self._reconnection.look.ok is False and self._lost_voltage():
                self._end_drill("the grid went away during the drill: this is an outage now")
            elif drill.failure:
                self._release(f"drill stopped, {drill.failure}")
            elif drill.aborted:
                self._release("drill aborted")
            elif drill.held_until_s is not None and now.mono_s >= drill.held_until_s:
                self._release("held as long as asked")
            else:
                return None
        if self._reconnection.look.ok is True and self._bus.life == "ours":
            return S.SYNCHRONISING, f"the grid is inside the window ({self._reconnection.look.figures})"
        return None

    def _release(self, why: str) -> None:
        """The drill's hold is over: back by the same road as after an outage."""
        assert self._drill is not None
        self._drill.phase = "returning"
        self._drill.note(self._now.utc_s, why)
        self._say("info", f"{why}: back to the grid")

    def _from_synchronising(self) -> Road:
        if self._reconnection.look.ok is not True:
            return S.ISLANDED, f"the grid left the window ({self._reconnection.look.figures})"
        if not self._we_close():
            return None
        against = self._reconnection.against(self._now, self._switch, self._bus)
        if not against:
            return S.CLOSING, f"{self._reconnection.wait_s:.0f} s inside the window: closing is permitted"
        if self._switch is None or against != self._reconnection.out_of_step(self._switch):
            self._apart_s = None
            return None
        if self._apart_s is None:
            self._apart_s = self._now.mono_s
        if self._now.mono_s - self._apart_s > self._island.sync_timeout_s:
            return S.FAULT, f"{against}; for {self._island.sync_timeout_s:.0f} s after the wait"
        return None

    def _we_close(self) -> bool:
        """Whether the switch waits for us: a drill or its remainder, or a site whose device does not return alone."""
        held = self._switch is not None and self._switch.command.good == "open"
        return self._island.reclose == "permit" or held or self._drill is not None

    def _from_closing(self) -> Road:
        against = self._reconnection.against(self._now, self._switch, self._bus)
        if against:
            self._reconnection.failed()
            return S.SYNCHRONISING, f"permission withdrawn: {against}"
        if self._age_s() > self._island.close_timeout_s:
            self._tries += 1
            self._reconnection.failed()
            text = f"not closed {self._island.close_timeout_s:g} s after permission, {differences(self._switch)}"
            if self._tries >= self._island.attempts:
                return S.FAULT, f"{text}; {self._tries} times"
            return S.SYNCHRONISING, f"{text}; again after {self._reconnection.wait_s:.0f} s"
        return None

    def _from_blackout(self, contact: str | None) -> Road:
        if self._bus.life == "ours":
            return S.ISLANDED, self._bus.why
        if self._seen.state is S.GRID_TIED:
            return S.GRID_TIED, self._seen.reason
        foreign_s = 0.0 if self._not_ours_s is None else self._now.mono_s - self._not_ours_s
        if self._bus.life == "foreign" and foreign_s > self._island.form_timeout_s:
            return S.FAULT, f"the bus is foreign: {self._bus.why}"
        return None

    def _from_black_start(self, contact: str | None) -> Road:
        if not self._start_why:
            return S.BLACKOUT, "black start aborted"
        road = self._from_blackout(contact)
        if road is not None:
            return road
        if self._age_s() > self._island.black_start_timeout_s:
            return S.BLACKOUT, f"no PCS formed a grid in {self._island.black_start_timeout_s:g} s"
        return None

    # ── going ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _go(self, state: IslandState, reason: str) -> None:
        was, now = self.state, self._now
        self.state, self.reason, self._since = state, reason, (now.utc_s, now.mono_s)
        self._say(SEVERITY.get(state, "info"), f"{was.value} → {state.value}: {reason}")
        if was in (S.GRID_TIED, S.UNKNOWN):
            self._road_taken.clear()
        if state is S.GRID_TIED:
            self._left_grid_utc_s = None
        elif self._left_grid_utc_s is None and state not in (S.PREPARING, S.OPENING, S.UNKNOWN):
            self._left_grid_utc_s = now.utc_s
        self._road_taken.pop(state.value, None)
        self._road_taken[state.value] = now.utc_s
        if self._drill is not None:
            self._drill.note(now.utc_s, f"{state.value}: {reason}")
        self._withdrawn_s = self._both_s = self._apart_s = None
        if was in (S.GRID_TIED, S.PREPARING) and state not in (S.PREPARING, S.OPENING, S.GRID_TIED):
            self._left_grid(state)
        if state is S.OPENING:
            self._ask("open", self._drill.request.reason if self._drill else "")
        elif state is S.CLOSING:
            self._ask("close", reason)
        elif was is S.CLOSING or state in (S.GRID_TIED, S.FAULT, S.BLACKOUT) or was is S.FAULT:
            self._ask("none", reason)
        self._move_drill(was, state)
        if state is S.GRID_TIED and was not in (S.PREPARING, S.OPENING):
            self._tries = 0
            if was in (*OPEN_STATES, S.BLACKOUT):
                self._reconnection.joined(now.mono_s)
                self._ramp.closed(now.mono_s)

    def _left_grid(self, state: IslandState) -> None:
        self._ramp.left()
        if state in (S.ISLANDED, S.BLACKOUT) and self._reconnection.lost(self._now.mono_s):
            wait_s = self._reconnection.wait_s
            self._say("warning", f"the grid went again soon after it was back: {wait_s:.0f} s to wait next time")

    def _move_drill(self, was: IslandState, state: IslandState) -> None:
        drill = self._drill
        if drill is None:
            return
        if was is S.OPENING and state is S.ISLANDED:
            drill.hold(self._now)
            self._reconnection.rehearsing()
        elif state in (S.OPENING, S.CLOSING):
            drill.phase = state.value
        elif state in (S.SYNCHRONISING, S.ISLANDED) and was in OPEN_STATES:
            drill.phase = "returning"
        elif state is S.GRID_TIED and was in OPEN_STATES:
            drill.phase = "ramp-back"
        elif state is not S.PREPARING:
            away = was in (S.PREPARING, S.GRID_TIED)
            self._end_drill("" if state is S.GRID_TIED else f"{'an outage' if away else state.value}: {self.reason}")

    def _end_drill(self, failure: str) -> None:
        drill = self._drill
        assert drill is not None
        drill.failure = drill.failure or failure
        drill.note(self._now.utc_s, failure or "end")
        self._report, self._drill = drill.report(self._now.utc_s), None
        severity = {"failed": "alarm", "aborted": "warning"}.get(self._report.result, "info")
        self._say(severity, f"drill {self._report.result}: {self._report.why}")

    def _finish_ramp(self) -> None:
        """The drill ends when import may be what it likes again."""
        if self._ramp.back(self._now.mono_s) and self._drill is not None and self.state is S.GRID_TIED:
            self._end_drill("")

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, request: IslandRequest) -> IslandReply:
        if request.kind in ("drill", "check"):
            return self._hear_drill(request)
        refusal = ""
        if request.kind == "abort":
            if self._drill is not None:
                self._drill.abort(request)
                text = f"aborting: the drill is in {self._drill.phase}, back to the grid by the grid code's road"
            elif self.state is S.BLACK_START:
                self._start_why, text = "", "black start is withdrawn"
            else:
                refusal = "there is no drill and no black start to abort"
        elif request.kind == "reset":
            if self.state is S.FAULT:
                text = f"fault reset by {request.who}"
                self._go(S.UNKNOWN, f"{text}: {request.reason or 'no reason given'}")
                self._tries = 0
            else:
                refusal = f"there is no fault to reset: the site is {self.state.value}"
        else:
            refusal = against_black_start(self.state, request, self._bus, self._now)
            if not refusal:
                text = f"black start: {request.who} says that nobody works on the bus"
                self._start_why = text
                self._go(S.BLACK_START, text)
        if refusal:
            return IslandReply(request.id, False, refusal)
        self._say("warning", text, request.who)
        return IslandReply(request.id, True, text)

    def _hear_drill(self, request: IslandRequest) -> IslandReply:
        look, running = self._reconnection.look, self._drill is not None
        checks = prechecks(self._config, self._now, request, self.state, look, running)
        failed = [c for c in checks if not c.ok]
        if failed:
            text = "; ".join(f"{c.name}: {c.figure} ({c.remedy})" for c in failed)
            return IslandReply(request.id, False, f"no drill: {text}", checks)
        if request.kind == "check":
            return IslandReply(request.id, True, f"a drill of {request.minutes:g} min may begin", checks)
        self._drill = Drill(self._config, request, checks, self._now)
        self._ramp.down(self._now.grid.w.good or 0.0, self._now.mono_s)
        text = f"drill of {request.minutes:g} min by {request.who}: {request.reason}"
        self._go(S.PREPARING, text)
        return IslandReply(request.id, True, text, checks)

    # ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────────

    def _result(self, replies: tuple[IslandReply, ...]) -> IslandStep:
        now = self._now
        low_w, high_w = self._import_window()
        reason = self.reason if self.state is not self._seen.state or low_w is not None else self._seen.reason
        starts = startable(self._now) if self.state is S.BLACK_START else []
        view = IslandView(
            since_utc_s=self._since[0],
            since_mono_s=self._since[1],
            reason=self.reason,
            permit_close=self.state is S.CLOSING,
            reconnect=None if self.state is S.GRID_TIED else self._reconnection.view(now, self._switch, self._bus),
            drill=None if self._drill is None else self._drill.status(now.mono_s),
            left_grid_utc_s=self._left_grid_utc_s,
            road=tuple((utc_s, state) for state, utc_s in self._road_taken.items()),
        )
        return IslandStep(
            seen=Islanding(self.state, reason, low_w, high_w),
            view=view,
            riding=self._riding(),
            rehearsing=self._drill is not None and self._reconnection.look.ok is not False,
            switch=self._switch_ask.order(self._switch, now.mono_s),
            pcs_orders=tuple(PcsOrder(name, "start", self._start_why) for name in starts),
            events=tuple(self._events),
            replies=replies,
            report=self._report,
        )

    def _riding(self) -> bool:
        """Living on the battery; while nobody knows, what it was before."""
        if self.state in OPEN_STATES or (self.state is S.FAULT and self._bus.life == "ours"):
            self._was_riding = True
        elif self.state not in (S.UNKNOWN, S.FAULT):
            self._was_riding = False
        return self._was_riding

    def _import_window(self) -> tuple[float | None, float | None]:
        """Import that rule 2 asks for: towards 0 before a drill opens, and back in a ramp once joined again."""
        if self.state is S.PREPARING:
            return self._ramp.going_down(self._now.mono_s)
        return self._ramp.coming_back(self._now.mono_s) if self.state is S.GRID_TIED else (None, None)

    def _ask(self, action: Action, reason: str) -> None:
        self._switch_ask.ask(action, reason, self._now.mono_s)

    def _age_s(self) -> float:
        return self._now.mono_s - self._since[1]

    def _lost_voltage(self) -> bool:
        return self._switch is not None and self._switch.grid_voltage.good == "absent"

    def _say(self, severity: str, text: str, who: str = "") -> None:
        self._events.append(Event(self._now.utc_s, "island", severity, "island", text, who))
