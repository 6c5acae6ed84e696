"""What each source of information is worth to dispatch, alone and together, and whether knowing more costs anything.

    python -m benchmarks.ablation --cases DIR --step 900                    every case with a job log
    python -m benchmarks.ablation --cases DIR --billed FILE --only queue,queue+billed DE_nov_jobs

Cases, billed peaks and steps are those of `benchmarks.dispatch`. Shares of what perfect foresight would have saved, %.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from benchmarks.dispatch import Result, Setup, play, pooled_pct

BILLED = "billed"
LESS = {"queue": "nothing", "notice": "queue", "billed": "nothing", "queue+billed": "queue", "notice+billed": "notice"}
WAYS = ("nothing", *LESS)
MONTH_POINTS = 3.0  # a single month may lose so much by an hour that a pulse ends earlier
Shares = Mapping[str, Mapping[str, Result]]  # by way and case


def setup_of(way: str, base: Setup, notice_h: float, billed: Path | None) -> Setup:
    """What is known in one of the ways."""
    sources = way.split("+")
    return dataclasses.replace(
        base,
        queue="queue" in sources,
        notice_h=notice_h if "notice" in sources else 0.0,
        billed=billed if BILLED in sources else None,
    )


def table(results: Shares) -> Iterator[str]:
    """A row for each case, one for all together, and what knowing more cost."""
    yield f"{'%':<22}" + "".join(f"{way:>14}" for way in results)
    names = list(next(iter(results.values())))
    for name in names:
        yield _row(name, [results[way][name].scored.captured_pct("skerry") for way in results])
    if len(names) > 1:
        yield _row(f"pooled, {len(names)} cases", [pooled_pct([*results[way].values()]) for way in results])
    yield from losses(results)


def losses(results: Shares) -> Iterator[str]:
    """Where more information gave less: pooled at all, in a month by more than `MONTH_POINTS`."""
    for more, less in LESS.items():
        if more not in results or less not in results:
            continue
        gained = pooled_pct([*results[more].values()]) - pooled_pct([*results[less].values()])
        yield f"{more} against {less}: {gained:+.1f} points pooled" + (": MISSED" if gained < 0 else "")
        for name, result in results[more].items():
            own, other = (r.scored.captured_pct("skerry") for r in (result, results[less][name]))
            if own is not None and other is not None and other - own > MONTH_POINTS:
                yield f"  {name}: {own - other:+.1f} points: MISSED, at most {MONTH_POINTS:g} less is the goal"


def _row(name: str, shares: Sequence[float | None]) -> str:
    return f"{name:<22}" + "".join(f"{'—' if share is None else f'{share:.1f}':>14}" for share in shares)


def _played(folders: Mapping[str, Path], setups: Mapping[str, Setup], jobs: int) -> Shares:
    """Every case in every way."""
    with ProcessPoolExecutor(jobs) as pool:
        begun = {way: {n: pool.submit(play, n, p, setup) for n, p in folders.items()} for way, setup in setups.items()}
        return {way: {n: future.result() for n, future in each.items()} for way, each in begun.items()}


def _ways(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    ways = tuple(text.split(",")) if text else WAYS
    if unknown := [way for way in ways if way not in WAYS]:
        raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(WAYS)}, with commas between")
    return ways


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--cases", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), envvar="SKERRY_YARDSTICK"
)
@click.option("--billed", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Of benchmarks.billed.")
@click.option("--notice", "notice_h", default=12.0, show_default=True, metavar="HOURS", help="Of every start.")
@click.option("--only", "ways", default="", callback=_ways, help=f"Some of {','.join(WAYS)}.")
@click.option("--step", "step_s", default=900, show_default=True, help="Seconds.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
def main(
    names: tuple[str, ...],
    cases: Path,
    billed: Path | None,
    notice_h: float,
    ways: tuple[str, ...],
    step_s: int,
    jobs: int,
) -> None:
    """Replay the cases NAMES (default: every one with a job log) of a directory with more and less known."""
    there = {p.parent.name: p.parent for p in sorted(cases.glob("*/case.json")) if (p.parent / "jobs.csv.gz").exists()}
    folders = {name: path for name, path in there.items() if not names or name in names}
    if not folders:
        raise click.UsageError(f"{cases}: expected folders with case.json and jobs.csv.gz, named {' '.join(names)}")
    known = [way for way in ways if billed is not None or BILLED not in way.split("+")]
    setups = {way: setup_of(way, Setup(step_s=step_s), notice_h, billed) for way in known}
    if not setups:
        raise click.UsageError(f"{', '.join(ways)}: expected --billed FILE with it")
    for line in table(_played(folders, setups, jobs)):
        click.echo(line)


if __name__ == "__main__":
    main()
