"""What reasons say of the site, as predicates over the twin's true state: code -> (truth, figures) -> true or not.

A sentence that is shown must be true of the site, not only of what a meter said of it. The truth is the twin's own,
undelayed; `Truth` remembers some seconds of it, as meters, filters and the poll are late by so much. Codes whose words
say nothing that the twin knows are listed with the reason in `claims_elsewhere.toml`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dispatch.control.soc_latches import SOC_HYSTERESIS_PCT
from dispatch.model.decision import Decision, Mode
from dispatch.model.islanding import IslandState
from drivers.twin.grid import Position
from drivers.twin.physics import PHASE_SHARE, TwinSite

BACK_S = 12.0  # so much of the truth is remembered: a meter's delay, the estimator's median, an age that is still held
NEAR_W = 1_500.0  # what a sentence may differ from the truth by: delay within a tick
NEAR_PCT = 3.0  # the same of the SoC, which is counted from energy for a while where the BMS's report jumps
OFF_GRID = (IslandState.ISLANDED, IslandState.SYNCHRONISING, IslandState.CLOSING, IslandState.BLACKOUT)


class Sample(NamedTuple):
    """The truth at one instant."""

    t_s: float
    load_w: float
    grid_w: float
    net_w: float  # load less PV
    pcs_w: float
    soc_pct: float
    grid_v: float
    position: Position
    forming: bool
    grid_alive: bool
    faults: frozenset[str]  # devices that do not answer rightly; "": the grid is away


def sample(site: TwinSite) -> Sample:
    pv_w, pcs_w = sum(p.w for p in site.pv), sum(p.w for p in site.pcs)
    soc_pct = site.pcs[0].battery.shown_soc_pct if site.pcs else 0.0
    position = site.switches[0].position if site.switches else Position.CLOSED
    faults = frozenset(fault.device for fault in site.faults.listed(site.t_s))
    grid_v, forming = site.grid.v(site.t_s, 0.0), any(p.forming for p in site.pcs)
    now = (site.t_s, site.load_w, site.grid_w, site.load_w - pv_w, pcs_w, soc_pct)
    return Sample(*now, grid_v, position, forming, site.grid_alive, faults)


class Truth:
    """The twin's state now and of late, the decision that is judged, and the one before."""

    def __init__(self, site: TwinSite) -> None:
        self.site = site
        self.back: deque[Sample] = deque()
        self.decision: Decision | None = None
        self.first_s = site.t_s  # since when somebody looks: a controller that was just started knows no more
        self.begun_s: float | None = None  # of the metering interval
        self.begun_wh, self.whole = 0.0, False  # the interval was looked at from its begin

    def look(self, decision: Decision) -> None:
        """Remember this instant."""
        self.decision, now = decision, sample(self.site)
        self.back.append(now)
        while self.back[0].t_s < now.t_s - BACK_S:
            self.back.popleft()
        start = self.site.utc_s // 900 * 900
        if start != self.begun_s:
            self.whole, self.begun_s, self.begun_wh = self.begun_s is not None, start, self.imported_wh

    @property
    def now(self) -> Sample:
        return self.back[-1]

    @property
    def imported_wh(self) -> float:
        return next(m for m in self.site.meters if m.role == "grid").reading.import_wh

    def near(self, name: str, value: float | None, off: float = NEAR_W) -> bool:
        """Whether a figure was true at some time of late."""
        seen = [getattr(s, name) for s in self.back]
        return value is not None and min(seen) - off <= value <= max(seen) + off

    def of_late(self, holds: Callable[[Sample], bool]) -> bool:
        """Whether something held at some time of late."""
        return any(holds(s) for s in self.back)

    def still(self, name: str) -> bool:
        """Whether a figure has not moved of late."""
        seen = [getattr(s, name) for s in self.back]
        return max(seen) - min(seen) < 1.0

    def faulty(self, *devices: str) -> bool:
        """Whether one of these devices failed of late, or nothing has been read for long enough yet."""
        return self.site.t_s < self.first_s + 3.0 or self.of_late(lambda s: bool(s.faults & set(devices)))

    @property
    def disturbed(self) -> bool:
        """Whether anything failed of late, or switched: estimates may then be held, assumed, or late."""
        return self.faulty("grid", "load", "pcs1", "pcc", "") or self.of_late(
            lambda s: s.position is not Position.CLOSED or s.forming
        )


Figures = Mapping[str, Any]
Claim = Callable[[Truth, Figures], bool]


def soc(t: Truth, f: Figures) -> bool:
    return t.faulty("pcs1") or t.near("soc_pct", f["soc_pct"], NEAR_PCT)


def state(t: Truth, f: Figures) -> bool:
    """The state named is the state machine's, and the switch agrees with it as far as it is read."""
    island = IslandState(f["state"])
    assert t.decision is not None
    if t.decision.island is not island:
        return False
    return island is not IslandState.GRID_TIED or t.of_late(lambda s: s.position is Position.CLOSED)


def net_load(t: Truth, f: Figures) -> bool:
    return t.disturbed or t.near("net_w", f["net_w"])


def grid_back(t: Truth, _: Figures) -> bool:
    return t.of_late(lambda s: s.grid_alive) or t.faulty("pcc")


def forming(t: Truth, _: Figures) -> bool:
    return t.of_late(lambda s: s.forming) or t.faulty("pcs1")


def open_(t: Truth, _: Figures) -> bool:
    return t.of_late(lambda s: s.position is not Position.CLOSED) or t.faulty("pcc")


def closed(t: Truth, _: Figures) -> bool:
    return t.of_late(lambda s: s.position is Position.CLOSED) or t.faulty("pcc")


def drawn(t: Truth, f: Figures) -> bool:
    return t.disturbed or t.near("load_w", f["drawn_w"]) or t.near("net_w", f["drawn_w"])


def off_grid(t: Truth) -> bool:
    assert t.decision is not None
    return t.decision.island in OFF_GRID or t.of_late(lambda s: s.position is not Position.CLOSED)


def interval_left(t: Truth, f: Figures) -> bool:
    """What is left to import, by the meter's own register; assumed where the meter failed in the interval."""
    spent_wh = t.imported_wh - t.begun_wh
    left_wh = f["limit_w"] / 4 - spent_wh
    return t.disturbed or not t.whole or abs(left_wh - f["left_wh"]) < max(100.0, 0.05 * f["limit_w"] / 4)


def phase_current(t: Truth, f: Figures) -> bool:
    """Amperes of the phase that carries most, at some voltage of late: current and voltage are read together."""
    carried_w = [f["phase_a"] * s.grid_v / max(PHASE_SHARE) for s in t.back]
    return t.disturbed or any(t.near("grid_w", w) or t.near("grid_w", -w) for w in carried_w)


def level(f: Figures) -> float:
    """SoC less reserve of a `reserve.level`, percentage points."""
    of: Figures = f["level"].figures
    return float(of["soc"].figures["soc_pct"] - of["reserve_pct"])


def rated(t: Truth, f: Figures) -> bool:
    """A rating of the site's PCS."""
    return any(abs(f["limit_w"] - w) < 1 for p in t.site.pcs for w in (p.ratings.charge_w, p.ratings.discharge_w))


def within_ratings(t: Truth, f: Figures) -> bool:
    """Both limits are no more than all PCS together are rated at."""
    most_w = [sum(getattr(p.ratings, name) for p in t.site.pcs) for name in ("charge_w", "discharge_w")]
    return 0 <= f["charge_w"] <= most_w[0] + 1 and 0 <= f["discharge_w"] <= most_w[1] + 1


def curtailed(t: Truth, f: Figures) -> bool:
    """What the rest of the site takes is its load; the limit is no less than load and charge."""
    return t.disturbed or (t.near("load_w", f["load_w"]) and f["limit_w"] >= f["load_w"] - NEAR_W)


def no_setpoint(t: Truth, f: Figures) -> bool:
    assert t.decision is not None
    unasked = all(s.w is None for s in t.decision.setpoints)  # one that is silent is written to all the same
    return f["of_pcs"] == len(t.site.pcs) and (unasked or t.faulty("pcs1"))


def below_reserve(t: Truth, f: Figures) -> bool:
    return f["soc"].figures["soc_pct"] < f["reserve_pct"] and soc(t, f["soc"].figures)


def phase_above_fuse(t: Truth, f: Figures) -> bool:
    return f["phase_a"] > f["fuse_a"] and phase_current(t, f)


def unmet(t: Truth, _: Figures) -> bool:
    return t.decision is not None and any(trace.unmet for trace in t.decision.chain)


def ride_step(t: Truth, _: Figures) -> bool:
    return t.decision is not None and t.decision.ride is not None and t.decision.ride.rung > 0


def voltage(t: Truth, f: Figures) -> bool:
    return t.near("grid_v", f["lowest_v"], 8.0) or f["lowest_v"] < 5 or t.disturbed


CLAIMS: dict[str, Claim] = {
    # power, energy
    "budget.left": interval_left,
    "budget.spent": lambda t, f: f["over_wh"] >= 0 and (t.disturbed or t.imported_wh > t.begun_wh),
    "fuse.no_currents": lambda t, f: t.disturbed,
    "fuse.worst_phase": phase_current,
    "fuse.window": lambda t, f: t.disturbed or t.now.grid_w <= f["import_w"] + NEAR_W,
    "islanding.ramp_back": lambda t, f: t.disturbed or t.of_late(lambda s: s.position is Position.CLOSED),
    "ramp.limit": lambda t, f: t.disturbed or t.near("grid_w", f["from_w"], 4_000.0),
    "ramp.no_start": lambda t, f: t.disturbed,
    "safe.net_load_known": lambda t, f: net_load(t, f),
    "net.by_load_meter": lambda t, f: t.faulty("grid") and t.near("net_w", f["net_w"], 3_000.0),
    "rule.net_load_unknown": lambda t, f: t.disturbed,
    "safe.hold": lambda t, f: t.disturbed,
    "safe.ramp": lambda t, f: t.disturbed,
    "lost.no_reading": lambda t, f: t.faulty(f["meter"]),
    "lost.not_believed": lambda t, f: t.disturbed,
    "lost.stands_still": lambda t, f: t.faulty(f["meter"]),
    "lost.pcs_never_read": lambda t, f: t.site.t_s < 60 or t.faulty("pcs1"),
    "plan.import_held": lambda t, f: t.disturbed or t.decision is None or t.decision.net_load_w is not None,
    "plan.load_lower": lambda t, f: t.disturbed or t.now.net_w < f["enough_w"] + 80_000,
    # the state of charge
    "soc.stored": soc,
    "limit.soc": lambda t, f: soc(t, f) and abs(f["soc_pct"] - f["end"].figures["soc_pct"]) < 20,
    "limit.both": within_ratings,
    "limit.rating": rated,
    "limit.bms": lambda t, f: f["limit_w"] >= 0 and any(p.battery.config.id == f["battery"] for p in t.site.pcs),
    "limit.soc_unknown": lambda t, f: t.faulty("pcs1"),
    "reserve.soc_unknown": lambda t, f: t.faulty("pcs1"),
    "reserve.level": lambda t, f: soc(t, f["soc"].figures),
    "reserve.after_ramp": lambda t, f: level(f) < SOC_HYSTERESIS_PCT or t.disturbed,
    "reserve.refill": lambda t, f: level(f) < SOC_HYSTERESIS_PCT,
    "reserve.no_discharge": lambda t, f: level(f) < 0.5,
    "reserve.taper": lambda t, f: f["limit_w"] >= 0 and soc(t, f["level"].figures["soc"].figures),
    "reserve.untouched": lambda t, f: level(f) > -0.1,
    "rest.charge": lambda t, f: soc(t, f) and f["soc_pct"] < f["rest_pct"],
    "rest.nothing_to_do": lambda t, f: soc(t, f) and f["soc_pct"] > f["rest_pct"] - NEAR_PCT,
    "rest.soc_unknown": lambda t, f: t.faulty("pcs1"),
    "step.full": lambda t, f: t.now.soc_pct < 101,
    # devices that do not answer
    "pcs.last_read": lambda t, f: t.disturbed and f["age_s"] > 0,
    "pcs.no_answer": lambda t, f: t.faulty("pcs1"),
    "pcs.answers_without_power": lambda t, f: t.faulty("pcs1"),
    "pcs.never_read": lambda t, f: t.faulty("pcs1"),
    "pcs.power_unknown": lambda t, f: t.disturbed,
    "pcs.power_by_meters": lambda t, f: t.disturbed and t.near("pcs_w", f["power_w"], 3_000.0),
    "pcs.sum_by_meters": lambda t, f: t.disturbed and t.near("pcs_w", f["sum_w"], 3_000.0),
    "pcs.reverted_by_meters": lambda t, f: t.disturbed,
    "pcs.power_assumed": lambda t, f: t.disturbed,
    "pcs.setpoint_assumed": lambda t, f: t.disturbed,
    "pcs.setpoint_until": lambda t, f: t.disturbed and f["left_s"] > 0,
    "pcs.reverted_assumed": lambda t, f: t.disturbed and f["over_s"] >= 0,
    "pcs.lost_without_setpoint": lambda t, f: t.disturbed,
    "pcs.not_running": lambda t, f: f["state"] != "running",
    "pcs.disconnected": lambda t, f: off_grid(t) or t.of_late(lambda s: not s.grid_alive),
    "pcs.local_control": lambda t, f: any(p.local for p in t.site.pcs),
    "pcs.may_form": lambda t, f: t.disturbed,
    "pcs.may_form_unmoved": lambda t, f: t.disturbed,
    "pcs.off_grid_doubted": lambda t, f: t.disturbed,
    "protection.free": lambda t, f: f["pcs"] <= len(t.site.pcs) and not any(p.local for p in t.site.pcs),
    "protection.some": lambda t, f: f["pcs"] <= f["of_pcs"],
    "limit.no_pcs": lambda t, f: t.disturbed or off_grid(t) or (t.decision is not None and not t.decision.battery_w),
    "doubt.unseen": lambda t, f: t.disturbed,
    "doubt.step": lambda t, f: t.disturbed,
    "doubt.balance": lambda t, f: t.disturbed and f["apart_w"] > f["allowed_w"],
    # off the grid
    "rule.at_rest": state,
    "curtail.off_grid": state,
    "curtail.export": curtailed,
    "curtail.held": lambda t, f: t.disturbed,
    "curtail.load_unknown": lambda t, f: t.disturbed,
    "curtail.none": lambda t, f: t.disturbed or sum(p.w for p in t.site.pv) <= f["room_w"] + NEAR_W,
    "curtail.state_unknown": lambda t, f: t.disturbed,
    "bus.mode_unknown": lambda t, f: t.disturbed,
    "bus.switch_closed": closed,
    "bus.formed": forming,
    "bus.dead": lambda t, f: t.site.blackout or t.disturbed,
    "seen.switch_open": open_,
    "seen.contacts_closed": closed,
    "seen.pcs_forms_own": forming,
    "seen.pcs_follows": lambda t, f: t.faulty("pcc") and not t.now.forming,
    "seen.no_grid_voltage": lambda t, f: t.of_late(lambda s: not s.grid_alive),
    "seen.genset": lambda t, f: t.site.on_genset or t.disturbed,
    "seen.no_source": lambda t, f: t.disturbed,
    "seen.switch_unread": lambda t, f: t.faulty("pcc"),
    "close.outside_window": lambda t, f: off_grid(t),
    "close.switch_reads": lambda t, f: t.faulty("pcc") or t.of_late(lambda s: s.position.name.lower() == f["position"]),
    "close.wait": lambda t, f: 0 <= f["left_s"] <= f["wait_s"] and grid_back(t, f),
    "close.out_of_step": lambda t, f: f["differs"] > f["at_most"] and off_grid(t),
    "close.on_genset": lambda t, f: t.site.on_genset or t.disturbed,
    "go.bus_is": lambda t, f: off_grid(t) or t.disturbed,
    "go.seen_bus_dead": lambda t, f: t.site.blackout or t.disturbed,
    "go.closed_as_permitted": closed,
    "go.closed_by_device": closed,
    "go.closing_permitted": grid_back,
    "go.inside_window": grid_back,
    "go.left_window": lambda t, f: t.disturbed,
    "go.permission_withdrawn": lambda t, f: off_grid(t),
    "go.not_closed": lambda t, f: open_(t, f),
    "go.nothing_read": lambda t, f: t.site.t_s < 60,
    "go.unloaded": lambda t, f: abs(f["import_w"]) < 3_000.0,  # when the switch was asked; it stands until it is open
    "window.no_voltage": lambda t, f: t.of_late(lambda s: not s.grid_alive) or t.faulty("pcc"),
    "window.not_measured": lambda t, f: t.disturbed,
    "window.source": voltage,
    # ride-through: why the last step was taken, which the figures tell
    "ride.too_short": lambda t, f: f["left_s"] < 1.3 * f["promised_s"],
    "ride.overload": lambda t, f: f["drawn_w"] > 0.5 * f["most_w"],
    "ride.shutdown": lambda t, f: f["lasts_s"] < 1.5 * f["shutdown_s"],
    "ride.low_by_report": lambda t, f: f["lasts_s"] < 1.5 * f["shutdown_s"],
    "ride.genset_overload": lambda t, f: f["drawn_w"] > 0.5 * f["rated_w"] and t.site.genset is not None,
    # a generator
    "genset.window": lambda t, f: f["least_w"] <= f["rated_w"] and (t.site.on_genset or t.disturbed),
    "genset.spare": lambda t, f: (t.site.on_genset or t.disturbed) and net_load(t, f),
    "genset.overload": lambda t, f: f["net_w"] > f["rated_w"],
    "genset.least": lambda t, f: net_load(t, f) and f["least_w"] >= 0,
    "curtail.genset": lambda t, f: f["limit_w"] >= 0 and (t.site.on_genset or t.disturbed),
    "curtail.none_on_genset": lambda t, f: f["room_w"] >= 0 and (t.site.on_genset or t.disturbed),
    # what is asked
    "manual.net_load_unknown": lambda t, f: t.disturbed,
    "manual.soc_evenly": soc,
    "manual.soc_reached": soc,
    "manual.soc_unknown": lambda t, f: t.faulty("pcs1"),
    "plan.no_pcs": no_setpoint,
    "manual.none": lambda t, f: t.decision is None or t.decision.mode is not Mode.MANUAL,
    "plan.none": lambda t, f: t.decision is None or t.decision.mode is not Mode.PLAN,
    "idle.idle": lambda t, f: t.decision is None or not t.decision.battery_w or t.decision.mode is Mode.PLAN,
    "idle.held": lambda t, f: t.decision is None or t.decision.battery_w != 0,
    "step.over_contract": lambda t, f: f["import_w"] > f["contract_w"],
    "step.over_fuse": lambda t, f: f["import_w"] > f["fuse_w"],
    "step.charge_for_price": lambda t, f: f["price_eur_per_kwh"] < f["later_eur_per_kwh"],
    "step.kept_for_price": lambda t, f: f["later_eur_per_kwh"] > f["price_eur_per_kwh"] - 1e-9,
    "step.charge_later": lambda t, f: f["later_eur_per_kwh"] < f["price_eur_per_kwh"] + 1e-9,
    "step.cheaper_later": lambda t, f: f["later_eur_per_kwh"] < f["price_eur_per_kwh"] + 1e-9,
    # what was seen of an alarm
    "alarm.below_reserve": below_reserve,
    "alarm.conflict": unmet,
    "alarm.fuse_power": lambda t, f: f["import_w"] > f["fuse_w"] and (t.disturbed or t.near("grid_w", f["import_w"])),
    "alarm.grid_voltage_back": grid_back,
    "alarm.load_meter_frozen": lambda t, f: t.faulty("load") or t.still("load_w"),
    "alarm.lowest_phase": lambda t, f: t.disturbed or t.near("grid_v", f["phase_v"], 8.0),
    "alarm.meter_frozen": lambda t, f: t.faulty("grid"),
    "alarm.never_answered": lambda t, f: t.site.t_s < 60 or t.disturbed,
    "alarm.never_read": lambda t, f: t.site.t_s < 60 or t.disturbed,
    "alarm.phase_current": phase_above_fuse,
    "alarm.power_missing": lambda t, f: t.disturbed,
    "alarm.ride_step": ride_step,
    "alarm.soc_low": lambda t, f: soc(t, f) and f["soc_pct"] < f["limit_pct"] + NEAR_PCT,
    "alarm.soc_missing": lambda t, f: t.faulty("pcs1"),
    "alarm.switch_reports_no_voltage": lambda t, f: t.of_late(lambda s: not s.grid_alive) or t.faulty("pcc"),
}


def interval_over(t: Truth, f: Figures) -> bool:
    mean_w = (t.imported_wh - t.begun_wh) * 4
    return t.disturbed or not t.whole or mean_w > f["limit_w"] - NEAR_W


def below(name: str, limit: str) -> Claim:
    """One figure is below another."""
    return lambda _, f: f[name] < f[limit] + 1e-9


# Alarms by definition. Figures: those of what is seen now, and `subject`.
ALARM_CLAIMS: dict[str, Claim] = {
    "grid-outage": lambda t, f: t.of_late(lambda s: not s.grid_alive or s.grid_v < 150) or t.faulty("pcc"),
    "fuse-overload": lambda t, f: t.disturbed or t.now.grid_w > 0,
    "meter-stale": lambda t, f: t.faulty("grid"),
    "meters-disagree": lambda t, f: t.disturbed,
    "peak-exceeded": interval_over,
    "peak-at-risk": lambda t, f: f["import_w"] > f["held_w"] and (t.disturbed or t.near("grid_w", f["import_w"])),
    "island-fault": lambda t, f: t.decision is not None and t.decision.island is IslandState.FAULT,
    "island-blackout": lambda t, f: t.site.blackout or t.disturbed,
    "genset-running": lambda t, f: t.site.on_genset or t.disturbed,
    "genset-overload": lambda t, f: t.site.genset is not None,
    "genset-low-load": lambda t, f: t.site.genset is not None,
    "pcs-fault": lambda t, f: any(p.tripped or p.state.name == "FAULT" for p in t.site.pcs) or t.disturbed,
    "pcs-local": lambda t, f: any(p.local for p in t.site.pcs),
    "setpoint-not-followed": lambda t, f: t.disturbed or abs(f["setpoint_w"] - f["measured_w"]) > 100,
    "device-lost": lambda t, f: t.faulty(f["subject"]),
    "reading-missing": lambda t, f: t.faulty(f["subject"], "pcs1"),
    "reading-implausible": lambda t, f: t.disturbed,
    "soc-low": lambda t, f: t.faulty("pcs1") or t.near("soc_pct", f["soc_pct"], NEAR_PCT),
    "soc-below-reserve": below_reserve,
    "rules-conflict": unmet,
    "ride-through-step": ride_step,
    "no-plan": lambda t, f: t.decision is not None and t.decision.mode is not Mode.PLAN,
}
