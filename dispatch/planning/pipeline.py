"""Runs the planning steps: history, forecasts, linear program, validation.

Reads no clock and uses no threads. The gateway gives it live data (`gateway.planning_service`), the replay recorded
data (`console.replay`), so both make the same plans from the same past.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

import msgspec

from dispatch.billing.battery_ageing import CycleDepths, ageing_of
from dispatch.billing.billed_peaks import evidence, remarks
from dispatch.billing.demand_charge import interval_account, period_utc_s
from dispatch.billing.market_prices import PriceSeries
from dispatch.billing.peak_charges import coming_charges
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig, DispatchConfig
from dispatch.forecasting.clear_sky import Plane, PvSite
from dispatch.forecasting.job_queue import UNLIMITED_S, JobModel, KnownJob
from dispatch.forecasting.load import LATEST_S, PROBES, LoadForecaster
from dispatch.forecasting.pv import PvForecaster
from dispatch.forecasting.pv_by_sun import SunPvForecaster
from dispatch.forecasting.queue_outlook import TOO_OLD_S
from dispatch.forecasting.service_forecast import ServiceForecast
from dispatch.forecasting.sun import Place
from dispatch.model.balancing import BalanceDue
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.forecast import QUARTER_S, Forecast
from dispatch.model.job_outlook import JobOutlook
from dispatch.model.orders import Order
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation, base_w, reserved_w
from dispatch.model.signals import Signal
from dispatch.orders.reservation_book import with_reserved
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.job_notes import job_notes
from dispatch.planning.lp_peaks import levels_of
from dispatch.planning.peak.announced import Announced, AnnouncedJob, CertainPeak, certain_peak
from dispatch.planning.peak.exceedance import DAY, Period
from dispatch.planning.peak.outlook import MEMORY, PeakForecaster
from dispatch.planning.peak.prior import held_peak_w
from dispatch.planning.peak.rise_delay import RiseDelay
from dispatch.planning.planner import Planner
from dispatch.planning.validator import check_plan
from dispatch.power_caps.pricing import linear

FORESEEN_DAYS = 31.0  # what a fortnight's days say of those to come goes no further: seasons are not in them
LEARN_S = 10 * 86400  # of the site's own record, at start
HOUR_STEPS = 4
PRIOR_QUARTERS = 2 * 96  # of net load before its hindsight says more about the month's peak than the contract does


class PlanningState(msgspec.Struct, frozen=True, kw_only=True):
    """The site at the moment of planning."""

    utc_s: float
    load_w: float  # where the PV is not known, the net load
    pv_w: float | None
    soc_pct: float
    month_peak_w: float  # what the running interval may reach at no cost
    interval_energy_wh: float
    interval_least_w: float = 0.0  # the lowest mean with which that interval can still end
    caps: bool = True  # nodes take caps, where the site allows them
    orders: tuple[Order, ...] = ()
    signals: tuple[Signal, ...] = ()
    levels: tuple[ChargeLevel, ...] = ()  # what each charge on peaks leaves free; empty: there is only one
    next_day_peak_w: float | None = None  # what a later day of the month may reach at no cost, where that is another
    balance: tuple[BalanceDue, ...] = ()  # batteries that may be charged to their BMS's full mark now
    billed_before_w: dict[str, float] = {}  # what earlier months on record were billed


class _Quarter(msgspec.Struct):
    """A finished quarter hour, to be handed to the planner's thread."""

    start_s: int
    load_w: float
    path_w: tuple[float, ...]  # forecast at its end of the load of the following day
    base_w: float  # the load without what jobs with reserved hours drew of it
    pv_w: float = 0.0


class PlanSource:
    """Learns finished quarter hours and makes plans. `make` may run in another thread than the rest."""

    def __init__(self, config: DispatchConfig, co2_g_per_kwh: Callable[[float], float | None] | None = None) -> None:
        """`co2_g_per_kwh`: of an imported kWh at an instant; None: the figure of the tariff, if it states one."""
        self._config = config
        self._co2_g_per_kwh = co2_g_per_kwh or (lambda _utc_s: config.tariff.co2_g_per_kwh)
        panels = pv_site(config)
        self._load = LoadForecaster()
        self._pv = PvForecaster(config.timezone) if panels is None else SunPvForecaster(panels)
        self._planner = Planner(config)
        self._peak = PeakForecaster(config)
        self._rises = RiseDelay()
        self._ageing = ageing_of(config)
        self._depths: CycleDepths | None = None  # by the SoC of each plan so far
        self._fed: deque[_Quarter] = deque(maxlen=MEMORY)  # what it has been fed
        self._jobs: JobModel | None = None
        self._known_w: Sequence[float] | None = None  # power of the known jobs from the end of the last quarter on
        self._unlimited = 0  # of those jobs
        self._firm = False  # all of those jobs have reserved hours
        self._announced: tuple[AnnouncedJob, ...] = ()  # those of these jobs that have
        self._outlook: JobOutlook | None = None  # what live queues say; None where there is none
        self._finished: dict[int, _Quarter] = {}  # by start; not handed over to the planner's thread yet
        self._fresh: deque[_Quarter] = deque()  # handed over; `make` may be busy with the ones before
        self._reservations: tuple[Reservation, ...] = ()
        self._base_w: float | None = None  # load without what reserved jobs drew of it, of the last quarter

    def reserve(self, reservations: Sequence[Reservation]) -> None:
        """These stand from now on; those that ended in the running quarter hour must still be among them."""
        self._reservations = tuple(reservations)

    def observe_jobs(self, start_s: int, jobs: Sequence[KnownJob], gpus_total: int | None = None) -> None:
        """Take the jobs known at the end of the quarter hour that began at `start_s`; before `observe_load` of it."""
        self._jobs = self._jobs or JobModel(gpus_total)
        self._known_w = self._jobs.known_w(start_s + QUARTER_S, jobs, max(PROBES))
        self._unlimited = sum(1 for job in jobs if not job.time_limit_s)
        self._firm = all(job.firm for job in jobs)
        self._announced = tuple(announced_jobs(jobs))

    def take_queues(self, outlook: JobOutlook | None) -> None:
        """What the schedulers' queues say now of their jobs; None: nothing that holds any more."""
        self._outlook = outlook
        if outlook is None:
            self._known_w = None

    def jobs_share(self) -> float:
        """How much of what the known jobs change within an hour is in the load forecast, 0..1."""
        return self._load.jobs_share(HOUR_STEPS)[0] or 0.0

    def observe_load(self, start_s: int, w: float, latest_w: float | None = None) -> bool:
        """Take the mean load of the quarter hour that began at `start_s`, W, and that of its end, where it is known.

        Returns False if it is not a new one.
        """
        end_s = start_s + QUARTER_S
        if self._outlook is not None:
            young = self._outlook.queues and abs(end_s - self._outlook.utc_s) <= TOO_OLD_S
            self._known_w = self._outlook.known_w(end_s) if young else None
        self._base_w = base_w(w, reserved_w(self._reservations, start_s, end_s), self._base_w)
        if latest_w is not None:  # a job that began in this quarter draws more at its end than in its mean
            latest_w = base_w(latest_w, reserved_w(self._reservations, end_s - LATEST_S, end_s), self._base_w)
        if not self._load.observe(start_s, self._base_w, self._known_w, latest_w, self._firm):
            return False
        path = with_reserved(self._load.predict(end_s, DAY, known_w=self._known_w), self._reservations, end_s)
        drawn_w = self._known_w[0] if self._firm and self._known_w else 0.0
        self._finished[start_s] = _Quarter(start_s, w, path.load_w, max(0.0, self._base_w - drawn_w))
        if len(self._finished) > MEMORY:
            del self._finished[next(iter(self._finished))]
        return True

    def observe_pv(self, start_s: int, w: float) -> bool:
        """Take the mean PV power of the quarter hour that began at `start_s`, W; False if it is not a new one."""
        if start_s in self._finished:
            self._finished[start_s].pv_w = w
        return self._pv.observe(start_s, w)

    @property
    def pv_by_sun(self) -> bool:
        """Whether PV is forecast by the sun: then hours in which it was limited say nothing of it."""
        return isinstance(self._pv, SunPvForecaster)

    def clearness(self, quarter: int) -> float | None:
        """Of a clear sky, what a weather service expected of a quarter hour; None: nothing is known of it."""
        return self._pv.clearness(quarter) if isinstance(self._pv, SunPvForecaster) else None

    def take_service(self, forecast: ServiceForecast) -> None:
        """A weather service has told what PV it expects."""
        if isinstance(self._pv, SunPvForecaster):
            self._pv.take_service(forecast)

    def assume_pv(self, start_s: int, w: float) -> None:
        """Take this as the mean PV power of a quarter hour in which it was not measured; nothing is learnt from it."""
        if start_s in self._finished:
            self._finished[start_s].pv_w = w

    def usual_pv_w(self, utc_s: float) -> float:
        """What the PV's own recent days let expect at this moment, W; 0 before there are any."""
        return self._pv.predict(int(utc_s), 1)[0]

    def inputs(self, now: PlanningState, prices: PriceSeries) -> PlanInputs:
        """What a plan at this moment is made from; what the past says of the peak is added by `make`."""
        self._fresh.extend(self._finished.values())
        self._finished.clear()
        start_s = int(now.utc_s // QUARTER_S) * QUARTER_S
        steps = int(self._config.plan.horizon_h * 4)
        pv_w = self._pv.predict(start_s, steps, now_w=now.pv_w)
        load_w = now.load_w if now.pv_w is not None else max(0.0, now.load_w + pv_w[0])
        now_w = base_w(load_w, reserved_w(self._reservations, now.utc_s, now.utc_s), self._base_w)
        self._base_w = now_w if self._base_w is None else self._base_w
        usual_w = (
            self._config.grid.contracted_peak_w
        )  # of the load without reserved jobs, which is what is forecast here

        def forecast(known_w: Sequence[float] | None) -> Forecast:
            return self._load.predict(start_s, steps, now_w=now_w, known_w=known_w, usual_most_w=usual_w)

        known_w = self._known_ahead(start_s, now.utc_s)
        base = forecast(known_w)
        load = with_reserved(base, self._reservations, now.utc_s)
        notes = [*load.notes]
        if now.pv_w is None:
            notes.append(Reason("plan.pv_unknown"))
        running = _running_period(now.utc_s, self._config)
        notes += [*self._job_notes(now.utc_s), *remarks(self._config, running)]
        waiting_w: tuple[float, ...] = ()
        if self._outlook is not None and any(self._outlook.waiting_w):
            alone = forecast(self._known_ahead(start_s, now.utc_s, waiting=False))
            waiting_w = tuple(max(0.0, a - b) for a, b in zip(base.load_w, alone.load_w, strict=True))
        load = msgspec.structs.replace(load, notes=tuple(notes))
        return PlanInputs(
            now_utc_s=now.utc_s,
            config=msgspec.structs.replace(self._config, caps=linear(self._config.caps) if now.caps else CapsConfig()),
            prices=prices,
            load=load,
            jobs_unsure=known_w is not None and not self._firm,
            jobs_sure=known_w is not None and self._all_announced(),
            pv_w=pv_w,
            pv_source=self._pv.source(now.utc_s),
            co2_g_per_kwh=tuple(self._co2_g_per_kwh(start_s + k * QUARTER_S) for k in range(steps)),
            soc_pct=now.soc_pct,
            balance=now.balance,
            depths_kwh=self._cycle_depths(now.soc_pct),
            month_peak_w=now.month_peak_w,
            next_day_peak_w=now.next_day_peak_w,
            levels=now.levels,
            billed=evidence(self._config, now.billed_before_w, running),
            interval_energy_wh=now.interval_energy_wh,
            interval_least_w=now.interval_least_w,
            announced=(*self._announced, *map(_of_reservation, self._reservations)),
            reservations=self._reservations,
            waiting_w=waiting_w,
            expected=self._outlook.starts if self._outlook is not None and waiting_w else (),
            orders=now.orders,
            signals=now.signals,
        )

    def _all_announced(self) -> bool:
        """Whether every job that is known has reserved hours: of a live queue, one at least and no other."""
        if self._outlook is None:
            return self._firm
        counts = self._outlook.counts
        return bool(self._reservations) and not counts.running and not counts.expected

    def _cycle_depths(self, soc_pct: float) -> tuple[float, ...]:
        """The energy in each segment of depth, kWh; empty where ageing has no price."""
        if self._ageing is None:
            return ()
        stored_kwh = soc_pct / 100 * self._config.energy_kwh
        self._depths = self._depths or CycleDepths(self._ageing, stored_kwh)
        self._depths.follow(stored_kwh)
        return tuple(self._depths.filled_kwh)

    def _known_ahead(self, start_s: int, now_utc_s: float, waiting: bool = True) -> Sequence[float] | None:
        """Power of the known jobs as the load forecast takes it: from the end of the last quarter hour observed on.

        None while no queue is young enough. Where the quarter hours before the running one were not observed, as many
        are put in front in which nothing changed: then the load of this moment is what the forecast starts from.
        `waiting` false: as if no waiting job ever started.
        """
        outlook = self._outlook
        if outlook is None:
            return self._known_w
        if not outlook.queues or abs(now_utc_s - outlook.utc_s) > TOO_OLD_S:
            return None
        end_s = self._load.end_utc_s or start_s
        gap = max(0, (outlook.end_utc_s - end_s) // QUARTER_S)
        known_w = outlook.known_w(end_s + gap * QUARTER_S, waiting)
        return None if known_w is None else (known_w[0],) * gap + known_w

    def _job_notes(self, now_utc_s: float) -> list[Reason]:
        outlook, notes, unlimited = self._outlook, list[Reason](), self._unlimited
        if outlook is not None:
            age_s = now_utc_s - outlook.utc_s
            old_s = None if abs(age_s) <= TOO_OLD_S else age_s
            notes = job_notes(outlook, *self._load.jobs_share(HOUR_STEPS), ZoneInfo(self._config.timezone), old_s)
            unlimited = 0 if old_s is not None else outlook.counts.unlimited
        if unlimited:
            notes.append(Reason("plan.unlimited_jobs", {"jobs": unlimited, "days": UNLIMITED_S / 86400}))
        return notes

    def begin_anew(self) -> None:
        """Make the next plan with another solver: a call of `make` hangs, and keeps the one it has."""
        self._planner = Planner(self._config)

    def _feed_peak(self, main: DemandTerms) -> None:
        """Hand the finished quarter hours to the peak's forecaster; where another charge is the main one, to a new one,
        with those before.
        """
        if main != self._peak.terms:
            self._peak = PeakForecaster(self._config, main)
            self._fresh.extendleft(reversed(self._fed))
            self._fed.clear()
        while self._fresh:
            quarter = self._fresh.popleft()
            self._peak.observe(quarter.start_s, quarter.load_w, quarter.pv_w, quarter.path_w)
            self._fed.append(quarter)

    def make(self, inputs: PlanInputs, before: Plan | None = None) -> tuple[Plan, list[str]]:
        """A plan, and what its check finds wrong with it. Raises PlanFailed. `before`: the one in force.

        The month's peak is expected where the battery could have held it of late. A new site is taken to draw no more
        than is forecast now, and no more than its contract: charging must not be what sets its first month's peak.
        """
        config, outlook = self._config, None
        ahead_w = [load_w - pv_w for load_w, pv_w in zip(inputs.load.load_w, inputs.pv_w, strict=True)]
        prior_w = min(config.grid.contracted_peak_w, max(0.0, *ahead_w))
        self._feed_peak(coming_charges(config, inputs.now_utc_s)[0])
        self._peak.caps = inputs.config.caps
        certain = self._certain_peak(inputs) if inputs.announced else None
        if config.plan.peak_outlook:
            period = left_of_period(inputs.now_utc_s, config)
            outlook = self._peak.outlook(
                len(inputs.load.load_w),
                inputs.soc_pct or 0.0,
                levels_of(inputs)[0][1].free_w,
                min(FORESEEN_DAYS, period.share_left * period.length_days),
                inputs.prices,
                inputs.load.load_w,
                inputs.pv_w,
                inputs.billed,
                period,
                certain.least_w if certain is not None else 0.0,
            )
        if outlook is not None and inputs.jobs_unsure:
            target_w = self._rises.lowest_w(inputs.now_utc_s, outlook.target_w)
            outlook = msgspec.structs.replace(outlook, target_w=target_w)
        net_w = self._peak.net_w() if outlook is None else []
        if len(net_w) >= PRIOR_QUARTERS:
            prior_w = held_peak_w(net_w, config)
        inputs = msgspec.structs.replace(inputs, peak_prior_w=prior_w, peak=outlook, certain=certain)
        plan = self._planner.solve(inputs, before)
        return plan, check_plan(plan, inputs)

    def _certain_peak(self, inputs: PlanInputs) -> CertainPeak | None:
        """What the announced jobs make of the running period's peak.

        None before a day is known to set them against, and where caps may take from what they draw.
        """
        terms = coming_charges(self._config, inputs.now_utc_s)[0]
        if len(self._fed) < DAY or terms.top_days > 1 or terms.adds or inputs.config.caps.max_share > 0:
            return None
        sun_w = [0.0] * DAY
        for quarter in self._fed:
            place = quarter.start_s // QUARTER_S % DAY
            sun_w[place] = max(sun_w[place], quarter.pv_w)
        base_w = min(quarter.base_w for quarter in self._fed)
        _, end_s = period_utc_s(terms, self._config.timezone, inputs.now_utc_s)

        def counts(start_s: int) -> bool:
            return not terms.windows or interval_account(terms, self._config.timezone, start_s).counts

        announced = Announced(inputs.announced, base_w, tuple(sun_w))
        return certain_peak(announced, inputs.now_utc_s, end_s, self._config, counts)


def announced_jobs(jobs: Iterable[KnownJob]) -> Iterator[AnnouncedJob]:
    """Those that have reserved hours, running ones among them."""
    for job in jobs:
        start_s = job.started_utc_s if job.started_utc_s is not None else job.announced_utc_s
        if job.firm and start_s is not None and job.time_limit_s:
            yield AnnouncedJob(job.id, start_s, start_s + job.time_limit_s, job.power_w)


def _of_reservation(of: Reservation) -> AnnouncedJob:
    return AnnouncedJob(of.id, of.start_utc_s, of.end_utc_s, of.power_w)


def pv_site(config: DispatchConfig, pv_id: str | None = None) -> PvSite | None:
    """The panels of one PV inverter, or of all; None where the site file does not say how they look."""
    planes = tuple(
        Plane(plane.tilt_deg, plane.azimuth_deg, plane.peak_w)
        for plane in config.planes
        if pv_id is None or plane.pv == pv_id
    )
    return PvSite(Place(*config.place), planes) if planes and config.place is not None else None


def _running_period(utc_s: float, config: DispatchConfig) -> str:
    """The period of the main charge that an instant is in, "2025-09" or "2025"."""
    return interval_account(coming_charges(config, utc_s)[0], config.timezone, utc_s).period


def left_of_period(utc_s: float, config: DispatchConfig) -> Period:
    """How much of the running period of the main charge is still to come, and how long it is."""
    begin_s, end_s = period_utc_s(coming_charges(config, utc_s)[0], config.timezone, utc_s)
    return Period((end_s - utc_s) / (end_s - begin_s), (end_s - begin_s) / 86400)
