"""The files and instants of `skerry replay` and `skerry size`: read, and checked to reach from --from to --to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import click
import msgspec

from console.cli.failures import Failure
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.replay.engine import Case
    from console.replay.fine import FineCase
    from console.replay.traces import Trace
    from drivers.config import TariffConfig
    from drivers.tariffs.csv_file import PriceFile
    from gateway.site.schema import Site

existing = click.Path(path_type=Path)


class Inputs(NamedTuple):
    """What is played."""

    prices: Path | None  # None: no charge follows the market's
    load: Path
    pv: Path | None
    begin: str  # as typed
    end: str
    load_scale: float = 1.0
    repeat: bool = False  # steps below 10 s: play the load again and again


@contextmanager
def usage_errors() -> Iterator[None]:
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


def period(begin: str, end: str, site: Site) -> tuple[int, int]:
    """Both ends as POSIX seconds. Raises ValueError, also when the end is not after the beginning."""
    start_s, end_s = instant(begin, site), instant(end, site)
    if end_s <= start_s:
        raise ValueError(f"--to {end} must be after --from {begin}")
    return start_s, end_s


def prices_of(path: Path, tariff: TariffConfig) -> PriceFile:
    """The prices of the option's file, all that must be said of them as remarks; `tariff`: of the site file.

    Raises TariffFileError, and OSError for one that cannot be opened.
    """
    from drivers.tariffs.csv_file import read

    path.open("rb").close()  # the reader would speak of the site file's own
    found = read(str(path.absolute()), path.parent, tariff.file_terms)
    used = (
        "Used as declared" if tariff.prices_as_declared else "Used as declared here; a gateway would not use the file"
    )
    asked = (f"{question}. {used}" for question in found.questions)
    return msgspec.structs.replace(
        found, remarks=tuple(f"{path.name}: {remark}" for remark in (*found.remarks, *asked))
    )


def _prices(site: Site, inputs: Inputs) -> PriceFile:
    """The option's prices; none where nothing is billed by the market's. Raises ValueError, OSError."""
    from dispatch.billing.charges.energy_prices import uses_market
    from dispatch.billing.market_prices import NO_PRICES
    from drivers.tariffs.csv_file import PriceFile

    if inputs.prices is not None:
        return prices_of(inputs.prices, site.tariff)
    if uses_market(site.tariff):
        raise ValueError("--prices: expected a file of market prices: the tariff of the site follows them")
    return PriceFile("", NO_PRICES)


def read_case(site: Site, inputs: Inputs, step_s: int, soc_pct: float) -> Case:
    """Read the files and check that they reach. Raises ValueError, OSError."""
    from console.replay.engine import Case
    from console.replay.traces import LOAD_COLUMNS, PV_COLUMNS, Trace, read_trace, utc

    start_s, end_s = period(inputs.begin, inputs.end, site)
    load, sun = read_trace(inputs.load, LOAD_COLUMNS), None
    if inputs.load_scale != 1:
        load = Trace(load.start_s, load.step_s, [inputs.load_scale * w for w in load.w], load.notes)
    if inputs.pv is not None:
        sun = read_trace(inputs.pv, PV_COLUMNS)
    for name, trace in ((inputs.load, load), (inputs.pv, sun)):
        if trace is not None and (trace.start_s > start_s or trace.end_s < end_s):
            raise ValueError(
                f"{name}: holds {utc(trace.start_s)} to {utc(trace.end_s)}; expected all of --from {utc(start_s)} "
                f"to --to {utc(end_s)}"
            )
    prices = _prices(site, inputs)
    return Case(
        config=site.dispatch,
        prices=prices.prices,
        notes=(*prices.remarks, *_doubts(site, inputs, max(load.w), sun)),
        load=load,
        pv=sun or Trace(load.start_s, load.step_s, [0.0] * len(load.w)),
        start_s=start_s,
        end_s=end_s,
        step_s=step_s,
        soc_pct=soc_pct,
    )


def _doubts(site: Site, inputs: Inputs, highest_load_w: float, sun: Trace | None) -> Iterator[str]:
    """What to ask about the units of load and PV."""
    from console.replay.remarks import doubtful_load, doubtful_pv

    peak_w = sum(pv.peak_w for pv in site.pv)
    yield from doubtful_load(inputs.load.name, highest_load_w, site.dispatch, peak_w)
    if sun is not None and inputs.pv is not None:
        yield from doubtful_pv(inputs.pv.name, max(sun.w), peak_w)


def read_fine_case(
    site: Site, inputs: Inputs, step_ms: int, soc_pct: float, delays: dict[str, float | None]
) -> FineCase:
    """The same for steps below 10 s; `delays`: `FineCase`'s own names, s. Raises ValueError, OSError."""
    from console.replay.fine import FineCase
    from console.replay.samples import read_samples
    from console.replay.traces import PV_COLUMNS, read_trace, utc

    start_s, end_s = period(inputs.begin, inputs.end, site)
    samples = read_samples(inputs.load, inputs.load_scale)
    samples.repeat = inputs.repeat
    if not inputs.repeat and (samples.start_ms > 1000 * start_s or samples.end_ms < 1000 * end_s):
        raise ValueError(
            f"{inputs.load}: holds {utc(samples.start_ms / 1000)} to {utc(samples.end_ms / 1000)}; expected all of "
            f"--from {utc(start_s)} to --to {utc(end_s)}, or --repeat"
        )
    sun = None if inputs.pv is None else read_trace(inputs.pv, PV_COLUMNS)
    if sun is not None and (sun.start_s > start_s or sun.end_s < end_s):
        raise ValueError(f"{inputs.pv}: holds {utc(sun.start_s)} to {utc(sun.end_s)}; expected all of --from to --to")
    prices = _prices(site, inputs)
    return FineCase(
        site=site,
        prices=prices.prices,
        notes=(*prices.remarks, *_doubts(site, inputs, max(samples.w), sun)),
        load=samples,
        pv=sun,
        start_s=start_s,
        end_s=end_s,
        step_ms=step_ms,
        soc_pct=soc_pct,
        **delays,
    )
