"""What `skerry jobs` prints: jobs, groups of them, and the account of the site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

from console.display.formats import ABSENT, date_hour_minute, duration, number
from console.display.queue_text import queue_sentence
from console.terminal_output import one_line
from dispatch.model.jobs import QueueNow
from dispatch.wording.formatting import kw

CSV_HEADER = [
    "kind",
    "job",
    "user",
    "pseudonym",
    "account",
    "partition",
    "name",
    "started_utc_s",
    "ended_utc_s",
    "end_within_s",
    "nodes",
    "cpus",
    "gpus",
    "runs",
    "energy_wh",
    "energy_how",
    "gpu_wh",
    "gpu_how",
    "host_wh",
    "host_how",
    "node_wh",
    "node_how",
    "by_cpu_time_wh",
    "by_activity_wh",
    "covered_pct",
    "from_start",
    "suspended_s",
    "mean_w",
    "peak_w",
    "cost_eur",
    "unpriced_wh",
    "peak_share_eur",
    "co2_g",
    "capped_s",
    "withheld_wh",
    "lost_gpu_h",
    "scheduler",
]
_KEYS = {"job": "id", "energy_how": "how", "peak_share_eur": "peak_eur"}
_HEAD = (
    f"{'JOB':<14} {'USER':<10} {'GPU':>4} {'CPU':>5} {'TIME':>9} {'kWh':>9} {'MEAN kW':>7} {'EUR':>8} {'SEEN':>5} "
    "KNOWN BY"
)
REST = "cooling, losses, other load, nodes without readings"


def live_lines(answer: dict[str, Any], now_utc_s: float, queues: Sequence[QueueNow] = ()) -> Iterator[str]:
    """Jobs that run, and those that ended and have no cost yet; before them the queues that are not read."""
    whose = "" if answer["user"] is None else f" of {answer['user']}"
    lost = [one_line(queue_sentence(queue)) for queue in queues if queue.error or queue.read_utc_s is None]
    yield from lost
    if not answer["jobs"]:
        yield one_line(f"no job{whose} is known to run" if lost else f"no job{whose} runs")
        return
    yield from _whose(answer)
    yield _HEAD
    for job in answer["jobs"]:
        yield _job(job, now_utc_s)
    if answer["of"] > len(answer["jobs"]):
        yield f"{answer['of'] - len(answer['jobs'])} more are not shown: raise --limit"
    if answer["not_metered"]:
        yield "NOTE: so many jobs run that others are not metered"
    yield from _notes(answer["jobs"])


def past_lines(
    report: dict[str, Any], start_utc_s: float, end_utc_s: float, zone: tzinfo, limit: int = 500
) -> Iterator[str]:
    """Runs that ended, the last at the bottom, and the account of the site. `limit`: so many were asked for."""
    if not report["jobs"]:
        whose = "" if report.get("user") is None else f" of {report['user']}"
        span = f"from {date_hour_minute(start_utc_s, zone)} to {date_hour_minute(end_utc_s, zone)}"
        yield one_line(f"no job{whose} ended {span}")
    else:
        yield from _whose(report)
        yield f"{'ENDED':<16} {_HEAD}"
    if len(report["jobs"]) >= limit:
        yield f"the last {limit} shown; there may be more: --limit, --csv for all, sums with --by"
    for job in reversed(report["jobs"]):
        yield f"{date_hour_minute(job['ended_utc_s'], zone)} {_job(job, job['ended_utc_s'])}"
    yield from _notes(report["jobs"])
    yield from _peaks(report, report["jobs"], zone)
    yield from _site(report, zone)


def group_lines(report: dict[str, Any], by: str, start_utc_s: float, end_utc_s: float, zone: tzinfo) -> Iterator[str]:
    """Runs added up, those that drew most first, and the account of the site."""
    yield f"runs that ended from {date_hour_minute(start_utc_s, zone)} to {date_hour_minute(end_utc_s, zone)}"
    yield f"{by.upper():<20} {'RUNS':>6} {'GPU h':>9} {'kWh':>10} {'EUR':>9} {'PEAK EUR':>9} {'CO2 kg':>8}"
    for group in report["groups"]:
        co2_kg = None if group["co2_g"] is None else group["co2_g"] / 1000
        figures = [number(group["gpu_h"], 9), number(group["energy_wh"] / 1000, 10, 2)]
        figures += [number(group["cost_eur"], 9, 2), number(group["peak_eur"], 9, 2), number(co2_kg, 8)]
        yield one_line(f"{group['name'] or ABSENT:<20.20} {group['runs']:>6} {' '.join(figures)}")
    unpriced_wh = sum(group["unpriced_wh"] for group in report["groups"])
    if unpriced_wh > 0:
        yield f"{unpriced_wh / 1000:.2f} kWh have no cost: no price or no load was known then"
    yield from _peaks(report, report["groups"], zone)
    yield from _site(report, zone)


def _whose(answer: dict[str, Any]) -> Iterator[str]:
    """Whose jobs these are, unless they are everybody's."""
    if answer.get("user") is not None:
        yield one_line(f"jobs of {answer['user']}; operators see all")


def _job(job: dict[str, Any], until_utc_s: float) -> str:
    """One run on a line."""
    ended_utc_s, known_by = job["ended_utc_s"], _known_by(job)
    if ended_utc_s is not None and ended_utc_s != until_utc_s:
        until_utc_s, known_by = ended_utc_s, f"{known_by}, ended, cost not known yet"
    lasted = duration(until_utc_s - job["started_utc_s"])
    mean_kw = None if job["mean_w"] is None else job["mean_w"] / 1000
    cost = number(job["cost_eur"], 8, 2)
    seen = f"{job['covered_pct']:>4.0f}%"
    told = known_by if job["from_start"] else f"{known_by}, ran before metering began"
    head = f"{job['id']:<14.14} {job['user']:<10.10} {job['gpus']:>4} {job['cpus']:>5} {lasted:>9}"
    return one_line(f"{head} {number(job['energy_wh'] / 1000, 9, 3)} {number(mean_kw, 7, 2)} {cost} {seen} {told}")


def _known_by(job: dict[str, Any]) -> str:
    """How its energy is known, and each part of it where that is not all measured."""
    parts = []
    for part, name, by_wh, by, allocated in _PARTS:
        how, wh = job[f"{part}_how"], job[f"{part}_wh"]
        if how is None:
            continue
        share_pct = 100 * job.get(by_wh, 0.0) / wh if wh > 0 else 0.0
        divided = f"{share_pct:.0f} % by {by}" if share_pct >= 0.5 else f"by {allocated}"
        parts.append(f"{name} {divided if how == 'apportioned' else how}")
    return job["how"] if job["how"] == "measured" else f"{job['how']} ({', '.join(parts)})"


_PARTS = (
    ("gpu", "GPUs", "by_activity_wh", "activity", "number"),
    ("host", "host", "by_cpu_time_wh", "CPU time", "allocated CPUs"),
    ("node", "nodes", "", "", "what is allocated"),
)


def _notes(jobs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What of these jobs must not be overlooked."""
    gaps = sum(job["covered_pct"] < 99 for job in jobs)
    if gaps:
        yield f"{gaps} of them had nodes without readings for a time (SEEN): nothing is filled in there"
    capped = [job for job in jobs if job["capped_s"] >= 1]
    if capped:
        hours, kwh = (sum(job[name] for job in capped) for name in ("capped_s", "withheld_wh"))
        lost = sum(job.get("lost_gpu_h", 0.0) for job in capped)  # earlier gateways do not tell
        known = f", {lost:.2f} GPU-hours lost" if lost else ""
        span = f"{len(capped)} were capped, {hours / 3600:.1f} node hours together"
        yield f"{span}: about {kwh / 1000:.2f} kWh less{known}"


def _peaks(report: dict[str, Any], rows: Sequence[dict[str, Any]], zone: tzinfo) -> Iterator[str]:
    """The intervals that are billed, and what of them these runs caused."""
    caused = sum(row["peak_eur"] for row in rows)
    for peak in report["peaks"][-3:]:
        when = date_hour_minute(peak["start_utc_s"], zone)
        yield f"peak of {peak['account']}: {kw(peak['import_w'])} in the interval from {when}: {peak['eur']:.2f} EUR"
    if report["peaks"]:
        yield f"of the billed peaks these runs caused {caused:.2f} EUR, by their share of the load then"


def _site(report: dict[str, Any], zone: tzinfo) -> Iterator[str]:
    """Jobs, idle nodes and the rest, which are together what the load meter counted."""
    site = report["site"]
    if not site or not site["n"]:
        return
    begin, end = (date_hour_minute(t, zone) for t in (site["first_s"], site["last_s"] + 900))
    yield f"the site from {begin} to {end}, in {site['n']} quarter hours"
    for name, wh, more in _account(site):
        yield f"{name:<12} {wh / 1000:>10.2f} kWh{f'  {more}' if more else ''}"
    unknown_s = 900 * site["n"] - site["known_s"]
    if unknown_s > 0.01 * site["known_s"]:
        yield f"import or load was not known for {duration(unknown_s)} of it: what nodes drew then is not in the load"
    if site["gap_s"] >= 60:
        yield f"nodes were without readings for {site['gap_s'] / 3600:.1f} node hours: what they drew is in the rest"


def _account(site: dict[str, Any]) -> list[tuple[str, float, str]]:
    rest_wh = site["load_wh"] - site["jobs_wh"] - site["idle_wh"]
    return [
        ("jobs", site["jobs_wh"], "all jobs in this time, also those that still run"),
        ("idle nodes", site["idle_wh"], "allocated to no job"),
        ("rest", rest_wh, REST),
        ("load meter", site["load_wh"], ""),
    ]


def csv_rows(report: dict[str, Any], by: str | None) -> Iterator[list[Any]]:
    """Rows of CSV: runs, or groups; then the account of the site, where it was told."""
    for job in report["jobs"]:
        yield ["job", *(_cell(job, column) for column in CSV_HEADER[1:])]
    for group in report.get("groups", ()):
        told = group | ({by: group["name"]} if by is not None else {}) | {"name": None}
        yield ["group", *(_cell(told, column) for column in CSV_HEADER[1:])]
    if (site := report.get("site")) and site["n"]:
        for name, wh, _ in _account(site):
            yield [name, *(wh if column == "energy_wh" else None for column in CSV_HEADER[1:])]


def _cell(row: dict[str, Any], column: str) -> Any:
    value = row.get(_KEYS.get(column, column))
    return int(value) if isinstance(value, bool) else value
