"""Reads what a bill is made of: energy and market prices of a time, from the record; and says what was not measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, NamedTuple

from dispatch.billing.charges.accounts import interval_s
from dispatch.billing.charges.energy_prices import ImportPrices, market_behind, uses_market
from dispatch.billing.charges.invoice import Invoice, Metered, invoice
from dispatch.billing.market_prices import NO_PRICES, PriceSeries, filled_means
from dispatch.evaluation.measured_energy import Measured, measured
from dispatch.evaluation.meter_clock import Power
from storage.grid_power import counted, grid_power, recorded
from storage.signals import MARKET_PRICE

if TYPE_CHECKING:
    from dispatch.config.schema import DispatchConfig
    from storage.reader import Archive

MINUTE_S = 60
PRICE = "price.eur_per_kwh"  # of imported energy, as it was paid
MARKET = "market prices"
AS_RECORDED = "as recorded"
FROM_RECORD = "worked out of the recorded price of import, as if the charges had been those of today"
NEAR_EUR_PER_MWH = 0.5  # the recorded price is rounded
SHOWN = 6  # stretches that are named one by one


class Inputs(NamedTuple):
    """What is billed. Energies in kWh, by `measured.step_s`; market prices of each step, or none."""

    power: Power
    measured: Measured
    eur_per_mwh: list[float]
    remarks: list[str]


def step_s(config: DispatchConfig) -> int:
    """The longest step that divides the metering interval and the intervals of all charges."""
    metering_s = config.grid.metering_interval_s
    lengths = [interval_s(charge, metering_s) for charge in config.tariff.charges]
    return math.gcd(metering_s, 3600, *lengths)


def read_inputs(
    archive: Archive, config: DispatchConfig, begin_s: int, end_s: int, file_prices: PriceSeries | None, zone: tzinfo
) -> Inputs:
    """The record of [begin, end), which lie on whole steps. Raises those of `Archive`."""
    length_s = step_s(config)
    power = Power(start_utc_s=begin_s, step_s=MINUTE_S, w=grid_power(archive, begin_s, end_s, MINUTE_S))
    energy = measured(power, length_s)
    remarks = [*_unmeasured(archive, energy, zone), *_register(archive, energy, begin_s, end_s)]
    prices: list[float] = []
    if uses_market(config.tariff):
        prices, more = _market(archive, config, energy, file_prices or NO_PRICES)
        remarks += more
    return Inputs(power, energy, prices, remarks)


def priced(
    config: DispatchConfig, inputs: Inputs, import_kwh: Sequence[float], export_kwh: Sequence[float] | None = None
) -> Invoice:
    """The bill of what was read, with this import and export by step; None: as read. Raises ValueError."""
    energy = inputs.measured
    metered = Metered(
        start_utc_s=energy.start_utc_s,
        step_s=energy.step_s,
        import_kwh=import_kwh,
        export_kwh=energy.export_kwh if export_kwh is None else export_kwh,
        eur_per_mwh=inputs.eur_per_mwh,
    )
    return invoice(config.tariff, config.timezone, config.grid.metering_interval_s, metered)


# ── what was not measured ───────────────────────────────────────────────────────────────────────────────────────────


def _unmeasured(archive: Archive, energy: Measured, zone: tzinfo) -> Iterator[str]:
    """Times that are not billed, with what the meter's register counted meanwhile, where it did."""
    if energy.unmeasured:
        yield f"{_hours(energy.unmeasured_s)} not measured: not billed"
    for gap in energy.unmeasured[:SHOWN]:
        grown = counted(archive, gap.begin_utc_s, gap.end_utc_s).import_wh
        meanwhile = "" if grown is None else f"; the meter's register counted about {grown / 1000:.1f} kWh imported"
        yield (
            f"  {_local(gap.begin_utc_s, zone)} to {_local(gap.end_utc_s, zone)}, "
            f"{_hours(gap.end_utc_s - gap.begin_utc_s)}{meanwhile}"
        )
    if len(energy.unmeasured) > SHOWN:
        yield f"  and {len(energy.unmeasured) - SHOWN} more times"
    if energy.filled_s:
        yield (
            f"{energy.filled_s / 60:.0f} min not measured in intervals of which the rest is: "
            "taken at the mean of the rest of their interval"
        )


def _register(archive: Archive, energy: Measured, begin_s: int, end_s: int) -> Iterator[str]:
    """What the meter's register says beside the integrated power, where all of the time is measured."""
    if energy.unmeasured:
        return
    grown = counted(archive, begin_s, end_s).import_wh
    kwh = sum(energy.import_kwh)
    if grown:
        yield (
            f"energy is integrated power, {kwh:.1f} kWh imported; the meter's register counted {grown / 1000:.1f} kWh "
            f"({100 * (kwh * 1000 / grown - 1):+.2f} %)"
        )


# ── market prices ───────────────────────────────────────────────────────────────────────────────────────────────────


def _market(
    archive: Archive, config: DispatchConfig, energy: Measured, file_prices: PriceSeries
) -> tuple[list[float], list[str]]:
    """The market's price in each step, EUR/MWh, and what must be said: that of the price file, else of the record, else
    the one behind what was paid.

    Records of earlier versions have no market price, only what was paid, and not the terms of that time.
    """
    starts = [energy.start_utc_s + k * energy.step_s for k in range(len(energy.import_kwh))]
    end_s = starts[-1] + energy.step_s if starts else 0
    own = _behind_paid(archive, config, starts, energy.step_s)
    kept = recorded(archive, MARKET_PRICE, starts[0], end_s, energy.step_s) if starts else []
    file, known = filled_means(file_prices, starts, energy.step_s, config.timezone)
    by_file = [file[n] if file is not None and ok else None for n, ok in enumerate(known)]
    sources = {"of the site's price file": by_file, AS_RECORDED: kept, FROM_RECORD: own}
    mixed, hours = _first_known(sources, len(starts))
    series = PriceSeries(tuple(starts), tuple(mixed), end_s)
    prices, published = filled_means(series, starts, energy.step_s, config.timezone)
    if prices is None:
        return [], []
    hours["not known: the mean of the same hour on other days"] = published.count(False)
    told = "; ".join(f"{_hours(n * energy.step_s)} {how}" for how, n in hours.items() if n)
    return prices, [f"{MARKET}: {told}", *_other_terms(by_file, own, energy.step_s)]


def _first_known(
    sources: Mapping[str, Sequence[float | None]], steps: int
) -> tuple[list[float | None], dict[str, int]]:
    """Each step's price by the first source that has one; how many steps are by which."""
    mixed: list[float | None] = [None] * steps
    counts = dict.fromkeys(sources, 0)
    for how, prices in sources.items():
        for n, price in enumerate(prices):
            if mixed[n] is None and price is not None:
                mixed[n], counts[how] = price, counts[how] + 1
    return mixed, counts


def _other_terms(by_file: Sequence[float | None], own: Sequence[float | None], length_s: int) -> Iterator[str]:
    """Hours whose paid price does not fit the price file by the terms of today."""
    both = [(a, b) for a, b in zip(by_file, own, strict=True) if a is not None and b is not None]
    apart = sum(abs(a - b) > NEAR_EUR_PER_MWH for a, b in both)
    if apart:
        yield (
            f"in {_hours(apart * length_s)} of {_hours(len(both) * length_s)} the recorded price of import does not "
            "fit the price file by the charges of today: had [tariff] other terms, or the file other prices?"
        )


def _behind_paid(archive: Archive, config: DispatchConfig, starts: Sequence[int], length_s: int) -> list[float | None]:
    """The market's price behind the recorded price of import, as if the charges had been those of today."""
    if not starts:
        return []
    paid = recorded(archive, PRICE, starts[0], starts[-1] + length_s, length_s)
    terms = ImportPrices(config.tariff, config.timezone)
    return [
        None if price is None else market_behind(terms, start_s, price)
        for start_s, price in zip(starts, paid, strict=True)
    ]


def _hours(seconds: float) -> str:
    return f"{round(seconds / 3600, 2):g} h"


def _local(utc_s: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(utc_s, zone):%Y-%m-%d %H:%M}"
