"""`skerry fleet report`: a month of each site, from what was pulled."""

from __future__ import annotations

import csv
import re
import sys
import time
from pathlib import Path

import click

from console.cli.failures import Failure
from console.cli.fleet_pull import hub_option
from console.cli.json_output import json_text
from console.value_parsers import json_option
from fleet.month import SiteMonth, months
from fleet.store import NotAHub
from gateway.site.paths import state_root

HEADER = (
    *("site", "uuid", "known_h", "of_h", "import_kwh", "export_kwh", "pv_kwh", "peak_kw", "energy_eur", "priced_kwh"),
    *("load_kwh", "nodes_kwh", "pue", "co2_kg", "co2_known_kwh"),
)
SHOWN = ("site", "known_h", "of_h", "import_kwh", "export_kwh", "pv_kwh", "peak_kw", "energy_eur", "pue", "co2_kg")
ALWAYS = ("site", "uuid", "known_h", "of_h")
DIGITS = {"pue": 2, "energy_eur": 2, "peak_kw": 1}


def calendar_month(text: str) -> tuple[int, int]:
    """ "2026-11" as year and month, for `type=` of an option. Raises click.BadParameter."""
    match = re.fullmatch(r"(20\d\d|21\d\d)-(0[1-9]|1[0-2])", text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r}: expected a month such as 2026-11")
    return int(match[1]), int(match[2])


@click.command()
@click.option(
    "--month", "month", type=calendar_month, required=True, metavar="YYYY-MM", help="By each site's calendar."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@hub_option
@json_option
def report(month: tuple[int, int], as_csv: bool, hub: Path | None, as_json: bool) -> None:
    """Report a month of each site from what `skerry fleet pull` has copied: energy, its cost, peak, PUE, CO2.

    Energies are those of the quarter hours at the hub, whose hours are told; nothing is extrapolated. Within a quarter
    hour import and export cancel. The cost is the import at its price: no charge on peaks, nothing for export.
    """
    try:
        found = months(hub or state_root() / "fleet", *month, time.time())
    except NotAHub as error:
        raise Failure(str(error)) from None
    if as_json:
        click.echo(json_text(found))
        return
    rows = [row_of(site) for site in found]
    if as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([HEADER, *([_plain(r[c]) for c in HEADER] for r in rows)])
        return
    click.echo(f"# {month[0]}-{month[1]:02d}\n\n| {' | '.join(SHOWN)} |\n|{'---|' * len(SHOWN)}")
    for row in rows:
        click.echo(f"| {' | '.join(_shown(name, row[name]) for name in SHOWN)} |")


def row_of(site: SiteMonth) -> dict[str, str | float | None]:
    """The columns of a site; figures of which no quarter hour is known are None."""
    energy = site.energy
    row: dict[str, str | float | None] = {
        "site": site.name,
        "uuid": site.site,
        "known_h": energy.known_h,
        "of_h": energy.of_h,
        "import_kwh": energy.import_kwh,
        "export_kwh": energy.export_kwh,
        "pv_kwh": energy.pv_kwh,
        "peak_kw": None if site.peak_w is None else site.peak_w / 1000,
        "energy_eur": site.energy_eur,
        "priced_kwh": site.priced_kwh,
        "load_kwh": energy.load_kwh,
        "nodes_kwh": energy.it_kwh,
        "pue": energy.pue,
        "co2_kg": energy.co2_kg,
        "co2_known_kwh": energy.co2_known_kwh,
    }
    known = energy.known_h > 0 or site.peak_w is not None
    return row if known else {name: value if name in ALWAYS else None for name, value in row.items()}


def _plain(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.3f}"


def _shown(name: str, value: str | float | None) -> str:
    return "—" if value is None else value if isinstance(value, str) else f"{value:.{DIGITS.get(name, 0)}f}"
