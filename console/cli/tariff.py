"""`skerry tariff`: says a site's charges back in words, with the next times of their windows, and prices a day."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import click
import msgspec

from console.cli.failures import Failure
from console.cli.json_output import json_text, with_words
from console.display.language import words
from console.value_parsers import json_option
from dispatch.wording import catalogue
from dispatch.wording.formatting import kw
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.cli.tariff_day import PricedDay, Row
    from dispatch.config.tariff_terms import TariffTerms
    from gateway.site.schema import Site

NEXT = 2  # times of a window that are shown
LEAST_SHARE = 0.8  # of a day on record, or it is not taken as a profile
SHEET_INTERVAL_S = 900  # of a sheet's charges that name none
DAYS_BACK = 7  # of the record, in which a whole day is looked for


class Load(NamedTuple):
    """Mean load of each quarter hour of a local day, W, and where it is from."""

    day: date
    begin_utc_s: int
    w: list[float]
    source: str


@click.group()
def tariff() -> None:
    """Say a tariff back in words, price a typical day."""


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a day such as 2026-01-14") from None


@click.command("list")
@json_option
def list_sheets(as_json: bool) -> None:
    """List the price sheets that come along: real ones of grid operators, to copy from."""
    from drivers.tariffs import price_sheets

    sheets = {name: price_sheets.load(name).sheet for name in price_sheets.names()}
    if as_json:
        click.echo(json_text(sheets))
        return
    width = max(map(len, sheets))
    for name, sheet in sheets.items():
        click.echo(f"{name:<{width}}  {sheet.country}  {sheet.operator}: {sheet.title}")


@click.command()
@click.argument("site", type=click.Path(path_type=Path), metavar="[SITE.toml]", required=False)
@click.option("--sheet", metavar="NAME", help="A price sheet that comes along, in place of SITE.toml.")
@click.option(
    "--day",
    type=_day,
    metavar="D",
    help="Local day that is priced, such as 2026-01-14. Default: the last whole day on record, else today.",
)
@click.option(
    "--load",
    "profile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Load of the day, a CSV as of `skerry replay --load`. Default: import on record, else half contracted peak.",
)
@json_option
def show(site: Path | None, sheet: str | None, day: date | None, profile: Path | None, as_json: bool) -> None:
    """Say each charge of the site file back in words, when its windows next hold, and price a day by them.

    Needs the site file alone; no gateway must run. Of a price sheet that comes along only the charges are said.
    """
    if (site is None) == (sheet is None):
        raise click.UsageError("expected either SITE.toml or --sheet NAME")
    if site is None:
        _show_sheet(sheet or "", as_json=as_json)
        return
    from gateway.site.loader import load as load_site

    try:
        loaded = load_site(site)
    except OSError as error:
        raise click.UsageError(f"{site}: {error.strerror}") from None
    now_s = time.time()
    shown = _load(loaded, day, profile, now_s)
    market, note = _market(loaded, shown)
    terms, timezone = loaded.dispatch.tariff, loaded.site.timezone
    from console.cli.tariff_day import priced_day

    try:
        priced = priced_day(
            terms, timezone, loaded.dispatch.grid.metering_interval_s, shown.begin_utc_s, shown.w, market
        )
    except ValueError as error:
        raise Failure(str(error), exit_codes.USAGE) from None
    if as_json:
        click.echo(json_text(_document(loaded, shown, priced, note, now_s)))
        return
    metering_s = loaded.dispatch.grid.metering_interval_s
    for line in (
        *_charges(terms, timezone, metering_s, now_s),
        "",
        *_day_lines(shown, priced, note, ZoneInfo(timezone)),
    ):
        click.echo(line)


def _show_sheet(name: str, *, as_json: bool) -> None:
    """A price sheet in words, with its source and what was not verified."""
    from drivers.tariffs import price_sheets

    try:
        found = price_sheets.load(name)
    except ValueError as error:
        raise Failure(str(error), exit_codes.USAGE) from None
    now_s = time.time()
    if as_json:
        charges, windows = _in_words(found.tariff, found.sheet.timezone, SHEET_INTERVAL_S, now_s)
        click.echo(json_text({"sheet": found.sheet, "charges": charges, "windows": windows}))
        return
    sheet = found.sheet
    click.echo(f"{sheet.operator}: {sheet.title} ({sheet.country}, {sheet.year})")
    click.echo(f"source: {sheet.source}")
    click.echo(f"verified: {sheet.verified}")
    click.echo(f"not verified: {sheet.not_verified}")
    click.echo("")
    for line in _charges(found.tariff, sheet.timezone, SHEET_INTERVAL_S, now_s):
        click.echo(line)


tariff.add_command(show)
tariff.add_command(list_sheets)


# ── load and market price of the day ────────────────────────────────────────────────────────────────────────────────


def _span(day: date, timezone: str) -> tuple[int, int]:
    from gateway.energy_iq_history import local_day

    return local_day(day, timezone)


def _load(loaded: Site, day: date | None, profile: Path | None, now_s: float) -> Load:
    """Of the file, of the record, or half the contracted peak."""
    zone = ZoneInfo(loaded.site.timezone)
    today = datetime.fromtimestamp(now_s, zone).date()
    if profile is not None:
        return _of_file(loaded, day or today, profile)
    found = _of_record(loaded, [day] if day else [today - timedelta(days=n) for n in range(1, DAYS_BACK + 1)])
    if found is not None:
        return found
    begin_s, end_s = _span(day or today, loaded.site.timezone)
    half_w = loaded.dispatch.grid.contracted_peak_w / 2
    flat = [half_w] * ((end_s - begin_s) // 900)
    return Load(day or today, begin_s, flat, f"{kw(half_w)} all day, half the contracted peak: no record, no --load")


def _of_file(loaded: Site, day: date, profile: Path) -> Load:
    """The file's own rows of the day where it has them all, else its mean by time of day."""
    from console.replay.traces import LOAD_COLUMNS, TraceFileError, read_trace

    try:
        trace = read_trace(profile, LOAD_COLUMNS)
    except OSError as error:
        raise click.UsageError(f"{profile}: {error.strerror}") from None
    except TraceFileError as error:
        raise Failure(str(error), exit_codes.USAGE) from None
    begin_s, end_s = _span(day, loaded.site.timezone)
    if trace.start_s <= begin_s and end_s <= trace.end_s:
        return Load(day, begin_s, trace.means_w(begin_s, end_s, 900), f"{profile.name}, that day")
    zone = ZoneInfo(loaded.site.timezone)
    by_time: dict[tuple[int, int], list[float]] = {}
    first_s = -(-trace.start_s // 900) * 900
    for t in range(first_s, trace.end_s - 899, 900):
        local = datetime.fromtimestamp(t, zone)
        by_time.setdefault((local.hour, local.minute), []).append(trace.mean_w(t, t + 900))
    if len(by_time) < 96:
        raise Failure(
            f"{profile}: expected the load of a whole day, found that of {len(by_time) / 4:g} h of it", exit_codes.USAGE
        )
    locals_ = (datetime.fromtimestamp(t, zone) for t in range(begin_s, end_s, 900))
    values = [by_time[local.hour, local.minute] for local in locals_]
    days = (trace.end_s - trace.start_s) / 86_400
    return Load(
        day, begin_s, [sum(w) / len(w) for w in values], f"{profile.name}, mean by time of day over {days:.0f} days"
    )


def _of_record(loaded: Site, days: Sequence[date]) -> Load | None:
    """The import on record of the first of these days that is on record for most of its time; gaps at its mean."""
    from gateway.site import paths
    from storage.grid_power import grid_power
    from storage.reader import Archive, NoRecords, QueryTimeout

    with closing(Archive(paths.state_dir(loaded))) as archive:
        for day in days:
            begin_s, end_s = _span(day, loaded.site.timezone)
            try:
                filled = _filled(grid_power(archive, begin_s, end_s, 900))
            except (NoRecords, QueryTimeout):
                return None
            if filled:
                return Load(day, begin_s, filled, "import on record that day")
    return None


def _filled(w: Sequence[float]) -> list[float]:
    """Import of a day, W, gaps at the mean of the rest; empty where too much of it is missing."""
    known = [max(one, 0.0) for one in w if not math.isnan(one)]
    if len(known) < LEAST_SHARE * len(w):
        return []
    mean_w = sum(known) / len(known)
    return [mean_w if math.isnan(one) else max(one, 0.0) for one in w]


def _market(loaded: Site, shown: Load) -> tuple[list[float] | None, str]:
    """Market prices of the day by the price file, EUR/MWh; and what must be said of them."""
    from console.cli.recorded_site import site_prices
    from dispatch.billing.charges.energy_prices import uses_market
    from dispatch.billing.market_prices import filled_means

    if not uses_market(loaded.dispatch.tariff, "import"):
        return None, ""
    prices = site_prices(str(loaded.path))
    starts = [shown.begin_utc_s + 900 * n for n in range(len(shown.w))]
    if prices is not None:
        market, known = filled_means(prices, starts, 900, loaded.site.timezone)
        if market is not None:
            missing = known.count(False) / 4
            return (
                market,
                f"market price of {missing:g} h not known: mean of the same hour on other days" if missing else "",
            )
    return None, "no market price is known: prices are without it"


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _charges(terms: TariffTerms, timezone: str, metering_interval_s: int, now_s: float) -> Iterator[str]:
    """Each charge and window in words."""
    from dispatch.billing.charges.calendar import calendar_of
    from dispatch.billing.charges.description import described, next_spans, window_in_words

    if not terms.charges:
        yield "no charges: [tariff] has none"
    width = max((len(charge.id) for charge in terms.charges), default=0)
    for charge in terms.charges:
        yield f"{charge.id:<{width}}  {words(described(charge, terms, metering_interval_s))}"
    calendar, zone = calendar_of(terms, timezone), ZoneInfo(timezone)
    for window in terms.windows:
        spans = next_spans(window.id, calendar, now_s, NEXT)
        times = "; ".join(_times(span.begin_utc_s, span.end_utc_s, zone) for span in spans) or "not within two years"
        yield f"window {window.id}: {words(window_in_words(window, terms.holidays))}; next {times}"


def _times(begin_s: float, end_s: float, zone: ZoneInfo) -> str:
    begin, end = (datetime.fromtimestamp(at, zone) for at in (begin_s, end_s))
    if begin.date() == end.date():
        return f"{begin:%a %Y-%m-%d %H:%M}–{end:%H:%M}"
    return f"{begin:%a %Y-%m-%d %H:%M} to {end:%a %Y-%m-%d %H:%M}"


def _day_lines(shown: Load, priced: PricedDay, note: str, zone: ZoneInfo) -> Iterator[str]:
    yield f"{shown.day:%a %Y-%m-%d}; load: {shown.source}"
    yield f"{'':<12} {'load kW':>8} {priced.currency + '/kWh':>9}  parts"
    for row in priced.rows:
        yield _row(row, zone)
    mean = priced.energy_amount / priced.import_kwh if priced.import_kwh else 0.0
    yield f"energy {priced.import_kwh:.1f} kWh, {priced.energy_amount:.2f} {priced.currency}, {mean:.4f} per kWh"
    for peak in priced.peaks:
        at = datetime.fromtimestamp(peak.begin_utc_s, zone)
        yield (
            f"{peak.charge}: highest mean that counts {peak.kw:.1f} kW at {at:%H:%M}; {peak.amount:.2f} "
            f"{priced.currency} of each bill that counts it among its peaks"
        )
    if note:
        yield f"Note  {note}"


def _row(row: Row, zone: ZoneInfo) -> str:
    begin, end = (datetime.fromtimestamp(at, zone) for at in (row.begin_utc_s, row.end_utc_s))
    parts = " + ".join(f"{name} {price:.4f}" for name, price in row.parts)
    counts = f"; counts for {', '.join(row.counting)}" if row.counting else ""
    until = "24:00" if end.date() != begin.date() else f"{end:%H:%M}"
    return f"{begin:%H:%M}–{until}  {row.load_w / 1000:>8.1f} {row.price:>9.4f}  {parts}{counts}".rstrip()


def _in_words(
    terms: TariffTerms, timezone: str, metering_interval_s: int, now_s: float
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Charges and windows for a program."""
    from dispatch.billing.charges.calendar import calendar_of
    from dispatch.billing.charges.description import described, next_spans, window_in_words

    calendar = calendar_of(terms, timezone)
    charges: list[dict[str, object]] = [
        {
            "id": charge.id,
            "kind": charge.kind,
            "text": catalogue.words(described(charge, terms, metering_interval_s)),
            "terms": msgspec.to_builtins(charge),
        }
        for charge in terms.charges
    ]
    windows: list[dict[str, object]] = [
        {
            "id": window.id,
            "text": catalogue.words(window_in_words(window, terms.holidays)),
            "next": [span._asdict() for span in next_spans(window.id, calendar, now_s, NEXT)],
        }
        for window in terms.windows
    ]
    return charges, windows


def _document(loaded: Site, shown: Load, priced: PricedDay, note: str, now_s: float) -> dict[str, object]:
    timezone, metering_s = loaded.site.timezone, loaded.dispatch.grid.metering_interval_s
    charges, windows = _in_words(loaded.dispatch.tariff, timezone, metering_s, now_s)
    day = {
        "day": shown.day.isoformat(),
        "load": shown.source,
        "rows": [row._asdict() for row in priced.rows],
        "peaks": [peak._asdict() for peak in priced.peaks],
        "import_kwh": priced.import_kwh,
        "energy_amount": priced.energy_amount,
        "currency": priced.currency,
        "note": note,
    }
    made: dict[str, object] = with_words({"timezone": timezone, "charges": charges, "windows": windows, "day": day})
    return made
