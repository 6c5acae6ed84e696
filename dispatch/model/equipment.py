"""Defines the readings of each kind of device: meter, PCS, battery, PV inverter, switch, node, UPS.

Sign and units, everywhere: watts at the AC terminals; `pcs.w > 0` discharges, grid `w > 0` imports, `pv.w >= 0`;
site balance `load = grid + sum(pcs) + sum(pv)`. Times: `utc_s` is POSIX seconds (records, tariffs, plans);
`mono_s` is the site clock's monotonic seconds (control deadlines, expiries, ages).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from dispatch.model.contacts import Contact
from dispatch.model.readings import MISSING, UNKNOWN, Quality, Reading, Status


class Meter(msgspec.Struct, frozen=True):
    """A power meter. `w` > 0 is import for the grid meter and consumption for a load meter."""

    id: str
    w: Reading = MISSING
    hz: Reading = MISSING
    v: tuple[Reading, ...] = ()  # phase to neutral, L1..L3
    a: tuple[Reading, ...] = ()  # L1..L3, magnitude
    import_wh: Reading = MISSING
    export_wh: Reading = MISSING
    w_phases: tuple[Reading, ...] = ()  # L1..L3, signed like `w`; empty: it gives none


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
    revert_after_s: Reading = MISSING  # what that counts down from, read back; missing or 0: it has no such timer
    revert_to_w: Reading = MISSING  # the setpoint that it then holds; missing: another one, of its own
    charge_limit_w: Reading = MISSING  # >= 0, as the device reports them now
    discharge_limit_w: Reading = MISSING
    temp_c: Reading = MISSING
    alarms: tuple[str, ...] = ()
    w_estimated: bool = False  # `w` is worked out of the battery's DC power and the site file's efficiency
    revert_by_map: bool = False  # `revert_after_s` is what its device map says, not read back; 0: it never reverts


class Battery(msgspec.Struct, frozen=True):
    """A battery as its BMS reports it. Limits are >= 0, at the battery."""

    id: str
    soc_pct: Reading = MISSING  # what is reckoned with; `soc_state` says what it rests on
    soc_high_pct: Reading = MISSING  # what charging reckons with, where it is not `soc_pct`
    soc_reported_pct: Reading = MISSING  # what the BMS reports, where it is not `soc_pct`
    soc_counted_pct: Reading = MISSING  # by the energy moved since before a jump that only the report tells of
    soc_state: str = (
        ""  # reported alone carried rejected stands_still; empty: not checked (`dispatch.plausibility.soc`)
    )
    soh_pct: Reading = MISSING
    energy_wh: Reading = MISSING  # rated, by the BMS; Skerry reckons with the site file's
    charge_limit_w: Reading = MISSING
    discharge_limit_w: Reading = MISSING
    temp_c: Reading = MISSING
    state: Status = UNKNOWN
    alarms: tuple[str, ...] = ()
    cell_v_min: Reading = MISSING  # of all cells
    cell_v_max: Reading = MISSING
    cell_temp_min_c: Reading = MISSING  # of the coldest and the warmest cell or module that the BMS tells
    cell_temp_max_c: Reading = MISSING
    charge_limit_a: Reading = MISSING  # at the battery, where `charge_limit_w` comes of it
    discharge_limit_a: Reading = MISSING
    contactor: Status = UNKNOWN  # open closed
    isolation: Status = UNKNOWN  # ok fault
    isolation_ohm: Reading = MISSING  # against earth
    cooling: Status = UNKNOWN  # ok fault

    @property
    def tripped(self) -> bool:
        """Whether it is off the DC bus, or says that it has a fault: no power is to be expected of it."""
        return self.contactor.good == "open" or self.state.good in BATTERY_TRIPPED


MOST_CODES = 3  # that are told in one line of 80 columns


def alarm_words(codes: tuple[str, ...]) -> str:
    """The alarms of a device in words: "over temp alarm, contactor error"; of many the first and how many more."""
    told = [code.replace("_", " ") for code in codes[:MOST_CODES]]
    more = len(codes) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


COUNTED = frozenset({"carried", "stands_still"})  # states of an SoC that is counted from energy
FULL_UP_TO_PCT = 110.0  # a battery with more than its rated energy reports more than 100 % when it is full


def soc_of(reported_pct: float | None) -> float | None:
    """The SoC that a BMS means, %: up to FULL_UP_TO_PCT is full. None for what is no SoC, and for none."""
    if reported_pct is None or not 0.0 <= reported_pct <= FULL_UP_TO_PCT:  # nor a NaN
        return None
    return min(reported_pct, 100.0)


class Pv(msgspec.Struct, frozen=True):
    """A PV inverter; `w` >= 0. `asleep`: it is silent because there is no sun, and its power is taken as 0."""

    id: str
    w: Reading = MISSING
    state: Status = UNKNOWN
    asleep: bool = False
    limit_w: Reading = MISSING  # in force, read back; its full power: none is; missing: it is not asked


class Switch(msgspec.Struct, frozen=True):
    """The switch at the PCC, by its auxiliary contacts: open, closed, or moving (contacts disagree).

    `position` is that of the contact to the public grid: on a generator, or on neither source, it is open.
    """

    id: str
    position: Status = UNKNOWN
    control: Status = UNKNOWN  # remote local automatic inhibited
    grid_voltage: Status = UNKNOWN  # present absent
    command: Status = UNKNOWN  # what it was last asked: none open close
    grid_v: Reading = MISSING  # its own measurement of the grid side, phase to neutral
    grid_hz: Reading = MISSING
    delta_v: Reading = MISSING  # bus minus grid, as its synchro-check sees them
    delta_hz: Reading = MISSING
    delta_deg: Reading = MISSING
    transfer_ms: Reading = MISSING  # the last transfer, by its own recorder
    faults: Reading = MISSING  # bits, the vendor's
    source: Status = UNKNOWN  # what the site is joined to: grid genset none; unknown: the switch does not say
    genset_voltage: Status = UNKNOWN  # present absent, on the generator's side
    orders_in: tuple[str, ...] = ("remote",)  # the controls in which it takes an order; none: it is only watched
    rests_in: str = ""  # the control in which it is to stand while nothing is asked of it; "": any

    @property
    def takes_orders(self) -> bool:
        """Whether an order would reach it now, as it says itself."""
        return self.control.good in self.orders_in

    @property
    def isolates(self) -> bool:
        """Whether it keeps the site from every source: open towards the grid, and not on a generator."""
        return self.source.good != "genset" and (self.position.good == "open" or self.source.good == "none")


class Gpu(msgspec.Struct, frozen=True, gc=False):
    """One GPU as NVML reports it. A GPU that is known from before and does not answer has no readings."""

    index: int  # for people; it may change when GPUs come and go
    name: str
    w: Reading = MISSING
    limit_w: Reading = MISSING  # as set
    util_pct: Reading = MISSING
    temp_c: Reading = MISSING
    memory_used_mib: Reading = MISSING
    uuid: str = ""  # what it is known by; empty where NVML does not say
    enforced_w: Reading = MISSING  # the limit that the board follows: that set, or a lower one of board or chassis
    energy_j: Reading = MISSING  # its counter of energy, since its driver was loaded; it begins anew then


class NodePower(msgspec.Struct, frozen=True, gc=False):
    """A node's power as one source has it. `period_s`: how often the source measures; 0: at each reading."""

    source: str
    w: Reading = MISSING
    period_s: float = 0.0


class GpuPart(msgspec.Struct, frozen=True, gc=False):
    """A MIG instance of a GPU. With an empty `id`: the whole of a GPU, or, if there are several, one who shares it."""

    gpu: str  # UUID
    id: str = ""  # of the GPU instance
    slices: int = 1  # of the GPU's compute
    active: float | None = None  # share of time in which it worked, 0 to 1; None: not known
    jobs: tuple[str, ...] = ()  # that hold it, as the labels of its exporter say; empty: they do not


class JobUse(msgspec.Struct, frozen=True, gc=False):
    """What the exporters of a node tell of the jobs on it, by the names that they give them: for accounting alone."""

    cpus: tuple[tuple[str, float], ...] = ()  # that each job used of late; of those whose CPU time is known
    gpu_parts: tuple[GpuPart, ...] = ()


class Limit(msgspec.Struct, frozen=True, gc=False):
    """The power limit of a node in its BMC. `why`: why it is never set, or not known; empty: it may be set."""

    w: Reading = MISSING  # in force; missing: nothing is limited, or `why`
    low_w: float | None = None  # what may be set; None: it does not say
    high_w: float | None = None
    why: str = ""


class Node(msgspec.Struct, frozen=True):
    """A compute node. `w` may be an estimate; `source` says how it was got, `note` what is missing ("no GPU").

    `powers`: each power that is known of it, that which counts most first; empty: there is one way only.
    """

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
    period_s: float = 0.0  # how often the source of `w` measures; 0: at each reading
    powers: tuple[NodePower, ...] = ()
    job_use: JobUse | None = None  # not sent to consoles: it may hold names
    limit: Limit | None = None  # None: it has none that Skerry may set


class Ups(msgspec.Struct, frozen=True):
    """A UPS as NUT reports it. `status` is its ups.status: OL on line, OB on battery, LB battery low, and more."""

    id: str
    status: Status = UNKNOWN
    w: Reading = MISSING  # real power of its output
    load_pct: Reading = MISSING  # of its rating
    charge_pct: Reading = MISSING
    runtime_s: Reading = MISSING  # as it estimates

    def says(self, *words: str) -> bool | None:
        """Whether its status holds one of these words; None: its status is not known."""
        text = self.status.good
        return None if text is None else not set(words).isdisjoint(text.split())


_GOOD, _MISSING = Quality.GOOD, Quality.MISSING
Part = Meter | Pcs | Battery | Pv | Switch | Node | Ups | Contact
P = TypeVar("P", bound=msgspec.Struct)


def aged(part: P, age_s: float, quality: Quality = Quality.GOOD) -> P:
    """The same part, `age_s` later, every value of at best this quality; what was missing stays missing."""
    return type(part)(*_older(msgspec.structs.astuple(part), age_s, quality))


def _older(values: Iterable[Any], age_s: float, quality: Quality) -> list[Any]:
    """Of a thousand nodes of 8 GPUs each: no call for each value."""
    older: list[Any] = []
    for value in values:
        kind = type(value)
        if (kind is Reading or kind is Status) and value.quality is not _MISSING:
            worse = quality if value.quality is _GOOD else value.quality
            older.append(kind(value.value, (value.age_s or 0.0) + age_s, worse))
        elif kind is tuple:
            older.append(tuple(_older(value, age_s, quality)))
        elif kind is Gpu or kind is NodePower or kind is Limit:
            older.append(aged(value, age_s, quality))
        else:
            older.append(value)
    return older


class LinkHealth(msgspec.Struct, frozen=True):
    """How the requests to one device over its link go. Times are the machine's, over the last 100 answers."""

    at: str  # address and unit
    round_trip_ms: float | None = None  # median; None: no answer yet
    round_trip_worst_ms: float | None = None
    connect_ms: float | None = None  # of the last connection
    answers: int = 0
    refusals: int = 0  # Modbus exceptions
    failures: int = 0  # no answer, or one that was not used


class DeviceIdentity(msgspec.Struct, frozen=True):
    """What a device says it is; empty: it does not say."""

    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""

    @property
    def text(self) -> str:
        """ "Maker Model 4711, firmware 1.2"; empty where it says nothing. Many models begin with their maker's name."""
        maker = "" if self.model.startswith(f"{self.maker} ") else self.maker
        said = " ".join(text for text in (maker, self.model, self.serial) if text)
        firmware = f"firmware {self.firmware}" if self.firmware else ""
        return ", ".join(text for text in (said, firmware) if text)


class DeviceProof(msgspec.Struct, frozen=True):
    """What `skerry devices prove` has found of a PCS, as far as control and people need it at every moment."""

    proven_at: str  # ISO 8601, the site's time
    firmware: str  # that it had then
    delay_low_s: float  # of the grid reading after its own readings
    delay_high_s: float
    lag_low_s: float
    waited_s: float  # in silence
    revert_after_s: float | None = None  # None: it kept its setpoint for as long as was waited
    revert_low_s: float | None = None  # the earliest and the latest that are likely
    revert_high_s: float | None = None
    revert_to_w: float | None = None
    changed_utc_s: float | None = None  # since when it says it is another one, or has another firmware
    again_by: str = ""  # ISO 8601, the site's time: until when such a one is to be proven again
    serial: str = ""  # the serial number that it had when it was proven


class DeviceHealth(msgspec.Struct, frozen=True):
    """How the conversation with one device goes. `error` is a line a person can act on, empty when all is well."""

    id: str
    kind: str  # meter load_meter pcs battery pv switch node ups contact
    online: bool
    age_s: float | None  # since the last good answer; None: never
    reads: int
    failures: int
    writes: int
    error: str = ""
    link: LinkHealth | None = None  # None: it is not reached over Modbus, or a version before this one
    identity: DeviceIdentity | None = None  # None: it has not told one
    proof: DeviceProof | None = None  # None: it was never proven
    battery: str = ""  # id of the battery whose values it reads; empty: none
    map: str = ""  # the device map by which it is read; empty: SunSpec, or what it has no map for


# SunSpec 701 St / InvSt and 802 State, lower case: in these a setpoint does nothing, or starts what must not start.
NOT_RUNNING = frozenset({"off", "sleeping", "starting", "shutting_down", "fault", "standby"})
# Out of service until somebody sees to it; the other states may pass within seconds.
PCS_OUT = frozenset({"off", "fault"})
# SunSpec 802 State, 713 Sta ("error"), lower case; and the words of device maps.
BATTERY_TRIPPED = frozenset({"fault", "error", "disconnected", "emergency_stop"})
DEAD = 0.2  # of nominal voltage: below it nothing lives on a bus
