"""`skerry replay`: runs the controller over recorded data without knowledge of the future, and compares the bills."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
import msgspec

from console.cli.failures import Failure
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.replay.compare import Scored
    from console.replay.engine import Case, Replay, Schedule
    from console.replay.fine import FineReplay
    from dispatch.billing.prices import PriceSeries
    from gateway.site.schema import Site

INTERRUPTED = 130
DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|)$")
FACTORS = {"ms": 1, "": 1000, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000}
FINE_MS = 10_000  # shorter steps are played on the twin's physics
NAMES = {
    "none": "no battery",
    "night_valley": "night-valley rule",
    "skerry": "Skerry",
    "perfect_foresight": "perfect foresight",
}
existing = click.Path(path_type=Path)


def _millis(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Whole milliseconds, > 0."""
    if text is None:
        return None
    found = DURATION.match(text)
    step_ms = 0.0 if found is None else float(found[1]) * FACTORS[found[2]]
    if step_ms <= 0 or step_ms % 1:
        raise click.BadParameter(f"{text!r}: expected a duration such as 5m, 60s or 100ms")
    return int(step_ms)


@click.command()
@click.argument("site", type=existing)
@click.option("--prices", type=existing, required=True, help="CSV start_utc,price_eur_per_mwh.")
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
    help="CSV of jobs: job_id, reference_start_utc; where known submit_utc, duration_s, time_limit_s, power_w, gpus.",
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
def replay(
    site: Path,
    prices: Path,
    load_file: Path,
    pv: Path | None,
    jobs: Path | None,
    gpus: int | None,
    notice_h: float,
    begin: str,
    end: str,
    step_ms: int,
    load_scale: float,
    repeat: bool,
    delay_ms: int | None,
    lag_ms: int | None,
    out: Path,
    soc_pct: float,
) -> int:
    """Replay recorded prices, load and PV with the controller and planner of SITE, and compare the bills.

    At each instant the controller knows only what it would have known. Data before --from is history to learn from.
    Files may be gzipped. Writes schedule.csv, summary.json, chart.png and, with --jobs, jobs_started.csv to --out.
    Ctrl-C keeps what was done so far (exit code 130).

    With steps below 10 s, summary.json also has the ramp of import and its means over metering intervals.
    """
    from console.replay.engine import Replay
    from console.replay.traces import read_jobs
    from gateway.site.loader import load

    loaded = load(site)
    if jobs is None and (gpus or notice_h):
        raise click.UsageError("--gpus, --notice: expected --jobs with them")
    if step_ms < FINE_MS:
        if jobs is not None:
            raise click.UsageError("--jobs: expected a --step of at least 10 s with it")
        delays = {"meter_delay_s": delay_ms, "pcs_lag_s": lag_ms}
        given = {name: None if ms is None else ms / 1000 for name, ms in delays.items()}
        with readable():
            fine = _fine(loaded, prices, load_file, pv, (begin, end), step_ms, load_scale, repeat, soc_pct, given)
        return _play_fine(fine, out)
    if repeat or delay_ms is not None or lag_ms is not None:
        raise click.UsageError("--repeat, --meter-delay, --pcs-lag: expected a --step below 10 s with them")
    if step_ms % 1000:
        raise click.UsageError(f"--step: expected whole seconds from 10 s on, not {step_ms} ms")
    step_s = step_ms // 1000
    log = None
    with readable():
        span = stretch(begin, end, loaded)
        case = read_case(loaded, prices, load_file, pv, *span, step_s, soc_pct, load_scale)
        log = read_jobs(jobs) if jobs is not None else None
        case = msgspec.structs.replace(case, jobs=tuple(log or ()), gpus_total=gpus, notice_s=3600 * notice_h)
        run = Replay(case)
    began = time.monotonic()
    complete = _play(run, (case.end_s - case.start_s) // step_s)
    scored = _write(run, loaded, out, time.monotonic() - began)
    if log is not None:
        from console.replay.output import write_jobs

        write_jobs(out / "jobs_started.csv", log, case.start_s, run.schedule.end_s)
    _report(run, run.schedule, scored, out)
    return exit_codes.OK if complete else INTERRUPTED


@contextmanager
def readable() -> Iterator[None]:
    """Files and options that cannot be used are bad usage."""
    try:
        yield
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None
    except ValueError as error:  # a TraceFileError, a TariffFileError, or a step that does not fit
        raise Failure(str(error), exit_codes.USAGE) from None


def instant(text: str, site: Site) -> int:
    """POSIX seconds of an instant given in UTC, or without a zone in the site's local time. Raises ValueError."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r}: expected an instant such as 2025-11-01 or 2025-10-31T23:00:00Z") from None
    return int((when if when.tzinfo else when.replace(tzinfo=ZoneInfo(site.site.timezone))).timestamp())


def stretch(begin: str, end: str, site: Site) -> tuple[int, int]:
    """Both ends as POSIX seconds. Raises ValueError, also when the end is not after the beginning."""
    start_s, end_s = instant(begin, site), instant(end, site)
    if end_s <= start_s:
        raise ValueError(f"--to {end} must be after --from {begin}")
    return start_s, end_s


def prices_of(path: Path) -> PriceSeries:
    """The prices of the option's file. Raises TariffFileError, and OSError for one that cannot be opened."""
    from drivers.tariffs.csv_file import load

    path.open("rb").close()  # the loader would speak of the site file's own
    return load(str(path.absolute()), path.parent)


def make_room(out: Path) -> None:
    """Make the directory for the results; what an earlier run left there goes, and is named."""
    from console.replay.output import earlier

    if found := earlier(out):
        click.echo(f"skerry: note: {out} held {found}: it is replaced", err=True)
        (out / "jobs_started.csv").unlink(missing_ok=True)  # the only file that not every run writes
    out.mkdir(parents=True, exist_ok=True)


def read_case(
    site: Site,
    prices: Path,
    load: Path,
    pv: Path | None,
    start_s: int,
    end_s: int,
    step_s: int,
    soc_pct: float,
    load_scale: float = 1.0,
) -> Case:
    """Read the files and check that they reach. Raises ValueError, OSError."""
    from console.replay.engine import Case
    from console.replay.traces import LOAD_COLUMNS, PV_COLUMNS, Trace, read_trace, utc

    loads = read_trace(load, LOAD_COLUMNS)
    if load_scale != 1:
        loads = Trace(loads.start_s, loads.step_s, [load_scale * w for w in loads.w], loads.notes)
    suns = Trace(loads.start_s, loads.step_s, [0.0] * len(loads.w)) if pv is None else read_trace(pv, PV_COLUMNS)
    for name, trace in ((load, loads), (pv, suns)):
        if trace.start_s > start_s or trace.end_s < end_s:
            raise ValueError(
                f"{name}: holds {utc(trace.start_s)} to {utc(trace.end_s)}; expected all of --from {utc(start_s)} "
                f"to --to {utc(end_s)}"
            )
    return Case(
        config=site.dispatch,
        prices=prices_of(prices),
        load=loads,
        pv=suns,
        start_s=start_s,
        end_s=end_s,
        step_s=step_s,
        soc_pct=soc_pct,
    )


def _fine(
    site: Site,
    prices: Path,
    load: Path,
    pv: Path | None,
    span: tuple[str, str],
    step_ms: int,
    load_scale: float,
    repeat: bool,
    soc_pct: float,
    delays: dict[str, float | None],
) -> FineReplay:
    """The same for steps below 10 s."""
    from console.replay.fine import FineCase, FineReplay
    from console.replay.samples import read_samples
    from console.replay.traces import PV_COLUMNS, read_trace, utc

    start_s, end_s = stretch(*span, site)
    samples = read_samples(load, load_scale)
    samples.repeat = repeat
    if not repeat and (samples.start_ms > 1000 * start_s or samples.end_ms < 1000 * end_s):
        raise ValueError(
            f"{load}: holds {utc(samples.start_ms / 1000)} to {utc(samples.end_ms / 1000)}; expected all of --from "
            f"{utc(start_s)} to --to {utc(end_s)}, or --repeat"
        )
    suns = None if pv is None else read_trace(pv, PV_COLUMNS)
    if suns is not None and (suns.start_s > start_s or suns.end_s < end_s):
        raise ValueError(f"{pv}: holds {utc(suns.start_s)} to {utc(suns.end_s)}; expected all of --from to --to")
    case = FineCase(
        site=site,
        prices=prices_of(prices),
        load=samples,
        pv=suns,
        start_s=start_s,
        end_s=end_s,
        step_ms=step_ms,
        soc_pct=soc_pct,
        **delays,
    )
    return FineReplay(case)


def _play_fine(run: FineReplay, out: Path) -> int:
    """Play, write, tell; returns the exit code."""
    from console.replay.compare import compare
    from console.replay.output import summary, write_schedule, write_summary

    case, began = run.case, time.monotonic()
    complete = _play(run, (case.end_s - case.start_s) * 1000 // case.step_ms)
    whole, schedule = run.by_second()
    if not len(schedule):
        raise Failure("interrupted before the first second was over: nothing written", INTERRUPTED)
    make_room(out)
    write_schedule(out / "schedule.csv", run.schedule)
    scored = msgspec.structs.replace(compare(whole, schedule), comparable=schedule.end_s - case.start_s >= 86400)
    content = summary(whole, schedule, run.tally, scored, time.monotonic() - began)
    extremes = run.extremes()
    write_summary(out / "summary.json", content | {"step_s": case.step_ms / 1000, **extremes})
    _draw(out, case.site, whole, schedule, scored)
    _report(run, schedule, scored, out)
    for line in _limits(extremes):
        click.echo(line)
    return exit_codes.OK if complete else INTERRUPTED


def _limits(extremes: dict[str, Any]) -> Iterator[str]:
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


def _play(run: Replay | FineReplay, steps: int) -> bool:
    """Run it to its end, with a progress bar; False when it was interrupted, always between two steps."""
    with (
        interruptible() as interrupted,
        click.progressbar(length=steps, label="replay", update_min_steps=max(1, steps // 200)) as bar,
    ):
        for _ in run.run():
            bar.update(1)
            if interrupted.is_set():
                return False
        bar.finish()
    return True


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, a second one ends the process as ever."""
    interrupted = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _write(run: Replay, site: Site, out: Path, wall_s: float) -> Scored:
    from console.replay.compare import compare
    from console.replay.output import summary, write_schedule, write_summary

    make_room(out)
    write_schedule(out / "schedule.csv", run.schedule)
    scored = compare(run.case, run.schedule)
    write_summary(out / "summary.json", summary(run.case, run.schedule, run.tally, scored, wall_s))
    _draw(out, site, run.case, run.schedule, scored)
    return scored


def _draw(out: Path, site: Site, case: Case, schedule: Schedule, scored: Scored) -> None:
    """The picture comes last: should it fail, the figures are there."""
    from console.plotting import write_png  # loads matplotlib
    from console.replay.picture import draw

    billed_w = scored.bills["skerry"].peaks_w
    write_png(out / "chart.png", lambda figure: draw(figure, site.site.name, case, schedule, billed_w))


def _table(scored: Scored) -> Iterator[str]:
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


def _report(run: Replay | FineReplay, schedule: Schedule, scored: Scored, out: Path) -> None:
    """The run in strips of blocks, the table of strategies, and what was odd."""
    from console.replay.chart import terminal

    for line in terminal(schedule, shutil.get_terminal_size().columns):
        click.echo(line)
    for line in _table(scored):
        click.echo(line)
    for note in scored.notes:
        click.echo(f"skerry: note: {note}", err=True)
    tally = run.tally
    if tally.failed or tally.refused:
        click.echo(
            f"skerry: note: {tally.failed} plans failed, {tally.refused} refused by their check: {tally.trouble}",
            err=True,
        )
    if run.schedule.end_s < run.case.end_s:
        done = len(run.schedule) * run.schedule.step_s / (run.case.end_s - run.case.start_s)
        click.echo(f"skerry: interrupted after {100 * done:.0f} %; what was done is in {out}, marked partial", err=True)
