"""`skerry iq`: shows the Energy IQ of a day and of its month, and the losses by part and cause."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec

from console.cli.data_source import Live, Record, gateway_or_record
from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.cli.recorded_site import site_prices, site_terms
from console.display.language import words
from console.language_option import language_option
from console.value_parsers import json_option, site_option
from gateway import exit_codes

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from dispatch.evaluation.energy_iq import Cost, Iq
    from gateway.energy_iq_history import Report

PATIENCE_S = 120.0  # a month's programs take seconds, on a busy machine more


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a day such as 2025-09-16") from None


@click.command()
@click.option("--day", type=_day, metavar="D", help="Local calendar day, such as 2025-09-16. Default: yesterday.")
@language_option
@site_option
@json_option
def iq(day: date | None, site: str | None, as_json: bool) -> int:
    """Show the Energy IQ of a day and of its month up to the end of that day, from the site's record.

    100: the saving of perfect foresight with the same battery and reserve; 0: as without a battery; below 0: worse. The
    loss against perfect foresight is shown by part of the bill and by cause: forecast and planning, orders, outages.
    """
    with gateway_or_record(site, PATIENCE_S) as source:
        now_utc_s = source.now_utc_s()
        if day is None:
            from gateway.energy_iq_history import today

            day = today(now_utc_s, str(source.zone)) - timedelta(days=1)
        if isinstance(source, Live):
            from gateway.energy_iq_history import Report

            report = msgspec.convert(source.link.request("iq", day=day.isoformat()), Report)
        else:
            report = _from_record(source, site, day, now_utc_s)
            click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
    if as_json:
        click.echo(json_text(document(report)))
    else:
        for line in lines(report):
            click.echo(line)
    return exit_codes.OK


def _from_record(source: Record, site: str | None, day: date, now_utc_s: float) -> Report:
    from dispatch.billing.market_prices import NO_PRICES
    from dispatch.planning.lp_solver import SolverFailed
    from gateway.energy_iq_history import make_report
    from storage.rollup import MINUTE_S

    source.archive.timeout_s = PATIENCE_S
    config = site_terms(source, site)
    try:
        until_s = now_utc_s + MINUTE_S  # the last minute's roll-up is recorded at its begin
        return make_report(source.archive, config, day, until_s, site_prices(site) or NO_PRICES)
    except SolverFailed as error:
        raise Failure(f"no Energy IQ: {error}") from None
    except ValueError as error:
        raise Failure(str(error), exit_codes.USAGE) from None


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def lines(report: Report) -> Iterator[str]:
    """The report as text."""
    for name, one in ((report.day, report.iq), (f"{report.day[:7]} to date", report.month)):
        yield f"{name:<16} {headline(one)}"
        yield from _table(one)
        yield ""
    for note in report.notes:
        yield f"Note  {note}"


def headline(one: Iq) -> str:
    """ "Energy IQ 91, saved 3.20 EUR; from 21 of 24 h"."""
    figure = (
        f"Energy IQ {one.iq_pct:.0f}"
        if one.iq_pct is not None
        else f"no Energy IQ: {words(one.why) if one.why else ''}"
    )
    saved = ""
    if one.iq_pct is not None and one.saved_eur is not None:
        saved = f", saved {one.saved_eur:.2f} EUR" if one.saved_eur >= 0 else f", lost {-one.saved_eur:.2f} EUR"
    return f"{figure}{saved}; from {one.known_h:g} of {one.of_h:g} h"


def _table(one: Iq) -> Iterator[str]:
    from dispatch.evaluation.energy_iq import LEAST_H

    if one.none is None or one.own is None or one.best is None or one.known_h < LEAST_H:
        return  # of so little of a day the parts say nothing: its peak is charged whole
    yield f"{'EUR':<20}{'total':>10}{'energy':>10}{'peak':>10}{'wear':>10}"
    costs = {"no battery": one.none, "as it was": one.own, "perfect foresight": one.best}
    for name, cost in costs.items():
        yield _row(name, cost)
    loss = parts(one)
    yield f"{'loss':<20}{loss['total']:>10.2f}{loss['energy']:>10.2f}{loss['peak']:>10.2f}{loss['wear']:>10.2f}"
    if any(cost.co2_eur for cost in costs.values()):
        each = ", ".join(f"{name} {_eur(cost.co2_eur)}" for name, cost in costs.items())
        yield f"  CO2 at its price: {each}; not billed, counted in the figure and in the loss by cause"
    if one.loss is not None:
        yield (
            f"  by cause: forecast {_eur(one.loss.forecast_eur)}, manual orders {_eur(one.loss.orders_eur)}, "
            f"outages {_eur(one.loss.outages_eur)}"
        )
        yield f"  keeping the reserve cost {_eur(one.loss.reserve_eur)}, not counted as loss"


def _row(name: str, cost: Cost) -> str:
    figures = (cost.total_eur, cost.energy_eur, cost.peak_eur, cost.wear_eur)
    return f"{name:<20}" + "".join(f"{eur + 0.0:>10.2f}" for eur in figures)


def _eur(eur: float) -> str:
    return f"{round(eur, 2) + 0.0:.2f}"


def parts(one: Iq) -> dict[str, float]:
    """The loss against foresight by part of the bill, EUR."""
    assert one.own is not None
    assert one.best is not None
    names = ("total", "energy", "peak", "wear", *(("co2",) if one.own.co2_eur or one.best.co2_eur else ()))
    return {name: getattr(one.own, f"{name}_eur") - getattr(one.best, f"{name}_eur") for name in names}


def document(report: Report) -> dict[str, Any]:
    """The report for a program, with the sums a reader would form."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    for name, one in (("iq", report.iq), ("month", report.month)):
        found[name] |= {"of_h": one.of_h, "saved_eur": one.saved_eur}
        if one.own is not None:
            found[name]["loss_by_part_eur"] = parts(one)
        for cost in ("none", "own", "best"):
            if (kept := getattr(one, cost)) is not None:
                found[name][cost]["total_eur"] = kept.total_eur
    return found
