"""`skerry size`: compares sizes of battery and PV, and tariffs, over recorded load, PV and prices."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import click
import msgspec

from console.cli.example import LOAD, PRICES, ExampleCommand
from console.cli.failures import Failure
from console.cli.interruption import INTERRUPTED, interruptible
from console.cli.pictures import drawn
from console.cli.replay_inputs import Inputs, existing, read_case, usage_errors
from console.cli.replay_report import prepare_directory
from console.value_parsers import kilowatts, percent
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.sizing.sweep import Base, Outcome, Point
    from gateway.site.schema import Site

LEAST_STEP_S = 60


def _at_most_all(_context: click.Context, _option: click.Parameter, pct: float | None) -> float | None:
    if pct is not None and pct > 100:
        raise click.BadParameter(f"{pct:g} %: expected at most 100 %, the whole bill")
    return pct


EXAMPLE = (
    *("--prices", PRICES, "--load", LOAD, "--from", "2025-09-15", "--to", "2025-09-18"),
    *("--energy", "50..150kWh/50", "--power", "30..60kW/30"),
)


@click.command(cls=ExampleCommand, words=EXAMPLE)
@click.argument("site", type=existing)
@click.option(
    "--prices",
    type=existing,
    help="CSV start_utc,price_eur_per_mwh; not needed where no charge follows the market's price.",
)
@click.option("--load", "load_file", type=existing, required=True, help="CSV start_utc,load_w (or power_w).")
@click.option("--pv", type=existing, help="CSV start_utc,pv_w (or power_w) of the site file's [[pv]]. Default: no PV.")
@click.option("--from", "begin", required=True, help="Start, such as 2025-11-01 (local midnight), or with a time.")
@click.option("--to", "end", required=True, help="End (exclusive).")
@click.option("--energy", metavar="KWH", help="Battery energies: 50..200kWh/25, or 50,100. Default: the site file's.")
@click.option("--power", metavar="KW", help="PCS powers: 25..100kW/25. Default: the site file's.")
@click.option("--pv-kwp", metavar="KWP", help="PV peak powers: 0..50kWp/25. Default: the site file's.")
@click.option("--nodes", metavar="N", help="Compute nodes more than the load has: 0..8/1, or 0,2,4. Needs --node-kw.")
@click.option(
    "--node-kw", type=kilowatts, metavar="KW", help="What each of them draws, with cooling, at the highest load."
)
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
def size(site: Path, out: Path | None, **options: Any) -> int:
    """Replay SITE for each combination of sizes and tariffs, and show the saving of each.

    Several batteries and PCS of the site file keep their proportions. Ctrl-C keeps the finished points, marked partial.

    With --nodes: how many more nodes fit behind the contract, with which capping, and what that costs. Each is as busy
    as the recorded load: it draws --node-kw when that is highest. No perfect foresight is computed.
    """
    from console.replay.remarks import short_period
    from console.sizing.maps import terminal
    from console.sizing.node_map import node_map
    from dispatch.billing.peak_charges import main_charge
    from gateway.site.loader import load

    loaded, asked = load(site), _Options(**options)
    with usage_errors():
        base = _base(loaded, site, asked)
        points = _points(base, asked)
    began = time.monotonic()
    found = _sweep(base, points, min(asked.jobs or os.cpu_count() or 1, len(points)), asked.scheduler)
    shown = node_map(found, points) if base.node_w else terminal(found, points, asked.want, asked.against)
    for line in shown:
        click.echo(line)
    for note in (*base.notes, *short_period(main_charge(base.config), base.end_s - base.start_s, "savings")):
        click.echo(f"skerry: note: {note}", err=True)
    if out is not None:
        _write(out, found, points, asked, time.monotonic() - began)
        _draw(out, loaded, base, found, points, asked)
    return exit_codes.OK if len(found) == len(points) else INTERRUPTED


class _Options(NamedTuple):
    """The options as typed, but for the directory."""

    prices: Path | None
    load_file: Path
    pv: Path | None
    begin: str
    end: str
    energy: str | None
    power: str | None
    pv_kwp: str | None
    nodes: str | None
    node_kw: float | None
    tariffs: tuple[Path, ...]
    want: float | None
    against: str
    step: str
    jobs: int | None
    scheduler: str | None


def _base(site: Site, path: Path, asked: _Options) -> Base:
    """What all points share. Raises ValueError, OSError."""
    from console.sizing.sweep import Base
    from console.value_parsers import seconds
    from gateway.site.loader import load

    step_s, tariffs = int(seconds(asked.step)), asked.tariffs
    if step_s < LEAST_STEP_S or site.grid.metering_interval_s % step_s:
        raise ValueError(f"--step {asked.step}: expected 1m or more that divides {site.grid.metering_interval_s} s")
    if not site.dispatch.energy_kwh or not site.dispatch.discharge_w:
        raise ValueError(f"{path}: expected a [[battery]] and its [[pcs]], whose proportions the sizes keep")
    if (asked.nodes is None) != (asked.node_kw is None) or not (asked.node_kw is None or 0 < asked.node_kw < math.inf):
        raise ValueError("--nodes and --node-kw: expected both, and a power above 0 kW")
    case = read_case(site, Inputs(asked.prices, asked.load_file, asked.pv, asked.begin, asked.end), step_s, 50.0)
    if case.start_s % step_s or case.end_s % step_s:
        raise ValueError(f"--from {asked.begin} --to {asked.end}: expected whole steps of {asked.step} between them")
    terms = {file.stem: load(file).tariff for file in tariffs or (path,)}
    if len(terms) < len(tariffs):
        raise ValueError(f"--tariff: expected files of different names, found {', '.join(f.name for f in tariffs)}")
    return Base(
        config=site.dispatch,
        tariffs=dict(terms),
        prices=case.prices,
        load=case.load,
        pv=case.pv,
        pv_kwp=sum(p.peak_w for p in site.pv) / 1000 if asked.pv is not None else 0.0,
        start_s=case.start_s,
        end_s=case.end_s,
        step_s=step_s,
        notes=(*case.notes, *case.load.notes, *case.pv.notes),
        node_w=1000 * asked.node_kw if asked.node_kw is not None else 0.0,
    )


def _points(base: Base, asked: _Options) -> list[Point]:
    """Raises ValueError."""
    from console.sizing.sweep import node_counts, points, values

    if asked.pv is not None and not base.pv_kwp:
        raise ValueError("--pv: expected a [[pv]] with its peak_w in the site file, whose power the file holds")
    if asked.pv_kwp is not None and asked.pv is None:
        raise ValueError("--pv-kwp: expected --pv with it, the power to scale")
    return points(
        values(asked.energy, "kWh") if asked.energy is not None else (base.config.energy_kwh,),
        values(asked.power, "kW") if asked.power is not None else (base.config.discharge_w / 1000,),
        values(asked.pv_kwp, "kWp") if asked.pv_kwp is not None else (base.pv_kwp,),
        list(base.tariffs),
        node_counts(asked.nodes) if asked.nodes is not None else (0,),
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
            click.progressbar(length=len(points), label="size", show_pos=True, file=sys.stderr) as bar,
        ):
            for outcome in outcomes(submit, points, interrupted.is_set):
                found.append(outcome)
                bar.update(1)
    except WorkersFailed as error:
        raise Failure(str(error)) from None
    return sorted(found, key=lambda one: one.point)


def _write(out: Path, found: list[Outcome], points: list[Point], asked: _Options, wall_s: float) -> None:
    from console.sizing.maps import write_csv
    from console.sizing.node_map import write_nodes_csv

    prepare_directory(out)
    if asked.nodes is None:
        write_csv(out / "sizing.csv", found, asked.want, asked.against)
    else:
        write_nodes_csv(out / "sizing.csv", found)
    content = {
        "partial": len(found) < len(points),
        "points": len(points),
        "played": len(found),
        "want_pct": asked.want,
        "saving_against": asked.against,
        "wall_s": round(wall_s, 1),
    }
    (out / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _draw(out: Path, site: Site, base: Base, found: list[Outcome], points: list[Point], asked: _Options) -> None:
    """The picture comes last: should it fail, the figures are there."""
    with drawn(out / "map.png"):
        from console.plotting import period, write_png  # loads matplotlib
        from console.sizing.node_picture import draw_nodes
        from console.sizing.picture import draw

        zone = ZoneInfo(site.site.timezone)
        when = f"{period(base.start_s, base.end_s, zone)}, {zone.key}"
        if base.node_w:
            title = f"{site.site.name}: nodes of {base.node_w / 1000:g} kW that fit\n{when}"
            write_png(out / "map.png", lambda figure: draw_nodes(figure, title, found, points))
            return
        title = f"{site.site.name}: savings from {when}"
        write_png(out / "map.png", lambda figure: draw(figure, title, found, points, asked.want, asked.against))
