"""The adapters that are shipped, each with an answer of its scheduler's command as the documents describe it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from dispatch.forecasting.waiting_reasons import obstacle
from dispatch.model.jobs import Job
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.reader import QueueReader

ADAPTERS = Path(__file__).resolve().parents[3] / "deploy" / "adapters"
ADS = [
    {"ClusterId": 7, "ProcId": 0, "Owner": "ann", "JobStatus": 2, "QDate": 1796010000,
     "JobCurrentStartDate": 1796010300, "RemoteHost": "slot1_2@gpu01.example.org", "RequestCpus": 8, "RequestGPUs": 2,
     "Cmd": "/srv/train.sh"},
    {"ClusterId": 8, "ProcId": 3, "Owner": "bob", "JobStatus": 1, "QDate": 1796010100, "RequestCpus": 1,
     "RequestGpus": "ifThenElse(x, 1, 2)", "JobBatchName": "sweep", "AllowedJobDuration": 3600},
    {"ClusterId": 9, "ProcId": 0, "Owner": "bob", "JobStatus": 5, "QDate": 1796010100, "Cmd": "/bin/x"},
    {"ClusterId": 6, "ProcId": 0, "Owner": "bob", "JobStatus": 4, "QDate": 1796000000, "Cmd": "/bin/x"},
]  # fmt: skip
ALLOCATIONS = [
    {"ID": "5456bd7a-9fc0", "Name": "train.gpu[0]", "Namespace": "ml", "NodeName": "gpu02", "ClientStatus": "running",
     "CreateTime": 1796010000123456789,
     "TaskStates": {"t": {"StartedAt": "2026-11-30T03:45:20.5Z"}, "u": {"StartedAt": "0001-01-01T00:00:00Z"}},
     "AllocatedResources": {"Tasks": {"t": {"Devices": [
         {"Vendor": "nvidia", "Type": "gpu", "Name": "H100", "DeviceIDs": ["GPU-a", "GPU-b"]}]},
         "u": {"Devices": None}}}},
    {"ID": "old", "Name": "x", "NodeName": "gpu02", "ClientStatus": "complete", "CreateTime": 1, "TaskStates": None},
]  # fmt: skip


def read(
    adapter: str, program: str, printed: str, code: int, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Job]:
    """What is read through an adapter while its scheduler's command prints this."""
    (directory / "printed").write_text(printed)
    fake = directory / program
    fake.write_text(f'#!/bin/sh\necho "$@" > {directory}/asked\ncat {directory}/printed\nexit {code}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    reader = QueueReader(Scheduler(id="s", kind="command", command=(str(ADAPTERS / adapter),)), directory)

    async def turn() -> None:
        await asyncio.sleep(0)

    found = asyncio.run(reader.read(turn))
    assert found.asked_utc_s == pytest.approx(time.time(), abs=60)
    return list(found.jobs)


def test_htcondor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, waits, held = read("htcondor-jobs", "condor_q", json.dumps(ADS), 0, tmp_path, monkeypatch)
    assert (runs.id, runs.name, runs.user, runs.state, runs.gpus, runs.cpus) == (
        "7.0",
        "train.sh",
        "ann",
        "running",
        2,
        8,
    )
    assert (runs.nodes, runs.started_utc_s) == (("gpu01.example.org",), 1796010300.0)
    assert (waits.id, waits.name, waits.state, waits.gpus, waits.time_limit_s) == ("8.3", "sweep", "pending", 0, 3600.0)
    assert (waits.reason, obstacle(waits.reason, start_expected=False)) == ("", None), "it is forecast"
    assert (held.state, held.reason, held.nodes) == ("pending", "JobHeldUser", ())
    assert "-allusers -json -attributes ClusterId,ProcId" in (tmp_path / "asked").read_text()
    assert read("htcondor-jobs", "condor_q", "", 0, tmp_path, monkeypatch) == []


@pytest.mark.parametrize("odd", [10**12, 1e300, float("inf"), float("nan"), -1, "text", [], True])
def test_what_a_user_writes_into_a_job_of_htcondor_hides_no_other(
    odd: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dict.fromkeys(("RequestGPUs", "RequestCpus", "AllowedJobDuration", "JobCurrentStartDate", "QDate"), odd)
    ad = (
        ADS[0]
        | own
        | {"ProcId": 1, "JobBatchName": "\ud800" + "n" * 200_000, "RemoteHost": "h" * 300, "AcctGroup": odd}
    )
    jobs = read("htcondor-jobs", "condor_q", json.dumps([ad, ADS[0]]), 0, tmp_path, monkeypatch)
    assert [job.id for job in jobs] == ["7.1", "7.0"]


def test_nomad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runs,) = read("nomad-jobs", "nomad", json.dumps(ALLOCATIONS), 0, tmp_path, monkeypatch)
    assert (runs.name, runs.account, runs.nodes, runs.gpus) == ("train.gpu[0]", "ml", ("gpu02",), 2)
    assert runs.gpu_uuids == ("GPU-a", "GPU-b")
    assert runs.submitted_utc_s == pytest.approx(1796010000.12, abs=0.01)
    assert runs.started_utc_s == 1796010320.0
    assert (tmp_path / "asked").read_text() == "operator api /v1/allocations?resources=true&namespace=*\n"


@pytest.mark.parametrize(
    "more",
    [
        {"TaskStates": {"t": None}},
        {"TaskStates": {"t": {}}},
        {"TaskStates": {"t": {"StartedAt": None}}},
        {"AllocatedResources": {"Tasks": {"t": None}}},
        {"AllocatedResources": {"Tasks": None}},
        {"AllocatedResources": None},
    ],
)
def test_what_nomad_does_not_tell_of_one_allocation_hides_no_other(
    more: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps([ALLOCATIONS[0] | {"ID": "new", "Name": "half \ud83d"} | more, ALLOCATIONS[0]])
    jobs = read("nomad-jobs", "nomad", answer, 0, tmp_path, monkeypatch)
    assert [job.id for job in jobs] == ["new", "5456bd7a-9fc0"]


@pytest.mark.parametrize(("adapter", "program"), [("htcondor-jobs", "condor_q"), ("nomad-jobs", "nomad")])
def test_a_command_that_fails_fails_the_adapter(
    adapter: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QueueNotRead, match="ended with exit code 3"):
        read(adapter, program, "[]", 3, tmp_path, monkeypatch)
