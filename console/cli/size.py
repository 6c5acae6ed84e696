"""`skerry size`: compares sizes of battery and PV, and tariffs, over recorded load, PV and prices."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click
import msgspec

from console.cli.failures import Failure
from console.cli.replay import INTERRUPTED, existing, interruptible, make_room, read_case, readable, stretch
from console.value_parsers import percent
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.sizing.sweep import Base, Outcome, Point
    from gateway.site.schema import Site

LEAST_STEP_S = 60


def _at_most_all(_context: click.Context, _option: click.Parameter, pct: float | None) -> float | None:
    if pct is not None and pct > 100:
        raise click.BadParameter(f"{pct:g} %: expected at most 100 %, the whole bill")
    return pct


@click.command()
@click.argument("site", type=existing)
@click.option("--prices", type=existing, required=True, help="CSV start_utc,price_eur_per_mwh.")
@click.option("--load", "load_file", type=existing, required=True, help="CSV start_utc,load_w (or power_w).")
@click.option("--pv", type=existing, help="CSV start_utc,pv_w (or power_w) of the site file's [[pv]]. Default: no PV.")
@click.option("--from", "begin", required=True, help="Start, such as 2025-11-01 (local midnight), or with a time.")
@click.option("--to", "end", required=True, help="End (exclusive).")
@click.option("--energy", metavar="KWH", help="Battery energies: 50..200kWh/25, or 50,100. Default: the site file's.")
@click.option("--power", metavar="KW", help="PCS powers: 25..100kW/25. Default: the site file's.")
@click.option("--pv-kwp", metavar="KWP", help="PV peak powers: 0..50kWp/25. Default: the site file's.")
@click.option(
    "--tariff", "tariffs", type=existing, multiple=True, help="Site file whose [tariff] is compared. May be repeated."
)
@click.option(
    "--want", type=percent, callback=_at_most_all, metavar="40%", help="Mark the points with at least this saving."
)
@click.option(
    "--saving",
    "against",
    type=click.Choice(["battery", "site"]),
    default="battery",
    show_default=True,
    help="Compare with the bill without battery, or without battery and PV.",
)
@click.option(
    "--step", default="15m", show_default=True, help="Time step of the replays; divides the metering interval."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Directory for sizing.csv and map.png.")
@click.option("--jobs", type=click.IntRange(1), help="Number of processes. Default: one per core.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Run on the Dask cluster of this scheduler.")
def size(
    site: Path,
    prices: Path,
    load_file: Path,
    pv: Path | None,
    begin: str,
    end: str,
    energy: str | None,
    power: str | None,
    pv_kwp: str | None,
    tariffs: tuple[Path, ...],
    want: float | None,
    against: str,
    step: str,
    out: Path | None,
    jobs: int | None,
    scheduler: str | None,
) -> int:
    """Replay SITE for each combination of sizes and tariffs, and show the saving of each.

    Several batteries and PCS of the site file keep their proportions. Ctrl-C keeps the finished points, marked partial.
    """
    from console.replay.remarks import short_period
    from console.sizing.maps import terminal
    from gateway.site.loader import load

    loaded = load(site)
    with readable():
        base = _base(loaded, site, prices, load_file, pv, begin, end, step, tariffs)
        points = _points(base, pv is not None, energy, power, pv_kwp)
    began = time.monotonic()
    found = _sweep(base, points, min(jobs or os.cpu_count() or 1, len(points)), scheduler)
    for line in terminal(found, points, want, against):
        click.echo(line)
    for note in short_period(base.config.tariff.demand_terms, base.end_s - base.start_s, "savings"):
        click.echo(f"skerry: note: {note}", err=True)
    if out is not None:
        _write(out, found, points, want, against, time.monotonic() - began)
        _draw(out, loaded, base, found, points, want, against)
    return exit_codes.OK if len(found) == len(points) else INTERRUPTED


def _base(
    site: Site,
    path: Path,
    prices: Path,
    load_file: Path,
    pv: Path | None,
    begin: str,
    end: str,
    step: str,
    tariffs: tuple[Path, ...],
) -> Base:
    """What all points share. Raises ValueError, OSError."""
    from console.sizing.sweep import Base
    from console.value_parsers import seconds
    from gateway.site.loader import load

    step_s = int(seconds(step))
    if step_s < LEAST_STEP_S or site.grid.metering_interval_s % step_s:
        raise ValueError(f"--step {step}: expected 1m or more that divides {site.grid.metering_interval_s} s")
    if not site.dispatch.energy_kwh or not site.dispatch.discharge_w:
        raise ValueError(f"{path}: expected a [[battery]] and its [[pcs]], whose proportions the sizes keep")
    case = read_case(site, prices, load_file, pv, *stretch(begin, end, site), step_s, 50.0)
    if case.start_s % step_s or case.end_s % step_s:
        raise ValueError(f"--from {begin} --to {end}: expected whole steps of {step} between them")
    terms = {file.stem: load(file).tariff for file in tariffs or (path,)}
    if len(terms) < len(tariffs):
        raise ValueError(f"--tariff: expected files of different names, found {', '.join(f.name for f in tariffs)}")
    return Base(
        config=site.dispatch,
        tariffs=dict(terms),
        prices=case.prices,
        load=case.load,
        pv=case.pv,
        pv_kwp=sum(p.peak_w for p in site.pv) / 1000 if pv is not None else 0.0,
        start_s=case.start_s,
        end_s=case.end_s,
        step_s=step_s,
    )


def _points(base: Base, has_pv: bool, energy: str | None, power: str | None, pv_kwp: str | None) -> list[Point]:
    """Raises ValueError."""
    from console.sizing.sweep import points, values

    if has_pv and not base.pv_kwp:
        raise ValueError("--pv: expected a [[pv]] with its peak_w in the site file, whose power the file holds")
    if pv_kwp is not None and not has_pv:
        raise ValueError("--pv-kwp: expected --pv with it, the power to scale")
    return points(
        values(energy, "kWh") if energy is not None else (base.config.energy_kwh,),
        values(power, "kW") if power is not None else (base.config.discharge_w / 1000,),
        values(pv_kwp, "kWp") if pv_kwp is not None else (base.pv_kwp,),
        list(base.tariffs),
    )


def _sweep(base: Base, points: list[Point], jobs: int, scheduler: str | None) -> list[Outcome]:
    """Play them all, or as many as are done when Ctrl-C comes, with a progress bar."""
    from console.sizing.workers import WorkersFailed, cluster, outcomes, processes

    found: list[Outcome] = []
    workers = processes(base, jobs) if scheduler is None else cluster(base, scheduler)
    try:
        with (
            interruptible() as interrupted,
            workers as submit,
            click.progressbar(length=len(points), label="size", show_pos=True) as bar,
        ):
            for outcome in outcomes(submit, points, interrupted.is_set):
                found.append(outcome)
                bar.update(1)
    except WorkersFailed as error:
        raise Failure(str(error)) from None
    return sorted(found, key=lambda one: one.point)


def _write(
    out: Path, found: list[Outcome], points: list[Point], want: float | None, against: str, wall_s: float
) -> None:
    from console.sizing.maps import write_csv

    make_room(out)
    write_csv(out / "sizing.csv", found, want, against)
    content = {
        "partial": len(found) < len(points),
        "points": len(points),
        "played": len(found),
        "want_pct": want,
        "saving_against": against,
        "wall_s": round(wall_s, 1),
    }
    (out / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _draw(
    out: Path, site: Site, base: Base, found: list[Outcome], points: list[Point], want: float | None, against: str
) -> None:
    """The picture comes last: should it fail, the figures are there."""
    from console.plotting import period, write_png  # loads matplotlib
    from console.sizing.picture import draw

    zone = ZoneInfo(site.site.timezone)
    title = f"{site.site.name}: savings from {period(base.start_s, base.end_s, zone)}, {zone.key}"
    write_png(out / "map.png", lambda figure: draw(figure, title, found, points, want, against))
