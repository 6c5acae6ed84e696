"""`skerry bill`: prices the record by the site's charges; compares it with the utility's meter values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from console.cli.data_source import record_of_gateway
from console.cli.failures import Failure
from console.cli.json_output import json_text, with_words
from console.cli.recorded_site import site_prices, site_terms
from console.display.language import words
from console.value_parsers import json_option, moment, site_option
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from collections.abc import Callable

    from console.cli.bill_inputs import Inputs
    from console.cli.data_source import Record
    from dispatch.billing.charges.invoice import Invoice, Line
    from dispatch.config.schema import DispatchConfig

PATIENCE_S = 120.0  # for a year of minutes
SIGNS = {"point": ".", "comma": ","}
SHOWN_PEAKS = 3  # instants that set a line
LONGEST_DAYS = 366  # of what a fixed price is for, a year


class Period(NamedTuple):
    """What is billed, POSIX s, on whole steps."""

    begin_utc_s: int
    end_utc_s: int


def _layout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how the utility's file is written."""
    options = (
        click.option("--time-column", default="", metavar="NAME", help="Column of the times in the meter file."),
        click.option("--value-column", default="", metavar="NAME", help="Column of the imported energy."),
        click.option("--export-column", default="", metavar="NAME", help="Column of the exported energy."),
        click.option(
            "--unit",
            type=click.Choice(["MWh", "kWh", "Wh", "MW", "kW", "W"]),
            help="Unit of the values: energy of each interval, or its mean power.",
            show_choices=True,
        ),
        click.option(
            "--zone",
            default="",
            metavar="ZONE",
            help="Zone of the times: Europe/Berlin, UTC, +01:00. Default: the header's, else the site's.",
        ),
        click.option(
            "--stamps",
            type=click.Choice(["start", "end"]),
            help="Whether times are the begin or the end of intervals.",
        ),
        click.option(
            "--date-order",
            type=click.Choice(["dmy", "mdy", "ymd"]),
            help="Order of day, month and year.",
        ),
        click.option("--decimal", type=click.Choice(list(SIGNS)), help="Decimal sign of the values."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("site_file", metavar="[SITE.toml]", required=False)
@click.option(
    "--from", "start", metavar="T", help="Begin, such as 2026-01-01. Default: the month in which the record ends."
)
@click.option("--to", "end", metavar="T", help="End, not included. Default: the record's.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the lines as CSV instead of text.")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with the utility's meter values, a CSV of energy or mean power by interval.",
)
@_layout_options
@site_option
@json_option
def bill(
    site_file: str | None,
    start: str | None,
    end: str | None,
    as_csv: bool,
    against: Path | None,
    site: str | None,
    as_json: bool,
    **layout: str | None,
) -> int:
    """Price the record by the charges of [tariff]: each line with what set it, totals net, VAT and gross.

    Works on the record of the running gateway, else on that of the site. What was not measured is told and not billed.
    --against compares with the utility's quarter hours instead: where they differ, by how much the meter's clock may be
    off, and what the difference costs.
    """
    site = site_file or site
    given = {name: SIGNS.get(value, value) for name, value in layout.items() if value}
    if given and against is None:
        raise click.UsageError(f"--{next(iter(given)).replace('_', '-')}: expected with --against only")
    if as_csv and (as_json or against is not None):
        raise click.UsageError("--csv: not together with --json or --against")
    with record_of_gateway(site) as source:
        source.archive.timeout_s = PATIENCE_S
        config = site_terms(source, site)
        if against is not None:
            from console.cli.bill_comparison import show_comparison
            from drivers.meter_data.columns import Layout

            show_comparison(source, config, against, Layout(**given), _asked(source, start, end), site, as_json=as_json)
            return exit_codes.OK
        _show_bill(source, config, _period(source, config, start, end), site, as_csv=as_csv, as_json=as_json)
    return exit_codes.OK


def _asked(source: Record, start: str | None, end: str | None) -> tuple[float | None, float | None]:
    """The moments that were asked for."""
    now_utc_s = source.now_utc_s()
    return tuple(None if text is None else moment(text, now_utc_s, source.zone) for text in (start, end))  # type: ignore[return-value]


def _period(source: Record, config: DispatchConfig, start: str | None, end: str | None) -> Period:
    """On whole steps: the begin moved forward, the end back. Raises Failure."""
    from console.cli.bill_inputs import step_s

    length_s = step_s(config)
    begin_s, end_s = _asked(source, start, end)
    end_s = source.now_utc_s() if end_s is None else end_s
    if begin_s is None:
        local = datetime.fromtimestamp(end_s - 1, source.zone)
        begin_s = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()
    found = Period(-int(-begin_s // length_s) * length_s, int(end_s // length_s) * length_s)
    if found.end_utc_s <= found.begin_utc_s:
        raise Failure("--to must be after --from by an interval at least", exit_codes.USAGE)
    return found


def _show_bill(
    source: Record, config: DispatchConfig, period: Period, site: str | None, *, as_csv: bool, as_json: bool
) -> None:
    from console.cli.bill_inputs import priced, read_inputs

    try:
        inputs = read_inputs(source.archive, config, *period, site_prices(site), source.zone)
        found = priced(config, inputs, inputs.measured.import_kwh)
    except ValueError as error:
        raise Failure(f"no bill: {error}", exit_codes.USAGE) from None
    if as_json:
        click.echo(json_text(document(period, inputs, found, source.zone) | co2_document(config, inputs)))
    elif as_csv:
        click.echo(csv_text(found, source.zone), nl=False)
        for remark in _remarks(inputs, found):
            click.echo(f"skerry: note: {remark}", err=True)
    else:
        for line in lines(period, inputs, found, source.zone):
            click.echo(line)
        for line in co2_lines(config, inputs):
            click.echo(line)


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def lines(period: Period, inputs: Inputs, found: Invoice, zone: tzinfo) -> Iterator[str]:
    """The bill as text."""
    energy = inputs.measured
    yield f"Bill from {_local(period.begin_utc_s, zone)} to {_local(period.end_utc_s, zone)}, {zone}"
    exported = f", {sum(energy.export_kwh):.1f} kWh exported" if any(energy.export_kwh) else ""
    yield f"{sum(energy.import_kwh):.1f} kWh imported{exported}"
    yield ""
    yield _row("charge", "period", "quantity", "price", "net", "VAT", "gross", "")
    for line in found.lines:
        yield _row(*_cells(line, zone))
    yield ""
    for label, amount in (*found.by_period.items(), ("total", found.total)):
        yield _row(label, "", "", "", f"{amount.net:.2f}", f"{amount.vat:.2f}", f"{amount.gross:.2f}", found.currency)
    for remark in _remarks(inputs, found):
        yield f"Note  {remark}"


def co2_eur(config: DispatchConfig, inputs: Inputs) -> float:
    """What the CO2 of the measured import comes to at the price of the tariff, EUR; no part of the bill."""
    return sum(inputs.measured.import_kwh) * config.tariff.co2_eur_per_kwh


def co2_lines(config: DispatchConfig, inputs: Inputs) -> Iterator[str]:
    """The price of CO2 beside the bill, where the tariff states one."""
    if config.tariff.co2_eur_per_tonne:
        yield f"CO2 at {config.tariff.co2_eur_per_tonne:g} EUR/t: {co2_eur(config, inputs):.2f} EUR, not billed"


def _cells(line: Line, zone: tzinfo) -> tuple[str, ...]:
    price = "" if line.price is None else f"{line.price:.6g}"
    tail = line.currency + (f"  set {_set_by(line, zone)}" if line.set_by_utc_s else "")
    return (
        line.charge,
        line.period,
        quantity_text(line),
        price,
        f"{line.net:.2f}",
        f"{line.vat:.2f}",
        f"{line.gross:.2f}",
        tail,
    )


def quantity_text(line: Line) -> str:
    """Of a fixed price the part of its time, "1/12 year"; else to two digits."""
    if line.kind != "fixed":
        return f"{line.quantity:.2f} {line.unit}"
    return f"{Fraction(line.quantity).limit_denominator(LONGEST_DAYS)} {line.unit}"


def _set_by(line: Line, zone: tzinfo) -> str:
    shown = ", ".join(_local(at, zone) for at in line.set_by_utc_s[:SHOWN_PEAKS])
    more = len(line.set_by_utc_s) - SHOWN_PEAKS
    return shown + (f" and {more} more" if more > 0 else "")


def _remarks(inputs: Inputs, found: Invoice) -> Iterator[str]:
    yield from inputs.remarks
    yield from map(words, found.remarks)
    for line in found.lines:
        for remark in line.remarks:
            yield f"{line.charge} {line.period}: {words(remark)}"


def _row(charge: str, period: str, quantity: str, price: str, net: str, vat: str, gross: str, tail: str) -> str:
    return f"{charge:<22} {period:<10} {quantity:>16} {price:>10} {net:>11} {vat:>10} {gross:>11} {tail}".rstrip()


def _local(utc_s: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(utc_s, zone):%Y-%m-%d %H:%M}"


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────────────


def document(period: Period, inputs: Inputs, found: Invoice, zone: tzinfo) -> dict[str, Any]:
    """The bill for a program; amounts of money as text, exact."""
    energy = inputs.measured
    made: Mapping[str, Any] = with_words(msgspec.to_builtins(found))
    return {
        "begin_utc_s": period.begin_utc_s,
        "end_utc_s": period.end_utc_s,
        "timezone": str(zone),
        "import_kwh": sum(energy.import_kwh),
        "export_kwh": sum(energy.export_kwh),
        "unmeasured": msgspec.to_builtins(energy.unmeasured),
        "unmeasured_h": energy.unmeasured_s / 3600,
        "notes": inputs.remarks,
        **made,
    }


def co2_document(config: DispatchConfig, inputs: Inputs) -> dict[str, float]:
    """The same for a program; empty where the tariff states no price of CO2."""
    return {"co2_eur_not_billed": co2_eur(config, inputs)} if config.tariff.co2_eur_per_tonne else {}


def csv_text(found: Invoice, zone: tzinfo) -> str:
    """The lines as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ("charge", "kind", "period", "quantity", "unit", "price", "net", "vat", "gross", "currency", "set_by")
    )
    for line in found.lines:
        price = "" if line.price is None else line.price
        set_by = " ".join(datetime.fromtimestamp(at, zone).isoformat() for at in line.set_by_utc_s)
        rows.writerow(
            (
                line.charge,
                line.kind,
                line.period,
                line.quantity,
                line.unit,
                price,
                line.net,
                line.vat,
                line.gross,
                line.currency,
                set_by,
            )
        )
    return text.getvalue()
