"""Pages as exporters write them, made by hand from their sources, with made-up values.

node_exporter: collector/{uname,rapl,hwmon,cpu,meminfo}_linux.go and its end-to-end output. dcgm-exporter:
etc/default-counters.csv and internal/pkg/rendermetrics (labels gpu, UUID, pci_bus_id, device, modelName,
GPU_I_PROFILE, GPU_I_ID, Hostname). nvidia_gpu_exporter: docs/METRICS.md. AMD device-metrics-exporter:
docs/configuration/metricslist.md. Exporters of jobs: as drivers/nodes/job_metrics.py cites them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DCGM_FIELDS = (
    "SM_CLOCK", "MEM_CLOCK", "MEMORY_TEMP", "GPU_TEMP", "POWER_USAGE", "TOTAL_ENERGY_CONSUMPTION",
    "PCIE_REPLAY_COUNTER",
    "GPU_UTIL", "MEM_COPY_UTIL", "ENC_UTIL", "DEC_UTIL", "XID_ERRORS", "FB_FREE", "FB_USED", "NVLINK_BANDWIDTH_TOTAL",
    "VGPU_LICENSE_STATUS", "UNCORRECTABLE_REMAPPED_ROWS", "CORRECTABLE_REMAPPED_ROWS", "ROW_REMAP_FAILURE",
)  # fmt: skip


def uuid_of(node: str, index: int) -> str:
    return f"GPU-{abs(hash_of(node)) % 10**8:08d}-f55a-92a8-aa39-{index:012d}"


def hash_of(text: str) -> int:
    """The same in every run."""
    found = 0
    for character in text:
        found = (found * 131 + ord(character)) % 10**9
    return found


def dcgm(node: str, watts: Iterable[float], *, util: float = 60.0, uuids: Mapping[int, str] = {}) -> str:
    """A page of dcgm-exporter with its default fields."""
    powers = list(watts)
    lines = []
    for field in DCGM_FIELDS:
        lines += [f"# HELP DCGM_FI_DEV_{field} As its list says.", f"# TYPE DCGM_FI_DEV_{field} gauge"]
        for index, w in enumerate(powers):
            value = {"POWER_USAGE": w, "GPU_UTIL": util, "GPU_TEMP": 41.0, "FB_USED": 1024.0}.get(field, 7.0)
            uuid = uuids.get(index, uuid_of(node, index))
            labels = f'gpu="{index}",UUID="{uuid}",pci_bus_id="00000000:{index:02X}:00.0",device="nvidia{index}",'
            lines.append(
                f'DCGM_FI_DEV_{field}{{{labels}modelName="NVIDIA H100 80GB HBM3",Hostname="{node}"}} {value:f}'
            )
    return "\n".join(lines) + "\n"


def dcgm_mig(node: str, w: float) -> str:
    """One GPU divided into two instances: its power stands at each of them."""
    uuid, lines = uuid_of(node, 0), []
    for field, values in (
        ("POWER_USAGE", (w, w)),
        ("GPU_TEMP", (40, 40)),
        ("FB_USED", (6, 4384)),
        ("GPU_UTIL", (None, None)),
    ):
        for value, (number, profile) in zip(values, ((8, "1g.5gb"), (9, "3g.20gb")), strict=True):
            if value is not None:
                labels = f'gpu="0",UUID="{uuid}",device="nvidia0",GPU_I_PROFILE="{profile}",GPU_I_ID="{number}"'
                lines.append(f'DCGM_FI_DEV_{field}{{{labels},Hostname="{node}"}} {value}')
    return "\n".join(lines) + "\n"


def dcgm_jobs(node: str, w: float, jobs: Iterable[str]) -> str:
    """A whole GPU of several jobs: a sample for each (internal/pkg/transformation/hpc.go)."""
    labels = f'gpu="0",UUID="{uuid_of(node, 0)}",device="nvidia0",Hostname="{node}"'
    return "".join(f'DCGM_FI_DEV_POWER_USAGE{{{labels},hpc_job="{job}"}} {w}\n' for job in jobs)


def dcgm_active(node: str, active: Iterable[float], jobs: Iterable[str]) -> str:
    """More of the page of `dcgm_mig`: how active its instances are, and of which jobs or pods ("namespace/pod")."""
    lines = []
    for id, profile, value, job in zip((8, 9), ("1g.5gb", "3g.20gb"), active, jobs, strict=True):
        namespace, _, pod = job.rpartition("/")
        whose = f'hpc_job="{job}"' if not namespace else f'container="c",namespace="{namespace}",pod="{pod}"'
        labels = f'gpu="0",UUID="{uuid_of(node, 0)}",GPU_I_PROFILE="{profile}",GPU_I_ID="{id}",{whose}'
        lines.append(f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{labels}}} {value}\n")
    return "".join(lines)


def dcgm_time_slices(node: str, w: float, used_pct: Mapping[str, float], *, each: bool) -> str:
    """A GPU in time slices of pods (internal/pkg/transformation/kubernetes.go). `each`: use is told of each of them."""
    labels = f'gpu="0",UUID="{uuid_of(node, 0)}",device="nvidia0",Hostname="{node}"'
    total_pct = sum(used_pct.values())
    lines = [f"DCGM_FI_DEV_GPU_UTIL{{{labels}}} {total_pct:.0f}"] if each else []
    for pod, pct in used_pct.items():
        namespace, _, name = pod.partition("/")
        whose = f'{labels},container="c",namespace="{namespace}",pod="{name}"'
        lines.append(f"DCGM_FI_DEV_POWER_USAGE{{{whose}}} {w}")
        lines.append(f"DCGM_FI_DEV_GPU_UTIL{{{whose}}} {pct if each else total_pct:.0f}")
    return "\n".join(lines) + "\n"


def cgroup_exporter(cpu_s: Mapping[str, float], *, version: int = 2) -> str:
    """A page of cgroup_exporter, much shortened (README.md; collector/cgroupv2_test.go)."""
    place = "/system.slice/slurmstepd.scope" if version == 2 else "/slurm/uid_20821"
    lines = ['cgroup_exporter_build_info{branch="main",version="1.0.1"} 1']
    for job, seconds in cpu_s.items():
        lines.append(f'cgroup_cpu_user_seconds{{cgroup="{place}/job_{job}"}} 0')
        lines.append(f'cgroup_cpu_total_seconds{{cgroup="{place}/job_{job}"}} {seconds}')
    lines.append('cgroup_cpu_total_seconds{cgroup="/user.slice/user-20821.slice"} 3.8')
    return "\n".join(lines) + "\n"


def slurm_job_exporter(cpu_s: Mapping[str, float]) -> str:
    """A page of slurm-job-exporter, much shortened: nanoseconds, here half of them on each of two cores."""
    lines = ["# TYPE slurm_job_core_usage_total counter"]
    for job, seconds in cpu_s.items():
        for core in range(2):
            labels = f'account="a",core="{core}",slurmjobid="{job}",user="anna"'
            lines.append(f"slurm_job_core_usage_total{{{labels}}} {seconds * 5e8}")
    return "\n".join(lines) + "\n"


def cadvisor(cpu_s: Mapping[str, float]) -> str:
    """A page of the kubelet's cAdvisor, much shortened: the pod, its pause container, its container."""
    lines = ['container_cpu_usage_seconds_total{container="",cpu="total",id="/",image="",namespace="",pod=""} 99']
    for job, seconds in cpu_s.items():
        namespace, _, pod = job.partition("/")
        for container, image, value in (("", "", seconds), ("", "pause:3.9", 0.01), ("main", "train:1", seconds - 1)):
            labels = f'container="{container}",cpu="total",image="{image}",namespace="{namespace}",pod="{pod}"'
            lines.append(f"container_cpu_usage_seconds_total{{{labels}}} {value} 1786331963155")
    return "\n".join(lines) + "\n"


def node_exporter(
    node: str,
    *,
    joules: Iterable[float] = (1000.0, 900.0),
    idle_s: float = 100.0,
    cpus: int = 4,
    meter_w: float | None = None,
) -> str:
    """A page of node_exporter, much shortened."""
    lines = [
        "# TYPE go_goroutines gauge",
        "go_goroutines 8",
        f'node_uname_info{{domainname="(none)",machine="x86_64",nodename="{node}",release="6.1.0",sysname="Linux"}} 1',
        "node_memory_MemTotal_bytes 5.4e+11",
        "node_memory_MemAvailable_bytes 2.7e+11",
    ]
    for index, joule in enumerate(joules):
        path = f"/sys/class/powercap/intel-rapl:{index}"
        lines.append(f'node_rapl_package_joules_total{{index="{index}",path="{path}"}} {joule}')
    for cpu in range(cpus):
        for mode, seconds in (("idle", idle_s), ("iowait", 0.5), ("user", 3.25)):
            lines.append(f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}} {seconds}')
    if meter_w is not None:
        lines.append('node_hwmon_chip_names{chip="lnxsybus:00_acpi000d:00",chip_name="power_meter"} 1')
        lines.append(f'node_hwmon_power_average_watt{{chip="lnxsybus:00_acpi000d:00",sensor="power1"}} {meter_w}')
    return "\n".join(lines) + "\n"


def nvidia_smi(watts: Iterable[float]) -> str:
    """A page of nvidia_gpu_exporter: UUIDs without their head, use as a share."""
    lines = []
    for index, w in enumerate(watts):
        uuid = f"df6e7a7c-7314-46f8-abc4-{index:012d}"
        lines += [
            f'nvidia_smi_gpu_info{{uuid="{uuid}",name="NVIDIA RTX 6000",driver_version="550.54",index="{index}"}} 1',
            f'nvidia_smi_power_draw_watts{{uuid="{uuid}"}} {w}',
            f'nvidia_smi_power_limit_watts{{uuid="{uuid}"}} 300',
            f'nvidia_smi_utilization_gpu_ratio{{uuid="{uuid}"}} 0.42',
            f'nvidia_smi_memory_used_bytes{{uuid="{uuid}"}} 7.06740224e+08',
            f'nvidia_smi_temperature_gpu{{uuid="{uuid}"}} 34',
        ]
    return "\n".join(lines) + "\n"


def amd(node: str, watts: Iterable[float], prefix: str = "") -> str:
    """A page of AMD's exporter; the second of two partitions of a GPU has no power of its own."""
    lines = []
    for index, w in enumerate(watts):
        for partition, power in ((0, w), (1, 0)):
            labels = (
                f'gpu_id="{index}",gpu_partition_id="{partition}",card_model="Instinct MI300X",'
                f'serial_number="SN-{index}",hostname="{node}"'
            )
            lines += [
                f"{prefix}gpu_package_power{{{labels}}} {power}",
                f"{prefix}gpu_junction_temperature{{{labels}}} {76 if partition == 0 else 0}",
                f"{prefix}gpu_used_vram{{{labels}}} 183265",
            ]
    return "\n".join(lines) + "\n"
