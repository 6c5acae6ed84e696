"""Whether the gateway believes what cannot be: 11 faults in the values of each of 6 devices, on the wire.

Twin and gateway run as processes; a proxy before one device falsifies the values of its answers for three seconds, one
fault after the other. What the gateway publishes is compared with the twin's true state:

    WRONG   a value of good quality that is not what is there
    UNSAFE  a setpoint that the undisturbed site would not have had: further from 0, or of the other sign
    LASTING not as before, half a minute after the fault has ended

ID and length of SunSpec's models and the head of a register map stay as they are, since a change of those alone has the
answer refused; `--heads` falsifies them, too.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from benchmarks.fault_proxy import FAULTS, FaultProxy, MainFigure
from benchmarks.figures import machine
from benchmarks.plant import Endpoint, Plant, running
from benchmarks.reliability import tell
from dispatch.model.decision import Mode
from dispatch.model.islanding import IslandState
from dispatch.model.readings import Quality, Reading
from gateway.api.ask import Conversation
from gateway.api.protocol import Published

ROLES = {"grid": "W", "load": "W", "pcs1": "W", "pv1": "W", "pcc": "grid_v", "gpu-01": "power_w"}
MAPS = {  # as in drivers/maps: no scale factors, magic number and version in front
    "pcc": MainFigure(address=10, size=1, scale=None, jump=3_000, kept=frozenset({0, 1})),
    "gpu-01": MainFigure(address=2, size=2, scale=None, jump=30_000, kept=frozenset({0, 1})),
}
JUMP_W = 30_000.0
FAULT_S = 3.0
LOOK_S = 0.1
SETTLE_S = 12.0  # after the load step: what may have caused it is as long ago
STEADY_S = 2.0  # before each fault: what the undisturbed site does
RECOVERY_LIMIT_S = 30.0
TRUE_WITHIN_S = 1.6  # a published value was true at some time as long ago: meter delay, poll, tick
LOAD_STEP_W = 20_000.0
# A smaller difference cannot be told from a change of the site: `SiteBounds.step_w` of the 160 A connection is 3.3 kW.
NEAR_W = 3_500.0
DEAD_V, IMPOSSIBLE_V = 46.0, 460.0  # a fifth and twice of nominal: DEAD and V_MOST of dispatch
SITE: dict[str, Any] = {
    "gateway": {"rate_hz": 5},
    "io": {"deadline_s": 0.09},
    "grid": {"fuse_a": 160, "contracted_peak_w": 30_000, "ramp_w_per_s": 1e6, "meter_delay_max_s": 0.6},
    "plan": {"enabled": False},
    "node": [{"id": "gpu-01", "source": "modbus", "unit": 1, "url": "twin"}],
    "twin": {
        "start_utc": "2025-06-20T11:00:30Z",
        "nodes": 1,
        "base_load_w": 26_000,
        "cooling_fraction": 0.0,
        "meter_delay_s": 0.1,
        "host_node": False,
        "load_noise": 0.0,
        "load_scale": 1.0,
        "pv_peak_w": 6_000,
    },
}
# The node's power alternates every 4 s, so that an old answer is another one.
NODE_TRACE = "start_utc,power_w\n2025-01-01T00:00:00Z,800\n2025-01-01T00:00:04Z,1200\n"
NODE_W = 1_000.0


@dataclass(frozen=True)
class Look:
    """What the gateway published and what was true, at about one time."""

    mono_s: float
    state: Published
    truth: dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """What came of one fault in one device."""

    role: str
    fault: str
    wrong: tuple[float | str, ...] = ()  # published as good, and not there
    unsafe_w: tuple[float, ...] = ()  # setpoints
    recovered_s: float | None = 0.0  # after the end of the fault; None: not within the limit
    falsified: int = 1  # answers; 0: nothing was tried

    @property
    def ok(self) -> bool:
        """Whether the fault was tried and did no harm."""
        return not self.wrong and not self.unsafe_w and self.recovered_s is not None and self.falsified > 0

    def __str__(self) -> str:
        words = []
        if self.wrong:
            worst = max(self.wrong, key=lambda v: abs(v) if isinstance(v, float) else 0.0)
            words.append(f"WRONG {worst:.0f} x{len(self.wrong)}" if isinstance(worst, float) else f"WRONG {worst}")
        if self.unsafe_w:
            words.append(f"UNSAFE {max(self.unsafe_w, key=abs):.0f} W")
        if self.recovered_s is None:
            words.append("LASTING")
        if not self.falsified:
            words.append("NOT TRIED")
        return ", ".join(words) or "ok"


def wrong_values(role: str, before: Sequence[Look], looks: Sequence[Look]) -> Iterator[float | str]:
    """The values of good quality in these looks that were not true at any time shortly before."""
    for look in looks:
        since_s = look.mono_s - TRUE_WITHIN_S
        recent = [x.truth for x in (*before, *looks) if since_s <= x.mono_s <= look.mono_s + LOOK_S]
        if role == "pcc":
            yield from _wrong_at_the_switch(look)
        else:
            shown, true_w = _power(role, look.state), [_true_w(role, truth) for truth in recent]
            if shown.quality is Quality.GOOD and shown.value is not None and not _near(shown.value, true_w):
                yield shown.value


def _wrong_at_the_switch(look: Look) -> Iterator[float | str]:
    """A position that it does not have; a voltage that says dead or cannot be. Any other is within the bounds."""
    switch = look.state.snapshot.switches[0]
    if switch.position.quality is Quality.GOOD and switch.position.value != look.truth["switch"]["pcc"]:
        yield str(switch.position.value)
    if switch.grid_voltage.quality is Quality.GOOD and switch.grid_voltage.value != "present":
        yield str(switch.grid_voltage.value)
    grid_v = switch.grid_v
    if grid_v.quality is Quality.GOOD and not DEAD_V <= (grid_v.value or 0.0) <= IMPOSSIBLE_V:
        yield grid_v.value or 0.0


def _near(w: float, truths: Sequence[float]) -> bool:
    return min(truths) - NEAR_W <= w <= max(truths) + NEAR_W


def _power(role: str, state: Published) -> Reading:
    snapshot = state.snapshot
    found: dict[str, Callable[[], Reading]] = {
        "grid": lambda: snapshot.grid.w,
        "load": lambda: snapshot.load.w,
        "pcs1": lambda: snapshot.pcs[0].w,
        "pv1": lambda: snapshot.pv[0].w,
        "gpu-01": lambda: snapshot.nodes[0].w,
    }
    return found[role]()


def _true_w(role: str, truth: dict[str, Any]) -> float:
    found = {"pcs1": "pcs_w", "pv1": "pv_w"}
    if role == "gpu-01":
        return NODE_W
    return float(truth[found[role]][role] if role in found else truth[f"{role}_w"])


def unsafe_setpoints(before: Sequence[Look], looks: Sequence[Look]) -> Iterator[float]:
    """Setpoints asked that are neither between 0 and what the undisturbed site asked, nor near it."""
    asked = [x.state.decision.battery_w for x in before if x.state.decision.battery_w is not None]
    low_w, high_w = min(0.0, *asked) - NEAR_W, max(0.0, *asked) + NEAR_W
    for look in looks:
        w = look.state.decision.battery_w
        if w is not None and not low_w <= w <= high_w:
            yield w


def as_before(role: str, before: Sequence[Look], look: Look) -> bool:
    """Whether the gateway believes the device and steers as it did."""
    state, asked = look.state, before[-1].state.decision.battery_w
    here = [health for health in state.snapshot.devices if health.id == role]
    shown = state.snapshot.switches[0].grid_v if role == "pcc" else _power(role, state)
    true = not list(wrong_values(role, before, [look]))
    steers = state.decision.mode in (Mode.RULES, Mode.PLAN) and state.decision.island is IslandState.GRID_TIED
    w = state.decision.battery_w
    return (
        steers
        and all(health.online for health in here)
        and shown.quality is Quality.GOOD
        and true
        and (w is None) == (asked is None)
        and abs((w or 0.0) - (asked or 0.0)) <= NEAR_W
    )


@dataclass
class Observer:
    """Looks at gateway and twin."""

    plant: Plant
    link: Conversation
    proxy: FaultProxy
    role: str
    looks: list[Look] = field(default_factory=list)

    def look(self) -> Look:
        """One look, after a pause."""
        time.sleep(LOOK_S)
        state = msgspec.convert(self.link.request("status"), Published)
        seen = Look(time.monotonic(), state, self.plant.tell_twin(state={})["state"])
        self.looks.append(seen)
        return seen

    def watch(self, seconds: float) -> list[Look]:
        """Looks for as long."""
        until = time.monotonic() + seconds
        found = [self.look()]
        while time.monotonic() < until:
            found.append(self.look())
        return found

    def cell(self, fault: str) -> Cell:
        """Try one fault."""
        before = self.watch(STEADY_S)
        self.proxy.falsified, self.proxy.fault = 0, fault
        during = self.watch(FAULT_S)
        self.proxy.fault, ended_s = "", time.monotonic()
        recovered_s = None
        while recovered_s is None and time.monotonic() < ended_s + RECOVERY_LIMIT_S:
            during.append(self.look())
            if as_before(self.role, before, during[-1]):
                recovered_s = time.monotonic() - ended_s
        wrong = tuple(wrong_values(self.role, before, during))
        unsafe_w = tuple(unsafe_setpoints(before, during))
        return Cell(self.role, fault, wrong, unsafe_w, recovered_s, self.proxy.falsified)


def play(role: str, faults: Sequence[str], heads: bool = False, seeds: int = 1) -> list[Cell]:
    """One plant, one gateway, the faults of one device in turn, once for each seed of what falls to chance."""
    with contextlib.ExitStack() as stack:
        proxies: list[FaultProxy] = []

        def by_way_of(device: str, place: Endpoint) -> Endpoint:
            if device != role:
                return place
            host, port, unit = place
            figure = MAPS[role] if role in MAPS else _sunspec_figure(place)
            if heads:
                figure = MainFigure(figure.address, figure.size, figure.scale, figure.jump)
            proxies.append(FaultProxy((host, port), figure))
            stack.callback(proxies[0].close)
            return "127.0.0.1", proxies[0].port, unit

        trace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skb"))) / "node.csv"
        trace.write_text(NODE_TRACE)
        changes = {**SITE, "twin": {**SITE["twin"], "load_trace": str(trace)}}
        plant = stack.enter_context(running(changes, by_way_of=by_way_of))
        link = stack.enter_context(Conversation(plant.socket_path()))
        observer = Observer(plant, link, proxies[0], role)
        observer.watch(4.0)
        plant.tell_twin(load_step_w=LOAD_STEP_W)
        observer.watch(SETTLE_S)
        cells = []
        for seed, fault in itertools.product(range(1, seeds + 1), faults):
            proxies[0].reseed(seed)
            cells.append(observer.cell(fault))
            print(f"{role:8} {fault:12} {cells[-1]}", file=sys.stderr, flush=True)
        return cells


def _sunspec_figure(place: Endpoint) -> MainFigure:
    """Where the first W of a SunSpec device is, found as any SunSpec client would."""
    host, port, unit = place
    scan = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr=host, ipport=port)
    scan.scan()
    models = [m for number, found in scan.models.items() if isinstance(number, int) for m in found]
    holder = next(m for m in models if "W" in m.points and "W_SF" in m.points)
    holder.read()
    scan.close()
    watts, scale = holder.points["W"], holder.points["W_SF"]
    return MainFigure(
        address=holder.model_addr + watts.offset,
        size=1,
        scale=holder.model_addr + scale.offset,
        jump=round(JUMP_W / 10.0**scale.value),
        kept=frozenset(address for m in models for address in (m.model_addr, m.model_addr + 1)),
    )


def table(cells: Sequence[Cell]) -> str:
    """Roles across, faults down."""
    roles = [role for role in ROLES if any(cell.role == role for cell in cells)]
    faults = [fault for fault in FAULTS if any(cell.fault == fault for cell in cells)]
    said: dict[tuple[str, str], str] = {}
    for cell in cells:  # of several seeds the one in which something went wrong
        if said.get((cell.role, cell.fault), "ok") == "ok":
            said[cell.role, cell.fault] = str(cell)
    rows = [["", *roles], *([fault, *(said.get((role, fault), "-") for role in roles)] for fault in faults)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all, print the table. 1: something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=ROLES, action="append", help="this device only; may be repeated")
    parser.add_argument("--fault", choices=FAULTS, action="append", help="this fault only; may be repeated")
    parser.add_argument("--jobs", type=int, default=3, help="devices at a time, each with a plant of its own (3)")
    parser.add_argument("--heads", action="store_true", help="falsify ID and length of the models, too")
    parser.add_argument("--seeds", type=int, default=1, help="times that each fault is tried (1)")
    options = parser.parse_args(arguments)
    roles, faults = options.role or list(ROLES), options.fault or list(FAULTS)
    with ThreadPoolExecutor(options.jobs) as pool:
        played = pool.map(lambda role: play(role, faults, options.heads, options.seeds), roles)
        cells = [cell for found in played for cell in found]
    wrong = sum(not cell.ok for cell in cells)
    tell(f"faults tried in {len(roles)} devices, {options.seeds} seeds", len(cells))
    tell("wrong values or unsafe setpoints", wrong)
    print(f"{machine()}\n\n{table(cells)}\n\n{wrong} of {len(cells)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
