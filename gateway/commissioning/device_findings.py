"""Judges each device by itself: whether it answers, how fast, what it says it is, whether its values can be true."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dispatch.control.power_limits import isolation_fault, unmonitored
from dispatch.model.equipment import (
    NOT_RUNNING,
    Battery,
    DeviceHealth,
    LinkHealth,
    Meter,
    Node,
    Pcs,
    Pv,
    Switch,
    alarm_words,
)
from dispatch.model.readings import Reading
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import Range, SiteBounds
from dispatch.wording.catalogue import words
from drivers.config import BatteryDevice, MeterDevice, PcsDevice, PvDevice
from drivers.device_keys import Polled
from drivers.maps.loader import load
from drivers.serial_numbers import serial_key
from gateway.commissioning.findings import Finding, fault, note, ok, warning
from gateway.site.schema import Site

DEADLINE_SHARE = 0.8  # of the deadline: an answer that comes later than this will now and then come too late
NOMINAL_V = 0.10  # EN 50160, 4.2.2.2: supply voltage within 10 % of nominal
NOMINAL_HZ = 0.01  # EN 50160, 4.2.1: 50 Hz within 1 %
PHASE_DEAD = 0.2  # of nominal: a phase without voltage, or a terminal that is not connected
RATED = 0.1  # by how much the rated energy of BMS and site file may differ
APPARENT = 0.9  # active power is at most V x I; the rest is for values that are not of the same instant
APPARENT_W = 300.0


P1_IS_SLOW = (
    "its telegrams come once a second: a load that jumps is met by the battery up to 2 s later than with a faster "
    "meter, so the fuse must bear that overload for 3 s; leave [grid] meter_delay_max_s at 2.0"
)


def map_findings(site: Site) -> Iterator[Finding]:
    """What the maps in use say that is to be set or looked up at the device, and what a meter on P1 means."""
    for meter in site.meter:
        if meter.source == "p1":
            yield note(meter.id, "p1", P1_IS_SLOW, "for faster control add a Modbus meter at the connection point")
    devices: tuple[MeterDevice | PcsDevice | BatteryDevice | PvDevice, ...]
    devices = (*site.meter, *site.pcs, *site.bms, *site.pv)
    commanded = {(pcs.url, pcs.unit, pcs.map) for pcs in site.pcs}
    for device in devices:
        hybrid = isinstance(device, PvDevice) and (device.url, device.unit, device.map) in commanded  # told already
        if device.map and not hybrid:
            device_map = load(device.map, site.path)
            for text in device_map.info.ask:
                yield note(device.id, "at-the-device", text)


def device_findings(site: Site, snapshot: Snapshot) -> Iterator[Finding]:
    """Everything about each device, in the site file's order."""
    bounds = SiteBounds(site.dispatch)
    health = {d.id: d for d in snapshot.devices}
    for device in site.polled:
        if device.id not in health:
            continue
        yield from conversation(site, device, health[device.id])
        if health[device.id].reads:
            yield from _values(site, snapshot, bounds, device.id)


def conversation(site: Site, device: Polled, health: DeviceHealth) -> Iterator[Finding]:
    """Whether it answers, in what time, and what it says it is."""
    if not health.reads:
        yield fault(device.id, "unreachable", health.error or "has not answered")
        return
    yield from _reached(site, device, health.link)
    if health.failures:
        text = f"{health.failures} of {health.failures + health.reads} reads failed"
        why = f": {health.error}" if health.error else ""
        advice = "check cabling and what else asks this device; set its deadline_s and period_s"
        yield warning(device.id, "reads-failed", text + why, advice)
    yield from _identity(device, health)


def _reached(site: Site, device: Polled, link: LinkHealth | None) -> Iterator[Finding]:
    """Where it answers and how fast."""
    if link is not None and link.round_trip_ms is None and link.answers:
        yield ok(device.id, "reached", f"{link.at}: sends telegrams, {link.answers} so far, {link.failures} unusable")
        return
    if link is None or link.round_trip_ms is None or link.round_trip_worst_ms is None:
        yield ok(device.id, "reached", "answers")
        return
    connected = "" if link.connect_ms is None else f", connected in {link.connect_ms:.0f} ms"
    times = f"answers in {link.round_trip_ms:.1f} ms, {link.round_trip_worst_ms:.1f} ms at worst{connected}"
    yield ok(device.id, "reached", f"{link.at}: {times}")
    yield from _speed(site, device, link.round_trip_worst_ms)


def _identity(device: Polled, health: DeviceHealth) -> Iterator[Finding]:
    """What it says it is, and the key that holds it to that where the site file has none."""
    if health.identity is not None and health.identity.text:
        key = serial_key(health.identity) if getattr(device, "serial", None) == "" else ""
        yield ok(health.id, "identity", health.identity.text + (f"; to accept no other, add {key}" if key else ""))
    elif health.link is not None:
        yield note(health.id, "identity", "does not say who made it", "compare its address with the drawing")


def _speed(site: Site, device: Polled, worst_ms: float) -> Iterator[Finding]:
    """The slowest answer against the deadline and, for the grid meter, against the tick."""
    deadline_ms = 1000 * (device.deadline_s or site.io.deadline_s)
    if worst_ms > DEADLINE_SHARE * deadline_ms:
        advice = f"set deadline_s = {2 * worst_ms / 1000:.2f} for it; it is then read less often"
        yield warning(device.id, "slow", f"its slowest answer took {worst_ms:.0f} of {deadline_ms:.0f} ms", advice)
    grid_meter = any(m.id == device.id and m.role == "grid" for m in site.meter)
    tick_ms = 1000 / site.gateway.rate_hz
    if grid_meter and worst_ms > tick_ms / 2:
        text = f"the tick waits for it: {worst_ms:.0f} ms of a period of {tick_ms:.0f} ms"
        yield warning(device.id, "tick", text, "lower [gateway] rate_hz, or read it over a faster connection")


def _values(site: Site, snapshot: Snapshot, bounds: SiteBounds, id: str) -> Iterator[Finding]:
    """Whether what the device says can be true."""
    if snapshot.grid.id == id:
        yield from meter_values(site, bounds, snapshot.grid, bounds.grid_w(True))
    if snapshot.load is not None and snapshot.load.id == id:
        yield from meter_values(site, bounds, snapshot.load, bounds.load_w())
    for pcs in snapshot.pcs:
        if pcs.id == id:
            yield from pcs_values(site, bounds, pcs)
    store = battery_read_by(site, id)
    yield from (f for b in snapshot.batteries if b.id == store for f in battery_values(site, b))
    yield from (f for pv in snapshot.pv if pv.id == id for f in pv_values(bounds, pv))
    yield from (f for s in snapshot.switches if s.id == id for f in switch_values(s))
    yield from (f for n in snapshot.nodes if n.id == id for f in _node_values(n))


def battery_read_by(site: Site, device_id: str) -> str:
    """The battery whose values this device reads; empty: none."""
    apart = {b.id for b in site.bms}
    if device_id in apart:
        return device_id
    return next((p.battery for p in site.pcs if p.id == device_id and p.battery not in apart), "")


def meter_values(site: Site, bounds: SiteBounds, meter: Meter, allowed: Range) -> Iterator[Finding]:
    """Power, voltages, frequency, and power against V x I."""
    yield from _power(meter.id, meter.w, allowed)
    volts = [v.good for v in meter.v]
    if meter.v and len(meter.v) != site.grid.phases:
        text = f"measures {len(meter.v)} phases, the site file says {site.grid.phases}"
        yield warning(meter.id, "phases", text, "correct [grid] phases, or the model of the meter")
    yield from voltages(meter.id, volts, bounds.nominal_v)
    yield from frequency(meter.id, meter.hz.good, bounds)
    amps, w = [a.good for a in meter.a], meter.w.good
    pairs = [v * a for v, a in zip(volts, amps, strict=False) if v is not None and a is not None]
    if w is not None and pairs and len(pairs) == len(volts) == len(amps):
        apparent_va = sum(pairs)
        if abs(w) * APPARENT > apparent_va + APPARENT_W:
            text = f"power {w / 1000:.1f} kW is more than V x I of its phases, {apparent_va / 1000:.1f} kVA"
            yield fault(meter.id, "v-times-i", text, "check the ratio of its current transformers")


def voltages(id: str, volts: Sequence[float | None], nominal_v: float) -> Iterator[Finding]:
    """Phase to neutral, L1..L3, against nominal."""
    shown = ", ".join("—" if v is None else f"{v:.1f}" for v in volts)
    for n, v in enumerate(volts, start=1):
        if v is None:
            continue
        if abs(v / (math.sqrt(3) * nominal_v) - 1) < NOMINAL_V / 2:
            text = f"L{n} reads {v:.1f} V, the voltage between phases of a {nominal_v:g} V grid"
            yield fault(id, "phase-to-phase", text, "wire or set it for phase to neutral; check [grid] voltage_v")
        elif v < PHASE_DEAD * nominal_v:
            text = f"L{n} reads {v:.1f} V of {nominal_v:g} V"
            yield fault(id, "phase-missing", text, "check the fuse and the wire of this phase's voltage input")
        elif abs(v / nominal_v - 1) > NOMINAL_V:
            text = f"L{n} reads {v:.1f} V, more than 10 % from {nominal_v:g} V"
            yield warning(id, "voltage", text, "check [grid] voltage_v, then the ratio of voltage transformers")
    good = [v for v in volts if v is not None]
    if good and all(abs(v / nominal_v - 1) <= NOMINAL_V for v in good):
        yield ok(id, "voltage", f"{shown} V")


def frequency(id: str, hz: float | None, bounds: SiteBounds) -> Iterator[Finding]:
    """Against nominal; a device without one says nothing."""
    if hz is None:
        return
    if not bounds.hertz().holds(hz):
        yield fault(
            id, "frequency", f"reads {hz:.2f} Hz, nominal is {bounds.nominal_hz:g} Hz", "check its register map"
        )
    elif abs(hz / bounds.nominal_hz - 1) > NOMINAL_HZ:
        text = f"reads {hz:.2f} Hz, more than 1 % from {bounds.nominal_hz:g} Hz"
        yield warning(id, "frequency", text, "compare with another device")
    else:
        yield ok(id, "frequency", f"{hz:.2f} Hz")


def _power(id: str, w: Reading, allowed: Range | None) -> Iterator[Finding]:
    value = w.good
    if value is None:
        yield fault(id, "no-power", "gives no power", "check its register map and that it is switched on")
    elif allowed is not None and not allowed.holds(value):
        text = f"reads {value / 1000:.1f} kW; the site allows {allowed.low / 1000:.1f} to {allowed.high / 1000:.1f} kW"
        yield fault(id, "power-range", text, f"check its scale and CT ratio, or {allowed.key} of the site file")
    else:
        yield ok(id, "power", f"{value / 1000:.2f} kW")


def pcs_values(site: Site, bounds: SiteBounds, pcs: Pcs) -> Iterator[Finding]:
    """Power, state, limits, local control, alarms."""
    forming = pcs.mode.good == "grid_forming"
    yield from _power(pcs.id, pcs.w, bounds.pcs_w(pcs.id, forming))
    yield from voltages(pcs.id, [pcs.v.good], bounds.nominal_v)
    yield from frequency(pcs.id, pcs.hz.good, bounds)
    state = pcs.state.good
    if state is None:
        yield note(pcs.id, "state", "does not tell its state: it is taken to run")
    elif state in NOT_RUNNING:
        yield note(pcs.id, "state", f"its state is {state}: it follows no setpoint now")
    if pcs.control.good == "local":
        yield warning(pcs.id, "local", "is in local control: it takes no setpoint", "set it to remote at the device")
    if pcs.w_estimated:
        text = "its AC power is worked out of the battery's DC power, by the efficiencies of its [[battery]]"
        yield note(pcs.id, "estimated", text, "what they are wrong by shows as load")
    if pcs.alarms:
        yield warning(pcs.id, "alarms", f"reports {alarm_words(pcs.alarms)}", "clear them at the device")
    rated = next(p for p in site.pcs if p.id == pcs.id)
    for word, limit, key_w in (
        ("charging", pcs.charge_limit_w.good, rated.charge_w),
        ("discharging", pcs.discharge_limit_w.good, rated.discharge_w),
    ):
        if limit is not None and limit < key_w:
            text = f"is set to {word} at {limit / 1000:g} kW at most, the site file says {key_w / 1000:g} kW"
            yield note(pcs.id, "limit", text, "the lower value counts; correct the other one")


def battery_values(site: Site, battery: Battery) -> Iterator[Finding]:
    """SoC, rated energy, temperature."""
    terms = next(b for b in site.battery if b.id == battery.id)
    soc = battery.soc_pct.good
    if soc is None:
        yield fault(battery.id, "no-soc", "no SoC is read", "check which model or register of the BMS holds it")
    else:
        yield ok(battery.id, "soc", f"SoC {soc:.1f} %")
    if (wh := battery.energy_wh.good) is not None and abs(wh / 1000 / terms.energy_kwh - 1) > RATED:
        text = f"its BMS says {wh / 1000:g} kWh rated, the site file {terms.energy_kwh:g} kWh"
        yield warning(battery.id, "rated-energy", text, "correct energy_kwh of the [[battery]]")
    temp_c = battery.temp_c.good
    if unmonitored(battery):
        most_w = terms.unmonitored_w
        used = f"used up to {most_w / 1000:g} kW" if most_w > 0 else "not used"
        text = f"neither a temperature nor a limit of its BMS is read: it is {used}, by unmonitored_w"
        advice = "find the registers, or set unmonitored_w of the [[battery]] to what is safe at any temperature"
        yield warning(battery.id, "temperature", text, advice)
    elif temp_c is not None and not terms.temp_min_c <= temp_c <= terms.temp_max_c:
        text = f"its temperature is {temp_c:.0f} °C, the site file allows {terms.temp_min_c:g} to {terms.temp_max_c:g}"
        yield warning(battery.id, "temperature", text, "check the sensor; it is not used outside of these limits")
    if battery.contactor.good == "open":
        yield fault(battery.id, "contactor", "its contactor is open: no power can flow", "see why at the BMS")
    if (isolation := isolation_fault(battery, terms)) is not None:
        yield fault(battery.id, "isolation", words(isolation), "switch it off by its own switch and call service")
    if battery.cooling.good == "fault":
        yield warning(battery.id, "cooling", "its BMS reports a fault of the cooling", "see to fans, pump and filters")
    if battery.alarms:
        yield warning(battery.id, "alarms", f"its BMS reports {alarm_words(battery.alarms)}", "clear them at the BMS")


def pv_values(bounds: SiteBounds, pv: Pv) -> Iterator[Finding]:
    """Power of an inverter; one that says nothing at night sleeps."""
    if pv.w.good is None:
        yield note(pv.id, "no-power", "gives no power now", "at night that is right; look again by day")
        return
    yield from _power(pv.id, pv.w, bounds.pv_w(pv.id))


def switch_values(switch: Switch) -> Iterator[Finding]:
    """Position by its contacts, and whether it may be asked."""
    position = switch.position.good
    if position in ("open", "closed"):
        yield ok(switch.id, "position", f"is {position}")
    else:
        text = "its contacts disagree, or it moves" if position == "moving" else "its position is not known"
        yield fault(switch.id, "position", text, "look at its display, and check the wiring of its auxiliary contacts")
    if switch.source.good is not None:
        yield ok(switch.id, "source", f"the site is on: {switch.source.good}")
    yield from _switch_control(switch)
    if faults := switch.faults.good:
        yield warning(switch.id, "faults", f"reports faults, bits {int(faults):#x}", "see the maker's list of faults")


def _switch_control(switch: Switch) -> Iterator[Finding]:
    """Whether it takes orders, and acts by itself where it should."""
    control, wanted = switch.control.good, switch.rests_in
    if wanted and control != wanted:
        text = f"is in {control or 'an unknown'} control: it does not transfer by itself"
        yield warning(switch.id, "control", text, f"set it to {wanted} at the switch")
    elif control == "local":
        yield warning(switch.id, "local", "is in local control: it takes no order", "set it to remote at the switch")
    if not switch.orders_in:
        yield note(switch.id, "watched", "takes no orders by its map: Skerry only watches it", "nothing to do")


def _node_values(node: Node) -> Iterator[Finding]:
    if node.w.good is None:
        yield warning(node.id, "no-power", f"gives no power{f': {node.note}' if node.note else ''}", "check its source")
    else:
        yield ok(node.id, "power", f"{node.w.good / 1000:.2f} kW")
