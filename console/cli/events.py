"""`skerry events`: lists the log, of a time and of some kinds, and follows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

import click
import msgspec

from console.cli.data_source import Live, Record, gateway, gateway_or_record
from console.cli.interruption import INTERRUPTED, interruptible
from console.cli.json_output import json_text
from console.cli.line_formats import event_line
from console.language_option import language_option
from console.value_parsers import json_option, moment, site_option
from dispatch.model.events import Event
from gateway import exit_codes
from gateway.errors import LinkLost, NoGateway, RequestFailed

NEWEST = 50  # listed where neither a number nor a begin is asked for
PAGE = 500  # of one question, as `gateway.api.queries.MAX_EVENTS`
MOST = 100_000  # listed at once
SAME_TIME_S = 1e-6  # a page begins at the time with which the one before ended
FOLLOW_S = 1.0  # between two questions
LATE_S = 60.0  # an event may be put on record so much later than it happened


class Wanted(msgspec.Struct, frozen=True):
    """Which events: of what time, UTC s, and of what kinds; none named: of all."""

    since_utc_s: float | None = None
    until_utc_s: float | None = None
    kinds: tuple[str, ...] = ()

    def holds(self, event: Event) -> bool:
        """Whether it is one of them. A gateway of an earlier version sends others, too."""
        after = self.since_utc_s is None or event.utc_s >= self.since_utc_s
        before = self.until_utc_s is None or event.utc_s < self.until_utc_s
        return after and before and (not self.kinds or event.kind in self.kinds)


@click.command()
@click.option("--limit", type=click.IntRange(1, MOST), help=f"The newest N. Default: {NEWEST}; with --since all.")
@click.option("--since", metavar="T", help="Those from a time on: HH:MM[:SS] today, an ISO 8601 time, or -2h.")
@click.option("--until", metavar="T", help="Those before a time.")
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    multiple=True,
    help="Only those of a kind: alarm, command, device, gateway, island, node, plan, twin. May be repeated.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with each event as it comes, until Ctrl-C.")
@language_option
@site_option
@json_option
def events(
    limit: int | None,
    since: str | None,
    until: str | None,
    kinds: tuple[str, ...],
    follow: bool,
    site: str | None,
    as_json: bool,
) -> int:
    """List the events of the log, newest last.

    Times are in the zone and by the clock of the site. With --follow, --json prints one JSON document per event, a line
    each; a gateway that restarts meanwhile is asked again, and nothing that it recorded is left out.
    """
    if follow and until is not None:
        raise click.UsageError("--follow goes on until Ctrl-C: leave out --until")
    with (gateway if follow else gateway_or_record)(site) as source:
        wanted = Wanted(_time(since, source), _time(until, source), kinds)
        most = limit or (NEWEST if wanted.since_utc_s is None else MOST)
        found = sorted(_found(source, wanted, most), key=lambda event: event.utc_s)
        zone = source.zone
        known = _recent(source, found) if follow else []
        if isinstance(source, Record):
            click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
    if as_json and not follow:
        click.echo(json_text(found))
        return exit_codes.OK
    if not found and not follow:
        click.echo("skerry: no such event is on record", err=True)
    _print(found, zone, as_json)
    return _follow(site, known, wanted, as_json) if follow else exit_codes.OK


def _time(text: str | None, source: Live | Record) -> float | None:
    return None if text is None else moment(text, source.now_utc_s(), source.zone)


def _found(source: Live | Record, wanted: Wanted, most: int) -> list[Event]:
    """The newest of the events wanted, page by page."""
    found: list[Event] = []
    before = wanted.until_utc_s
    while len(found) < most:
        asked = min(PAGE, most) if not found else PAGE
        page = source.events(asked, wanted.since_utc_s, before, wanted.kinds)
        known = set(found[-PAGE:])
        found += [event for event in page if wanted.holds(event) and event not in known]
        ended = len(page) < asked or (wanted.since_utc_s is not None and page[-1].utc_s < wanted.since_utc_s)
        if ended or page[-1].utc_s + SAME_TIME_S == before:
            break
        before = page[-1].utc_s + SAME_TIME_S
    return found[:most]


def _recent(source: Live | Record, shown: Sequence[Event]) -> list[Event]:
    """Those shown, and all others of the last minute: what is not among them later is new."""
    begin_s = (shown[-1].utc_s if shown else source.now_utc_s()) - LATE_S
    return sorted({*shown[-PAGE:], *source.events(PAGE, begin_s)}, key=lambda event: event.utc_s)


def _follow(site: str | None, known: Sequence[Event], wanted: Wanted, as_json: bool) -> int:
    """Print what comes. Events are put on record late at times: those of the last minute are looked at again."""
    last, told = list(known), False
    with interruptible() as interrupted:
        while not interrupted.wait(FOLLOW_S):
            try:
                with gateway(site) as live:
                    begin_s = last[-1].utc_s - LATE_S if last else live.now_utc_s() - LATE_S
                    page = live.events(PAGE, begin_s)
                    fresh = [event for event in reversed(page) if event.utc_s >= begin_s and event not in last]
                    _print([event for event in fresh if wanted.holds(event)], live.zone, as_json)
            except (NoGateway, LinkLost, RequestFailed) as error:
                if not told:
                    click.echo(f"skerry: {error}; trying again until Ctrl-C", err=True)
                told = True
                continue
            told, last = False, sorted([*last, *fresh], key=lambda event: event.utc_s)[-PAGE:]
    return INTERRUPTED


def _print(found: Sequence[Event], zone: tzinfo, as_json: bool) -> None:
    for line in _lines(found, zone, as_json):
        click.echo(line)


def _lines(found: Sequence[Event], zone: tzinfo, as_json: bool) -> Iterator[str]:
    for event in found:
        yield json_text(event) if as_json else event_line(event, zone)
