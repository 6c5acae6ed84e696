"""Makes all drivers of a site from its site file."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from dispatch.model.clock import Clock
from dispatch.model.contacts import Contact
from dispatch.model.equipment import Battery, LinkHealth, Meter, Node, Pcs, Pv, Switch, Ups
from drivers.config import BatteryDevice, IoConfig, MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.contacts.config import ContactDevice
from drivers.contacts.gpio_contact import GpioContact
from drivers.contacts.modbus_contact import ContactDriver
from drivers.http.config import PrometheusServer
from drivers.maps.battery import MapBattery
from drivers.maps.found_modes import FoundModes
from drivers.maps.loader import load
from drivers.maps.meter import MapMeter
from drivers.maps.pcs import MapPcs, Proven, not_proven
from drivers.maps.pv import MapPv
from drivers.maps.schema import Access, DeviceMap
from drivers.maps.switch import MapSwitch
from drivers.meter import MeterDriver
from drivers.modbus.address import Address
from drivers.modbus.line import Line
from drivers.modbus.transport import ModbusLink
from drivers.node_config import OBSERVED, NodeDevice
from drivers.nodes.known_gpus import KnownGpus
from drivers.nodes.modbus_node import NodeDriver
from drivers.nodes.observed import ObservedNodes
from drivers.nodes.psutil_node import PsutilNode
from drivers.nut.config import PduDevice, UpsDevice
from drivers.nut.pdu import Pdu, PduNode
from drivers.nut.server import NutServers
from drivers.nut.ups import UpsDriver
from drivers.p1.meter import P1Meter
from drivers.pcs import PcsDriver
from drivers.pv import PvDriver
from drivers.redfish.config import BmcDefaults
from drivers.register_view import RegisterValue

Read = Meter | tuple[Pcs, Battery | None] | Battery | Pv | Switch | Node | Ups | Contact
NO_MAP = Access()  # nothing beyond what the site file says
Found = tuple[Address, int] | tuple[str, int, int]  # address, unit; or host, port, unit of Modbus TCP
Resolve = Callable[[str, str, int], Found]  # of device id, url, unit


class Driver(Protocol):
    """What the gateway needs of a driver. `kind`: meter load_meter pcs battery pv switch node ups contact."""

    @property
    def id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    async def read(self) -> Read:
        """Fresh parts of the snapshot. Raises DeviceError; connects and finds the device's models when need be."""
        ...

    async def close(self) -> None:
        """Let go of the device for good."""
        ...


@runtime_checkable
class Linked(Protocol):
    """A driver that speaks Modbus."""

    link: ModbusLink
    unit: int


@runtime_checkable
class Listening(Protocol):
    """A driver of a device that sends by itself and has no registers."""

    def link_health(self) -> LinkHealth:
        """How what it sends arrives."""
        ...

    def shown(self) -> list[RegisterValue]:
        """What it sent last, value by value."""
        ...


def make_drivers(
    meters: Iterable[MeterDevice],
    pcs: Iterable[PcsDevice],
    pv: Iterable[PvDevice],
    switches: Iterable[SwitchDevice],
    nodes: Iterable[NodeDevice],
    io: IoConfig,
    resolve: Resolve,
    clock: Clock | None = None,
    known_gpus: KnownGpus | None = None,
    revert_w: Mapping[str, float] = {},
    ups: Iterable[UpsDevice] = (),
    pdus: Iterable[PduDevice] = (),
    beside: Path | None = None,
    tls: ssl.SSLContext | None = None,
    found_modes: FoundModes | None = None,
    proven: Proven = not_proven,
    contacts: Iterable[ContactDevice] = (),
    batteries: Iterable[BatteryDevice] = (),
    prometheus: Iterable[PrometheusServer] = (),
    bmcs: Iterable[BmcDefaults] = (),
) -> list[Driver]:
    """One driver for each device; nothing is connected yet. `resolve` says where a url leads; `clock`: the site's.

    `revert_w`: what each PCS is to revert to, by its id, 0 where it is not named; and each PV inverter that is limited,
    its full power where it is not named.

    `known_gpus`: the GPUs that earlier runs have seen in this machine. `beside`: the site file, for maps of its own.
    `found_modes`: keeps how mapped PCS and switches were found, and which PV is limited. `proven`: whether a PCS was
    proven. Raises MapError.

    `batteries`: their efficiency is that of their PCS; one with a map is a device of its own.

    `tls`: the certificates for devices with a `tls://` url.

    Devices behind one address share a connection and are asked in turn; all others are independent.
    """
    commanded = tuple(pcs)
    stores = {battery.id: battery for battery in batteries}
    lines: dict[tuple[str, int], Line] = {}
    servers = NutServers(io.backoff_max_s)

    def at(
        device: MeterDevice | PcsDevice | BatteryDevice | PvDevice | SwitchDevice | NodeDevice | ContactDevice,
        access: Access = NO_MAP,
    ) -> tuple[ModbusLink, int]:
        address, unit = _address(resolve(device.id, device.url, device.unit))
        line = lines.setdefault(address.place, Line(address, backoff_max_s=io.backoff_max_s, tls=tls))
        link = ModbusLink(
            deadline_s=device.deadline_s or access.deadline_s or io.deadline_s,
            backoff_max_s=io.backoff_max_s,
            device=device.id,
            line=line,
            connect_delay_s=device.connect_delay_s or access.connect_delay_s,
            spacing_s=device.spacing_s or access.spacing_s,
            max_registers=min(device.max_registers, access.max_registers),
            any_transaction=device.any_transaction,
        )
        return link, unit

    def mapped(
        device: MeterDevice | PcsDevice | BatteryDevice | PvDevice | SwitchDevice,
    ) -> tuple[DeviceMap, ModbusLink, int]:
        device_map = load(device.map, beside)
        return device_map, *at(device, device_map.access)

    def meter(config: MeterDevice) -> Driver:
        if config.source == "p1":
            address, _ = _address(resolve(config.id, config.url, config.unit))
            return P1Meter(config, address, io.backoff_max_s)
        if not config.map:
            return MeterDriver(config, *at(config))
        return MapMeter(config, *mapped(config))

    def one_pcs(config: PcsDevice) -> Driver:
        store = stores.get(config.battery)
        own_bms = store is not None and bool(store.map)
        if not config.map:
            return PcsDriver(config, *at(config), clock, revert_w.get(config.id, 0.0), own_bms=own_bms)
        return MapPcs(config, *mapped(config), clock, found=found_modes, proven=proven, battery=store, own_bms=own_bms)

    def one_pv(config: PvDevice) -> Driver:
        if not config.map:
            link, unit = at(config)
            fallback_w, same_as = revert_w.get(config.id, math.inf), _same_as(config, commanded, resolve)
            return PvDriver(config, link, unit, fallback_w, same_as, found_modes)
        return MapPv(config, *mapped(config))

    metered = {pdu.id: Pdu(pdu, servers.at(pdu.url)) for pdu in pdus}
    observed = ObservedNodes(beside.parent if beside is not None else Path(), metered, prometheus, bmcs)
    others = partial(_other_node, observed=observed, metered=metered, clock=clock, known_gpus=known_gpus)

    def node(config: NodeDevice) -> Driver:
        return NodeDriver(config, *at(config)) if config.source == "modbus" else others(config)

    return [
        *(meter(m) for m in meters),
        *(one_pcs(p) for p in commanded),
        *(MapBattery(b, *mapped(b)) for b in stores.values() if b.map),
        *(one_pv(p) for p in pv),
        *(MapSwitch(s, *mapped(s), found_modes) for s in switches),
        *(node(n) for n in nodes),
        *(UpsDriver(u, servers.at(u.url)) for u in ups),
        *(GpioContact(c) if c.gpio_chip else ContactDriver(c, *at(c)) for c in contacts),
    ]


def _other_node(
    config: NodeDevice,
    *,
    observed: ObservedNodes,
    metered: Mapping[str, Pdu],
    clock: Clock | None,
    known_gpus: KnownGpus | None,
) -> Driver:
    """A node that does not speak Modbus."""
    if config.source in OBSERVED:
        return observed.driver(config)
    if config.source == "nut":
        return PduNode(config, metered)
    if config.source == "psutil":
        return PsutilNode(config)
    from drivers.nodes.nvml_node import NvmlNode  # only here: NVML's bindings take a while to load

    return NvmlNode(config, clock, known_gpus)


def _same_as(pv: PvDevice, commanded: Iterable[PcsDevice], resolve: Resolve) -> str:
    """The SunSpec PCS that is the same inverter as `pv`, by its id; "": none."""
    here = _place(pv, resolve)
    return next((p.id for p in commanded if not p.map and _place(p, resolve) == here), "")


def _place(device: PcsDevice | PvDevice, resolve: Resolve) -> tuple[tuple[str, int], int, int]:
    """Where an inverter is: host and port, unit, and which one of that unit."""
    address, unit = _address(resolve(device.id, device.url, device.unit))
    return address.place, unit, device.instance or 1


def _address(found: Found) -> tuple[Address, int]:
    if len(found) == 2:
        return found
    host, port, unit = found
    return Address("tcp", host, port), unit
