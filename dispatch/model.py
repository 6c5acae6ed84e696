"""What flows through Skerry: readings, snapshot, decision, clock.

Sign and units, everywhere: watts at the AC terminals; `pcs.w > 0` discharges, grid `w > 0` imports, `pv.w >= 0`;
site balance `load = grid + sum(pcs) + sum(pv)`. Times: `utc_s` is POSIX seconds (records, tariffs, plans);
`mono_s` is the site clock's monotonic seconds (control deadlines, expiries, ages).
"""

from __future__ import annotations

import enum
from typing import Any, Protocol, TypeVar

import msgspec

from dispatch.caps_view import CapsView
from dispatch.island_view import (
    DrillReport,
    IslandReply,
    IslandView,
    NodeOrder,
    PcsOrder,
    RideThrough,
    SwitchOrder,
)


class Clock(Protocol):
    """The only source of time for whatever decides. The gateway's, the twin's and the tests' clocks all fit it."""

    @property
    def speed(self) -> float:
        """Site seconds per machine second."""
        ...

    def utc_s(self) -> float:
        """POSIX seconds on the site's calendar; may step when the wall clock is corrected."""
        ...

    def mono_s(self) -> float:
        """Monotonic seconds; never steps. Advances `speed` times as fast as the machine's."""
        ...


class Quality(enum.Enum):
    """GOOD: use it. STALE: the last value known, for display and for holding. MISSING: there is no value."""

    GOOD = "good"
    STALE = "stale"
    MISSING = "missing"


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """One measured value. A missing reading has `value is None`; it is never zero."""

    value: float | None = None
    age_s: float | None = None
    quality: Quality = Quality.MISSING

    @property
    def good(self) -> float | None:
        """The value if it may be used for control, else None."""
        return self.value if self.quality is Quality.GOOD else None


class Status(msgspec.Struct, frozen=True, array_like=True):
    """One state word read from a device (an enum's name, lower case), with the same age and quality as a reading."""

    value: str | None = None
    age_s: float | None = None
    quality: Quality = Quality.MISSING

    @property
    def good(self) -> str | None:
        """The word if it may be used for control, else None."""
        return self.value if self.quality is Quality.GOOD else None


MISSING = Reading()
UNKNOWN = Status()


def reading(value: float | None) -> Reading:
    """A reading taken just now; `None` (not implemented, out of range) gives a missing one."""
    return MISSING if value is None else Reading(value, 0.0, Quality.GOOD)


def status(value: str | None) -> Status:
    """A state word read just now."""
    return UNKNOWN if value is None else Status(value, 0.0, Quality.GOOD)


# ── parts of a site, as read ────────────────────────────────────────────────────────────────────────────────────────


class Meter(msgspec.Struct, frozen=True):
    """A power meter. `w` > 0 is import for the grid meter and consumption for a load meter."""

    id: str
    w: Reading = MISSING
    hz: Reading = MISSING
    v: tuple[Reading, ...] = ()  # phase to neutral, L1..L3
    a: tuple[Reading, ...] = ()  # L1..L3, magnitude
    import_wh: Reading = MISSING
    export_wh: Reading = MISSING


class Pcs(msgspec.Struct, frozen=True):
    """A power conversion system and what it says of the setpoint it holds. `w` > 0 discharges."""

    id: str
    w: Reading = MISSING
    hz: Reading = MISSING
    v: Reading = MISSING
    state: Status = UNKNOWN  # off sleeping starting running throttled shutting_down fault standby
    connection: Status = UNKNOWN  # connected disconnected
    mode: Status = UNKNOWN  # grid_following grid_forming
    control: Status = UNKNOWN  # remote local
    setpoint_w: Reading = MISSING  # what the device holds, read back
    setpoint_enabled: Reading = MISSING  # 1 or 0
    revert_remaining_s: Reading = MISSING  # the device's own countdown
    charge_limit_w: Reading = MISSING  # >= 0, as the device reports them now
    discharge_limit_w: Reading = MISSING
    temp_c: Reading = MISSING
    alarms: tuple[str, ...] = ()


class Battery(msgspec.Struct, frozen=True):
    """A battery as its BMS reports it. Limits are >= 0, at the battery."""

    id: str
    soc_pct: Reading = MISSING
    soh_pct: Reading = MISSING
    energy_wh: Reading = MISSING  # rated
    charge_limit_w: Reading = MISSING
    discharge_limit_w: Reading = MISSING
    temp_c: Reading = MISSING
    state: Status = UNKNOWN
    alarms: tuple[str, ...] = ()


class Pv(msgspec.Struct, frozen=True):
    """A PV inverter; `w` >= 0."""

    id: str
    w: Reading = MISSING
    state: Status = UNKNOWN


class Switch(msgspec.Struct, frozen=True):
    """The switch at the PCC, by its auxiliary contacts: open, closed, or moving (contacts disagree)."""

    id: str
    position: Status = UNKNOWN
    control: Status = UNKNOWN  # remote local
    grid_voltage: Status = UNKNOWN  # present absent
    command: Status = UNKNOWN  # what it was last asked: none open close
    grid_v: Reading = MISSING  # its own measurement of the grid side, phase to neutral
    grid_hz: Reading = MISSING
    delta_v: Reading = MISSING  # bus minus grid, as its synchro-check sees them
    delta_hz: Reading = MISSING
    delta_deg: Reading = MISSING
    transfer_ms: Reading = MISSING  # the last transfer, by its own recorder
    faults: Reading = MISSING  # bits, the vendor's


class Gpu(msgspec.Struct, frozen=True):
    """One GPU as NVML reports it."""

    index: int
    name: str
    w: Reading = MISSING
    limit_w: Reading = MISSING
    util_pct: Reading = MISSING
    temp_c: Reading = MISSING
    memory_used_mib: Reading = MISSING


class Node(msgspec.Struct, frozen=True):
    """A compute node. `w` may be an estimate; `source` says how it was got, `note` what is missing ("no GPU")."""

    id: str
    w: Reading = MISSING
    cpu_pct: Reading = MISSING
    memory_pct: Reading = MISSING
    gpus: tuple[Gpu, ...] = ()
    gpus_busy: Reading = MISSING
    gpus_total: int = 0
    critical: bool = False
    source: str = ""
    note: str = ""


Part = Meter | Pcs | Battery | Pv | Switch | Node
P = TypeVar("P", bound=msgspec.Struct)


def aged(part: P, age_s: float, quality: Quality = Quality.GOOD) -> P:
    """The same part, `age_s` later, every value of at best this quality; what was missing stays missing."""

    def older(value: Any) -> Any:
        if isinstance(value, (Reading, Status)):
            if value.quality is Quality.MISSING:
                return value
            worse = quality if value.quality is Quality.GOOD else value.quality
            return type(value)(value.value, (value.age_s or 0.0) + age_s, worse)  # type: ignore[arg-type]
        if isinstance(value, tuple):
            return tuple(older(item) for item in value)
        return aged(value, age_s, quality) if isinstance(value, Gpu) else value

    return msgspec.structs.replace(part, **{name: older(getattr(part, name)) for name in part.__struct_fields__})


class DeviceHealth(msgspec.Struct, frozen=True):
    """How the conversation with one device goes. `error` is a line a person can act on, empty when all is well."""

    id: str
    kind: str  # meter load_meter pcs pv switch node
    online: bool
    age_s: float | None  # since the last good answer; None: never
    reads: int
    failures: int
    writes: int
    error: str = ""


class IslandState(enum.Enum):
    """The states of `dispatch.island_machine`. UNKNOWN: the devices do not settle it."""

    UNKNOWN = "unknown"
    GRID_TIED = "grid-tied"
    PREPARING = "preparing"
    OPENING = "opening"
    ISLANDED = "islanded"
    SYNCHRONISING = "synchronising"
    CLOSING = "closing"
    FAULT = "fault"
    BLACKOUT = "blackout"
    BLACK_START = "black-start"


class Snapshot(msgspec.Struct, frozen=True):
    """The site at one instant, as far as it is known. Frozen: everything that decides sees the same one."""

    seq: int
    utc_s: float
    mono_s: float
    grid: Meter
    load: Meter | None = None  # the site's own load meter, independent of the grid meter
    pcs: tuple[Pcs, ...] = ()
    batteries: tuple[Battery, ...] = ()
    pv: tuple[Pv, ...] = ()
    switches: tuple[Switch, ...] = ()
    nodes: tuple[Node, ...] = ()
    devices: tuple[DeviceHealth, ...] = ()

    @property
    def pcs_w(self) -> float | None:
        """Sum over every PCS; None as soon as one is not good."""
        return total(p.w for p in self.pcs)

    @property
    def pv_w(self) -> float | None:
        """Sum over every PV inverter; None as soon as one is not good, 0 on a site without PV."""
        return total(p.w for p in self.pv)

    @property
    def soc_pct(self) -> float | None:
        """SoC of all batteries, weighted by rated energy; None as soon as one of the numbers needed is not good."""
        if len(self.batteries) == 1:
            return self.batteries[0].soc_pct.good
        stored_wh = rated_wh = 0.0
        for battery in self.batteries:
            soc_pct, energy_wh = battery.soc_pct.good, battery.energy_wh.good
            if soc_pct is None or energy_wh is None:
                return None
            stored_wh += soc_pct * energy_wh
            rated_wh += energy_wh
        return stored_wh / rated_wh if rated_wh > 0 else None

    @property
    def load_w(self) -> float | None:
        """Site load by balance, grid + pcs + pv; None when any part is not good."""
        parts = (self.grid.w.good, self.pcs_w, self.pv_w)
        return None if None in parts else sum(parts)  # type: ignore[arg-type]


def total(readings: object) -> float | None:
    """Sum of readings if every one is good, else None."""
    result = 0.0
    for item in readings:  # type: ignore[attr-defined]
        value = item.good
        if value is None:
            return None
        result += value
    return result


# ── decision ────────────────────────────────────────────────────────────────────────────────────────────────────────


class RuleTrace(msgspec.Struct, frozen=True):
    """What one rule did to the allowed battery power; `low_w`, `high_w`, `preferred_w` are as it left them."""

    rule: int  # its number in DESIGN §3
    name: str
    low_w: float
    high_w: float
    preferred_w: float | None
    bound: bool  # it changed what came out
    reason: str


class Setpoint(msgspec.Struct, frozen=True):
    """One actuator's order. For a PCS: AC watts, > 0 discharges. `None`: send nothing, leave the device as it is."""

    device_id: str
    w: float | None


class Contested(msgspec.Struct, frozen=True):
    """A PCS that does not keep the setpoint it is asked to hold: it refuses it, or another master writes too."""

    device_id: str
    held_w: float  # at the last wrong look
    share: float  # of the last looks at its readback that were wrong


class Mode(enum.Enum):
    """Who steers: the plan, the rules alone, a manual order, the safe-value table, or nobody."""

    PLAN = "plan"
    RULES = "rules"
    MANUAL = "manual"
    SAFE = "safe"
    OBSERVE = "observe"


class Event(msgspec.Struct, frozen=True):
    """One line of the log."""

    utc_s: float
    kind: str  # gateway device alarm rule command plan twin island node
    severity: str  # info warning alarm
    subject: str  # device id, alarm id, rule name
    text: str
    who: str = ""


class Decision(msgspec.Struct, frozen=True):
    """One setpoint per actuator, and the chain that led to it: plan, each rule's interval, which rule bound."""

    seq: int  # of the snapshot it answers
    utc_s: float
    mode: Mode
    island: IslandState
    setpoints: tuple[Setpoint, ...]
    battery_w: float | None  # the sum asked of all PCS
    net_load_w: float | None  # load - pv as estimated, time-aligned
    import_target_w: float | None
    binding: str  # name of the binding rule
    reason: str  # one line: what and why
    chain: tuple[RuleTrace, ...] = ()
    islanding: IslandView | None = None
    switch: SwitchOrder | None = None  # None: nothing is asked of the switch
    pcs_orders: tuple[PcsOrder, ...] = ()
    nodes: tuple[NodeOrder, ...] = ()  # nodes that ride-through has a say in; empty: leave all as they are
    ride: RideThrough | None = None
    events: tuple[Event, ...] = ()  # what islanding and ride-through have to report of this tick
    replies: tuple[IslandReply, ...] = ()  # to the requests of this tick
    report: DrillReport | None = None  # in the tick in which a drill ends
    meter_frozen: bool = False  # the grid meter answers, but what it says stands still
    contested: tuple[Contested, ...] = ()
    caps: CapsView | None = None  # None: the site allows no caps for the month's peak


LAST_S = 15.0  # an interval's end closer than this is not divided by: meters and clocks are not that exact


class Interval(msgspec.Struct, frozen=True):
    """The running metering interval of the utility meter."""

    start_utc_s: float
    length_s: float
    energy_wh: float  # imported so far; export earns nothing back
    unknown_s: float  # of it without a good meter reading
    limit_w: float  # the mean that must not be exceeded
    left_w: float  # import that the budget (rule 6) allows now; never above the fuse

    @property
    def energy_left_wh(self) -> float:
        """Import left in this interval before its mean exceeds the limit, Wh; negative once it has."""
        return self.limit_w * self.length_s / 3600 - self.energy_wh

    def held_w(self, utc_s: float) -> float:
        """Import that, held from `utc_s` to the end, would just meet the limit, W >= 0; the fuse may allow less."""
        left_s = self.start_utc_s + self.length_s - utc_s
        return max(self.energy_left_wh, 0.0) * 3600 / max(left_s, LAST_S)
