"""Device maps: their files, and the registers of every device that they describe."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from device_doubles import registers_at
from device_parsers import packed, registers_of
from file_parsers import file_of
from fuzzing import Parser, simple

from drivers.config import MeterDevice
from drivers.maps.decoding import decode
from drivers.maps.decoding import registers_at as places_of
from drivers.maps.loader import MapError, bundled, load, load_file
from drivers.maps.meter import MapMeter
from drivers.modbus.errors import DeviceError

EXAMPLE = b"""[map]
name = "some"
title = "Some device"
kind = "pcs"
sources = ["Manual 1.2, page 3"]
[units]
other = 7
[[identity]]
address = 1
type = "string"
size = 4
starts_with = ["A", "B"]
[protected]
ranges = [[790, 800, "grid code"]]
[value.w]
address = 10
type = "s32"
unit = "kW"
scale_register = 12
nan = [0x80000000]
[value.state]
at = "other"
address = 20
type = "bits"
bits = { 1 = "running" }
otherwise = "off"
[recipe]
renew_s = 5
revert_s = 60
revert_to = "its own mode"
[[recipe.set]]
address = 100
when = "want_w < 0 and one == 1"
values = [{ type = "s16", terms = { want_w = 1.0 }, min = -5 }]
"""
MAPS = bundled()


def decoded(data: bytes) -> None:
    """The first byte chooses the map; whatever the registers hold, a number is finite and within its bounds."""
    device_map = load(MAPS[data[0] % len(MAPS)] if data else MAPS[0])
    words = data[1:].ljust(2, b"\0")
    held = {
        place: words[2 * n % len(words)] << 8 | words[(2 * n + 1) % len(words)]
        for n, place in enumerate(p for value in device_map.values.values() for p in places_of(device_map, value))
    }
    for name, value in decode(device_map, held).items():
        about = device_map.values[name]
        if isinstance(value, float):
            assert math.isfinite(value), name
            assert about.min is None or value >= about.min, name
            assert about.max is None or value <= about.max, name


async def read_meter(data: bytes) -> None:
    """A whole meter by map, its identity among the registers of the input."""
    device: Any = registers_of(data, 0xC350) if data else registers_at(0xC350, [])
    driver = MapMeter(MeterDevice(id="grid", url="twin"), load("socomec-countis-e3"), device, 1)
    await driver.read()
    await driver.read()


def socomec() -> bytes:
    words = [0] * 0x3C0
    words[:4] = [0x53, 0x4F, 0x43, 0x4F]
    words[0x3A:0x42] = [0x434F, 0x554E, 0x5449, 0x5320, 0x4533, 0x3400, 0, 0]  # COUNTIS E34
    words[0xC568 - 0xC350 + 1] = 1234
    return packed(words)


PARSERS = (
    Parser(
        "a device map",
        ("drivers.maps.loader:load_file", "drivers.maps.loader:parse", "drivers.maps.loader:_converted"),
        lambda: [EXAMPLE],
        file_of("some.toml", load_file),
        (MapError,),
    ),
    Parser(
        "registers by every device map",
        ("drivers.maps.decoding:number_of",),
        lambda: [bytes([n]) + b"\x46\x40\xe4\x00AB\0\0" for n in range(len(MAPS))],
        simple(lambda data, _: decoded(data)),
    ),
    Parser(
        "registers of a meter by a device map",
        ("drivers.maps.decoding:number_of", "drivers.maps.decoding:_text"),
        lambda: [socomec()],
        simple(lambda data, _: asyncio.run(read_meter(data))),
        (DeviceError,),
        share=0.3,
    ),
)
