"""What the islanding state machine reads off a snapshot, and what it gives back each tick."""

from __future__ import annotations

import msgspec

from dispatch.config import DispatchConfig
from dispatch.drill import switch_of
from dispatch.island_view import DrillReport, IslandReply, IslandRequest, IslandView, PcsOrder, SwitchOrder
from dispatch.islanding import Bus, Islanding, bus_of, observe
from dispatch.limits import NOT_RUNNING
from dispatch.model import Event, IslandState, Snapshot, Switch

OPEN_STATES = frozenset({IslandState.ISLANDED, IslandState.SYNCHRONISING, IslandState.CLOSING})


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
