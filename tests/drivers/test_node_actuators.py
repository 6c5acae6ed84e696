"""Orders to compute nodes: commands without a shell, the cgroup freezer, NVML limits, the register map."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from dispatch.model.islanding import LASTING, NodeOrder
from dispatch.model.reasons import plain
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.actuators import NodeActuator, freeze, make_actuators, run_command
from drivers.nodes.bmc_limits import KeptLimits
from drivers.nodes.errors import CannotObey
from drivers.nodes.known_gpus import KnownGpus

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
        f"cap gpu-1 1200 250 {reason}",
        "suspend",
        "down",
        "up",
        "uncap",
        "resume",
    ]


STEPS = (
    "start",
    "stop_starts",
    "allow_starts",
    "checkpoint",
    "requeue",
    "power_off",
    "power_on",
    "shutdown",
)


def laddered(log: Path) -> NodeActuator:
    """A node with a command for each step of load shedding, which writes its name."""
    keys: dict[str, Any] = {f"on_{name}": writes(log, name, "{checkpoint_s}") for name in STEPS}
    return NodeActuator(node(gpus=8, checkpoint_s=90, **keys))


async def test_jobs_leave_a_node_before_it_is_powered_off_and_start_only_once_it_is_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    actuator = laddered(log)
    stopped = NodeOrder("gpu-1", starts_stopped=True)
    told = NodeOrder("gpu-1", starts_stopped=True, saving=True)
    requeued = NodeOrder("gpu-1", starts_stopped=True, saving=True, requeued=True)
    empty = NodeOrder("gpu-1", starts_stopped=True, requeued=True, off_when_empty=True)
    down = NodeOrder("gpu-1", starts_stopped=True, requeued=True, off=True)
    for order in (stopped, told, requeued, empty, down, NodeOrder("gpu-1")):
        await actuator.apply(order)
        assert await actuator.apply(order) == []
    assert log.read_text().split("\n") == [
        "stop_starts 90",
        "checkpoint 90",
        "requeue 90",
        "power_off 90",
        "shutdown 90",
        "start 90",
        "power_on 90",
        "allow_starts 90",
        "",
    ]
    await actuator.apply(requeued)
    assert log.read_text().splitlines()[-3:] == ["stop_starts 90", "checkpoint 90", "requeue 90"], "in the next outage"


async def test_what_an_earlier_run_has_ordered_is_undone_and_no_job_is_requeued_for_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    actuator = laddered(log)
    left = NodeOrder("gpu-1", starts_stopped=True, requeued=True, off_when_empty=True).lasting
    assert left == {"starts_stopped", "off_when_empty"}
    actuator.assume(left)
    await actuator.apply(NodeOrder("gpu-1"))
    assert log.read_text().splitlines() == ["power_on 90", "allow_starts 90"]


async def test_what_an_earlier_run_has_ordered_and_is_wanted_is_done_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    actuator = laddered(log)
    wanted = NodeOrder("gpu-1", starts_stopped=True, off_when_empty=True)
    actuator.assume(wanted.lasting)
    await actuator.apply(wanted)
    assert await actuator.apply(wanted) == []
    assert log.read_text().splitlines() == ["stop_starts 90", "power_off 90"]


async def test_a_write_that_was_not_answered_may_have_capped_the_node() -> None:
    class Lost:
        """Takes each order, but its first answer does not arrive."""

        cap_w: float | None = None
        orders = 0

        async def order(self, order: NodeOrder) -> str:
            self.cap_w, self.orders = order.cap_w, self.orders + 1
            if self.orders == 1:
                raise DeviceError("gpu-1", "no answer")
            return ""

    driver = Lost()
    actuator = NodeActuator(NodeDevice(id="gpu-1", source="modbus"), driver=driver)  # type: ignore[arg-type]
    with pytest.raises(DeviceError):
        await actuator.apply(NodeOrder("gpu-1", cap_w=900.0))
    assert (driver.cap_w, actuator.may_hold) == (900.0, {"cap_w"})
    await actuator.apply(NodeOrder("gpu-1"))
    assert (driver.cap_w, actuator.may_hold) == (None, frozenset())


async def test_what_the_site_file_cannot_undo_any_more_is_left(tmp_path: Path) -> None:
    bare = NodeActuator(node())
    bare.assume((*LASTING, "a field of a later version"))
    assert (bare.may_hold, await bare.apply(NodeOrder("gpu-1"))) == (frozenset(), [])


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


async def test_a_cap_that_failed_is_not_removed_and_one_that_was_ended_is(tmp_path: Path) -> None:
    """Nothing is restored that was not set; what nobody knows of is taken for set."""
    log = tmp_path / "log"
    keys = {f"on_{name}": writes(log, name) for name in ("uncap", "allow_starts")}
    failing = NodeActuator(node(on_cap=(PY, "-c", "raise SystemExit(3)"), on_stop_starts=("/bin/false",), **keys))
    order = NodeOrder("gpu-1", cap_w=500, starts_stopped=True)
    with pytest.raises(CannotObey, match="ended with 3"):
        await failing.apply(order)
    assert await failing.apply(NodeOrder("gpu-1")) == []
    assert not log.exists()
    sleeps = ("/bin/sleep", "600")
    hanging = NodeActuator(node(on_cap=sleeps, on_stop_starts=sleeps, command_timeout_s=0.05, **keys))
    for _ in range(2):  # it is tried again
        with pytest.raises(CannotObey, match=r"on_cap was ended after 0\.05 s"):
            await hanging.apply(order)
    undo = NodeActuator(node(on_cap=sleeps, on_stop_starts=sleeps, command_timeout_s=30, **keys))
    undo._held, undo._unsure = hanging._held, hanging._unsure
    await undo.apply(NodeOrder("gpu-1"))
    assert log.read_text().splitlines() == ["uncap", "allow_starts"]
    assert await undo.apply(NodeOrder("gpu-1")) == []


async def test_no_more_commands_run_at_once_than_allowed(tmp_path: Path) -> None:
    """Each says how many there are with it."""
    code = (
        "import os, sys, time; d = sys.argv[1]; open(f'{d}/{os.getpid()}', 'w').close(); time.sleep(0.2);"
        "n = len(os.listdir(d)); os.remove(f'{d}/{os.getpid()}'); sys.exit(n if n > 2 else 0)"
    )
    limit = asyncio.Semaphore(2)
    nodes = [NodeActuator(node(on_cap=(PY, "-c", code, str(tmp_path))), commands=limit) for _ in range(5)]
    done = await asyncio.gather(*(n.apply(NodeOrder("gpu-1", cap_w=500)) for n in nodes))
    assert len(done) == 5


async def test_however_much_a_command_says_its_end_is_kept() -> None:
    ran = await run_command((PY, "-c", "print('x' * 10_000_000); print('the end')"), 30.0)
    assert ran.output.endswith("the end")
    assert len(ran.output) == 200


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


class Order:
    """A power that notes what it is asked, and fails while it is told to."""

    def __init__(self, fails: bool = False) -> None:
        self.asked: list[float | None] = []
        self.fails, self.capped, self.not_kept, self.suspected = fails, False, "", False
        self.changed_by_others = ""

    def suspect(self) -> None:
        self.suspected = True

    def limit(self, watts: float | None, ride_through: bool = False, whole_w: float | None = None) -> str:
        self.asked.append(watts)
        if self.fails:
            raise CannotObey("gpu-1", "GPU 3: GPU is lost")
        return "" if self.asked[-2:-1] == [watts] else "set"


async def test_the_gpus_get_what_a_nodes_cap_leaves_beside_its_host() -> None:
    power = Order()
    actuator = NodeActuator(node(cap_w=2000, full_w=300), power=power)
    assert await actuator.apply(NodeOrder("gpu-1", cap_w=2000)) == ["cap: set"]
    assert actuator.holds_cap
    assert await actuator.apply(NodeOrder("gpu-1", cap_w=200)) == ["cap: set"]
    assert await actuator.apply(NodeOrder("gpu-1")) == ["uncap: set"]
    assert power.asked == [1700, 0, None]
    assert not actuator.holds_cap


async def test_a_cap_that_was_lost_is_set_again_and_one_that_is_held_says_nothing() -> None:
    power = Order()
    actuator = NodeActuator(node(cap_w=2000), power=power)
    await actuator.apply(NodeOrder("gpu-1", cap_w=2000))
    assert await actuator.apply(NodeOrder("gpu-1", cap_w=2000)) == []
    power.asked.append(None)  # a GPU came back without its cap
    assert await actuator.apply(NodeOrder("gpu-1", cap_w=2000)) == ["cap was lost, set again: set"]


async def test_a_cap_that_fails_keeps_no_node_from_being_suspended_and_shut_down(tmp_path: Path) -> None:
    log, power = tmp_path / "log", Order(fails=True)
    keys = {f"on_{name}": writes(log, name) for name in ("suspend", "resume", "shutdown", "start")}
    actuator = NodeActuator(node(cap_w=2000, **keys), power=power)
    for _ in range(2):
        with pytest.raises(CannotObey, match="GPU 3: GPU is lost"):
            await actuator.apply(NodeOrder("gpu-1", cap_w=2000, suspended=True, off=True))
    assert log.read_text().splitlines() == ["suspend", "shutdown"]
    power.fails = False
    await actuator.apply(NodeOrder("gpu-1", cap_w=2000, suspended=True, off=True))
    assert actuator.holds_cap


async def test_a_cap_that_failed_for_some_gpus_is_lifted_from_the_others() -> None:
    power = Order(fails=True)
    power.capped = True  # one of them took it
    actuator = NodeActuator(node(cap_w=2000), power=power)
    with pytest.raises(CannotObey, match="GPU is lost"):
        await actuator.apply(NodeOrder("gpu-1", cap_w=2000))
    power.fails = False
    await actuator.apply(NodeOrder("gpu-1"))
    assert power.asked[-1] is None


async def test_several_failures_are_one_error_that_names_each() -> None:
    actuator = NodeActuator(node(cap_w=2000), power=Order(fails=True))
    with pytest.raises(DeviceError, match="GPU is lost; no way to suspend it; see each of them"):
        await actuator.apply(NodeOrder("gpu-1", cap_w=2000, suspended=True))


async def test_gpus_capped_by_an_earlier_run_are_freed_whatever_the_site_file_says_now(tmp_path: Path) -> None:
    power = Order()
    power.capped = True
    log = tmp_path / "log"
    for config in (node(), node(on_cap=writes(log, "cap"), on_uncap=writes(log, "uncap"), cap_w=500)):
        actuator = NodeActuator(config, power=power)
        assert actuator.may_be_capped
        actuator.forget_cap()
        assert power.suspected
        await actuator.apply(NodeOrder("gpu-1"))
    assert power.asked == [None, None]
    assert log.read_text() == "uncap\n"
    assert not NodeActuator(node(), power=power).can_cap, "without cap_w it is never capped"


def test_what_may_be_asked_of_a_node_follows_from_its_section() -> None:
    assert not node(cap_w=500).terms.cap_w, "psutil alone cannot cap"
    assert node(cap_w=500, on_cap=("x",)).terms.cap_w == 500
    assert not node(on_suspend=("x",)).terms.can_suspend, "what is suspended must be resumed"
    served = NodeDevice(id="n", source="modbus", cap_w=900).terms
    assert (served.cap_w, served.can_suspend, served.can_shutdown) == (900, True, True)
    by_bmc = NodeDevice(id="b", source="redfish", bmc="https://b", cap_w=900, cap_by="redfish")
    nodes = (node(), NodeDevice(id="n", source="modbus"), by_bmc)
    found = make_actuators(nodes, {}, KnownGpus(), None, KeptLimits())  # type: ignore[arg-type]
    assert {id: one.can_cap for id, one in found.items()} == {"gpu-1": False, "n": False, "b": True}
    assert issubclass(CannotObey, DeviceError)
