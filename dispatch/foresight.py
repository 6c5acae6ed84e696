"""Perfect foresight: what the battery could have saved by someone who knew every price and load beforehand.

A linear program over the whole stretch in quarter hours: import and export at their prices, wear, the months' peaks;
stored energy between reserve and soc_max, at the end as at the beginning. It is the mark that dispatch is measured by,
never an input to it. numpy and highspy load with the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dispatch.bill import efficiencies, wear_eur_per_kwh
from dispatch.config import DispatchConfig
from dispatch.plan_lp import TIE_EUR_PER_KWH, SolverFailed

BOTH_KW = 1e-6
TIME_LIMIT_S = 300.0


def perfect_battery_w(
    config: DispatchConfig,
    start_utc_s: int,
    step_s: int,
    net_w: Sequence[float],
    eur_per_mwh: Sequence[float],
    soc_pct: float,
) -> list[float]:
    """The cheapest battery power, W, > 0 discharges, one per step, everything known.

    `net_w` is load - pv as mean over each step; the reserve is kept (where the start is below it, the start is).
    Raises SolverFailed, and ValueError for a step that does not divide the metering interval.
    """
    if config.grid.metering_interval_s % step_s:
        raise ValueError(f"step of {step_s} s: expected to divide {config.grid.metering_interval_s} s")
    if not config.batteries or not net_w:
        return [0.0] * len(net_w)
    charge_kw = [config.charge_w / 1000] * len(net_w)
    discharge_kw = [config.discharge_w / 1000] * len(net_w)
    program = _Program(config, start_utc_s, step_s, net_w, eur_per_mwh, soc_pct)
    while True:
        charge, discharge = program.solve(charge_kw, discharge_kw)
        both = [k for k, (c, d) in enumerate(zip(charge, discharge, strict=True)) if min(c, d) > BOTH_KW]
        if not both:
            return [1000 * (d - c) for c, d in zip(charge, discharge, strict=True)]
        for k in both:  # burning energy in the losses would pay, which no battery does: one direction each, and again
            closed = discharge_kw if charge[k] >= discharge[k] else charge_kw
            closed[k] = 0.0


class _Program:
    """Columns: charge, discharge, import, export, stored for each step, then a peak for each month."""

    def __init__(
        self,
        config: DispatchConfig,
        start_utc_s: int,
        step_s: int,
        net_w: Sequence[float],
        eur_per_mwh: Sequence[float],
        soc_pct: float,
    ) -> None:
        self._config, self._hours, self._n = config, step_s / 3600, len(net_w)
        self._net_kw = [w / 1000 for w in net_w]
        self._buy = [config.tariff.import_eur_per_kwh(p) for p in eur_per_mwh]
        # exporting what is imported in the same step may never pay
        sells = [config.tariff.export_eur_per_kwh(p) for p in eur_per_mwh]
        self._sell = [min(s, b - TIE_EUR_PER_KWH) for s, b in zip(sells, self._buy, strict=True)]
        self._stored_kwh = soc_pct / 100 * config.energy_kwh
        length_s, zone = config.grid.metering_interval_s, ZoneInfo(config.timezone)
        self._intervals: dict[int, list[int]] = {}
        for k in range(self._n):
            self._intervals.setdefault((start_utc_s + k * step_s) // length_s, []).append(k)
        self._months = [
            datetime.fromtimestamp(number * length_s, UTC).astimezone(zone).strftime("%Y-%m")
            for number in self._intervals
        ]

    def solve(self, charge_kw: Sequence[float], discharge_kw: Sequence[float]) -> tuple[list[float], list[float]]:
        """(charge, discharge), kW, within these limits. Raises SolverFailed."""
        import highspy
        from highspy import _core

        highs = _core._Highs()  # the bare solver: the wrapper class prints a banner
        for option, setting in (("output_flag", False), ("time_limit", TIME_LIMIT_S)):
            highs.setOptionValue(option, setting)
        if highs.passModel(self._model(charge_kw, discharge_kw)) == highspy.HighsStatus.kError:
            raise SolverFailed("HiGHS refused the model: a number in the inputs is not finite or bounds cross")
        highs.run()
        status = highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverFailed(f"HiGHS: {highs.modelStatusToString(status)}")
        values: list[float] = list(highs.getSolution().col_value)
        return values[: self._n], values[self._n : 2 * self._n]

    def _model(self, charge_kw: Sequence[float], discharge_kw: Sequence[float]) -> Any:
        import highspy
        import numpy as np

        n, grid, hours = self._n, self._config.grid, self._hours
        months = sorted(set(self._months))
        net = np.array(self._net_kw)
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = 5 * n + len(months), 2 * n + len(self._intervals)
        through = np.full(n, hours * (wear_eur_per_kwh(self._config) + TIE_EUR_PER_KWH))
        demand = np.full(len(months), self._config.tariff.demand_eur_per_kw_month)
        buy, sell = hours * np.array(self._buy), -hours * np.array(self._sell)
        program.col_cost_ = np.concatenate([through, through, buy, sell, np.zeros(n), demand])
        low_kwh, high_kwh = self._stored_bounds()
        program.col_lower_ = np.concatenate([np.zeros(4 * n), low_kwh, np.zeros(len(months))])
        # beyond the limits only what load and PV do by themselves: there is always a schedule
        imports = np.maximum(grid.fuse_w / 1000, net)
        exports = np.maximum(grid.export_limit_w / 1000, -net)
        program.col_upper_ = np.concatenate(
            [charge_kw, discharge_kw, imports, exports, high_kwh, np.full(len(months), np.inf)]
        )
        dynamics = np.zeros(n)
        dynamics[0] = self._stored_kwh
        peaks = len(self._intervals)
        program.row_lower_ = np.concatenate([net, dynamics, np.full(peaks, -np.inf)])
        program.row_upper_ = np.concatenate([net, dynamics, np.zeros(peaks)])
        columns = self._columns(months)
        matrix = program.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kColwise
        matrix.start_ = np.cumsum([0, *(len(c) for c in columns)])
        matrix.index_ = np.array([row for column in columns for row, _ in column])
        matrix.value_ = np.array([value for column in columns for _, value in column])
        return program

    def _stored_bounds(self) -> tuple[list[float], list[float]]:
        config = self._config
        mark_pct = min(config.reserve_soc_pct, max(b.soc_max_pct for b in config.batteries))
        low_kwh = min(mark_pct / 100 * config.energy_kwh, self._stored_kwh)
        high_kwh = max(sum(b.soc_max_pct * b.energy_kwh for b in config.batteries) / 100, self._stored_kwh)
        low, high = [low_kwh] * self._n, [high_kwh] * self._n
        low[-1] = high[-1] = self._stored_kwh
        return low, high

    def _columns(self, months: list[str]) -> list[list[tuple[int, float]]]:
        """Rows of each column: power balance, energy balance, interval mean below the month's peak."""
        n, hours = self._n, self._hours
        charging, discharging = efficiencies(self._config)
        columns: list[list[tuple[int, float]]] = [[] for _ in range(5 * n + len(months))]
        for t in range(n):
            for block, sign in ((0, -1.0), (1, 1.0), (2, 1.0), (3, -1.0)):  # import - export + discharge - charge = net
                columns[block * n + t].append((t, sign))
            columns[t].append((n + t, -charging * hours))
            columns[n + t].append((n + t, hours / discharging))
            columns[4 * n + t].append((n + t, 1.0))
            if t + 1 < n:
                columns[4 * n + t].append((n + t + 1, -1.0))
        for row, (steps, month) in enumerate(zip(self._intervals.values(), self._months, strict=True), start=2 * n):
            for t in steps:
                columns[2 * n + t].append((row, 1.0 / len(steps)))
            columns[5 * n + months.index(month)].append((row, -1.0))
        return columns
