"""The plan as a linear program: its columns, rows, costs, bounds and coefficients. `lp_solver` solves it.

Everything here is kW, kWh, hours and EUR. numpy is imported when the first program is built.

Columns, for each of n steps: charge, discharge, import up to the fuse, import above it, export up to the limit, export
above it, the stored energy in layers (floor | up to the reserve | equal parts up to the ceiling, one of them cut at
the resting level) whose worth falls from layer to layer, so that they fill in order, and what PV is limited by. Then
for each calendar month the peak in parts: what is paid anyway, what a higher one costs in rising steps, and above the
contract. Where a charge adds up what intervals have above its contract, the parts of each interval's excess
(`lp_excess`). Then the running interval's mean above its target; after it, where ageing has a price, the columns of
`lp_ageing`. An idle battery is always a solution: what the world may break is a price or leaves room for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dispatch.planning.lp_ageing import AgeingPart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHARGE, DISCHARGE, IMPORT, OVER_FUSE, EXPORT, OVER_EXPORT, LAYER = range(7)
READY_LAYERS = 5  # equal parts between reserve and ceiling, for the worth of being ready
LAYERS = 2 + READY_LAYERS + 1
CURTAIL = LAYER + LAYERS
BLOCKS = CURTAIL + 1
RISES = 7
PEAKS = 1 + RISES + 1  # for each month: paid anyway, rising steps, above the contract
EXCESS_PARTS = 4  # for each `Excess`
# in the power balance
SIGNS = ((IMPORT, 1), (OVER_FUSE, 1), (EXPORT, -1), (OVER_EXPORT, -1), (DISCHARGE, 1), (CHARGE, -1), (CURTAIL, -1))
TIE_EUR_PER_KWH = 1e-5  # throughput is never quite free, and export never quite earns what import costs
BELOW_AFTER_H = 24.0  # after the last step; without it a plan that begins below the reserve would end there
EARLY_EUR_PER_KWH_H = 1e-5  # of equal hours, charge in the first and discharge in the last


Column = list[tuple[int, float]]  # of the matrix: (row, coefficient)


@dataclass(frozen=True)
class Metering:
    """One interval of the utility meter inside the horizon, for one charge.

    Its mean import is (energy_kwh + own import) / hours.
    """

    steps: tuple[int, ...]
    month: int
    hours: float
    energy_kwh: float = 0.0  # imported before the horizon begins


@dataclass(frozen=True)
class Month:
    """One calendar month the horizon touches: the peak that is paid for anyway, and what rising above it costs.

    Where the demand charge averages days it is one such day; where it counts at some hours only, the other hours share
    one that does not count: only the contract is kept in it.

    `rises`: (kW, share of the demand price), shares not falling; above the last the whole price is paid. Each charge on
    peaks has months of its own; those of the main charge also keep the contract.
    """

    base_kw: float
    rises: tuple[tuple[float, float], ...] = ()
    counts: bool = True
    demand: float = 0.0  # EUR per kW
    charge: int = 0  # number of the charge; 0 is the main one
    limits: bool = True  # False: any import is free


@dataclass(frozen=True)
class Excess:
    """One interval of the utility meter, and what it has above the contract of a charge that adds that up.

    Without a charge (`by` empty) any import is free in it.
    """

    steps: tuple[int, ...]
    hours: float
    energy_kwh: float = 0.0  # imported before the horizon begins
    base_kw: float = math.inf  # the contract
    charge: int = -1  # number of the charge
    account: str = ""  # of the period that it belongs to
    by: str = ""  # how it adds up (`dispatch.billing.excess`)
    price: float = 0.0  # EUR/kW, or EUR/h
    share: float = 1.0  # how many of the charge's intervals it is; of hours, its hours
    before: float = 0.0  # what has added up before: kW, kW^2, h
    expected_kw: float = 0.0  # what the prices were made for
    parts: tuple[tuple[float, float], ...] = ((math.inf, 0.0),)  # kW, EUR/kW; each dearer than the one before

    @property
    def key(self) -> tuple[int, str]:
        """Charge and period."""
        return self.charge, self.account


@dataclass(frozen=True)
class Problem:
    """All the numbers of one plan. `net_kw` is load - pv; prices are EUR per kWh, all included."""

    hours: tuple[float, ...]
    net_kw: tuple[float, ...]
    buy: tuple[float, ...]
    sell: tuple[float, ...]
    charge_kw: tuple[float, ...]  # limit in each step
    discharge_kw: tuple[float, ...]
    charge_efficiency: float
    discharge_efficiency: float
    stored_kwh: float
    layers_kwh: tuple[float, ...]  # LAYERS widths: floor, to the reserve, then up to the ceiling
    resting_layers: int  # so many of them are below the resting level
    wear: float
    demand: float  # EUR per kW of peak, of all charges together
    fuse_kw: float
    export_limit_kw: tuple[float, ...]  # in each step, by the site file and by signals
    contracted_kw: float
    meterings: tuple[Metering, ...]
    months: tuple[Month, ...]
    ready: tuple[tuple[float, ...], ...] = ()  # [step][layer above the reserve]: EUR/kWh stored at the step's end
    target_kw: float | None = None  # mean import the running metering interval is to keep
    import_limit_kw: tuple[float, ...] = ()  # that signals ask for, by step; infinite: none. Empty: nowhere
    curtail_kw: tuple[float, ...] = ()  # the most that PV may be limited by in each step. Empty: it cannot be limited
    curtail_least_kw: tuple[float, ...] = ()  # what an obligation on production takes of it. Empty: nothing
    quarter: int = 0  # number of the first step: how far the last solution's basis has to move
    above_kwh: tuple[float, ...] = ()  # by step, room above the layers for a balancing charge; empty: none
    full_eur: tuple[float, ...] = ()  # by step, EUR for each kWh stored at its end, for the same; empty: none
    ageing: AgeingPart | None = None  # what cycles cost by their depth, and holding energy; None: nothing
    excesses: tuple[Excess, ...] = ()  # the same number for each metering interval

    @cached_property
    def penalties(self) -> Penalties:
        """What breaking each soft bound costs."""
        return penalties(self)

    @cached_property
    def numbers(self) -> ModelNumbers:
        """Costs, bounds and right-hand sides of the linear program."""
        return model_numbers(self)


@dataclass(frozen=True)
class Solution:
    """What HiGHS found. `peaks_kw`: for each month, the interval mean that is paid for."""

    charge_kw: list[float]
    discharge_kw: list[float]
    peaks_kw: list[float]
    seconds: float
    excess_kw: tuple[float, ...] = ()  # of each `Excess`
    objective_eur: float = 0.0  # what was minimised


@dataclass(frozen=True)
class Penalties:
    """What breaking each soft bound costs, all in proportion to the site's own prices: scaling them changes no plan.

    In order: the fuse (EUR/kWh) outweighs the floor, which outweighs the contract (EUR/kW), which outweighs the month's
    peak. Coming back up to the reserve is worth less than a peak within the hour, more than any spread within hours.
    """

    fuse: float
    floor: float  # EUR per kWh and hour, as the next two
    reserve: float
    ready: float
    signal: (
        float  # EUR per kWh above what a signal or the export limit asks for: more than any spread, less than a peak
    )
    contract: float  # EUR per kW
    stored_low: float  # EUR per kWh left at the end, up to the resting level: what it costs to buy again
    stored_high: float  # above it: what it saves


def penalties(problem: Problem) -> Penalties:
    """Price the soft bounds of a problem."""
    span = sum(problem.hours) or 1.0
    mean = max(0.0, sum(p * h for p, h in zip(problem.buy, problem.hours, strict=True)) / span)
    unit = max(0.01, *(abs(p) for p in problem.buy), *(abs(p) for p in problem.sell))
    floor = 100 * (problem.demand + unit)
    low = (mean + problem.wear) / problem.charge_efficiency * 1.001
    return Penalties(
        fuse=100 * floor,
        floor=floor,
        reserve=unit,
        ready=0.002 * mean,
        signal=2 * unit,
        contract=3 * (problem.demand + unit),
        stored_low=low,
        stored_high=max(0.0, (mean - problem.wear) * problem.discharge_efficiency - shallowest_eur_per_kwh(problem)),
    )


def shallowest_eur_per_kwh(problem: Problem) -> float:
    """What taking a kWh out of the store costs at least by ageing."""
    prices = () if problem.ageing is None else problem.ageing.ageing.eur_per_kwh
    return prices[0] if prices else 0.0


def first_excess(problem: Problem) -> int:
    """The first column of what intervals have above contracts: after the months' peaks."""
    return BLOCKS * len(problem.hours) + PEAKS * len(problem.months)


def target_column(problem: Problem) -> int:
    """The column of the running interval's mean above its target: after the excesses, before ageing's."""
    return first_excess(problem) + EXCESS_PARTS * len(problem.excesses)


def target_row(problem: Problem) -> int:
    """The row of the running interval's target: after the meterings and the excesses, before ageing's."""
    return 2 * len(problem.hours) + len(problem.meterings) + len(problem.excesses)


@dataclass
class ModelNumbers:
    cost: Floats
    lower: Floats
    upper: Floats
    rows_lower: Floats
    rows: Floats  # upper bounds


def model_numbers(problem: Problem) -> ModelNumbers:
    import numpy as np

    n, value = len(problem.hours), problem.penalties
    hours, buy = np.array(problem.hours), np.array(problem.buy)
    # export may never earn what import costs in the same step, or doing both at once would pay
    sell = np.minimum(np.array(problem.sell), buy - TIE_EUR_PER_KWH)
    through = hours * (problem.wear + TIE_EUR_PER_KWH)
    above = LAYERS - problem.resting_layers
    layers = (value.floor, value.reserve) + (value.ready,) * (LAYERS - 2 - above) + (EARLY_EUR_PER_KWH_H,) * above
    left = [value.stored_low] * (LAYERS - above) + [value.stored_high] * above
    left[1] += BELOW_AFTER_H * value.reserve  # what is below the reserve at the end comes back no sooner
    ready = np.zeros((n, LAYERS))
    if problem.ready:
        ready[:, 2:] = problem.ready
    limit = import_limits(problem)
    over = np.where(limit < problem.fuse_kw, value.signal, value.fuse)
    beyond = hours * (np.maximum(0.0, -sell) + value.signal)
    cost = [through, through, hours * buy, hours * (buy + over), -hours * sell, beyond]
    for per_hour, at_end, spares in zip(layers, left, ready.T, strict=True):
        held = -hours * per_hour - spares
        held[-1] -= at_end
        if problem.full_eur:
            held = held - np.array(problem.full_eur)
        cost.append(held)
    cost.append(hours * TIE_EUR_PER_KWH)
    full = np.ones(n)
    # beyond the limits only what load and PV do by themselves: the battery never adds to it, and 0 is always a way out
    net = np.array(problem.net_kw)
    least, most = curtail_bounds(problem)
    over_fuse = np.maximum(0.0, net + least - limit)
    export = np.array(problem.export_limit_kw)
    over_export = np.maximum(0.0, -net - export)
    upper = [np.array(problem.charge_kw), np.array(problem.discharge_kw), limit, over_fuse]
    upper += [export, over_export]
    upper += [full * width for width in problem.layers_kwh]
    if problem.above_kwh:
        upper[-1] = upper[-1] + np.array(problem.above_kwh)
    upper.append(most)
    peak_cost, peak_lower, peak_upper = [], [], []
    for month in problem.months:
        widths, prices = _peak_steps(month, problem)
        contract = 0.0 if month.charge else value.contract
        peak_cost += [month.demand, *prices, month.demand + contract]
        peak_lower += [month.base_kw] + [0.0] * (RISES + 1)
        peak_upper += [month.base_kw, *widths, np.inf]
    for excess in problem.excesses:
        spare = EXCESS_PARTS - len(excess.parts)
        peak_cost += [*(price for _, price in excess.parts), *[0.0] * spare]
        peak_lower += [0.0] * EXCESS_PARTS
        peak_upper += [*(width for width, _ in excess.parts), *[0.0] * spare]
    own = problem.meterings[0]
    target_kwh = np.inf if problem.target_kw is None else own.hours * problem.target_kw - own.energy_kwh
    dynamics = np.zeros(n)
    dynamics[0] = problem.stored_kwh
    ageing, none = problem.ageing, np.zeros(0)
    age_cost, age_bounds, age_rows = none, (none, none), (none, none)
    if ageing is not None:
        age_cost, age_bounds, age_rows = ageing.costs(problem.hours), ageing.bounds(n), ageing.rows(n)
    row_limits = [-m.energy_kwh for m in problem.meterings]
    row_limits += [excess.hours * excess.base_kw - excess.energy_kwh for excess in problem.excesses]
    return ModelNumbers(
        cost=np.concatenate([*cost, peak_cost, [value.contract], age_cost]),
        lower=np.concatenate([np.zeros(CURTAIL * n), least, peak_lower, [0.0], age_bounds[0]]),
        upper=np.concatenate([*upper, peak_upper, [np.inf], age_bounds[1]]),
        rows_lower=np.concatenate([net, dynamics, np.full(len(row_limits) + 1, -np.inf), age_rows[0]]),
        rows=np.concatenate([net, dynamics, row_limits, [target_kwh], age_rows[1]]),
    )


def import_limits(problem: Problem) -> Floats:
    """Import in each step up to which it costs its price alone, kW: the fuse, or what a signal asks for."""
    import numpy as np

    asked = problem.import_limit_kw or (np.inf,) * len(problem.hours)
    limits: Floats = np.minimum(np.array(asked), problem.fuse_kw)
    return limits


def curtail_bounds(problem: Problem) -> tuple[Floats, Floats]:
    """The least and the most that PV is limited by in each step, kW."""
    import numpy as np

    none = (0.0,) * len(problem.hours)
    least = np.array(problem.curtail_least_kw or none)
    return least, np.maximum(least, np.array(problem.curtail_kw or none))


def curtailed_kw(problem: Problem, charge_kw: Sequence[float], discharge_kw: Sequence[float]) -> Floats:
    """What PV is limited by in each step with these battery powers, kW: what is cheapest.

    Where export costs, nothing of it is exported; where import pays, nothing of it is used in its place; else only what
    the export limit does not take.
    """
    import numpy as np

    least, most = curtail_bounds(problem)
    exported = np.array(discharge_kw) - np.array(charge_kw) - np.array(problem.net_kw)
    allowed = np.where(np.array(problem.sell) < -TIE_EUR_PER_KWH, 0.0, np.array(problem.export_limit_kw))
    wanted = np.where(np.array(problem.buy) < 0.0, most, exported - allowed)
    result: Floats = np.clip(wanted, least, most)
    return result


def _peak_steps(month: Month, problem: Problem) -> tuple[list[float], list[float]]:
    """Widths, kW, and prices, EUR/kW, of the parts from the month's base up to the contract; cut off there."""
    if not month.limits:
        return [0.0] * RISES, [0.0] * RISES
    room = max(0.0, problem.contracted_kw - month.base_kw)
    widths, prices, demand = [], [], month.demand if month.counts else problem.demand
    for width, share in (*month.rises[: RISES - 1], (room, 1.0 if len(month.rises) < RISES else month.rises[-1][1])):
        widths.append(min(width, room))
        prices.append(demand * share + TIE_EUR_PER_KWH)
        room -= widths[-1]
    spare = RISES - len(widths)
    return widths + [0.0] * spare, prices + [demand + TIE_EUR_PER_KWH] * spare


def coefficients(problem: Problem, column_count: int) -> list[Column]:
    """The matrix by columns. Rows: power balance and stored energy of each step, each metering, target, ageing's."""
    columns: list[Column] = [[] for _ in range(column_count)]
    _put_balances(columns, problem)
    for row, metering in enumerate(problem.meterings, start=2 * len(problem.hours)):
        _put_import(columns, row, metering, problem)
        first_part = BLOCKS * len(problem.hours) + PEAKS * metering.month
        for part in range(first_part, first_part + PEAKS):
            columns[part].append((row, -metering.hours))
    first = first_excess(problem)
    for k, excess in enumerate(problem.excesses):
        row = 2 * len(problem.hours) + len(problem.meterings) + k
        _put_import(columns, row, excess, problem)
        for part in range(first + EXCESS_PARTS * k, first + EXCESS_PARTS * (k + 1)):
            columns[part].append((row, -excess.hours))
    running, last = problem.meterings[0], target_row(problem)
    _put_import(columns, last, running, problem)
    columns[target_column(problem)].append((last, -running.hours))
    if problem.ageing is not None:
        n = len(problem.hours)
        stored = [[layer * n + t for layer in range(LAYER, LAYER + LAYERS)] for t in range(n)]
        for column, row, value in problem.ageing.entries(target_column(problem) + 1, last + 1, stored):
            columns[column].append((row, value))
    return columns


def _put_balances(columns: list[Column], problem: Problem) -> None:
    """Rows t: import - export + discharge - charge - limited PV = net load. Rows n + t: how what is stored changes."""
    n = len(problem.hours)
    for t, hours in enumerate(problem.hours):
        for block, sign in SIGNS:
            columns[block * n + t].append((t, sign))
        columns[CHARGE * n + t].append((n + t, -problem.charge_efficiency * hours))
        columns[DISCHARGE * n + t].append((n + t, hours / problem.discharge_efficiency))
        for layer in range(LAYER, LAYER + LAYERS):
            columns[layer * n + t].append((n + t, 1.0))
            if t + 1 < n:
                columns[layer * n + t].append((n + t + 1, -1.0))


def _put_import(columns: list[Column], row: int, metering: Metering | Excess, problem: Problem) -> None:
    """The energy imported in a metering's steps."""
    n = len(problem.hours)
    for t in metering.steps:
        columns[IMPORT * n + t].append((row, problem.hours[t]))
        columns[OVER_FUSE * n + t].append((row, problem.hours[t]))
