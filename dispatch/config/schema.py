"""The sections of the site file that decide: grid, reserve, battery, PCS ratings, planning, safe values.

Every field's unit is its suffix. `msgspec.Meta` holds the allowed range; `consistency.py` what spans keys.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.demand_terms import DemandTerms

Watts = Annotated[float, Meta(ge=0)]
PositiveWatts = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(gt=0, le=1)]


class GridConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[grid]`: the connection at the PCC."""

    fuse_a: Annotated[float, Meta(gt=0)]  # per phase
    voltage_v: Annotated[float, Meta(ge=90, le=300)] = 230.0  # phase to neutral
    phases: Literal[1, 3] = 3
    export_limit_w: Watts = 0.0
    contracted_peak_w: PositiveWatts
    metering_interval_s: Literal[900, 1800, 3600] = 900
    interval_offset_s: Annotated[float, Meta(ge=-60, le=60)] = 0.0  # the utility meter's clock minus ours
    interval_guard_s: Annotated[float, Meta(ge=0, le=30)] = 2.0
    ramp_w_per_s: Annotated[float, Meta(ge=0)] = 0.0  # 0: no ramp limit at the PCC
    meter_delay_min_s: Seconds = 0.0  # proven at commissioning: how old a reading is when it arrives
    meter_delay_max_s: Annotated[float, Meta(ge=0, le=10)] = 2.0

    @property
    def fuse_w(self) -> float:
        """What the fuses carry at nominal voltage, all phases, unity power factor."""
        return self.fuse_a * self.voltage_v * self.phases


class ReserveConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[reserve]`: energy kept for ride-through, hours x critical load (with cooling and network)."""

    hours: Annotated[float, Meta(ge=0, le=72)] = 0.0
    critical_load_w: Watts = 0.0


class BatteryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[[battery]]`."""

    id: str
    energy_kwh: Annotated[float, Meta(gt=0)]
    soc_min_pct: Percent = 5.0
    soc_max_pct: Percent = 95.0
    charge_efficiency: Fraction = 0.94
    discharge_efficiency: Fraction = 0.94
    wear_eur_per_kwh: Annotated[float, Meta(ge=0)] = 0.01  # per kWh of throughput, charge and discharge both counted
    temp_min_c: float = 0.0  # outside these temperatures the battery is not charged or discharged
    temp_max_c: float = 45.0


class PcsRatings(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch needs of a `[[pcs]]`."""

    id: str
    battery: str
    charge_w: PositiveWatts
    discharge_w: PositiveWatts


class RulesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[rules]`: how the tick behaves."""

    deadband_w: Watts = 250.0  # a setpoint is left alone while it is this close
    min_write_interval_s: Seconds = 0.1
    rest_soc_pct: Percent = 60.0  # without a plan the battery returns here, under the peak
    rest_charge_w: Watts = 10_000.0  # and no faster than this
    meter_lost_hold_s: Annotated[float, Meta(ge=0, le=5)] = 5.0
    meter_lost_w: float = 0.0  # grid-tied, meter lost: then the battery goes to this power
    meter_lost_ramp_w_per_s: PositiveWatts = 20_000.0


class PlanConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[plan]`."""

    enabled: bool = True
    horizon_h: Annotated[float, Meta(ge=1, le=72)] = 36.0
    period_s: Annotated[float, Meta(ge=10)] = 300.0  # between solves
    deadline_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    hysteresis_pct: Annotated[float, Meta(ge=0, le=10)] = 0.02  # of the energy bill ahead, to change a plan; 0: always
    peak_outlook: bool = True  # the peak to hold from the last fortnight's days; false: from the forecast alone


class OrdersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[orders]`: how long manual orders may last."""

    default_s: Annotated[float, Meta(ge=1, le=86_400)] = 900.0
    max_s: Annotated[float, Meta(ge=1, le=7 * 86_400)] = 4 * 3600.0
    soc_target_max_s: Annotated[float, Meta(ge=60, le=7 * 86_400)] = 24 * 3600.0  # a SoC target lasts until its time


class TariffTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a bill of a price: fees and tax per kWh, VAT, export margin, the demand charge."""

    fee_eur_per_kwh: float = 0.0
    tax_eur_per_kwh: float = 0.0
    vat_pct: Percent = 0.0
    export_margin_eur_per_kwh: float = 0.0
    demand_eur_per_kw_month: Annotated[float, Meta(ge=0)] = 0.0  # on the month's highest metering interval
    demand: DemandTerms | None = None  # [tariff.demand]: every other kind of demand charge, instead of that key

    @property
    def demand_terms(self) -> DemandTerms:
        """The demand charge, however it is written."""
        return self.demand or DemandTerms(eur_per_kw=self.demand_eur_per_kw_month)

    def import_eur_per_kwh(self, market_eur_per_mwh: float) -> float:
        """What an imported kWh costs, fees, tax and VAT included."""
        return (market_eur_per_mwh / 1000 + self.fee_eur_per_kwh + self.tax_eur_per_kwh) * (1 + self.vat_pct / 100)

    def export_eur_per_kwh(self, market_eur_per_mwh: float) -> float:
        """What an exported kWh earns."""
        return market_eur_per_mwh / 1000 - self.export_margin_eur_per_kwh


class IslandConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[island]`: what Skerry asks of switch and PCS, and by which grid code. It never protects: see DESIGN."""

    switch: str = ""  # the [[switch]] that may be asked; empty: the only one
    profile: Literal["vde-ar-n-4105", "en-50549-1"] = "vde-ar-n-4105"  # check with your operator; own figures below
    v_low_pct: Annotated[float, Meta(ge=50, le=100)] | None = None
    v_high_pct: Annotated[float, Meta(ge=100, le=130)] | None = None
    hz_low: Annotated[float, Meta(ge=45, le=60)] | None = None
    hz_high: Annotated[float, Meta(ge=50, le=65)] | None = None
    wait_s: Annotated[float, Meta(ge=0, le=3600)] | None = None
    gradient_pct_per_min: Annotated[float, Meta(gt=0, le=6000)] | None = None
    # After an outage: "permit", the switch waits for our permission; "device", it comes back by itself, we only watch.
    reclose: Literal["permit", "device"] = "permit"
    prepare_w: PositiveWatts = 1_000.0  # a drill opens the switch with at most this much import or export
    prepare_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 180.0
    ramp_w_per_s: PositiveWatts = 2_000.0  # of import: before a drill opens, and after the switch has closed
    open_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # until the contacts confirm
    form_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # until a PCS forms once the switch is open
    sync_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 300.0  # until bus and grid are in step, after the wait
    close_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 60.0  # until the device has synchronised and closed
    black_start_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 60.0
    attempts: Annotated[int, Meta(ge=1, le=20)] = 5  # closings asked for in vain before it is a fault
    flap_s: Seconds = 600.0  # a grid that goes again so soon after it came back has the wait doubled
    backoff_max_s: Seconds = 1_800.0
    drill_minutes_max: Annotated[float, Meta(gt=0, le=600)] = 60.0
    drill_floor_pct: Percent | None = None  # SoC that a drill must leave; none: the reserve's


class DrillsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[drills]`: when a rehearsal is due. Without a schedule none ever is."""

    schedule: str = ""  # see drill_schedule.py; in the site's local time
    minutes: Annotated[float, Meta(gt=0, le=600)] = 10.0
    unattended: bool = False  # True: it begins by itself when due; else it is announced, and a person starts it
    window_h: Annotated[float, Meta(gt=0, le=72)] = 8.0  # after so long a drill that was due counts as missed


class RideThroughConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[ride_through]`: how the promised hours of `[reserve]` are kept."""

    enabled: bool = True
    cutoff_pct: Percent = 2.0  # true SoC at which the battery gives up
    soc_error_pct: Annotated[float, Meta(ge=0, le=20)] = 5.0  # how wrong the BMS may be before it recalibrates
    margin: Annotated[float, Meta(ge=1, le=3)] = 1.10  # runtime wanted over what is still promised
    settle_s: Seconds = 60.0  # between two steps of the ladder, so that each shows its effect
    undo_s: Seconds = 60.0  # between two steps back
    overload: Fraction = 0.92  # of what PCS and battery can give: above it the next step comes at once
    shutdown_s: Annotated[float, Meta(ge=0, le=7200)] = 300.0  # an orderly shutdown of every node takes this long


class NodeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatch needs of a `[[node]]`."""

    id: str
    critical: bool = False
    cap_w: PositiveWatts | None = None  # the power it is capped to; none: it cannot be capped
    can_suspend: bool = False
    can_shutdown: bool = False


class CapsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[caps]`: what GPU caps may do for the month's peak; live, on deferrable nodes with a `cap_w`, down to that."""

    value_eur_per_kwh: Annotated[float, Meta(ge=0)] = 0.0  # what a kWh not delivered to GPUs is worth to their users
    max_share: Annotated[float, Meta(ge=0, le=1)] = 0.0  # of the load above idle_w; 0: no caps
    idle_w: Watts = 0.0  # load that no cap reaches: idle servers, cooling, critical nodes
    minutes_per_day: Annotated[float, Meta(ge=0, le=1440)] = 1440.0
    ramp_w_per_s: Watts = 0.0  # how fast a cap may deepen; 0: at once


class DispatchConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything dispatch knows of a site that does not change while it runs."""

    grid: GridConfig
    timezone: str
    reserve: ReserveConfig = ReserveConfig()
    batteries: tuple[BatteryConfig, ...] = ()
    pcs: tuple[PcsRatings, ...] = ()
    rules: RulesConfig = RulesConfig()
    plan: PlanConfig = PlanConfig()
    tariff: TariffTerms = TariffTerms()
    caps: CapsConfig = CapsConfig()
    orders: OrdersConfig = OrdersConfig()
    island: IslandConfig = IslandConfig()
    drills: DrillsConfig = DrillsConfig()
    ride_through: RideThroughConfig = RideThroughConfig()
    switches: tuple[str, ...] = ()  # ids of every [[switch]]
    nodes: tuple[NodeTerms, ...] = ()

    @property
    def switch_id(self) -> str | None:
        """The switch that may be asked to open and close; None: the site cannot be islanded by us."""
        return self.island.switch or (self.switches[0] if len(self.switches) == 1 else None)

    @property
    def drill_floor_pct(self) -> float:
        """SoC that a drill must leave."""
        own = self.island.drill_floor_pct
        return self.reserve_soc_pct if own is None else own

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

    @property
    def full_soc_pct(self) -> float:
        """SoC of all batteries together with each at its soc_max."""
        return sum(b.soc_max_pct * b.energy_kwh for b in self.batteries) / self.energy_kwh if self.batteries else 0.0

    @property
    def reserve_soc_pct(self) -> float:
        """SoC that must be left for ride-through: soc_min plus the reserve through the discharge efficiency.

        Of all batteries together, each with its own soc_min, the least efficient for all.
        """
        if not self.batteries:
            return 0.0
        lowest = sum(b.soc_min_pct * b.energy_kwh for b in self.batteries) / self.energy_kwh
        worst = min(b.discharge_efficiency for b in self.batteries)
        return lowest + 100 * self.reserve_kwh / (worst * self.energy_kwh)
