"""Determines the connection to the grid from the devices: switch contacts, PCS mode, voltage."""

from __future__ import annotations

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.drill_prechecks import switch_of
from dispatch.model.equipment import DEAD, NOT_RUNNING, Pcs, Switch
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
from dispatch.model.reasons import Reason, joined
from dispatch.model.snapshot import Snapshot

BLACK_START_DEAD_S = 2.0  # a bus must read dead for so long before a PCS is started onto it
SOURCE_UNREAD = "seen.source_unread"  # the code of the reason below
NOT_FORMING = ("off", "standby", "fault", "shutting_down", "sleeping", "starting")


class Bus(msgspec.Struct, frozen=True):
    """Who keeps the site's bus alive. `life`: grid, genset, ours, dead, foreign; None: it is not known."""

    life: str | None
    why: Reason


def bus_of(snapshot: Snapshot, contact: str | None, nominal_v: float) -> Bus:
    """Judge the site's side of an open switch by what the PCS say: their mode, and the voltage at their terminals."""
    forming = [p.id for p in snapshot.pcs if p.mode.good == "grid_forming" and p.state.good not in NOT_FORMING]
    if contact == "closed":
        return Bus("grid", Reason("bus.switch_closed"))
    if forming:
        if len(forming) == 1:
            return Bus("ours", Reason("bus.formed", {"pcs": forming[0]}))
        return Bus("ours", Reason("bus.formed_by_several", {"pcs": ", ".join(forming)}))
    if (switch := next((s for s in snapshot.switches if s.source.good == "genset"), None)) is not None:
        return Bus("genset", Reason("seen.genset", {"switch": switch.id}))
    if not snapshot.pcs or any(p.mode.good is None for p in snapshot.pcs):
        return Bus(None, Reason("bus.mode_unknown"))
    volts = [v for p in snapshot.pcs if (v := p.v.good) is not None]
    if not volts:
        return Bus(None, Reason("bus.voltage_unknown"))
    if max(volts) < DEAD * nominal_v:
        return Bus("dead", Reason("bus.dead", {"bus_v": max(volts)}))
    return Bus("foreign", Reason("bus.foreign", {"bus_v": max(volts)}))


def observe(snapshot: Snapshot, nominal_v: float, genset: bool = False) -> Islanding:
    """Tell grid-tied from islanded by the switch's contacts and the PCS's mode; unknown when they do not settle it.

    A site that declares no switch has nothing to island it with: it is grid-tied unless a PCS says that it forms.
    genset: the site has a generator, so that only the switch tells which source a PCS follows.
    """
    apart = _apart(snapshot)
    if apart is not None:
        return apart
    if not snapshot.switches:
        return _without_switch(snapshot)
    for switch in snapshot.switches:
        seen = _by_source(switch, snapshot.pcs, genset) or _unsettled(switch, snapshot.pcs, nominal_v)
        if seen is not None:
            return seen
    seen_by = [
        Reason("seen.contacts_closed", {"switch": s.id})
        if s.position.good == "closed"
        else Reason("seen.pcs_follows", {"switch": s.id})
        for s in snapshot.switches
    ]
    return Islanding(IslandState.GRID_TIED, Reason("seen.switches", {"switches": joined(seen_by)}))


def _without_switch(snapshot: Snapshot) -> Islanding:
    for pcs in snapshot.pcs:
        if pcs.mode.good == "grid_forming":
            return Islanding(IslandState.UNKNOWN, Reason("seen.forming_without_switch", {"pcs": pcs.id}))
    return Islanding(IslandState.GRID_TIED, Reason("seen.no_switch"))


def _apart(snapshot: Snapshot) -> Islanding | None:
    """Islanded, where a PCS or a switch says so."""
    for pcs in snapshot.pcs:
        if pcs.mode.good == "grid_forming" and pcs.connection.good == "disconnected":
            return Islanding(IslandState.ISLANDED, Reason("seen.pcs_forms_own", {"pcs": pcs.id}))
    for switch in snapshot.switches:
        if switch.isolates:
            apart = Reason("seen.switch_open", {"switch": switch.id})
            if switch.position.good != "open":
                apart = Reason("seen.no_source", {"switch": switch.id})
            return Islanding(IslandState.ISLANDED, apart)
    return None


def _by_source(switch: Switch, pcs: tuple[Pcs, ...], genset: bool) -> Islanding | None:
    """The site is on its generator, or may be; None: it is not. A PCS that still forms beside it is left alone."""
    if switch.source.good != "genset":
        unread = genset and switch.source.good is None
        return Islanding(IslandState.UNKNOWN, Reason("seen.source_unread", {"switch": switch.id})) if unread else None
    if switch.position.good in ("closed", "moving"):
        why = Reason("seen.genset_and_grid", {"switch": switch.id, "position": switch.position.good})
        return Islanding(IslandState.UNKNOWN, why)
    forming = next((p for p in pcs if p.mode.good == "grid_forming"), None)
    if forming is not None:
        why = Reason("seen.genset_and_forming", {"switch": switch.id, "pcs": forming.id})
        return Islanding(IslandState.UNKNOWN, why)
    return Islanding(IslandState.GENSET, Reason("seen.genset", {"switch": switch.id}))


def _unsettled(switch: Switch, pcs: tuple[Pcs, ...], nominal_v: float) -> Islanding | None:
    """What a switch that is not open says against being grid-tied, or None."""
    position = switch.position.good
    if position == "closed":
        if switch.grid_voltage.good == "absent":
            follows = next((p for p in pcs if _follows_live_bus(p, nominal_v)), None)
            if follows is not None:  # a bus behind a closed switch is not dark if it is live
                why = Reason("seen.bus_is_live", {"switch": switch.id, "pcs": follows.id, "bus_v": follows.v.good})
                return Islanding(IslandState.UNKNOWN, why)
            return Islanding(IslandState.BLACKOUT, Reason("seen.no_grid_voltage", {"switch": switch.id}))
        return None
    if position is not None:
        return Islanding(
            IslandState.UNKNOWN, Reason("seen.contacts_disagree", {"switch": switch.id, "position": position})
        )
    # Without contacts, a PCS that is connected and follows a grid is evidence enough that there is one.
    if any(p.connection.good == "connected" and p.mode.good == "grid_following" for p in pcs):
        return None
    return Islanding(IslandState.UNKNOWN, Reason("seen.switch_unread", {"switch": switch.id}))


def _follows_live_bus(pcs: Pcs, nominal_v: float) -> bool:
    follows = pcs.connection.good == "connected" and pcs.mode.good == "grid_following"
    return follows and pcs.state.good not in NOT_RUNNING and (pcs.v.good or 0.0) >= DEAD * nominal_v


class GridObservation(msgspec.Struct, frozen=True):
    """What one snapshot shows of the connection to the grid."""

    now: Snapshot
    switch: Switch | None  # the one that may be asked
    contact: str | None  # of all switches in series
    seen: Islanding
    bus: Bus
    sure: bool  # nothing of it is doubted (`Quality.SUSPECT`): good enough for what cannot be undone


def observation_of(config: DispatchConfig, snapshot: Snapshot) -> GridObservation:
    """Read it off a snapshot."""
    contact = contact_of(snapshot)
    bus = bus_of(snapshot, contact, config.grid.voltage_v)
    of_pcs = any(r.doubted for p in snapshot.pcs for r in (p.mode, p.state, p.v))
    of_switch = any(r.doubted for s in snapshot.switches for r in (s.position, s.control))
    sure = not of_pcs and not of_switch
    seen = observe(snapshot, config.grid.voltage_v, config.genset is not None)
    return GridObservation(snapshot, switch_of(config, snapshot), contact, seen, bus, sure)


class IslandStep(msgspec.Struct, frozen=True):
    """What came out of one tick."""

    seen: Islanding  # state, reason, and the window for import that the islanding rule applies
    view: IslandView
    joined: bool  # the devices show that it is joined to the grid, whatever the state says
    on_battery: bool  # the site lives on its battery as far as anybody can tell
    drilling: bool  # for a drill, and the grid is there to go back to
    switch: SwitchOrder | None
    pcs_orders: tuple[PcsOrder, ...]
    events: tuple[Event, ...]
    replies: tuple[IslandReply, ...]
    report: DrillReport | None


class IslandMemory(msgspec.Struct, frozen=True):
    """What a restarted gateway must know: devices tell everything but what people still have to look at."""

    fault: Reason | str | None = None  # why it is in fault, None when it is not; version 0.1.0 kept a sentence, or ""
    failures: int = 0  # closings that failed or did not last: the back-off of a flapping grid


def contact_of(snapshot: Snapshot) -> str | None:
    """All switches in series as one: open when one is, closed when all are. None: not read."""
    words = [s.position.good for s in snapshot.switches]
    if "open" in words:
        return "open"
    if "moving" in words:
        return "moving"
    return "closed" if words and all(w == "closed" for w in words) else None


def startable_pcs(snapshot: Snapshot) -> list[str]:
    """PCS that an order to start can reach."""
    return [p.id for p in snapshot.pcs if p.control.good == "remote" and p.state.good in (*NOT_RUNNING, "running")]


def black_start_obstacle(
    state: IslandState, request: IslandRequest, observation: GridObservation, dead_for_s: float, nominal_v: float
) -> Reason | None:
    """What speaks against starting a dark site; None when nothing does. The load meter is a second witness."""
    bus, snapshot = observation.bus, observation.now
    if state is not IslandState.BLACKOUT:
        return Reason("start.not_dead", {"state": state.value})
    if not request.confirmed:
        return Reason("start.not_confirmed")
    if bus.life != "dead":
        return Reason("start.bus_alive", {"why": bus.why})
    if dead_for_s < BLACK_START_DEAD_S:
        return Reason("start.dead_too_short", {"needed_s": BLACK_START_DEAD_S, "dead_s": dead_for_s})
    load = snapshot.load
    volts = [] if load is None else [v for r in load.v if (v := r.good) is not None]
    if load is not None and max(volts, default=0.0) >= DEAD * nominal_v:
        return Reason("start.meter_alive", {"meter": load.id, "bus_v": max(volts)})
    if not startable_pcs(snapshot):
        return Reason("start.no_pcs", {"found": [_state_of(pcs) for pcs in snapshot.pcs]})
    return None


def _state_of(pcs: Pcs) -> Reason:
    state, control = pcs.state.good or Reason("found.not_read"), pcs.control.good or Reason("found.unknown")
    return Reason("start.pcs", {"pcs": pcs.id, "state": state, "control": control})


def differences(switch: Switch | None) -> Reason:
    """Bus minus grid as the switch reports it."""
    if switch is None or switch.delta_v.good is None:
        return Reason("differences.not_measured")
    volts = Reason("differences.volts", {"delta_v": switch.delta_v.good})
    hz, degrees = switch.delta_hz.good, switch.delta_deg.good
    found = [volts]
    found += [] if hz is None else [Reason("differences.frequency", {"delta_hz": hz})]
    found += [] if degrees is None else [Reason("differences.phase", {"delta_deg": degrees})]
    return Reason("differences.measured", {"found": found})
