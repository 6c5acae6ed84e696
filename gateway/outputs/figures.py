"""The figures of a site that others are told, from what a tick has published. One that cannot be used now is left out.

Sign and units as everywhere: watts at the AC terminals, `pcs_power_w` > 0 discharges, `grid_power_w` > 0 imports.
Names and owners of jobs are never among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dispatch.model.equipment import Battery, Meter, Node, Pcs, Ups
from dispatch.model.readings import Reading
from dispatch.model.snapshot import Snapshot
from gateway.api.protocol import Published

OLD_S = 5.0  # machine time: a tick this old says nothing of now

# What each quantity is; its unit is the end of its name. `_wh` are registers that only count up.
QUANTITIES = {
    "grid_power_w": "Power at the connection point; above 0 is import.",
    "grid_import_wh": "Energy imported, by the register of the grid meter.",
    "grid_export_wh": "Energy exported, by the register of the grid meter.",
    "grid_voltage_v": "Voltage at the connection point, phase to neutral.",
    "grid_current_a": "Current at the connection point, magnitude.",
    "grid_frequency_hz": "Frequency at the connection point.",
    "load_power_w": "Load of the site by balance: grid, PCS and PV.",
    "load_meter_power_w": "Load of the site by its load meter.",
    "pcs_power_w": "Power of a PCS; above 0 discharges.",
    "pcs_setpoint_w": "Power asked of a PCS; above 0 discharges.",
    "pcs_temperature_c": "Temperature of a PCS.",
    "battery_soc_pct": "State of charge.",
    "battery_soh_pct": "State of health, as the battery reports it.",
    "battery_temperature_c": "Temperature of a battery.",
    "battery_charge_limit_w": "Highest charging power that the battery allows now.",
    "battery_discharge_limit_w": "Highest discharging power that the battery allows now.",
    "pv_power_w": "Power of a PV inverter.",
    "ups_power_w": "Real power of the output of a UPS.",
    "ups_charge_pct": "Charge of the battery of a UPS.",
    "node_power_w": "Power of a compute node.",
    "peak_w": "Highest mean import of the billing period so far.",
    "interval_limit_w": "Mean import that is kept in the running metering interval.",
    "import_price_eur_per_kwh": "Price of import now, with fees and taxes.",
}


class Figure(NamedTuple):
    """A quantity of one device; `device` empty: of the site. `phase`: L1 to L3. `age_s`: None: it is not measured."""

    quantity: str
    device: str
    value: float
    age_s: float | None = None
    phase: str = ""


class Word(NamedTuple):
    """What can be told in one word only. `words`: all that it may be."""

    quantity: str
    value: str
    words: tuple[str, ...]


def figures(published: Published, most_nodes: int) -> Iterator[Figure]:
    """All that may be used now, device by device."""
    snapshot = published.snapshot
    yield from _site(published)
    yield from _grid(snapshot.grid)
    if snapshot.load is not None:
        yield from _read(snapshot.load.id, (("load_meter_power_w", snapshot.load.w),))
    asked = {setpoint.device_id: setpoint.w for setpoint in published.decision.setpoints}
    for pcs in snapshot.pcs:
        yield from _pcs(pcs, asked.get(pcs.id))
    for battery in snapshot.batteries:
        yield from _battery(battery)
    for pv in snapshot.pv:
        yield from _read(pv.id, (("pv_power_w", pv.w),))
    for ups in snapshot.ups:
        yield from _ups(ups)
    yield from _nodes(snapshot.nodes[:most_nodes])


def left_out(snapshot: Snapshot, most_nodes: int) -> int:
    """How many compute nodes are not told."""
    return max(0, len(snapshot.nodes) - most_nodes)


def words(published: Published) -> tuple[Word, ...]:
    """Who steers, and whether the site is on the grid."""
    decision = published.decision
    return (
        Word("mode", decision.mode.value, tuple(mode.value for mode in type(decision.mode))),
        Word("island_state", decision.island.value, tuple(state.value for state in type(decision.island))),
    )


def _site(published: Published) -> Iterator[Figure]:
    if (load_w := published.snapshot.load_w) is not None:
        yield Figure("load_power_w", "", load_w)
    yield Figure("peak_w", "", published.month_peak_w)
    yield Figure("interval_limit_w", "", published.interval.limit_w)
    if (price := published.tariff.now_eur_per_kwh) is not None:
        yield Figure("import_price_eur_per_kwh", "", price)


def _grid(meter: Meter) -> Iterator[Figure]:
    yield from _read(
        meter.id,
        (
            ("grid_power_w", meter.w),
            ("grid_import_wh", meter.import_wh),
            ("grid_export_wh", meter.export_wh),
            ("grid_frequency_hz", meter.hz),
        ),
    )
    for quantity, phases in (("grid_voltage_v", meter.v), ("grid_current_a", meter.a)):
        for n, reading in enumerate(phases[:3], 1):
            if (value := reading.good) is not None:
                yield Figure(quantity, meter.id, value, reading.age_s, f"L{n}")


def _pcs(pcs: Pcs, asked_w: float | None) -> Iterator[Figure]:
    yield from _read(pcs.id, (("pcs_power_w", pcs.w), ("pcs_temperature_c", pcs.temp_c)))
    if asked_w is not None:
        yield Figure("pcs_setpoint_w", pcs.id, asked_w)


def _battery(battery: Battery) -> Iterator[Figure]:
    yield from _read(
        battery.id,
        (
            ("battery_soc_pct", battery.soc_pct),
            ("battery_soh_pct", battery.soh_pct),
            ("battery_temperature_c", battery.temp_c),
            ("battery_charge_limit_w", battery.charge_limit_w),
            ("battery_discharge_limit_w", battery.discharge_limit_w),
        ),
    )


def _ups(ups: Ups) -> Iterator[Figure]:
    yield from _read(ups.id, (("ups_power_w", ups.w), ("ups_charge_pct", ups.charge_pct)))


def _nodes(nodes: Iterable[Node]) -> Iterator[Figure]:
    for node in nodes:
        yield from _read(node.id, (("node_power_w", node.w),))


def _read(device: str, readings: Iterable[tuple[str, Reading]]) -> Iterator[Figure]:
    for quantity, reading in readings:
        if (value := reading.good) is not None:
            yield Figure(quantity, device, value, reading.age_s)
