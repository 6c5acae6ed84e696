"""Checks of a `[[meter]]` with `source = "p1"`: it sends by itself, so it has few keys, and a port for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from dispatch.config.cross_checks import Finding
from drivers.config import MeterDevice
from drivers.modbus.address import parse, place_of
from gateway.site.schema import Site
from gateway.site.unread import Unreadable, text

KEYS = frozenset(("id", "url", "source", "role", "side", "serial", "period_s"))  # period_s: of every grid meter
BAUD = 115_200  # DSMR P1 companion standard 5.0.2: 115200 baud, 8N1
DELAY_S = 1.0  # the same: a telegram a second, so what it tells may be of the second before


def meters_on_p1(site: Site, on_modbus: Iterable[tuple[str, Any]]) -> Iterator[Finding]:
    """At the connection point, where these meters are, and at a port of their own. `on_modbus`: key and device."""
    others = tuple(on_modbus)
    for n, meter in enumerate(site.meter):
        with suppress(Unreadable):
            if meter.source == "p1":
                yield from ((f"meter[{n}].{key}", value, expected) for key, value, expected in _keys(meter))
                yield from _ports(n, meter, others)
                if (most_s := site.grid.meter_delay_max_s) < DELAY_S:
                    expected = f"at least {DELAY_S:g}, because meter[{n}] has source = p1; or leave it out"
                    yield "grid.meter_delay_max_s", most_s, expected


def _keys(meter: MeterDevice) -> Iterator[Finding]:
    address = None if meter.url == "twin" else parse(meter.url)
    if address is None or address.scheme not in ("tcp", "serial"):
        yield "url", meter.url, "tcp://host:port or serial:///dev/ttyUSB0?baud=115200, because source is p1"
    elif address.scheme == "serial" and (address.baud, address.parity, address.stop) != (BAUD, "N", 1):
        yield "url", meter.url, "?baud=115200 and nothing else after the port, as DSMR 4 and 5 send"
    if meter.role != "grid":
        yield "role", meter.role, '"grid": the customer port is that of the meter at the connection point'
    plain = MeterDevice(id="", url="")
    for key in meter.__struct_fields__:
        value = getattr(meter, key)
        if key not in KEYS and value != getattr(plain, key):
            yield key, value, "no such key beside source = p1: nothing is asked of it, and its sign is fixed"


def _ports(n: int, meter: MeterDevice, others: Iterable[tuple[str, Any]]) -> Iterator[Finding]:
    for key, device in others:
        with suppress(Unreadable):
            if place_of(text(device.url)) == place_of(text(meter.url)):
                yield f"{key}.url", device.url, f"a port of its own: meter[{n}] with source = p1 listens there"
