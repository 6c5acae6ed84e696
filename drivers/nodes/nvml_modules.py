"""Reads and sets the power limit of a module of GPU and CPU, as GH200 and GB200 have it, by NVML.

NVML_POWER_SCOPE_MODULE "targets the whole module", for instance GPU and CPU (nvml.h). It is set by
nvmlDeviceSetPowerManagementLimit_v2 and read by the fields NVML_FI_DEV_POWER_* with the scope as their scopeId. The
binding (nvidia-ml-py 13.615.71, pynvml.py) drops what that setter returns: only what is read back counts. Written
after these sources and tried on a stub, on no such machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from drivers.nodes.nvml_calls import asked

FIELDS = ("REQUESTED", "CURRENT", "DEFAULT", "MIN", "MAX")  # of NVML_FI_DEV_POWER_*_LIMIT
SCOPE, SETTER = "NVML_POWER_SCOPE_MODULE", "nvmlDeviceSetPowerManagementLimit_v2"
INTEGERS = {1: "uiVal", 2: "ulVal", 3: "ullVal"}  # nvmlValueType_t, nvml.h
CPU_WORDS = 64  # of 64 CPUs each
MOST_MW = 10_000_000


class ModuleLimits(msgspec.Struct, frozen=True):
    """The limit of the module that a GPU is on, mW. `cpus`: the CPUs beside it, by which modules are told apart."""

    limit_mw: int
    low_mw: int
    high_mw: int
    default_mw: int | None
    enforced_mw: int | None
    cpus: tuple[int, ...]


def module_limits(nvml: Any, handle: Any) -> ModuleLimits | None:
    """None: the GPU is on no module whose limit can be set, or driver or binding cannot say."""
    fields = [getattr(nvml, f"NVML_FI_DEV_POWER_{name}_LIMIT", None) for name in FIELDS]
    scope = getattr(nvml, SCOPE, None)
    if scope is None or None in fields or not hasattr(nvml, SETTER):
        return None
    values, _ = asked(nvml, "nvmlDeviceGetFieldValues", handle, [(field, scope) for field in fields])
    requested, current, default, low, high = map(_milliwatts, values or [None] * len(FIELDS))
    limit_mw = requested or current
    if limit_mw is None or low is None or high is None or not low <= limit_mw <= high or low == high:
        return None
    cpus, _ = asked(nvml, "nvmlDeviceGetCpuAffinity", handle, CPU_WORDS)
    return ModuleLimits(limit_mw, low, high, default, current, tuple(cpus or ()))


def set_module_limit(nvml: Any, handle: Any, wanted_mw: int) -> int | None:
    """Set it; what it is then, mW; None: it cannot be read."""
    nvml.nvmlDeviceSetPowerManagementLimit_v2(handle, nvml.NVML_POWER_SCOPE_MODULE, wanted_mw)
    held = module_limits(nvml, handle)
    return None if held is None else held.limit_mw


def gpus_a_module(modules: Sequence[ModuleLimits]) -> int:
    """How many GPUs share a module: GH200 has one, GB200 two. Those beside the same CPUs are on one.

    Where modules differ the smallest counts, and where CPUs are not told each GPU, so that no cap is exceeded.
    """
    beside = Counter(module.cpus for module in modules)
    return 1 if () in beside else min(beside.values(), default=1)


def _milliwatts(value: Any) -> int | None:
    """The value of a field; None: there is none, or no machine has such a one."""
    if value is None or value.nvmlReturn != 0 or value.valueType not in INTEGERS:
        return None
    mw = int(getattr(value.value, INTEGERS[value.valueType]))
    return mw if 0 < mw <= MOST_MW else None
