"""What the devices say about the connection to the grid. Observed, never assumed, never ordered from here."""

from __future__ import annotations

import msgspec

from dispatch.model import IslandState, Pcs, Snapshot, Switch


class Islanding(msgspec.Struct, frozen=True):
    """The state and the evidence for it; and what rule 2 asks of import while the site leaves or rejoins the grid."""

    state: IslandState
    reason: str
    import_low_w: float | None = None
    import_high_w: float | None = None

    @property
    def commands_battery(self) -> bool:
        """Whether a battery setpoint makes sense: a forming PCS sets its power by itself, and must be left alone."""
        return self.state in (IslandState.GRID_TIED, IslandState.PREPARING)


DEAD = 0.2  # of nominal voltage: below it nothing lives on a bus
NOT_FORMING = ("off", "standby", "fault", "shutting_down", "sleeping", "starting")


class Bus(msgspec.Struct, frozen=True):
    """Who keeps the site's bus alive. `life`: grid, ours, dead, foreign; None: it is not known."""

    life: str | None
    why: str


def bus_of(snapshot: Snapshot, contact: str | None, nominal_v: float) -> Bus:
    """Judge the site's side of an open switch by what the PCS say: their mode, and the voltage at their terminals."""
    forming = [p.id for p in snapshot.pcs if p.mode.good == "grid_forming" and p.state.good not in NOT_FORMING]
    if contact == "closed":
        return Bus("grid", "the switch is closed")
    if forming:
        return Bus("ours", f"{', '.join(forming)} {'form' if len(forming) > 1 else 'forms'} it")
    if not snapshot.pcs or any(p.mode.good is None for p in snapshot.pcs):
        return Bus(None, "not every PCS says in which mode it is")
    volts = [v for p in snapshot.pcs if (v := p.v.good) is not None]
    if not volts:
        return Bus(None, "no PCS forms it and its voltage is not measured")
    if max(volts) < DEAD * nominal_v:
        return Bus("dead", f"no PCS forms it and it has {max(volts):.0f} V")
    return Bus("foreign", f"it has {max(volts):.0f} V and no PCS of ours forms it")


def observe(snapshot: Snapshot) -> Islanding:
    """Tell grid-tied from islanded by the switch's contacts and the PCS's mode; unknown when they do not settle it.

    A site that declares no switch has nothing to island it with: it is grid-tied unless a PCS says that it forms.
    """
    for pcs in snapshot.pcs:
        if pcs.mode.good == "grid_forming" and pcs.connection.good == "disconnected":
            return Islanding(IslandState.ISLANDED, f"{pcs.id} is disconnected from the grid and forms its own")
    for switch in snapshot.switches:
        if switch.position.good == "open":
            return Islanding(IslandState.ISLANDED, f"switch {switch.id} is open by its contacts")
    if not snapshot.switches:
        return _without_switch(snapshot)
    for switch in snapshot.switches:
        seen = _unsettled(switch, snapshot.pcs)
        if seen is not None:
            return seen
    seen_by = [
        f"{s.id} is closed by its contacts"
        if s.position.good == "closed"
        else f"{s.id} is not read, the PCS follows a grid"
        for s in snapshot.switches
    ]
    return Islanding(IslandState.GRID_TIED, f"switch {'; '.join(seen_by)}")


def _without_switch(snapshot: Snapshot) -> Islanding:
    for pcs in snapshot.pcs:
        if pcs.mode.good == "grid_forming":
            return Islanding(IslandState.UNKNOWN, f"{pcs.id} is grid-forming and the site declares no switch to ask")
    return Islanding(IslandState.GRID_TIED, "the site declares no switch at the PCC: nothing to island it with")


def _unsettled(switch: Switch, pcs: tuple[Pcs, ...]) -> Islanding | None:
    """What a switch that is not open says against being grid-tied, or None."""
    position = switch.position.good
    if position == "closed":
        if switch.grid_voltage.good == "absent":
            return Islanding(IslandState.BLACKOUT, f"switch {switch.id} is closed and there is no grid voltage")
        return None
    if position is not None:
        return Islanding(IslandState.UNKNOWN, f"switch {switch.id} reads {position!r}: its contacts do not agree")
    # Without contacts, a PCS that is connected and follows a grid is evidence enough that there is one.
    if any(p.connection.good == "connected" and p.mode.good == "grid_following" for p in pcs):
        return None
    return Islanding(IslandState.UNKNOWN, f"switch {switch.id} cannot be read and no PCS says that it follows a grid")
