"""Our SunSpec reader beside pysunspec2's client, on the wire: every point of every model, of a device and of the twin.

pysunspec2 also lays the device out, so neither side decodes what our own code has encoded; the twin's registers are the
exception, which is why they are read by both, too.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sunspec2.device as reference
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP
from sunspec_image import image, words
from test_sunspec_model import theirs
from twin_sites import site_of

from drivers.modbus.transport import ModbusLink
from drivers.sunspec.device import SunSpecDevice
from drivers.sunspec.model import model
from drivers.twin.devices import meter_image, pcs_image, pv_image
from drivers.twin.registers import BASE, Image
from drivers.twin.server import TwinServer

INVERTERS, METERS = (101, 102, 103, 111, 112, 113), (201, 202, 203, 204, 211, 212, 213, 214)
SETTINGS, DER = (120, 121, 122, 123, 124, 160), tuple(range(701, 716))
EVERY_MODEL = (1, *INVERTERS, *SETTINGS, *METERS, *DER, 802)
PADS = ("pad", "eui48", "ipv6addr")


def filled(model_id: int) -> list[int]:
    """A model in which every point holds something else, each group once, laid out by pysunspec2."""
    definition = reference.get_model_def(model_id)["group"]
    counts = set(_counts(definition))
    zeros = _zeros(definition, counts)
    zeros[:2] = model_id, len(zeros) - 2
    laid_out = reference.Model(model_id, data=struct.pack(f">{len(zeros)}H", *zeros))
    numbers = itertools.count()
    _fill(laid_out, model_id, counts | {"ID", "L"}, numbers)
    return words(laid_out.get_mb())


def _counts(group: dict[str, Any]) -> Iterator[object]:
    """The points that say how often a group within this one occurs."""
    for inner in group.get("groups", []):
        yield inner.get("count")
        yield from _counts(inner)


def _zeros(group: dict[str, Any], counts: set[object]) -> list[int]:
    """A group and those in it: 1 in the points that count groups, else 0."""
    found = [word for point in group["points"] for word in [int(point["name"] in counts)] * point["size"]]
    for inner in group.get("groups", []):
        found += _zeros(inner, counts)
    return found


def _fill(group: Any, model_id: int, given: set[object], numbers: Iterator[int]) -> None:
    for name, point in group.points.items():
        if name not in given and point.pdef["type"] not in PADS:
            point.value = _content(point, model_id, next(numbers))
    for inner in group.groups.values():
        for one in inner if isinstance(inner, list) else [inner]:
            _fill(one, model_id, given, numbers)


def _content(point: Any, model_id: int, n: int) -> object:
    """A raw value that no other point of this kind has."""
    kind, symbols = point.pdef["type"], [symbol["value"] for symbol in point.pdef.get("symbols", [])]
    if kind == "sunssf":
        return -1 - n % 3
    if kind == "string":
        return f"{model_id}/{n}"[: 2 * point.len]
    if kind.startswith("enum"):
        return symbols[n % len(symbols)] if symbols else n
    if kind.startswith("bitfield"):
        return sum(1 << bit for bit in symbols[::2]) if symbols else 1 << n % 15
    if kind.startswith("float"):
        return n + 0.25
    return -100 - n if kind.startswith("int") and n % 2 else 1000 + n


@asynccontextmanager
async def both(images: Image) -> AsyncIterator[tuple[SunSpecDevice, SunSpecModbusClientDeviceTCP]]:
    """Ours and the reference's client on one device."""
    server = TwinServer({1: ("device", images)}, site_of())
    host, port = await server.start()
    link = ModbusLink(host, port, deadline_s=30.0, backoff_max_s=0.2, device="device")
    stranger = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr=host, ipport=port, timeout=30.0)
    try:
        yield SunSpecDevice(link, 1), stranger
    finally:
        await asyncio.to_thread(stranger.close)
        await link.close()
        await server.stop()


def points_of(group: Any, prefix: str = "") -> dict[str, Any]:
    """The reference's points by our names; groups within groups are not read by us."""
    found = {prefix + name: point for name, point in group.points.items()}
    for name, inner in ({} if prefix else group.groups).items():
        for n, one in enumerate(inner if isinstance(inner, list) else [inner], start=1):
            found |= points_of(one, f"{name}.{n}.")
    return found


async def compared(images: Image) -> dict[int, int]:
    """Read every model by both; how many points of each were the same and not missing."""
    agreed: dict[int, int] = {}
    async with both(images) as (ours, stranger):
        await asyncio.to_thread(stranger.scan)
        await ours.open()
        for model_id in (key for key in stranger.models if isinstance(key, int)):
            (group,) = stranger.models[model_id]
            known = {name: p for name, p in points_of(group).items() if p.pdef["type"] not in PADS}
            names = [name for name in known if _has(model_id, name)]
            values = await ours.read(model_id, tuple(names))
            for name in names:
                expected = theirs(known[name], model(model_id).point(name))
                same = pytest.approx(expected, rel=1e-9, abs=1e-12) if isinstance(expected, float) else expected
                assert values[name] == same, (model_id, name)
            agreed[model_id] = sum(value is not None for value in values.values())
    return agreed


def _has(model_id: int, name: str) -> bool:
    try:
        model(model_id).point(name)
    except LookupError:
        return False  # within a group that repeats, or behind one
    return True


async def test_every_model_of_the_list_reads_as_the_reference_reads_it() -> None:
    registers = image(*(filled(model_id) for model_id in EVERY_MODEL))
    agreed = await compared(Image(BASE, registers))
    assert tuple(agreed) == EVERY_MODEL
    fewest = {703: 8, 705: 5, 706: 5, 707: 4, 708: 4, 709: 4, 710: 4, 715: 4}
    assert all(count >= fewest.get(model_id, 6) for model_id, count in agreed.items())


@pytest.mark.parametrize(
    ("device", "personality", "models"),
    [
        ("pcs", "compliant", (1, 701, 702, 704, 713, 715, 802, 803)),
        ("pcs", "no-revert", (1, 701, 702, 704, 713, 715, 802, 803)),
        ("pcs", "legacy-storage", (1, 103, 120, 124, 160)),
        ("pv", "compliant", (1, 103, 120, 121, 123)),
        ("meter", "compliant", (1, 203)),
    ],
)
async def test_every_point_of_the_twin_reads_as_the_reference_reads_it(
    device: str, personality: str, models: tuple[int, ...]
) -> None:
    site = site_of(20_000.0, personality=personality, pcs_lag_s=0.0)
    site.pcs[0].control.setpoint_w = 7_000.0
    site.pcs[0].control.enable(True)
    site.advance(5.0)
    images = {
        "pcs": lambda: pcs_image(site.pcs[0], site),
        "pv": lambda: pv_image(site.pv[0], site),
        "meter": lambda: meter_image(site.meters[0], 160e3),
    }[device]()
    agreed = await compared(images)
    assert tuple(agreed) == models
    assert min(agreed.values()) >= 3


def test_the_reference_lays_out_what_the_list_names() -> None:
    """A model that is all "not implemented" would compare as equal."""
    for model_id in EVERY_MODEL:
        laid_out = filled(model_id)
        assert laid_out[:2] == [model_id, len(laid_out) - 2]
        assert len(set(laid_out)) > 4
