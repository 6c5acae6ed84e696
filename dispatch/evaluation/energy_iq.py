"""Calculates the Energy IQ: the share of the saving of perfect foresight that was reached. Never an input to control.

    iq = 100 x (cost without the battery - actual cost) / (cost without the battery - cost of perfect foresight)

over the quarter hours on record of a day, or of a month to date, at the site's tariff (`dispatch.billing.bill`). The
change of stored energy counts at the mean import price of the period, as in the bill. Foresight
(`dispatch.evaluation.foresight`) counts it alike, begins with the energy the battery had, and has the same losses
beside the efficiencies. It could have done what was done, so no figure exceeds 100. Time that was not recorded is
left out for both: foresight, too, comes to a gap with the energy the battery had. A metering interval with a gap is
left out completely. Load removed by GPU caps counts neither as a cost nor as a saving. Where the tariff states a price
of CO2, each cost in the formula has it (`Cost.co2_eur`), as plan and foresight minimise it; the saving that is told in
EUR is that of the bill.

Demand charges are of months or years. A day is charged for what it adds to the peak that the month has anyway: the
highest before that day, or that of foresight over the month to date if higher (`paid_peak_w`). On a month's first days
that is little, and a day may look worse than the month will. A month to date is charged for the whole of its peak so
far, also where the charge is a year's.

The loss against foresight is divided in two ways. By part: energy (with the change of stored energy), peak, wear, and
the price of CO2. By cause: foresight is calculated again with one constraint more each time, so that the differences
add up to the loss and none is negative beyond the solver's tolerance:

    foresight that may use the reserve, too
      + reserve     foresight that keeps it: the reference of the IQ; the cost of the reserve is stated separately
      + outages     and does what was done while the battery was not controlled (off the grid, drill, device lost)
      + orders      and does what was done while a manual order was in force
      + forecast    what was done: load, PV and prices were not known, and planner and rules are not perfect

The record is of quarter hours: where the meter has shorter intervals, the mean of a quarter hour stands for them, in
all three costs alike.

A quarter hour touched by an outage or an order belongs to it completely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from dispatch.billing.battery_ageing import schedule_ageing_eur
from dispatch.billing.bill import Flow, bill, stored_change_kwh, stored_worth_eur
from dispatch.billing.charges.energy_prices import energy_prices
from dispatch.billing.charges.full_load_hours import at_full_load_hours, expected_h
from dispatch.billing.peak_charges import charge_peaks_w, joined_w, peak_charges, risen_eur
from dispatch.config.battery_ratings import mean_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.foresight import EndValue, ReferenceSchedule, perfect_battery_w
from dispatch.model.forecast import QUARTER_S
from dispatch.model.reasons import Reason

VERSION = 1  # of the definition above; figures of another version are not compared
LEAST_H = 6.0  # of record, for a figure
LEAST_SHARE = 0.005  # of the cost without the battery that foresight must have saved: a share of less is noise


class Quarter(msgspec.Struct, frozen=True):
    """A quarter hour on record: mean powers, W, at the AC terminals, battery > 0 discharges; the market's price."""

    start_utc_s: int
    load_w: float
    pv_w: float
    battery_w: float
    begin_soc_pct: float
    end_soc_pct: float
    eur_per_mwh: float
    unable: bool = False  # the battery could not be steered in some of it
    ordered: bool = False  # a person's order was in force in some of it


class Cost(msgspec.Struct, frozen=True):
    """EUR; energy is import less what export earned, less what was left in the store."""

    energy_eur: float
    peak_eur: float
    wear_eur: float
    co2_eur: float = 0.0  # price of CO2 of the same energy: not billed

    @property
    def total_eur(self) -> float:
        """What is billed, and wear."""
        return self.energy_eur + self.peak_eur + self.wear_eur

    @property
    def minimised_eur(self) -> float:
        """What plan and foresight minimise: the total and the price of CO2."""
        return self.total_eur + self.co2_eur


class Loss(msgspec.Struct, frozen=True):
    """What foresight would have saved beyond what was saved, EUR, by cause; `reserve_eur` is not part of it."""

    forecast_eur: float
    orders_eur: float
    outages_eur: float
    reserve_eur: float  # what foresight that spends the reserve would have saved beyond that


class Iq(msgspec.Struct, frozen=True, kw_only=True):
    """The figure of one stretch of time, and what it was made of. `iq_pct` None: `why` says what is missing."""

    begin_utc_s: int
    end_utc_s: int
    known_h: float  # of it on record and counted
    iq_pct: float | None = None
    why: Reason | None = None
    none: Cost | None = None  # without the battery
    own: Cost | None = None  # as it was
    best: Cost | None = None  # perfect foresight, keeping the reserve
    loss: Loss | None = None
    peaks_w: dict[str, float] = {}  # as it was, by account: the local month, or where days are averaged the day
    best_peaks_w: dict[str, float] = {}

    @property
    def of_h(self) -> float:
        """Length of the stretch: 23, 24 or 25 h for a day."""
        return (self.end_utc_s - self.begin_utc_s) / 3600

    @property
    def saved_eur(self) -> float | None:
        """What the battery saved; negative: the site would have paid less without it."""
        return None if self.none is None or self.own is None else self.none.total_eur - self.own.total_eur


def assess(
    config: DispatchConfig,
    quarters: Sequence[Quarter],
    begin_utc_s: int,
    end_utc_s: int,
    paid_peak_w: Mapping[str, float] | None = None,
    *,
    causes: bool = True,
) -> Iq:
    """The Energy IQ of [begin, end) from what is on record of it, in order of time.

    paid_peak_w: the peak by account, `Iq.peaks_w`, that is billed anyway. causes: also split the loss by cause, which
    solves up to three more programs. Raises SolverFailed.
    """
    record = _Record(config, [q for q in quarters if begin_utc_s <= q.start_utc_s < end_utc_s], paid_peak_w or {})
    known_h = len(record.quarters) * QUARTER_S / 3600
    blank = Iq(begin_utc_s=begin_utc_s, end_utc_s=end_utc_s, known_h=known_h)
    if not config.energy_kwh:
        return msgspec.structs.replace(blank, why=Reason("iq.no_battery"))
    if not record.quarters:
        return msgspec.structs.replace(blank, why=Reason("iq.no_record"))
    best_w = record.foresight([False] * len(record.quarters))
    none, own, best = record.cost(None), record.cost(record.own_w), record.cost(best_w)
    found = msgspec.structs.replace(
        blank, none=none, own=own, best=best, peaks_w=record.peaks_w(record.own_w), best_peaks_w=record.peaks_w(best_w)
    )
    if causes:
        found = msgspec.structs.replace(found, loss=record.loss(best.minimised_eur))
    possible_eur = none.minimised_eur - best.minimised_eur
    if known_h < LEAST_H:
        why = Reason("iq.short_record", {"known_h": known_h, "needed_h": LEAST_H})
        return msgspec.structs.replace(found, why=why)
    if possible_eur <= LEAST_SHARE * abs(none.minimised_eur):
        why = Reason("iq.too_little", {"possible_eur": max(possible_eur, 0.0), "total_eur": none.minimised_eur})
        return msgspec.structs.replace(found, why=why)
    return msgspec.structs.replace(found, iq_pct=100 * (none.minimised_eur - own.minimised_eur) / possible_eur)


class _Record:
    """The quarters that count, as what foresight is held against."""

    def __init__(self, config: DispatchConfig, quarters: Sequence[Quarter], paid_peak_w: Mapping[str, float]) -> None:
        # whatever the stretch's own full-load hours are: those of the year are expected
        tariff = at_full_load_hours(config.tariff, expected_h(config.tariff))
        config = msgspec.structs.replace(config, tariff=tariff)
        self.config, self.paid_peak_w = config, paid_peak_w
        self._charges = peak_charges(config, "granted")
        self.quarters = _whole_intervals(quarters, config.grid.interval_of_steps_s(QUARTER_S))
        self.own_w = [q.battery_w for q in self.quarters]
        self.net_w = [q.load_w - q.pv_w for q in self.quarters]
        self._prices = [q.eur_per_mwh for q in self.quarters]
        cuts = [k for k, (a, b) in enumerate(pairwise(self.quarters), 1) if b.start_utc_s != a.start_utc_s + QUARTER_S]
        edges = [0, *cuts, len(self.quarters)] if self.quarters else []
        self._runs = [range(a, b) for a, b in pairwise(edges)]
        self._begin_kwh: dict[int, float] = {}
        self._stored_kwh: list[float] = []
        self._drift_kwh: list[float] = []
        self._change_kwh = 0.0
        # energy below none is not priced: where import pays, a store left empty would pay twice
        starts = [q.start_utc_s for q in self.quarters]
        prices = energy_prices(config.tariff, config.timezone, starts, self._prices).buy
        self._mean_eur_per_kwh = max(sum(prices) / len(prices), 0.0) if prices else 0.0
        for run in self._runs:
            self._follow(run)

    def _follow(self, run: range) -> None:
        """Stored energy through one run: from the SoC it began with to the one it ended with, drift spread evenly."""
        full_kwh = self.config.energy_kwh / 100
        begin, end = self.quarters[run[0]].begin_soc_pct * full_kwh, self.quarters[run[-1]].end_soc_pct * full_kwh
        changes = [stored_change_kwh(self.config, QUARTER_S, [self.own_w[k]]) for k in run]
        drift = (end - begin - sum(changes)) / len(run)
        self._begin_kwh[run[0]] = stored = begin
        for change in changes:
            stored += change + drift
            self._stored_kwh.append(stored)
            self._drift_kwh.append(drift)
        self._change_kwh += end - begin

    def foresight(self, fixed: Sequence[bool], *, keep_reserve: bool = True) -> list[float]:
        """Foresight's battery power. Raises SolverFailed."""
        charging, discharging = mean_efficiency(self.config)
        mean = self._mean_eur_per_kwh + self.config.tariff.co2_eur_per_kwh
        reference = ReferenceSchedule(
            starts_utc_s=[q.start_utc_s for q in self.quarters],
            battery_w=self.own_w,
            begin_kwh=self._begin_kwh,
            stored_kwh=self._stored_kwh,
            drift_kwh=self._drift_kwh,
            fixed=fixed,
            end_value=EndValue(self._stored_kwh[-1] - self._change_kwh, mean * discharging, mean / charging),
            keep_reserve=keep_reserve,
            paid_peak_w=self.paid_peak_w,
        )
        return perfect_battery_w(self.config, QUARTER_S, self.net_w, self._prices, reference)

    def loss(self, kept_eur: float) -> Loss:
        """By cause; `kept_eur` is the cost of foresight that keeps the reserve. Raises SolverFailed."""
        unable = [q.unable for q in self.quarters]
        either = [q.unable or q.ordered for q in self.quarters]
        free_eur = outages_eur = kept_eur
        if self.config.reserve_kwh > 0:
            free_eur = self.cost(self.foresight([False] * len(either), keep_reserve=False)).minimised_eur
        if any(unable):
            outages_eur = self.cost(self.foresight(unable)).minimised_eur
        orders_eur = outages_eur if either == unable else self.cost(self.foresight(either)).minimised_eur
        return Loss(
            forecast_eur=self.cost(self.own_w).minimised_eur - orders_eur,
            orders_eur=orders_eur - outages_eur,
            outages_eur=outages_eur - kept_eur,
            reserve_eur=kept_eur - free_eur,
        )

    def cost(self, battery_w: Sequence[float] | None) -> Cost:
        """What a battery power would have cost; None: no battery, which stores nothing."""
        config, idle = self.config, [0.0] * len(self.quarters)
        energy_eur = wear_eur = co2_eur = 0.0
        for run in self._runs:
            flow = self._flow(run, battery_w or idle)
            charged = bill(config, flow, ageing_eur=0.0 if battery_w is None else self._ageing_eur(run, battery_w))
            energy_eur += charged.energy_eur
            wear_eur += charged.wear_eur
            co2_eur += charged.co2_eur
        if battery_w is not None:
            change_kwh = stored_change_kwh(config, QUARTER_S, battery_w) + sum(self._drift_kwh)
            energy_eur -= stored_worth_eur(config, change_kwh, self._mean_eur_per_kwh)
            co2_eur -= stored_worth_eur(config, change_kwh, config.tariff.co2_eur_per_kwh)
        all_w = joined_w(self._charges, self.paid_peak_w, self.peaks_w(battery_w or idle))
        peak_eur = risen_eur(self._charges, all_w, self.paid_peak_w)
        return Cost(energy_eur, peak_eur, wear_eur, co2_eur)

    def _ageing_eur(self, run: range, battery_w: Sequence[float]) -> float:
        """What a battery power would have cost by ageing in one run."""
        part, begin_kwh = slice(run.start, run.stop), self._begin_kwh[run.start]
        return schedule_ageing_eur(self.config, QUARTER_S, battery_w[part], begin_kwh, self._drift_kwh[part])

    def peaks_w(self, battery_w: Sequence[float]) -> dict[str, float]:
        """Highest interval mean by account."""
        peaks: dict[str, float] = {}
        for run in self._runs:
            flow = self._flow(run, battery_w)
            peaks = joined_w(
                self._charges, peaks, charge_peaks_w(self.config, flow.start_utc_s, flow.step_s, list(flow.grid_w()))
            )
        return peaks

    def _flow(self, run: range, battery_w: Sequence[float]) -> Flow:
        part = slice(run.start, run.stop)
        return Flow(
            start_utc_s=self.quarters[run.start].start_utc_s,
            step_s=QUARTER_S,
            load_w=[q.load_w for q in self.quarters[part]],
            pv_w=[q.pv_w for q in self.quarters[part]],
            eur_per_mwh=self._prices[part],
            battery_w=battery_w[part],
        )


def _higher(one_w: Mapping[str, float], other_w: Mapping[str, float]) -> dict[str, float]:
    """The higher of two peaks of each account, in the order in which they come."""
    return {a: max(one_w.get(a, 0.0), other_w.get(a, 0.0)) for a in (*one_w, *other_w)}


def _whole_intervals(quarters: Sequence[Quarter], length_s: int) -> list[Quarter]:
    """Those of metering intervals that are on record from end to end."""
    held: dict[int, int] = {}
    for quarter in quarters:
        held[quarter.start_utc_s // length_s] = held.get(quarter.start_utc_s // length_s, 0) + 1
    return [q for q in quarters if held[q.start_utc_s // length_s] == length_s // QUARTER_S]


def day_and_month(
    config: DispatchConfig,
    quarters: Sequence[Quarter],
    day: tuple[int, int],
    month_begin_utc_s: int,
    *,
    causes: bool = True,
) -> tuple[Iq, Iq]:
    """The IQ of a local day, (begin, end) in POSIX seconds, and of its month from its begin to the end of that day.

    `quarters`: what is on record of the month so far. Raises SolverFailed.
    """
    month = assess(config, quarters, month_begin_utc_s, day[1], causes=causes)
    before = recorded_peaks_w(config, [q for q in quarters if q.start_utc_s < day[0]])
    return assess(config, quarters, *day, _higher(before, month.best_peaks_w), causes=causes), month


def recorded_peaks_w(config: DispatchConfig, quarters: Sequence[Quarter]) -> dict[str, float]:
    """The highest interval mean of import on record, W, by account (`IntervalAccount`)."""
    record = _Record(config, quarters, {})
    return record.peaks_w(record.own_w)
