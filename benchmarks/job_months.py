"""Months with a job log to judge dispatch on, drawn by seeds: what is known of jobs must not make dispatch worse.

    python -m benchmarks.job_months --seeds 1-5 --out CASES                the traces that ship with Skerry
    python -m benchmarks.job_months --seeds 1-5 --data DIR --out CASES     and those in DIR
    python -m benchmarks.dispatch --cases CASES --step 900 --queue

What belongs together is data, `benchmarks/job_months.toml`. Load and prices of a month are stretches of traces, weekday
on weekday, that the seed draws; the load is taken apart into jobs that together draw exactly that. Some users announce
their starts, hours ahead; of what some announce, a part never comes. Ten days of past, thirty that are scored, of
February all.
"""

from __future__ import annotations

import json
import random
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from benchmarks.months import DAY_S, IDLE_W, PAST_DAYS, PEAK_W, WEEK_S, scored_until_s, sun, write_rows
from console.replay.traces import LOAD_COLUMNS, TraceFileError, instant, read_trace, utc
from dispatch.billing.market_prices import published
from drivers.tariffs.csv_file import TariffFileError
from drivers.tariffs.csv_file import load as load_prices
from drivers.twin.trace import trace_path

LIST = Path(__file__).with_suffix(".toml")
BUNDLED = "bundled:"
STRETCH_DAYS = (2, 6)  # a stretch of the trace is so long: jobs of days stay whole
STEP_S = 300
LEAST_W = 100.0  # of a job; smaller changes of the load are gathered until they are as large
LIMITS = (1.0, 1.25, 1.5, 2.0)  # times its duration, what a job's user asks for; as in the job months measured before
MOST_LIMIT_S = 7 * DAY_S
USERS = 8
NEVER = (0.0, 0.0, 0.1, 0.3)  # of what a user announces, so much does not come
NOTICE_H = (1.0, 36.0)
COLUMNS = ("job_id", "submit_utc", "announced_utc", "gpus", "duration_s", "time_limit_s", "power_w", "user")


class JobTrace(msgspec.Struct, frozen=True, rename={"from_utc": "from"}):
    """Where months come from. Files "bundled:NAME" ship with Skerry, others are relative to the data directory."""

    tariff: str
    from_utc: tuple[str, ...]  # local midnights; the seed draws one
    prices: str
    load: str
    pv: str = ""  # empty: the site has none
    column: str = "power_w"


class User(NamedTuple):
    """How a user announces jobs."""

    share: float  # of the jobs that are announced
    notice_h: float  # at most so long before
    never: float  # jobs that never come, for each that does


class Row(NamedTuple):
    """One job of the log, seconds and W. One that never comes has no duration."""

    start_s: int
    duration_s: int
    w: float


def months_of(traces: dict[str, JobTrace], seeds: range, data: Path | None, out: Path) -> Iterator[Path]:
    """Write the folder of each trace and seed; without `data` of those traces that ship with Skerry."""
    for name, trace in traces.items():
        shipped = all(file.startswith(BUNDLED) for file in (trace.load, trace.prices, trace.pv) if file)
        for seed in seeds if shipped or data is not None else ():
            yield put_together(f"{name}-{seed}", trace, random.Random(f"{name} {seed}"), data or Path(), out)


def put_together(name: str, of: JobTrace, chance: random.Random, data: Path, out: Path) -> Path:
    """Write one case's folder; returns it. Raises TraceFileError, TariffFileError, OSError."""
    first_s = instant(chance.choice(of.from_utc))
    start_s, end_s = first_s - PAST_DAYS * DAY_S, scored_until_s(first_s)
    trace = read_trace(trace_path(of.load, data), (of.column, *LOAD_COLUMNS))
    load = scaled([trace.mean_w(t, t + STEP_S) for t in drawn(trace.start_s, trace.end_s, start_s, end_s, chance)])
    prices = load_prices(of.prices, data)
    known_s, known_end_s = prices.start_utc_s[0], prices.end_utc_s
    hours: Iterable[int] = range(start_s, end_s + DAY_S, STEP_S)
    if known_s > start_s or known_end_s < end_s + DAY_S:
        hours = drawn(known_s, known_end_s, start_s, end_s + DAY_S, chance)
    no_sun = ((t, 0.0) for t in range(start_s, end_s, 900))
    profile = sun(read_trace(data / of.pv, ("w_per_kwp",)), start_s, end_s) if of.pv else no_sun
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "load.csv.gz", ["load_w"], ((start_s + k * STEP_S, w) for k, w in enumerate(load)))
    write_rows(folder / "pv.csv.gz", ["pv_w"], profile)
    priced = ((start_s + k * STEP_S, published(prices, t)) for k, t in enumerate(hours) if k % 3 == 0)
    write_rows(folder / "prices.csv.gz", ["price_eur_per_mwh"], priced)
    log = announced(list(jobs_of(load, start_s, chance)), chance)
    write_rows(folder / "jobs.csv.gz", COLUMNS, log, first="reference_start_utc")
    meta = {"case": name, "tariff": of.tariff, "first_scored_utc": utc(first_s), "end_utc": utc(end_s)}
    (folder / "case.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def drawn(first_s: int, last_s: int, start_s: int, end_s: int, chance: random.Random) -> Iterator[int]:
    """For each step of a month the instant of a trace that stands for it: stretches of it, weekday on weekday."""
    whole_s = (last_s - first_s) // WEEK_S * WEEK_S
    t_s = start_s
    while t_s < end_s:
        into_s = (t_s - first_s) % WEEK_S + WEEK_S * chance.randrange(whole_s // WEEK_S)
        until_s = min(end_s, t_s + DAY_S * chance.randint(*STRETCH_DAYS))
        yield from (first_s + at_s % whole_s for at_s in range(into_s, into_s + until_s - t_s, STEP_S))
        t_s = until_s


def scaled(w: list[float]) -> list[float]:
    """The load on the site: its lowest is `IDLE_W`, the highest mean of a quarter hour `PEAK_W`."""
    lowest, highest = min(w), max(sum(w[k : k + 3]) / 3 for k in range(0, len(w), 3))
    factor = (PEAK_W - IDLE_W) / (highest - lowest)
    return [round(IDLE_W + factor * (v - lowest), 1) for v in w]


def jobs_of(load: list[float], start_s: int, chance: random.Random) -> Iterator[Row]:
    """Jobs that together draw what the load is above idle: each rise begins one, each fall ends some, drawn at random.

    A fall that is smaller than the job drawn splits it: two that began together.
    """
    running: list[tuple[int, float]] = []  # (start, W)
    drawn_w = 0.0
    for k, w in enumerate([*load, IDLE_W]):
        t_s, change = start_s + k * STEP_S, w - IDLE_W - drawn_w
        if abs(change) < LEAST_W and k < len(load):
            continue
        drawn_w += change
        if change > 0:
            running.append((t_s, change))
            continue
        falls = -change
        while falls > 1e-6 and running:
            at = chance.randrange(len(running))
            since_s, job_w = running[at]
            part = min(job_w, falls)
            falls -= part
            running[at] = (since_s, job_w - part)
            if job_w - part <= 1e-6:
                del running[at]
            yield Row(since_s, t_s - since_s, part)


def announced(jobs: list[Row], chance: random.Random) -> Iterator[tuple[object, ...]]:
    """The rows of the log by start, with user, time limit and announcement; those that never come among them."""
    users = [User(chance.random(), chance.uniform(*NOTICE_H), chance.choice(NEVER)) for _ in range(USERS)]
    gpu_w = max(LEAST_W, sum(job.w for job in jobs) / len(jobs) / 2)
    rows: list[tuple[object, ...]] = []
    for job in jobs:
        number = chance.randrange(USERS)
        user = users[number]
        kept = [job]
        if chance.random() < user.never:
            kept.append(Row(job.start_s + 900 * chance.randint(-96, 96), 0, job.w))
        limit_s = min(MOST_LIMIT_S, int(job.duration_s * chance.choice(LIMITS)))
        for each in kept:
            told = not each.duration_s or chance.random() < user.share
            notice_s = int(3600 * chance.uniform(0.0, user.notice_h)) if told else 0
            asked = utc(each.start_s - notice_s)
            gpus, at = max(1, round(job.w / gpu_w)), asked if told else ""
            rows.append((each.start_s, asked, at, gpus, each.duration_s, limit_s, round(job.w, 1), f"user{number}"))
    for n, (start_s, *rest) in enumerate(sorted(rows, key=lambda row: str(row[0]))):
        yield (start_s, f"j{n:05d}", *rest)


def _seeds(_context: click.Context, _parameter: click.Parameter, text: str) -> range:
    first, _, last = text.partition("-")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected one seed or a range, such as 1-5") from None


@click.command()
@click.option("--seeds", default="1-5", show_default=True, callback=_seeds, help="One, or from and to.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="For traces not shipped.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="For the cases.")
@click.option("--list", "which", default=LIST, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(seeds: range, data: Path | None, out: Path, which: Path) -> None:
    """Draw months with a job log."""
    try:
        traces = msgspec.convert(tomllib.loads(which.read_text(encoding="utf-8")), dict[str, JobTrace])
        for folder in months_of(traces, seeds, data, out):
            click.echo(folder)
    except (OSError, TraceFileError, TariffFileError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        click.echo(f"benchmarks.job_months: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
