"""Finds out what answers at a host and port: SunSpec or a device of a bundled map, unit by unit; or a meter on P1."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from dispatch.model.equipment import DeviceIdentity
from drivers.maps.device import identity_of
from drivers.maps.loader import bundled, load
from drivers.maps.reader import MapReader
from drivers.maps.schema import DEVICE, DeviceMap
from drivers.maps.vocabulary import TEXTS
from drivers.modbus.address import Address
from drivers.modbus.errors import ConnectionLost, DeviceError, Timeout
from drivers.modbus.transport import ModbusLink
from drivers.p1.receiver import Receiver
from drivers.sunspec.device import SunSpecDevice

METERS = frozenset((201, 202, 203, 204, 211, 212, 213, 214))
INVERTERS = frozenset((101, 102, 103, 111, 112, 113))
STORAGE = frozenset((124, 713, 802))  # beside an inverter or model 701: it has a battery
SILENT_FIRST = 3  # requests without an answer after which no more maps are tried on a unit
UNKNOWN = "answers, but is neither SunSpec nor recognised by a bundled map; maps without identity recognise nothing"


class ScannedUnit(msgspec.Struct, frozen=True):
    """What answers at one unit. `kind`: the section of the site file that it belongs to; empty: not known."""

    unit: int
    found: str  # in words
    kind: str = ""  # meter pcs pv switch node
    map: str = ""  # the bundled map that fits; empty: SunSpec, or none
    source: str = ""  # "p1": it is no Modbus device, but a meter that sends telegrams
    models: tuple[int, ...] = ()  # of SunSpec, in the chain's order
    identity: DeviceIdentity | None = None


async def scan(host: str, port: int, units: Iterable[int], deadline_s: float, limit_s: float) -> list[ScannedUnit]:
    """What answers. A unit that is silent is left out. After `limit_s` no further unit is asked.

    Raises ConnectionLost where there is no connection at all.
    """
    link = ModbusLink(host, port, deadline_s=deadline_s, backoff_max_s=deadline_s, device="scan")
    found = []
    try:
        async with asyncio.timeout(limit_s):
            for unit in units:
                if (one := await _asked(link, unit)) is not None:
                    found.append(one)
    except TimeoutError:
        found.append(ScannedUnit(-1, f"stopped after {limit_s:g} s: give fewer units, or a longer --limit"))
    finally:
        await link.close()
    return found or await _telegrams(host, port)


async def _telegrams(host: str, port: int) -> list[ScannedUnit]:
    """What sends telegrams as a meter on P1 does; one that sends a telegram in 10 s is mostly not found."""
    receiver = Receiver(Address("tcp", host, port), "scan", backoff_max_s=1.0)
    try:
        newest = await receiver.current()
    except DeviceError:
        return []
    finally:
        receiver.close()
    telegram = newest.telegram
    identity = DeviceIdentity(telegram.maker, telegram.model, telegram.serial)
    return [ScannedUnit(0, f"{identity.text}, telegrams of a meter on P1", "meter", source="p1", identity=identity)]


async def _asked(link: ModbusLink, unit: int) -> ScannedUnit | None:
    """What one unit is; None: it does not answer."""
    answers = link.traffic.answers + link.traffic.refusals
    device = SunSpecDevice(link, unit)
    try:
        await device.open()
    except ConnectionLost:
        if not link.connection:
            raise
    except DeviceError:
        link.retry_at_once()
    else:
        models = tuple(found.id for found in device.found)
        said = device.identity.text if device.identity is not None else ""
        text = f"{said or 'without a name'}, SunSpec {', '.join(map(str, models))}"
        return ScannedUnit(unit, text, sunspec_kind(models), models=models, identity=device.identity)
    fitting = await _maps_of(link, unit)
    if fitting:
        titles = " or ".join(f"{m.info.title} (map {m.name})" for m in fitting)
        identity = await _identity_by(link, unit, fitting[0])
        said = f", {identity.text}" if identity is not None and identity.text else ""
        return ScannedUnit(unit, titles + said, fitting[0].info.kind, fitting[0].name, identity=identity)
    if link.traffic.answers + link.traffic.refusals > answers:
        return ScannedUnit(unit, UNKNOWN)
    return None


async def _identity_by(link: ModbusLink, unit: int, device_map: DeviceMap) -> DeviceIdentity | None:
    """What a device says it is by its map; None: it does not answer that."""
    texts = {name: value for name, value in device_map.values.items() if name in TEXTS and value.poll == "once"}
    only = msgspec.structs.replace(device_map, values=texts, recipe=None)
    try:
        return identity_of(await MapReader(link, {**device_map.units, DEVICE: unit}, only).read("once"))
    except DeviceError:
        link.retry_at_once()
        return None


async def _maps_of(link: ModbusLink, unit: int) -> list[DeviceMap]:
    """The bundled maps all of whose identity registers hold what they should."""
    fitting, silent = [], 0
    for device_map in (load(name) for name in bundled()):
        if not device_map.identity or silent >= SILENT_FIRST:
            continue
        try:
            await MapReader(link, {**device_map.units, DEVICE: unit}, device_map).identify()
        except Timeout:
            silent += 1
            link.retry_at_once()
        except DeviceError:
            link.retry_at_once()
        else:
            fitting.append(device_map)
    return fitting


def sunspec_kind(models: tuple[int, ...]) -> str:
    """The section of the site file for a chain of models."""
    there = frozenset(models)
    if there & STORAGE and there & (INVERTERS | {701}):
        return "pcs"
    if there & INVERTERS or 701 in there:
        return "pv"
    return "meter" if there & METERS else ""
