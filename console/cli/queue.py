"""`skerry queue`: the jobs that run and wait, as the gateway last read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
import msgspec

from console.cli.data_source import Live, gateway
from console.cli.json_output import json_text
from console.display.formats import duration
from console.display.language import words
from console.display.queue_text import power_lines, queue_sentence
from console.language_option import language_option
from console.terminal_output import one_line
from console.value_parsers import json_option, site_option
from dispatch.model.jobs import Job, QueueNow
from dispatch.model.reasons import Reason
from gateway import exit_codes

HEAD = "ID              State        GPUs  CPUs  User        Name                  Since / reason"
ASK_S = 10.0


class _Page(msgspec.Struct, frozen=True):
    """An answer of `queue.jobs`."""

    queues: tuple[QueueNow, ...]
    jobs: tuple[Job, ...]
    of: int
    named: str | None = None  # the user whose jobs have names; None: all have
    told: dict[str, Reason] = {}  # what owners are told, by the job's place among `jobs`


@click.command()
@click.option("--node", metavar="NODE", help="Only jobs that run on this node.")
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="List at most so many jobs.")
@language_option
@site_option
@json_option
def queue(node: str | None, limit: int, site: str | None, as_json: bool) -> int:
    """List the jobs of the site's schedulers: those that run first, then those that wait, with the reason.

    Exit code 1: a queue cannot be read now; what is listed was read before.
    """
    with gateway(site, ASK_S) as live:
        page, jobs, told = _asked(live, {} if node is None else {"node": node}, limit)
        now_utc_s = live.now_utc_s()
    if as_json:
        click.echo(json_text({"queues": page.queues, "jobs": jobs, "of": page.of, "told": told}))
    else:
        for line in _lines(page, jobs, now_utc_s, told):
            click.echo(one_line(line))
        if node is not None and page.queues and not jobs:
            click.echo(
                one_line(
                    f"no job is listed that runs on {node}; nodes go by the names that their scheduler has for them"
                )
            )
    return exit_codes.FAILED if any(each.error for each in page.queues) else exit_codes.OK


def _asked(live: Live, params: dict[str, Any], limit: int) -> tuple[_Page, list[Job], dict[int, str]]:
    """The last page, the jobs of all pages, and what owners are told, by a job's place among them."""
    jobs: list[Job] = []
    told: dict[int, str] = {}
    while True:
        page = msgspec.convert(live.link.request("queue.jobs", skip=len(jobs), **params), _Page)
        told |= {len(jobs) + int(n): words(reason) for n, reason in page.told.items()}
        jobs += page.jobs
        if not page.jobs or len(jobs) >= min(limit, page.of):
            return page, jobs[:limit], {n: text for n, text in told.items() if n < limit}


def _lines(page: _Page, jobs: list[Job], now_utc_s: float, told: Mapping[int, str] = {}) -> Iterator[str]:
    if not page.queues:
        yield "no [[scheduler]] in the site file"
        return
    for each in page.queues:
        yield queue_sentence(each)
        yield from power_lines(each)
        yield from each.notes
    if page.named is not None and any(job.user != page.named for job in jobs):
        yield f"names are shown of the jobs of {page.named} only; operators see all"
    if jobs:
        yield HEAD
    for n, job in enumerate(jobs):
        yield _job(job, now_utc_s)
        if n in told:
            yield f"{'':<16}{told[n]}"
    if len(jobs) < page.of:
        yield f"... and {page.of - len(jobs)} more: --limit"


def _job(job: Job, now_utc_s: float) -> str:
    if not job.runs:
        told = job.reason
        if job.expected_start_utc_s is not None:
            told += f", expected in {duration(max(0.0, job.expected_start_utc_s - now_utc_s))}"
    elif job.started_utc_s is None:
        told = ""
    else:
        told = f"{duration(max(0.0, now_utc_s - job.started_utc_s))}  {' '.join(job.nodes[:3])}"
        told += f" and {len(job.nodes) - 3} more nodes" if len(job.nodes) > 3 else ""
    head = f"{job.id:<14}  {job.state:<11}  {job.gpus:>4}  {job.cpus:>4}  {job.user[:10]:<10}  {job.name[:20]:<20}"
    return f"{head}  {told}"
