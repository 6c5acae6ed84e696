"""The compiled decoder against pysunspec2, the reference implementation."""

from __future__ import annotations

import math
import struct

import pytest
import sunspec2.device as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sunspec_image import model_words

from drivers.sunspec.layout import SIZES, Layout, plan
from drivers.sunspec.model import Point, Value, decode, encode, model, scaled, unscaled

MODELS = (1, 101, 103, 113, 201, 203, 204, 213, 701, 702, 704, 713, 715, 802)


def ours(model_id: int, registers: list[int], names: tuple[str, ...]) -> dict[str, Value | None]:
    layout = plan(model_id, names, len(registers) - 2)
    return layout.decode(fetched(layout, registers))


def fetched(layout: Layout, registers: list[int]) -> list[int]:
    """What the layout's requests bring; 0 where none reaches."""
    words = [0] * layout.end
    for span in layout.requests:
        words[span.offset : span.end] = registers[span.offset : span.end]
    return words


def theirs(point: reference.Point, of: Point) -> object:
    """The reference's value, in the form we give it: words for enums, names for bits."""
    value = point.cvalue
    if point.pdef["type"].startswith("acc") and value == (1 << 16 * point.len) - 1:
        return None  # all ones: the reference takes it for a count
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


@pytest.mark.parametrize("max_read", SIZES)
def test_values_come_with_what_they_depend_on(max_read: int) -> None:
    """ID and L are read first and last, each number in one request, a scale factor beside its value or around it."""
    for model_id in MODELS:
        of = model(model_id)
        length = max(p.end for p in of.points.values()) - 2
        layout = plan(model_id, tuple(of.points), length, max_read)
        assert layout.wanted == set(of.points)
        requests = [range(span.offset, span.end) for span in layout.requests]
        assert all(len(request) <= max_read for request in requests)
        assert max(request.stop for request in requests) <= length + 2
        if len(requests) > 1:
            assert requests[-1] == range(2)
            assert 0 in {request.start for request in requests[:-1]}
        for point in of.points.values():
            span = range(point.offset, point.end)
            holding = [n for n, request in enumerate(requests) if set(span) <= set(request)]
            assert holding or point.type == "string", point.name
            scale = of.scale_of(point)
            if scale is not None:
                scales = [n for n, request in enumerate(requests) if scale.offset in request]
                assert set(holding) & set(scales) or min(scales) < min(holding) < max(scales), point.name
    assert len(plan(701, tuple(model(701).points), 153).requests) == 3
    assert len(plan(701, ("W", "Hz"), 153, 50).requests) == 4


def test_the_parts_of_a_block_give_the_values_of_the_whole() -> None:
    registers = model_words(203, W=-1234, W_SF=1, TotWhImp=70_001, TotWh_SF=2, Hz=4998, Hz_SF=-2)
    names = ("W", "Hz", "TotWhImp", "PhVphA")
    for size in SIZES:
        layout = plan(203, names, len(registers) - 2, size)
        assert layout.decode(fetched(layout, registers)) == ours(203, registers, names)


@pytest.mark.parametrize("model_id", [103, 113, 203, 213, 701, 713, 802])
def test_a_model_of_all_ones_has_no_values(model_id: int) -> None:
    """A device that is not ready fills its registers so; -1 x 10^-1 W is not a reading."""
    registers = [model_id, len(model_words(model_id)) - 2, *[0xFFFF] * (len(model_words(model_id)) - 2)]
    names = tuple(n for n in model(model_id).points if n not in ("ID", "L") and "." not in n)
    assert set(ours(model_id, registers, names).values()) == {None}
    for name in names:
        assert ours(model_id, registers, (name,)) == {name: None}


def test_points_beyond_the_devices_own_length_are_left_out() -> None:
    layout = plan(802, ("SoC", "AChaMax"), 60)  # SoC_SF@56 is there, AMax_SF@62 is not
    assert sorted(layout.wanted) == ["SoC"]


def test_unknown_names_and_models_are_named() -> None:
    with pytest.raises(LookupError, match="model 704 has no point WSett"):
        plan(704, ("WSett",), 65)
    with pytest.raises(LookupError, match="no model 12345"):
        model(12345)
