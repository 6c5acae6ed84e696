"""Determines the connection to the grid from the devices: switch contacts, PCS mode, voltage."""

from __future__ import annotations

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.drill import switch_of
from dispatch.model.equipment import NOT_RUNNING, Pcs, Switch
from dispatch.model.events import Event
from dispatch.model.islanding import (
    DrillReport,
    Islanding,
    IslandReply,
    IslandRequest,
    IslandState,
    IslandView,
    PcsOrder,
    SwitchOrder,
)
from dispatch.model.snapshot import Snapshot

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


class Sight(msgspec.Struct, frozen=True):
    """What one snapshot shows of the connection to the grid."""

    now: Snapshot
    switch: Switch | None  # the one that may be asked
    contact: str | None  # of all switches in series
    seen: Islanding
    bus: Bus


def sight_of(config: DispatchConfig, snapshot: Snapshot) -> Sight:
    """Read it off a snapshot."""
    contact = contact_of(snapshot)
    bus = bus_of(snapshot, contact, config.grid.voltage_v)
    return Sight(snapshot, switch_of(config, snapshot), contact, observe(snapshot), bus)


class IslandStep(msgspec.Struct, frozen=True):
    """What came out of one tick."""

    seen: Islanding  # state, reason, and the window for import that rule 2 applies
    view: IslandView
    riding: bool  # the site lives on its battery as far as anybody can tell
    rehearsing: bool  # for a drill, and the grid is there to go back to
    switch: SwitchOrder | None
    pcs_orders: tuple[PcsOrder, ...]
    events: tuple[Event, ...]
    replies: tuple[IslandReply, ...]
    report: DrillReport | None


class IslandMemory(msgspec.Struct, frozen=True):
    """What a restarted gateway must know: devices tell everything but what people still have to look at."""

    fault: str = ""  # why it is in fault; empty when it is not
    failures: int = 0  # closings that failed or did not last: the back-off of a flapping grid


def contact_of(snapshot: Snapshot) -> str | None:
    """All switches in series as one: open when one is, closed when all are. None: not read."""
    words = [s.position.good for s in snapshot.switches]
    if "open" in words:
        return "open"
    if "moving" in words:
        return "moving"
    return "closed" if words and all(w == "closed" for w in words) else None


def startable(snapshot: Snapshot) -> list[str]:
    """PCS that an order to start can reach."""
    return [p.id for p in snapshot.pcs if p.control.good == "remote" and p.state.good in (*NOT_RUNNING, "running")]


def against_black_start(state: IslandState, request: IslandRequest, bus: Bus, snapshot: Snapshot) -> str:
    """What speaks against starting a dark site; empty when nothing does."""
    if state is not IslandState.BLACKOUT:
        return f"black start is for a dead site; it is {state.value}"
    if not request.confirmed:
        return "black start needs an engineer's word that nobody works on the bus: --confirm-nobody-on-the-bus"
    if bus.life != "dead":
        return f"the bus must read dead and the switch open: {bus.why}"
    if not startable(snapshot):
        found = [f"{p.id} is {p.state.good or 'not read'}, {p.control.good or 'unknown'} control" for p in snapshot.pcs]
        return f"no PCS that can be started: {'; '.join(found)}"
    return ""


def differences(switch: Switch | None) -> str:
    """Bus minus grid as the switch reports it, as text."""
    if switch is None or switch.delta_v.good is None:
        return "voltage, frequency and phase difference not measured"
    found = ((switch.delta_v, "V"), (switch.delta_hz, "Hz"), (switch.delta_deg, "deg"))
    return "differences " + ", ".join(f"{r.good:.2f} {unit}" for r, unit in found if r.good is not None)
