"""Orders to compute nodes: commands without a shell, the cgroup freezer, NVML limits, the register map."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from dispatch.model.islanding import NodeOrder
from dispatch.model.reasons import plain
from drivers.config import NodeDevice
from drivers.modbus.errors import DeviceError
from drivers.nodes.actuators import CannotObey, NodeActuator, NvmlPower, freeze, make_actuators, run_command

PY = sys.executable


def node(**keys: Any) -> NodeDevice:
    return NodeDevice(id="gpu-1", source="psutil", **keys)


def writes(path: Path, *words: str) -> tuple[str, ...]:
    """A command that appends its arguments, one line."""
    return (PY, "-c", "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + chr(10))", str(path), *words)


async def test_commands_get_their_figures_and_no_shell(tmp_path: Path) -> None:
    log = tmp_path / "log"
    actuator = NodeActuator(
        node(
            gpus=4,
            on_cap=writes(log, "cap", "{node}", "{watts}", "{watts_per_gpu}", "{reason}"),
            on_uncap=writes(log, "uncap"),
            on_suspend=writes(log, "suspend"),
            on_resume=writes(log, "resume"),
            on_shutdown=writes(log, "down"),
            on_start=writes(log, "up"),
        )
    )
    reason = "left; $(touch pwned) `x` | y"
    await actuator.apply(NodeOrder("gpu-1", cap_w=1200, reason=plain(reason)))
    await actuator.apply(NodeOrder("gpu-1", cap_w=1200, suspended=True, reason=plain(reason)))
    await actuator.apply(NodeOrder("gpu-1", cap_w=1200, suspended=True, off=True))
    assert await actuator.apply(NodeOrder("gpu-1", cap_w=1200, suspended=True, off=True)) == []
    await actuator.apply(NodeOrder("gpu-1"))
    assert log.read_text().splitlines() == [
        f"cap gpu-1 1200 300 {reason}",
        "suspend",
        "down",
        "up",
        "uncap",
        "resume",
    ]


async def test_a_command_that_fails_says_how_and_is_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = "import os, sys; print('no such node'); sys.exit(0 if os.path.exists(sys.argv[1]) else 3)"
    actuator = NodeActuator(node(on_cap=(PY, "-c", code, str(flag))))
    with pytest.raises(CannotObey, match=r"on_cap \(.*\) ended with 3: no such node"):
        await actuator.apply(NodeOrder("gpu-1", cap_w=500))
    flag.touch()
    assert len(await actuator.apply(NodeOrder("gpu-1", cap_w=500))) == 1


async def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    ran = await run_command(("/bin/sh", "-c", 'sleep 600 & echo $! > "$0"; wait', str(pid_file)), 2.0)
    assert ran.code is None

    def gone() -> bool:
        status = Path(f"/proc/{pid_file.read_text().strip()}/status")
        return not status.exists() or "State:\tZ" in status.read_text()

    await until(gone)


async def test_a_command_that_cannot_be_run() -> None:
    with pytest.raises(CannotObey, match="cannot be run: No such file"):
        await run_command(("/nonexistent/tool",), 1.0)


async def test_no_way_to_obey_names_the_key() -> None:
    with pytest.raises(CannotObey, match="no way to suspend it; add on_suspend"):
        await NodeActuator(node()).apply(NodeOrder("gpu-1", suspended=True))


async def test_the_freezer_is_believed_only_once_the_kernel_confirms(tmp_path: Path) -> None:
    (tmp_path / "cgroup.freeze").write_text("0")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(CannotObey, match="does not say 'frozen 1'"):
        await freeze(tmp_path, True, 0.1)
    assert (tmp_path / "cgroup.freeze").read_text() == "1"
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    done = await NodeActuator(node(freeze=str(tmp_path))).apply(NodeOrder("gpu-1", suspended=True))
    assert done == ["suspend: frozen 1"]
    with pytest.raises(CannotObey, match="No such file"):
        await freeze(tmp_path / "none", True, 0.1)


class FakeNvml:
    """Two GPUs of 100..300 W at 250 W; `refuse` stands for a user that is not root."""

    class NVMLError(Exception):
        pass

    def __init__(self, refuse: bool = False) -> None:
        self.limits, self.refuse = [250_000, 220_000], refuse

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return len(self.limits)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:
        return self.limits[handle]

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: int) -> int:
        return 300_000

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle: int) -> tuple[int, int]:
        return 100_000, 300_000

    def nvmlDeviceSetPowerManagementLimit(self, handle: int, limit_mw: int) -> None:
        if self.refuse:
            raise self.NVMLError("Insufficient Permissions")
        self.limits[handle] = limit_mw


def test_nvml_limits_stay_in_range_and_come_back_as_they_were() -> None:
    nvml = FakeNvml()
    power = NvmlPower("gpu-1", nvml)
    assert power.limit(360.0) == "GPU 0 180 W, GPU 1 180 W"
    power.limit(50.0)
    assert nvml.limits == [100_000, 100_000]
    power.limit(None)
    assert nvml.limits == [250_000, 220_000]
    with pytest.raises(CannotObey, match="Insufficient Permissions; setting a power limit needs root"):
        NvmlPower("gpu-1", FakeNvml(refuse=True)).limit(360.0)


def test_what_may_be_asked_of_a_node_follows_from_its_section() -> None:
    assert not node(cap_w=500).terms.cap_w, "psutil alone cannot cap"
    assert node(cap_w=500, on_cap=("x",)).terms.cap_w == 500
    assert not node(on_suspend=("x",)).terms.can_suspend, "what is suspended must be resumed"
    served = NodeDevice(id="n", source="modbus", cap_w=900).terms
    assert (served.cap_w, served.can_suspend, served.can_shutdown) == (900, True, True)
    assert set(make_actuators((node(), NodeDevice(id="n", source="modbus")), {})) == {"gpu-1", "n"}
    assert issubclass(CannotObey, DeviceError)
