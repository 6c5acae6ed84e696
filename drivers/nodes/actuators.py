"""Carries out orders to a compute node: by register map, NVML power limit, cgroup freezer or the site's commands.

A command of the site file (`on_cap`, `on_suspend` ...) goes before what Skerry could do by itself. Commands are lists
of arguments, run without a shell, in a session of their own that is ended when they take too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dispatch.model.islanding import NodeOrder
from dispatch.wording.catalogue import words
from drivers.config import NodeDevice
from drivers.modbus.errors import DeviceError
from drivers.nodes.modbus_node import NodeDriver

FREEZE_POLL_S = 0.05
SHOWN = 200  # of a command's output
FREE = NodeOrder("")  # no cap, running


class CannotObey(DeviceError):
    """The node has no way to do what is ordered, or refuses it."""

    advice = "see the node's section in the site file"


class CommandRun(msgspec.Struct, frozen=True):
    """What came of a command. `code` None: it was ended because it took too long."""

    args: tuple[str, ...]
    code: int | None
    output: str  # the last of stdout and stderr


class Power(Protocol):
    """Sets the power limit of this machine's GPUs. Raises DeviceError."""

    def limit(self, watts: float | None) -> str: ...


async def run_command(args: tuple[str, ...], timeout_s: float) -> CommandRun:
    """Run it. Raises CannotObey when it cannot be started."""
    try:
        process = await asyncio.create_subprocess_exec(
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotObey(args[0], f"cannot be run: {error.strerror}", "check path and permissions") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
        code = process.returncode
    except TimeoutError:
        output, code = b"", None
    finally:
        if process.returncode is None:  # its whole session, whatever it started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return CommandRun(args, code, output.decode(errors="replace").strip()[-SHOWN:])


class NodeActuator:
    """Brings one node to what is ordered, by the difference to what it did before."""

    def __init__(self, config: NodeDevice, driver: NodeDriver | None = None, power: Power | None = None) -> None:
        self.id, self._config, self._driver, self._power = config.id, config, driver, power
        self._held = FREE

    @property
    def can_cap(self) -> bool:
        """Whether the node's power can be capped at all."""
        return bool(self._config.on_cap) or self._driver is not None or self._power is not None

    def forget_cap(self) -> None:
        """What cap it has is not known any more: the next order writes it."""
        self._held = msgspec.structs.replace(self._held, cap_w=-1.0)

    async def apply(self, order: NodeOrder) -> list[str]:
        """Do it; return a line for each thing done. Raises DeviceError; what was done until then is remembered."""
        wanted = msgspec.structs.replace(order, device_id="", reason="")
        done: list[str] = []
        for step in self._steps(wanted):
            done.append(await self._do(step, order))
            self._held = msgspec.structs.replace(self._held, **_state(step, wanted))
        return done

    def _steps(self, wanted: NodeOrder) -> list[str]:
        """What differs, gentle things first on the way down, last on the way up."""
        held, steps = self._held, []
        if held.off and not wanted.off:
            steps.append("start")
        if wanted.cap_w != held.cap_w:
            steps.append("uncap" if wanted.cap_w is None else "cap")
        if wanted.suspended != held.suspended:
            steps.append("suspend" if wanted.suspended else "resume")
        if wanted.off and not held.off:
            steps.append("shutdown")
        return steps

    async def _do(self, step: str, order: NodeOrder) -> str:
        command: tuple[str, ...] = getattr(self._config, f"on_{step}")
        if command:
            return await self._run(step, command, order)
        if self._driver is not None:
            return f"{step}: {await self._driver.order(order)}"
        if step in ("cap", "uncap") and self._power is not None:
            return f"{step}: {await asyncio.to_thread(self._power.limit, order.cap_w)}"
        if step in ("suspend", "resume") and self._config.freeze:
            frozen = step == "suspend"
            return f"{step}: {await freeze(Path(self._config.freeze), frozen, self._config.command_timeout_s)}"
        raise CannotObey(self.id, f"no way to {step} it", f"add on_{step} to its [[node]]")

    async def _run(self, step: str, command: tuple[str, ...], order: NodeOrder) -> str:
        gpus = max(self._config.gpus, 1)
        cap_w = order.cap_w or 0.0
        values = {
            "node": self.id,
            "watts": f"{cap_w:.0f}",
            "watts_per_gpu": f"{cap_w / gpus:.0f}",
            "reason": words(order.reason),
        }
        args = tuple(_filled(part, values) for part in command)
        ran = await run_command(args, self._config.command_timeout_s)
        if ran.code is None:
            raise CannotObey(self.id, f"on_{step} was ended after {self._config.command_timeout_s:g} s: {args[0]}")
        if ran.code != 0:
            raise CannotObey(self.id, f"on_{step} ({args[0]}) ended with {ran.code}: {ran.output or 'no output'}")
        return f"{step}: {args[0]} ended well"


def _filled(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace("{" + name + "}", value)
    return part


def _state(step: str, wanted: NodeOrder) -> dict[str, Any]:
    if step in ("cap", "uncap"):
        return {"cap_w": wanted.cap_w}
    if step in ("suspend", "resume"):
        return {"suspended": wanted.suspended}
    return {"off": wanted.off}


async def freeze(cgroup: Path, frozen: bool, timeout_s: float) -> str:
    """Freeze or thaw a cgroup v2 and wait until the kernel confirms it in cgroup.events.

    Raises CannotObey: no such cgroup, no permission, or not confirmed in time.
    """
    word = f"frozen {int(frozen)}"
    try:
        (cgroup / "cgroup.freeze").write_text("1" if frozen else "0")
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while word not in (cgroup / "cgroup.events").read_text(errors="replace").splitlines():
            if asyncio.get_running_loop().time() > deadline_s:
                raise CannotObey(str(cgroup), f"cgroup.events does not say '{word}' after {timeout_s:g} s")
            await asyncio.sleep(FREEZE_POLL_S)
    except OSError as error:
        raise CannotObey(str(cgroup), f"{error.strerror}", "check the path, and that Skerry may write there") from None
    return word


class NvmlPower:
    """Power limits of every GPU of this machine, by NVML. What was set before is put back when the cap goes.

    Needs root; the driver forgets limits when it is unloaded. `nvml`: the module `pynvml`, given so that nothing loads
    it needlessly.
    """

    def __init__(self, node: str, nvml: Any) -> None:
        self._node, self._nvml = node, nvml
        self._before: dict[int, int] = {}  # mW

    def limit(self, watts: float | None) -> str:
        """Share `watts` evenly, within what each GPU allows; None puts back what was. Raises CannotObey."""
        nvml = self._nvml
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise CannotObey(self._node, f"NVML: {error}", "check the NVIDIA driver") from None
        try:
            return self._each(watts)
        except nvml.NVMLError as error:
            raise CannotObey(self._node, f"NVML: {error}", "setting a power limit needs root") from None
        finally:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()

    def _each(self, watts: float | None) -> str:
        nvml, words = self._nvml, []
        count = int(nvml.nvmlDeviceGetCount())
        if count == 0:
            raise CannotObey(self._node, "no GPU", "remove cap_w or give on_cap")
        for index in range(count):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            if watts is None:
                wanted_mw = self._before.pop(index, None) or int(nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle))
            else:
                self._before.setdefault(index, int(nvml.nvmlDeviceGetPowerManagementLimit(handle)))
                low_mw, high_mw = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
                wanted_mw = min(max(round(1000 * watts / count), int(low_mw)), int(high_mw))
            nvml.nvmlDeviceSetPowerManagementLimit(handle, wanted_mw)
            held_mw = int(nvml.nvmlDeviceGetPowerManagementLimit(handle))
            if held_mw != wanted_mw:
                raise CannotObey(self._node, f"GPU {index} holds {held_mw / 1000:g} W, {wanted_mw / 1000:g} W were set")
            words.append(f"GPU {index} {wanted_mw / 1000:g} W")
        return ", ".join(words)


def make_actuators(nodes: tuple[NodeDevice, ...], drivers: dict[str, Any]) -> dict[str, NodeActuator]:
    """One for each node; `drivers` by id, as they are read with."""

    def power(config: NodeDevice) -> Power | None:
        if config.source != "nvml" or config.cap_w is None or config.on_cap:
            return None
        import pynvml  # only here: it takes a while to load

        return NvmlPower(config.id, pynvml)

    return {n.id: NodeActuator(n, d if hasattr(d := drivers.get(n.id), "order") else None, power(n)) for n in nodes}
