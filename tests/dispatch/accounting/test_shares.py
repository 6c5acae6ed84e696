"""How the energy of a node is divided: by CPU time, by activity of MIG instances, and by what is allocated."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from metered_site import Machine, MeteredSite, a_job
from shared_nodes import CPUS, FIRST_S, LAST_S, SharedNode, Sharer, Wave, drawn, errors_pct

from dispatch.accounting.meter import MeterState
from dispatch.accounting.samples import Segment
from dispatch.accounting.shares import IDLE_W_PER_GPU, Claim, Portion, divide
from dispatch.model.equipment import GpuPart, JobUse

HOST_WH, IDLE_WH = 300.0, 100.0
ONE = Claim(1, cpus=32, names=frozenset({"1"}))
TWO = Claim(2, cpus=16, names=frozenset({"2"}))


def an_hour(**more: object) -> Segment:
    """Of a node."""
    host = {"wh": HOST_WH, "host_wh": HOST_WH, "idle_wh": IDLE_WH}
    return Segment(start_utc_s=0.0, end_utc_s=3600.0, **(host | more))  # type: ignore[arg-type]


def summed(portions: Sequence[Portion], job: int, by: str | None = None) -> float:
    return sum(p.wh for p in portions if p.job == job and by in (None, p.by))


def told(*cpus: tuple[str, float]) -> JobUse:
    return JobUse(cpus)


# ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_above_idle_a_host_goes_by_cpu_time() -> None:
    ended = frozenset({"9"})
    portions = divide(an_hour(use=told(("1", 4.0), ("2", 12.0), ("9", 30.0))), [ONE, TWO], 64, ended)
    assert summed(portions, 1) == pytest.approx(IDLE_WH * 32 / 64 + 200.0 * 4 / 16)
    assert summed(portions, 2) == pytest.approx(IDLE_WH * 16 / 64 + 200.0 * 12 / 16)
    assert summed(portions, 2, "cpu time") == pytest.approx(150.0)
    assert {p.how for p in portions} == {"apportioned"}
    assert HOST_WH - sum(p.wh for p in portions) == pytest.approx(IDLE_WH * 16 / 64), "idle CPUs of nobody"


def test_what_a_job_draws_that_no_queue_shows_is_nobodys() -> None:
    """It began and ended between two readings, or is of a scheduler that is not read."""
    portions = divide(an_hour(use=told(("1", 4.0), ("2", 12.0), ("9", 24.0))), [ONE, TWO], 64)
    assert summed(portions, 1, "cpu time") == pytest.approx(200.0 * 4 / 40)
    assert summed(portions, 2, "cpu time") == pytest.approx(200.0 * 12 / 40)
    assert HOST_WH - sum(p.wh for p in portions) == pytest.approx(IDLE_WH * 16 / 64 + 200.0 * 24 / 40)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"use": told(("1", 4.0))},  # of the other it is not known
        {"use": told(("1", 0.02), ("2", 0.01))},  # so little tells nothing
        {"use": told(("1", 4.0), ("2", 12.0)), "idle_wh": None},
        {"use": told(("1", 4.0), ("2", 12.0)), "idle_wh": HOST_WH},
    ],
)
def test_else_it_goes_by_allocated_cpus(more: dict[str, object]) -> None:
    portions = divide(an_hour(**more), [ONE, TWO], 64)
    assert [(p.wh, p.by) for p in portions if p.wh] == [(150.0, ""), (75.0, "")]


def test_a_whole_node_is_measured_whatever_its_cpus_do() -> None:
    (portion,) = divide(an_hour(use=told(("1", 0.5))), [ONE._replace(cpus=64)], 64)
    assert (portion.wh, portion.how, portion.by) == (HOST_WH, "measured", "")


def test_a_task_of_an_array_is_known_by_its_own_number() -> None:
    """Slurm's nodes do not know of which array it is."""
    node = SharedNode(200.0, 400.0, [Sharer("12", 32, FIRST_S, FIRST_S + 1200, Wave(0.5, 0.0, 60.0))])
    machine = Machine("n1", node.host_w, use=node.exporter())
    job = a_job("10_2", ["n1"], FIRST_S, cpus=32, number="12")
    site = MeteredSite([machine], lambda s: [job] if FIRST_S <= s < FIRST_S + 1200 else [], cpus={"n1": CPUS})
    site.run(FIRST_S + 1200)
    assert site.live("10_2").by_cpu_time_wh == pytest.approx(400 * 0.5 / 2 * 1200 / 3600, rel=0.1)


def test_a_job_of_pods_is_known_by_them() -> None:
    """cAdvisor and dcgm-exporter name pods, not the workload that they are of."""
    node = SharedNode(200.0, 400.0, [Sharer("ml/train-0", 32, FIRST_S, FIRST_S + 1200, Wave(0.5, 0.0, 60.0))])
    machine = Machine("n1", node.host_w, use=node.exporter())
    job = a_job("ml/job-train", ["n1"], FIRST_S, cpus=32, pods=("ml/train-0", "ml/train-1"))
    site = MeteredSite([machine], lambda s: [job] if FIRST_S <= s < FIRST_S + 1200 else [], cpus={"n1": CPUS})
    site.run(FIRST_S + 1200)
    assert site.live("ml/job-train").by_cpu_time_wh == pytest.approx(400 * 0.5 / 2 * 1200 / 3600, rel=0.1)


@pytest.mark.parametrize("seed", [0, 2])
def test_with_cpu_time_what_is_charged_is_what_was_drawn(seed: int) -> None:
    """Of 60 such nodes with 166 jobs: see `shared_nodes.py`."""
    assert max(map(abs, errors_pct(drawn(seed), True))) < 5
    assert max(map(abs, errors_pct(drawn(seed), False))) > 10


def test_what_a_host_draws_idle_is_learnt_and_kept_over_a_restart() -> None:
    node = drawn(0)
    site = MeteredSite([Machine("n1", node.host_w, use=node.exporter())], lambda _: [], cpus={"n1": CPUS})
    site.run(FIRST_S)
    state = msgspec.json.decode(msgspec.json.encode(site.meter.state(100)), type=MeterState)
    assert state.idle_w == {"n1": pytest.approx(node.idle_w)}
    site.begin(state)
    site.run(LAST_S)  # busy meanwhile: that is not idle
    assert site.meter.state(100).idle_w == {"n1": pytest.approx(node.idle_w)}
    silent = MeteredSite([Machine("n1", node.host_w)], lambda _: [])
    silent.run(FIRST_S)
    assert silent.meter.state(100).idle_w == {}, "a host that does not answer may be off"


# ── GPUs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

A = Claim(1, gpus=1, names=frozenset({"1"}))
B = Claim(2, gpus=1, names=frozenset({"2"}))


def gpus_hour(*parts: GpuPart, gpus: int = 1) -> Segment:
    """Of GPUs of 400 W."""
    each = tuple((f"GPU-{n}", 400.0) for n in range(gpus))
    return an_hour(wh=400.0 * gpus, host_wh=0.0, gpus=each, gpus_total=gpus, use=JobUse((), parts))


def instances(*active: float | None) -> list[GpuPart]:
    """One of three slices that job 1 holds, one of four that job 2 holds."""
    return [
        GpuPart("GPU-0", id, slices, one, jobs)
        for id, slices, one, jobs in zip("12", (3, 4), active, (("1",), ("2",)), strict=True)
    ]


def test_instances_of_a_gpu_go_by_activity_and_idle_by_slices() -> None:
    portions = divide(gpus_hour(*instances(1.0, 0.25)), [A, B], 64)
    rest_wh = 400 - IDLE_W_PER_GPU
    assert summed(portions, 1, "activity") == pytest.approx(IDLE_W_PER_GPU * 3 / 7 + rest_wh * 3 / 4)
    assert summed(portions, 2, "activity") == pytest.approx(IDLE_W_PER_GPU * 4 / 7 + rest_wh / 4)
    assert {p.how for p in portions if p.part == "gpu"} == {"apportioned"}


@pytest.mark.parametrize("active", [(1.0, None), (0.0, 0.0)])
def test_without_activity_they_go_by_slices(active: tuple[float | None, float | None]) -> None:
    portions = divide(gpus_hour(*instances(*active)), [A, B], 64)
    assert summed(portions, 1, "") == pytest.approx(400 * 3 / 7)
    assert summed(portions, 2, "") == pytest.approx(400 * 4 / 7)


def test_a_gpu_in_time_slices_goes_by_activity_and_idle_equally() -> None:
    sharers = [GpuPart("GPU-0", active=used, jobs=(job,)) for used, job in ((0.6, "1"), (0.2, "2"), (0.2, "of nobody"))]
    portions = divide(gpus_hour(*sharers), [A._replace(gpus=0.0), B._replace(gpus=0.0)], 64)
    assert [(p.job, p.how, p.wh, p.by) for p in portions if p.part == "gpu"] == [
        (1, "apportioned", pytest.approx(20 + 340 * 0.6), "activity"),
        (2, "apportioned", pytest.approx(20 + 340 * 0.2), "activity"),
    ]
    reported = divide(gpus_hour(*sharers), [A._replace(uuids=frozenset({"GPU-0"})), B._replace(gpus=0.0)], 64)
    assert [(p.job, p.how, p.wh) for p in reported if p.part == "gpu" and p.wh] == [(1, "measured", 400.0)]


def test_an_instance_that_is_nobodys_stays_so_or_is_of_the_job_that_is_not_told_yet() -> None:
    mine, other = instances(1.0, 0.5)
    nobodys = msgspec.structs.replace(other, jobs=())
    portions = divide(gpus_hour(mine, nobodys), [A], 64)
    assert sum(p.wh for p in portions) == pytest.approx(IDLE_W_PER_GPU * 3 / 7 + 340 * 3 / 5)
    portions = divide(gpus_hour(mine, nobodys), [A, B], 64)
    assert sum(p.wh for p in portions) == pytest.approx(400.0)


def test_an_instance_goes_by_its_uuid_where_a_node_told_that() -> None:
    parts = [msgspec.structs.replace(part, jobs=()) for part in instances(1.0, 0.0)]
    told_one = A._replace(uuids=frozenset({"MIG-GPU-0/2/0"}))
    portions = divide(gpus_hour(*parts), [told_one, B], 64)
    assert summed(portions, 1) == pytest.approx(IDLE_W_PER_GPU * 4 / 7)


def test_whole_gpus_go_to_those_whom_labels_name_and_shared_ones_equally() -> None:
    named = gpus_hour(GpuPart("GPU-0", jobs=("2",)), GpuPart("GPU-1", jobs=("1",)), gpus=2)
    portions = divide(named, [A, B], 64)
    assert [(p.job, p.how, p.wh) for p in portions if p.part == "gpu"] == [
        (2, "measured", 400.0),
        (1, "measured", 400.0),
    ]
    by_report = divide(named, [A._replace(uuids=frozenset({"GPU-0"})), B], 64)
    assert [(p.job, p.wh, p.how) for p in by_report if p.part == "gpu"] == [
        (1, 400.0, "measured"),
        (2, 400.0, "measured"),
    ], "what a node reported goes before labels"
    shared = divide(gpus_hour(GpuPart("GPU-0", jobs=("1", "2", "of yesterday"))), [A, B], 64)
    assert [(p.wh, p.how, p.by) for p in shared if p.part == "gpu"] == [(200.0, "apportioned", "")] * 2
