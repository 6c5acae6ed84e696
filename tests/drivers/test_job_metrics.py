"""What exporters tell of jobs: CPU time by cgroup, holders of GPUs and of MIG instances; nothing of what is odd."""

from __future__ import annotations

import metrics_pages
import pytest
from metrics_pages import uuid_of

from dispatch.model.equipment import GpuPart, JobUse
from drivers.node_config import NodeDevice
from drivers.nodes.job_metrics import JobCpus, without_jobs
from drivers.nodes.metrics import Figures, pattern_of, understood
from drivers.nodes.node_figures import NodeFigures

GPU = uuid_of("gpu01", 0)


def figures(page: str, exporter: str = "") -> Figures:
    (found,) = understood(pattern_of(exporter).samples(page))
    return found


@pytest.mark.parametrize(
    ("exporter", "page"),
    [
        ("cgroup_exporter", metrics_pages.cgroup_exporter({"12": 4.0, "13": 0.5}, version=1)),
        ("cgroup_exporter", metrics_pages.cgroup_exporter({"12": 4.0, "13": 0.5}, version=2)),
        ("slurm-job-exporter", metrics_pages.slurm_job_exporter({"12": 4.0, "13": 0.5})),
    ],
)
def test_cpu_time_of_jobs_of_slurm(exporter: str, page: str) -> None:
    for known in ("", exporter):
        found = figures(page, known)
        assert found.exporter == exporter
        assert found.jobs is not None
        assert found.jobs.cpu_s == {"12": pytest.approx(4.0), "13": pytest.approx(0.5)}


def test_cpu_time_of_pods_counts_each_pod_once_and_with_the_time_of_the_sample() -> None:
    found = figures(metrics_pages.cadvisor({"physics/train-0": 40.0}))
    assert found.jobs is not None
    assert (found.jobs.cpu_s, found.jobs.utc_s) == ({"physics/train-0": 40.0}, 1786331963.155)
    page = 'container_cpu_usage_seconds_total{pod="cadvisor",namespace="m",exported_pod="p",exported_namespace="n"} 7\n'
    scraped = figures(page).jobs  # by a Prometheus that names the pod of the target itself
    assert scraped is not None
    assert scraped.cpu_s == {"n/p": 7.0}


def test_a_page_without_jobs_is_still_that_of_its_exporter() -> None:
    """Found before it was released: a node on which no job runs would have been taken for one that does not answer."""
    for page in (metrics_pages.slurm_job_exporter({}), "cgroup_exporter_build_info{} 1\n"):
        assert understood(pattern_of("").samples(page)) == []
        assert without_jobs(page) is not None
    assert without_jobs(metrics_pages.dcgm("gpu01", [400.0])) is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1"])
def test_a_counter_that_cannot_be_is_left_out(value: str) -> None:
    found = figures(f'cgroup_cpu_total_seconds{{cgroup="/slurm/uid_1/job_12"}} {value}\n')
    assert found.jobs is not None
    assert found.jobs.cpu_s == {}


def test_cpus_in_use_are_the_growth_of_a_counter_and_not_known_where_it_begins() -> None:
    jobs = JobCpus()
    jobs.take({"1": 100.0, "2": 50.0}, 10.0)
    assert jobs.used(10.0, 30.0) == ()
    jobs.take({"1": 140.0, "2": 5.0, "3": 7.0}, 20.0)  # job 2 was requeued, job 3 is new
    assert jobs.used(20.0, 30.0) == (("1", 4.0),)
    jobs.take({"1": 140.0}, 20.1)  # asked again at once
    assert jobs.used(50.0, 30.0) == (("1", 4.0),)
    assert jobs.used(51.0, 30.0) == ()
    jobs.take({"3": 17.0}, 30.0)
    assert jobs.used(30.0, 30.0) == (("3", 1.0), ("1", 4.0)), "job 1 has ended meanwhile"
    jobs.take({"3": 18.0}, 40.0)
    assert jobs.used(40.0, 30.0) == (("3", 0.1),)
    jobs.take({"3": 141.0}, 1000.0)
    assert jobs.used(1000.0, 30.0) == (), "too long ago"


def test_instances_of_a_gpu_with_their_slices_activity_and_holders() -> None:
    page = metrics_pages.dcgm_mig("gpu01", 212.0)
    without = figures(page)
    assert [(p.gpu, p.id, p.slices, p.active, p.jobs) for p in without.gpu_parts] == [
        (GPU, "8", 1, None, ()),
        (GPU, "9", 3, None, ()),
    ]
    page += metrics_pages.dcgm_active("gpu01", (0.75, 0.0), ("4711", "physics/train-0"))
    for known in ("", "dcgm-exporter"):
        assert figures(page, known).gpu_parts == (
            GpuPart(GPU, "8", 1, 0.75, ("4711",)),
            GpuPart(GPU, "9", 3, 0.0, ("physics/train-0",)),
        )
    odd = 'DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-a",GPU_I_ID="1",GPU_I_PROFILE="1c.4g.40gb+me"} 3\n'
    assert figures(odd + page).gpu_parts[-1] == GpuPart("GPU-a", "1", 4, None)


def test_whole_gpus_are_told_where_labels_name_jobs() -> None:
    assert figures(metrics_pages.dcgm_jobs("gpu01", 400.0, ("7", "8"))).gpu_parts == (GpuPart(GPU, jobs=("7", "8")),)
    assert figures(metrics_pages.dcgm("gpu01", [400.0])).gpu_parts == ()
    whole = 'DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-a"} 0.5\n'
    assert pattern_of("dcgm-exporter").samples(whole) == [], "of whole GPUs it is not needed"


def test_a_gpu_in_time_slices_is_told_once_for_each_pod() -> None:
    """Only where use is of each pod: older versions repeat that of the GPU, and so do labels of jobs."""
    page = metrics_pages.dcgm_time_slices("gpu01", 400.0, {"a/x": 60.0, "a/y": 15.0}, each=True)
    found = figures(page)
    assert found.gpus[0].values["util_pct"] == 75.0
    assert found.gpu_parts == (GpuPart(GPU, active=0.6, jobs=("a/x",)), GpuPart(GPU, active=0.15, jobs=("a/y",)))
    repeated = metrics_pages.dcgm_time_slices("gpu01", 400.0, {"a/x": 60.0, "a/y": 15.0}, each=False)
    assert figures(repeated).gpu_parts == (GpuPart(GPU, jobs=("a/x", "a/y")),)


def test_a_node_has_what_its_pages_tell_of_jobs_as_long_as_that_is_new() -> None:
    node = NodeFigures(NodeDevice(id="gpu01", source="exporters", exporters=("http://gpu01:9400",)), 10.0)
    node.take(figures(metrics_pages.dcgm("gpu01", [400.0])), 0.0)
    assert node.node(0.0, (), ()).job_use is None
    node.take(figures(metrics_pages.cgroup_exporter({"12": 4.0})), 0.0)
    node.take(figures(metrics_pages.cgroup_exporter({"12": 24.0})), 10.0)
    node.take(figures(metrics_pages.dcgm_jobs("gpu01", 400.0, ("12",))), 10.0)
    assert node.node(10.0, (), ()).job_use == JobUse((("12", 2.0),), (GpuPart(GPU, jobs=("12",)),))
    assert node.node(50.0, (), ()).job_use == JobUse((), (GpuPart(GPU, jobs=("12",)),))
