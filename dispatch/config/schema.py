"""Defines the sections of the site file that dispatch uses; those about living off the grid: `off_grid.py`.

The suffix of a key is its unit. `Meta` holds the allowed range and the meaning of a key; the reference in `docs/` and
the JSON Schema are made from both. Rules that span several keys: `cross_checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.contact_terms import ContactStepTerms, ContactTerms
from dispatch.config.off_grid import DrillsConfig, GensetConfig, IslandConfig, RideThroughConfig
from dispatch.config.plane import PlaneTerms
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.value_types import Fraction, Percent, PositiveWatts, Seconds, SlowdownPct, Watts


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


class GridConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[grid]`: the connection to the public grid at the PCC."""

    fuse_a: Annotated[float, Meta(gt=0, description="Rated current of the fuse at the PCC, per phase.")]
    voltage_v: Annotated[float, Meta(ge=90, le=300, description="Nominal voltage, phase to neutral.")] = 230.0
    phases: Annotated[Literal[1, 3], Meta(description="Number of phases.")] = 3
    connection: Annotated[
        Literal["low-voltage", "medium-voltage"],
        Meta(
            description="Voltage level of the grid connection. At medium voltage another grid code applies, as it does "
            "above 135 kW: `skerry doctor` asks for its figures in [island]."
        ),
    ] = "low-voltage"
    export_limit_w: Annotated[Watts, Meta(description="Highest export allowed at the PCC.")] = 0.0
    export_window_s: Annotated[
        Literal[0, 60, 600, 900],
        Meta(
            description="Over how long the mean export must stay within export_limit_w, at any moment. 0: at every "
            "instant. A longer window only spares PV short limits: the battery never uses it to export more."
        ),
    ] = 0
    export_margin_w: Annotated[
        Watts, Meta(description="How far below export_limit_w export is held, for what comes too fast to be met.")
    ] = 0.0
    contracted_peak_w: Annotated[
        PositiveWatts, Meta(description="Contracted peak: highest mean import of one metering interval.")
    ]
    metering_interval_s: Annotated[
        Literal[300, 600, 900, 1800, 3600], Meta(description="Length of the utility meter's metering interval.")
    ] = 900
    interval_offset_s: Annotated[
        float, Meta(ge=-60, le=60, description="Clock of the utility meter minus the clock of this machine.")
    ] = 0.0
    interval_guard_s: Annotated[
        float,
        Meta(ge=0, le=30, description="Guard band at both ends of the interval, in which no unused energy is spent."),
    ] = 2.0
    ramp_w_per_s: Annotated[
        Watts, Meta(description="Highest rate of change of import at the PCC. 0: no ramp limit.")
    ] = 0.0
    billed_peaks_kw: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        Meta(
            max_length=24,
            description='Peaks that earlier months were billed, as bills say: `{ "2026-03" = 55.2, "2026-02" = 57 '
            '}`; of a charge per year `{ "2025" = 58.1 }`. They are evidence of where the running month will end. '
            "Months on record need not be named; of one that is, this figure counts.",
            extra_json_schema={"x-unit": "kW"},
        ),
    ] = {}
    battery_since: Annotated[
        str,
        Meta(
            description="First whole month (of a charge per year: year) with the battery in use as it is now, such as "
            '`"2026-02"`. Needed beside `billed_peaks_kw`: peaks from before it count less, and as not lowered by it.'
        ),
    ] = ""
    meter_delay_min_s: Annotated[
        Seconds, Meta(description="Shortest age of a grid reading when it arrives, measured at commissioning.")
    ] = 0.0
    meter_delay_max_s: Annotated[
        float,
        Meta(ge=0, le=10, description="Longest age of a grid reading when it arrives, measured at commissioning."),
    ] = 2.0

    def interval_of_steps_s(self, step_s: int) -> int:
        """The metering interval as far as means over steps tell: a step that is longer stands for those inside it."""
        return max(self.metering_interval_s, step_s)

    @property
    def fuse_w(self) -> float:
        """What the fuses carry at nominal voltage, all phases, unity power factor."""
        return self.fuse_a * self.voltage_v * self.phases


class ReserveConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[reserve]`: the energy kept for ride-through, hours x critical load."""

    hours: Annotated[float, Meta(ge=0, le=72, description="How long the battery must carry the critical load.")] = 0.0
    critical_load_w: Annotated[
        Watts, Meta(description="Load that must be carried off the grid, with cooling and network.")
    ] = 0.0


class BatteryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[[battery]]`: one battery; exactly one `[[pcs]]` names it."""

    id: Annotated[str, Meta(description="Name of the battery.")]
    energy_kwh: Annotated[float, Meta(gt=0, description="Rated energy.")]
    soc_min_pct: Annotated[Percent, Meta(description="Lowest SoC in normal operation.")] = 5.0
    soc_max_pct: Annotated[Percent, Meta(description="Highest SoC in normal operation.")] = 95.0
    charge_efficiency: Annotated[
        Fraction, Meta(description="Stored energy per energy taken at the PCS's AC terminals.")
    ] = 0.94
    discharge_efficiency: Annotated[
        Fraction, Meta(description="Energy delivered at the PCS's AC terminals per stored energy.")
    ] = 0.94
    wear_eur_per_kwh: Annotated[
        float, Meta(ge=0, description="Cost of wear per kWh of throughput; charging and discharging both count.")
    ] = 0.01
    replacement_eur_per_kwh: Annotated[
        float,
        Meta(ge=0, description="Cost of replacing it, per kWh of rated energy: what cycle_life uses up a part of."),
    ] = 0.0
    cycle_life: Annotated[
        tuple[tuple[float, float], ...],
        Meta(
            description="[[depth of a cycle, %, cycles to the end of life], ...] of the datasheet, deepest last: the "
            "cost of a cycle by its depth, added to wear_eur_per_kwh. Empty: not counted."
        ),
    ] = ()
    calendar_soc_pct: Annotated[
        Percent, Meta(description="Energy held above this SoC costs calendar_eur_per_kwh_day.")
    ] = 100.0
    calendar_eur_per_kwh_day: Annotated[
        float, Meta(ge=0, description="Cost of ageing while a kWh is held above calendar_soc_pct for a day.")
    ] = 0.0
    balance_every_days: Annotated[
        float,
        Meta(ge=0, le=366, description="So often it is charged to balance_soc_pct, whatever soc_max_pct. 0: never."),
    ] = 0.0
    balance_soc_pct: Annotated[
        Percent, Meta(description="SoC at which its BMS balances the cells and sets its SoC right.")
    ] = 100.0
    balance_hold_s: Annotated[
        float, Meta(ge=0, le=21_600, description="How long it is held there, so that the BMS has the time.")
    ] = 1800.0
    temp_min_c: Annotated[float, Meta(description="Below this temperature the battery is not used.")] = 0.0
    temp_max_c: Annotated[float, Meta(description="Above this temperature the battery is not used.")] = 45.0
    charge_temp_min_c: Annotated[
        float | None, Meta(description="Below this temperature it is not charged. Not given: temp_min_c.")
    ] = None
    charge_temp_max_c: Annotated[
        float | None, Meta(description="Above this temperature it is not charged. Not given: temp_max_c.")
    ] = None
    discharge_temp_min_c: Annotated[
        float | None, Meta(description="Below this temperature it is not discharged. Not given: temp_min_c.")
    ] = None
    discharge_temp_max_c: Annotated[
        float | None, Meta(description="Above this temperature it is not discharged. Not given: temp_max_c.")
    ] = None
    unmonitored_w: Annotated[
        Watts,
        Meta(
            description="Highest power at its terminals while it tells neither a temperature nor a limit of its BMS. "
            "0: it is not used then."
        ),
    ] = 0.0
    isolation_min_ohm: Annotated[
        float,
        Meta(
            ge=0,
            description="While its BMS measures a lower resistance to earth, it is held at 0 W. Its maker says how "
            "much it needs. 0: the resistance is only shown.",
        ),
    ] = 0.0

    @property
    def charge_window_c(self) -> tuple[float, float]:
        """Temperatures between which it may be charged."""
        return _given(self.charge_temp_min_c, self.temp_min_c), _given(self.charge_temp_max_c, self.temp_max_c)

    @property
    def discharge_window_c(self) -> tuple[float, float]:
        """Temperatures between which it may be discharged."""
        return _given(self.discharge_temp_min_c, self.temp_min_c), _given(self.discharge_temp_max_c, self.temp_max_c)


class PcsRatings(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch needs of a `[[pcs]]`."""

    id: Annotated[str, Meta(description="Name of the PCS.")]
    battery: Annotated[str, Meta(description="The `id` of its `[[battery]]`.")]
    charge_w: Annotated[PositiveWatts, Meta(description="Rated charging power at the AC terminals.")]
    discharge_w: Annotated[PositiveWatts, Meta(description="Rated discharging power at the AC terminals.")]


class RulesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[rules]`: how the controller behaves at each tick, and what it does when the grid meter is lost."""

    deadband_w: Annotated[Watts, Meta(description="A setpoint is not changed by less than this.")] = 250.0
    min_write_interval_s: Annotated[Seconds, Meta(description="Shortest time between two setpoints to a PCS.")] = 0.1
    rest_soc_pct: Annotated[
        Percent, Meta(description="SoC to which the battery returns, below the peak, when there is no plan.")
    ] = 60.0
    rest_charge_w: Annotated[Watts, Meta(description="Highest power at which it returns there.")] = 10_000.0
    meter_lost_hold_s: Annotated[
        float, Meta(ge=0, le=5, description="Grid meter lost, on the grid: how long the last setpoint is held.")
    ] = 5.0
    meter_lost_w: Annotated[float, Meta(description="Grid meter lost: battery power afterwards; > 0 discharges.")] = 0.0
    meter_lost_ramp_w_per_s: Annotated[
        PositiveWatts, Meta(description="Grid meter lost: rate at which the battery goes to that power.")
    ] = 20_000.0


class PlanConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[plan]`: how the plan of the next hours is made."""

    enabled: Annotated[bool, Meta(description="false: the rules work without a plan.")] = True
    horizon_h: Annotated[float, Meta(ge=1, le=72, description="How far the plan looks ahead.")] = 36.0
    period_s: Annotated[float, Meta(ge=10, description="Time between two plans.")] = 300.0
    deadline_s: Annotated[float, Meta(gt=0, le=60, description="Longest time that making a plan may take.")] = 5.0
    hysteresis_pct: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="Saving that a new plan must bring to replace the old one, as a share of the energy bill "
            "ahead. 0: it always replaces it.",
        ),
    ] = 0.02
    peak_outlook: Annotated[
        bool,
        Meta(description="true: the peak to keep follows from the last fortnight; false: from the forecast alone."),
    ] = True


class OrdersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[orders]`: how long manual orders may last."""

    default_s: Annotated[float, Meta(ge=1, le=86_400, description="Duration of an order that names none.")] = 900.0
    max_s: Annotated[float, Meta(ge=1, le=7 * 86_400, description="Longest duration of an order.")] = 4 * 3600.0
    soc_target_max_s: Annotated[
        float, Meta(ge=60, le=7 * 86_400, description="Longest time until the moment of an SoC target.")
    ] = 24 * 3600.0


class NodeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch needs of a `[[node]]`."""

    id: str
    critical: bool = False
    cap_w: PositiveWatts | None = None  # the power it is capped to; none: it cannot be capped
    can_suspend: bool = False
    can_shutdown: bool = False
    has_gpus: bool = False  # by the site file; what it shows counts as well
    gpus: int = 0  # 0: as many as it shows
    host_w: float = 0.0  # of a cap, what is left to the host before its GPUs share it
    per_gpu: bool = False  # a cap becomes a limit of each GPU; False: of the node as a whole
    cap_wears: bool = False  # its limit is kept in a memory that takes so many writes and no more
    slowdown_pct: SlowdownPct | None = None  # that its users tolerate; None: as [caps] says
    throughput: tuple[tuple[float, float], ...] = ()  # against power; empty: as [caps] says
    can_stop_starts: bool = False  # and allow them again
    can_requeue: bool = False
    checkpoint_s: float = 0.0  # the time that its jobs have to save before they are requeued
    can_power_off: bool = False  # through its scheduler, once it is empty; and on again
    event_step: Literal["caps", "power-off", "requeue"] = "caps"  # the most that a grid event may ask of it


class MeterTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch needs of a `[[meter]]`."""

    id: str
    side: Literal["grid", "site"]  # of the switch at the PCC


class PvTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch needs of a `[[pv]]`."""

    id: str
    peak_w: float
    rated_w: float | None = None
    curtail: bool = False  # Skerry may limit it

    @property
    def most_w(self) -> float:
        """The most that it can give, W."""
        return self.peak_w if self.rated_w is None else max(self.peak_w, self.rated_w)


class CapsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[caps]`: power caps on deferrable nodes to keep the month's peak and limits of import, down to each `cap_w`."""

    value_eur_per_kwh: Annotated[
        float,
        Meta(
            ge=0,
            description="Value to its users of a kWh that a capped node does not get. With price_eur_per_gpu_hour it "
            "counts for nodes without GPUs only.",
        ),
    ] = 0.0
    price_eur_per_gpu_hour: (
        Annotated[
            float,
            Meta(
                gt=0,
                description="Value to its users of a GPU-hour that is lost as caps slow GPUs down. Given: those caps "
                "are chosen that lose the least, each node within its tier; also where the energy saved is worth more. "
                "Not given: caps are shared by power, at value_eur_per_kwh.",
                extra_json_schema={"x-unit": "EUR/GPU-h"},
            ),
        ]
        | None
    ) = None
    slowdown_pct: (
        Annotated[
            SlowdownPct,
            Meta(
                description="Tier of nodes that name none: the share of their GPUs' throughput that a cap for the peak "
                "may cost. 0: they are not capped. Not given: as deep as cap_w, max_share and the curve go. Needs "
                "price_eur_per_gpu_hour."
            ),
        ]
        | None
    ) = None
    partition_slowdown_pct: Annotated[
        dict[str, SlowdownPct],
        Meta(
            description="Tiers of jobs, by their partition as a [[scheduler]] tells it: `{ debug = 0, long = 10 }`. A "
            "node tolerates no more than the strictest of the jobs on it that hold GPUs."
        ),
    ] = {}
    throughput: Annotated[
        tuple[tuple[float, float], ...],
        Meta(
            max_length=16,
            description="Throughput of a GPU against its power, both as shares of what it has without a cap, rising to "
            "[1.0, 1.0]: `[[0.5, 0.62], [0.7, 0.88], [1.0, 1.0]]`. No cap goes below the first power. Empty: the "
            "published curve, see docs/operation.md.",
        ),
    ] = ()
    gpu_w: Annotated[
        PositiveWatts,
        Meta(description="What a busy GPU draws, for plans and replays, which turn GPU-hours into kWh by it."),
    ] = 400.0
    max_share: Annotated[
        float, Meta(ge=0, le=1, description="Deepest cap, as a share of the load above `idle_w`. 0: no caps.")
    ] = 0.0
    idle_w: Annotated[Watts, Meta(description="Load that no cap reaches: idle servers, cooling, critical nodes.")] = 0.0
    minutes_per_day: Annotated[
        float, Meta(ge=0, le=1440, description="Longest time per day with caps.", extra_json_schema={"x-unit": "min"})
    ] = 1440.0
    ramp_w_per_s: Annotated[Watts, Meta(description="Rate at which a cap may deepen. 0: at once.")] = 0.0


class DispatchConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything dispatch knows of a site that does not change while it runs."""

    grid: GridConfig
    timezone: str
    reserve: ReserveConfig = ReserveConfig()
    batteries: tuple[BatteryConfig, ...] = ()
    pcs: tuple[PcsRatings, ...] = ()  # with what they may be commanded
    nameplates: tuple[PcsRatings, ...] = ()  # the same with what they can do; none given: the same figures
    rules: RulesConfig = RulesConfig()
    plan: PlanConfig = PlanConfig()
    tariff: TariffTerms = TariffTerms()
    caps: CapsConfig = CapsConfig()
    orders: OrdersConfig = OrdersConfig()
    island: IslandConfig = IslandConfig()
    genset: GensetConfig | None = None
    drills: DrillsConfig = DrillsConfig()
    ride_through: RideThroughConfig = RideThroughConfig()
    switches: tuple[str, ...] = ()  # ids of every [[switch]]
    nodes: tuple[NodeTerms, ...] = ()
    meters: tuple[MeterTerms, ...] = ()
    contacts: tuple[ContactTerms, ...] = ()
    contact_steps: tuple[ContactStepTerms, ...] = ()
    pv: tuple[PvTerms, ...] = ()
    planes: tuple[PlaneTerms, ...] = ()  # of every PV inverter, or none
    place: tuple[float, float] | None = None  # latitude and longitude, degrees; north and east are positive

    @property
    def switch_id(self) -> str | None:
        """The switch that may be asked to open and close; None: the site cannot be islanded by us."""
        return self.island.switch or (self.switches[0] if len(self.switches) == 1 else None)

    @property
    def meters_on_bus(self) -> frozenset[str]:
        """Meters on the site's side of the switch: they show the grid only while it is closed."""
        return frozenset(m.id for m in self.meters if m.side == "site")

    @property
    def able_pcs(self) -> tuple[PcsRatings, ...]:
        """Every PCS with what it can do, also where it is not commanded: by itself it knows no cap."""
        return self.nameplates or self.pcs

    @property
    def energy_kwh(self) -> float:
        """Rated energy of all batteries."""
        return sum(b.energy_kwh for b in self.batteries)

    @property
    def curtailable_share(self) -> float:
        """How much of the PV power inverters give that Skerry may limit, 0 to 1, by the most that each can give."""
        most_w = sum(pv.most_w for pv in self.pv)
        return sum(pv.most_w for pv in self.pv if pv.curtail) / most_w if most_w > 0 else 0.0

    @property
    def carries_w(self) -> float:
        """The most that the site's loads can draw: by the fuses, and from all PCS and PV inverters at their best, W."""
        own_w = sum(p.discharge_w for p in self.able_pcs) + sum(pv.most_w for pv in self.pv)
        return self.grid.fuse_w + own_w

    @property
    def charge_w(self) -> float:
        """Rated charging power of all PCS, >= 0."""
        return sum(p.charge_w for p in self.pcs)

    @property
    def discharge_w(self) -> float:
        """Rated discharging power of all PCS, >= 0."""
        return sum(p.discharge_w for p in self.pcs)

    @property
    def reserve_kwh(self) -> float:
        """Energy the critical load takes in the promised hours, at the AC terminals."""
        return self.reserve.hours * self.reserve.critical_load_w / 1000
