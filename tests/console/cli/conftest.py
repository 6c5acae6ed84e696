"""The command line as its user has it: a process of its own, exit code and both streams; and a gateway to talk to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import warm_start
from waiting import LIMIT_S

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.decision import Decision, Mode, RuleTrace, Setpoint
from dispatch.model.equipment import Battery, DeviceHealth, Meter, Pcs, Pv
from dispatch.model.events import Event
from dispatch.model.islanding import IslandState
from dispatch.model.jobs import Job, QueueNow
from dispatch.model.metering_interval import Interval
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.readings import Quality, Reading, reading
from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.model.snapshot import Snapshot
from gateway.api.peer import Peer
from gateway.api.protocol import LoopStats, Published, Request, TariffNow, Welcome
from gateway.api.server import LinkServer
from gateway.errors import CommandRefused
from gateway.site import paths

ROOT = Path(__file__).parents[3]
NOON_UTC_S = 1_758_016_800.0  # 2025-09-16T10:00:00Z, 12:00 in Berlin

RATED = Reason("limit.rating", {"limit_w": 60_000.0})
DECISION = Decision(
    seq=7,
    utc_s=NOON_UTC_S,
    mode=Mode.RULES,
    island=IslandState.GRID_TIED,
    setpoints=(Setpoint("pcs1", 12_000.0),),
    battery_w=12_000.0,
    net_load_w=33_400.0,
    import_target_w=21_400.0,
    binding=RuleId.INTERVAL_BUDGET,
    reason=plain("discharging 12.0 kW: the interval's energy would not last"),
    chain=(
        RuleTrace(RuleId.DEVICE_LIMITS, -60_000.0, 60_000.0, None, False, RATED),
        RuleTrace(RuleId.INTERVAL_BUDGET, 12_000.0, float("inf"), 12_000.0, True, plain("5.9 kWh left for 12 min")),
    ),
)

PUBLISHED = Published(
    snapshot=Snapshot(
        seq=7,
        utc_s=NOON_UTC_S,
        mono_s=100.0,
        grid=Meter("grid", w=reading(21_400.0)),
        pcs=(Pcs("pcs1", w=reading(12_000.0)),),
        batteries=(Battery("bat1", soc_pct=reading(54.3)),),
        pv=(Pv("pv1", w=Reading(8_200.0, 3.2, Quality.STALE)),),
        devices=(
            DeviceHealth("grid", "meter", True, 0.1, 100, 0, 0),
            DeviceHealth("pv1", "pv", False, 3.2, 80, 16, 0, "no answer from 127.0.0.1:5020; is the inverter asleep?"),
        ),
    ),
    decision=DECISION,
    alarms=(
        Alarm(
            "device-lost:pv1",
            Priority.LOW,
            AlarmState.UNACKNOWLEDGED,
            NOON_UTC_S - 60,
            Reason("alarm.silent", {"silent_s": 60.0}),
            first_out=True,
        ),
    ),
    interval=Interval(NOON_UTC_S - 180, 900.0, 2_100.0, 0.0, 32_000.0, 29_500.0),
    month_peak_w=31_000.0,
    tariff=TariffNow(0.182, ((int(NOON_UTC_S) + 3600, 0.151),)),
    orders=(
        Order("o17", OrderKind.SETPOINT, 12_000.0, "", "alice", "feeder test", NOON_UTC_S, NOON_UTC_S + 840, 940.0),
    ),
    loop=LoopStats(ticks=500, lateness_p50_ms=0.4, lateness_p999_ms=3.1, consoles=2),
)

PLAN = Plan(
    made_utc_s=NOON_UTC_S + 600,
    step_s=900,
    steps=tuple(
        PlanStep(
            int(NOON_UTC_S) + 900 * n, 0.2, 30_000.0, 20_000.0, 41_000.0, 8_000.0, w, 22_000.0 - w, 60.0 - n, plain(why)
        )
        for n, (w, why) in enumerate(
            [(0.0, "kept for 12:45"), (-4_000.0, "cheap"), (0.0, ""), (12_000.0, "dear"), (2_000.0, "dear still")]
        )
    ),
    peak_target_w=26_000.0,
    cost_eur=4.2,
    solve_ms=1.6,
    note=plain("load band: from the load's range"),
)

EVENTS = [
    Event(NOON_UTC_S, "device", "warning", "pv1", "lost: no answer"),
    Event(NOON_UTC_S - 60, "gateway", "info", "start", "gateway started", "alice"),
]


JOBS = (
    Job(scheduler="alpha", id="41", name="train\x1b[31m", user="ann", state="running",
        submitted_utc_s=NOON_UTC_S - 9000, started_utc_s=NOON_UTC_S - 7200, nodes=("gpu01", "gpu02"), gpus=4, cpus=8),
    Job(scheduler="alpha", id="50_3", state="pending", reason="Priority", submitted_utc_s=NOON_UTC_S - 60,
        expected_start_utc_s=NOON_UTC_S + 1800),
    Job(scheduler="alpha", id="50_4", state="pending", reason="JobArrayTaskLimit", submitted_utc_s=NOON_UTC_S - 60),
)  # fmt: skip
QUEUE = QueueNow(scheduler="alpha", running=1, waiting=2, running_gpus=4, read_utc_s=NOON_UTC_S - 20, age_s=20.0)


def queue_page(skip: int, **_: Any) -> dict[str, Any]:
    """An answer of `queue.jobs`, two jobs a page."""
    return {"queues": (QUEUE,), "jobs": JOBS[skip : skip + 2], "of": len(JOBS)}


@dataclass
class Ran:
    """How a command ended."""

    code: int | None
    out: str
    err: str


@dataclass
class Machine:
    """Where commands run, and with which environment."""

    directory: Path
    environment: dict[str, str]
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    disk_full: bool = False
    planned: bool = True
    month_end: Reason | None = None  # what the plan says of it

    @property
    def state(self) -> Path:
        return self.directory / "state"

    async def skerry(self, *arguments: str, **options: Any) -> Ran:
        """Run `skerry ARGUMENTS` from an unrelated directory."""
        pipe = asyncio.subprocess.PIPE
        settings: dict[str, Any] = {"stdout": pipe, "stderr": pipe, "cwd": self.directory}
        process = await warm_start.start(arguments, self.environment, **(settings | options))
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
        encoding = self.environment.get("PYTHONIOENCODING", "utf-8")
        return Ran(process.returncode, (out or b"").decode(encoding), (err or b"").decode(encoding))

    def site(self, name: str = "site.toml", extra: str = "") -> Path:
        """A site file that is in order."""
        path = self.directory / name
        path.write_text(SITE + extra)
        return path


SITE = """
[site]
name = "Test site"
[grid]
fuse_a = 63
contracted_peak_w = "32 kW"
[[meter]]
id = "grid"
url = "tcp://127.0.0.1:1502"
"""


@pytest.fixture
def machine(machine_root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The command line's surroundings; nothing runs and nothing is recorded yet."""
    directory = machine_root / "work"
    directory.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(directory / "state"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Machine(directory, dict(os.environ))


@pytest_asyncio.fixture
async def gateway(machine: Machine) -> AsyncIterator[LinkServer]:
    """A gateway's link with one known state, on the site `site.toml` of `machine`, named by $SKERRY_SITE."""

    async def handle(peer: Peer, request: Request) -> Any:
        machine.asked.append((request.method, request.params))
        match request.method:
            case "status":
                return msgspec.to_builtins(PUBLISHED)
            case "why":
                if request.params.get("at_utc_s", NOON_UTC_S) < NOON_UTC_S - 7200:
                    raise CommandRefused("no decision is on record at or before that time")
                return msgspec.to_builtins(DECISION)
            case "events":
                return [msgspec.to_builtins(event) for event in EVENTS]
            case "plan":
                if not machine.planned:
                    raise CommandRefused("no plan is in force, the rules steer alone: SoC unknown")
                return msgspec.to_builtins(msgspec.structs.replace(PLAN, month_end=machine.month_end))
            case "queue.jobs":
                return msgspec.to_builtins(queue_page(**request.params))
            case "alarm.acknowledge":
                if request.params["id"] not in ("*", "device-lost:pv1"):
                    raise CommandRefused(f"no alarm {request.params['id']!r} is listed")
                return {"acknowledged": 1, "not_durable": "disk full" if machine.disk_full else ""}
        raise CommandRefused(f"unknown method {request.method!r}")

    def welcome(peer: Peer) -> Welcome:
        limits = {"fuse_w": 43_470.0, "contracted_peak_w": 32_000.0, "reserve_soc_pct": 17.8, "pv_peak_w": 20_000.0}
        where = str(machine.state / "skerry" / "running")
        return Welcome(
            1, "Test site", "Europe/Berlin", peer.user, os.getpid(), NOON_UTC_S - 600, 1.0, True, 5.0, limits, where
        )

    site = machine.site()
    machine.environment["SKERRY_SITE"] = str(site)
    server = LinkServer(paths.socket_path(site), welcome, handle)
    await server.start()
    yield server
    await server.close()
