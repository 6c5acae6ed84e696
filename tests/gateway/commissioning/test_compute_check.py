"""`skerry compute check`: what is read of each node, from where, and what it may be ordered; by default nothing."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_bmc import PASSWORD, USER, FakeBmc, environment, server
from http_server import HttpServer
from metrics_pages import dcgm
from msgspec.structs import replace
from small_gateway import SITE

from console.cli.compute import compute, queue_lines
from dispatch.model.equipment import DeviceHealth, Gpu, Limit, Meter, Node, NodePower
from dispatch.model.node_lists import NodeListNow
from dispatch.model.readings import MISSING, Quality, Reading, reading
from dispatch.model.snapshot import Snapshot
from gateway import exit_codes
from gateway.commissioning import compute_check
from gateway.commissioning.compute_check import check_queues, reports
from gateway.site.loader import compose
from gateway.site.schema import Site

NODES: list[dict[str, Any]] = [
    {
        "id": "capped",
        "source": "exporters",
        "exporters": ["http://a:1/metrics"],
        "cap_w": "2 kW",
        "on_cap": ["/bin/cap"],
    },
    {"id": "seen", "source": "exporters", "exporters": ["http://b:1/metrics"], "cap_w": "2 kW"},  # by nothing
    {"id": "frozen", "source": "psutil", "freeze": "/sys/fs/cgroup/jobs.slice", "on_shutdown": ["/bin/off"]},
]


def site_of(**sections: Any) -> Site:
    return compose(Path("site.toml"), deepcopy(SITE) | sections)


def snapshot(*nodes: Node, lost: str = "") -> Snapshot:
    health = [DeviceHealth(n.id, "node", n.id != lost, 0.0, 1, 0, 0, "gives up" if n.id == lost else "") for n in nodes]
    return Snapshot(1, 0.0, 0.0, Meter("m"), nodes=nodes, devices=tuple(health))


def test_what_a_node_may_be_ordered_is_what_its_section_says() -> None:
    group = {"names": ["gpu[1-2]"], "source": "exporters", "exporters": ["http://{name}:9100/metrics"]}
    found = {r.id: r for r in reports(site_of(node=NODES, nodes=[group]), snapshot(Node("seen")))}
    assert found["capped"].may == ("cap to 2 kW by the command /bin/cap",)
    assert found["seen"].may == ()
    assert found["frozen"].may == ("suspend by cgroup /sys/fs/cgroup/jobs.slice", "shut down by the command /bin/off")
    assert (found["gpu2"].may, found["gpu2"].read_from) == ((), ("http://gpu2:9100/metrics",))
    assert (found["seen"].complete, found["gpu1"].error) == (False, "not read")


def test_a_node_that_shows_gpus_is_never_suspended_and_the_steps_for_its_jobs_are_said() -> None:
    steps = {f"on_{name}": [f"/bin/{name}"] for name in ("stop_starts", "allow_starts", "checkpoint", "requeue")}
    power = {"on_power_off": ["/bin/off"], "on_power_on": ["/bin/on"], "checkpoint_s": 90}
    nodes = [NODES[2], {"id": "jobs", "source": "psutil", "gpus": 8, **steps, **power}]
    site = site_of(node=nodes)
    frozen, jobs = reports(site, snapshot(Node("frozen", gpus=(Gpu(0, "x"),), gpus_total=1), Node("jobs")))
    assert frozen.may == ("shut down by the command /bin/off",)
    assert frozen.never == "suspended: it shows 1 GPU"
    assert jobs.may == (
        "stop new starts by the command /bin/stop_starts",
        "tell its jobs to save by the command /bin/checkpoint",
        "requeue its jobs by the command /bin/requeue, 90 s later",
        "power off once empty by the command /bin/off",
    )
    assert reports(site, snapshot(Node("frozen")))[0].never == ""


def test_how_deep_each_tier_lets_caps_go_and_what_that_costs() -> None:
    common = {
        "source": "exporters",
        "cap_w": "1 kW",
        "on_cap": ["/bin/cap", "{watts_per_gpu}"],
        "gpus": 4,
        "full_w": 400,
    }
    own = {"slowdown_pct": 50, "throughput": [[0.6, 0.8], [1, 1]]}
    nodes: list[dict[str, Any]] = [
        {"id": "ten", "exporters": ["http://a:1/metrics"], **common},
        {"id": "none", "exporters": ["http://b:1/metrics"], "slowdown_pct": 0, **common},
        {"id": "own", "exporters": ["http://c:1/metrics"], **own, **common},
        {"id": "idle", "exporters": ["http://d:1/metrics"], **common},
        {"id": "dark", "exporters": ["http://e:1/metrics"], **common},
        NODES[2] | {"cap_w": 2_000, "on_cap": ["/bin/cap"]},
    ]
    caps = {"max_share": 0.5, "price_eur_per_gpu_hour": 2, "slowdown_pct": 10}
    busy = tuple(Gpu(n, "A", w=reading(400.0)) for n in range(4))
    read = snapshot(
        *(Node(id, w=reading(1_900.0), gpus=busy) for id in ("ten", "none", "own")),
        Node("idle", w=reading(600.0), gpus=tuple(Gpu(n, "A", w=reading(60.0)) for n in range(4))),
        Node("dark"),
        Node("frozen", w=reading(5_000.0)),
    )
    assert {r.id: r.cap_cost for r in reports(site_of(node=nodes, caps=caps), read)} == {
        "ten": "tier 10 %: capped for the peak from 1.9 kW to 1.7 kW at the least, 324 W a GPU; then 7 % slower by the "
        "published curve",
        "none": "tier 0 %: not capped for the peak",
        "own": "tier 50 %: capped for the peak from 1.9 kW to 1.4 kW at the least, 253 W a GPU; then 20 % slower by "
        "the site's curve",
        "idle": "tier 10 %: draws 0.6 kW, too little for a cap for the peak",
        "dark": "tier 10 %: what a cap would cost is not known, nor is its power",
        "frozen": "tier 10 %: capped for the peak from 5.0 kW to 2.5 kW at the least; without GPUs that costs "
        "energy only",
    }
    unpriced = [{"id": "ten", "exporters": ["http://a:1/metrics"], **common}]
    assert [r.cap_cost for r in reports(site_of(node=unpriced, caps={"max_share": 0.5}), read)] == [""]


def test_the_lines_say_how_each_power_was_got(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    powers = (
        NodePower("RAPL + 1 GPU (dcgm-exporter)", Reading(950.0, 4.0, Quality.GOOD), 30.0),
        NodePower("estimate by CPU use + 1 GPU (dcgm-exporter)", MISSING, 30.0),
    )
    good = Node("capped", w=powers[0].w, source=powers[0].source, gpus=(Gpu(0, "x"),), gpus_total=1, powers=powers)
    read = snapshot(good, Node("seen", note="GPU 0 gives no power"), Node("frozen", w=reading(80.0)), lost="frozen")
    monkeypatch.setattr("console.cli.compute.load", lambda path: site_of(node=NODES))
    listed = NodeListNow(group="nodes[0]", source="DNS, _x._tcp", nodes=3, read_utc_s=time.time(), error="gone")
    checked = lambda site: ("gateway", reports(site, read), (listed,), time.time())  # noqa: E731
    monkeypatch.setattr("console.cli.compute.check", checked)
    done = CliRunner().invoke(compute, ["check", str(tmp_path)], standalone_mode=False)
    lines = [line.strip() for line in done.output.splitlines()]
    assert done.return_value == exit_codes.FAILED
    assert "0.95 kW by RAPL + 1 GPU (dcgm-exporter), measured every 30 s, 4s old" in lines
    assert "no power yet by estimate by CPU use + 1 GPU (dcgm-exporter)" in lines
    assert "1 GPU, 0 of them with power" in lines
    assert "missing or told: GPU 0 gives no power" in lines
    assert "NOT READ: gives up" in lines
    assert "none of its sources gives the power of the whole node" in lines
    assert "3 nodes: the power of 1 is known, that of 2 is not" in lines
    assert lines[-3] == "2 may be ordered something: capped, frozen; the others are only observed"
    assert lines[-2:] == ["nodes[0]      3 nodes by DNS, _x._tcp, read 0 s ago", "NOT READ: gone"]
    done = CliRunner().invoke(compute, ["check", str(tmp_path), "--json"], standalone_mode=False)
    assert [n["id"] for n in json.loads(done.output)["nodes"]] == ["capped", "seen", "frozen"]
    assert json.loads(done.output)["lists"][0]["error"] == "gone"


async def test_lists_are_asked_and_the_nodes_that_they_name_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_check, "ROUNDS", 1)
    monkeypatch.setattr(compute_check, "EVERY_S", 0.01)
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\necho gpu1=idle\necho gpu2=down*\n")
    sinfo.chmod(0o755)
    async with HttpServer({"/gpu1": dcgm("gpu1", [400.0] * 2)}) as exporters:  # type: ignore[arg-type]
        group = {"source": "exporters", "exporters": [exporters.url("/{name}")]}
        site = site_of(
            node=[],
            nodes=[group | {"names": ["big1"]}, group | {"sinfo": [str(sinfo)]}, group | {"sinfo": ["/none"]}],
        )
        found, lists = await compute_check._check(site)
        assert [(one.id, bool(one.error)) for one in found] == [("big1", True), ("gpu1", False), ("gpu2", True)]
        assert [(one.nodes, one.note) for one in lists] == [(2, "1 down: gpu2"), (0, "not read yet")]
        assert "/none cannot be run" in lists[1].error
        told = Snapshot(0, 0.0, 0.0, Meter("grid"), nodes=tuple(Node(id) for id in ("big1", "gpu8", "gpu9")))
        now = compute_check._as_read(site, told, [replace(lists[0], nodes=2)])  # of a running gateway
        assert [group.names for group in now.nodes] == [("big1",), ("gpu8", "gpu9"), ()]


def test_it_needs_no_twin_of_devices_that_it_does_not_read() -> None:
    group = {"names": ["gpu[1-2]"], "source": "exporters", "exporters": ["http://{name}:9100/metrics"]}
    site = site_of(nodes=[group], node=[], meter=[{"id": "grid", "url": "twin"}])
    assert site.uses_twin
    assert not compute_check.only_nodes(site).uses_twin


async def test_it_reads_the_nodes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither meters nor PCS are asked: some take a single connection."""
    monkeypatch.setattr(compute_check, "ROUNDS", 1)
    monkeypatch.setattr(compute_check, "EVERY_S", 0.01)
    pages = {"/gpu1": dcgm("gpu1", [400.0] * 2)}
    async with HttpServer(pages) as server:  # type: ignore[arg-type]
        group = {"names": ["gpu[1-2]"], "source": "exporters", "exporters": [server.url("/") + "{name}"], "gpus": 2}
        site = site_of(nodes=[group], node=[])
        found = await compute_check._read(site)
        assert [(n.id, n.w.good) for n in found.nodes] == [("gpu1", 860.0), ("gpu2", None)]
        one, two = reports(site, found)
        assert one.complete
        assert "answers HTTP 404" in two.error


async def test_it_waits_for_what_bmcs_tell_and_logs_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compute_check, "ROUNDS", 1)
    monkeypatch.setattr(compute_check, "EVERY_S", 0.01)
    password = tmp_path / "bmc-password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    pages = {"/gpu1": dcgm("gpu1", [400.0] * 2)}
    async with FakeBmc(server()) as bmc, HttpServer(pages) as exporters:  # type: ignore[arg-type]
        bmc.tree |= environment(1234)
        node = {"id": "gpu1", "source": "exporters", "exporters": [exporters.url("/gpu1")], "bmc": bmc.url}
        account = {"id": "b", "user": USER, "password_file": str(password)}
        site = site_of(node=[node], bmc=[account])
        (one,) = reports(site, await compute_check._read(site))
        assert (one.node.w.good, one.node.source) == (1234.0, "BMC, PowerWatts.Reading")
        assert one.read_from == (f"BMC {bmc.url}", exporters.url("/gpu1"))
        assert (bmc.logins, bmc.tokens) == (1, {})


def test_each_queue_is_read_once_or_said_why_not(tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(
        '{"format": "skerry-jobs/1", "jobs": 1}\n{"id": "7", "state": "running", "submitted_utc_s": 1, "gpus": 4}\n'
    )
    schedulers = [
        {"id": "farm", "kind": "file", "file": "jobs.jsonl"},
        {"id": "lost", "kind": "command", "command": ["no"]},
    ]
    site = compose(tmp_path / "site.toml", deepcopy(SITE) | {"scheduler": schedulers})
    farm, lost = check_queues(site)
    assert (farm.read_by, farm.queue.running, farm.queue.running_gpus) == (f"cat -- {tmp_path}/jobs.jsonl", 1, 4)
    assert lost.queue.error.startswith("no: no cannot be run: No such file")


def test_a_schedulers_lines_say_whether_anything_is_changed_in_it(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("")
    said = {}
    for admit in (False, True):
        slurm = {"id": "slurm", "kind": "slurm", "squeue": ["/none"]}
        farm = {"id": "farm", "kind": "file", "file": str(jobs)}
        if admit:
            slurm |= {"admit": True, "scontrol": ["ssh", "head", "scontrol"]}
            farm |= {"admit": True, "limit": ["cue-limit", "power"], "limit_unit_w": 450.0}
        site = site_of(scheduler=[slurm, farm])
        found = compute_check.check_queues(site)
        said[admit] = [line.strip() for report in found for line in queue_lines(report)]
    assert (said[False].count("only read"), said[True].count("only read")) == (2, 0)
    assert "set a limit of frames of 450 W by cue-limit power" in said[True]
    assert "keep licences skerry_kw10 back by the reservation skerry-small, by ssh head scontrol" in said[True]
    tells = {"id": "slurm", "kind": "slurm", "squeue": ["/none"], "tell_owners": True}
    farm = {"id": "farm", "kind": "file", "file": str(jobs), "tell": ["/usr/local/bin/tell", "job"]}
    lines = [
        line for report in compute_check.check_queues(site_of(scheduler=[tells, farm])) for line in queue_lines(report)
    ]
    for told in (
        "tell owners to what it is capped, in AdminComment of a job, after [skerry-small], by scontrol",
        "tell owners to what their job is capped, by /usr/local/bin/tell job",
    ):
        assert told in (line.strip() for line in lines)


def test_a_queue_of_kueue_says_its_cluster_and_its_quota() -> None:
    """Nobody is there; the error names what was asked."""
    cluster = {"id": "k8s", "url": "http://127.0.0.1:9"}
    kueue = {"id": "kueue", "kind": "kueue", "kubernetes": "k8s"}
    admits = {"admit": True, "limit": ["kueue-limit", "gpus"], "limit_unit_w": 100.0}
    (report,) = check_queues(site_of(kubernetes=[cluster], scheduler=[kueue | admits]))
    assert report.read_by == "the API server of [[kubernetes]] k8s"
    assert report.may == "set a quota of units of 100 W by kueue-limit gpus"
    assert report.queue.error.startswith("k8s at http://127.0.0.1:9/api/v1/pods: ")


def test_a_cap_by_a_bmc_is_told_with_what_it_allows_or_why_it_is_not_possible() -> None:
    account = {"id": "c", "user": "cap", "password_file": "pw", "may_cap": True}
    node = {"id": "n", "source": "redfish", "bmc": "https://b", "cap_w": 800, "cap_by": "redfish"}
    site = site_of(node=[node], bmc=[account])

    def told(limit: Limit | None) -> str:
        (may,) = reports(site, snapshot(Node("n", limit=limit)))[0].may
        return may

    assert (
        told(Limit(reading(1_200.0), 500, 1_600)) == "cap to 0.8 kW by its BMC (from 0.5 kW to 1.6 kW, 1.2 kW set now)"
    )
    assert told(Limit()) == "cap to 0.8 kW by its BMC (no limit set now)"
    assert told(Limit(why="it switches off")) == "cap to 0.8 kW by its BMC, not possible now: it switches off"
    assert told(None) == "cap to 0.8 kW by its BMC, not possible now: it is not read"
