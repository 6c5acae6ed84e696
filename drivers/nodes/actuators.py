"""Carries out orders to a compute node: by register map, power limit, cgroup freezer or the site's commands.

A command of the site file (`on_cap`, `on_suspend` ...) goes before what Skerry could do by itself. Commands are lists
of arguments, run without a shell, in a session of their own that is ended when they take too long. One that fails has
done nothing, as far as it goes: it is named and run again, and nothing is undone for it. One that was ended, and a
write to a register map that failed, may have done all of it: it is done again, and undone once it is not wanted any
more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dispatch.model.islanding import LASTING, NodeOrder
from dispatch.wording.catalogue import words
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.bmc_limits import BmcPower, KeptLimits, LimitOrders
from drivers.nodes.errors import CannotObey
from drivers.nodes.gpu_limits import NvmlPower
from drivers.nodes.known_gpus import KnownGpus
from drivers.nodes.modbus_node import NodeDriver

FREEZE_POLL_S = 0.05
MOST_COMMANDS = 50  # of all nodes at once
SHOWN = 200  # of a command's output
FREE = NodeOrder("")  # no cap, running


class CommandRun(msgspec.Struct, frozen=True):
    """What came of a command. `code` None: it was ended because it took too long."""

    args: tuple[str, ...]
    code: int | None
    output: str  # the last of stdout and stderr


class Power(Protocol):
    """Sets the power limit of this machine's GPUs, in a thread. Raises DeviceError."""

    @property
    def capped(self) -> bool: ...

    @property
    def not_kept(self) -> str: ...

    @property
    def changed_by_others(self) -> str: ...

    def suspect(self) -> None: ...

    def limit(self, watts: float | None, ride_through: bool = False, whole_w: float | None = None) -> str: ...


class NotKnown(CannotObey):
    """A command was ended before it was done: nobody knows what it has done."""


async def run_command(args: tuple[str, ...], timeout_s: float) -> CommandRun:
    """Run it; of its output the end is kept. Raises CannotObey when it cannot be started."""
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
        async with asyncio.timeout(timeout_s):
            output, code = await _ended(process)
    except TimeoutError:
        output, code = b"", None
    finally:
        if process.returncode is None:  # its whole session, whatever it started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return CommandRun(args, code, output.decode(errors="replace").strip()[-SHOWN:])


async def _ended(process: asyncio.subprocess.Process) -> tuple[bytes, int]:
    """The end of what a process says, and its exit code. However much it says, no more is held."""
    assert process.stdout is not None
    output = b""
    while part := await process.stdout.read(1 << 16):
        output = (output + part)[-4 * SHOWN :]
    return output, await process.wait()


class NodeActuator:
    """Brings one node to what is ordered, by the difference to what it did before."""

    def __init__(
        self,
        config: NodeDevice,
        driver: NodeDriver | None = None,
        power: Power | BmcPower | None = None,
        commands: asyncio.Semaphore | None = None,
    ) -> None:
        """`commands`: how many of them may run at once, shared by all nodes."""
        self.id, self._config, self._driver, self._power = config.id, config, driver, power
        self._commands = commands or asyncio.Semaphore(MOST_COMMANDS)
        self._held = FREE
        self._unsure: set[str] = set()  # fields of an order that a command may have brought about

    @property
    def can_cap(self) -> bool:
        """Whether the node's power can be capped at all."""
        return bool(self._config.on_cap) or self._watches_cap

    @property
    def _watches_cap(self) -> bool:
        """Whether a cap can be read back, and so be set again where it was lost."""
        by_limit = self._power is not None and self._config.cap_w is not None
        return not self._config.on_cap and (by_limit or self._driver is not None)

    @property
    def holds_cap(self) -> bool:
        """Whether it holds a cap that is to be looked after."""
        return self._watches_cap and self._held.cap_w is not None

    @property
    def may_be_capped(self) -> bool:
        """Whether a power limit of ours may be in force, also of an earlier run."""
        return self._power is not None and self._power.capped

    @property
    def lifts_slowly(self) -> bool:
        """Whether it may be capped by its BMC, which takes seconds to lift."""
        return isinstance(self._power, BmcPower) and self._power.capped

    @property
    def not_kept(self) -> str:
        """Why the limits from before a cap in force are not on disk; empty: they are."""
        return "" if self._power is None else self._power.not_kept

    @property
    def changed_by_others(self) -> str:
        """Power limits that another program has set under a cap, and that were left; empty: none."""
        return "" if self._power is None else self._power.changed_by_others

    def forget_cap(self) -> None:
        """What cap it has is not known any more: the next order writes it."""
        self._held = msgspec.structs.replace(self._held, cap_w=-1.0)
        if self._power is not None and not isinstance(self._power, BmcPower):
            self._power.suspect()

    @property
    def may_hold(self) -> frozenset[str]:
        """What holds on it or may, by the fields of an order, until it is undone."""
        return self._held.lasting | self._unsure

    def assume(self, fields: Iterable[str]) -> None:
        """An earlier run has ordered this, and nobody knows whether it holds: it is ordered anew, or undone.

        `fields` of an order. What the site file knows no way to undo any more is left as it is.
        """
        self._unsure |= {field for field in fields if field in LASTING and self._can_undo(field)}

    def _can_undo(self, field: str) -> bool:
        if self._driver is not None or getattr(self._config, f"on_{UNDO[field]}"):
            return True
        return (field == "cap_w" and self._power is not None) or (field == "suspended" and bool(self._config.freeze))

    async def apply(self, order: NodeOrder, ride_through: bool = False) -> list[str]:
        """Do it; return a line for each thing done. `ride_through`: the site lives on its battery.

        Raises DeviceError, after all was tried; what was done is remembered.
        """
        wanted = msgspec.structs.replace(order, device_id="", reason="")
        done: list[str] = []
        errors: list[DeviceError] = []
        ended = {"saving": self._held.saving and wanted.saving, "requeued": self._held.requeued and wanted.requeued}
        self._held = msgspec.structs.replace(self._held, **ended)  # nothing is to be done for it
        for step in self._steps(wanted):
            before = frozenset(self._unsure)
            self._unsure |= {STATES[step]} & set(LASTING)  # until it has ended, and if this is cancelled
            try:
                done.append(await self._do(step, order, ride_through))
            except DeviceError as error:  # a cap that fails must not keep a node from being suspended or shut down
                errors.append(error)
                if STATES[step] not in before and not self._may_have_done(step, error):
                    self._unsure.discard(STATES[step])
                continue
            self._unsure.discard(STATES[step])
            self._held = msgspec.structs.replace(self._held, **_state(step, wanted))
        if errors:
            raise _together(errors)
        return [line for line in done if line]

    def _steps(self, wanted: NodeOrder) -> list[str]:
        """What differs, always in this order: a node is back before it is capped, and capped before its jobs go.

        hold: the cap is the same, but is read back and set again where it was lost.
        """
        held, cap = self._held, self._cap_step(wanted)
        suspension = "suspend" if wanted.suspended else "resume"
        steps = (
            ("start", self._may_be("off") and not wanted.off),
            ("power_on", self._may_be("off_when_empty") and not (wanted.off_when_empty or wanted.off)),
            ("stop_starts", wanted.starts_stopped and not held.starts_stopped),
            (cap, bool(cap)),
            ("checkpoint", wanted.saving and not held.saving),
            ("requeue", wanted.requeued and not held.requeued),
            (suspension, wanted.suspended != held.suspended or "suspended" in self._unsure),
            ("power_off", wanted.off_when_empty and not held.off_when_empty),
            ("shutdown", wanted.off and not held.off),
            ("allow_starts", self._may_be("starts_stopped") and not wanted.starts_stopped),
        )
        return [step for step, differs in steps if differs]

    def _may_have_done(self, step: str, error: DeviceError) -> bool:
        """A command that ended badly has done nothing; a write that was not answered may have come through.

        Of a power limit what it was is on record before it is set.
        """
        if self._command(step):
            return isinstance(error, NotKnown)
        return self._driver is not None or (STATES[step] == "cap_w" and self.may_be_capped)

    def _command(self, step: str) -> tuple[str, ...]:
        command: tuple[str, ...] = () if step == "hold" else getattr(self._config, f"on_{step}")
        return command

    def _may_be(self, field: str) -> bool:
        """Whether the node is so, or may be: the command for it was ended before it was done."""
        return getattr(self._held, field) or field in self._unsure

    def _cap_step(self, wanted: NodeOrder) -> str:
        """cap, uncap, hold, or nothing."""
        if wanted.cap_w != self._held.cap_w or "cap_w" in self._unsure:
            return "uncap" if wanted.cap_w is None else "cap"
        return "hold" if self._watches_cap and not wanted.off and wanted.cap_w is not None else ""

    async def _do(self, step: str, order: NodeOrder, ride_through: bool) -> str:
        """One step; what was done, or nothing where a cap is held as it should be."""
        command = self._command(step)
        if step == "uncap" and command and self.may_be_capped:
            await self._limit(order, ride_through)  # from before the site file had commands
        if command:
            return await self._run(step, command, order)
        if self._driver is not None:
            return _said(step, await self._driver.order(order))
        if step in ("cap", "uncap", "hold") and self._power is not None:
            return _said(step, await self._limit(order, ride_through))
        if step in ("suspend", "resume") and self._config.freeze:
            frozen = step == "suspend"
            return f"{step}: {await freeze(Path(self._config.freeze), frozen, self._config.command_timeout_s)}"
        raise CannotObey(self.id, f"no way to {step} it", f"add on_{step} to its [[node]]")

    async def _limit(self, order: NodeOrder, ride_through: bool) -> str:
        """Set the node's power limit in its BMC; or those of its GPUs: a node's cap less what its host may draw."""
        assert self._power is not None
        if isinstance(self._power, BmcPower):
            return await self._power.limit(order.cap_w, ride_through)
        gpus_w = None if order.cap_w is None else self._gpus_w(order.cap_w)
        return await asyncio.to_thread(self._power.limit, gpus_w, ride_through, order.cap_w)

    def _gpus_w(self, cap_w: float) -> float:
        """What a cap of the node leaves to its GPUs: the host may draw the power that it has at full CPU use."""
        return max(cap_w - self._config.full_w, 0.0)

    async def _run(self, step: str, command: tuple[str, ...], order: NodeOrder) -> str:
        gpus, cap_w = max(self._config.gpus, 1), order.cap_w or 0.0
        values = {
            "node": self.id,
            "watts": f"{cap_w:.0f}",
            "watts_per_gpu": f"{self._gpus_w(cap_w) / gpus:.0f}",
            "checkpoint_s": f"{self._config.checkpoint_s:.0f}",
            "reason": words(order.reason),
        }
        args = tuple(_filled(part, values) for part in command)
        async with self._commands:
            ran = await run_command(args, self._config.command_timeout_s)
        if ran.code is None:
            raise NotKnown(self.id, f"on_{step} was ended after {self._config.command_timeout_s:g} s: {args[0]}")
        if ran.code != 0:
            raise CannotObey(self.id, f"on_{step} ({args[0]}) ended with {ran.code}: {ran.output or 'no output'}")
        return f"{step}: {args[0]} ended well"


def _said(step: str, text: str) -> str:
    """A line of what was done; none of a cap that was found as it should be."""
    if step == "hold":
        return f"cap was lost, set again: {text}" if text else ""
    return f"{step}: {text or 'it is so already'}"


def _together(errors: list[DeviceError]) -> DeviceError:
    """One error of several."""
    whole = list(dict.fromkeys(str(error) for error in errors))
    if len(whole) == 1:
        return errors[0]
    return CannotObey(errors[0].where, "; ".join(dict.fromkeys(error.what for error in errors)), "see each of them")


def _filled(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace("{" + name + "}", value)
    return part


STATES = {  # the field of an order that a step brings about
    "cap": "cap_w",
    "uncap": "cap_w",
    "hold": "cap_w",
    "suspend": "suspended",
    "resume": "suspended",
    "stop_starts": "starts_stopped",
    "allow_starts": "starts_stopped",
    "checkpoint": "saving",
    "requeue": "requeued",
    "power_off": "off_when_empty",
    "power_on": "off_when_empty",
    "shutdown": "off",
    "start": "off",
}


UNDO = {  # the step that undoes what a field of an order asks
    "cap_w": "uncap",
    "suspended": "resume",
    "off": "start",
    "starts_stopped": "allow_starts",
    "off_when_empty": "power_on",
}


def _state(step: str, wanted: NodeOrder) -> dict[str, Any]:
    return {STATES[step]: getattr(wanted, STATES[step])}


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


def make_actuators(
    nodes: tuple[NodeDevice, ...],
    drivers: dict[str, Any],
    known: KnownGpus,
    orders: LimitOrders,
    kept: KeptLimits | None = None,
) -> dict[str, NodeActuator]:
    """One for each node; `drivers` by id, as they are read with.

    `known`: keeps the limits of this machine's GPUs. `orders`: to BMCs. `kept`: keeps the limits that these had; None:
    as long as these objects.
    """
    limits = kept or KeptLimits()

    def power(config: NodeDevice) -> Power | BmcPower | None:
        if config.cap_by:
            return BmcPower(config.id, orders, limits)
        if config.source != "nvml":
            return None
        import pynvml  # only here: it takes a while to load

        return NvmlPower(config.id, pynvml, known, gpus=config.gpus, declared_w=config.gpu_limit_w)

    commands = asyncio.Semaphore(MOST_COMMANDS)
    ordered = {id: driver for id, driver in drivers.items() if hasattr(driver, "order")}
    return {n.id: NodeActuator(n, ordered.get(n.id), power(n), commands) for n in nodes}
