"""The command that moves a quota of Kueue, run against an API server on loopback.

A ClusterQueue after Kueue's documents (concepts/cluster_queue, several resource groups); none was recorded.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from farm_manager import FarmManager, farm_manager

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
QUEUE = "/apis/kueue.x-k8s.io/v1beta2/clusterqueues/gpus"
POWER = "skerry.dev/power-100w"
VERBS = {"GET": "get", "PATCH": "patch"}


def quota(name: str, nominal: object) -> dict[str, object]:
    return {"name": name, "nominalQuota": nominal}


class Quota:
    """A ClusterQueue with a quota of power, and the command for it."""

    def __init__(self, cluster: FarmManager, place: Path) -> None:
        self.cluster, self.place = cluster, place
        compute = {"name": "h200", "resources": [quota("cpu", "960"), quota("nvidia.com/gpu", "64")]}
        power = {"name": "power", "resources": [quota(POWER, "400")]}
        groups = [{"flavors": [compute]}, {"coveredResources": [POWER], "flavors": [power]}]
        used = [{"name": "nvidia.com/gpu", "total": "8"}, {"name": POWER, "total": "90", "borrowed": "0"}]
        self.queue: dict[str, Any] = {
            "kind": "ClusterQueue",
            "metadata": {"name": "gpus", "resourceVersion": "7"},
            "spec": {"resourceGroups": groups, "preemption": {"withinClusterQueue": "Never"}},
            "status": {"flavorsReservation": [{"name": "power", "resources": used}]},
        }
        self.power: dict[str, Any] = power["resources"][0]  # type: ignore[assignment]
        self.meanwhile: object = None  # what another writes between our reading and our change
        cluster.pages[QUEUE] = self._answer

    def _answer(self, operations: Any) -> Any:
        """RFC 6902: each operation in turn, none of them where a test fails."""
        if operations is None:
            return self.queue
        if self.meanwhile is not None:
            self.power["nominalQuota"] = self.meanwhile
        for each in operations:
            *way, last = each["path"].strip("/").split("/")
            target: Any = self.queue
            for word in way:
                target = target[int(word)] if isinstance(target, list) else target[word]
            if each["op"] == "test" and target[last] != each["value"]:
                self.cluster.status = 422
                return {"kind": "Status", "code": 422, "reason": "Invalid"}
            if each["op"] == "replace":
                target[last] = each["value"]
        return self.queue

    def run(self, *words: str) -> tuple[int, str, str]:
        """Its exit code, and what it says on both outputs."""
        command = [str(DEPLOY / "adapters" / "kueue-limit"), self.cluster.url, "gpus", "--state-dir", str(self.place)]
        ended = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
        return ended.returncode, ended.stdout, ended.stderr.strip()


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Quota]:
    with farm_manager() as cluster:
        yield Quota(cluster, tmp_path)


def test_the_quota_is_moved_and_put_back_and_nothing_else_is_touched(power: Quota) -> None:
    before = json.loads(json.dumps(power.queue))
    said = {"format": "skerry-limit/1", "limit": 400, "used": 90, "found": None, "changed": False}
    assert json.loads(power.run("show")[1]) == said
    assert power.run("set", "120") == (0, "", "")
    assert power.power == quota(POWER, "120")
    assert json.loads(power.run("show")[1]) == said | {"limit": 120, "found": 400}
    assert power.run("set", "0") == (0, "", "")
    assert power.power["nominalQuota"] == "0"
    assert power.run("restore") == (0, "", "")
    assert power.queue == before


def test_the_rights_are_those_of_its_requests(power: Quota, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    assert power.run("--token-file", str(token), "set", "120")[0] == 0
    assert power.cluster.authorization == "Bearer secret"
    items = json.loads((DEPLOY / "kubernetes" / "power.json").read_text())["items"]
    rules = next(item["rules"] for item in items if item["kind"] == "ClusterRole")
    asked = {(VERBS[method], target.partition("?")[0]) for method, target in power.cluster.asked}
    assert asked == {
        (verb, f"/apis/{group}/v1beta2/{resource}/{name}")
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule["resourceNames"]
    }


def test_what_another_writes_in_between_stays(power: Quota) -> None:
    power.meanwhile = "300"
    code, _, told = power.run("set", "120")
    assert (code, power.power["nominalQuota"]) == (1, "300")
    assert "HTTP 422: it does not take this: was it changed by another in between?" in told
    power.cluster.status, power.meanwhile = 200, None
    assert json.loads(power.run("show")[1])["changed"] is True
    code, _, told = power.run("set", "120")
    assert (code, power.power["nominalQuota"], "it stays" in told) == (1, "300", True)


def test_it_lapses_without_the_gateway(power: Quota) -> None:
    power.run("set", "120")
    long_ago_s = time.time() - 301
    os.utime(power.place / "gpus.json", (long_ago_s, long_ago_s))
    code, _, told = power.run("lapse")
    assert (code, power.power["nominalQuota"]) == (0, "400")
    assert "the limit is put back" in told


@pytest.mark.parametrize(("nominal", "count"), [("1k", 1000), (400, 400), ("0", 0)])
def test_whole_numbers_as_kubernetes_writes_them(power: Quota, nominal: object, count: int) -> None:
    power.power["nominalQuota"] = nominal
    assert json.loads(power.run("show")[1])["limit"] == count


@pytest.mark.parametrize("nominal", ["1500m", "4e2", "-1", None, "9999M", True])
def test_what_is_no_whole_number_is_left_alone(power: Quota, nominal: object) -> None:
    power.power["nominalQuota"] = nominal
    code, _, told = power.run("set", "5")
    assert (code, "expected a whole number" in told, power.power["nominalQuota"]) == (1, True, nominal)


def test_a_queue_whose_quota_others_share_or_that_has_none_is_refused(power: Quota) -> None:
    code, _, told = power.run("--resource", "skerry.dev/other", "show")
    assert (code, "no flavor has a quota of skerry.dev/other, expected one" in told) == (1, True)
    power.queue["spec"]["resourceGroups"].append({"flavors": [{"name": "b", "resources": [quota(POWER, "1")]}]})
    assert "2 flavors have a quota" in power.run("show")[2]
    power.queue["spec"]["cohortName"] = "all"
    assert "the ClusterQueue is in cohort all" in power.run("set", "5")[2]
    power.cluster.pages[QUEUE] = b"[]"
    assert "no flavor has" in power.run("show")[2]


def test_a_token_goes_over_https_to_a_verified_server_only(power: Quota, tmp_path: Path) -> None:
    power.cluster.url = "http://192.0.2.1:6443"
    assert power.run("show") == (2, "", "http://192.0.2.1:6443: expected https, as a token is sent there")
    power.cluster.url = "https://127.0.0.1:1"
    code, _, told = power.run("--ca-file", str(tmp_path / "none.pem"), "show")
    assert (code, "none.pem: [Errno 2]" in told) == (1, True)
