"""Finds what of a BMC is a node: its system, the chassis that feeds it, where its power stands.

A node's power is that of the chassis in which its system is (ComputerSystem.Links.Chassis). What is inside that
chassis, such as an HGX baseboard, is part of it and not added. A chassis with several hosts is no node's: how much of
its power each draws cannot be told, so nothing is apportioned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from drivers.modbus.errors import WrongDevice
from drivers.redfish.documents import Document, link, links, member, number_given, same, text, uuid_given
from drivers.redfish.power import metrics_of, present

MOST_SYSTEMS = 16  # that are looked at: an enclosure with more is asked with bmc_system
MOST_CHASSIS = 12
MOST_SUPPLIES = 12
MOST_GPUS = 16
SYSTEMS, CHASSIS = "/redfish/v1/Systems", "/redfish/v1/Chassis"  # DSP0266: where they are, should the root not say
BASEBOARD = "HGX_Baseboard"  # NVIDIA's systems of the GPUs alone (docs.nvidia.com, DPS, "Redfish API")
# of NVIDIA's baseboards and their parts, which are inside the server's chassis
PART = "HGX_"
PARTS = frozenset(
    ("Module", "Card", "Component", "Zone", "Cartridge")
)  # Chassis.ChassisType of what cannot feed a server

Get = Callable[[str], Awaitable[Document]]


class Wanted(msgspec.Struct, frozen=True):
    """What the site file says. `where`: node and BMC, for errors. `gpus`: those of an HGX baseboard are wanted, too."""

    where: str
    system: str = ""
    chassis: str = ""
    gpus: bool = False


class Identity(msgspec.Struct, frozen=True):
    """Who a system says it is; empty where it does not say."""

    uuid: str = ""
    serial: str = ""
    model: str = ""

    @property
    def name(self) -> str:
        """By what it is known; empty: by nothing."""
        return f"serial number {self.serial}" if self.serial else f"UUID {self.uuid}" if self.uuid else ""

    def differs(self, other: Identity) -> bool:
        """Whether both say who they are, and are not the same. By the UUID only where one has no serial number.

        The bytes of a UUID may change their order with the firmware (SMBIOS DSP0134, "System - UUID").
        """
        if self.serial and other.serial:
            return self.serial != other.serial
        return bool(self.uuid and other.uuid) and self.uuid != other.uuid


class Machine(msgspec.Struct, frozen=True):
    """A node in its BMC: paths of its system and chassis, of the resources with its power, of its GPUs."""

    system: str
    identity: Identity
    chassis: str
    chassis_serial: str = ""
    environment: str = ""  # EnvironmentMetrics
    power: str = ""
    subsystem: str = ""  # PowerSubsystem
    gpus: tuple[str, ...] = ()


class _Host(msgspec.Struct, frozen=True):
    path: str
    document: Document


async def discover(root: Document, get: Get, wanted: Wanted) -> Machine:
    """Walk from the service root. Raises DeviceError; WrongDevice for what a person has to decide."""
    systems = await _systems(root, get, wanted)
    hosts = [system for system in systems if not member(system.path).startswith(BASEBOARD)]
    host = _chosen(hosts, wanted)
    chassis = await _chassis(root, get, host, wanted)
    _alone(chassis, host, hosts, wanted)
    boards = [system for system in systems if member(system.path).startswith(BASEBOARD)] if wanted.gpus else []
    return Machine(
        host.path,
        identity_of(host.document),
        chassis.path,
        number_given(text(chassis.document, "SerialNumber")),
        link(chassis.document, "EnvironmentMetrics"),
        link(chassis.document, "Power"),
        link(chassis.document, "PowerSubsystem"),
        await _gpus(get, boards),
    )


def identity_of(system: Document) -> Identity:
    """Serial number and UUID of a system, without what boards state that nobody gave a number."""
    return Identity(uuid_given(text(system, "UUID")), number_given(text(system, "SerialNumber")), text(system, "Model"))


async def supplies(get: Get, subsystem: str) -> tuple[str, ...]:
    """The paths of the metrics of the power supplies of a PowerSubsystem that are there; empty: it names none."""
    collection = link(await get(subsystem), "PowerSupplies")
    paths = links(await get(collection), "Members") if collection else ()
    found = [await get(path) for path in paths[:MOST_SUPPLIES]]
    metrics = [metrics_of(supply) for supply in found if present(supply)]
    return tuple(metrics) if all(metrics) and len(paths) <= MOST_SUPPLIES else ()


async def _systems(root: Document, get: Get, wanted: Wanted) -> list[_Host]:
    """The systems of the BMC; with `bmc_system` among many that one alone, and the baseboards."""
    paths = links(await get(link(root, "Systems") or SYSTEMS), "Members")
    if len(paths) > MOST_SYSTEMS:
        paths = tuple(path for path in paths if member(path) == wanted.system or member(path).startswith(BASEBOARD))
        if not paths:
            raise WrongDevice(wanted.where, "has very many systems", "name the node's with bmc_system")
    return [_Host(path, await get(path)) for path in paths]


def _chosen(hosts: Sequence[_Host], wanted: Wanted) -> _Host:
    names = ", ".join(member(host.path) for host in hosts) or "none"
    if wanted.system:
        found = next((host for host in hosts if member(host.path) == wanted.system), None)
        if found is None:
            raise WrongDevice(wanted.where, f"has no system {wanted.system}, but {names[:120]}", "check bmc_system")
        return found
    if not hosts:
        advice = "wait if its firmware is being updated; else look at /redfish/v1/Systems with this account"
        raise WrongDevice(wanted.where, "has no system", advice)
    if len(hosts) > 1:
        what = f"has {len(hosts)} systems: {names[:120]}"
        raise WrongDevice(wanted.where, what, "name the node's with bmc_system")
    return hosts[0]


async def _chassis(root: Document, get: Get, host: _Host, wanted: Wanted) -> _Host:
    """The one chassis in which the system is and that has a power."""
    if wanted.chassis:
        return await _named(root, get, wanted)
    paths = links(host.document, "Links", "Chassis") or links(await get(link(root, "Chassis") or CHASSIS), "Members")
    outer = [path for path in paths if not member(path).startswith(PART)][:MOST_CHASSIS]
    found = [_Host(path, await get(path)) for path in outer]
    able = _outermost([one for one in found if _feeds(one.document)])
    if len(able) == 1:
        return able[0]
    names = ", ".join(member(one.path) for one in able or found)[:120] or "none"
    if able:
        what, advice = f"its system is in several chassis with a power: {names}", "name one with bmc_chassis"
    else:
        what, advice = f"none of its chassis gives a power: {names}", "this BMC cannot tell it: take its bmc out"
    raise WrongDevice(wanted.where, what, advice)


async def _named(root: Document, get: Get, wanted: Wanted) -> _Host:
    """The chassis of `bmc_chassis`."""
    paths = links(await get(link(root, "Chassis") or CHASSIS), "Members")
    path = next((path for path in paths if member(path) == wanted.chassis), "")
    if not path:
        raise WrongDevice(wanted.where, f"has no chassis {wanted.chassis}", "check bmc_chassis")
    return _Host(path, await get(path))


def _feeds(chassis: Document) -> bool:
    """Whether a chassis may have the power of a whole machine."""
    sources = (link(chassis, name) for name in ("EnvironmentMetrics", "Power", "PowerSubsystem"))
    return text(chassis, "ChassisType") not in PARTS and any(sources)


def _outermost(found: Sequence[_Host]) -> list[_Host]:
    """Without those that are inside another one of them."""
    inside = {member(path) for one in found for path in links(one.document, "Links", "Contains")} | {
        member(o.path) for o in found if any(same(link(o.document, "Links", "ContainedBy"), p.path) for p in found)
    }
    return [one for one in found if member(one.path) not in inside]


def _alone(chassis: _Host, host: _Host, hosts: Sequence[_Host], wanted: Wanted) -> None:
    """Raises WrongDevice where other hosts are fed by the chassis, too."""
    listed = (p for p in links(chassis.document, "Links", "ComputerSystems") if not member(p).startswith(PART))
    others = {member(path) for path in listed if not same(path, host.path)}
    for other in hosts:
        if other is not host and any(same(p, chassis.path) for p in links(other.document, "Links", "Chassis")):
            others.add(member(other.path))
    if others:
        names = ", ".join(sorted(others))[:80]
        raise WrongDevice(
            wanted.where,
            f"chassis {member(chassis.path)} feeds {names} as well: its power is not this node's",
            "take the outlets of a [[pdu]], or exporters; bmc_chassis if the node has a chassis of its own",
        )


async def _gpus(get: Get, boards: Sequence[_Host]) -> tuple[str, ...]:
    """The paths of the processors of HGX baseboards that are called GPUs: GPU_SXM_1, GPU_0."""
    found: list[str] = []
    for board in boards:
        collection = link(board.document, "Processors")
        paths = links(await get(collection), "Members") if collection else ()
        found += [path for path in paths if member(path).startswith("GPU_")]
    return tuple(found[:MOST_GPUS])
