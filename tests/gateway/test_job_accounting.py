"""The meter in a running gateway: what a tick leaves is metered, kept over a restart, and given to the record."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_gateway import running, small_site
from waiting import until, until_done

from dispatch.accounting.meter import QueueReading, Settled
from dispatch.billing.market_prices import PriceSeries
from dispatch.model.equipment import Meter, Node
from dispatch.model.jobs import Job
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot
from gateway import job_accounting
from gateway.api.client import GatewayClient
from gateway.errors import CommandRefused
from gateway.job_accounting import STATE, JobAccounting, Seen, kept_state, site_terms
from gateway.prices_in_force import PricesInForce

T0 = 1_758_000_600.0
JOB = Job(
    scheduler="slurm",
    id="7",
    user="anna",
    state="running",
    submitted_utc_s=T0,
    started_utc_s=T0 + 5,
    nodes=("gpu-01.example.org",),
    node_count=1,
    cpus=8,
)


class SiteClock:
    """Moved by the test."""

    speed = 1.0

    def __init__(self) -> None:
        self.s = 0.0

    def utc_s(self) -> float:
        return T0 + self.s

    def mono_s(self) -> float:
        return 100.0 + self.s


GPU_JOB = msgspec.structs.replace(JOB, id="8", number="80", gpus=2, nodes=("gpu-02",))


class Bench:
    """A service whose ticks, queue and clock the test makes."""

    def __init__(self, directory: Path, kept: Any = None) -> None:
        site = small_site(directory, tariff={"fee_eur_per_kwh": 0.05})
        self.clock, self.rows, self.saved, self.reading = SiteClock(), list[Settled](), dict[str, Any](), 6.0
        self.jobs: list[Job] = [JOB]
        series = PriceSeries((int(T0) - 3600,), (150.0,), int(T0) + 86_400)
        self.service = JobAccounting(
            site,
            self.clock,
            PricesInForce(series),
            schedulers=["slurm"],
            nodes=site.every_node,
            queues=lambda: [QueueReading("slurm", T0 + self.reading, self.jobs)],
            record=self.rows.append,
            save=lambda key, value: self.saved.update({key: msgspec.json.decode(msgspec.json.encode(value))}),
            kept=kept_state(kept),
        )
        self.seq = 0

    async def second(self) -> None:
        """A tick, and the look that follows it."""
        self.clock.s += 1.0
        self.seq += 1
        if self.clock.s % 30 == 0:
            self.reading = self.clock.s
        node = Node("gpu-01", w=reading(360.0), source="ACPI power meter")
        now = (self.clock.utc_s(), self.clock.mono_s())
        snapshot = Snapshot(self.seq, *now, Meter("grid", w=reading(1000.0)), nodes=(node,))
        self.service.observe(Seen(snapshot, {}, 0.0))
        await self.service._look(Seen(snapshot, {}, 0.0))

    async def run(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.second()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_running_job_reports_its_progress(bench: Bench) -> None:
    bench.jobs = [JOB, GPU_JOB]
    await bench.run(40)
    service = bench.service
    assert service.progress("8", 100.0, "", "anna") == service.progress("80", 200.0, "", None) == 0
    assert service.measured == {}
    for job, user, why in (("8", "bert", "no job 8 of bert runs"), ("9", None, "no job 9 runs"), ("7", None, "no GPU")):
        with pytest.raises(CommandRefused, match=why):
            service.progress(job, 1.0, "", user)
    kept = bench.service.meter.progress
    kept.report(("slurm", "8", T0 + 5), ("anna", "", 2), 0.0, 0.0)
    await bench.run(40)
    assert kept.runs == [("slurm", "8", T0 + 5)]
    bench.service.keep()
    assert bench.saved[STATE]["progress"] == {"kinds": []}


async def test_a_job_is_metered_by_its_hosts_name_and_priced(bench: Bench) -> None:
    await bench.run(600)
    (live,) = await bench.service.live("anna")
    assert live.energy_wh == pytest.approx(60, rel=0.06)
    assert await bench.service.live("bert") == []
    bench.jobs = []
    await bench.run(700)
    job, quarter = sorted(bench.rows, key=lambda row: type(row).__name__)[:2]
    assert job.energy_wh == pytest.approx(60, rel=0.04)  # type: ignore[union-attr]
    # all of the load is imported: a kWh costs what an imported one does
    assert job.cost_eur == pytest.approx(0.06 * 0.20, rel=0.04)  # type: ignore[union-attr]
    assert quarter.load_wh == pytest.approx(250, rel=0.01)  # type: ignore[union-attr]
    assert kept_state(bench.saved[STATE]).runs == []  # type: ignore[union-attr]


async def test_the_next_gateway_goes_on_from_what_was_saved(bench: Bench, tmp_path: Path) -> None:
    await bench.run(300)
    bench.service.keep()
    after = Bench(tmp_path, bench.saved[STATE])
    after.clock.s, after.reading = 330.0, 330.0
    await after.run(300)
    (live,) = await after.service.live(None)
    assert live.energy_wh == pytest.approx(360 * (630 - 60) / 3600, rel=0.06)
    assert live.from_start
    assert live.covered_pct == pytest.approx(95, abs=2)


@asynccontextmanager
async def working(service: JobAccounting) -> AsyncIterator[None]:
    task = asyncio.create_task(service.run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_it_looks_by_itself_and_saves_at_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_accounting, "LOOK_S", 0.01)
    await bench.run(2)
    async with working(bench.service):
        await until(lambda: bench.service.meter.allocations.every() != [])
    assert len(bench.saved[STATE]["runs"]) == 1


async def test_while_the_time_is_not_known_nothing_is_metered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_accounting, "LOOK_S", 0.01)
    unknown = Snapshot(1, T0, 100.0, Meter("grid"), utc_known=False)
    bench.service.observe(Seen(unknown, {}, 0.0))
    looks = iter(range(10))

    def looked() -> bool:
        return next(looks, None) is None

    async with working(bench.service):
        await until(looked)
    assert bench.service.meter.allocations.every() == []


async def test_of_very_many_runs_those_that_drew_most_are_saved(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_accounting, "MOST_SAVED", 3)
    jobs = [msgspec.structs.replace(JOB, id=str(n)) for n in range(6)]
    done(bench.service.meter.see_queue(QueueReading("slurm", T0, jobs)))
    for n, run in enumerate(bench.service.meter.allocations.every()):
        run.energy_wh["host measured"] = float(n)
    bench.service.keep()
    assert [run["job"]["id"] for run in bench.saved[STATE]["runs"]] == ["5", "4", "3"]


async def test_a_gateway_meters_the_queue_that_its_site_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file that a scheduler writes to the answer of a request, and what a node reports to the run."""
    monkeypatch.setattr(job_accounting, "LOOK_S", 0.02)
    now_s = time.time()
    told = {"id": "7_3", "state": "running", "submitted_utc_s": now_s - 60, "started_utc_s": now_s - 30}
    told |= {"nodes": ["gpu-01.example.org"], "gpus": 2, "user": "anna"}
    lines = [{"format": "skerry-jobs/1", "jobs": 1, "utc_s": now_s}, told]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scheduler = [{"id": "alpha", "kind": "file", "file": "jobs.jsonl"}]
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as short:
        socket = Path(short) / "s.sock"
        async with running(tmp_path, socket, commanded=False, scheduler=scheduler) as there:
            client = await GatewayClient.connect(there.socket, 0)
            reported = {"what": "start", "job_id": "7_3", "gpu_uuids": ["GPU-1", "GPU-2"], "node": "gpu-01"}
            assert await client.request("job.report", **reported) == {"taken": True}

            async def shown() -> Any:
                (job,) = (await client.request("jobs.list"))["jobs"]
                return job

            job = await until_done(shown, ValueError)
            assert (job["id"], job["user"], job["gpus"], job["from_start"]) == ("7_3", "anna", 2, False)
            await client.close()


def done(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def test_of_an_individual_fee_jobs_pay_one_charge_not_both(tmp_path: Path) -> None:
    window = {"id": "high", "days": ["mon-fri"], "times": ["17:00-20:00"]}
    fee = {"windows": ["high"], "gap_pct": 20}
    year = {"id": "grid", "kind": "max", "price": 120.0, "period": "year", "individual": fee}
    terms = site_terms(small_site(tmp_path, tariff={"charge": [year], "window": [window]}))
    assert [one.id for one in (terms.demand, *terms.others)] == ["grid"]
