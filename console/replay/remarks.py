"""Gives the remarks that limit what the figures of a replay mean: gaps, missing prices, short periods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from console.replay.job_file import Job
from console.replay.traces import utc
from dispatch.billing.bill import Bill
from dispatch.billing.market_prices import SAME_HOUR_DAYS, PriceSeries
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig, GridConfig
from dispatch.forecasting.job_queue import UNLIMITED_S
from dispatch.model.plan import NEAR_W
from dispatch.planning.step_inputs import MARKET_EUR_PER_MWH
from dispatch.wording.formatting import kw, span

DAY_S = 86400
WHOLE_DAYS = {"month": 28, "year": 365}  # fewer are no whole period
CENT_EUR = 0.01
OVER_W = 1.0  # above a limit by less counts as kept
LEAST_SHARE = 0.01  # of the connection, or of the PV's peak: a highest value below it is one in kW
MOST_OF_PEAK = 1.5  # cold modules under edges of clouds give more than their peak power, but not this much


def short_period(terms: DemandTerms, length_s: float, what: str = "figures") -> Iterator[str]:
    """That a demand charge weighs more in this stretch than over its period; nothing where it does not."""
    whole = WHOLE_DAYS[terms.per]
    if terms.eur_per_kw <= 0 or length_s >= whole * DAY_S:
        return
    days = length_s / DAY_S
    length, bear = (f"{days:.3g} days", "bear") if days > 1 else ("1 day" if days == 1 else span(length_s), "bears")
    yield (
        f"{length} {bear} the demand charge of a whole {terms.per}, and the peak may rise at once to what is expected "
        f"of the {terms.per}: {what} over less than that are no forecast"
    )


def over_contract(grid: GridConfig, start_s: int, step_s: int, grid_w: Sequence[float]) -> Iterator[str]:
    """How often and how far the mean import of a metering interval was above the contract. `grid_w`: > 0 is import."""
    length_s = grid.metering_interval_s
    sums: dict[int, list[float]] = {}
    for k, w in enumerate(grid_w):
        sums.setdefault((start_s + k * step_s) // length_s, []).append(max(w, 0.0))
    means_w = {number: sum(watts) / len(watts) for number, watts in sums.items()}
    above = sum(w > grid.contracted_peak_w + NEAR_W for w in means_w.values())
    if not above:
        return
    highest = max(means_w, key=lambda number: means_w[number])
    yield (
        f"contract: import was above the {kw(grid.contracted_peak_w)} of grid.contracted_peak_w in {above} of "
        f"{len(means_w)} metering intervals; the highest is {means_w[highest] / 1000:.2f} kW, from "
        f"{utc(highest * length_s)} on"
    )


def over_export(grid: GridConfig, start_s: int, step_s: int, grid_w: Sequence[float]) -> Iterator[str]:
    """For how long and how far export was above its limit; over `export_window_s`, where that is longer than a step."""
    means_w = export_means_w(grid, step_s, grid_w)
    above_s = step_s * sum(w > grid.export_limit_w + OVER_W for w in means_w)
    if not above_s:
        return
    highest = max(range(len(means_w)), key=means_w.__getitem__)
    yield (
        f"export: it was above the {kw(grid.export_limit_w)} of grid.export_limit_w for {span(above_s)}; the highest "
        f"is {means_w[highest] / 1000:.2f} kW, at {utc(start_s + highest * step_s)}"
    )


def export_means_w(grid: GridConfig, step_s: int, grid_w: Sequence[float]) -> list[float]:
    """Mean export, W, over the `export_window_s` that ends with each step; of the step itself, where that is longer."""
    export_w = [max(-w, 0.0) for w in grid_w]
    rows = max(1, grid.export_window_s // step_s)
    sums = list(accumulate(export_w, initial=0.0))
    return [(sums[k + 1] - sums[max(0, k + 1 - rows)]) / min(k + 1, rows) for k in range(len(export_w))]


def unpriced(start_s: int, step_s: int, known: Sequence[bool]) -> Iterator[str]:
    """How much of the time was billed at prices that nobody published, from when to when. One value per step."""
    gaps: list[tuple[int, int]] = []
    for k, priced in enumerate(known):
        at = start_s + k * step_s
        if not priced:
            first = gaps.pop()[0] if gaps and gaps[-1][1] == at else at
            gaps.append((first, at + step_s))
    if not gaps:
        return
    share = 100 * (len(known) - sum(known)) / len(known)
    when = f"from {utc(gaps[0][0])} to {utc(gaps[-1][1])}"
    if len(gaps) > 1:
        when += f" in {len(gaps)} gaps, the first to {utc(gaps[0][1])}"
    stand_in = f"the mean of the same hour on the last {SAME_HOUR_DAYS} days that have prices"
    if share == 100:
        stand_in += ", or 0 where the file has none at all"
    yield (
        f"prices: the file has none for {share:.3g} % of the time, {when}; billed there is {stand_in}: "
        "the bills are an estimate"
    )


def beyond_market(start_s: int, end_s: int, prices: PriceSeries) -> Iterator[str]:
    """How many prices of this stretch no day-ahead market could have given."""
    low, high = MARKET_EUR_PER_MWH
    inside = [(t, p) for t, p in zip(prices.start_utc_s, prices.eur_per_mwh, strict=True) if start_s <= t < end_s]
    odd = [(t, p) for t, p in inside if p is not None and not low <= p <= high]
    if odd:
        lowest, highest = min(p for _, p in odd), max(p for _, p in odd)
        seen = f"{lowest:g}" if lowest == highest else f"{lowest:g} to {highest:g}"
        yield (
            f"prices: {len(odd)} of {len(inside)} are beyond the market's limits of {low:g} and {high:g} EUR/MWh "
            f"({seen}, the first at {utc(odd[0][0])}): taken as they are"
        )


def doubtful_jobs(start_s: int, end_s: int, jobs: Sequence[Job], gpus_total: int | None) -> Iterator[str]:
    """What the forecast cannot take from the log: jobs without power, without a limit, or larger than the site.

    Of those that are known in this stretch. `gpus_total`: of the site; None: not told.
    """
    if jobs and not any(job.power_w > 0 for job in jobs):
        yield "jobs: none has submit_utc, duration_s and power_w: the log tells the forecast nothing"
        return
    known = [j for j in jobs if j.power_w > 0 and j.submit_s < end_s and j.reference_s + j.duration_s > start_s]
    without = sum(1 for job in known if not job.time_limit_s)
    if without:
        days = UNLIMITED_S / 86400
        yield f"jobs: {without} of {len(known)} have no time limit: while they run, taken to end within {days:g} days"
    larger = sum(1 for job in known if gpus_total is not None and job.gpus > gpus_total)
    if larger:
        yield f"jobs: {larger} of {len(known)} want more than the {gpus_total} GPUs of --gpus: the queue waits in vain"


def doubtful_load(name: str, highest_w: float, config: DispatchConfig, pv_peak_w: float) -> Iterator[str]:
    """That a load looks as if it were in another unit than W: beside the connection, or more than could be supplied."""
    fuse_w = config.grid.fuse_w
    most_w = fuse_w + config.discharge_w + pv_peak_w
    if highest_w < LEAST_SHARE * fuse_w:
        yield (
            f"{name}: the highest load is {highest_w / 1000:.2g} kW beside a connection of {kw(fuse_w)}: "
            "is the column in W, or in kW? It is taken as W"
        )
    elif highest_w > most_w:
        yield (
            f"{name}: the highest load is {kw(highest_w)}, more than fuse, battery and PV together can supply "
            f"({kw(most_w)}): is the column in W, and of this site?"
        )


def doubtful_pv(name: str, highest_w: float, peak_w: float) -> Iterator[str]:
    """The same of a PV power, beside the peak power of the site file. 0: it has none."""
    if peak_w <= 0 or LEAST_SHARE * peak_w <= highest_w <= MOST_OF_PEAK * peak_w:
        return
    if highest_w > 0:
        yield (
            f"{name}: the highest PV power is {highest_w / 1000:.2g} kW beside peak_w = {kw(peak_w)} of the site: "
            "is the column in W? It is taken as W"
        )


def no_bound(bills: Mapping[str, Bill]) -> Iterator[str]:
    """A remark if the replay was cheaper than perfect foresight, and why that can be; nothing otherwise."""
    if bills["perfect_foresight"].minimised_eur > bills["skerry"].minimised_eur + CENT_EUR:
        yield (
            "perfect foresight is no bound here: it plans in quarter hours, ends with the SoC that it began with, and "
            "keeps the reserve also where the fuse would have it used"
        )
