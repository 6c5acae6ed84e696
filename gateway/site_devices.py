"""Where a site's devices are, what is claimed of them, and a driver for each."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

from dispatch.model.clock import Clock
from drivers.config import PcsDevice, SwitchDevice
from drivers.devices import Driver, make_drivers
from drivers.maps.found_modes import FoundModes
from drivers.maps.pcs import Proven, not_proven
from drivers.modbus.address import Address, parse
from drivers.node_config import OBSERVED
from drivers.nodes.known_gpus import KnownGpus
from drivers.twin.announcement import Announcement
from gateway import exit_codes
from gateway.claims import device_keys
from gateway.errors import StartRefused
from gateway.site.schema import Site


def claimed_devices(site: Site, twin: Announcement | None) -> dict[str, str]:
    """Claims of what no other gateway of this machine may command, PCS and switches. Raises StartRefused."""
    resolve, claims = resolver(twin), {}
    commanded: list[PcsDevice | SwitchDevice] = [*site.pcs, *site.switch]
    for device in commanded:
        address, unit = resolve(device.id, device.url, device.unit)
        host = os.path.realpath(address.host) if address.scheme == "serial" else address.host
        for key in device_keys(host, address.port, unit):
            claims[key] = f"{device.id} at {address} unit {unit}"
    return claims


def resolver(twin: Announcement | None) -> Any:
    """Address and unit of a device by its id, url and unit. Raises StartRefused."""

    def resolve(device_id: str, url: str, unit: int) -> tuple[Address, int]:
        if url == "twin":
            assert twin is not None
            if device_id not in twin.endpoints:
                there = ", ".join(sorted(twin.endpoints))
                raise StartRefused(f"the twin serves no device {device_id!r}; it has {there}", exit_codes.DEVICE)
            host, port, served = twin.endpoints[device_id]
            return Address("tcp", host, port), served
        return parse(url), unit

    return resolve


def drivers_of(
    site: Site,
    twin: Announcement | None,
    clock: Clock,
    *,
    known_gpus: KnownGpus | None = None,
    revert_w: Mapping[str, float] = {},
    found_modes: FoundModes | None = None,
    proven: Proven = not_proven,
    observed: bool = True,
) -> list[Driver]:
    """A driver for every device of a site, as `make_drivers` has it. Raises MapError, StartRefused.

    `observed`: also for nodes over the network, which a gateway has read by a process of its own.
    """
    return make_drivers(
        site.meter,
        site.pcs,
        site.pv,
        site.switch,
        [node for node in site.every_node if observed or node.source not in OBSERVED],
        site.io,
        resolver(twin),
        clock,
        known_gpus,
        revert_w,
        site.ups,
        site.pdu,
        site.path,
        certificates(site),
        found_modes,
        proven,
        contacts=site.contact,
        batteries=site.battery,
        prometheus=site.prometheus,
        bmcs=site.bmc,
    )


def certificates(site: Site) -> ssl.SSLContext | None:
    """What devices with a `tls://` url need; None where there is none. Raises StartRefused."""
    if site.tls is None:
        return None
    from drivers.modbus.tls import TlsError, client_context  # only here: most sites have none

    try:
        return client_context(*site.tls.files(site.path.parent))
    except TlsError as error:
        raise StartRefused(f"{site.path}: {error}", exit_codes.USAGE) from None
