"""`skerry jobs`: what compute jobs draw and cost, now and in the past; what nodes and Slurm say of them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from console.cli.data_source import Live, Record, gateway, gateway_or_record
from console.cli.failures import Failure
from console.cli.job_comparison import (
    MOST_BYTES,
    Part,
    compared,
    comparison_json,
    comparison_lines,
    slurm_energies,
)
from console.cli.job_text import CSV_HEADER, csv_rows, group_lines, live_lines, past_lines
from console.cli.json_output import json_text
from console.value_parsers import json_option, moment, site_option
from dispatch.model.jobs import QueueNow
from storage.csv_fields import field

if TYPE_CHECKING:
    from dispatch.config.demand_terms import DemandTerms

PAGE = 500
REPORT_S = 1.0  # a prolog holds a node for as long as this waits
DAY_S = 86_400.0


class JobsGroup(click.Group):
    """`skerry jobs SITE.toml ...` is `skerry jobs --site SITE.toml ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A site file may come first."""
        if args and args[0].endswith(".toml"):
            args = ["--site", *args]
        return super().parse_args(ctx, args)


@click.group(cls=JobsGroup, invoke_without_command=True)
@click.option("--since", metavar="T", help="Runs that ended since then; times as in `skerry why --at`, or -7d.")
@click.option("--until", metavar="T", help="And before then. Default: now.")
@click.option("--past", is_flag=True, help="Runs that ended in the last 24 h.")
@click.option("--user", metavar="NAME", help="Of this user alone.")
@click.option("--account", metavar="NAME", help="Of this account alone; of runs that ended.")
@click.option("--partition", metavar="NAME", help="In this partition alone; of runs that ended.")
@click.option("--by", type=click.Choice(["user", "account", "partition"]), help="Add up the runs that ended.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="Number of runs shown.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, units in the header; of runs that ended all.")
@site_option
@json_option
@click.pass_context
def jobs(
    ctx: click.Context,
    /,
    since: str | None,
    until: str | None,
    past: bool,
    by: str | None,
    limit: int,
    as_csv: bool,
    site: str | None,
    as_json: bool,
    **chosen: str | None,
) -> None:
    """Show what compute jobs draw and cost.

    Without a time: the jobs that run, and those that ended in the last minutes and have no cost yet. With --since,
    --past or --by: those that ended, and the account of the site: jobs, idle nodes and the rest (cooling, losses, other
    load) are what the load meter counted. Times are when a run ended; a requeued job is two runs. A run and its cost
    are on record about 20 minutes after its end. You see your own jobs; operators see all, and the account of the site.
    When no gateway runs, the record is read by whoever may read it.

    GPU and CPU are those allocated; SEEN is the part of its time with readings of its nodes. KNOWN BY: measured, all of
    it belongs to that job; apportioned, divided by CPU time, by activity or by what is allocated, as stands behind it;
    estimated, no meter or no word of the scheduler.
    """
    if ctx.invoked_subcommand is not None:
        return
    if as_csv and as_json:
        raise click.UsageError("--csv or --json, not both")
    asked: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    ended = past or any(choice is not None for choice in (since, until, by))
    with gateway_or_record(site) as source:
        if isinstance(source, Live) and not ended:
            _show_live(source, asked, limit, as_csv, as_json)
            return
        if isinstance(source, Record):
            click.echo(f"skerry: {source.absent}: runs that ended, from {source.directory}", err=True)
        span = _span(source, since, until)
        asked |= {"start_utc_s": span[0], "end_utc_s": span[1]} | ({} if by is None else {"by": by})
        report = _pages(source, asked) if as_csv and by is None else _report(source, asked | {"limit": limit})
    _show_past(report, by, span, source.zone, limit, as_csv, as_json)


def _span(source: Live | Record, since: str | None, until: str | None) -> tuple[float, float]:
    """The time that is asked for, UTC s."""
    now_utc_s = source.now_utc_s()
    start_utc_s = now_utc_s - DAY_S if since is None else moment(since, now_utc_s, source.zone)
    end_utc_s = now_utc_s + 1 if until is None else moment(until, now_utc_s, source.zone)
    if not end_utc_s > start_utc_s:
        raise click.BadParameter("the end is not after the start", param_hint="--until")
    return start_utc_s, end_utc_s


def _show_past(
    report: dict[str, Any],
    by: str | None,
    span: tuple[float, float],
    zone: tzinfo,
    limit: int,
    as_csv: bool,
    as_json: bool,
) -> None:
    if as_json:
        click.echo(json_text(report))
    elif as_csv:
        _write_csv(csv_rows(report, by))
    else:
        for line in past_lines(report, *span, zone, limit) if by is None else group_lines(report, by, *span, zone):
            click.echo(line)


def _show_live(source: Live, asked: dict[str, Any], limit: int, as_csv: bool, as_json: bool) -> None:
    if unknown := asked.keys() - {"user"}:
        raise click.UsageError(f"--{min(unknown)} is for runs that ended: add --past or --since")
    answer = source.link.request("jobs.list", **asked, limit=PAGE if as_csv else limit)
    if as_json:
        click.echo(json_text(answer))
    elif as_csv:
        _write_csv(csv_rows(answer, None))
    else:
        now = source.status()
        queues = msgspec.convert(now["queues"], tuple[QueueNow, ...])
        for line in live_lines(answer, now["snapshot"]["utc_s"], queues):
            click.echo(line)


def _report(source: Live | Record, asked: dict[str, Any]) -> dict[str, Any]:
    """The gateway's answer, or the same from the record."""
    if isinstance(source, Live):
        answer: dict[str, Any] = source.link.request("jobs.report", **asked)
        return answer
    from gateway.api.job_report import job_report
    from storage.jobs import JobQuestion

    charges = _charges(source)
    names = JobQuestion.__struct_fields__
    question = JobQuestion(**{name: value for name, value in asked.items() if name in names})
    before = asked.get("before")
    after = None if before is None else (float(before[0]), int(before[1]))
    found = job_report(source.archive, charges, question, asked.get("by"), asked["limit"], after)
    return found if question.everybody else found | {"site": None}


def _charges(source: Record) -> tuple[DemandTerms, ...]:
    """The charges on peaks, as the record keeps the site file. Raises Failure."""
    from dispatch.billing.peak_charges import peak_charges
    from dispatch.config.schema import DispatchConfig
    from storage.config import DISPATCH

    kept = source.archive.last_state(DISPATCH)
    try:
        return peak_charges(msgspec.convert(kept, DispatchConfig), "granted")
    except msgspec.ValidationError as error:
        why = "no gateway has written it yet" if kept is None else f"what it keeps of the site file: {error}"
        raise Failure(f"{source.directory}: the record does not say what a peak costs: {why}") from None


def _pages(source: Live | Record, asked: dict[str, Any]) -> dict[str, Any]:
    """All runs, a page at a time."""
    report = _report(source, asked | {"limit": PAGE})
    page = report["jobs"]
    while len(page) == PAGE:
        last = page[-1]
        page = _report(source, asked | {"limit": PAGE, "before": [last["ended_utc_s"], last["number"]]})["jobs"]
        report["jobs"] += page
    return report


def _write_csv(rows: Iterator[Sequence[Any]]) -> None:
    """To stdout. Text that a spreadsheet would run as a formula gets a quote before it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in rows:
        writer.writerow([field(value) for value in row])


@click.command("report")
@click.argument("what", type=click.Choice(["start", "end"]))
@click.option("--job", "job_id", required=True, metavar="ID", help="The scheduler's id; of an array's task ARRAY_TASK.")
@click.option("--cluster", default="", metavar="NAME", help="Name of the scheduler's cluster.")
@click.option("--node", default="", metavar="NAME", help="Name of the node that reports.")
@click.option("--gpu", "gpus", multiple=True, metavar="UUID", help="A GPU of that node that the job holds; repeated.")
@site_option
def report_job(what: str, job_id: str, cluster: str, node: str, gpus: tuple[str, ...], site: str | None) -> None:
    """Report which GPUs a job holds, or that it has ended: from a scheduler's prolog and epilog on the node.

    With it a job's GPUs are known by UUID, and its end to the second. Takes the role scheduler. What is reported is
    kept until the queue shows the job, at most an hour.
    """
    told = {"what": what, "job_id": job_id, "cluster": cluster, "node": node, "gpu_uuids": list(gpus)}
    with gateway(site, REPORT_S) as live:
        live.link.request("job.report", **told)


@click.command("compare")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--part",
    help="What of ours is compared, by what Slurm's plugin measures: `host` for rapl, `gpu` for gpu.",
    default="all",
    type=click.Choice(["all", "host", "gpu"]),
    show_default=True,
)
@click.option("--since", metavar="T", help="Runs that ended since then; times as in `skerry why --at`. Default: -24h.")
@click.option("--until", metavar="T", help="And before then. Default: now.")
@site_option
@json_option
def compare_jobs(
    file: BinaryIO, since: str | None, until: str | None, part: Part, site: str | None, as_json: bool
) -> None:
    """Compare what jobs drew with the energy that Slurm knows.

    FILE, or - for stdin, is the output of `SLURM_TIME_FORMAT=%s sacct -a -D -X -P -S now-1day -o
    JobID,Start,ConsumedEnergyRaw`. Runs that had whole nodes to themselves, measured all of their time, are judged:
    a difference of more than 5 % is marked. Slurm charges each job of a shared node all that the node draws.
    """
    try:
        told = slurm_energies(file.read(MOST_BYTES + 1))
    except (OSError, ValueError) as error:
        raise Failure(f"{file.name}: {error}") from None
    with gateway_or_record(site) as source:
        start_utc_s, end_utc_s = _span(source, since, until)
        report = _pages(source, {"start_utc_s": start_utc_s, "end_utc_s": end_utc_s})
    rows, untold = compared(report["jobs"], told, part)
    if as_json:
        click.echo(json_text(comparison_json(rows, untold)))
        return
    for line in comparison_lines(rows, untold):
        click.echo(line)


@click.command("progress")
@click.argument("job_id", metavar="JOB")
@click.argument("units", type=click.FloatRange(0))
@click.option("--cluster", default="", metavar="NAME", help="Name of the scheduler's cluster.")
@site_option
def report_progress(job_id: str, units: float, cluster: str, site: str | None) -> None:
    """Report how many UNITS a running job has done since its start: steps, frames, samples.

    Called by the job once a minute to an hour, it teaches what a power cap costs jobs of this user, name and number of
    GPUs: their own throughput against power, in place of a published curve. A user's own jobs; the role scheduler
    reports for anybody's.
    """
    with gateway(site, REPORT_S) as live:
        answer = live.link.request("job.progress", job_id=job_id, units=units, cluster=cluster)
    click.echo(f"taken; under caps {answer['spans']} spans of such jobs are known")


jobs.add_command(report_job)
jobs.add_command(compare_jobs)
jobs.add_command(report_progress)
