"""Registers become values as a map says, and numbers registers; worked by hand and against struct."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.maps.decoding import decode, number_of, registers_for
from drivers.maps.loader import parse

MAP = """[map]
name = "some"
title = "Some device"
kind = "pcs"
sources = ["Manual 1.2, page 3"]
no_identity = "it has none"
[access]
function = 4
[value.w]
{}
"""
READ = {  # keys of [value.w] at address 10, registers, the value
    "scale": ('type = "s16"\nunit = "kW"\nscale = 0.1', [0xFFFE], -200.0),
    "low word first": ('type = "s32"\nunit = "W"\nword_order = "little"', [0x0001, 0xFFFF], -65535.0),
    "invert": ('type = "f32"\nunit = "W"\ninvert = true', [0x4640, 0xE400], -12345.0),
    "float nan": ('type = "f32"\nunit = "W"', [0x7FC0, 0], None),
    "float infinite": ('type = "f32"\nunit = "W"', [0x7F80, 0], None),
    "no value": ('type = "s32"\nunit = "W"\nnan = [0x80000000]', [0x8000, 0], None),
    "above max": ('type = "s16"\nunit = "kW"\nmax = 1e6', [1001], None),
    "at max": ('type = "s16"\nunit = "kW"\nmax = 1e6', [1000], 1e6),
    "min is of our sign": ('type = "s16"\nunit = "W"\ninvert = true\nmin = -5', [6], None),
    "u64": ('type = "u64"\nunit = "W"', [0, 1, 0, 2], 4294967298.0),
    "f64": ('type = "f64"\nunit = "W"', [0x40C8, 0x1C80, 0, 0], 12345.0),
    "no minus zero": ('type = "s16"\nunit = "W"\ninvert = true', [0], 0.0),
    "number of a word": ('type = "enum"\nsize = 2\nunit = "kW"\nnumbers = { 802 = 1.5 }', [0, 802], 1500.0),
    "no such word": ('type = "enum"\nunit = "W"\nnumbers = { 802 = 1.5 }', [803], None),
}


@pytest.mark.parametrize("name", READ)
def test_registers_are_read_as_the_map_says(name: str) -> None:
    keys, raw, value = READ[name]
    device_map = parse(Path("some.toml"), MAP.format("address = 10\n" + keys))
    words = {("device", 4, 10 + n): word for n, word in enumerate(raw)}
    assert repr(decode(device_map, words)) == repr({"w": value})


def test_a_value_whose_registers_were_not_read_is_left_out() -> None:
    device_map = parse(Path("some.toml"), MAP.format('address = 10\ntype = "u32"\nunit = "W"\nscale_register = 20'))
    words = {("device", 4, 10): 0, ("device", 4, 11): 5}
    assert decode(device_map, words) == {}
    assert decode(device_map, words | {("device", 4, 20): 0xFFFF}) == {"w": 0.5}
    assert decode(device_map, words | {("device", 4, 20): 0x8000}) == {"w": None}  # no such power of ten
    assert decode(device_map, words | {("device", 3, 20): 2}) == {}  # a holding register is another


def test_sums_words_bits_and_texts() -> None:
    text = MAP.format('sum_of = ["x_a", "x_b"]\nminus_of = ["x_c"]') + "".join(
        f'[value.{name}]\naddress = {address}\ntype = "u16"\nunit = "kW"\n'
        for name, address in (("x_a", 1), ("x_b", 2), ("x_c", 3))
    )
    text += """
[value.state]
address = 5
type = "bits"
bits = { 0 = "fault", 2 = "running" }
otherwise = "off"
[value.alarms]
address = 5
type = "bits"
bits = { 0 = "stopped", 1 = "hot" }
[value.mode]
address = 6
type = "enum"
words = { 3 = "grid_following" }
[value.serial]
address = 7
type = "string"
size = 2
[value.model]
address = 9
type = "string"
size = 2
"""
    device_map = parse(Path("some.toml"), text)
    registers = {1: 5, 2: 1, 3: 8, 5: 7, 6: 3, 7: 0x4142, 8: 0x2000, 9: 0xFF00, 10: 0}
    words = {("device", 4, address): word for address, word in registers.items()}
    assert decode(device_map, words) == {
        "x_a": 5000.0,
        "x_b": 1000.0,
        "x_c": 8000.0,
        "w": -2000.0,
        "state": "fault",
        "alarms": ("stopped", "hot"),
        "mode": "grid_following",
        "serial": "AB",
        "model": None,
    }
    words["device", 4, 5] = 0
    assert decode(device_map, words, ["state", "alarms"]) == {"state": "off", "alarms": ()}


FORMATS = {"u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "u64": ">Q", "s64": ">q", "f32": ">f", "f64": ">d"}


@given(st.sampled_from(sorted(FORMATS)), st.binary(min_size=8, max_size=8), st.sampled_from(["big", "little"]))
@settings(max_examples=80, deadline=None)
def test_every_type_is_what_struct_makes_of_it_and_comes_back(kind: str, content: bytes, order: str) -> None:
    content = content[: struct.calcsize(FORMATS[kind])]
    words = list(struct.unpack(f">{len(content) // 2}H", content))
    raw = words if order == "big" else words[::-1]
    number = number_of(kind, raw, order)  # type: ignore[arg-type]
    expected = struct.unpack(FORMATS[kind], content)[0]
    assert number == expected or (number != number and expected != expected)
    if number == number:
        assert registers_for(kind, number, order) == raw  # type: ignore[arg-type]


def test_a_number_that_does_not_fit_is_not_cut() -> None:
    for kind, number in (("s16", 32768.0), ("u16", -1.0), ("u32", 2.0**32), ("f32", 1e39)):
        with pytest.raises(ValueError, match=f"does not fit into {kind}"):
            registers_for(kind, number, "big")


def test_the_bits_of_several_registers_are_united() -> None:
    bits = '[value.x_{0}]\naddress = {1}\ntype = "bits"\nbits = {{ 0 = "{0}", 1 = "both" }}\n'
    text = MAP.format('address = 10\ntype = "s16"\nunit = "W"') + bits.format("a", 20) + bits.format("b", 30)
    device_map = parse(Path("some.toml"), text + '[value.alarms]\nsum_of = ["x_a", "x_b"]\n')
    at = {("device", 4, 20): 3, ("device", 4, 30): 2}
    assert decode(device_map, at)["alarms"] == ("a", "both")
    assert decode(device_map, {("device", 4, 30): 0})["alarms"] == (), "the other register was refused"
    assert "alarms" not in decode(device_map, {})
