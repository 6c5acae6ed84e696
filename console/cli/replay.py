"""`skerry replay`: runs the controller over recorded data without knowledge of the future, and compares the bills."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from console.cli.example import LOAD, PRICES, ExampleCommand
from console.cli.failures import Failure
from console.cli.interruption import INTERRUPTED, interruptible
from console.cli.replay_inputs import Inputs, existing, read_case, read_fine_case, usage_errors
from console.cli.replay_report import draw_chart, limits, prepare_directory, report
from console.value_parsers import milliseconds
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.replay.engine import Replay
    from console.replay.fine import FineReplay
    from gateway.site.schema import Site

FINE_MS = 10_000  # shorter steps are played on the twin's physics


def _millis(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Whole milliseconds, > 0. Raises BadParameter."""
    return None if text is None else milliseconds(text)


EXAMPLE = (
    *("--prices", PRICES, "--load", LOAD, "--load-scale", "1.2", "--step", "15m"),
    *("--from", "2025-09-15", "--to", "2025-09-22", "--out", "skerry-example"),
)


@click.command(cls=ExampleCommand, words=EXAMPLE)
@click.argument("site", type=existing)
@click.option(
    "--prices",
    type=existing,
    help="CSV start_utc,price_eur_per_mwh; not needed where no charge follows the market's price.",
)
@click.option("--load", "load_file", type=existing, required=True, help="CSV start_utc,load_w (or power_w).")
@click.option("--pv", type=existing, help="CSV start_utc,pv_w (or power_w). Default: no PV.")
@click.option("--gpus", type=click.IntRange(1), help="Number of GPUs of the site, for which the jobs of --jobs queue.")
@click.option(
    "--notice",
    "notice_h",
    type=click.FloatRange(0, 168),
    default=0.0,
    metavar="HOURS",
    help="Announce every job of --jobs this long before it starts, as a power reservation.",
)
@click.option(
    "--jobs",
    type=existing,
    help="CSV of jobs: job_id, reference_start_utc; where known submit_utc, duration_s, time_limit_s, power_w, gpus, "
    "announced_utc, user.",
)
@click.option("--from", "begin", required=True, help="Start, such as 2025-11-01 (local midnight), or with a time.")
@click.option("--to", "end", required=True, help="End (exclusive).")
@click.option(
    "--step",
    "step_ms",
    default="5m",
    show_default=True,
    callback=_millis,
    help="Time step; divides the metering interval. Below 10 s, such as 100ms: with meter delay and PCS lag.",
)
@click.option(
    "--load-scale", type=click.FloatRange(0, min_open=True), default=1.0, help="Factor on the load. Default: 1."
)
@click.option("--repeat", is_flag=True, help="Steps below 10 s: repeat the load until --to.")
@click.option(
    "--meter-delay",
    "delay_ms",
    callback=_millis,
    help="Delay of the grid meter, for steps below 10 s. Default: the site file's.",
)
@click.option(
    "--pcs-lag",
    "lag_ms",
    callback=_millis,
    help="Time constant of the PCS, for steps below 10 s. Default: the site file's, else 300ms.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Directory for the results."
)
@click.option(
    "--soc", "soc_pct", type=click.FloatRange(0, 100), default=50.0, show_default=True, help="SoC at the start, %."
)
def replay(site: Path, out: Path, **options: Any) -> int:
    """Replay recorded prices, load and PV with the controller and planner of SITE, and compare the bills.

    At each instant the controller knows only what it would have known. Data before --from is history to learn from.
    Files may be gzipped. Writes schedule.csv, summary.json, chart.png and, with --jobs, jobs_started.csv to --out.
    Ctrl-C keeps what was done so far (exit code 130).

    With steps below 10 s, summary.json also has the ramp of import and its means over metering intervals.
    """
    from gateway.site.loader import load

    loaded, asked = load(site), _Options(**options)
    _check(asked)
    return (_replay_fine if asked.step_ms < FINE_MS else _replay)(loaded, asked, out)


class _Options(NamedTuple):
    """The options as typed, but for the directory."""

    prices: Path | None
    load_file: Path
    pv: Path | None
    jobs: Path | None
    gpus: int | None
    notice_h: float
    begin: str
    end: str
    step_ms: int
    load_scale: float
    repeat: bool
    delay_ms: int | None
    lag_ms: int | None
    soc_pct: float

    @property
    def inputs(self) -> Inputs:
        return Inputs(self.prices, self.load_file, self.pv, self.begin, self.end, self.load_scale, self.repeat)


def _check(asked: _Options) -> None:
    """Raises UsageError for options that do not go together."""
    if asked.jobs is None and (asked.gpus or asked.notice_h):
        raise click.UsageError("--gpus, --notice: expected --jobs with them")
    if asked.step_ms < FINE_MS:
        if asked.jobs is not None:
            raise click.UsageError("--jobs: expected a --step of at least 10 s with it")
        return
    if asked.repeat or asked.delay_ms is not None or asked.lag_ms is not None:
        raise click.UsageError("--repeat, --meter-delay, --pcs-lag: expected a --step below 10 s with them")
    if asked.step_ms % 1000:
        raise click.UsageError(f"--step: expected whole seconds from 10 s on, not {asked.step_ms} ms")


def _replay(site: Site, asked: _Options, out: Path) -> int:
    """Steps of 10 s and more: play, write, report; returns the exit code."""
    from console.replay.compare import compare
    from console.replay.engine import Replay
    from console.replay.job_file import JobFile, read_jobs
    from console.replay.output import summary, write_jobs, write_schedule, write_summary

    with usage_errors():
        case = read_case(site, asked.inputs, asked.step_ms // 1000, asked.soc_pct)
        log = read_jobs(asked.jobs) if asked.jobs is not None else JobFile([], ())
        case = msgspec.structs.replace(
            case,
            jobs=tuple(log.jobs),
            gpus_total=asked.gpus,
            notice_s=3600 * asked.notice_h,
            notes=(*case.notes, *log.notes),
        )
        run = Replay(case)
    began = time.monotonic()
    complete = _play(run, (case.end_s - case.start_s) // case.step_s)
    wall_s = time.monotonic() - began
    prepare_directory(out)
    write_schedule(out / "schedule.csv", run.schedule)
    scored = compare(run.case, run.schedule)
    write_summary(out / "summary.json", summary(run.case, run.schedule, run.plan_counts, scored, wall_s))
    draw_chart(out, site, run.case, run.schedule, scored)
    if asked.jobs is not None:
        write_jobs(out / "jobs_started.csv", log.jobs, case.start_s, run.schedule.end_s)
    report(run, run.schedule, scored, out)
    return exit_codes.OK if complete else INTERRUPTED


def _replay_fine(site: Site, asked: _Options, out: Path) -> int:
    """The same for steps below 10 s."""
    from console.replay.compare import compare
    from console.replay.fine import FineReplay
    from console.replay.output import summary, write_schedule, write_summary

    delays = {"meter_delay_s": asked.delay_ms, "pcs_lag_s": asked.lag_ms}
    given = {name: None if ms is None else ms / 1000 for name, ms in delays.items()}
    with usage_errors():
        run = FineReplay(read_fine_case(site, asked.inputs, asked.step_ms, asked.soc_pct, given))
    case, began = run.case, time.monotonic()
    complete = _play(run, (case.end_s - case.start_s) * 1000 // case.step_ms)
    whole, schedule = run.by_second()
    if not len(schedule):
        raise Failure("interrupted before the first second was over: nothing written", INTERRUPTED)
    prepare_directory(out)
    write_schedule(out / "schedule.csv", run.schedule)
    scored = msgspec.structs.replace(compare(whole, schedule), comparable=schedule.end_s - case.start_s >= 86400)
    content = summary(whole, schedule, run.plan_counts, scored, time.monotonic() - began)
    extremes = run.extremes()
    write_summary(out / "summary.json", content | {"step_s": case.step_ms / 1000, **extremes})
    draw_chart(out, case.site, whole, schedule, scored)
    report(run, schedule, scored, out)
    for line in limits(extremes):
        click.echo(line)
    return exit_codes.OK if complete else INTERRUPTED


def _play(run: Replay | FineReplay, steps: int) -> bool:
    """Run it to its end, with a progress bar; False when it was interrupted, always between two steps."""
    with (
        interruptible() as interrupted,
        click.progressbar(length=steps, label="replay", update_min_steps=max(1, steps // 200), file=sys.stderr) as bar,
    ):
        for _ in run.run():
            bar.update(1)
            if interrupted.is_set():
                return False
        bar.finish()
    return True
