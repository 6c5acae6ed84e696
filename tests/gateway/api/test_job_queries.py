"""Requests about jobs: whose jobs a peer sees, what is asked of the record, what a node may report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT_S

from dispatch.accounting.records import JobRecord, PeakInterval, SiteQuarter
from dispatch.config.demand_terms import DemandTerms
from gateway.api.job_queries import JobQueries
from gateway.api.peer import Peer
from gateway.api.roles import Role, Standing
from gateway.errors import CommandRefused
from storage.config import StorageConfig
from storage.reader import Archive
from storage.recorder import Recorder

T0 = 1_758_000_600.0
ANNA, OPERATOR, SLURM = (Peer(1, uid, uid, user) for uid, user in ((1001, "anna"), (1002, "olga"), (1003, "slurm")))


class Log:
    """Roles by user, as the command log tells them."""

    def __init__(self) -> None:
        self.roles = {"anna": Role.VIEWER, "olga": Role.OPERATOR, "slurm": Role.SCHEDULER}

    async def standing(self, peer: Peer) -> Standing:
        return Standing(self.roles[peer.user], "as the test says")

    async def permit(self, peer: Peer, name: str) -> None:
        if self.roles[peer.user] < Role.OPERATOR:
            raise CommandRefused(f"{name} takes an operator")


class Accounts:
    """Two jobs that run; takes two reports."""

    active, full = True, False

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def live(self, user: str | None) -> list[JobRecord]:
        return [run for run in (a_run("1", "anna"), a_run("2", "bert", 500)) if user in (None, run.user)]

    def progress(self, job: str, units: float, cluster: str, user: str | None) -> int:
        self.told.append((cluster, job, units, user))
        return 3

    def begins(self, job: str, gpus: Any, cluster: str = "") -> bool:
        self.told.append((cluster, job, tuple(gpus)))
        return len(self.told) < 3

    def ends(self, job: str, cluster: str = "") -> bool:
        self.told.append((cluster, job, "end"))
        return True


class Records:
    """The record in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def ask(self, ask: Any) -> Any:
        archive = Archive(self.directory)
        try:
            return ask(archive)
        finally:
            archive.close()


def a_run(id: str, user: str, wh: float = 100.0, ended_utc_s: float | None = None) -> JobRecord:
    return JobRecord(scheduler="slurm", id=id, started_utc_s=T0 - 60, ended_utc_s=ended_utc_s, user=user, host_wh=wh)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, a quarter hour, and a peak that one of them caused a half of."""
    directory = tmp_path_factory.mktemp("jobs")
    recorder = Recorder(directory, StorageConfig(flush_s=0.1), "boot")
    for run in (a_run("3", "anna", 100, T0), a_run("4", "bert", 500, T0 + 5)):
        recorder.account(run)
    quarter = {"import_wh": 800.0, "load_wh": 1000.0, "jobs_wh": 600.0, "idle_wh": 100.0, "known_s": 900.0}
    recorder.account(SiteQuarter(start_utc_s=int(T0), gap_s=0, eur_per_kwh=None, co2_g_per_kwh=None, **quarter))
    shares = (("slurm", "4", T0 - 60, 500.0),)
    recorder.account(
        PeakInterval(account="2025-09", start_utc_s=int(T0), import_w=3200, load_wh=1000, eur=32, shares=shares)
    )
    recorder.flush().result(LIMIT_S)
    assert recorder.close()
    return directory


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def queries(record: Path, accounts: Accounts) -> JobQueries:
    log: Any = Log()
    return JobQueries([DemandTerms(eur_per_kw=10)], log=log, accounts=accounts, records=Records(record))


async def asked(queries: JobQueries, peer: Peer, method: str, **params: Any) -> Any:
    span = {"start_utc_s": T0 - 10, "end_utc_s": T0 + 10} if method == "jobs.report" else {}
    return await queries.handlers[method](peer, span | params)


def ids(answer: Any) -> list[str]:
    return [job["id"] for job in answer["jobs"]]


async def test_a_viewer_sees_the_jobs_of_the_user_that_the_kernel_names(queries: JobQueries) -> None:
    live = await asked(queries, ANNA, "jobs.list")
    assert (ids(live), live["of"], live["user"]) == (["1"], 1, "anna")
    past = await asked(queries, ANNA, "jobs.report")
    assert (ids(past), past["site"], past["user"]) == (["3"], None, "anna")
    assert ids(await asked(queries, ANNA, "jobs.report", user="anna")) == ["3"]
    groups = (await asked(queries, ANNA, "jobs.report", by="account"))["groups"]
    assert [(group["runs"], group["energy_wh"]) for group in groups] == [(1, 100)]
    for method in ("jobs.list", "jobs.report"):
        for peer in (ANNA, SLURM):
            with pytest.raises(CommandRefused, match=rf"{method} of others takes an operator"):
                await asked(queries, peer, method, user="bert")
    assert ids(await asked(queries, SLURM, "jobs.list")) == []


async def test_an_operator_sees_all_and_the_account_of_the_site(queries: JobQueries) -> None:
    assert ids(await asked(queries, OPERATOR, "jobs.list")) == ["2", "1"]
    assert ids(await asked(queries, OPERATOR, "jobs.list", user="anna")) == ["1"]
    past = await asked(queries, OPERATOR, "jobs.report")
    assert ids(past) == ["4", "3"]
    assert [job["peak_eur"] for job in past["jobs"]] == [16.0, 0.0]
    site = past["site"]
    assert site["load_wh"] - site["jobs_wh"] - site["idle_wh"] == 300
    assert (await asked(queries, OPERATOR, "jobs.report", user="bert"))["site"] is None
    by_user = (await asked(queries, OPERATOR, "jobs.report", by="user"))["groups"]
    assert [(group["name"], group["peak_eur"]) for group in by_user] == [("bert", 16.0), ("anna", 0.0)]


async def test_pages_go_on_where_the_last_one_ended(queries: JobQueries) -> None:
    first = await asked(queries, OPERATOR, "jobs.report", limit=1)
    last = first["jobs"][-1]
    second = await asked(queries, OPERATOR, "jobs.report", limit=1, before=[last["ended_utc_s"], last["number"]])
    assert ids(first) + ids(second) == ["4", "3"]


async def test_a_node_reports_what_a_job_holds(queries: JobQueries, accounts: Accounts) -> None:
    assert await asked(queries, SLURM, "job.report", what="start", job_id="7", gpu_uuids=["GPU-1"], node="n1") == {
        "taken": True
    }
    await asked(queries, SLURM, "job.report", what="end", job_id="7", cluster="alpha")
    assert accounts.told == [("", "7", ("GPU-1",)), ("alpha", "7", "end")]
    with pytest.raises(CommandRefused, match="too many jobs"):
        await asked(queries, SLURM, "job.report", what="start", job_id="8")


@pytest.mark.parametrize(
    "bad",
    [
        {"what": "begin", "job_id": "7"},
        {"what": "start", "job_id": ""},
        {"what": "start", "job_id": "7" * 200},
        {"what": "start", "job_id": "7", "gpu_uuids": "GPU-1"},
        {"what": "start", "job_id": "7", "gpu_uuids": ["x"] * 100},
        {"what": "start", "job_id": "7", "gpu_uuids": [7]},
    ],
)
async def test_what_is_no_report_is_refused(queries: JobQueries, accounts: Accounts, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        await asked(queries, SLURM, "job.report", **bad)
    assert accounts.told == []


async def test_a_job_reports_its_progress_and_nobody_elses(queries: JobQueries, accounts: Accounts) -> None:
    assert await asked(queries, ANNA, "job.progress", job_id="1", units=1200) == {"taken": True, "spans": 3}
    await asked(queries, SLURM, "job.progress", job_id="2", units=5.5, cluster="alpha")
    assert accounts.told == [("", "1", 1200.0, "anna"), ("alpha", "2", 5.5, None)]
    with pytest.raises(CommandRefused, match="takes an operator"):
        await asked(queries, ANNA, "job.progress", job_id="2", units=1, user="bert")
    for bad in ({"job_id": "", "units": 1}, {"job_id": "1", "units": -1}, {"job_id": "1", "units": float("nan")}):
        with pytest.raises(ValueError, match="expected"):
            await asked(queries, ANNA, "job.progress", **bad)
    assert len(accounts.told) == 2


async def test_times_that_are_none_are_refused(queries: JobQueries) -> None:
    for bad in (float("nan"), float("inf"), 1e30, "soon"):
        with pytest.raises(ValueError, match=r"."):
            await asked(queries, OPERATOR, "jobs.report", start_utc_s=bad)


async def test_without_a_scheduler_no_job_is_known(queries: JobQueries, accounts: Accounts) -> None:
    accounts.active = False
    for method, params in (
        ("jobs.list", {}),
        ("job.report", {"what": "end", "job_id": "7"}),
        ("job.progress", {"job_id": "7", "units": 1}),
    ):
        with pytest.raises(CommandRefused, match="names no scheduler"):
            await asked(queries, OPERATOR, method, **params)
