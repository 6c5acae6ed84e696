"""A small site's ticks, by number: what storage tests feed in and later look for."""

from __future__ import annotations

import math
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from waiting import LIMIT_S

from dispatch.model.decision import Decision, Mode, RuleTrace, Setpoint
from dispatch.model.equipment import Battery, Meter, Node, Pcs, Pv
from dispatch.model.islanding import IslandState
from dispatch.model.readings import reading
from dispatch.model.reasons import Reason, RuleId
from dispatch.model.snapshot import Snapshot
from storage import schema
from storage.config import StorageConfig
from storage.context import Prices, Told
from storage.file import TelemetryFile
from storage.intake import Intake
from storage.recorder import Recorder
from storage.samples import samples
from storage.signals import MISSING

T0 = 1_758_005_700.0  # 2025-09-16T06:55:00Z, a whole minute
DT = 0.2  # s, the tick
QUARTER = 1_758_005_100  # a quarter hour, UTC s
TOLD = Told(no_plan=Reason("no_plan.first"), prices=Prices(((QUARTER, 0.2312),), QUARTER + 3600))
SOURCE = (uuid.UUID(int=5), uuid.UUID(int=6))
BUDGET = Reason(
    "budget.left",
    {
        "left_wh": 3_200.0,
        "peak": Reason("peak.contracted"),
        "limit_w": 32_000.0,
        "left_s": 410.0,
        "import_w": 30_000.25,
    },
)


def grid_w(n: int) -> float:
    """The grid power of tick n, W: different in every tick of a day."""
    return float(n % 432_000)


def snapshot(n: int, utc_s: float | None = None, grid: float | None = None, missing: bool = False) -> Snapshot:
    """Tick n, 0.2 s apart. `utc_s` overrides the calendar, not the monotonic clock."""
    w = grid_w(n) if grid is None else grid
    return Snapshot(
        seq=n,
        utc_s=T0 + n * DT if utc_s is None else utc_s,
        mono_s=round(n * DT, 6),
        grid=Meter("pcc-meter", w=reading(None if missing else w), hz=reading(50.012), v=(reading(230.12),) * 3),
        load=Meter("load", w=reading(30_000.0)),
        pcs=(Pcs("pcs1", w=reading(5_000.0), setpoint_w=reading(5_100.0)),),
        batteries=(Battery("bat1", soc_pct=reading(55.5), energy_wh=reading(1e5), temp_c=reading(25.3)),),
        pv=(Pv("pv1", w=reading(4_000.0)),),
        nodes=(Node("gpu-01", w=reading(1_500.0)), Node("gpu-02", w=reading(1_600.0))),
    )


def decision(
    n: int, w: float | None = 5_000.0, binding: RuleId = RuleId.INTERVAL_BUDGET, utc_s: float | None = None
) -> Decision:
    """A decision on tick n with a chain of three rules, one of them without an upper bound."""
    chain = (
        RuleTrace(RuleId.DEVICE_LIMITS, -60_000.0, math.inf, None, False, Reason("limit.no_pcs")),
        RuleTrace(
            RuleId.INTERVAL_BUDGET, -60_000.0, 12_345.6, w, binding is RuleId.INTERVAL_BUDGET, BUDGET, unmet=True
        ),
        RuleTrace(RuleId.PLAN, -60_000.0, 12_345.6, w, binding is RuleId.PLAN, Reason("step.nothing_pays")),
    )
    return Decision(
        seq=n,
        utc_s=T0 + n * DT if utc_s is None else utc_s,
        mode=Mode.PLAN,
        island=IslandState.GRID_TIED,
        setpoints=(Setpoint("pcs1", w),),
        battery_w=w,
        net_load_w=26_000.5,
        import_target_w=21_000.0,
        binding=binding,
        reason=Reason("decision.no_setpoint", {"rule": binding.value, "reason": BUDGET}),
        chain=chain,
    )


def feed(recorder: Recorder, numbers: range) -> None:
    """Put ticks, letting the writer keep up."""
    for n in numbers:
        recorder.put(snapshot(n), decision(n), {"price.eur_per_kwh": 0.2312}, TOLD)
        if n % 400 == 399:
            recorder.flush().result(LIMIT_S)


def sampled(directory: Path, name: str) -> dict[int, float | None]:
    """Every sample of a signal in a file, hot or packed, by time (UTC us)."""
    with closing(sqlite3.connect(directory / "telemetry.db")) as con:
        sid, scale = con.execute("SELECT id, scale FROM signal WHERE name = ?", (name,)).fetchone()
        found: dict[int, float | None] = {}
        for segment in samples(con, 0, 2**60):
            column = segment.column(sid)
            raw = [MISSING] * len(segment.times_us()) if column is None else column.raw
            values = (None if value == MISSING else value * scale for value in raw)
            found.update(zip(segment.times_us(), values, strict=True))
        return found


def parts(directory: Path) -> set[str]:
    """Names of the files of a state directory."""
    return {path.name for path in directory.iterdir()}


class Site:
    """Writes ticks of one second to a file, as the recorder does, in simulated time."""

    def __init__(self, directory: Path, config: StorageConfig | None = None, boot: str = "boot") -> None:
        self.directory = directory
        self.file = TelemetryFile(directory / schema.FILE, boot, lambda: SOURCE)
        self.intake = Intake(config or StorageConfig(), 250.0)
        self.now_s = float(QUARTER)
        self.mono_s = 1_000.0
        self.file.ensure_open(self.now_s)

    def run(self, seconds: int, values: dict[str, float] | None = None, write: bool = True) -> None:
        """So many ticks; the grid's power is the second of the day."""
        for n in range(seconds):
            site = Snapshot(n, self.now_s, self.mono_s, Meter("grid", w=reading(self.now_s % 86_400)))
            self.intake.take(site, decision(n, utc_s=self.now_s), values, TOLD)
            if n % 10 == 9:
                self.write()
            self.now_s += 1
            self.mono_s += 1
        if write:
            self.write()

    def write(self, whole: bool = False) -> None:
        """What the recorder does each ten seconds."""
        self.file.write(self.intake, whole)
        self.intake.written(whole)

    def pack(self, at_s: float | None = None) -> int:
        """Pack what is ready; how many quarter hours."""
        times = 0
        while self.file.pack(self.now_s if at_s is None else at_s):
            times += 1
        return times

    def close(self) -> None:
        self.write(whole=True)
        self.file.close(int(self.now_s * 1e6))

    def one(self, sql: str) -> object:
        """The first column of the first row of an answer."""
        with closing(sqlite3.connect(self.directory / schema.FILE)) as con:
            return con.execute(sql).fetchone()[0]
