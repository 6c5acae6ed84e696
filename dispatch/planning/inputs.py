"""Defines the inputs of a plan, and the error raised when no plan can be made from them."""

from __future__ import annotations

import msgspec

from dispatch.billing.billed_peaks import BilledPeak
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.schema import DispatchConfig
from dispatch.model.balancing import BalanceDue
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.forecast import Forecast
from dispatch.model.job_outlook import ExpectedStart
from dispatch.model.orders import Order
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation
from dispatch.model.signals import Signal
from dispatch.planning.peak.announced import AnnouncedJob, CertainPeak
from dispatch.planning.peak.outlook import PeakOutlook
from dispatch.wording.catalogue import words


class PlanFailed(Exception):
    """No plan could be made, and `why`. The gateway keeps the last good plan, then the rules decide."""

    def __init__(self, why: Reason) -> None:
        super().__init__(words(why))
        self.why = why


class PlanInputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that a plan is made from. `load` and `pv_w` begin at the running quarter; too short, they are held."""

    now_utc_s: float
    config: DispatchConfig
    prices: PriceSeries
    load: Forecast
    jobs_unsure: bool = False  # the load forecast is made with jobs of a queue of which nobody knows how long they run
    jobs_sure: bool = False  # it is made with jobs that all have reserved hours
    pv_w: tuple[float, ...] = ()
    pv_source: Reason | None = None  # what `pv_w` is made from
    co2_g_per_kwh: tuple[float | None, ...] = ()  # of an imported kWh, by step; empty: not told
    soc_pct: float | None = None  # of all batteries, weighted by energy; None: unknown
    depths_kwh: tuple[float, ...] = ()  # stored in each segment of depth (`billing.battery_ageing`); empty: not known
    balance: tuple[BalanceDue, ...] = ()  # batteries that may be charged to their BMS's full mark now
    month_peak_w: float = 0.0  # the running interval's mean that costs nothing (`charge_peaks`)
    next_day_peak_w: float | None = None  # the same for later days of the month; None: no other
    levels: tuple[ChargeLevel, ...] = ()  # what each charge on peaks leaves free; empty: there is only one
    tier_eur_per_kw: dict[str, float] = {}  # by charge, the price of a kW that this plan tries (`lp_tiers`)
    peak_prior_w: float | None = None  # where the month's peak is expected to end (`peak.prior.held_peak_w`)
    billed: tuple[BilledPeak, ...] = ()  # what earlier months were billed, the oldest first
    interval_energy_wh: float | None = None  # import so far in the running metering interval; None: unknown
    interval_least_w: float = 0.0  # the lowest mean with which that interval can still end
    peak: PeakOutlook | None = None  # what the past says of the month's peak; with it the prior is not needed
    announced: tuple[AnnouncedJob, ...] = ()  # jobs with reserved hours, also those beyond the plan
    certain: CertainPeak | None = None  # the peak that these make certain
    reservations: tuple[Reservation, ...] = ()  # what `load` holds of jobs that were promised power
    waiting_w: tuple[float, ...] = ()  # what `load` holds, by step, of jobs that wait in a queue; empty: of none
    expected: tuple[ExpectedStart, ...] = ()  # the largest of those jobs
    orders: tuple[Order, ...] = ()  # that people have given and that stand
    signals: tuple[Signal, ...] = ()  # from outside, that are not over
