"""Numbers in registers, and writes that are taken whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.twin.registers import Field, Image, RefusedWrite, Write, exponent_for, plain_image


@given(
    value=st.floats(-1e5, 1e5),
    size=st.sampled_from([1, 2, 4]),
    signed=st.booleans(),
    exponent=st.integers(-3, 3),
)
def test_what_goes_in_comes_out(value: float, size: int, signed: bool, exponent: int) -> None:
    field = Field(1, size, signed, False, exponent)
    registers = [7] * (size + 2)
    field.put(registers, field.raw(value))
    every = 1 << 16 * size
    low, high = (-(every // 2 - 1), every // 2 - 1) if signed else (0, every - 2)
    expected = min(high, max(low, value / 10.0**exponent)) * 10.0**exponent
    assert field.value(registers) == pytest.approx(expected, abs=0.51 * 10.0**exponent)
    assert field.raw(value) != field.missing
    assert registers[0] == registers[-1] == 7


@pytest.mark.parametrize(("size", "signed", "missing"), [(1, True, 0x8000), (1, False, 0xFFFF), (2, True, 0x80000000)])
def test_none_is_not_implemented(size: int, signed: bool, missing: int) -> None:
    assert Field(0, size, signed, False, 0).raw(None) == missing


def test_accumulators_wrap() -> None:
    assert Field(0, 2, False, True, 0).raw(2**32 + 5) == 5


@given(most=st.floats(1, 1e9), signed=st.booleans())
def test_scale_factor_is_the_finest_that_holds(most: float, signed: bool) -> None:
    exponent, limit = exponent_for(most, signed), 0x7FFF if signed else 0xFFFE
    assert most / 10.0**exponent <= limit
    assert exponent == -2 or most / 10.0 ** (exponent - 1) > limit


def image_with(log: list[tuple[str, float]]) -> Image:
    def write(name: str, high: float) -> Write:
        return Write(lambda value: log.append((name, value)), 0, high)

    return plain_image(
        4,
        {
            "fixed": (Field(0, 1, False, False, 0), 9, None, None),
            "small": (Field(1, 1, False, False, 0), 3, None, write("small", 10)),
            "wide": (Field(2, 2, False, False, 0), 0, None, write("wide", 100_000)),
        },
    )


def test_a_write_is_obeyed_in_order_and_says_what_changed() -> None:
    log: list[tuple[str, float]] = []
    image = image_with(log)
    assert image.write(image.start, 1, [3, 1, 0]) == ["wide"]
    assert log == [("small", 3), ("wide", 65536)]


@pytest.mark.parametrize(("address", "values", "code"), [(0, [1], 2), (0, [1, 2], 2), (1, [11], 3), (1, [5, 2, 0], 3)])
def test_a_refused_write_changes_nothing(address: int, values: list[int], code: int) -> None:
    log: list[tuple[str, float]] = []
    image = image_with(log)
    with pytest.raises(RefusedWrite) as refused:
        image.write(image.start, address, values)
    assert refused.value.code == code
    assert log == []


def test_half_of_a_wide_number_keeps_the_other_half() -> None:
    log: list[tuple[str, float]] = []
    image = image_with(log)
    image.write([9, 3, 1, 7], 3, [8])
    assert log == [("wide", 65544)]
