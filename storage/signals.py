"""Defines the signals: the values of a tick that are kept, with name, unit and resolution.

A name is `<what>.<quantity>`; the quantity carries the unit ("grid.w", "bat1.soc_pct"). The grid and load meters are
always "grid" and "load", whatever the devices are called; every other device keeps its own id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dispatch.model.decision import Decision
from dispatch.model.equipment import Battery
from dispatch.model.readings import MISSING as MISSING_READING
from dispatch.model.readings import Quality, Reading, Status, total
from dispatch.model.snapshot import Snapshot

MISSING = -(2**31)  # a raw value that stands for "no value"
RAW_MAX = 2**31 - 1

# quantity -> (unit, scale); stored raw = value / scale, a signed 32-bit integer. The resolution is finer than the class
# of the meters that feed it: 1 W, 1 mHz, 10 mV, 10 mA, 0.01 %, 0.1 °C; of cells 1 mV.
QUANTITIES: dict[str, tuple[str, float]] = {
    "w": ("W", 1.0),
    "wh": ("Wh", 10.0),
    "hz": ("Hz", 0.001),
    "v": ("V", 0.01),
    "cell_v": ("V", 0.001),
    "a": ("A", 0.01),
    "pct": ("%", 0.01),
    "c": ("°C", 0.1),
    "s": ("s", 0.001),
    "h": ("h", 0.0001),
    "ms": ("ms", 0.001),
    "kwh": ("kWh", 0.01),
    "ohm": ("Ohm", 1.0),
    "eur_per_kwh": ("EUR/kWh", 1e-6),
    "eur_per_mwh": ("EUR/MWh", 0.001),
    "g_per_kwh": ("g/kWh", 0.01),
}
PLAIN = ("", 0.001)  # a number without a unit

# names that aggregates and the gateway use; a device of that id is written "device:<id>"
RESERVED = frozenset(
    {"grid", "load", "site_load", "pcs", "pv", "nodes", "decision", "interval", "price", "carbon", "tick"}
)
MARKET_PRICE, CARBON = "price.market_eur_per_mwh", "carbon.g_per_kwh"  # before all charges; of a kWh of the grid


class Signal(NamedTuple):
    """One column of the telemetry. Value in `unit` = raw x `scale`."""

    name: str
    unit: str
    scale: float
    kind: str  # measured (a device said so) | derived (sums, balances) | decided | given (tariff, interval, loop)


def definition(name: str) -> Signal:
    """Unit and scale by the quantity a name ends in, kind by what it starts with."""
    head, _, quantity = name.rpartition(".")
    word = quantity.rstrip("0123456789") or quantity
    unit, scale = PLAIN
    for suffix in sorted(QUANTITIES, key=len, reverse=True):
        if word == suffix or word.endswith("_" + suffix):
            unit, scale = QUANTITIES[suffix]
            break
    if head == "decision":
        kind = "decided"
    elif head in {"interval", "price", "carbon", "tick"}:
        kind = "given"
    elif head in {"site_load", "pcs", "pv", "nodes", ""}:
        kind = "derived"
    else:
        kind = "measured"
    return Signal(name, unit, scale, kind)


def to_raw(value: float | None, scale: float) -> int:
    """A value as stored; `MISSING` for none, for NaN and for what 32 bits cannot hold."""
    if value is None:
        return MISSING
    scaled = value / scale
    return round(scaled) if -RAW_MAX <= scaled <= RAW_MAX else MISSING  # NaN compares false


def signal_values(
    snapshot: Snapshot,
    decision: Decision | None,
    extras: Mapping[str, float | None] | None = None,
    nodes: bool = True,
) -> dict[str, float | None]:
    """Every signal of one tick by name. Only good readings count: stale or missing is None, never zero.

    Args:
        snapshot: the site as read.
        decision: what was decided on it, if anything was.
        extras: what the gateway adds under full names, such as "soc_pct" (the site's), "interval.left_w",
            "price.eur_per_kwh", "tick.lateness_ms". They may not take the name of a device's signal: theirs wins.
        nodes: with the power of each compute node.
    """
    values = {name: reading.good for name, reading in _readings(snapshot)}
    values.update(_sums(snapshot))
    if nodes:
        values.update((node_signal(node.id), node.w.good) for node in snapshot.nodes)
    values["decision.battery_w"] = None if decision is None else decision.battery_w
    values["decision.import_target_w"] = None if decision is None else decision.import_target_w
    if extras:
        values.update(extras)
    return values


def node_signals(snapshot: Snapshot) -> set[str]:
    """The signals of compute nodes: there may be thousands, and they may come and go."""
    return {node_signal(node.id) for node in snapshot.nodes}


def gpu_readings(snapshot: Snapshot) -> dict[str, Reading]:
    """Power, temperature and utilisation of each GPU, "<node>.<UUID>.<quantity>"; of one without UUID by its index."""
    found: dict[str, Reading] = {}
    for node in snapshot.nodes:
        for gpu in node.gpus:
            own = f"{own_name(node.id)}.{gpu.uuid or f'gpu{gpu.index}'}"
            found[f"{own}.w"] = gpu.w
            found[f"{own}.temp_c"] = gpu.temp_c
            found[f"{own}.util_pct"] = gpu.util_pct
    return found


def doubted_signals(snapshot: Snapshot) -> set[str]:
    """The signals whose value is the last accepted one, because what the device says now is doubted."""
    doubted = {name for name, reading in _readings(snapshot) if reading.quality is Quality.SUSPECT}
    return doubted | {node_signal(node.id) for node in snapshot.nodes if node.w.quality is Quality.SUSPECT}


def _readings(snapshot: Snapshot) -> Iterator[tuple[str, Reading]]:
    """What the devices of the power side said."""
    grid = snapshot.grid
    yield "grid.w", grid.w
    yield "grid.hz", grid.hz
    for n, volts in enumerate(grid.v, 1):
        yield f"grid.v{n}", volts
    for n, amperes in enumerate(grid.a, 1):
        yield f"grid.a{n}", amperes
    yield "grid.import_wh", grid.import_wh
    yield "grid.export_wh", grid.export_wh
    if snapshot.load is not None:
        yield "load.w", snapshot.load.w
    for pcs in snapshot.pcs:
        own = own_name(pcs.id)
        yield f"{own}.w", pcs.w
        yield f"{own}.setpoint_w", pcs.setpoint_w
    for battery in snapshot.batteries:
        own = own_name(battery.id)
        yield soc_signal(battery.id), battery.soc_pct
        yield f"{own}.temp_c", battery.temp_c
        if battery.cell_v_max.value is not None:
            yield f"{own}.lowest_cell_v", battery.cell_v_min
            yield f"{own}.highest_cell_v", battery.cell_v_max
        yield from _battery_states(own, battery)
    for pv in snapshot.pv:
        yield f"{own_name(pv.id)}.w", pv.w
    for switch in snapshot.switches:
        yield from _said(f"{own_name(switch.id)}.on_genset", switch.source, "genset")
    for ups in snapshot.ups:
        own = own_name(ups.id)
        yield f"{own}.w", ups.w
        yield f"{own}.load_pct", ups.load_pct
        yield f"{own}.charge_pct", ups.charge_pct
        yield f"{own}.runtime_s", ups.runtime_s
        yield f"{own}.on_battery", _as_number(ups.status, ups.says("OB"))


def _battery_states(own: str, battery: Battery) -> Iterator[tuple[str, Reading]]:
    """What its BMS tells of contactor, isolation and cooling; no signal for what it never tells."""
    if battery.isolation_ohm.value is not None:
        yield f"{own}.isolation_ohm", battery.isolation_ohm
    yield from _said(f"{own}.contactor_open", battery.contactor, "open")
    yield from _said(f"{own}.isolation_fault", battery.isolation, "fault")
    yield from _said(f"{own}.cooling_fault", battery.cooling, "fault")


def _said(name: str, status: Status, word: str) -> Iterator[tuple[str, Reading]]:
    """1 or 0: whether the status is this word; no signal for one that is never told."""
    if status.value is not None:
        yield name, _as_number(status, None if status.good is None else status.good == word)


def _as_number(status: Status, holds: bool | None) -> Reading:
    """1 or 0 for what a state word says, with its age and quality; missing where it is not known."""
    return MISSING_READING if holds is None else Reading(float(holds), status.age_s, status.quality)


def _sums(snapshot: Snapshot) -> Iterator[tuple[str, float | None]]:
    """Sums over devices."""
    yield "site_load.w", snapshot.load_w
    if snapshot.pcs:
        yield "pcs.w", snapshot.pcs_w
    if snapshot.pv:
        yield "pv.w", snapshot.pv_w
    if snapshot.nodes:
        yield "nodes.w", total(node.w for node in snapshot.nodes)


def node_signal(node_id: str) -> str:
    """The signal of a node's power."""
    return f"{own_name(node_id)}.w"


def soc_signal(battery_id: str) -> str:
    """The signal of a battery's SoC."""
    return f"{own_name(battery_id)}.soc_pct"


def own_name(device_id: str) -> str:
    """A device's id as the head of its signals, kept apart from the names of sums."""
    return f"device:{device_id}" if device_id in RESERVED else device_id
