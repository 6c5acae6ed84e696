"""The compiled decoder against pysunspec2, the reference implementation."""

from __future__ import annotations

import math
import struct

import pytest
import sunspec2.device as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sunspec_image import model_words

from drivers.sunspec.model import MAX_READ, Point, Value, decode, encode, model, plan, scaled, unscaled

MODELS = (1, 101, 103, 113, 201, 203, 204, 213, 701, 702, 704, 713, 715, 802)


def ours(model_id: int, registers: list[int], names: tuple[str, ...]) -> dict[str, Value | None]:
    values: dict[str, Value | None] = {}
    for block in plan(model_id, names, len(registers) - 2):
        values.update(block.decode(registers[block.offset : block.offset + block.count]))
    return values


def theirs(point: reference.Point, of: Point) -> object:
    """The reference's value, in the form we give it: words for enums, names for bits."""
    value = point.cvalue
    if value is None or value == "" or isinstance(value, str):
        return (value or "").strip() or None
    if point.pdef["type"].startswith("enum"):
        return of.symbols.get(value, f"unknown_{value}")
    if point.pdef["type"].startswith("bitfield"):
        return tuple(of.symbols.get(bit, f"bit_{bit}") for bit in range(64) if value >> bit & 1)
    return value


@st.composite
def registers_of(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Any registers for a model, sentinels often among them; scale factors valid."""
    model_id = draw(st.sampled_from(MODELS))
    registers = model_words(model_id)
    points = [p for p in model(model_id).points.values() if p.name not in ("ID", "L")]
    for point in draw(st.lists(st.sampled_from(points), min_size=1, max_size=30, unique_by=lambda p: p.name)):
        if point.type == "sunssf":
            words = [draw(st.integers(-10, 10)) & 0xFFFF]
        elif point.type == "string":
            text = draw(st.text("abcXYZ 0189-.", max_size=2 * point.size)).strip().encode()
            words = list(struct.unpack(f">{point.size}H", text.ljust(2 * point.size, b"\0")))
        elif point.type == "float32":
            number = draw(st.floats(width=32, allow_nan=True, allow_infinity=False))
            words = list(struct.unpack(">2H", struct.pack(">f", number)))
        else:
            words = draw(st.lists(st.integers(0, 0xFFFF), min_size=point.size, max_size=point.size))
        registers[point.offset : point.end] = words
    return model_id, registers


@settings(max_examples=150, deadline=None)
@given(registers_of())
def test_every_point_reads_as_the_reference_reads_it(case: tuple[int, list[int]]) -> None:
    model_id, registers = case
    data = struct.pack(f">{len(registers)}H", *registers)
    oracle = reference.Model(model_id, data=data)
    names = tuple(n for n in model(model_id).points if "." not in n and n in oracle.points)
    names = tuple(n for n in names if model(model_id).points[n].type not in ("pad", "eui48", "ipv6addr"))
    values = ours(model_id, registers, names)
    for name in names:
        expected = theirs(oracle.points[name], model(model_id).points[name])
        if isinstance(expected, float):
            assert values[name] == pytest.approx(expected, rel=1e-9, abs=1e-12), name
        else:
            assert values[name] == expected, name


@settings(max_examples=200)
@given(st.sampled_from(["int16", "uint16", "int32", "uint32"]), st.integers(-10, 10), st.data())
def test_what_is_encoded_decodes_to_the_same(kind: str, sf: int, data: st.DataObject) -> None:
    bits = int(kind[-2:])
    low, high = (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1) if kind[0] == "i" else (0, 2**bits - 2)
    raw = data.draw(st.integers(low, high))
    point = Point("X", kind, 0, bits // 16, "X_SF")
    registers = encode(point, scaled(raw, sf), sf)
    (back,) = struct.unpack(f">{point.code}", struct.pack(f">{len(registers)}H", *registers))
    assert back == raw
    assert decode(point, back, sf) == scaled(raw, sf)
    assert unscaled(scaled(raw, sf), sf) == raw


@pytest.mark.parametrize("value", [40_000, -40_000, -32_768, math.nan, math.inf])
def test_what_a_point_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="X = "):
        encode(Point("X", "int16", 0, 1, "X_SF"), value, 0)


def test_words_and_scale_factors_are_checked() -> None:
    mode = model(704).points["WSetMod"]
    assert encode(mode, "watts") == [1]
    with pytest.raises(ValueError, match="expected one of w_max_pct, watts"):
        encode(mode, "amps")
    with pytest.raises(ValueError, match="scale factor is None"):
        encode(model(704).points["WSet"], 5.0)


@pytest.mark.parametrize("sf", [-0x8000, 11, -11, 300])
def test_a_value_without_a_believable_scale_factor_is_missing(sf: int) -> None:
    registers = model_words(203, W=500, W_SF=sf)
    assert ours(203, registers, ("W",)) == {"W": None}


def test_values_come_in_one_request_with_their_scale_factors() -> None:
    for model_id in MODELS:
        of = model(model_id)
        length = max(p.end for p in of.points.values()) - 2
        blocks = plan(model_id, tuple(of.points), length)
        seen = [name for block in blocks for name in block.wanted]
        assert sorted(seen) == sorted(of.points)
        for block in blocks:
            assert block.count <= MAX_READ
            inside = range(block.offset, block.offset + block.count + 1)
            for name in block.wanted:
                scale = of.scale_of(of.points[name])
                for point in (of.points[name], *([scale] if scale else [])):
                    assert point.offset in inside
                    assert point.end in inside
    assert len(plan(701, tuple(model(701).points), 153)) == 2


def test_points_beyond_the_devices_own_length_are_left_out() -> None:
    blocks = plan(802, ("SoC", "AChaMax"), 60)  # SoC_SF@56 is there, AMax_SF@62 is not
    assert [sorted(b.wanted) for b in blocks] == [["SoC"]]


def test_unknown_names_and_models_are_named() -> None:
    with pytest.raises(LookupError, match="model 704 has no point WSett"):
        plan(704, ("WSett",), 65)
    with pytest.raises(LookupError, match="no model 12345"):
        model(12345)
