"""What dispatch saves, case by case, beside no battery, a night-valley rule and perfect foresight.

    make bench-dispatch                          the traces that come with Skerry, on the demo site
    make bench-dispatch CASES=DIR JOBS=8         every case in DIR (or in $SKERRY_YARDSTICK), on sites/yardstick-*.toml

A case is a folder with case.json (tariff, first_scored_utc, end_utc), prices.csv.gz, load.csv.gz and pv.csv.gz.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from console.replay.compare import Scored, compare
from console.replay.engine import Case, Replay
from console.replay.traces import LOAD_COLUMNS, PV_COLUMNS, Trace, instant, read_trace
from console.site import load
from drivers.tariffs.csv_file import load as load_prices
from drivers.twin.trace import trace_path

SITES = Path(__file__).resolve().parent.parent / "sites"
BUNDLED = "bundled"
BUNDLED_FROM, BUNDLED_TO = "2025-09-15T22:00:00Z", "2025-09-25T22:00:00Z"  # ten days, after ten of past
DEMO_SCALE = 1.5  # as in sites/demo.toml


@dataclass(frozen=True)
class Result:
    """One case, replayed."""

    name: str
    scored: Scored
    peak_kw: float
    low_soc_pct: float
    reserve_soc_pct: float
    over_fuse_w: float
    plans_lost: int
    solve_p95_ms: float
    seconds: float


def folder_case(folder: Path, step_s: int) -> Case:
    """A case of a folder."""
    meta = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    site = load(SITES / f"yardstick-{meta['tariff'].lower()}.toml")
    return Case(
        config=site.dispatch,
        prices=load_prices("prices.csv.gz", folder),
        load=read_trace(folder / "load.csv.gz", LOAD_COLUMNS),
        pv=read_trace(folder / "pv.csv.gz", PV_COLUMNS),
        start_s=instant(meta["first_scored_utc"]),
        end_s=instant(meta["end_utc"]),
        step_s=step_s,
    )


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


def play(name: str, folder: Path | None, step_s: int) -> Result:
    """Replay one case and score it."""
    case = bundled_case(step_s) if folder is None else folder_case(folder, step_s)
    began = time.perf_counter()
    run = Replay(case)
    for _ in run.run():
        pass
    seconds = time.perf_counter() - began
    done, solves = run.schedule, sorted(run.tally.solve_ms)
    scored = compare(case, done)
    imports = (a - b - c for a, b, c in zip(done.load_w, done.pv_w, done.battery_w, strict=True))
    return Result(
        name=name,
        scored=scored,
        peak_kw=max(scored.bills["skerry"].peaks_w.values()) / 1000,
        low_soc_pct=min(done.soc_pct),
        reserve_soc_pct=case.config.reserve_soc_pct,
        over_fuse_w=max(0.0, max(imports) - case.config.grid.fuse_w),
        plans_lost=run.tally.failed + run.tally.refused,
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
    if result.plans_lost:
        faults.append(f"{result.plans_lost} plans lost")
    totals = "".join(f"{bills[n].total_eur:>10.2f}" for n in ("none", "night_valley", "skerry", "perfect_foresight"))
    share = "—" if captured is None else f"{captured:.1f} %"
    figures = f"{result.peak_kw:>7.1f}{result.solve_p95_ms:>8.1f}{result.seconds:>7.0f}"
    return f"{result.name:<20}{totals}{share:>10}{figures}  {'; '.join(faults)}".rstrip()


def pooled(results: list[Result]) -> str:
    """The saving of all cases together as a share of what foresight would have saved."""
    none, own, best = (
        sum(r.scored.bills[n].total_eur for r in results) for n in ("none", "skerry", "perfect_foresight")
    )
    return f"pooled over {len(results)} cases: {100 * (none - own) / (none - best):.1f} % of perfect foresight's saving"


def _results(folders: dict[str, Path | None], jobs: int, step_s: int) -> Iterator[Result]:
    """Each case's result, in order; one process needs no pool."""
    if jobs == 1:
        yield from (play(name, folder, step_s) for name, folder in folders.items())
        return
    with ProcessPoolExecutor(jobs) as pool:
        for future in [pool.submit(play, name, folder, step_s) for name, folder in folders.items()]:
            yield future.result()


@click.command()
@click.argument("names", nargs=-1)
@click.option("--cases", type=click.Path(path_type=Path, exists=True, file_okay=False), envvar="SKERRY_YARDSTICK")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--step", "step_s", default=300, show_default=True, help="Seconds.")
def main(names: tuple[str, ...], cases: Path | None, jobs: int, step_s: int) -> None:
    """Replay the cases NAMES (default: every one without a job log) of a directory, else the bundled traces."""
    folders: dict[str, Path | None] = {BUNDLED: None}
    if cases is not None:
        found = sorted(p.parent for p in cases.glob("*/case.json"))
        folders = {p.name: p for p in found if p.name in names or not (names or (p / "jobs.csv.gz").exists())}
        if not folders:
            raise click.UsageError(f"{cases}: expected folders with a case.json, named {' '.join(names) or 'anyhow'}")
    head = "".join(f"{word:>10}" for word in ("none", "valley", "Skerry", "foresight", "captured"))
    click.echo(f"{'EUR':<20}{head}{'kW':>7}{'p95 ms':>8}{'s':>7}")
    results = []
    for result in _results(folders, jobs, step_s):
        results.append(result)
        click.echo(line(result))
        sys.stdout.flush()
    if len(results) > 1:
        click.echo(pooled(results))


if __name__ == "__main__":
    main()
