"""More months to judge dispatch on: cases for `benchmarks.dispatch`, put together from prices, loads and PV at hand.

    python -m benchmarks.months --data DIR --out CASES
    python -m benchmarks.dispatch --cases CASES --step 900

What belongs together is data, `benchmarks/months.toml`. A case has ten days of past and thirty that are scored, of
February all.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec

from console.replay.traces import Trace, TraceFileError, instant, read_trace, table, utc

LIST = Path(__file__).with_suffix(".toml")
DAY_S, WEEK_S = 86_400, 7 * 86_400
PAST_DAYS, SCORED_DAYS = 10, 30
ZONE = ZoneInfo("Europe/Berlin")  # of sites/yardstick-*.toml
IDLE_W, PEAK_W = 21_120.0, 63_000.0  # of the site; the highest is a quarter hour's mean
PV_KW, PV_FACTOR, PV_YEAR = 50, 1.4, 2016  # the profile's yield is low; its year is a leap year


class Month(msgspec.Struct, frozen=True, rename={"from_utc": "from"}):
    """One case: files relative to the data directory."""

    tariff: str
    from_utc: str  # local midnight
    prices: str
    load: str
    column: str = "power_w"
    weeks: int = 0  # the load begins so far into its trace
    whole: bool = False  # scaled by the highest of the whole trace, so that its months differ; else of the case


class Months(msgspec.Struct, frozen=True):
    """What `months.toml` holds."""

    pv: str
    case: dict[str, Month]


def put_together(name: str, month: Month, pv: str, data: Path, out: Path) -> Path:
    """Write one case's folder; returns it. Raises TraceFileError, OSError."""
    first_s = instant(month.from_utc)
    start_s, end_s = first_s - PAST_DAYS * DAY_S, scored_until_s(first_s)
    trace = read_trace(data / month.load, (month.column,))
    load = _placed(trace, start_s, end_s, month)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    rows_w = ((load.start_s + k * load.step_s, round(w)) for k, w in enumerate(load.w))
    write_rows(folder / "load.csv.gz", ["load_w"], rows_w)
    write_rows(folder / "pv.csv.gz", ["pv_w"], sun(read_trace(data / pv, ("w_per_kwp",)), start_s, end_s))
    header, rows = table(data / month.prices)
    when, what = header.index("start_utc"), header.index("price_eur_per_mwh")
    market = [(instant(row[when]), row[what]) for _, row in rows]
    known = [(t, price) for t, price in market if start_s <= t < end_s + DAY_S]
    if not known or known[0][0] > start_s:
        raise TraceFileError(f"{data / month.prices}: expected prices from {utc(start_s)} on, for {name}")
    write_rows(folder / "prices.csv.gz", ["price_eur_per_mwh"], known)
    meta: dict[str, object] = {
        "case": name,
        "tariff": month.tariff,
        "first_scored_utc": utc(first_s),
        "end_utc": utc(end_s),
    }
    shift_days = (start_s - trace.start_s - _into_s(trace, start_s, month.weeks)) // DAY_S
    meta["trace"] = {"load": month.load, "column": month.column, "shift_days": shift_days}
    (folder / "case.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def scored_until_s(first_s: int) -> int:
    """Until when a month is scored: its end, or so many days. Two days of the next would be billed a whole peak."""
    local = datetime.fromtimestamp(first_s, ZONE)
    following = local.replace(year=local.year + local.month // 12, month=local.month % 12 + 1)
    return min(first_s + SCORED_DAYS * DAY_S, int(following.timestamp()))


def _into_s(trace: Trace, start_s: int, weeks: int) -> int:
    """How far into its trace a load begins, s: weekday on weekday."""
    return (start_s - trace.start_s) % WEEK_S + weeks * WEEK_S


def _placed(trace: Trace, start_s: int, end_s: int, month: Month) -> Trace:
    """The trace moved by whole weeks and scaled to the site; one shorter than that starts anew."""
    first, count = _into_s(trace, start_s, month.weeks) // trace.step_s, (end_s - start_s) // trace.step_s
    w = [trace.w[(first + k) % len(trace.w)] for k in range(count)]
    lowest = min(trace.w)
    moved = Trace(start_s, trace.step_s, [v - lowest for v in w])
    highest = max(trace.w) - lowest if month.whole else max(moved.means_w(start_s, end_s, 900))
    factor = (PEAK_W - IDLE_W) / highest
    return Trace(start_s, trace.step_s, [IDLE_W + factor * v for v in moved.w])


def sun(profile: Trace, start_s: int, end_s: int) -> Iterable[tuple[int, float]]:
    """PV power, the profile's day of the year on each day."""
    for t in range(start_s, end_s, 900):
        yield t, round(sun_w(profile, t), 1)


def sun_w(profile: Trace, utc_s: int) -> float:
    """PV power of the quarter hour that begins then, W."""
    then = datetime.fromtimestamp(utc_s, UTC).replace(year=PV_YEAR)
    return PV_FACTOR * PV_KW * profile.mean_w(then.timestamp(), then.timestamp() + 900)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], first: str = "start_utc") -> None:
    """Write a table; the first value of a row is its instant, POSIX seconds, in the column `first`."""
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([first, *columns])
        writer.writerows((utc(t), *values) for t, *values in rows)


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="For the cases.")
@click.option("--list", "which", default=LIST, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(data: Path, out: Path, which: Path) -> None:
    """Put together the cases of a list from the traces in a directory."""
    try:
        months = msgspec.convert(tomllib.loads(which.read_text(encoding="utf-8")), Months)
        for name, month in months.case.items():
            click.echo(put_together(name, month, months.pv, data, out))
    except (OSError, TraceFileError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        click.echo(f"benchmarks.months: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
