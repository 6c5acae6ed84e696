"""What cannot be true of a GPU is missing, with a note; what can be true is shown, however bad."""

from __future__ import annotations

from typing import Any

import pytest
from nvml_stub import StubGpu, StubNvml

from dispatch.model.equipment import Gpu
from drivers.nodes.gpu_readings import read_gpu

BLANK_32, BLANK_64 = 0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0  # DCGM_INT32_BLANK, DCGM_INT64_BLANK


def look(**keys: Any) -> tuple[Gpu, str]:
    gpu = StubGpu("GPU-5f1c2a3b-77", **keys)
    found, notes = read_gpu(StubNvml(gpu), 1, gpu)
    return found, "; ".join(notes)


@pytest.mark.parametrize("power", [0xFFFFFFFF, BLANK_32, BLANK_64, 6_123_000_000, 1_400_001, -1])
def test_power_that_no_such_board_draws_is_missing(power: int) -> None:
    found, note = look(power=power)
    assert found.w.value is None
    assert note.startswith("GPU 1 (GPU-5f1c2a3b) says ")
    assert note.endswith("its board allows 700 W")
    assert found.util_pct.value == 50, "the other values stay"


@pytest.mark.parametrize(
    ("constraints", "most"), [(None, 2_500_000), ((0, 0xFFFFFFFF), 2_500_000), ((0, 0), 2_500_000)]
)
def test_a_board_that_does_not_say_its_limit_has_a_fixed_bound(constraints: Any, most: int) -> None:
    assert look(power=most, constraints=constraints)[0].w.value == most / 1000
    found, note = look(power=most + 1000, constraints=constraints)
    assert found.w.value is None
    assert "its board's limit is not known" in note


def test_a_gpu_that_ignores_its_cap_is_shown_and_named() -> None:
    found, note = look(power=650_000, limit=250_000)
    assert found.w.value == 650
    assert note == "GPU 1 (GPU-5f1c2a3b) draws 650 W, its limit is 250 W"
    assert look(power=270_000, limit=250_000)[1] == "", "NVML's mean may pass the limit a little"


@pytest.mark.parametrize("util", [101, 808334905, 0xFFFFFFFF, BLANK_64])
def test_use_beyond_all_of_it_is_missing(util: int) -> None:
    found, note = look(util=util)
    assert (found.util_pct.value, found.w.value) == (None, 300)
    assert "% use" in note


@pytest.mark.parametrize("temp", [511, -1, 0xFFFFFFFF, BLANK_32])
def test_temperature_of_no_silicon_is_missing(temp: int) -> None:
    found, note = look(temp=temp)
    assert found.temp_c.value is None
    assert "°C" in note


def test_more_memory_in_use_than_there_is_is_missing() -> None:
    assert look(used=2**36 + 1)[0].memory_used_mib.value is None
    assert look(used=BLANK_64, total=BLANK_64)[0].memory_used_mib.value is None
    assert look(used=2**36)[0].memory_used_mib.value == 65536


def test_no_power_at_full_use_is_missing() -> None:
    found, note = look(power=0, util=98)
    assert found.w.value is None
    assert note.endswith("says 0 W at 98 % use")
    assert look(power=0, util=0)[0].w.value == 0


def test_a_limit_of_board_or_chassis_below_the_one_set_is_told() -> None:
    found, note = look(limit=700_000, enforced=400_000)
    assert (found.limit_w.value, found.enforced_w.value) == (700, 400)
    assert note.endswith("is held at 400 W, 700 W are set")
    assert look(limit=BLANK_64, enforced=0xFFFFFFFF)[0].limit_w.value is None
    assert look()[1] == ""


def test_what_a_gpu_does_not_offer_is_missing_alone() -> None:
    found, note = look(util=None, limit=None, power=None, temp=None)
    assert (found.w.value, found.util_pct.value, found.limit_w.value) == (None, None, None)
    assert found.memory_used_mib.value == 1024
    assert note == "GPU 1 (GPU-5f1c2a3b) gives no power (Not Supported)"
