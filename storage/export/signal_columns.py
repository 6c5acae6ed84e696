"""Turns the signals of a record into columns of wide tables: names with units, meanings, how they are aggregated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from storage.export.columns import Column, Kind, Table
from storage.signals import CARBON, MARKET_PRICE

RAW, MINUTES, QUARTERS = "raw", "1m", "15m"
RESOLUTIONS = (QUARTERS, MINUTES, RAW)
MOST_COLUMNS = 2000  # of a table, as SQLite is built (SQLITE_MAX_COLUMN, https://sqlite.org/limits.html)
TIME_COLUMN = "time_utc"
EXTREMES = ("min", "max")

_SUFFIXES = {
    "%": "pct",
    "°C": "c",
    "EUR/kWh": "eur_per_kwh",
    "EUR/MWh": "eur_per_mwh",
    "g/kWh": "g_per_kwh",
    "": "number",
}
_IMPORTS = "> 0 imports from the grid, < 0 exports to it"
_DISCHARGES = "> 0 discharges, < 0 charges"
_COUNTED = {"Wh", "kWh"}  # registers and sums that count up: their last value says all of a step

# signal -> (name of its column, meaning, sign)
_KNOWN = {
    "grid.w": ("grid_import_w", "Active power at the PCC, by the grid meter, or a generator's", _IMPORTS),
    "grid.hz": ("grid_hz", "Frequency at the PCC", ""),
    "grid.import_wh": ("grid_import_wh", "Register of the grid meter: energy imported so far", "counts up"),
    "grid.export_wh": ("grid_export_wh", "Register of the grid meter: energy exported so far", "counts up"),
    "load.w": ("load_w", "Active power of the load, by the load meter", "> 0 consumes"),
    "site_load.w": ("site_load_w", "Load of the site: grid import + all PCS + all PV + generators", "> 0 consumes"),
    "pcs.w": ("pcs_w", "Active power of all PCS together, at the AC terminals", _DISCHARGES),
    "pv.w": ("pv_w", "Active power of all PV inverters together", "never negative"),
    "nodes.w": ("nodes_w", "Power of all compute nodes together, a part of the load", "> 0 consumes"),
    "soc_pct": ("site_soc_pct", "State of charge of all batteries, as a share of their rated energy", ""),
    "decision.battery_w": ("decision_battery_w", "Setpoints of all PCS together, as decided", _DISCHARGES),
    "decision.import_target_w": ("decision_import_target_w", "Import at the PCC that was aimed at", _IMPORTS),
    "decision.able": ("decision_able_share", "Share of the time in which the battery could be controlled", "0 to 1"),
    "decision.ordered": ("decision_ordered_share", "Share of the time under a manual order for the battery", "0 to 1"),
    "decision.on_genset": ("decision_on_genset_share", "Share of the time on a generator", "0 to 1"),
    "decision.runtime_s": ("decision_runtime_s", "How long the battery lasts, best estimate", ""),
    "decision.runtime_low_s": ("decision_runtime_low_s", "How long it lasts, by the low estimate", ""),
    "decision.promised_left_s": ("decision_promised_left_s", "What is left of the promised hours, off the grid", ""),
    "decision.shutdown_in_s": ("decision_shutdown_in_s", "Time until the orderly shutdown, off the grid", ""),
    "decision.carried_w": ("decision_carried_w", "What PCS and battery carry, or would without the grid", _DISCHARGES),
    "decision.deliverable_w": ("decision_deliverable_w", "What PCS and battery can give", _DISCHARGES),
    "price.eur_per_kwh": ("price_eur_per_kwh", "Price of energy in force, fees and taxes included", ""),
    MARKET_PRICE: ("market_price_eur_per_mwh", "Market price of energy as known then, before fees, taxes, charges", ""),
    CARBON: ("grid_co2_g_per_kwh", "CO2 equivalent of a kWh of the grid, as fetched until then", ""),
    "interval.left_w": ("interval_left_w", "Import that keeps the limit of the metering interval", _IMPORTS),
    "interval.limit_w": ("interval_limit_w", "Mean import that is kept in the metering interval", _IMPORTS),
    "interval.energy_wh": ("interval_energy_wh", "Energy imported in the metering interval so far", ""),
    "interval.unknown_s": ("interval_unknown_s", "How much of the metering interval so far was not measured", ""),
    "interval.guard_w": ("interval_guard_w", "Mean import that must not be exceeded in the interval", _IMPORTS),
    "month.unmeasured_h": ("month_unmeasured_h", "How much of the month so far was not measured", ""),
    "site_load.pulse_s": ("site_load_pulse_s", "How long the load pulse has been under way; 0: there is none", ""),
    "month.peak_w": ("month_peak_w", "Highest mean of a metering interval in the month so far", _IMPORTS),
}
# quantity of a device -> (meaning, sign)
_OF_DEVICE = {
    "w": (
        "Active power of {}, at its AC terminals",
        "PCS: " + _DISCHARGES + "; PV inverter: never negative; node: drawn",
    ),
    "setpoint_w": ("Setpoint that {} reports", _DISCHARGES),
    "soc_pct": ("State of charge that {} reports, as a share of its rated energy", ""),
    "temp_c": ("Temperature of {}", ""),
    "lowest_cell_v": ("Lowest cell voltage that {} reports", ""),
    "highest_cell_v": ("Highest cell voltage that {} reports", ""),
    "on_genset": ("Whether {} says that a generator feeds the site", "1 or 0"),
    "util_pct": ("Utilisation of the GPU {}, as it reports it", ""),
}
_PHASES = {"v": "Voltage of phase L{} to neutral", "a": "Current of phase L{}"}


class Signal(NamedTuple):
    """A signal of the record."""

    sid: int
    name: str
    unit: str
    scale: float
    kind: str


class _Devices(NamedTuple):
    """Names of the devices whose power has a meaning of its own."""

    pcs: set[str]
    gpus: set[str]


class WideTable(msgspec.Struct, frozen=True):
    """A table with one column per signal, after that of the time."""

    table: Table
    cells: tuple[tuple[Signal, str], ...]  # signal, and how it is aggregated; in order of the columns


def wide_tables(signals: Sequence[Signal], resolution: str, extremes: bool) -> list[WideTable]:
    """The wide tables of an export. More than a table holds are split by kind of device."""
    name = f"telemetry_{resolution}"
    columns = _named(signals)
    devices = _Devices(_with(signals, "setpoint_w"), _with(signals, "util_pct"))
    parts = {name: list(signals)}
    if len(signals) >= MOST_COLUMNS:
        parts = {f"{name}_{part}": chosen for part, chosen in _by_device(signals)}
    found = []
    for part, chosen in parts.items():
        for which in ("", *(EXTREMES if extremes else ())):
            found.append(_wide_table(f"{part}_{which}" if which else part, chosen, columns, devices, resolution, which))
    return found


def _wide_table(
    name: str,
    signals: Sequence[Signal],
    names: dict[int, str],
    devices: _Devices,
    resolution: str,
    which: str,
) -> WideTable:
    """One table; `which`: min or max instead of the signals' own aggregates."""
    time = "Time of the sample" if resolution == RAW else f"Start of the step of {resolution}"
    cells = tuple((signal, which or ("" if resolution == RAW else aggregate(signal))) for signal in signals)
    columns = (
        Column(TIME_COLUMN, Kind.TIME, time, source="clock of the gateway"),
        *(_column(signal, names[signal.sid], devices, resolution, how) for signal, how in cells),
    )
    return WideTable(Table(name, resolution, "telemetry.db", columns), cells)


def aggregate(signal: Signal) -> str:
    """How a step of a signal is one value: counters by their last, everything else by its mean."""
    return "last" if signal.unit in _COUNTED or signal.name == "month.peak_w" else "mean"


def _column(signal: Signal, name: str, devices: _Devices, resolution: str, how: str) -> Column:
    _, meaning, sign = _KNOWN.get(signal.name) or ("", *_of_device(signal, devices))
    null = "no valid reading in the step: missing, stale, or the site did not have the signal"
    if resolution == RAW:
        null = "no valid reading, or not sampled then: GPUs and signals beyond the first 400 are sampled once a minute"
    return Column(
        name=name,
        kind=Kind.REAL,
        meaning=meaning,
        unit=signal.unit or "1",
        sign=sign,
        source=f"signal {signal.name} ({signal.kind})",
        aggregated=f"{how} of the valid samples of the step" if how else "",
        null=null,
    )


def _of_device(signal: Signal, devices: _Devices) -> tuple[str, str]:
    """Meaning and sign of a device's signal, by its quantity."""
    device, quantity = _parts(signal.name)
    if quantity == "w" and device in devices.gpus:
        return f"Power of the GPU {device}, as it reports it: not at the AC terminals", "> 0 draws"
    if quantity == "w" and device in devices.pcs:
        return f"Active power of the PCS {device}, at its AC terminals", _DISCHARGES
    meaning, sign = _OF_DEVICE.get(quantity, (f"Signal {quantity} of {{}}", ""))
    for letter, of_phase in _PHASES.items():
        if quantity[:1] == letter and quantity[1:].isdecimal():
            meaning = f"{of_phase.format(quantity[1:])}, by {{}}"
    return meaning.replace("{}", device or "the site"), sign


def _named(signals: Sequence[Signal]) -> dict[int, str]:
    """A column name for each signal, by its id: letters, digits and _, its unit last; no two alike."""
    names: dict[int, str] = {}
    taken = {TIME_COLUMN}
    for signal in signals:
        stem, suffix = _stem_and_unit(signal)
        name, n = _joined(stem, suffix), 1
        while name.casefold() in taken:
            n += 1
            name = _joined(f"{stem}_{n}", suffix)
        taken.add(name.casefold())
        names[signal.sid] = name
    return names


def _stem_and_unit(signal: Signal) -> tuple[str, str]:
    """The name of a column in two parts."""
    suffix = _SUFFIXES.get(signal.unit) or _plain(signal.unit)
    if signal.name in _KNOWN:
        name = _KNOWN[signal.name][0]
        return (name.removesuffix(suffix).rstrip("_"), suffix) if name.endswith(suffix) else (name, "")
    device, quantity = _parts(signal.name)
    if quantity[:1] in _PHASES and quantity[1:].isdecimal():
        return f"{_plain(device)}_l{quantity[1:]}", suffix
    stem = _plain(f"{device}_{quantity}" if device else quantity)
    return stem.removesuffix(suffix).rstrip("_"), suffix


def _parts(name: str) -> tuple[str, str]:
    """Device and quantity of a signal."""
    device, _, quantity = name.rpartition(".")
    return device, quantity


def _with(signals: Sequence[Signal], *quantities: str) -> set[str]:
    """The devices that have one of these quantities."""
    return {device for device, quantity in (_parts(signal.name) for signal in signals) if quantity in quantities}


def _joined(*parts: str) -> str:
    return "_".join(part for part in parts if part)


def _plain(text: str) -> str:
    """Letters and digits in lower case, everything else as one _."""
    kept = "".join(c if c.isalnum() else " " for c in text.lower())
    return "_".join(kept.split())


def _by_device(signals: Sequence[Signal]) -> Iterator[tuple[str, list[Signal]]]:
    """Parts that fit into a table: the site, PCS and batteries, other devices (PV inverters, compute nodes, GPUs)."""
    storing = _with(signals, "setpoint_w", "soc_pct", "temp_c") - _with(signals, "util_pct") - {""}
    parts: dict[str, list[Signal]] = {"site": [], "storage": [], "devices": []}
    for signal in signals:
        device, _ = _parts(signal.name)
        part = "site" if signal.name in _KNOWN or device == "grid" else "storage" if device in storing else "devices"
        parts[part].append(signal)
    for part, chosen in parts.items():
        most = MOST_COLUMNS - 1
        for n, begin in enumerate(range(0, len(chosen), most), 1):
            yield f"{part}_{n}" if len(chosen) > most else part, chosen[begin : begin + most]
