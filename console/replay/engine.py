"""Runs controller and planner over recorded data in lock-step, without knowledge of the future.

At every step the controller sees the net load of that step (a fast loop would, on its meter) and nothing later; the
battery exports no more than the limit leaves at the lowest load inside the step (`fast_loop`). The planner sees quarter
hours that have ended and prices that are published. Plans are made on the quarter hour.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import msgspec

from console.replay.fast_loop import curtailed_by, net_rows_w, within_export
from console.replay.job_file import Job
from console.replay.job_log import JobLog
from console.replay.traces import Publication, Trace, utc
from dispatch.billing.market_prices import PriceSeries
from dispatch.billing.peak_charges import peak_charges
from dispatch.config.battery_ratings import site_soc_pct
from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.control.controller import Controller
from dispatch.forecasting.load import LATEST_S
from dispatch.model.charge_levels import ChargesNow
from dispatch.model.decision import Mode
from dispatch.model.equipment import Battery, Meter, Pcs, Pv
from dispatch.model.forecast import QUARTER_S
from dispatch.model.plan import Plan
from dispatch.model.readings import reading, status
from dispatch.model.snapshot import Snapshot
from dispatch.planning.inputs import PlanFailed
from dispatch.planning.pipeline import LEARN_S, PlanningState, PlanSource
from dispatch.power_caps.pricing import linear
from dispatch.power_caps.ski_rental import CapInputs, CapsLedger, decide
from drivers.twin.coarse import CoarseBattery

SHORTEST_S = 10  # shorter steps are the twin's, with lag and ramps


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is replayed: a site, its traces, from when to when in which steps."""

    config: DispatchConfig
    prices: PriceSeries
    load: Trace
    pv: Trace
    start_s: int
    end_s: int
    step_s: int
    soc_pct: float = 50.0
    planning: bool = True
    jobs: tuple[Job, ...] = ()  # the scheduler's log; each is known from its submission on
    gpus_total: int | None = None
    notes: tuple[str, ...] = ()  # what must be said of the inputs
    price_outage: tuple[int, int] | None = None  # from when to when no prices are fetched
    notice_s: float = 0.0  # every job is announced so long before with its hours, as a power reservation does


def on_the_grid(config: DispatchConfig) -> DispatchConfig:
    """The same site as a replay plays it: on the grid all the time.

    Traces tell nothing of switches and contacts, and one that is not read would keep each PCS from its setpoint.
    """
    return msgspec.structs.replace(config, switches=(), contacts=(), contact_steps=())


class PlanCounts(msgspec.Struct):
    """How the planning went."""

    plans: int = 0
    failed: int = 0
    refused: int = 0
    solve_ms: list[float] = []
    trouble: str = ""  # the last one
    safe_steps: int = 0  # the controller did not believe what it saw


class Schedule:
    """What was done so far, one value per step."""

    def __init__(self, start_s: int, step_s: float) -> None:
        self.start_s, self.step_s = start_s, step_s
        self.battery_w, self.load_w, self.pv_w, self.soc_pct, self.shed_w, self.curtailed_w = (
            array("d") for _ in range(6)
        )

    def __len__(self) -> int:
        return len(self.battery_w)

    @property
    def end_s(self) -> int:
        """Until when it goes, whole seconds."""
        return int(self.start_s + self.step_s * len(self))

    def add(
        self,
        battery_w: float,
        load_w: float,
        pv_w: float,
        soc_pct: float,
        shed_w: float = 0.0,
        curtailed_w: float = 0.0,
    ) -> None:
        """One more step; `soc_pct` at its end, `shed_w` what GPU caps took from the load, `curtailed_w` what PV could
        have given beyond `pv_w`.
        """
        self.battery_w.append(battery_w)
        self.load_w.append(load_w)
        self.pv_w.append(pv_w)
        self.soc_pct.append(soc_pct)
        self.shed_w.append(shed_w)
        self.curtailed_w.append(curtailed_w)


class Replay:
    """One run over a case. `run` yields after each step, so that whoever runs it can stop anywhere."""

    def __init__(self, case: Case) -> None:
        if case.step_s < SHORTEST_S:
            raise ValueError(f"step of {case.step_s} s: expected at least {SHORTEST_S} s")
        if case.config.grid.metering_interval_s % case.step_s:
            raise ValueError(
                f"step of {case.step_s} s: expected to divide the metering interval of "
                f"{case.config.grid.metering_interval_s} s evenly"
            )
        if case.start_s % case.step_s or case.end_s % case.step_s or case.end_s <= case.start_s:
            raise ValueError(
                f"from {utc(case.start_s)} to {utc(case.end_s)}: expected whole steps of {case.step_s} s between them, "
                "counted from full hours"
            )
        self.case, self.plan_counts = case, PlanCounts()
        self.schedule = Schedule(case.start_s, case.step_s)
        self._batteries = [
            CoarseBattery(battery, [p for p in case.config.pcs if p.battery == battery.id], case.soc_pct)
            for battery in case.config.batteries
        ]
        self._controller = Controller(on_the_grid(case.config), float(case.step_s))
        self._source = PlanSource(case.config)
        self._published = Publication(case.prices, case.config.timezone, case.price_outage)
        self._plan: Plan | None = None
        self._caps = CapsLedger()
        self._jobs = JobLog(case.jobs, case.notice_s) if any(job.power_w > 0 for job in case.jobs) else None
        self._import_wh = 0.0
        self._pv_shares = _pv_shares(case.config)
        first = max(case.load.start_s, case.start_s - LEARN_S)
        self._learnt_s = -(-first // QUARTER_S) * QUARTER_S  # quarters before it are learnt

    @property
    def month_peak_w(self) -> float:
        """The month's peak as the controller knows it."""
        return self._controller.month_peak_w

    @property
    def charges_now(self) -> ChargesNow | None:
        """Which of the listed charges on peaks limits import now, and what they bill; None where none is listed."""
        return self._controller.charges_now

    @property
    def billed_peak_w(self) -> float:
        """What the demand charge is on, as the controller knows it."""
        return self._controller.billed_peak_w

    def run(self) -> Iterator[Schedule]:
        """Step through the case."""
        case = self.case
        for seq, t_s in enumerate(range(case.start_s, case.end_s, case.step_s)):
            self._learn(t_s)
            self._step(seq, t_s)
            yield self.schedule

    def _learn(self, until_s: int) -> None:
        """Every quarter hour that has ended; one that the traces do not reach is not made up."""
        case, load, pv = self.case, self.case.load, self.case.pv
        while self._learnt_s + QUARTER_S <= until_s:
            start_s, end_s = self._learnt_s, self._learnt_s + QUARTER_S
            if self._jobs is not None:
                self._source.observe_jobs(start_s, self._jobs.known_at(end_s), case.gpus_total)
            self._source.observe_load(start_s, load.mean_w(start_s, end_s), load.mean_w(end_s - LATEST_S, end_s))
            if pv.start_s <= start_s:
                self._source.observe_pv(start_s, pv.mean_w(start_s, end_s))
            self._learnt_s = end_s

    def _step(self, seq: int, t_s: int) -> None:
        case, step_s = self.case, self.case.step_s
        load_w, pv_w = case.load.mean_w(t_s, t_s + step_s), case.pv.mean_w(t_s, t_s + step_s)
        snapshot = self._snapshot(seq, t_s, load_w, pv_w)
        self._controller.account(snapshot)
        if case.planning and case.config.batteries and (t_s % QUARTER_S == 0 or seq == 0):
            self._make_plan(t_s)
        decision = self._controller.step(snapshot, self._plan)
        self.plan_counts.safe_steps += decision.mode is Mode.SAFE
        orders = {s.device_id: s.w for s in decision.setpoints if s.w is not None}
        curtailed_w = curtailed_by(decision.pv_limits, {pv.id: pv.w.good or 0.0 for pv in snapshot.pv})
        if orders:
            lowest_w = min(net_rows_w(case.load, case.pv, t_s, step_s)) + curtailed_w
            needed_w = load_w - pv_w + curtailed_w - self._controller.interval.left_w
            orders = within_export(case.config, orders, lowest_w, needed_w)
        battery_w = sum(battery.step(orders, step_s) for battery in self._batteries)
        pv_w -= curtailed_w
        shed_w = self._cap(t_s, load_w, load_w - pv_w - battery_w)
        self._import_wh += max(load_w - shed_w - pv_w - battery_w, 0.0) * step_s / 3600
        self.schedule.add(battery_w, load_w, pv_w, self._soc_pct(), shed_w, curtailed_w)

    def _cap(self, t_s: int, load_w: float, import_w: float) -> float:
        """What GPU caps take from the load of this step, W."""
        config = self.case.config
        caps = linear(config.caps)
        if caps.max_share <= 0:
            return 0.0
        need = CapInputs(
            utc_s=float(t_s),
            step_s=float(self.case.step_s),
            load_w=load_w,
            import_w=import_w,
            import_max_w=self._controller.interval.left_w,
            month_peak_w=self._controller.month_peak_w,
            levels=self._controller.charge_levels,
        )
        decided = decide(caps, peak_charges(config), config.timezone, need, self._caps)
        self._caps = decided.ledger
        return decided.cap_w

    def _soc_pct(self) -> float:
        return site_soc_pct(self.case.config, {b.config.id: b.soc_pct for b in self._batteries})

    def _snapshot(self, seq: int, t_s: int, load_w: float, pv_w: float) -> Snapshot:
        """What the meters show as the step begins: its own load, the battery still as it was left."""
        pcs, batteries = [], []
        for unit in self._batteries:
            for name, (charge_w, discharge_w) in unit.limits_w(self.case.step_s).items():
                pcs.append(
                    Pcs(
                        name,
                        w=reading(unit.w[name]),
                        state=status("running"),
                        connection=status("connected"),
                        mode=status("grid_following"),
                        control=status("remote"),
                        charge_limit_w=reading(charge_w),
                        discharge_limit_w=reading(discharge_w),
                    )
                )
            batteries.append(
                Battery(
                    unit.config.id,
                    soc_pct=reading(unit.soc_pct),
                    energy_wh=reading(1000 * unit.config.energy_kwh),
                    temp_c=reading(_middle_c(unit.config)),
                )
            )
        grid_w = load_w - pv_w - sum(sum(unit.w.values()) for unit in self._batteries)
        return Snapshot(
            seq=seq,
            utc_s=float(t_s),
            mono_s=float(t_s - self.case.start_s),
            grid=Meter("grid", w=reading(grid_w), import_wh=reading(self._import_wh)),
            pcs=tuple(pcs),
            batteries=tuple(batteries),
            pv=tuple(Pv(id, w=reading(share * pv_w)) for id, share in self._pv_shares.items()),
        )

    def _make_plan(self, t_s: int) -> None:
        before_s, load, pv = t_s - self.case.step_s, self.case.load, self.case.pv
        now = PlanningState(
            utc_s=float(t_s),
            load_w=load.mean_w(before_s, t_s),
            pv_w=pv.mean_w(before_s, t_s),
            soc_pct=self._soc_pct(),
            month_peak_w=self._controller.month_peak_w,
            next_day_peak_w=self._controller.next_day_peak_w,
            levels=self._controller.charge_levels,
            billed_before_w=self._controller.billed_before_w,
            interval_energy_wh=self._controller.interval.energy_wh,
            interval_least_w=self._controller.interval_least_w,
            balance=self._controller.balance.wanted(float(t_s)),
        )
        inputs = self._source.inputs(now, self._published.known_at(t_s))
        try:
            plan, faults = self._source.make(inputs, self._plan)
        except PlanFailed as error:
            self.plan_counts.failed += 1
            self.plan_counts.trouble = str(error)
            return
        if faults:
            self.plan_counts.refused += 1
            self.plan_counts.trouble = "; ".join(faults[:3])
            return
        self.plan_counts.plans += 1
        self.plan_counts.solve_ms.append(plan.solve_ms)
        self._plan = plan


def _pv_shares(config: DispatchConfig) -> dict[str, float]:
    """What each inverter gives of the PV power: by the most that it can, where any of them may be limited."""
    most_w = sum(pv.most_w for pv in config.pv)
    if config.curtailable_share == 0:
        return {"pv": 1.0}
    return {pv.id: pv.most_w / most_w for pv in config.pv}


def _middle_c(battery: BatteryConfig) -> float:
    """A temperature that limits nothing: a replay has none."""
    (charge_low_c, charge_high_c), (low_c, high_c) = battery.charge_window_c, battery.discharge_window_c
    return (max(charge_low_c, low_c) + min(charge_high_c, high_c)) / 2
