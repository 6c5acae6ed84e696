"""Defines the transitions of the islanding state machine; `state_machine` carries out the states.

| from | to | when |
|---|---|---|
| grid-tied | preparing | a drill is asked for and every pre-check passes |
| preparing | opening, grid-tied | import stays near 0; aborted, or it cannot get there |
| opening | islanded, grid-tied, fault | the contact says open; aborted or not confirmed; contacts disagree |
| any joined | islanded, blackout | the devices say so: an outage |
| any but fault | genset | the switch says that a generator feeds the site, and no PCS forms |
| genset | grid-tied, islanded, blackout, unknown | the devices say so; a switch that is silent ends nothing |
| islanded | synchronising | the grid is inside the window and no drill is to be held |
| synchronising | closing, islanded, fault | nothing speaks against closing; the grid left the window; never in step |
| closing | grid-tied, synchronising, fault | the contact says closed; not confirmed in time; too often |
| islanded, synchronising, closing | blackout, fault | the bus is dead; a foreign source keeps it alive |
| blackout | black-start, islanded, grid-tied | an engineer authorises it; a PCS forms; the grid is back by contact |
| black-start | islanded, blackout | a PCS forms; none did in time, or aborted |
| fault | as the devices say | an operator's reset |
"""

from __future__ import annotations

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.drill_phases import DrillPhases
from dispatch.islanding.import_ramp import ImportRamp
from dispatch.islanding.observation import SOURCE_UNREAD, GridObservation, differences
from dispatch.islanding.reconnection import OUT_OF_STEP, WAIT, Reconnection
from dispatch.islanding.switch_command import SwitchCommand
from dispatch.model.islanding import OPEN_STATES, IslandState
from dispatch.model.reasons import Reason

S = IslandState
DEAD_S = 1.0  # a bus must read dead for so long before it is called so
PERMIT_S = 1.0  # all that speaks for closing must be read so for so long, in two samples at least
WITHDRAW_S = 2.0  # after an order is withdrawn the contact must still say closed for so long

Transition = tuple[IslandState, Reason] | None  # where to, and why; None: it stays


class Transitions:
    """Evaluates the transitions once per tick; stores since when each condition holds. Uses the machine's parts."""

    def __init__(
        self,
        config: DispatchConfig,
        reconnection: Reconnection,
        ramp: ImportRamp,
        switch_command: SwitchCommand,
        drill_phases: DrillPhases,
    ) -> None:
        self._island, self._genset = config.island, config.genset is not None
        self._reconnection, self._ramp = reconnection, ramp
        self._switch_command, self._drill_phases = switch_command, drill_phases
        self._withdrawn_s: float | None = None  # opening: since when the order has been withdrawn
        self._not_ours: str | None = None  # dead or foreign, while the switch is open,
        self._not_ours_s: float | None = None  # and since when
        self._dead_s: float | None = None  # since when the bus has been dead
        self._held_off_s: float | None = None  # since when the switch is held open beside a grid that has gone
        self._fit_s: float | None = None  # synchronising: since when only wait and step are against closing
        self._out_of_step_s: float | None = None  # synchronising: since when only being out of step is against closing
        self._closed_and_forming_s: float | None = None  # since when the switch is closed and a PCS still forms
        self._attempts = 0  # closings asked for in vain in this islanding

    def update(self, observation: GridObservation) -> None:
        """Take in what this tick shows."""
        self._now, self._switch, self._contact = observation.now, observation.switch, observation.contact
        self._seen, self._bus = observation.seen, observation.bus
        self._sure = observation.sure
        if observation.bus.life != "dead" or not observation.sure:
            self._dead_s = None
        elif self._dead_s is None:
            self._dead_s = observation.now.mono_s
        if observation.contact != "open" or observation.bus.life not in ("dead", "foreign"):
            self._not_ours = self._not_ours_s = None
        elif self._not_ours != observation.bus.life:
            self._not_ours, self._not_ours_s = observation.bus.life, observation.now.mono_s

    @property
    def dead_for_s(self) -> float:
        """For how long the bus has been dead; 0 while it is not."""
        return 0.0 if self._dead_s is None else self._now.mono_s - self._dead_s

    def entered(self, was: IslandState, state: IslandState) -> None:
        """The machine has gone from one state to another: what counts in a state begins anew."""
        self._withdrawn_s = self._closed_and_forming_s = self._out_of_step_s = self._fit_s = None
        if was is S.FAULT or (state is S.GRID_TIED and was not in (S.PREPARING, S.OPENING)):
            self._attempts = 0

    def next_state(self, state: IslandState, age_s: float, starting: bool) -> Transition:
        """The next state after one entered `age_s` ago, by what is read now. `starting`: black start requested."""
        self._state, self._age_s = state, age_s
        if state is S.UNKNOWN:
            return self._from_unknown()
        if state is S.GRID_TIED:
            return self._from_tied()
        if state is S.GENSET:
            return self._from_genset()
        if state is S.PREPARING:
            return self._from_tied() or self._from_preparing()
        if state is S.OPENING:
            return self._from_opening()
        if state in OPEN_STATES:
            return self._from_open()
        if state is S.BLACKOUT:
            return self._from_blackout()
        if state is S.BLACK_START:
            return self._from_black_start(starting)
        return None  # fault: an operator resets it

    def _from_unknown(self) -> Transition:
        """Adopt what is found. Behind an open switch the PCS get their time to say who keeps the bus alive."""
        seen, bus = self._seen, self._bus
        if seen.state is S.ISLANDED and bus.life != "ours" and self._age_s < self._island.form_timeout_s:
            since_s = self._not_ours_s
            dead = bus.life == "dead" and since_s is not None and self._now.mono_s - since_s >= DEAD_S
            return (S.BLACKOUT, Reason("go.seen_bus_dead", {"seen": seen.reason, "bus": bus.why})) if dead else None
        return None if seen.state is S.UNKNOWN else (seen.state, seen.reason)

    def _from_tied(self) -> Transition:
        if self._seen.state is S.GRID_TIED:
            return None
        return self._seen.state, self._seen.reason

    def _from_genset(self) -> Transition:
        """While the switch is silent and no PCS forms, the limits of the generator stay: they are the narrower ones."""
        silent = self._seen.state is S.UNKNOWN and self._seen.reason.code == SOURCE_UNREAD
        if silent and not any(p.mode.good == "grid_forming" for p in self._now.pcs):
            return None
        return None if self._seen.state is S.GENSET else (self._seen.state, self._seen.reason)

    def _from_preparing(self) -> Transition:
        drill, island, now = self._drill_phases.drill, self._island, self._now
        assert drill is not None
        if drill.aborted:
            return S.GRID_TIED, Reason("go.aborted_before_opening")
        if drill.failure is not None:
            return S.GRID_TIED, drill.failure
        w = now.grid.w.good
        if self._ramp.update_near_zero(w, now.mono_s) and w is not None:
            return S.OPENING, Reason("go.unloaded", {"import_w": w})
        if self._age_s > island.prepare_timeout_s:
            within_w, within_s = island.prepare_w, island.prepare_timeout_s
            if w is None:
                late = Reason("go.import_not_read", {"within_w": within_w, "within_s": within_s})
            else:
                late = Reason("go.import_not_near_0", {"import_w": w, "within_w": within_w, "within_s": within_s})
            drill.failure = late
            return S.GRID_TIED, late
        return None

    def _from_opening(self) -> Transition:
        drill, now = self._drill_phases.drill, self._now
        if self._seen.state in (S.ISLANDED, S.BLACKOUT, S.GENSET):
            return self._seen.state, self._seen.reason
        late = self._age_s > self._island.open_timeout_s
        ended = drill is not None and drill.ending
        if self._withdrawn_s is None and (late or ended):
            if drill is not None and not ended:
                drill.failure = Reason(
                    "drill.not_opened",
                    {
                        "timeout_s": self._island.open_timeout_s,
                        "position": Reason("found.nothing") if self._contact is None else self._contact,
                    },
                )
            self._withdrawn_s = now.mono_s
            self._switch_command.ask("none", Reason("go.opening_withdrawn"), now.mono_s)
        if self._withdrawn_s is not None and now.mono_s - self._withdrawn_s >= WITHDRAW_S:
            if self._seen.state is S.GRID_TIED:
                return S.GRID_TIED, Reason("go.withdrawn_closed")
            return S.FAULT, Reason("go.withdrawn_not_closed", {"seen": self._seen.reason})
        return None

    def _from_open(self) -> Transition:
        """Islanded, synchronising, closing: what all three have in common comes first."""
        if self._seen.state is S.GRID_TIED and not self._still_forming():
            permitted = self._state is S.CLOSING
            return S.GRID_TIED, Reason("go.closed_as_permitted") if permitted else Reason("go.closed_by_device")
        if self._seen.state in (S.BLACKOUT, S.GENSET):
            return self._seen.state, self._seen.reason
        trouble = self._bus_trouble()
        if trouble is not None:
            return trouble
        if self._seen.state is S.UNKNOWN and self._contact != "moving" and self._bus.life != "ours":
            return S.UNKNOWN, self._seen.reason
        if self._contact == "closed":  # the PCS is given its time to follow the grid
            if self._age_s > self._island.close_timeout_s:
                return S.FAULT, Reason("go.closed_and_forming", {"seen": self._seen.reason})
            return None
        if self._state is S.ISLANDED:
            return self._from_islanded()
        if self._state is S.SYNCHRONISING:
            return self._from_synchronising()
        return self._from_closing()

    def _still_forming(self) -> bool:
        """The contact says closed, a PCS still says that it forms: it gets a moment, and no setpoint meanwhile."""
        if not any(p.mode.good == "grid_forming" for p in self._now.pcs):
            self._closed_and_forming_s = None
            return False
        if self._closed_and_forming_s is None:
            self._closed_and_forming_s = self._now.mono_s
        return self._now.mono_s - self._closed_and_forming_s < self._island.form_timeout_s

    def _bus_trouble(self) -> Transition:
        if self._not_ours_s is None:
            return None
        for_s = self._now.mono_s - self._not_ours_s
        dead = self._bus.life == "dead"
        # Just after the switch opened a PCS without fault is given its time to form; the switch its time to tell of a
        # generator.
        able = any(p.state.good != "fault" for p in self._now.pcs)
        changing = (self._state is S.ISLANDED and self._age_s <= for_s and able) or (self._genset and not dead)
        if for_s < (self._island.form_timeout_s if changing else DEAD_S):
            return None
        why = Reason("go.bus_is", {"bus": self._bus.life, "why": self._bus.why})
        return (S.BLACKOUT if dead else S.FAULT), why

    def _free_for_generator(self) -> None:
        """The grid has gone while the switch is held open, for a drill: held so, it does not go to the generator."""
        switch, mono_s = self._switch, self._now.mono_s
        held = self._genset and switch is not None and switch.command.good == "open"
        if not held or not self._sure or not self._lost_voltage() or self._reconnection.window.ok is not False:
            self._held_off_s = None
        elif self._held_off_s is None:
            self._held_off_s = mono_s
        elif mono_s - self._held_off_s >= DEAD_S:
            self._switch_command.ask("none", Reason("go.free_for_generator"), mono_s)

    def _from_islanded(self) -> Transition:
        drill, now = self._drill_phases.drill, self._now
        if drill is not None and drill.holding:
            if self._reconnection.window.ok is False and self._lost_voltage():
                self._drill_phases.finish(now.utc_s, Reason("drill.grid_lost"))
            elif drill.failure:
                self._drill_phases.end_hold(now.utc_s, Reason("drill.stopped", {"failure": drill.failure}))
            elif drill.aborted:
                self._drill_phases.end_hold(now.utc_s, Reason("drill.aborted"))
            elif drill.held_until_s is not None and now.mono_s >= drill.held_until_s:
                self._drill_phases.end_hold(now.utc_s, Reason("drill.held"))
            else:
                return None
        self._free_for_generator()
        if self._reconnection.window.ok is True and self._bus.life == "ours":
            return S.SYNCHRONISING, Reason("go.inside_window", {"grid": self._reconnection.window.figures})
        return None

    def _lost_voltage(self) -> bool:
        return self._switch is not None and self._switch.grid_voltage.good == "absent"

    def _from_synchronising(self) -> Transition:
        if self._reconnection.window.ok is not True:
            return S.ISLANDED, Reason("go.left_window", {"grid": self._reconnection.window.figures})
        if not self.gateway_closes():
            return None
        obstacle = self._reconnection.obstacle(self._now, self._switch, self._bus)
        sure = self._sure and self._reconnection.window.sure
        if not sure or (obstacle is not None and obstacle.code not in (WAIT, OUT_OF_STEP)):
            self._fit_s = None
        elif self._fit_s is None:
            self._fit_s = self._now.mono_s
        if obstacle is None:
            if self._fit_s is None or self._now.mono_s - self._fit_s < PERMIT_S:
                return None
            return S.CLOSING, Reason("go.closing_permitted", {"wait_s": self._reconnection.wait_s})
        if obstacle.code != OUT_OF_STEP:
            self._out_of_step_s = None
            return None
        if self._out_of_step_s is None:
            self._out_of_step_s = self._now.mono_s
        if self._now.mono_s - self._out_of_step_s > self._island.sync_timeout_s:
            return S.FAULT, Reason("go.never_in_step", {"against": obstacle, "timeout_s": self._island.sync_timeout_s})
        return None

    def gateway_closes(self) -> bool:
        """Whether the switch waits for us, as of the last step.

        It does in a drill or its remainder, and on a site whose device does not return alone.
        """
        held = self._switch is not None and self._switch.command.good == "open"
        return self._island.reclose == "permit" or held or self._drill_phases.drill is not None

    def _from_closing(self) -> Transition:
        obstacle = self._reconnection.obstacle(self._now, self._switch, self._bus)
        if obstacle is not None:
            self._reconnection.note_failed()
            return S.SYNCHRONISING, Reason("go.permission_withdrawn", {"against": obstacle})
        if self._age_s > self._island.close_timeout_s:
            self._attempts += 1
            self._reconnection.note_failed()
            late = Reason(
                "go.not_closed", {"timeout_s": self._island.close_timeout_s, "differences": differences(self._switch)}
            )
            if self._attempts >= self._island.attempts:
                return S.FAULT, Reason("go.not_closed_often", {"late": late, "times": self._attempts})
            return S.SYNCHRONISING, Reason("go.not_closed_again", {"late": late, "wait_s": self._reconnection.wait_s})
        return None

    def _from_blackout(self) -> Transition:
        if self._bus.life == "ours":
            return S.ISLANDED, self._bus.why
        if self._seen.state in (S.GRID_TIED, S.GENSET):
            return self._seen.state, self._seen.reason
        foreign_s = 0.0 if self._not_ours_s is None else self._now.mono_s - self._not_ours_s
        if self._bus.life == "foreign" and foreign_s > self._island.form_timeout_s:
            return S.FAULT, Reason("go.bus_is", {"bus": self._bus.life, "why": self._bus.why})
        return None

    def _from_black_start(self, starting: bool) -> Transition:
        if not starting:
            return S.BLACKOUT, Reason("go.black_start_aborted")
        transition = self._from_blackout()
        if transition is not None:
            return transition
        if self._age_s > self._island.black_start_timeout_s:
            return S.BLACKOUT, Reason("go.none_formed", {"timeout_s": self._island.black_start_timeout_s})
        return None
