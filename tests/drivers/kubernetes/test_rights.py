"""The rights that deploy/kubernetes gives: those of the requests that are made, and no others."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from fake_cluster import NODES, PODS, WORKLOADS, FakeCluster, node
from test_kueue import RUNS, pod, read_at, workload

from drivers.kubernetes.config import KubernetesServer
from drivers.node_lists.kubernetes_nodes import node_names

FILE = Path(__file__).parents[3] / "deploy" / "kubernetes" / "read-only.json"


def manifest() -> dict[str, dict[str, Any]]:
    items = json.loads(FILE.read_text())["items"]
    assert len({item["kind"] for item in items}) == len(items)
    return {item["kind"]: item for item in items}


def rights() -> set[tuple[str, str, str]]:
    rules = manifest()["ClusterRole"]["rules"]
    return {right for rule in rules for right in product(rule["verbs"], rule["apiGroups"], rule["resources"])}


async def test_they_are_those_of_the_requests() -> None:
    """With them everything is read; and each of them was used."""
    objects = {NODES: [node("gpu01")], WORKLOADS: [workload(conditions=RUNS)], PODS: [pod("a", "gpu01")]}
    async with FakeCluster(objects) as cluster:
        cluster.allowed = rights()
        names = await node_names(KubernetesServer(id="k8s", url=cluster.url), "", Path())
        queue = await read_at(cluster)
    assert (names.names, queue.notes) == (("gpu01",), ())
    assert [job.nodes for job in queue.jobs] == [("gpu01",)]
    assert cluster.seen == rights()


def test_they_are_given_to_the_account_and_to_nobody_else() -> None:
    found = manifest()
    account = found["ServiceAccount"]["metadata"]
    assert found["Namespace"]["metadata"]["name"] == account["namespace"]
    assert found["ClusterRoleBinding"]["subjects"] == [{"kind": "ServiceAccount"} | account]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "skerry-read-only"}
    assert found["ClusterRoleBinding"]["roleRef"] == role
    assert found["ClusterRole"]["metadata"]["name"] == role["name"]
