"""What exporters report on the jobs of a node: the CPU time of their cgroups, and who holds a GPU or a part of one.

CPU time: cgroup_exporter (treydock/cgroup_exporter f01693c7, README.md and collector/cgroupv2.go: cgroups of Slurm,
"/slurm/uid_20821/job_12" or "/system.slice/slurmstepd.scope/job_12"); slurm-job-exporter (guilbaults/slurm-job-exporter
1620925f, slurm-job-exporter.py: nanoseconds, by core); cAdvisor as the kubelet shows it (a pod's own cgroup has no
container, and so has its pause container, which uses next to nothing).

GPUs: labels of dcgm-exporter (NVIDIA/dcgm-exporter d5e5f510, internal/pkg/rendermetrics/render_metrics.go: GPU_I_ID,
GPU_I_PROFILE; internal/pkg/transformation: hpc_job, with --hpc-job-mapping-dir, a sample for each job; pod, namespace).
Prometheus puts `exported_` before a label that its own configuration sets, too. DCGM_FI_PROF_GR_ENGINE_ACTIVE of an
instance is the share of time in which that instance worked; times the instance's slices it adds up to the GPU's (DCGM
User Guide, Feature Overview, "Understanding Metrics"). With --kubernetes-virtual-gpus, dcgm-exporter 4.5.3 gives
DCGM_FI_DEV_GPU_UTIL of a GPU in time slices once without a pod, and of each pod what its processes used (%,
internal/pkg/transformation/kubernetes.go and process_metrics.go); older ones repeat the GPU's for each pod.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from dispatch.model.equipment import GpuPart
from drivers.nodes.metrics_text import Sample
from drivers.nodes.power import LEAST_S, MOST_GAP_S

ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
PODS_CPU = "container_cpu_usage_seconds_total"
LABELLED = ("DCGM_FI_DEV_POWER_USAGE", ACTIVE)
USED = "DCGM_FI_DEV_GPU_UTIL"
OF_PARTS = {ACTIVE: 'GPU_I_ID="'}  # of whole GPUs it is not needed here
MOST_JOBS, MOST_NAME = 1024, 128  # of one page
MOST_UUID = 64
PCT = 100.0
MOST_CPUS = 8192.0  # that a job uses on one node
_SLURM_CGROUP = re.compile(r"/job_([0-9]{1,20})$")
_PROFILE = re.compile(r"(?:[0-9]+c\.)?([1-9][0-9]?)g\.")  # 3g.20gb: an instance of three slices


class JobExporter(msgspec.Struct, frozen=True):
    """An exporter of CPU time. `job`: which job a sample is of, by its labels; empty: of none."""

    name: str
    metric: str
    job: Callable[[Mapping[str, str]], str]
    factor: float = 1.0  # to seconds
    adds: bool = False  # several samples of a job are parts of it; else the largest is all of it
    begins: str = ""  # a page without jobs has no sample of it, but this text


def _of_cgroup(labels: Mapping[str, str]) -> str:
    found = _SLURM_CGROUP.search(labels.get("cgroup", "")[-MOST_NAME:])
    return "" if found is None else found[1]


def _of_pod(labels: Mapping[str, str]) -> str:
    container = labels.get("exported_container", labels.get("container", ""))
    return "" if container else pod_of(labels)


def pod_of(labels: Mapping[str, str]) -> str:
    """Namespace and name of a sample's pod; empty: it has none."""
    namespace, pod = (labels.get(f"exported_{name}") or labels.get(name, "") for name in ("namespace", "pod"))
    return f"{namespace}/{pod}" if namespace and pod else ""


JOB_EXPORTERS = (
    JobExporter("cgroup_exporter", "cgroup_cpu_total_seconds", _of_cgroup, begins="cgroup_exporter_build_info"),
    JobExporter(
        "slurm-job-exporter",
        "slurm_job_core_usage_total",
        lambda labels: labels.get("slurmjobid", ""),
        1e-9,
        adds=True,
        begins="# TYPE slurm_job_core_usage_total",
    ),
    JobExporter("cAdvisor", PODS_CPU, _of_pod),
)


class JobFigures(msgspec.Struct, frozen=True):
    """CPU time that each job has used on the node, s. `utc_s`: when that was read, where the samples say so."""

    cpu_s: Mapping[str, float] = {}
    utc_s: float | None = None


def job_figures(exporter: JobExporter, samples: Sequence[Sample]) -> JobFigures:
    """What an exporter's samples mean."""
    cpu_s: dict[str, float] = {}
    for sample in samples:
        job = exporter.job(sample.labels)
        if not 0 < len(job) <= MOST_NAME or not 0 <= sample.value < math.inf:
            continue
        seconds, before_s = sample.value * exporter.factor, cpu_s.get(job, 0.0)
        if job in cpu_s or len(cpu_s) < MOST_JOBS:
            cpu_s[job] = before_s + seconds if exporter.adds else max(before_s, seconds)
    return JobFigures(cpu_s, max((s.utc_s for s in samples if s.utc_s is not None), default=None))


def without_jobs(text: str) -> JobExporter | None:
    """The exporter whose page this is though it has no sample: no job runs there."""
    return next((e for e in JOB_EXPORTERS if e.begins and e.begins in text), None)


class _Part:
    """Collects the samples of one."""

    def __init__(self) -> None:
        self.slices, self.jobs = 1, dict[str, None]()
        self.active: float | None = None

    def take(self, sample: Sample, job: str) -> None:
        """One sample. `job`: whom its labels name; empty: nobody."""
        if job and len(self.jobs) < MOST_UUID:
            self.jobs[job] = None
        if (profile := _PROFILE.match(sample.labels.get("GPU_I_PROFILE", ""))) is not None:
            self.slices = int(profile[1])
        if sample.name == ACTIVE and 0 <= sample.value <= 1:
            self.active = sample.value


def gpu_parts(by_name: Mapping[str, Sequence[Sample]]) -> tuple[GpuPart, ...]:
    """The MIG instances of a page, and the whole GPUs whose labels name who holds them.

    A GPU in time slices is in it once for each job that shares it, where the page says how active each is.
    """
    found: dict[tuple[str, str], _Part] = {}
    for sample in (sample for metric in LABELLED for sample in by_name.get(metric, ())):
        uuid, id, job = _of(sample.labels)
        if uuid and (id or job) and len(found) < MOST_JOBS:
            found.setdefault((uuid, id), _Part()).take(sample, job)
    sliced = _time_slices(by_name.get(USED, ()))
    parts = [GpuPart(*key, p.slices, p.active, tuple(p.jobs)) for key, p in found.items() if key not in sliced]
    return (*parts, *(part for sharers in sliced.values() for part in sharers))


def _time_slices(samples: Sequence[Sample]) -> dict[tuple[str, str], list[GpuPart]]:
    """The jobs that share each GPU, where there is a use of each job and one of the GPU itself."""
    used: dict[str, dict[str, float]] = {}
    for sample in samples:
        uuid, id, job = _of(sample.labels)
        if uuid and not id and 0 <= sample.value <= PCT and len(used) < MOST_JOBS:
            used.setdefault(uuid, {}).setdefault(job, sample.value)
    shared = {uuid: jobs for uuid, jobs in used.items() if "" in jobs and 2 < len(jobs) <= MOST_UUID}
    return {
        (uuid, ""): [GpuPart(uuid, active=pct / PCT, jobs=(job,)) for job, pct in jobs.items() if job]
        for uuid, jobs in shared.items()
    }


def _of(labels: Mapping[str, str]) -> tuple[str, str, str]:
    """UUID of the GPU, MIG instance, and whom the labels name; an empty UUID: nothing that is believed."""
    uuid, id = labels.get("UUID") or labels.get("uuid", ""), labels.get("GPU_I_ID", "")
    return (uuid if len(uuid) <= MOST_UUID and len(id) <= MOST_UUID else ""), id, _holder(labels)


def _holder(labels: Mapping[str, str]) -> str:
    job = labels.get("hpc_job", "").strip() or pod_of(labels)
    return job if len(job) <= MOST_NAME else ""


class JobCpus:
    """CPUs that each job uses, from counters of its CPU time."""

    def __init__(self) -> None:
        self._cpu_s: Mapping[str, float] = {}
        self._at_s = float("-inf")
        self._used: tuple[tuple[str, float], ...] = ()

    def take(self, cpu_s: Mapping[str, float], at_s: float) -> None:
        """Counters as read at `at_s`. A job that is new, or whose counter has begun anew, is not known yet.

        One that is gone is taken to have used as much as before until it ended.
        """
        passed_s, before = at_s - self._at_s, self._cpu_s
        if 0 <= passed_s < LEAST_S:
            return  # read again before they were counted again
        last, gone = self._used, before.keys() - cpu_s.keys()
        self._cpu_s, self._at_s, self._used = cpu_s, at_s, ()
        if 0 < passed_s <= MOST_GAP_S:
            used = {job: (s - before[job]) / passed_s for job, s in cpu_s.items() if job in before}
            known = {job: cpus for job, cpus in used.items() if 0 <= cpus <= MOST_CPUS}
            self._used = (*known.items(), *((job, cpus) for job, cpus in last if job in gone))

    def used(self, now_s: float, late_s: float) -> tuple[tuple[str, float], ...]:
        """Jobs and the CPUs that they used, mean between the last two readings; of none that are older than that."""
        return self._used if now_s - self._at_s <= late_s else ()
