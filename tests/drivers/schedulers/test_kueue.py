"""Workloads of Kueue as a queue: what each state is, what it asks for, on which nodes it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import PODS, WORKLOADS, FakeCluster, Object
from http_server import response

from dispatch.model.jobs import Job
from drivers.kubernetes.config import KubernetesServer
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import QueueRead
from drivers.schedulers.kueue import KueueReader

SUBMITTED, ADMITTED, LATER = "2026-11-30T08:00:00Z", "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z"
SUBMITTED_S = 1796025600.0
WAITS = ("QuotaReserved", "False", "WaitingForQuota")
RESERVED = ("QuotaReserved", "True", "QuotaReserved")
RUNS = (RESERVED, ("Admitted", "True", "Admitted"))


def container(*, restart: str = "", limits: Object | None = None, **requests: object) -> Object:
    resources = {"requests": {name.replace("__", ".com/"): value for name, value in requests.items()}}
    resources |= {"limits": limits} if limits else {}
    return {"name": "c", "resources": resources} | ({"restartPolicy": restart} if restart else {})


def pod_set(count: int, *containers: Object, name: str = "main", **spec: object) -> Object:
    return {"name": name, "count": count, "template": {"metadata": {}, "spec": {"containers": list(containers)} | spec}}


WORKER = pod_set(2, container(cpu="3500m", nvidia__gpu=4), name="worker")


def workload(
    name: str = "job-train-1a2b3",
    conditions: Iterable[tuple[str, str, str]] = (WAITS,),
    *,
    pods: Iterable[Object] = (WORKER,),
    metadata: Object | None = None,
    at: str = ADMITTED,
    spec: Object | None = None,
    **status: object,
) -> Object:
    """A workload after the documents; `at`: when its conditions became so."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "job-uid", "controller": True}
    meta = {"namespace": "ml", "name": name, "uid": f"uid-{name}", "creationTimestamp": SUBMITTED}
    told = [
        {"type": type, "status": state, "reason": reason, "message": "", "lastTransitionTime": at}
        for type, state, reason in conditions
    ]
    return {
        "metadata": meta | {"ownerReferences": [owner]} | (metadata or {}),
        "spec": {"queueName": "gpus", "active": True, "priority": 100, "podSets": list(pods)} | (spec or {}),
        "status": {"conditions": told} | status,
    }


def pod(name: str, where: str, owner: str = "job-uid", namespace: str = "ml", **annotations: str) -> Object:
    notes = {key.replace("__", ".x-k8s.io/"): value for key, value in annotations.items()}
    owners = [{"kind": "Job", "name": "train", "uid": owner, "controller": True}]
    meta = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "labels": {"kueue.x-k8s.io/podset": "worker"}}
    return {"metadata": meta | {"annotations": notes, "ownerReferences": owners}, "spec": {"nodeName": where}}


async def turn() -> None:
    await asyncio.sleep(0)


async def read_at(cluster: FakeCluster, **keys: Any) -> QueueRead:
    config = Scheduler(id="kueue", kind="kueue", kubernetes="k8s", **keys)
    return await KueueReader(config, KubernetesServer(id="k8s", url=cluster.url), Path()).read(turn)


async def read(*workloads: Object, pods: Iterable[Object] = (), **keys: Any) -> QueueRead:
    async with FakeCluster({WORKLOADS: workloads, PODS: pods}) as cluster:
        return await read_at(cluster, **keys)


async def job(made: Object, **keys: Any) -> Job:
    (found,) = (await read(made, **keys)).jobs
    return found


async def test_a_workload_that_waits() -> None:
    assert await job(workload(spec={"maximumExecutionTimeSeconds": 3600})) == Job(
        scheduler="kueue",
        id="ml/job-train-1a2b3",
        name="train",
        account="ml",
        partition="gpus",
        state="pending",
        reason="WaitingForQuota",
        submitted_utc_s=SUBMITTED_S,
        time_limit_s=3600.0,
        cpus=7,
        gpus=8,
    )


async def test_one_that_runs_has_the_nodes_of_its_pods() -> None:
    pods = [pod("a", "gpu01"), pod("b", "gpu02"), pod("c", "gpu01"), pod("other", "gpu09", owner="another")]
    pods += [pod("claims", "gpu09", namespace="theirs"), pod("names", "gpu09", namespace="theirs", kueue__workload="w")]
    found = await job(workload("w", conditions=RUNS), pods=pods)
    assert (found.state, found.reason, found.nodes, found.node_count) == ("running", "", ("gpu01", "gpu02"), 2)
    assert found.pods == ("ml/a", "ml/b", "ml/c"), "as exporters call them"
    assert found.started_utc_s == SUBMITTED_S + 3600


async def test_pods_are_found_by_the_annotation_or_as_owners() -> None:
    group = workload("group", RUNS, metadata={"ownerReferences": [{"kind": "Pod", "name": "p", "uid": "uid-p"}]})
    named = workload("set", RUNS, metadata={"ownerReferences": []})
    pods = [pod("p", "gpu01", owner=""), pod("q", "gpu02", owner="", kueue__workload="set")]
    found = await read(group, named, pods=pods)
    assert {each.id: (each.name, each.nodes) for each in found.jobs} == {
        "ml/group": ("p", ("gpu01",)),
        "ml/set": ("set", ("gpu02",)),
    }


@pytest.mark.parametrize(
    ("conditions", "spec", "state", "reason"),
    [
        ([], {}, "pending", ""),
        ([("QuotaReserved", "False", "Pending")], {}, "pending", "Pending"),
        ([("QuotaReserved", "False", "Inadmissible")], {"active": False}, "pending", "Deactivated"),
        ([RESERVED], {}, "pending", "UnsatisfiedAdmissionChecks"),
        ([RESERVED, ("Admitted", "False", "Delayed")], {}, "pending", "Delayed"),
        (RUNS, {}, "running", ""),
        ([*RUNS, ("PodsReady", "False", "WaitForStart")], {}, "configuring", ""),
        ([*RUNS, ("PodsReady", "False", "WaitForRecovery")], {}, "running", ""),
        ([*RUNS, ("PodsReady", "True", "Started")], {}, "running", ""),
        ([*RUNS, ("Evicted", "True", "Preempted")], {}, "completing", ""),
        ([*RUNS, ("Evicted", "False", "QuotaReserved")], {}, "running", ""),
        ([("Evicted", "True", "Preempted"), WAITS, ("Admitted", "False", "x")], {}, "pending", "WaitingForQuota"),
    ],
)  # fmt: skip
async def test_states(conditions: list[tuple[str, str, str]], spec: Object, state: str, reason: str) -> None:
    found = await job(workload(conditions=conditions, spec=spec))
    assert (found.state, found.reason) == (state, reason)


async def test_what_has_ended_runs_elsewhere_or_stands_for_another_is_no_job() -> None:
    variant = {"ownerReferences": [{"kind": "Workload", "name": "w", "uid": "u", "controller": True}]}
    found = await read(
        workload("a", [*RUNS, ("Finished", "True", "Succeeded")]),
        workload("b", metadata=variant),
        workload("c", RUNS, clusterName="west"),
        workload("d"),
    )
    assert [each.id for each in found.jobs] == ["ml/d"]
    assert found.notes == ("1 workloads run in other clusters (MultiKueue): left out",)


async def test_one_that_was_preempted_starts_a_second_time_with_what_is_left_of_its_time() -> None:
    limit = {"maximumExecutionTimeSeconds": 3600}
    first = await job(workload(conditions=RUNS, spec=limit))
    for name in ("accumulatedPastExecutionTimeSeconds", "accumulatedPastExexcutionTimeSeconds"):
        again = await job(workload(conditions=RUNS, at=LATER, spec=limit, **{name: 600}))
        assert (again.id, again.started_utc_s, again.time_limit_s) == (first.id, SUBMITTED_S + 7200, 3000.0)


@pytest.mark.parametrize(
    ("pods", "status", "cpus", "gpus"),
    [
        ([WORKER, pod_set(1, container(cpu="100m"), name="driver")], {}, 8, 8),
        ([pod_set(3, container(amd__gpu="2"), container(cpu=1))], {}, 3, 6),
        ([pod_set(1, container(limits={"nvidia.com/gpu": "1", "cpu": "2"}))], {}, 2, 1),
        ([pod_set(1, container(cpu="1"), initContainers=[container(cpu="8")])], {}, 8, 0),
        ([pod_set(1, container(cpu="1"), initContainers=[container(cpu="2", restart="Always")])], {}, 3, 0),
        ([pod_set(2, container(cpu="1"), resources={"requests": {"cpu": "4"}})], {}, 8, 0),
        ([pod_set(0, container(cpu="1"))], {}, 0, 0),
        ([WORKER], {"reclaimablePods": [{"name": "worker", "count": 1}]}, 4, 4),
        ([WORKER], {"admission": {"clusterQueue": "q", "podSetAssignments": [{"name": "worker", "count": 1}]}}, 4, 4),
        (  # by a namespace's defaults, or devices claimed: as Kueue counts
            [pod_set(2, container())],
            {"resourceRequests": [{"name": "main", "resources": {"cpu": "5", "nvidia.com/gpu": "2"}}]}, 5, 2,
        ),
        (
            [pod_set(2, container())],
            {"admission": {"podSetAssignments": [{"name": "main", "resourceUsage": {"nvidia.com/gpu": "6"}}]}},
            0, 6,
        ),
        ([], {}, 0, 0),
    ],
)  # fmt: skip
async def test_what_it_asks_for(pods: list[Object], status: Object, cpus: int, gpus: int) -> None:
    found = await job(workload(pods=pods, **status))
    assert (found.cpus, found.gpus) == (cpus, gpus)


async def test_names_of_gpus_and_users_are_the_sites() -> None:
    asks = pod_set(1, container(nvidia__gpu=1), container(intel__xe=2))
    labels = {"labels": {"hpc.example.org/user": "ann"}}
    found = await job(
        workload(pods=[asks], metadata=labels), gpu_resources=("intel.com/xe",), user_label="hpc.example.org/user"
    )
    assert (found.user, found.gpus) == ("ann", 2)


async def test_null_is_nothing() -> None:
    bare = workload(metadata={"labels": None, "ownerReferences": None}, spec={"podSets": None})
    found = await job(bare | {"status": {"conditions": None, "admission": None}}, user_label="user")
    assert (found.name, found.user, found.reason, found.gpus) == ("job-train-1a2b3", "", "", 0)


async def test_a_workload_that_cannot_be_read_is_left_out_and_told() -> None:
    asks = pod_set(1, container(nvidia__gpu="many\x1b"))
    found = await read(
        workload("a", pods=[asks]),
        workload("b", metadata={"creationTimestamp": None}),
        workload("c", spec={"podSets": 7}),
        workload("d"),
        pods=[{"metadata": {"name": "p", "labels": {"kueue.x-k8s.io/podset": "main"}}}],
    )
    assert [each.id for each in found.jobs] == ["ml/d"]
    assert found.notes == (
        "a pod is left out: Object missing required field `spec`",
        "a workload is left out: ml/a: expected a quantity such as 4 or 500m, found 'many\\x1b'",
        "a workload is left out: ml/b: expected a time such as 2026-11-30T07:14:54Z, found ''",
        "a workload is left out: Expected `array | null`, got `int` - at `$.spec.podSets`",
    )


async def test_workloads_of_which_none_can_be_read_are_no_empty_queue() -> None:
    with pytest.raises(QueueNotRead, match=r"none of 2 workloads can be read: .*at `\$\.spec\.podSets`"):
        await read(workload("a", spec={"podSets": 7}), workload("b", spec={"podSets": 7}))


async def test_without_the_right_to_read_pods_the_nodes_are_not_known() -> None:
    async with FakeCluster({WORKLOADS: [workload(conditions=RUNS)], PODS: [pod("a", "gpu01")]}) as cluster:
        cluster.allowed = {("list", "kueue.x-k8s.io", "workloads")}
        found = await read_at(cluster)
    assert [(each.state, each.nodes) for each in found.jobs] == [("running", ())]
    (note,) = found.notes
    assert "on which nodes jobs run is not known" in note
    assert 'cannot list resource "pods"' in note


async def test_pods_that_cannot_be_read_now_are_no_reason_to_forget_where_jobs_run() -> None:
    async with FakeCluster({WORKLOADS: [workload(conditions=RUNS)]}) as cluster:
        cluster.instead[PODS] = response(b"", "429 Too Many Requests")
        with pytest.raises(QueueNotRead, match="pods: answers HTTP 429 Too Many Requests"):
            await read_at(cluster)


async def test_only_pods_of_kueue_that_hold_nodes_are_asked_for() -> None:
    async with FakeCluster({WORKLOADS: [], PODS: []}) as cluster:
        await read_at(cluster)
    assert cluster.queries[0]["labelSelector"] == "kueue.x-k8s.io/podset"
    assert cluster.queries[0]["fieldSelector"] == "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"


async def test_an_older_kueue_is_read_by_its_version() -> None:
    async with FakeCluster({WORKLOADS.replace("v1beta2", "v1beta1"): [workload()], PODS: []}) as cluster:
        config = Scheduler(id="kueue", kind="kueue", kubernetes="k8s")
        reader = KueueReader(config, KubernetesServer(id="k8s", url=cluster.url), Path())
        for _ in range(2):
            assert len((await reader.read(turn)).jobs) == 1
        asked = [target.partition("?")[0] for target in cluster.server.asked]
    assert [path.split("/")[3] for path in asked if "kueue" in path] == ["v1beta2", "v1beta1", "v1beta1"]


async def test_a_cluster_without_kueue() -> None:
    async with FakeCluster({PODS: []}) as cluster:
        with pytest.raises(QueueNotRead, match="is Kueue installed"):
            await read_at(cluster)


async def test_the_clusters_clock_is_told() -> None:
    async with FakeCluster({WORKLOADS: [workload()], PODS: []}) as cluster:
        cluster.utc_s = SUBMITTED_S + 99
        assert (await read_at(cluster)).clock_utc_s == SUBMITTED_S + 99


async def test_an_answer_that_stops_is_no_queue() -> None:
    async with FakeCluster({WORKLOADS: [], PODS: []}) as cluster:
        cluster.instead[WORKLOADS] = b""
        with pytest.raises(QueueNotRead, match=r"no whole list within 0\.3 s"):
            await read_at(cluster, deadline_s=0.3)
        whole = json.dumps({"kind": "WorkloadList", "metadata": {}, "items": [workload()]}).encode()
        cluster.instead[WORKLOADS] = response(whole[:-30], kind="application/json")
        with pytest.raises(QueueNotRead, match="expected a WorkloadList"):
            await read_at(cluster)
