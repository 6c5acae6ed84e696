"""`skerry bill --against`: reads the utility's meter file, compares it with the record, prices the difference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from console.cli.bill_inputs import MARKET, Inputs, priced, read_inputs, step_s
from console.cli.failures import Failure
from console.cli.json_output import json_text, with_words
from console.cli.recorded_site import site_prices
from console.display.language import words
from dispatch.billing.charges.invoice import Invoice
from dispatch.evaluation.meter_clock import REACH_S, Power
from dispatch.evaluation.meter_comparison import Comparison, MeterValues, compare
from drivers.meter_data.file import MeterFile, MeterFileError, read
from gateway import exit_codes
from storage.grid_power import grid_power

if TYPE_CHECKING:
    from console.cli.data_source import Record
    from dispatch.config.schema import DispatchConfig
    from drivers.meter_data.columns import Layout
    from storage.reader import Archive

FINE_S, COARSE_S = 10, 60  # step of the record's power, up to so many days
FINE_DAYS = 7


class Cost(NamedTuple):
    """What one charge costs by the record's energy and by the meter's, gross."""

    charge: str
    currency: str
    by_record: Decimal
    by_meter: Decimal


class Priced(NamedTuple):
    """The difference by charge, and what must be said of it."""

    costs: list[Cost]
    remarks: list[str]


def show_comparison(
    source: Record,
    config: DispatchConfig,
    path: Path,
    layout: Layout,
    asked: tuple[float | None, float | None],
    site: str | None,
    *,
    as_json: bool,
) -> None:
    """Compare and print. Raises Failure for a file that cannot be used, or where there is nothing to compare."""
    try:
        file = read(path, config.timezone, layout)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", exit_codes.USAGE) from None
    except MeterFileError as error:
        raise Failure(str(error), exit_codes.USAGE) from None
    meter = _values(file, asked, file.import_kwh)
    if not meter.kwh:
        raise Failure(f"{path}: no interval lies between --from and --to", exit_codes.USAGE)
    begin_s, end_s = meter.start_utc_s[0], meter.start_utc_s[-1] + meter.interval_s
    power = _power(source.archive, begin_s, end_s)
    try:
        found = compare(power, meter)
    except ValueError as error:
        raise Failure(f"{path}: {error}") from None
    exported = None if file.export_kwh is None else exported_comparison(power, _values(file, asked, file.export_kwh))
    costs = _priced(source, config, found, exported, site)
    if as_json:
        click.echo(json_text(_document(file, found, exported, costs)))
        return
    for line in _lines(file, found, exported, costs, source.zone):
        click.echo(line)


def exported_comparison(power: Power, meter: MeterValues) -> Comparison | None:
    """The same comparison of exported energy; None where neither knows of any."""
    turned = Power(start_utc_s=power.start_utc_s, step_s=power.step_s, w=[-w for w in power.w])
    found = compare(turned, meter)
    return found if found.meter_kwh or found.record_kwh else None


def _power(archive: Archive, begin_s: int, end_s: int) -> Power:
    """The record's power around a time: of a few days in fine steps, where it has samples for them."""
    first_s, last_s = (begin_s - REACH_S) // COARSE_S * COARSE_S, end_s + REACH_S
    coarse = grid_power(archive, first_s, last_s, COARSE_S)
    if end_s - begin_s <= FINE_DAYS * 86_400:
        fine = grid_power(archive, first_s, last_s, FINE_S)
        if FINE_S * sum(map(math.isnan, fine)) <= COARSE_S * sum(map(math.isnan, coarse)):
            return Power(start_utc_s=first_s, step_s=FINE_S, w=fine)
    return Power(start_utc_s=first_s, step_s=COARSE_S, w=coarse)


def _values(file: MeterFile, asked: tuple[float | None, float | None], kwh: Sequence[float]) -> MeterValues:
    """One of the file's energies by interval, between the asked moments."""
    low, high = (-math.inf if asked[0] is None else asked[0]), (math.inf if asked[1] is None else asked[1])
    kept = [n for n, at in enumerate(file.start_utc_s) if low <= at < high]
    return MeterValues(
        interval_s=file.interval_s,
        start_utc_s=[file.start_utc_s[n] for n in kept],
        kwh=[kwh[n] for n in kept],
    )


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


def _priced(
    source: Record, config: DispatchConfig, found: Comparison, exported: Comparison | None, site: str | None
) -> Priced:
    """The same bill with the record's energies and with the meter's, where both know them."""
    length_s = step_s(config)
    begin_s = found.known_utc_s[0] // length_s * length_s
    end_s = -(-(found.known_utc_s[-1] + found.interval_s) // length_s) * length_s
    if found.interval_s % length_s and length_s % found.interval_s:
        return Priced(
            [], [f"the difference is not priced: intervals of {found.interval_s // 60} min do not fit the tariff's"]
        )
    try:
        inputs = read_inputs(source.archive, config, begin_s, end_s, site_prices(site), source.zone)
        energy = inputs.measured
        sold = energy.export_kwh if exported is None else _by_meter(inputs, energy.export_kwh, exported)
        record = priced(config, inputs, energy.import_kwh)
        meter = priced(config, inputs, _by_meter(inputs, energy.import_kwh, found), sold)
    except ValueError as error:
        return Priced([], [f"the difference is not priced: {error}"])
    remarks = [one for one in inputs.remarks if one.startswith(MARKET)]
    if found.not_in_file_h:
        remarks.append("hours that are missing in the file are priced by meter as they are on record")
    if found.interval_s > length_s:
        remarks.append(
            f"the meter's energy is spread over {length_s // 60} min as the record's, for charges on shorter intervals"
        )
    return Priced(list(_by_charge(record, meter)), remarks)


def _by_meter(inputs: Inputs, own: Sequence[float], found: Comparison) -> list[float]:
    """Energy by step, kWh, as recorded, with what the meter says in place of what both know."""
    energy, other = inputs.measured, list(own)
    each = max(found.interval_s // energy.step_s, 1)
    added: dict[int, float] = {}
    for at, meter, record in zip(found.known_utc_s, found.known_meter_kwh, found.known_record_kwh, strict=True):
        first = (at - energy.start_utc_s) // energy.step_s
        for n in range(first, first + each):
            share = own[n] / record if record > 0 and each > 1 else 1 / each
            added[n] = added.get(n, 0.0) + (meter - record) * share
    for n, kwh in added.items():
        other[n] = max(other[n] + kwh, 0.0)
    return other


def _by_charge(record: Invoice, meter: Invoice) -> Iterator[Cost]:
    sums: dict[tuple[str, str], list[Decimal]] = {}
    for place, one in enumerate((record, meter)):
        for line in one.lines:
            sums.setdefault((line.charge, line.currency), [Decimal(0), Decimal(0)])[place] += line.gross
    for (charge, currency), (by_record, by_meter) in sums.items():
        yield Cost(charge, currency, by_record, by_meter)


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _totals(found: Comparison) -> str:
    """Both sums and how far they are apart."""
    apart_kwh = found.meter_kwh - found.record_kwh
    share = f" ({100 * apart_kwh / found.record_kwh:+.2f} %)" if found.record_kwh else ""
    return f"meter {found.meter_kwh:.1f} kWh, record {found.record_kwh:.1f} kWh: {apart_kwh + 0.0:+.1f} kWh{share}"


def _lines(
    file: MeterFile, found: Comparison, exported: Comparison | None, priced: Priced, zone: tzinfo
) -> Iterator[str]:
    yield (
        f"{file.name}: {found.intervals} intervals of {found.interval_s // 60} min known to both, "
        f"{_local(found.known_utc_s[0], zone)} to {_local(found.known_utc_s[-1] + found.interval_s, zone)}"
    )
    yield _totals(found)
    yield f"{found.differing} intervals differ by more than two meters may"
    if exported is not None:
        yield f"exported: {_totals(exported)}; {exported.differing} intervals differ by more than two meters may"
    if found.not_in_file_h:
        yield f"{found.not_in_file_h:g} h are missing in the file"
    if found.not_on_record_h:
        yield f"{found.not_on_record_h:g} h of the file are not, or not wholly, on record: not compared"
    yield ""
    for finding in found.findings:  # of imported energy alone
        yield f"{'imported: ' if exported is not None else ''}{words(finding)}"
    if found.largest:
        yield ""
        yield f"{'largest differences':<20}{'meter kWh':>11}{'record kWh':>12}{'difference':>12}  "
        for row in found.largest:
            apart = row.meter_kwh - row.record_kwh
            shown = f"{row.meter_kwh:>11.2f}{row.record_kwh:>12.2f}{apart:>+12.2f}"
            yield f"{_local(row.start_utc_s, zone):<20}{shown}  {words(row.reason)}"
    if priced.costs:
        yield ""
        yield f"{'what it costs, gross':<26}{'by meter':>12}{'by record':>12}{'difference':>12}"
        for cost in priced.costs:
            figures = f"{cost.by_meter:>12.2f}{cost.by_record:>12.2f}{cost.by_meter - cost.by_record:>+12.2f}"
            yield f"{cost.charge:<26}{figures} {cost.currency}"
    for remark in (*priced.remarks, *file.remarks):
        yield f"Note  {remark}"


def _document(file: MeterFile, found: Comparison, exported: Comparison | None, priced: Priced) -> dict[str, Any]:
    made: dict[str, Any] = with_words(msgspec.to_builtins(found))
    for name in ("known_utc_s", "known_meter_kwh", "known_record_kwh"):
        del made[name]
    costs = [
        {"charge": c.charge, "currency": c.currency, "by_record": str(c.by_record), "by_meter": str(c.by_meter)}
        for c in priced.costs
    ]
    sold = exported and {name: getattr(exported, name) for name in ("meter_kwh", "record_kwh", "differing")}
    return {"file": file.name, **made, "exported": sold, "costs": costs, "notes": [*priced.remarks, *file.remarks]}


def _local(utc_s: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(utc_s, zone):%Y-%m-%d %H:%M}"
