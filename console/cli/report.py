"""`skerry report`: a year's energy by source, PUE, REF and CO2, in the shape that the EU asks of data centres."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from console.cli.data_source import record_of_gateway
from console.cli.json_output import json_text
from console.value_parsers import json_option, site_option
from storage.config import DISPATCH
from storage.signals import CARBON

if TYPE_CHECKING:  # the functions below import these when they run: other commands start faster without them
    from console.cli.data_source import Record
    from dispatch.accounting.energy_year import EnergyYear, Indicator, QuarterPowers

GRID, PV, LOAD, NODES, ON_GENSET = "grid.w", "pv.w", "site_load.w", "nodes.w", "decision.on_genset"
QUARTER_S = 900
CHUNK_S = 2880 * QUARTER_S  # of one question to the record
HEADER = ("indicator", "what", "unit", "value", "note")


@click.command()
@click.option("--year", type=click.IntRange(2000, 2200), metavar="Y", required=True, help="Calendar year at the site.")
@click.option("--it", "it_signals", multiple=True, metavar="SIGNAL", help="Signal of the record that measures IT power,"
              " such as `ups1.w`; several add up. Default: the power of the nodes that Skerry reads.")  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@site_option
@json_option
def report(year: int, it_signals: tuple[str, ...], as_csv: bool, site: str | None, as_json: bool) -> None:
    """Report a year's energy by source, PUE, REF and CO2, as Markdown.

    The quantities are those that Delegated Regulation (EU) 2024/1364 asks of data centres from 500 kW on; what Skerry
    cannot know has no value, and says where it is found. Energies are those of the quarter hours on record, whose share
    is told; nothing is extrapolated. Within a quarter hour import and export cancel. CO2 is that of the import, by what
    [tariff.co2_feed] had fetched at the time, else by [tariff] co2_g_per_kwh.
    """
    from dispatch.accounting.energy_year import energy_year, indicators

    with record_of_gateway(site) as source:
        kept = source.archive.last_state(DISPATCH)
        kept = kept if isinstance(kept, dict) else {}
        quarters = list(_quarters(source, year, it_signals, with_pv=bool(kept.get("pv", True))))
        click.echo(f"skerry: reading {source.shown}", err=True)
    co2 = kept.get("tariff", {}).get("co2_g_per_kwh")
    found = energy_year(quarters, float(co2) if isinstance(co2, (int, float)) else None)
    it_source = f"signal {', '.join(it_signals)}" if it_signals else "compute nodes that Skerry reads, at their inlet"
    pcs_w = sum(float(pcs.get("discharge_w", 0.0)) for pcs in kept.get("pcs", ()))
    rows = indicators(found, it_source, pcs_w)
    if as_json:
        click.echo(json_text({"year": year, "energy": found, "indicators": rows}))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([HEADER, *((r.name, r.what, r.unit, _value(r), r.note) for r in rows)])
    else:
        for line in lines(year, found, rows):
            click.echo(line)


def lines(year: int, found: EnergyYear, rows: list[Indicator]) -> Iterator[str]:
    """The report as Markdown."""
    yield f"# Energy {year}"
    yield ""
    yield f"On record: {found.known_h:.0f} of {found.of_h:.0f} h that have passed. Nothing is extrapolated."
    for title, known in (("Known", True), ("Not known", False)):
        yield from ("", f"## {title}", "", "| indicator | | value | |", "|---|---|---|---|")
        for r in (row for row in rows if (row.value is not None) is known):
            yield f"| {r.name} | {r.what} | {f'{_value(r)} {r.unit}'.strip()} | {r.note} |"


def _value(row: Indicator) -> str:
    if row.value is None:
        return ""
    return f"{row.value:.0f}" if row.unit in ("kWh", "kg", "kW") else f"{row.value:.3f}"


def _quarters(source: Record, year: int, it_signals: tuple[str, ...], with_pv: bool) -> Iterator[QuarterPowers]:
    """Quarter hours of the year that have passed, by the site's calendar."""
    from dispatch.accounting.energy_year import QuarterPowers

    begin_s, end_s = (int(datetime(y, 1, 1, tzinfo=source.zone).timestamp()) for y in (year, year + 1))
    end_s = min(end_s, int(source.now_utc_s() // QUARTER_S) * QUARTER_S)
    it_names = it_signals or (NODES,)
    for start_s in range(begin_s, end_s, CHUNK_S):
        until_s = min(start_s + CHUNK_S, end_s)
        names = (GRID, PV, LOAD, ON_GENSET, CARBON, *it_names)
        columns: dict[str, Any] = source.archive.history(names, start_s, until_s, QUARTER_S)["signals"]
        for n, grid_w in enumerate(columns[GRID]):
            parts = [columns[name][n] for name in it_names]
            it_w = None if None in parts else sum(parts)
            pv_w = columns[PV][n] if with_pv else 0.0
            genset = (columns[ON_GENSET][n] or 0.0) > 0
            yield QuarterPowers(grid_w, pv_w, columns[LOAD][n], it_w, genset, columns[CARBON][n])
