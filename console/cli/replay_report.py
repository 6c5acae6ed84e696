"""What `skerry replay` leaves: the files in its directory, and the run and its bills on the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.pictures import drawn

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.replay.compare import Comparison
    from console.replay.engine import Case, Replay, Schedule
    from console.replay.fine import FineReplay
    from gateway.site.schema import Site

NAMES = {
    "none": "no battery",
    "night_valley": "night-valley rule",
    "skerry": "Skerry",
    "perfect_foresight": "perfect foresight",
}


def prepare_directory(out: Path) -> None:
    """Make the directory for the results; what an earlier run left there goes, and is named."""
    from console.replay.output import earlier_results

    if found := earlier_results(out):
        click.echo(f"skerry: note: {out} held {found}: it is replaced", err=True)
        (out / "jobs_started.csv").unlink(missing_ok=True)  # the only file that not every run writes
    out.mkdir(parents=True, exist_ok=True)


def draw_chart(out: Path, site: Site, case: Case, schedule: Schedule, scored: Comparison) -> None:
    """The picture comes last: should it fail, the figures are there."""
    with drawn(out / "chart.png"):
        from console.plotting import write_png  # loads matplotlib
        from console.replay.picture import draw

        billed_w = scored.bills["skerry"].peaks_w
        write_png(out / "chart.png", lambda figure: draw(figure, site.site.name, case, schedule, billed_w))


def limits(extremes: dict[str, Any]) -> Iterator[str]:
    """Ramp and intervals in a few lines."""
    ramp, interval = extremes["ramp"], extremes["interval"]
    limit = ramp["limit_w_per_s"]
    for window in ("1s", "10s"):
        both = (ramp[f"{name}_max_w_per_s_of_{window}_means"] / 1000 for name in ("import", "net_load"))
        yield "ramp      between means of {:>3}: import {:.2f}, load less PV {:.2f} kW/s".format(window, *both) + (
            "" if limit is None else f"; limit {limit / 1000:g}"
        )
    if limit is not None:
        yield (
            f"          import faster over 1 s for {ramp['import_above_limit_s']:g} s in all, "
            f"{ramp['import_longest_above_limit_s']:g} s at a time"
        )
    if interval["whole"]:
        yield (
            f"interval  highest mean of {interval['whole']}: import {interval['import_max_w'] / 1000:.2f}, "
            f"load less PV {interval['net_load_max_w'] / 1000:.2f} kW; contract {interval['limit_w'] / 1000:g} kW"
        )
    else:
        yield "interval  no metering interval was played from end to end"


def _table(scored: Comparison) -> Iterator[str]:
    """The bills side by side; what caps took from compute has its column where there was any."""
    shed = any(round(one.shed_eur, 2) for one in scored.bills.values())
    caps = f"{'shed':>9}" if shed else ""
    yield f"{'':<18}{'total':>11}{'energy':>11}{'peak':>10}{'wear':>9}{caps}{'captured':>10}   EUR"
    for name, one in scored.bills.items():
        share = scored.captured_pct(name)
        captured = "—" if share is None else f"{share:.0f} %"
        energy = one.energy_eur - one.stored_eur
        caps = f"{one.shed_eur:>9.2f}" if shed else ""
        yield (
            f"{NAMES[name]:<18}{one.total_eur:>11.2f}{energy:>11.2f}{one.peak_eur:>10.2f}{one.wear_eur:>9.2f}{caps}"
            f"{captured:>10}"
        )
    standing_eur = scored.bills["skerry"].standing_eur
    if standing_eur:
        yield f"Each total has {standing_eur:.2f} EUR of contract, fixed and reactive charges."
    if scored.co2_eur_per_tonne:
        each = ", ".join(f"{NAMES[name]} {one.co2_eur:.2f}" for name, one in scored.bills.items())
        yield f"CO2 at {scored.co2_eur_per_tonne:g} EUR/t: {each} EUR, not billed; captured counts it"


def report(run: Replay | FineReplay, schedule: Schedule, scored: Comparison, out: Path) -> None:
    """The run in strips of blocks, the table of strategies, and what was odd."""
    from console.replay.chart import terminal

    for line in terminal(schedule, shutil.get_terminal_size().columns):
        click.echo(line)
    for line in _table(scored):
        click.echo(line)
    for note in scored.notes:
        click.echo(f"skerry: note: {note}", err=True)
    plan_counts = run.plan_counts
    if plan_counts.failed or plan_counts.refused:
        lost = f"{plan_counts.failed} plans failed, {plan_counts.refused} refused by their check"
        click.echo(f"skerry: note: {lost}: {plan_counts.trouble}", err=True)
    if run.schedule.end_s < run.case.end_s:
        done = len(run.schedule) * run.schedule.step_s / (run.case.end_s - run.case.start_s)
        click.echo(f"skerry: interrupted after {100 * done:.0f} %; what was done is in {out}, marked partial", err=True)
