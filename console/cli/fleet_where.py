"""`skerry fleet where`: which site could carry a power, from when, at what cost. It promises nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from console.cli.fleet_sites import chosen_sites, sites_option, ssh_option
from console.cli.json_output import json_text, with_words
from console.display.formats import ABSENT, weekday_hour_minute, zone_named
from console.display.language import words
from console.terminal_output import one_line
from console.value_parsers import duration, json_option, kilowatts
from dispatch.wording.formatting import kw, span
from fleet.transport import open_link
from fleet.where import SiteOffer, ask_all
from gateway import exit_codes

WITHIN = "12h"
NOW_S = 1.0  # a start that is so near is now


@click.command()
@click.argument("names", metavar="[SITE]...", nargs=-1)
@click.option("--kw", "power_kw", type=kilowatts, required=True, metavar="KW", help="Power at the AC terminals.")
@click.option("--for", "for_s", type=duration, required=True, metavar="TIME", help="For how long, such as 4h.")
@click.option(
    "--within",
    "within_s",
    type=duration,
    default=WITHIN,
    metavar="TIME",
    help=f"Longest wait for the start. [{WITHIN}]",
)
@sites_option
@ssh_option
@json_option
def where(
    names: tuple[str, ...],
    power_kw: float,
    for_s: float,
    within_s: float,
    file: Path | None,
    ssh: str | None,
    as_json: bool,
) -> int:
    """Show which site could carry a power for a time, from when and at what cost. Nothing is reserved.

    Each site answers by its own plan, limits and reservations: the first start that raises no peak, else the one that
    raises it least. Cost: the energy as its plan has the prices, what its battery could shift not counted, and the
    rise of the peak in the charges on it. A site that does not answer is listed with the reason. Exit code 1 if no
    site could carry it.
    """
    found, command = chosen_sites(names, file, ssh)
    asked = (1000 * power_kw, for_s, within_s)
    offers = asyncio.run(ask_all(found, partial(open_link, ssh=command), *asked))
    if as_json:
        click.echo(json_text(document(offers, *asked)))
    else:
        click.echo("\n".join(one_line(line) for line in lines(offers, *asked)))
    return exit_codes.OK if any(offer.carries for offer in offers) else exit_codes.FAILED


def document(offers: Sequence[SiteOffer], power_w: float, for_s: float, within_s: float) -> dict[str, Any]:
    """The answers for programs."""
    return {
        "power_w": power_w,
        "for_s": for_s,
        "within_s": within_s,
        "sites": [
            {
                "name": each.address.name,
                "host": each.address.host,
                "carries": each.carries,
                "cost_eur": None if each.offer is None else each.offer.cost_eur,
                "trouble": each.trouble,
                "offer": None if each.offer is None else with_words(msgspec.to_builtins(each.offer)),
            }
            for each in offers
        ],
    }


def lines(offers: Sequence[SiteOffer], power_w: float, for_s: float, within_s: float) -> Iterator[str]:
    """The answers as text."""
    yield f"{kw(power_w)} for {span(for_s)}, to start within {span(within_s)}; nothing is reserved"
    width = max([4, *(len(each.address.name) for each in offers)])
    yield f"{'Site':<{width}}  {'From':<10} {'Import kW':>9} {'EUR':>8} {'energy':>8} {'peak':>8}"
    for each in offers:
        yield f"{each.address.name:<{width}}  {_cells(each)}"
        if each.offer is not None:
            yield from (f"{'':<{width}}  {text}" for text in _notes(each, within_s))


def _cells(each: SiteOffer) -> str:
    offer = each.offer
    if offer is None:
        return f"asked, no answer: {each.trouble}"
    if offer.start_utc_s is None:
        return f"cannot: {words(offer.why)}"
    soon = offer.start_utc_s - offer.utc_s <= NOW_S
    start = "now" if soon else weekday_hour_minute(offer.start_utc_s, zone_named(each.timezone))
    level = ABSENT if offer.level_w is None else f"{offer.level_w / 1000:.1f}"
    return f"{start:<10} {level:>9} {_eur(offer.cost_eur):>8} {_eur(offer.energy_eur):>8} {_eur(offer.rise_eur):>8}"


def _notes(each: SiteOffer, within_s: float) -> Iterator[str]:
    offer = each.offer
    assert offer is not None
    if offer.start_utc_s is not None and offer.why is not None:
        yield words(offer.why)
    if offer.start_utc_s is not None and offer.energy_eur is None:
        yield "cost not known: its plan does not reach so far, or there is none"
    if offer.assumed:
        yield "a price of these hours is not published yet: assumed"
    if offer.within_s < within_s - 1:
        yield f"its plan reaches so far only: start within {span(offer.within_s)}"
    if each.trouble:
        yield each.trouble


def _eur(value: float | None) -> str:
    return ABSENT if value is None else f"{value + 0.0:.2f}"
