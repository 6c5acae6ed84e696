"""`skerry status`: shows the site now."""

from __future__ import annotations

import click
import msgspec

from console.cli.data_source import Live, Record, gateway_or_record
from console.cli.json_output import json_text, with_words
from console.cli.line_formats import event_line, labelled, mode_words
from console.cli.status_text import lines
from console.display.formats import date_clock_zone
from console.display.language import say, words
from console.display.wrapping import folded
from console.language_option import language_option
from console.value_parsers import json_option, moment, site_option
from gateway import exit_codes
from gateway.api.protocol import Published
from storage import identity

COLUMNS = 120  # of the longest line
LABEL_COLUMNS = 10  # in front of each row


@click.command()
@click.option(
    "--at", "at", metavar="T", help="The site as it was: HH:MM[:SS] today, an ISO 8601 time, or -10m, by its clock."
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of `status --json` instead; needs no gateway.")
@language_option
@site_option
@json_option
def status(at: str | None, schema: bool, site: str | None, as_json: bool) -> int:
    """Show the site now: power flows, limits, tariff, reason of the decision, alarms.

    Without a running gateway: the end of its record, and exit code 3. With --at: what is on record of that moment, each
    value with its quality and age, and whether the moment is in a gap.
    """
    if schema:
        return _schema(at, site)
    with gateway_or_record(site) as source:
        if at is not None:
            _then(source, moment(at, source.now_utc_s(), source.zone), as_json)
            return exit_codes.OK
        if isinstance(source, Record):
            _last_known(source, as_json)
            return exit_codes.NO_GATEWAY
        _now(source, as_json)
    return exit_codes.OK


def _schema(at: str | None, site: str | None) -> int:
    if at is not None or site is not None:
        raise click.UsageError("--schema is about what every running gateway answers; it takes no --at and no --site")
    from console.cli.status_schema import status_schema

    click.echo(json_text(status_schema(), indent=2))
    return exit_codes.OK


def _now(source: Live, as_json: bool) -> None:
    raw = source.status()
    if as_json:
        click.echo(json_text(with_words(raw)))
        return
    published = msgspec.convert(raw, Published)
    for line in lines(published, source.link.welcome):
        for part in folded(line, COLUMNS, LABEL_COLUMNS):
            click.echo(part)


def _then(source: Live | Record, utc_s: float, as_json: bool) -> None:
    from console.cli.status_at import lines as lines_at

    if isinstance(source, Record):
        click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
    found = source.at(utc_s)
    if as_json:
        click.echo(json_text(with_words(msgspec.to_builtins(found))))
        return
    for line in lines_at(found, source.zone):
        for part in folded(line, COLUMNS, LABEL_COLUMNS):
            click.echo(part)


def _last_known(source: Record, as_json: bool) -> None:
    decision, events, counts = source.why(None), source.events(5), source.archive.counts()
    if as_json:
        document = {
            "gateway": None,
            "record": str(source.directory),
            "identity": identity.read(source.directory),
            "decision": with_words(msgspec.to_builtins(decision)),
            "events": events,
            "counts": counts,
        }
        click.echo(json_text(document))
        return
    empty = decision is None and not events
    ends = say("status.record_empty")
    if not empty:
        ends = say("status.record_last", time=date_clock_zone(source.now_utc_s(), source.zone))
    click.echo(f"{source.absent}; {ends}, in {source.directory}")
    if decision is not None:
        click.echo(labelled("row.then", mode_words(decision)))
        click.echo(labelled("row.why", words(decision.reason)))
    for n, event in enumerate(events):
        line = event_line(event, source.zone)
        click.echo(f"{'':<9} {line}" if n else labelled("row.events", line))
