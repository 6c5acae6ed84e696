"""Modules of GPU and CPU (GH200, GB200), on a stub: the limit is the module's, the host is not taken off twice."""

from __future__ import annotations

from typing import Any

import pynvml
import pytest
from nvml_stub import StubGpu, StubNvml, power

from dispatch.model.islanding import NodeOrder
from drivers.node_config import NodeDevice
from drivers.nodes.actuators import NodeActuator
from drivers.nodes.errors import CannotObey
from drivers.nodes.gpu_readings import read_gpu
from drivers.nodes.nvml_modules import gpus_a_module, module_limits


def module(**limits: int) -> dict[str, int]:
    """As a GH200 has it: 1000 W for both, 900 W for the GPU."""
    return {"SET": 1_000_000, "DEFAULT": 1_000_000, "MIN": 200_000, "MAX": 1_000_000} | limits


def gh200(count: int = 2, **keys: Any) -> StubNvml:
    """Each GPU with a CPU of its own."""
    return StubNvml(*(StubGpu(f"GPU-{n:08x}-0000", module=module(), cpus=(n + 1, 0), **keys) for n in range(count)))


def gb200() -> StubNvml:
    """Four GPUs, two beside each CPU, on one module each two."""
    shared = [module(SET=2_500_000, DEFAULT=2_500_000, MAX=2_500_000) for _ in range(2)]
    gpus = [StubGpu(f"GPU-{n:08x}-0000", module=shared[n // 2], cpus=(1 << n // 2, 0)) for n in range(4)]
    return StubNvml(*gpus)


def held(nvml: StubNvml) -> list[int]:
    return [(gpu.module or {})["SET"] // 1000 for gpu in nvml.gpus]


async def test_a_cap_of_the_node_is_shared_by_its_modules_with_nothing_taken_off_for_the_host() -> None:
    nvml = gh200()
    config = NodeDevice(id="n", source="nvml", cap_w=1_300, full_w=300)
    actuator = NodeActuator(config, power=power(nvml))
    assert await actuator.apply(NodeOrder("n", cap_w=1_300)) == [
        "cap: GPU 0 (GPU-00000000) module 650 W, GPU 1 (GPU-00000001) module 650 W"
    ]
    assert held(nvml) == [650, 650]
    assert [gpu.limit for gpu in nvml.gpus] == [500_000] * 2, "the GPUs' own limits are left"
    await actuator.apply(NodeOrder("n"))
    assert held(nvml) == [1000, 1000]


def test_modules_with_two_gpus_each_are_counted_by_the_cpus_beside_them() -> None:
    nvml = gb200()
    one = power(nvml, declared_w=1_000)
    one.limit(3_000, whole_w=3_600)
    assert held(nvml) == [1800] * 4
    one.limit(None)
    assert held(nvml) == [2500] * 4, "gpu_limit_w is one of a GPU"
    found = [found for gpu in nvml.gpus if (found := module_limits(nvml, gpu)) is not None]
    assert gpus_a_module(found) == 2
    nvml.gpus[0].cpus = ()
    unknown = [found for gpu in nvml.gpus if (found := module_limits(nvml, gpu)) is not None]
    assert gpus_a_module(unknown) == 1, "rather too little than more than the cap"


def test_what_is_not_read_back_was_not_set_whatever_the_binding_returns() -> None:
    nvml = gh200(refuses=pynvml.NVML_ERROR_NO_PERMISSION)
    with pytest.raises(CannotObey, match=r"its module holds 1000 W, 650 W were set, which needs root"):
        power(nvml).limit(1_000, whole_w=1_300)
    assert nvml.sets == []


def test_another_s_limit_of_a_module_is_left_and_one_lost_in_a_reset_is_set_again() -> None:
    nvml = gh200()
    one = power(nvml)
    one.limit(1_000, whole_w=1_300)
    nvml.gpus[0].module = module()  # a reset
    one.limit(1_000, whole_w=1_300)
    assert held(nvml) == [650, 650]
    nvml.gpus[0].module = module(SET=720_000)
    with pytest.raises(CannotObey, match="is at 720 W, which another program has set"):
        one.limit(1_000, whole_w=1_300)
    assert one.changed_by_others == "GPU 0 (GPU-00000000) 720 W"


@pytest.mark.parametrize(
    "limits", [{}, {"SET": 1_000_000}, module(MIN=1_000_000), module(SET=3_000_000), module(SET=0x7FFFFFF0)]
)
def test_a_gpu_whose_module_cannot_be_limited_is_capped_by_its_own_limit(limits: dict[str, int]) -> None:
    nvml = gh200()
    nvml.gpus[1].module = limits
    assert module_limits(nvml, nvml.gpus[1]) is None
    power(nvml).limit(800, whole_w=1_300)
    assert [gpu.limit for gpu in nvml.gpus] == [400_000] * 2, "one scope for all"
    assert nvml.gpus[0].module == module()


def test_a_driver_or_binding_without_modules_is_asked_no_more() -> None:
    class Old(StubNvml):
        nvmlDeviceSetPowerManagementLimit_v2 = property()  # type: ignore[assignment]

    assert module_limits(Old(StubGpu("GPU-a", module=module())), StubGpu("GPU-a")) is None


def test_a_module_that_is_limited_is_told() -> None:
    nvml = gh200()
    assert read_gpu(nvml, 0, nvml.gpus[0])[1] == []
    nvml.gpus[0].module = module(SET=650_000)
    (note,) = read_gpu(nvml, 0, nvml.gpus[0])[1]
    assert note == "GPU 0 (GPU-00000000) is on a module that is limited to 650 W"
