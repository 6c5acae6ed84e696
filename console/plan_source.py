"""What plans are made of and from: the site's own past, the forecasts, the linear program, the check of its answer.

Knows neither clock nor threads. The gateway feeds it live (`console.planning`), the replay from recorded traces
(`console.replay`); so both make the very same plans of the same past.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config import DispatchConfig
from dispatch.demand import place
from dispatch.forecast import PROBES, LoadForecaster, PvForecaster, held_peak_w
from dispatch.jobs import JobModel, KnownJob
from dispatch.model import Plan
from dispatch.peak import MEMORY, PeakWatch
from dispatch.plan_check import check_plan
from dispatch.planner import PlanInputs, Planner, day_trade_eur_per_kwh
from dispatch.reservations import Reservation, base_w, reserved_w, with_reserved
from dispatch.tariff import PriceSeries

QUARTER_S = 900
FORESEEN_DAYS = 31.0  # what a fortnight's days say of those to come goes no further: seasons are not in them
LEARN_S = 10 * 86400  # of the site's own record, at start
PRIOR_QUARTERS = 2 * 96  # of net load before its hindsight says more about the month's peak than the contract does


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The site at the moment of planning."""

    utc_s: float
    load_w: float
    pv_w: float
    soc_pct: float
    month_peak_w: float
    interval_energy_wh: float
    next_day_peak_w: float | None = None  # what a later day of the month may reach at no cost, where that is another


class PlanSource:
    """Learns finished quarter hours and makes plans. `make` may run in another thread than the rest."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self._load, self._pv = LoadForecaster(), PvForecaster(config.timezone)
        self._loads_w: dict[int, float] = {}
        self._pvs_w: dict[int, float] = {}
        self._planner = Planner(config)
        self._peak = PeakWatch(config)
        self._jobs: JobModel | None = None
        self._known_w: list[float] | None = None  # power of the known jobs from the last quarter on
        self._peak_s = -1  # the newest quarter handed over to it
        # start, load and PV of those handed over; `make` may be busy in its thread
        self._fresh: deque[tuple[int, float, float]] = deque(maxlen=MEMORY)
        self._latest_w: float | None = None  # load of the newest one it has seen
        self._reservations: tuple[Reservation, ...] = ()
        self._base_w: float | None = None  # load without what reserved jobs drew of it, of the last quarter

    def reserve(self, reservations: Sequence[Reservation]) -> None:
        """These stand from now on; those that ended in the running quarter hour must still be among them."""
        self._reservations = tuple(reservations)

    def observe_jobs(self, start_s: int, jobs: Sequence[KnownJob], gpus_total: int | None = None) -> None:
        """Take the jobs known at the end of the quarter hour that began at `start_s`; before `observe_load` of it."""
        self._jobs = self._jobs or JobModel(gpus_total)
        now_s = start_s + QUARTER_S
        self._jobs.observe(now_s, jobs)
        ahead = range(now_s, now_s + QUARTER_S * (max(PROBES) + 1), QUARTER_S)
        running_w = sum(job.power_w for job in jobs if job.started_utc_s is not None)
        self._known_w = [running_w, *self._jobs.load_w(now_s, jobs, ahead)]

    def observe_load(self, start_s: int, w: float) -> bool:
        """Take the mean load of the quarter hour that began at `start_s`, W; False if it is not a new one."""
        self._loads_w[start_s] = w
        promised_w = reserved_w(self._reservations, start_s, start_s + QUARTER_S)
        self._base_w = base_w(w, promised_w, self._base_w)
        return self._load.observe(start_s, self._base_w, self._known_w)

    def observe_pv(self, start_s: int, w: float) -> bool:
        """Take the mean PV power of the quarter hour that began at `start_s`, W; False if it is not a new one."""
        self._pvs_w[start_s] = w
        return self._pv.observe(start_s, w)

    def inputs(self, now: Now, prices: PriceSeries) -> PlanInputs:
        """What a plan at this moment is made from; what the past says of the peak is added by `make`."""
        if self._config.plan.peak_outlook:
            for quarter_s in sorted(s for s in self._loads_w if s > self._peak_s):
                self._fresh.append((quarter_s, self._loads_w[quarter_s], self._pvs_w.get(quarter_s, 0.0)))
                self._peak_s = quarter_s
        start_s = int(now.utc_s // QUARTER_S) * QUARTER_S
        steps = int(self._config.plan.horizon_h * 4)
        now_w = base_w(now.load_w, reserved_w(self._reservations, now.utc_s, now.utc_s), self._base_w)
        self._base_w = now_w if self._base_w is None else self._base_w
        base = self._load.predict(start_s, steps, now_w=now_w, known_w=self._known_w)
        return PlanInputs(
            now_utc_s=now.utc_s,
            config=self._config,
            prices=prices,
            load=with_reserved(base, self._reservations, now.utc_s),
            pv_w=self._pv.predict(start_s, steps, now_w=now.pv_w),
            soc_pct=now.soc_pct,
            month_peak_w=now.month_peak_w,
            next_day_peak_w=now.next_day_peak_w,
            interval_energy_wh=now.interval_energy_wh,
            reservations=self._reservations,
        )

    def recent_net_w(self) -> list[float]:
        """Net load of the last days' quarters that count towards the peak, as far as they were seen.

        In others the battery recharges as fast as it can. What is older is forgotten here.
        """
        newest_s = max(self._loads_w, default=0)
        for known in (self._loads_w, self._pvs_w):
            for start_s in [s for s in known if s < newest_s - LEARN_S]:
                del known[start_s]
        config, terms = self._config, self._config.tariff.demand_terms
        return [
            w - self._pvs_w.get(start_s, 0.0) if place(terms, config.timezone, start_s).counts else -config.charge_w
            for start_s, w in sorted(self._loads_w.items())
        ]

    def make(
        self, inputs: PlanInputs, recent_net_w: list[float], before: Plan | None = None
    ) -> tuple[Plan, list[str]]:
        """A plan, and what its check finds wrong with it. Raises PlanFailed. `before`: the one in force.

        The month's peak is expected where the battery could have held it of late; on a new site, at the contract.
        """
        config, prior_w = self._config, self._config.grid.contracted_peak_w
        while self._fresh:
            start_s, self._latest_w, pv_w = self._fresh.popleft()
            self._peak.observe(start_s, self._latest_w, pv_w)
        outlook = self._peak.outlook(
            inputs.load.load_w[0] if self._latest_w is None else self._latest_w,
            len(inputs.load.load_w),
            inputs.soc_pct or 0.0,
            config.energy_kwh,
            inputs.month_peak_w,
            _days_left(inputs.now_utc_s, config),
            day_trade_eur_per_kwh(config, inputs.prices, inputs.now_utc_s),
        )
        if outlook is None and len(recent_net_w) >= PRIOR_QUARTERS:
            prior_w = held_peak_w(recent_net_w, config)
        inputs = msgspec.structs.replace(inputs, peak_prior_w=prior_w, peak=outlook)
        plan = self._planner.solve(inputs, before)
        return plan, check_plan(plan, inputs)


def _days_left(utc_s: float, config: DispatchConfig) -> float:
    """Days until the bill's local month or year ends; of a year at most `FORESEEN_DAYS`."""
    now = datetime.fromtimestamp(utc_s, UTC).astimezone(ZoneInfo(config.timezone))
    following = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if config.tariff.demand_terms.per == "year":
        following = following.replace(year=now.year + 1, month=1)
        return min(FORESEEN_DAYS, (following - now).total_seconds() / 86400)
    return (following - now).total_seconds() / 86400
