"""What dispatch saves, case by case, beside no battery, a night-valley rule and perfect foresight.

    make bench-dispatch                          the traces that come with Skerry, on the demo site
    make bench-dispatch CASES=DIR JOBS=8         every case in DIR (or in $SKERRY_YARDSTICK), on sites/yardstick-*.toml

A case is a folder with case.json (tariff, first_scored_utc, end_utc), prices.csv.gz, load.csv.gz and pv.csv.gz. One
that also has jobs.csv.gz is replayed only when named, or with --queue or --notice: what is known of its jobs. The
columns after "captured" say where the loss against foresight is, in EUR.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from console.replay.compare import Comparison, ScoredPeriod, compare
from console.replay.engine import Case, Replay
from console.replay.job_file import read_jobs
from console.replay.output import write_schedule
from console.replay.remarks import OVER_W, export_means_w
from console.replay.traces import LOAD_COLUMNS, PV_COLUMNS, Trace, instant, read_trace
from dispatch.billing.bill import Bill
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import CapsConfig
from drivers.tariffs.csv_file import load as load_prices
from drivers.twin.trace import trace_path
from gateway.site.loader import load

SITES = Path(__file__).resolve().parent.parent / "sites"
BUNDLED = "bundled"
BUNDLED_FROM, BUNDLED_TO = "2025-09-15T22:00:00Z", "2025-09-25T22:00:00Z"  # ten days, after ten of past
DEMO_SCALE = 1.5  # more than sites/demo.toml draws: its battery cannot hold all of it
DAY_S, OUTAGE_H = 86_400, 10  # an outage begins at 10 o'clock, two hours before prices are published
CAPS_SHARE, CAPS_IDLE_W = 0.25, 21_120.0  # the yardstick's: a quarter of what its nodes take above idle


@dataclass(frozen=True)
class Setup:
    """How the cases are replayed."""

    step_s: int = 300
    caps_eur_per_kwh: float | None = None  # value of a kWh that capped GPUs do not get
    gpu_hour_eur: float | None = None  # value of a GPU-hour lost to caps, counts before the other; both None: no caps
    queue: bool = False  # running jobs, their limits and the queue are known
    notice_h: float = 0.0  # every start is announced so long before
    price_outage_h: float = 0.0  # so long no prices are fetched
    outage_day: int = 10  # from the morning of this day on, before the next day's prices come
    out: Path | None = None  # for the schedules
    billed: Path | None = None  # peaks of the cases' other months, as `benchmarks.billed` writes them


@dataclass(frozen=True)
class Result:
    """One case, replayed."""

    name: str
    scored: Comparison
    peak_kw: float
    low_soc_pct: float
    reserve_soc_pct: float
    over_fuse_w: float
    over_export_s: float  # so long export was above its limit, by the finest rows of load and PV
    plans_lost: int
    solve_p95_ms: float
    seconds: float


def folder_case(folder: Path, setup: Setup) -> Case:
    """A case of a folder."""
    meta = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    site = load(SITES / f"yardstick-{meta['tariff'].lower()}.toml")
    with_jobs = setup.queue or setup.notice_h > 0
    return Case(
        config=site.dispatch,
        prices=load_prices("prices.csv.gz", folder),
        load=read_trace(folder / "load.csv.gz", LOAD_COLUMNS),
        pv=read_trace(folder / "pv.csv.gz", PV_COLUMNS),
        start_s=instant(meta["first_scored_utc"]),
        end_s=instant(meta["end_utc"]),
        step_s=setup.step_s,
        jobs=tuple(read_jobs(folder / "jobs.csv.gz").jobs) if with_jobs else (),
        gpus_total=meta.get("gpus_total"),
        notice_s=3600 * setup.notice_h,
    )


def with_billed(case: Case, peaks_kw: dict[str, float]) -> Case:
    """The case with what its owner would have read from earlier bills, all with the battery in use."""
    since = min(peaks_kw, default="")
    grid = msgspec.structs.replace(case.config.grid, billed_peaks_kw=peaks_kw, battery_since=since)
    return msgspec.structs.replace(case, config=msgspec.structs.replace(case.config, grid=grid))


def bundled_case(step_s: int) -> Case:
    """The demo site on the bundled load and prices, without PV."""
    loads = read_trace(trace_path("bundled:helios"), LOAD_COLUMNS)
    return Case(
        config=load(SITES / "demo.toml").dispatch,
        prices=load_prices("bundled:de-lu-2025", SITES),
        load=Trace(loads.start_s, loads.step_s, [DEMO_SCALE * w for w in loads.w]),
        pv=Trace(loads.start_s, loads.step_s, [0.0] * len(loads.w)),
        start_s=instant(BUNDLED_FROM),
        end_s=instant(BUNDLED_TO),
        step_s=step_s,
    )


def play(name: str, folder: Path | None, setup: Setup) -> Result:
    """Replay one case and score it."""
    case = bundled_case(setup.step_s) if folder is None else folder_case(folder, setup)
    if setup.caps_eur_per_kwh is not None or setup.gpu_hour_eur is not None:
        caps = CapsConfig(
            value_eur_per_kwh=setup.caps_eur_per_kwh or 0.0,
            price_eur_per_gpu_hour=setup.gpu_hour_eur,
            max_share=CAPS_SHARE,
            idle_w=CAPS_IDLE_W,
        )
        case = msgspec.structs.replace(case, config=msgspec.structs.replace(case.config, caps=caps))
    if setup.billed is not None:
        case = with_billed(case, json.loads(setup.billed.read_text(encoding="utf-8")).get(name, {}))
    if setup.price_outage_h > 0:
        from_s = case.start_s + DAY_S * (setup.outage_day - 1) + OUTAGE_H * 3600
        case = msgspec.structs.replace(case, price_outage=(from_s, from_s + int(3600 * setup.price_outage_h)))
    began = time.perf_counter()
    run = Replay(case)
    for _ in run.run():
        pass
    seconds = time.perf_counter() - began
    done, solves = run.schedule, sorted(run.plan_counts.solve_ms)
    scored = compare(case, done)
    if setup.out is not None:
        write_schedule(setup.out / f"{name}.csv", done)
    flows = zip(done.load_w, done.shed_w, done.pv_w, done.battery_w, strict=True)
    imports = (load - shed - pv - battery for load, shed, pv, battery in flows)
    stretch, grid = ScoredPeriod(case, done.end_s), case.config.grid
    exports_w = export_means_w(grid, stretch.fine_s, stretch.grid_w(done))
    return Result(
        name=name,
        scored=scored,
        peak_kw=max(scored.bills["skerry"].peaks_w.values()) / 1000,
        low_soc_pct=min(done.soc_pct),
        reserve_soc_pct=reserve_soc_pct(case.config),
        over_fuse_w=max(0.0, max(imports) - case.config.grid.fuse_w),
        over_export_s=stretch.fine_s * sum(w > grid.export_limit_w + OVER_W for w in exports_w),
        plans_lost=run.plan_counts.failed + run.plan_counts.refused,
        solve_p95_ms=solves[int(0.95 * len(solves))] if solves else 0.0,
        seconds=seconds,
    )


def line(result: Result) -> str:
    """One row of the table."""
    bills, scored = result.scored.bills, result.scored
    captured = scored.captured_pct("skerry")
    faults = []
    if result.low_soc_pct < result.reserve_soc_pct - 1e-3:
        faults.append(f"SoC down to {result.low_soc_pct:.2f} %, reserve {result.reserve_soc_pct:.2f} %")
    if result.over_fuse_w > 1:
        faults.append(f"{result.over_fuse_w:.0f} W over the fuse")
    if result.over_export_s:
        faults.append(f"{result.over_export_s / 60:.0f} min of export above its limit")
    if result.plans_lost:
        faults.append(f"{result.plans_lost} plans lost")
    totals = "".join(f"{bills[n].total_eur:>10.2f}" for n in ("none", "night_valley", "skerry", "perfect_foresight"))
    share = "—" if captured is None else f"{captured:.1f} %"
    losses = "".join(f"{eur:>8.2f}" for eur in _losses(bills["skerry"], bills["perfect_foresight"]))
    figures = f"{result.peak_kw:>7.1f}{result.solve_p95_ms:>8.1f}{result.seconds:>7.0f}"
    return f"{result.name:<20}{totals}{share:>10}{losses}{figures}  {'; '.join(faults)}".rstrip()


def _losses(own: Bill, best: Bill) -> tuple[float, ...]:
    """Energy (less what is left in the battery), peak, wear, shed: how much dearer each is than foresight's."""
    energy = own.energy_eur - own.stored_eur - best.energy_eur + best.stored_eur
    return energy, own.peak_eur - best.peak_eur, own.wear_eur - best.wear_eur, own.shed_eur


def pooled_pct(results: list[Result]) -> float:
    """The saving of all cases together as a share of what foresight would have saved, %."""
    none, own, best = (
        sum(r.scored.bills[n].total_eur for r in results) for n in ("none", "skerry", "perfect_foresight")
    )
    return 100 * (none - own) / (none - best)


def pooled(results: list[Result]) -> str:
    """The same in words."""
    return f"pooled over {len(results)} cases: {pooled_pct(results):.1f} % of perfect foresight's saving"


def _results(folders: dict[str, Path | None], jobs: int, setup: Setup) -> Iterator[Result]:
    """Each case's result, in order; one process needs no pool."""
    if jobs == 1:
        yield from (play(name, folder, setup) for name, folder in folders.items())
        return
    with ProcessPoolExecutor(jobs) as pool:
        for future in [pool.submit(play, name, folder, setup) for name, folder in folders.items()]:
            yield future.result()


@click.command()
@click.argument("names", nargs=-1)
@click.option("--cases", type=click.Path(path_type=Path, exists=True, file_okay=False), envvar="SKERRY_YARDSTICK")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--step", "step_s", default=300, show_default=True, help="Seconds.")
@click.option("--caps", "caps_eur_per_kwh", type=click.FloatRange(0), metavar="EUR", help="GPU caps, per kWh.")
@click.option(
    "--gpu-hour",
    "gpu_hour_eur",
    type=click.FloatRange(0, min_open=True),
    metavar="EUR",
    help="GPU caps, per lost GPU-hour.",
)
@click.option("--queue", is_flag=True, help="Cases with a job log: running jobs, limits and queue are known.")
@click.option("--notice", "notice_h", default=0.0, metavar="HOURS", help="The same, every start announced before.")
@click.option("--price-outage", "price_outage_h", default=0.0, metavar="HOURS", help="So long no prices are fetched.")
@click.option("--outage-day", default=10, show_default=True, type=click.IntRange(1), help="Day on which that begins.")
@click.option(
    "--billed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Peaks of the cases' other months (benchmarks.billed).",
)
@click.option("--out", type=click.Path(path_type=Path, exists=True, file_okay=False), help="For the schedules.")
def main(names: tuple[str, ...], cases: Path | None, jobs: int, **options: Any) -> None:
    """Replay the cases NAMES (default: every one without a job log) of a directory, else the bundled traces."""
    setup = Setup(**options)
    folders: dict[str, Path | None] = {BUNDLED: None}
    if cases is not None:
        logs = setup.queue or setup.notice_h > 0
        there = {p.parent.name: p.parent for p in sorted(cases.glob("*/case.json"))}
        folders = {n: p for n, p in there.items() if (n in names if names else (p / "jobs.csv.gz").exists() == logs)}
        if not folders:
            raise click.UsageError(f"{cases}: expected folders with a case.json, named {' '.join(names) or 'anyhow'}")
    head = "".join(f"{word:>10}" for word in ("none", "valley", "Skerry", "foresight", "captured"))
    head += "".join(f"{word:>8}" for word in ("energy", "peak", "wear", "shed"))
    click.echo(f"{'EUR':<20}{head}{'kW':>7}{'p95 ms':>8}{'s':>7}")
    results = []
    for result in _results(folders, jobs, setup):
        results.append(result)
        click.echo(line(result))
        sys.stdout.flush()
    if len(results) > 1:
        click.echo(pooled(results))


if __name__ == "__main__":
    main()
