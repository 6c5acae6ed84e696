"""Calculates perfect foresight: the lowest cost possible with all prices and loads known beforehand.

A linear program over the whole period in quarter hours: import and export at their prices, wear, ageing where it has
a price, the demand charge; stored energy between reserve and soc_max, at the end as at the beginning. It is the
reference for dispatch, never an input. The price of CO2 (`TariffTerms.co2_eur_per_kwh`) is added to that of import,
as in the plan. Every charge on peaks is in it as `dispatch.billing.peak_charges` states it; that is exact: the mean
of the n highest daily peaks is the least t + sum(max(0, peak - t)) / n over t >= 0. What is above a contract and adds
up is priced in several solutions, of which the cheapest bill is taken (`charge_columns`): exact to 0.1 % for the sum
and the root of the sum of squares; by hours there may be a cheaper one. numpy and highspy load with the first call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.billing.battery_ageing import ageing_of, schedule_ageing_eur
from dispatch.billing.bill import Flow, bill, stored_change_kwh
from dispatch.billing.charges.energy_prices import energy_prices
from dispatch.billing.charges.full_load_hours import choices
from dispatch.billing.peak_charges import Fee, by_tier, peak_charges
from dispatch.config.battery_ratings import full_kwh, lowest_kwh, mean_efficiency, reserve_soc_pct, wear_eur_per_kwh
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.charge_columns import Charged, Demand, ExcessColumns
from dispatch.evaluation.curtailment import curtailed_w
from dispatch.planning.lp_ageing import AgeingPart
from dispatch.planning.lp_model import TIE_EUR_PER_KWH, Column
from dispatch.planning.lp_solver import REFUSED, SolverFailed, fill_matrix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BOTH_KW = 1e-6
TIME_LIMIT_S = 300.0
FEES: tuple[Fee, ...] = ("granted", "refused")
REFINED = 8  # times at most that a charge which adds up what is above a contract is priced anew


class EndValue(msgspec.Struct, frozen=True):
    """What stored energy at the end is worth, EUR/kWh >= 0: each kWh above `kwh`, each below it, which is dearer."""

    kwh: float
    more_eur_per_kwh: float
    less_eur_per_kwh: float


class ReferenceSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """The operation that foresight is compared with, one value per step: whatever was done in it, foresight can do.

    Steps need not follow each other: each unbroken run of them begins and ends with the energy really stored then. The
    last run may end with any energy if `end_value` says what that is worth.
    """

    starts_utc_s: Sequence[int]
    battery_w: Sequence[float]
    begin_kwh: Mapping[int, float]  # stored before a run's first step, by that step's number
    stored_kwh: Sequence[float]  # after each step
    drift_kwh: Sequence[float]  # by how much a step changed it beside charging and discharging: standby, a wrong BMS
    fixed: Sequence[bool]  # here foresight does what was done
    end_value: EndValue | None = None
    keep_reserve: bool = True
    curtail_w: Sequence[float] = ()  # the most that PV may be limited by; empty: it is not limited
    paid_peak_w: Mapping[str, float] = {}  # by account (`peak_charges.account_key`): the demand that is billed anyway


def perfect_battery_w(
    config: DispatchConfig,
    step_s: int,
    net_w: Sequence[float],
    eur_per_mwh: Sequence[float],
    reference: ReferenceSchedule,
) -> list[float]:
    """The cheapest battery power, W, > 0 discharges, one per step, everything known.

    `net_w` is load - pv as mean over each step; the reserve is kept (where the start is below it, the start is).
    `reference` says when the steps are and with how much energy they begin and end (`idle_schedule`). Where a charge
    has an individual fee, it is solved as granted and as refused, with tiers at the price of each, with prices by
    full-load hours at those of few and of many, and the one with the lowest cost is taken.
    Raises SolverFailed, and ValueError for a step that does not divide a longer metering interval.
    """
    if config.grid.interval_of_steps_s(step_s) % step_s:
        raise ValueError(f"step of {step_s} s: expected to divide {config.grid.metering_interval_s} s")
    if not config.batteries or not net_w:
        return [0.0] * len(net_w)
    found = []
    for tariff in choices(config.tariff):
        held = msgspec.structs.replace(config, tariff=tariff)
        for way in dict.fromkeys(way for fee in FEES for way in by_tier(peak_charges(held, fee))):
            found += _tried_w(_Program(held, reference, step_s, net_w, eur_per_mwh, way))
    if len(found) == 1:
        return found[0]
    return min(found, key=lambda battery_w: _minimised_eur(config, step_s, net_w, eur_per_mwh, reference, battery_w))


def _minimised_eur(
    config: DispatchConfig,
    step_s: int,
    net_w: Sequence[float],
    eur_per_mwh: Sequence[float],
    reference: ReferenceSchedule,
    battery_w: Sequence[float],
) -> float:
    """What a battery power comes to, EUR, bill and price of CO2.

    Peaks of a period that has several runs are billed in each.
    """
    total_eur = 0.0
    for begin, end in pairwise([*sorted(reference.begin_kwh), len(net_w)]):
        most_w = reference.curtail_w[begin:end] or [0.0] * (end - begin)
        starts, prices = reference.starts_utc_s[begin:end], eur_per_mwh[begin:end]
        limited_w = curtailed_w(config, starts, prices, net_w[begin:end], battery_w[begin:end], most_w)
        flow = Flow(
            start_utc_s=reference.starts_utc_s[begin],
            step_s=step_s,
            load_w=[net + limited for net, limited in zip(net_w[begin:end], limited_w, strict=True)],
            pv_w=[0.0] * (end - begin),
            eur_per_mwh=eur_per_mwh[begin:end],
            battery_w=battery_w[begin:end],
        )
        drift_kwh = reference.drift_kwh[begin:end]
        ageing_eur = schedule_ageing_eur(config, step_s, flow.battery_w, reference.begin_kwh[begin], drift_kwh)
        change_kwh = stored_change_kwh(config, step_s, flow.battery_w)
        total_eur += bill(config, flow, change_kwh, ageing_eur=ageing_eur).minimised_eur
    return total_eur


def _tried_w(program: _Program) -> list[list[float]]:
    """The cheapest battery power, W; several where what adds up above a contract is priced anew. Raises
    SolverFailed.
    """
    found = [_cheapest_w(program)]
    while len(found) <= REFINED and program.refined():
        found.append(_cheapest_w(program))
    return found


def _cheapest_w(program: _Program) -> list[float]:
    """The cheapest battery power, W. Raises SolverFailed."""
    config, reference = program.config, program.reference
    charge_kw = [max(config.charge_w, -w) / 1000 for w in reference.battery_w]
    discharge_kw = [max(config.discharge_w, w) / 1000 for w in reference.battery_w]
    charge, discharge = program.solve(charge_kw, discharge_kw)
    while both := _in_both_directions(charge, discharge):
        for k in both:  # energy spent in losses would pay, which no battery does: leave one direction, solve again
            closed = discharge_kw if charge[k] >= discharge[k] else charge_kw
            closed[k] = 0.0
        charge, discharge = program.solve(charge_kw, discharge_kw)
    return [1000 * (d - c) for c, d in zip(charge, discharge, strict=True)]


def _in_both_directions(charge_kw: Sequence[float], discharge_kw: Sequence[float]) -> list[int]:
    """The steps that charge and discharge at once."""
    powers = zip(charge_kw, discharge_kw, strict=True)
    return [k for k, (charge, discharge) in enumerate(powers) if min(charge, discharge) > BOTH_KW]


def idle_schedule(
    config: DispatchConfig, start_utc_s: int, step_s: int, count: int, soc_pct: float
) -> ReferenceSchedule:
    """The reference of a battery that does nothing: foresight begins and ends with this SoC."""
    stored_kwh = soc_pct / 100 * config.energy_kwh
    return ReferenceSchedule(
        starts_utc_s=[start_utc_s + k * step_s for k in range(count)],
        battery_w=[0.0] * count,
        begin_kwh={0: stored_kwh},
        stored_kwh=[stored_kwh] * count,
        drift_kwh=[0.0] * count,
        fixed=[False] * count,
    )


class _Program:
    """Columns: charge, discharge, import, export, stored for each step, then each demand's, left more, left less.

    Where ageing has a price, the columns of `lp_ageing` follow. Last, what PV is limited by in each step.

    There is a demand for each charge on peaks. Its columns are for each account (`IntervalAccount`) its peak; where
    days are averaged also for each day its excess over its period's t, and that t; and for each period what it is
    billed.
    """

    def __init__(
        self,
        config: DispatchConfig,
        reference: ReferenceSchedule,
        step_s: int,
        net_w: Sequence[float],
        eur_per_mwh: Sequence[float],
        charges: Sequence[DemandTerms],
    ) -> None:
        self.config, self._hours, self._n, self.reference = config, step_s / 3600, len(net_w), reference
        self._net_kw = [w / 1000 for w in net_w]
        paid, sells = energy_prices(config.tariff, config.timezone, reference.starts_utc_s, eur_per_mwh)
        self._buy = [price + config.tariff.co2_eur_per_kwh for price in paid]
        # exporting what is imported in the same step may never pay
        self._sell = [min(s, b - TIE_EUR_PER_KWH) for s, b in zip(sells, self._buy, strict=True)]
        charged = [Charged(terms, config, step_s, reference) for terms in charges]
        self._charges = [of for of in charged if not of.terms.adds]
        self._excesses = [ExcessColumns(of, self._net_kw) for of in charged if of.terms.adds]
        self._found: list[float] = []
        ageing, begins = ageing_of(config), reference.begin_kwh
        self._ageing: AgeingPart | None = None
        if ageing is not None:
            self._ageing = AgeingPart(ageing, {step: ageing.begin(kwh) for step, kwh in begins.items()})

    def refined(self) -> bool:
        """Take in what the last solution has above contracts; whether another one may be better."""
        return sum(of.refined(self._found) for of in self._excesses) > 0

    def solve(self, charge_kw: Sequence[float], discharge_kw: Sequence[float]) -> tuple[list[float], list[float]]:
        """(charge, discharge), kW, within these limits. Raises SolverFailed."""
        import highspy
        from highspy import _core

        highs = _core._Highs()  # the bare solver: the wrapper class prints a banner
        for option, setting in (("output_flag", False), ("time_limit", TIME_LIMIT_S)):
            highs.setOptionValue(option, setting)
        if highs.passModel(self._model(charge_kw, discharge_kw)) == highspy.HighsStatus.kError:
            raise SolverFailed(REFUSED)
        highs.run()
        status = highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverFailed(f"HiGHS: {highs.modelStatusToString(status)}")
        values: list[float] = list(highs.getSolution().col_value)
        self._found = values
        return values[: self._n], values[self._n : 2 * self._n]

    def _model(self, charge_kw: Sequence[float], discharge_kw: Sequence[float]) -> Any:
        import highspy
        import numpy as np

        n, grid, hours = self._n, self.config.grid, self._hours
        demands, columns_end, rows_end = list[Demand](), 5 * n, 2 * n
        for of in self._charges:
            demands.append(Demand(columns_end, rows_end, of.account_of, of.accounts, of.terms.top_days))
            columns_end, rows_end = demands[-1].columns_end, demands[-1].rows_end
        limits = [0.0] * (rows_end - 2 * n)
        first = columns_end
        for added in self._excesses:
            columns_end, rows_end = added.place(columns_end, rows_end)
            limits += added.limits()
        net = np.array(self._net_kw)
        program = highspy.HighsLp()
        through = np.full(n, hours * (wear_eur_per_kwh(self.config) + TIE_EUR_PER_KWH))
        buy, sell = hours * np.array(self._buy), -hours * np.array(self._sell)
        reference = self.reference
        # where the end is fixed, there is neither more nor less
        end = reference.end_value or EndValue(reference.stored_kwh[-1], 0.0, 0.0)
        worth = [-end.more_eur_per_kwh, end.less_eur_per_kwh + TIE_EUR_PER_KWH]
        tie, limited = hours * TIE_EUR_PER_KWH, np.array(reference.curtail_w or (0.0,) * n) / 1000
        size = columns_end - 5 * n
        price, least = np.zeros(size), np.zeros(size)
        for of, demand in zip(self._charges, demands, strict=True):
            terms = of.terms
            for account, column in demand.peak.items():
                least[column - 5 * n] = max(of.paid_w.get(account, 0.0), terms.peak_floor_w) / 1000
            for column in demand.billed.values():
                price[column - 5 * n] = terms.eur_per_kw
                least[column - 5 * n] = max(least[column - 5 * n], terms.floor_w / 1000)
        price[first - 5 * n :] = [eur for added in self._excesses for eur in added.prices()]
        age_cost, age_bounds, age_rows = self._ageing_numbers()
        ends = [price, worth, age_cost, np.full(n, tie)]
        program.col_cost_ = np.concatenate([through, through, buy, sell, np.zeros(n), *ends])
        low_kwh, high_kwh = self._stored_bounds()
        done = np.array(reference.battery_w) / 1000
        fixed = np.array(reference.fixed, dtype=bool)
        charged, discharged = np.where(fixed, np.maximum(-done, 0), 0.0), np.where(fixed, np.maximum(done, 0), 0.0)
        most = [np.where(fixed, charged, charge_kw), np.where(fixed, discharged, discharge_kw)]
        program.col_lower_ = np.concatenate(
            [charged, discharged, np.zeros(2 * n), low_kwh, least, np.zeros(2), age_bounds[0], np.zeros(n)]
        )
        # beyond the limits only what load and PV do by themselves, and what was done: there is always a schedule
        imports = np.maximum(np.maximum(grid.fuse_w / 1000, net), net - done)
        exports = np.maximum(np.maximum(grid.export_limit_w / 1000, -net - limited), done - net)
        program.col_upper_ = np.concatenate(
            [*most, imports, exports, high_kwh, np.full(size + 2, np.inf), age_bounds[1], limited]
        )
        dynamics = np.array(reference.drift_kwh, dtype=float)
        for step, kwh in reference.begin_kwh.items():
            dynamics[step] += kwh
        least_rows = np.full(len(limits), -np.inf)
        program.row_lower_ = np.concatenate([net, dynamics, least_rows, [end.kwh], age_rows[0]])
        program.row_upper_ = np.concatenate([net, dynamics, limits, [end.kwh], age_rows[1]])
        program.num_col_, program.num_row_ = columns_end + 2 + len(age_cost) + n, rows_end + 1 + len(age_rows[0])
        fill_matrix(program, self._columns(demands, columns_end, rows_end, len(age_cost)))
        return program

    def _ageing_numbers(self) -> tuple[Floats, tuple[Floats, Floats], tuple[Floats, Floats]]:
        """Of its columns the costs, and the bounds; of its rows the bounds."""
        import numpy as np

        if self._ageing is None:
            none = np.zeros(0)
            return none, (none, none), (none, none)
        return self._ageing.costs([self._hours] * self._n), self._ageing.bounds(self._n), self._ageing.rows(self._n)

    def _stored_bounds(self) -> tuple[list[float], list[float]]:
        """Between reserve and soc_max, or what was really stored where that lies outside."""
        config, reference = self.config, self.reference
        kept_kwh = reserve_soc_pct(config) / 100 * config.energy_kwh
        top_kwh = full_kwh(config)
        mark_kwh = min(kept_kwh if reference.keep_reserve else lowest_kwh(config), top_kwh)
        stored_kwh = reference.stored_kwh
        low, high = [min(mark_kwh, kwh) for kwh in stored_kwh], [max(top_kwh, kwh) for kwh in stored_kwh]
        for begin in reference.begin_kwh:
            last = (begin or self._n) - 1  # of the run before it
            if begin or reference.end_value is None:
                low[last] = high[last] = stored_kwh[last]
        return low, high

    def _entries(self, demands: Sequence[Demand]) -> Iterator[tuple[int, int, float]]:
        """(column, row, value) of the rows of charges on peaks."""
        first_import = 2 * self._n
        for charged, demand in zip(self._charges, demands, strict=True):
            for row, (steps, account, weight) in enumerate(charged.intervals(), demand.first_row):
                yield from ((first_import + t, row, weight / len(steps)) for t in steps)
                yield demand.peak[account], row, -1.0
            yield from demand.entries
        for added in self._excesses:
            yield from added.entries(first_import)

    def _columns(self, demands: Sequence[Demand], more: int, rows_end: int, ageing_columns: int) -> list[Column]:
        """Rows of each column: power balance, energy balance, then each charge's, the end's, and ageing's.

        `more`: the column of what is left more than at the end asked for; `rows_end`: the row of that.
        """
        n, hours = self._n, self._hours
        charging, discharging = mean_efficiency(self.config)
        columns: list[Column] = [[] for _ in range(more + 2 + ageing_columns + n)]
        for t in range(n):
            for block, sign in ((0, -1.0), (1, 1.0), (2, 1.0), (3, -1.0)):  # import - export + discharge - charge = net
                columns[block * n + t].append((t, sign))
            columns[t - n].append((t, -1.0))  # what PV is limited by
            columns[t].append((n + t, -charging * hours))
            columns[n + t].append((n + t, hours / discharging))
            columns[4 * n + t].append((n + t, 1.0))
            if t + 1 < n and t + 1 not in self.reference.begin_kwh:
                columns[4 * n + t].append((n + t + 1, -1.0))
        for column, row, value in self._entries(demands):
            columns[column].append((row, value))
        # the last row: stored at the end = what is left, and more, less less
        columns[5 * n - 1].append((rows_end, 1.0))
        columns[more].append((rows_end, -1.0))
        columns[more + 1].append((rows_end, 1.0))
        self._put_ageing(columns, more + 2, rows_end + 1)
        return columns

    def _put_ageing(self, columns: list[Column], first_column: int, first_row: int) -> None:
        if self._ageing is None:
            return
        stored = [[4 * self._n + t] for t in range(self._n)]
        for column, row, value in self._ageing.entries(first_column, first_row, stored):
            columns[column].append((row, value))
