"""`skerry flex`: shows what the site can offer to a grid event, now and ahead, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from itertools import groupby
from typing import Any

import click
import msgspec

from console.cli.data_source import gateway
from console.cli.json_output import json_text, with_words
from console.display.formats import hour_minute_zone, weekday_hour_minute
from console.display.language import words
from console.language_option import language_option
from console.value_parsers import duration, json_option, moment, site_option
from dispatch.events.flexibility import Compute, Offer
from dispatch.model.reasons import Reason
from dispatch.wording.formatting import kw, kw_column, span

NOW_S = 1.0  # an offer that begins so soon begins now
HEAD = ("", "for", "battery kW", "with GPUs kW", "import kW", "charge kWh", "cost EUR", "with GPUs EUR", "limited by")


@click.command()
@click.option("--at", "at", metavar="T", multiple=True, help="Start, HH:MM today or ISO 8601. May be repeated.")
@click.option("--for", "for_s", type=duration, metavar="TIME", multiple=True, help="Duration. May be repeated.")
@language_option
@site_option
@json_option
def flex(at: tuple[str, ...], for_s: tuple[float, ...], site: str | None, as_json: bool) -> None:
    """Show by how much the site can lower its import, for how long, from now and later, and at which cost.

    Powers are below the import as it would be without battery, held all the time: by the battery alone, and with caps
    on GPUs as deep as their users tolerate. Ahead, the battery is charged before, as far as that raises no peak. The
    cost is against the plan in force: energy, wear, GPU-hours.
    """
    with gateway(site) as live:
        params: dict[str, Any] = {}
        if at:
            now_utc_s = live.now_utc_s()
            params["starts_utc_s"] = [moment(text, now_utc_s, live.zone) for text in at]
        if for_s:
            params["hours"] = [seconds / 3600 for seconds in for_s]
        found, zone = live.link.request("flex", **params), live.zone
    if as_json:
        click.echo(json_text(with_words(found)))
        return
    for line in lines(found, zone):
        click.echo(line)


def lines(found: dict[str, Any], zone: tzinfo) -> Iterator[str]:
    """What `flex` answers, as text."""
    offers = msgspec.convert(found["offers"], list[Offer])
    compute = msgspec.convert(found["compute"], Compute)
    now_utc_s = float(found["now_utc_s"])
    yield f"Offers at {hour_minute_zone(now_utc_s, zone)}: import lowered by so much below that as without battery"
    if found["note"] is not None:
        yield f"Note      {words(msgspec.convert(found['note'], Reason))}"
    yield f"Compute   {_compute_text(compute)}"
    yield ""
    if not offers:
        yield "no time asked for lies within the plan"
        return
    yield _row(HEAD)
    for start_utc_s, group in groupby(offers, key=lambda offer: offer.start_utc_s):
        soon = start_utc_s <= now_utc_s + NOW_S
        when = "now" if soon else weekday_hour_minute(start_utc_s, zone)
        for n, offer in enumerate(group):
            yield _row((when if n == 0 else "", *_cells(offer)))


def _compute_text(compute: Compute) -> str:
    if not compute.nodes:
        return "no node can be capped now"
    price = "at no stated price" if compute.eur_per_h is None else f"at {compute.eur_per_h:.2f} EUR/h"
    return f"caps on {len(compute.nodes)} nodes give {kw(compute.shed_w)} {price}, as they draw now"


def _cells(offer: Offer) -> tuple[str, ...]:
    both_eur = None if offer.compute_eur is None else offer.battery_eur + offer.compute_eur
    return (
        span(3600 * offer.hours),
        kw_column(offer.battery_w),
        kw_column(offer.battery_w + offer.compute_w),
        kw_column(offer.import_w),
        f"{offer.charge_kwh:.1f}",
        f"{offer.battery_eur + 0.0:.2f}",
        "—" if both_eur is None else f"{both_eur + 0.0:.2f}",
        words(offer.limited_by),
    )


def _row(cells: Sequence[str]) -> str:
    when, length, *figures, why = cells
    widths = (10, 12, 9, 10, 8, 13)
    return f"{when:<10} {length:>8} " + " ".join(f"{c:>{w}}" for c, w in zip(figures, widths, strict=True)) + f"  {why}"
