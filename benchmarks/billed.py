"""The peaks that other months of a case's load would have been billed, for `benchmarks.dispatch --billed`.

    python -m benchmarks.billed --data DIR --cases CASES --out FILE
    python -m benchmarks.dispatch --cases CASES --billed FILE --step 900

Where each case's load lies in a longer trace is in its case.json (`benchmarks.months`), or is data,
`benchmarks/billed.toml`; its scale is fitted to the case's own load. A month's peak is the lowest that the battery
could have held, by hindsight; no controller reaches it quite. Of whole calendar months before the scored one; a trace
that has none gives those after it, named by the year before. The scored month itself is never among them. Cases on a
trace too short for that are left out.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import msgspec
import numpy as np

from benchmarks.dispatch import SITES
from benchmarks.months import sun_w
from console.replay.traces import LOAD_COLUMNS, Trace, TraceFileError, instant, read_trace
from dispatch.planning.peak.prior import held_peak_w
from gateway.site.loader import load

LIST = Path(__file__).with_suffix(".toml")
DAY_S, QUARTER_S = 86_400, 900


class Placed(msgspec.Struct, frozen=True):
    """Where a case's load comes from; the file relative to the data directory."""

    load: str
    shift_days: int  # the case's time less the trace's
    column: str = "power_w"


class Billed(msgspec.Struct, frozen=True):
    """What `billed.toml` holds."""

    pv: str
    case: dict[str, Placed]


def place_of(file: Path, listed: Billed) -> Placed | None:
    """Where the load of a case lies in its trace, None where that is not known. Raises msgspec.ValidationError."""
    meta = json.loads(file.read_text(encoding="utf-8"))
    return msgspec.convert(meta["trace"], Placed) if "trace" in meta else listed.case.get(file.parent.name)


def peaks_kw(folder: Path, placed: Placed, sun: Trace, data: Path) -> dict[str, float]:
    """Held peaks, kW, of the whole months around the scored one, by month. Raises TraceFileError, OSError."""
    meta = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    config = load(SITES / f"yardstick-{meta['tariff'].lower()}.toml").dispatch
    zone = ZoneInfo(config.timezone)
    begin_s, end_s = instant(meta["first_scored_utc"]), instant(meta["end_utc"])
    trace = moved(read_trace(data / placed.load, (placed.column,)), placed.shift_days * DAY_S)
    others = [(a, b) for a, b in whole_months(trace, zone) if b <= begin_s or a >= end_s]
    found: dict[str, float] = {}
    if others:
        trace = fitted(trace, read_trace(folder / "load.csv.gz", LOAD_COLUMNS))
        for first_s, after_s in others:
            loads = trace.means_w(first_s, after_s, QUARTER_S)
            net_w = [w - sun_w(sun, first_s + QUARTER_S * k) for k, w in enumerate(loads)]
            found[f"{datetime.fromtimestamp(first_s, zone):%Y-%m}"] = round(held_peak_w(net_w, config) / 1000, 2)
    scored = f"{datetime.fromtimestamp(begin_s, zone):%Y-%m}"
    before = {month: kw for month, kw in found.items() if month < scored}
    return before or {f"{int(month[:4]) - 1}{month[4:]}": kw for month, kw in found.items()}


def moved(trace: Trace, shift_s: int) -> Trace:
    """The trace at another time."""
    return Trace(trace.start_s + shift_s, trace.step_s, trace.w)


def fitted(trace: Trace, case: Trace) -> Trace:
    """The trace on the case's scale: by least squares over the hours that both have."""
    start_s, end_s = (-(-max(trace.start_s, case.start_s) // 3600) * 3600, min(trace.end_s, case.end_s) // 3600 * 3600)
    slope, level = np.polyfit(trace.means_w(start_s, end_s, 3600), case.means_w(start_s, end_s, 3600), 1)
    return Trace(trace.start_s, trace.step_s, [float(level + slope * w) for w in trace.w])


def whole_months(trace: Trace, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    """(begin, end) of each local calendar month that a trace covers, POSIX seconds."""
    first = datetime.fromtimestamp(trace.start_s, zone).replace(day=1, hour=0, minute=0, second=0)
    while True:
        following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        if following.timestamp() > trace.end_s:
            return
        if first.timestamp() >= trace.start_s:
            yield int(first.timestamp()), int(following.timestamp())
        first = following


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--cases", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--list", "which", default=LIST, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(data: Path, cases: Path, out: Path, which: Path) -> None:
    """Work out the peaks of other months for the cases of a directory."""
    try:
        listed = msgspec.convert(tomllib.loads(which.read_text(encoding="utf-8")), Billed)
        sun = read_trace(data / listed.pv, ("w_per_kwp",))
        there = {file.parent.name: place_of(file, listed) for file in sorted(cases.glob("*/case.json"))}
        found = {name: peaks_kw(cases / name, at, sun, data) for name, at in there.items() if at is not None}
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")
        for name, peaks in found.items():
            click.echo(f"{name:<20}{', '.join(f'{month} {kw:g} kW' for month, kw in peaks.items())}")
    except (OSError, TraceFileError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        click.echo(f"benchmarks.billed: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
