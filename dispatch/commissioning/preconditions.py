"""Whether a PCS may be proven now: each condition with its figure and what would make it hold; how far it may go."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.decision import Decision
from dispatch.model.equipment import NOT_RUNNING, Battery, Pcs
from dispatch.model.islanding import Check, IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import Status
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import LIMITS
from dispatch.model.snapshot import Snapshot

SOC_LOW_PCT, SOC_HIGH_PCT = 30.0, 70.0  # in the middle no limit of a BMS is near
SOC_SLACK_PCT = 3.0  # what a proof under way may leave that by
FIRST_SHARE = 0.05  # of the rating: the first step
ROOM_SHARE = 0.8  # of what the limits leave: steps stay inside it
NAME_LEAST = 3  # characters of who is on site


class Site(NamedTuple):
    """The site at one tick. `snapshot`: as the devices read; `decision`: the last one; `order`: a manual order's id."""

    snapshot: Snapshot
    decision: Decision | None
    order: str = ""
    high_alarms: tuple[str, ...] = ()
    renewed_s: float | None = None  # mono_s at which the setpoint of the PCS was last renewed, with its timer
    interval: Interval | None = None  # the running metering interval
    free_peak_w: float = 0.0  # the interval mean that costs nothing: the month's peak so far


class Room(NamedTuple):
    """How far the setpoint of a PCS may go by limits, contract and export, W: `low` <= 0 <= `high`."""

    low_w: float
    high_w: float


def pcs_of(snapshot: Snapshot, pcs_id: str) -> Pcs:
    """The PCS as read; one of missing values if it is not there."""
    return next((p for p in snapshot.pcs if p.id == pcs_id), Pcs(pcs_id))


def rated_w(config: DispatchConfig, pcs_id: str) -> float:
    """The rating of a PCS in the direction in which it is lower, W."""
    return next((min(p.charge_w, p.discharge_w) for p in config.pcs if p.id == pcs_id), 0.0)


def room(config: DispatchConfig, pcs_id: str, decision: Decision) -> Room:
    """What the last decision leaves to one PCS while the others stay at their setpoints."""
    others_w = sum(s.w or 0.0 for s in decision.setpoints if s.device_id != pcs_id)
    limits = [trace for trace in decision.chain if trace.rule in LIMITS]
    low_w, high_w = (limits[-1].low_w, limits[-1].high_w) if limits else (0.0, 0.0)
    if decision.net_load_w is not None:
        low_w = max(low_w, decision.net_load_w - config.grid.contracted_peak_w)
        high_w = min(high_w, decision.net_load_w + config.grid.export_limit_w)
    return Room(min(ROOM_SHARE * (low_w - others_w), 0.0), max(ROOM_SHARE * (high_w - others_w), 0.0))


def checks(config: DispatchConfig, pcs_id: str, site: Site, on_site: str) -> tuple[Check, ...]:
    """Every condition for a proof to begin."""
    pcs, decision = pcs_of(site.snapshot, pcs_id), site.decision
    found = [_on_site(on_site), _tied(decision), _no_order(site), _no_alarm(site), _ready(pcs), _meter(site)]
    found += [_soc(battery) for battery in _batteries(config, pcs_id, site.snapshot)]
    if decision is not None:
        found.append(_room(config, pcs_id, decision))
    return tuple(c if not c.ok else msgspec.structs.replace(c, remedy=None) for c in found)


def against(config: DispatchConfig, pcs_id: str, site: Site) -> Reason | None:
    """Why a proof under way must end; None: it may go on."""
    slack = [_soc(battery, SOC_SLACK_PCT) for battery in _batteries(config, pcs_id, site.snapshot)]
    pcs = pcs_of(site.snapshot, pcs_id)
    found = [_tied(site.decision), _no_order(site), _no_alarm(site), _ready(pcs), _meter(site), *slack]
    failed = next((check for check in found if not check.ok), None)
    if failed is None:
        return None
    return Reason("prove.condition_lost", {"condition": failed.name, "found": failed.figure})


def _batteries(config: DispatchConfig, pcs_id: str, snapshot: Snapshot) -> list[Battery]:
    ids = [p.battery for p in config.pcs if p.id == pcs_id]
    known = {battery.id: battery for battery in snapshot.batteries}
    return [known.get(id) or Battery(id) for id in ids]


def _on_site(name: str) -> Check:
    figure = Reason("found.name", {"name": name}) if name.strip() else Reason("found.none")
    return Check(Reason("check.on_site"), len(name.strip()) >= NAME_LEAST, figure, Reason("remedy.on_site"))


def _tied(decision: Decision | None) -> Check:
    state = IslandState.UNKNOWN if decision is None else decision.island
    figure = Reason("found.state", {"state": state.value})
    return Check(Reason("check.grid_tied"), state is IslandState.GRID_TIED, figure, Reason("remedy.grid_tied"))


def _no_order(site: Site) -> Check:
    figure = Reason("found.order", {"order": site.order}) if site.order else Reason("found.none")
    return Check(Reason("check.no_order"), not site.order, figure, Reason("remedy.no_order"))


def _no_alarm(site: Site) -> Check:
    listed = [Reason("found.alarm", {"alarm": id}) for id in site.high_alarms]
    figure = Reason("found.alarms", {"alarms": listed}) if site.high_alarms else Reason("found.no_alarm")
    return Check(Reason("check.alarms"), not site.high_alarms, figure, Reason("remedy.alarms"))


def _ready(pcs: Pcs) -> Check:
    state, control = pcs.state.good, pcs.control.good
    known = not any(word.value is not None and word.good is None for word in (pcs.state, pcs.control, pcs.mode))
    ready = state not in NOT_RUNNING and control != "local" and pcs.mode.good != "grid_forming"
    figure = Reason("found.pcs", {"pcs": pcs.id, "state": _told(pcs.state), "control": _told(pcs.control)})
    ok = pcs.w.good is not None and known and ready
    return Check(Reason("check.pcs", {"pcs": pcs.id}), ok, figure, Reason("remedy.pcs"))


def _told(word: Status) -> str | Reason:
    """A word of a device as found: what it says, that it never says it, or that it is not read now."""
    return word.good or (Reason("found.not_told") if word.value is None else Reason("found.not_read"))


def _meter(site: Site) -> Check:
    import_w, meter = site.snapshot.grid.w.good, site.snapshot.grid.id
    frozen = site.decision is not None and site.decision.meter_frozen
    figure = Reason("found.not_read") if import_w is None else Reason("found.power", {"found_w": import_w})
    if frozen:
        figure = Reason("found.frozen")
    return Check(
        Reason("check.import"), import_w is not None and not frozen, figure, Reason("remedy.import", {"meter": meter})
    )


def _soc(battery: Battery, slack_pct: float = 0.0) -> Check:
    soc_pct, low_pct, high_pct = battery.soc_pct.good, SOC_LOW_PCT - slack_pct, SOC_HIGH_PCT + slack_pct
    figure = Reason("found.not_read") if soc_pct is None else Reason("found.soc", {"soc_pct": soc_pct})
    ok = soc_pct is not None and low_pct <= soc_pct <= high_pct
    remedy = Reason("remedy.middle_soc", {"low_pct": SOC_LOW_PCT, "high_pct": SOC_HIGH_PCT})
    return Check(Reason("check.middle_soc", {"battery": battery.id}), ok, figure, remedy)


def _room(config: DispatchConfig, pcs_id: str, decision: Decision) -> Check:
    left, first_w = room(config, pcs_id, decision), FIRST_SHARE * rated_w(config, pcs_id)
    figure = Reason("found.room", {"low_w": left.low_w, "high_w": left.high_w})
    ok = first_w > 0 and left.low_w <= -first_w and left.high_w >= first_w
    return Check(Reason("check.room"), ok, figure, Reason("remedy.room", {"step_w": first_w}))
