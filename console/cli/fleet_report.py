"""`skerry fleet report`: a month of each site, from what was pulled, and of what only the sites can say, if asked."""

from __future__ import annotations

import asyncio
import csv
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from console.cli.failures import Failure
from console.cli.fleet_pull import hub_option
from console.cli.fleet_sites import chosen_sites, sites_option, ssh_option
from console.cli.json_output import json_text
from console.display.formats import ABSENT
from console.value_parsers import json_option
from fleet.month import SiteMonth, months
from fleet.month_asked import AskedMonth, ask_months
from fleet.site_text import one_line
from fleet.sites import SiteAddress
from fleet.store import NotAHub
from fleet.transport import open_link
from gateway.site.paths import state_root
from storage.csv_fields import field

HEADER = (
    *("site", "uuid", "known_h", "of_h", "import_kwh", "export_kwh", "pv_kwh", "peak_kw", "energy_eur", "priced_kwh"),
    *("load_kwh", "nodes_kwh", "pue", "co2_kg", "co2_known_kwh"),
    *("iq_pct", "iq_known_h", "saved_eur", "outages", "outage_h", "drill_overdue_d"),
)
ASKED = ("iq_pct", "iq_known_h", "saved_eur", "outages", "outage_h", "drill_overdue_d")
SHOWN = ("site", "known_h", "of_h", "import_kwh", "export_kwh", "pv_kwh", "peak_kw", "energy_eur", "pue", "co2_kg")
SHOWN_ASKED = ("iq_pct", "saved_eur", "outages", "drill_overdue_d")
HEADINGS = {
    "site": "Site",
    "known_h": "known, h",
    "of_h": "of, h",
    "import_kwh": "import, kWh",
    "export_kwh": "export, kWh",
    "pv_kwh": "PV, kWh",
    "peak_kw": "peak, kW",
    "energy_eur": "energy, EUR",
    "pue": "PUE",
    "co2_kg": "CO2, kg",
    "iq_pct": "Energy IQ, %",
    "saved_eur": "saved, EUR",
    "outages": "outages",
    "drill_overdue_d": "drill overdue, d",
}
ALWAYS = ("site", "uuid", "known_h", "of_h", *ASKED)
DIGITS = {"pue": 2, "energy_eur": 2, "peak_kw": 1, "saved_eur": 2, "drill_overdue_d": 1}
NOTES = (
    "Energies are those of the quarter hours at the hub, whose hours are told; within a quarter hour import and export "
    "cancel. Energy cost: the import at its price, no charge on peaks, nothing for export.",
)
ASKED_NOTE = (
    "Energy IQ, saving and outages are what the sites say of the month up to the last day that is over; drills as they "
    "are due now."
)
Cell = str | float | None


def calendar_month(text: str) -> tuple[int, int]:
    """ "2026-11" as year and month, for `type=` of an option. Raises click.BadParameter."""
    match = re.fullmatch(r"(20\d\d|21\d\d)-(0[1-9]|1[0-2])", text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r}: expected a month such as 2026-11")
    return int(match[1]), int(match[2])


@click.command()
@click.argument("names", metavar="[SITE]...", nargs=-1)
@click.option(
    "--month", "month", type=calendar_month, required=True, metavar="YYYY-MM", help="By each site's calendar."
)
@click.option("--ask", "ask", is_flag=True, help="Also ask the sites: Energy IQ, saving, outages, drills overdue.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page to print, with charts, to FILE.",
)
@hub_option
@sites_option
@ssh_option
@json_option
def report(
    names: tuple[str, ...],
    month: tuple[int, int],
    ask: bool,
    as_csv: bool,
    html_file: Path | None,
    hub: Path | None,
    file: Path | None,
    ssh: str | None,
    as_json: bool,
) -> None:
    """Report a month of each site from what `skerry fleet pull` has copied: energy, its cost, peak, PUE, CO2.

    Energies are those of the quarter hours at the hub, whose hours are told; nothing is extrapolated. Within a quarter
    hour import and export cancel. The cost is the import at its price: no charge on peaks, nothing for export. With
    --ask the SITEs, or those of fleet.toml, say the rest; one that does not answer is told.
    """
    if names and not ask:
        raise click.UsageError("SITE: says who is asked, with --ask; without it all sites of the hub are reported")
    try:
        found = months(hub or state_root() / "fleet", *month, time.time())
    except NotAHub as error:
        raise Failure(str(error)) from None
    asked = _asked(*chosen_sites(names, file, ssh), month, found) if ask else {}
    if as_json:
        click.echo(json_text(_document(found, asked) if ask else found))
        return
    rows = [row_of(site, asked.get(site.site)) for site in found]
    if html_file is not None:
        _write(html_file, _page(month, found, rows, ask))
    elif as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(_csv_rows(rows))
    else:
        click.echo("\n".join(_lines(month, rows, ask)))


def _asked(
    sites: Sequence[SiteAddress], ssh: tuple[str, ...], month: tuple[int, int], found: Sequence[SiteMonth]
) -> dict[str, AskedMonth]:
    """What the sites say, by UUID; what they do not is told."""
    answers = asyncio.run(ask_months(sites, partial(open_link, ssh=ssh), *month))
    for trouble in _troubles(answers, found):
        click.echo(f"skerry: {trouble}", err=True)
    return {each.site: each for each in answers if each.site}


def _troubles(answers: Sequence[AskedMonth], found: Sequence[SiteMonth]) -> Iterator[str]:
    """What was not said, and by whom."""
    at_hub = {site.site for site in found}
    for each in answers:
        if each.trouble:
            yield f"{each.name}: not all is known: {each.trouble}"
        elif each.site not in at_hub:
            yield f"{each.name}: nothing of it is at the hub; see: skerry fleet pull"
        if each.outages_at_least:
            yield f"{each.name}: more alarms came than are told at a time: outages are at least so many"
    for site in found:
        if site.site not in {each.site for each in answers}:
            yield f"{site.name}: was not asked, or has not said who it is"


def _csv_rows(rows: Sequence[dict[str, Cell]]) -> Iterator[Sequence[str]]:
    yield HEADER
    for row in rows:
        yield [_plain(row[name]) for name in HEADER]


def _document(found: Sequence[SiteMonth], asked: Mapping[str, AskedMonth]) -> list[dict[str, Any]]:
    return [{"pulled": site, "asked": asked.get(site.site)} for site in found]


def row_of(site: SiteMonth, asked: AskedMonth | None = None) -> dict[str, Cell]:
    """The columns of a site; figures of which no quarter hour is known are None."""
    energy = site.energy
    row: dict[str, Cell] = {
        "site": one_line(site.name),
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
    row |= {name: None if asked is None else getattr(asked, name) for name in ASKED}
    known = energy.known_h > 0 or site.peak_w is not None
    return row if known else {name: value if name in ALWAYS else None for name, value in row.items()}


def _lines(month: tuple[int, int], rows: Sequence[dict[str, Cell]], ask: bool) -> Iterator[str]:
    columns = (*SHOWN, *(SHOWN_ASKED if ask else ()))
    yield f"# {month[0]}-{month[1]:02d}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for row in rows:
        cells = [_shown(name, row[name]).replace("|", "\\|") for name in columns]  # a name may hold any character
        yield f"| {' | '.join(cells)} |"


def _page(month: tuple[int, int], found: Sequence[SiteMonth], rows: Sequence[dict[str, Cell]], ask: bool) -> str:
    from console.display.fleet_month_html import page

    columns = {name: HEADINGS[name] for name in (*SHOWN, *(SHOWN_ASKED if ask else ()))}
    return page(
        f"Sites, {month[0]}-{month[1]:02d}",
        columns,
        [{name: _shown(name, row[name]) for name in columns} for row in rows],
        [(site.name, site.energy_eur) for site in found],
        [(site.name, site.days) for site in found],
        [*NOTES, *([ASKED_NOTE] if ask else ())],
    )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}; give --html a file that can be written") from None
    click.echo(f"skerry: {file} is written", err=True)


def _plain(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str(field(value))
    return f"{value:.3f}"


def _shown(name: str, value: Cell) -> str:
    return ABSENT if value is None else value if isinstance(value, str) else f"{value:.{DIGITS.get(name, 0)}f}"
