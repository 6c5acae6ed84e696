"""Defines the sections of the site file that dispatch uses, from `[grid]` to `[caps]`.

The suffix of a key is its unit. `Meta` holds the allowed range and the meaning of a key; the reference in `docs/` and
the JSON Schema are made from both. Rules that span several keys: `cross_checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.contact_terms import ContactTerms
from dispatch.config.tariff_terms import TariffTerms

Watts = Annotated[float, Meta(ge=0)]
PositiveWatts = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(gt=0, le=1)]


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
        Literal[900, 1800, 3600], Meta(description="Length of the utility meter's metering interval.")
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
    meter_delay_min_s: Annotated[
        Seconds, Meta(description="Shortest age of a grid reading when it arrives, measured at commissioning.")
    ] = 0.0
    meter_delay_max_s: Annotated[
        float,
        Meta(ge=0, le=10, description="Longest age of a grid reading when it arrives, measured at commissioning."),
    ] = 2.0

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


class IslandConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[island]`: what Skerry may ask of the switch and the PCS, and by which grid code. It never protects."""

    switch: Annotated[str, Meta(description="The `id` of the `[[switch]]` that may be asked. Empty: the only one.")] = (
        ""
    )
    profile: Annotated[
        Literal["vde-ar-n-4105", "en-50549-1"],
        Meta(
            description="Grid code whose reconnection window, wait and gradient apply. Check them with your grid "
            "operator; the next six keys replace single figures."
        ),
    ] = "vde-ar-n-4105"
    v_low_pct: (
        Annotated[float, Meta(ge=50, le=100, description="Reconnection window: lowest voltage, of nominal.")] | None
    ) = None
    v_high_pct: (
        Annotated[float, Meta(ge=100, le=130, description="Reconnection window: highest voltage, of nominal.")] | None
    ) = None
    hz_low: (
        Annotated[
            float,
            Meta(
                ge=45, le=60, description="Reconnection window: lowest frequency.", extra_json_schema={"x-unit": "Hz"}
            ),
        ]
        | None
    ) = None
    hz_high: (
        Annotated[
            float,
            Meta(
                ge=50, le=65, description="Reconnection window: highest frequency.", extra_json_schema={"x-unit": "Hz"}
            ),
        ]
        | None
    ) = None
    wait_s: (
        Annotated[float, Meta(ge=0, le=3600, description="How long the grid must be inside the window before closing.")]
        | None
    ) = None
    gradient_pct_per_min: (
        Annotated[
            float,
            Meta(gt=0, le=6000, description="Rate at which export may rise after closing, of rated discharge power."),
        ]
        | None
    ) = None
    reclose: Annotated[
        Literal["permit", "device"],
        Meta(
            description='After an outage: "permit": the switch waits for Skerry\'s permission to close; "device": it '
            "closes by itself and Skerry only observes."
        ),
    ] = "permit"
    prepare_w: Annotated[
        PositiveWatts, Meta(description="A drill opens the switch at this import or export at most.")
    ] = 1_000.0
    prepare_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="A drill that is not below `prepare_w` by then is aborted.")
    ] = 180.0
    ramp_w_per_s: Annotated[
        PositiveWatts, Meta(description="Ramp of import before a drill opens the switch and after it has closed.")
    ] = 2_000.0
    open_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="Until the contacts must confirm that the switch is open.")
    ] = 5.0
    form_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="Until a PCS must form the grid once the switch is open.")
    ] = 5.0
    sync_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="After the wait: until bus and grid must be in step.")
    ] = 300.0
    close_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="Until the switch must have synchronised and closed.")
    ] = 60.0
    black_start_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="Until a PCS must form the grid in a black start.")
    ] = 60.0
    attempts: Annotated[
        int, Meta(ge=1, le=20, description="Failed attempts to close the switch after which a fault is declared.")
    ] = 5
    flap_s: Annotated[
        Seconds, Meta(description="The wait doubles if the grid is lost again within this time of its return.")
    ] = 600.0
    backoff_max_s: Annotated[Seconds, Meta(description="Upper limit of the doubled wait.")] = 1_800.0
    drill_minutes_max: Annotated[
        float, Meta(gt=0, le=600, description="Longest drill.", extra_json_schema={"x-unit": "min"})
    ] = 60.0
    drill_floor_pct: (
        Annotated[Percent, Meta(description="SoC that a drill must leave. Not given: the SoC of the reserve.")] | None
    ) = None


class GensetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[genset]`: a generator that the switch at the PCC puts in the grid's place.

    The grid meter measures it: it must be on the site's side of the switch, where the generator's power shows as
    import. The switch starts, stops and changes over by itself, and tells which source feeds the site.
    """

    rated_w: Annotated[PositiveWatts, Meta(description="Power that it can give for as long as it runs.")]
    min_load_w: Annotated[
        Watts, Meta(description="Lowest power at which it may run for long, by its maker. PV and battery keep to it.")
    ] = 0.0
    margin_pct: Annotated[
        float, Meta(ge=0, le=90, description="Share of rated_w that charging the battery leaves free.")
    ] = 10.0

    @property
    def charge_up_to_w(self) -> float:
        """Its power up to which the battery may be charged, W."""
        return self.rated_w * (1 - self.margin_pct / 100)


class DrillsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[drills]`: when an outage is to be rehearsed. Without a schedule no drill is ever due."""

    schedule: Annotated[
        str,
        Meta(
            description="When a drill is due, in local time: `weekly`, `monthly` or `quarterly`; then, unless weekly, "
            "`first` to `fourth` or `last`; a weekday; a time; optionally a condition. Example: `monthly, first "
            "Tuesday 10:00, only if the forecast leaves the reserve`. Empty: never."
        ),
    ] = ""
    minutes: Annotated[
        float, Meta(gt=0, le=600, description="How long a drill holds.", extra_json_schema={"x-unit": "min"})
    ] = 10.0
    unattended: Annotated[
        bool,
        Meta(description="true: a drill that is due starts by itself; false: it is announced and a person starts it."),
    ] = False
    window_h: Annotated[
        float, Meta(gt=0, le=72, description="How long a drill stays due; afterwards it counts as missed.")
    ] = 8.0


class RideThroughConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[ride_through]`: how nodes are capped, suspended and shut down off the grid to keep the hours of `[reserve]`."""

    enabled: Annotated[bool, Meta(description="false: no node is capped, suspended or shut down.")] = True
    cutoff_pct: Annotated[Percent, Meta(description="True SoC at which the battery stops.")] = 2.0
    soc_error_pct: Annotated[
        float, Meta(ge=0, le=20, description="Largest error of the BMS's SoC before it recalibrates.")
    ] = 5.0
    margin: Annotated[
        float, Meta(ge=1, le=3, description="Remaining runtime wanted, as a multiple of the hours still promised.")
    ] = 1.10
    settle_s: Annotated[Seconds, Meta(description="Time between two steps, so that each shows its effect.")] = 60.0
    undo_s: Annotated[Seconds, Meta(description="Time between two steps taken back.")] = 60.0
    overload: Annotated[
        Fraction, Meta(description="Share of the available power above which the next step is taken at once.")
    ] = 0.92
    shutdown_s: Annotated[
        float, Meta(ge=0, le=7200, description="How long an orderly shutdown of all nodes takes.")
    ] = 300.0


class NodeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch needs of a `[[node]]`."""

    id: str
    critical: bool = False
    cap_w: PositiveWatts | None = None  # the power it is capped to; none: it cannot be capped
    can_suspend: bool = False
    can_shutdown: bool = False


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
    """`[caps]`: power caps on deferrable nodes to keep the month's peak, down to the `cap_w` of each node."""

    value_eur_per_kwh: Annotated[
        float, Meta(ge=0, description="Value to its users of a kWh that a capped node does not get.")
    ] = 0.0
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
    pv: tuple[PvTerms, ...] = ()

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
