"""What the samples of an exporter's page mean: figures of the host and of its GPUs, as they were measured.

Fields and units by the exporters' own lists:
node_exporter 1.x: collector/{rapl_linux,hwmon_linux,cpu_linux,meminfo_linux,uname}.go. dcgm-exporter:
etc/default-counters.csv (power W, energy mJ, framebuffer MiB); it collects every 30 s unless --collect-interval says
otherwise. nvidia_gpu_exporter (utkuozdemir): docs/METRICS.md; it asks the driver at each scrape. AMD
device-metrics-exporter: docs/configuration/metricslist.md (power W, VRAM MB; only the first partition has power);
its fields may have a prefix, of which `amd_` is understood.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from dispatch.model.equipment import GpuPart
from drivers.nodes.gpu_readings import BUSY_PCT, ENERGY_MOST_J, MEMORY_MOST_MIB, TEMP_C, UNKNOWN_BOARD_W
from drivers.nodes.job_metrics import ACTIVE, JOB_EXPORTERS, OF_PARTS, JobFigures, gpu_parts, job_figures
from drivers.nodes.metrics_text import MetricsPattern, Sample

GpuField = Literal["w", "limit_w", "enforced_w", "util_pct", "temp_c", "memory_used_mib", "energy_j"]
MIB = 2.0**20

CPU, INFO = "node_cpu_seconds_total", "node_uname_info"
RAPL = ("node_rapl_package_joules_total", "node_rapl_dram_joules_total")
MEMORY = ("node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes")
NODE_EXPORTER = (
    INFO,
    *RAPL,
    "node_hwmon_chip_names",
    "node_hwmon_power_average_watt",
    "node_hwmon_power_watt",
    CPU,
    *MEMORY,
)
# asks node_exporter for these collectors only (its README, "Filtering enabled collectors")
COLLECTORS = tuple(("collect[]", name) for name in ("cpu", "hwmon", "meminfo", "rapl", "uname"))
POWER_METER = "power_meter"  # the name of Linux's driver of ACPI power meters (drivers/hwmon/acpi_power_meter.c)


class GpuExporter(msgspec.Struct, frozen=True):
    """How one exporter of GPUs names things. `fields`: metric → field and factor to its unit; the first found counts.

    `period_s`: how old its figures may be when it sends them. Labels: `index`, `uuid`, `name`, `part` (one of several
    parts of a GPU: MIG instance, partition; its power is that of the whole GPU).
    """

    name: str
    period_s: float
    fields: Mapping[str, tuple[GpuField, float]]
    index: str
    uuid: tuple[str, ...]
    model: str
    part: str
    host: str = ""
    info: tuple[str, ...] = ()  # metrics whose labels tell index and model of a UUID
    prefix: str = ""  # that its UUIDs lack


DCGM = GpuExporter(
    "dcgm-exporter",
    30.0,
    {
        "DCGM_FI_DEV_POWER_USAGE": ("w", 1.0),
        "DCGM_FI_DEV_POWER_MGMT_LIMIT": ("limit_w", 1.0),
        "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": ("enforced_w", 1.0),
        "DCGM_FI_DEV_GPU_UTIL": ("util_pct", 1.0),
        "DCGM_FI_DEV_GPU_TEMP": ("temp_c", 1.0),
        "DCGM_FI_DEV_FB_USED": ("memory_used_mib", 1.0),
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("energy_j", 0.001),
    },
    index="gpu",
    uuid=("UUID", "uuid"),
    model="modelName",
    part="GPU_I_ID",
    host="Hostname",  # "hostname" after 4.5.3 (dcgm-exporter d5e5f510)
)
NVIDIA_SMI = GpuExporter(
    "nvidia_gpu_exporter",
    0.0,
    {
        "nvidia_smi_power_draw_watts": ("w", 1.0),
        "nvidia_smi_power_draw_average_watts": ("w", 1.0),
        "nvidia_smi_power_limit_watts": ("limit_w", 1.0),
        "nvidia_smi_enforced_power_limit_watts": ("enforced_w", 1.0),
        "nvidia_smi_utilization_gpu_ratio": ("util_pct", 100.0),
        "nvidia_smi_temperature_gpu": ("temp_c", 1.0),
        "nvidia_smi_memory_used_bytes": ("memory_used_mib", 1 / MIB),
    },
    index="index",
    uuid=("uuid",),
    model="name",
    part="",
    info=("nvidia_smi_gpu_info", "nvidia_smi_index"),
    prefix="GPU-",
)
_AMD: dict[str, tuple[GpuField, float]] = {
    "gpu_package_power": ("w", 1.0),
    "gpu_average_package_power": ("w", 1.0),
    "gpu_power_usage": ("w", 1.0),
    "gpu_gfx_activity": ("util_pct", 1.0),
    "gpu_junction_temperature": ("temp_c", 1.0),
    "gpu_edge_temperature": ("temp_c", 1.0),
    "gpu_used_vram": ("memory_used_mib", 1.0),
}
AMD = GpuExporter(
    "AMD device-metrics-exporter",
    0.0,
    _AMD | {f"amd_{name}": field for name, field in _AMD.items()},
    index="gpu_id",
    uuid=("gpu_uuid", "serial_number"),
    model="card_model",
    part="gpu_partition_id",
    host="hostname",
)
GPU_EXPORTERS = (DCGM, NVIDIA_SMI, AMD)
WANTED = (
    *NODE_EXPORTER,
    *(name for e in GPU_EXPORTERS for name in (*e.fields, *e.info)),
    *(e.metric for e in JOB_EXPORTERS),
    ACTIVE,
)
LIMITS: dict[GpuField, tuple[float, float]] = {
    "w": (0.0, UNKNOWN_BOARD_W),
    "limit_w": (1.0, UNKNOWN_BOARD_W),
    "enforced_w": (1.0, UNKNOWN_BOARD_W),
    "util_pct": (0.0, 100.0),
    "temp_c": TEMP_C,
    "memory_used_mib": (0.0, MEMORY_MOST_MIB),
    "energy_j": (0.0, ENERGY_MOST_J),
}
MOST_GPUS = 64  # of one node
MOST_UUID, MOST_HOST = 64, 253  # characters; "GPU-" and a UUID have 40, a name in DNS 253
MOST_HOSTS = 16  # names that one page may state
MOST_CHIP_W = 1e5


class GpuFigures(msgspec.Struct, frozen=True):
    """One GPU; None: it was not given, or cannot be true. `parts`: MIG instances, partitions; 0: it is not divided."""

    key: str  # UUID; without one, the index
    index: int
    uuid: str = ""
    name: str = ""
    values: Mapping[GpuField, float] = {}
    utc_s: float | None = None  # when its power was measured, where the sample says so
    parts: int = 0


class HostFigures(msgspec.Struct, frozen=True):
    """The host. Counters by their own names; `meter_w`: ACPI power meter, the whole machine."""

    name: str = ""
    rapl_j: Mapping[str, float] = {}
    idle_s: Mapping[str, float] = {}  # of each CPU
    idle_pct: float | None = None  # of all CPUs, where the source has reckoned it
    memory_pct: float | None = None
    meter_w: float | None = None
    utc_s: float | None = None


class Figures(msgspec.Struct, frozen=True):
    """One page. `exporter`: whose it is; `notes`: what is missing or was not believed."""

    exporter: str
    period_s: float = 0.0
    host: HostFigures | None = None
    gpus: tuple[GpuFigures, ...] = ()
    host_names: frozenset[str] = frozenset()  # that GPU exporters state
    notes: tuple[str, ...] = ()
    gpu_parts: tuple[GpuPart, ...] = ()  # MIG instances, and whole GPUs whose holder is told
    jobs: JobFigures | None = None


def pattern_of(exporter: str) -> MetricsPattern:
    """For pages of one exporter, by its name; for any exporter's where it is not known yet."""
    return _PATTERNS.get(exporter, _ANY)


def understood(samples: Sequence[Sample]) -> list[Figures]:
    """What samples mean, for each exporter that they come from; empty: they are none of these."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    found = [_gpu_page(e, by_name) for e in GPU_EXPORTERS if by_name.keys() & (e.fields.keys() | set(e.info))]
    if any(name.startswith("node_") for name in by_name):
        notes: list[str] = []
        host = _host(by_name, notes)
        found.append(Figures("node_exporter", host=host, notes=tuple(notes)))
    for e in JOB_EXPORTERS:
        if e.metric in by_name:
            found.append(Figures(e.name, jobs=job_figures(e, by_name[e.metric])))
    return found


# ── GPUs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Gpu:
    """Collects the samples of one GPU."""

    def __init__(self, key: str, index: int, uuid: str) -> None:
        self.key, self.index, self.uuid, self.name = key, index, uuid, ""
        self.values: dict[GpuField, float] = {}
        self.utc_s: float | None = None
        self.parts: set[str] = set()
        self.of_part: set[GpuField] = set()  # fields that so far only a part has given


def _gpu_page(exporter: GpuExporter, by_name: Mapping[str, list[Sample]]) -> Figures:
    gpus: dict[str, _Gpu] = {}
    notes: dict[str, None] = {}  # each once, in order
    owners: dict[int, _Gpu | None] = {}  # by the object that holds the labels, which many samples share
    for metric in exporter.info:
        for sample in by_name.get(metric, ()):
            _informed(exporter, sample, gpus)
    for metric, (field, factor) in exporter.fields.items():
        for sample in by_name.get(metric, ()):
            labels = id(sample.labels)
            if labels not in owners:
                owners[labels] = _owner(exporter, sample.labels, gpus)
            if (gpu := owners[labels]) is not None:
                _take(exporter, gpu, field, sample, factor, notes)
    for gpu in gpus.values():
        _check_power(gpu, notes)
    if len(gpus) > MOST_GPUS:
        notes[f"{len(gpus)} GPUs in one page, the first {MOST_GPUS} are read"] = None
    listed = sorted(gpus.values(), key=lambda g: g.index)[:MOST_GPUS]
    return Figures(
        exporter.name,
        exporter.period_s,
        gpus=tuple(GpuFigures(g.key, g.index, g.uuid, g.name, g.values, g.utc_s, len(g.parts)) for g in listed),
        host_names=_host_names(exporter, by_name),
        notes=tuple(notes),
        gpu_parts=gpu_parts(by_name) if exporter is DCGM else (),
    )


def _host_names(exporter: GpuExporter, by_name: Mapping[str, list[Sample]]) -> frozenset[str]:
    labels = (s.labels for metric in exporter.fields for s in by_name.get(metric, ()))
    stated = (found.get(exporter.host) or found.get(exporter.host.lower(), "") for found in labels)
    return frozenset(sorted({name for name in stated if 0 < len(name) <= MOST_HOST})[:MOST_HOSTS])


def _informed(exporter: GpuExporter, sample: Sample, gpus: dict[str, _Gpu]) -> None:
    """A metric of labels only: nvidia_smi_gpu_info; or the index as a value: nvidia_smi_index."""
    labels = sample.labels
    if exporter.index not in labels and 0 <= sample.value <= MOST_GPUS:
        labels = {**labels, exporter.index: f"{sample.value:.0f}"}
    _owner(exporter, labels, gpus)


def _owner(exporter: GpuExporter, labels: Mapping[str, str], gpus: dict[str, _Gpu]) -> _Gpu | None:
    """The GPU that a sample is of; None: its labels do not say."""
    uuid = next((labels[name] for name in exporter.uuid if 0 < len(labels.get(name, "")) <= MOST_UUID), "")
    if uuid and exporter.prefix and not uuid.startswith(exporter.prefix):
        uuid = exporter.prefix + uuid
    number = labels.get(exporter.index, "")
    index = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else None
    if not uuid and index is None:
        return None
    key = uuid or f"index {index}"
    gpu = gpus.get(key)
    if gpu is None:
        gpu = gpus[key] = _Gpu(key, len(gpus) if index is None else index, uuid)
    gpu.name = gpu.name or labels.get(exporter.model, "")[:64]
    return gpu


def _take(
    exporter: GpuExporter, gpu: _Gpu, field: GpuField, sample: Sample, factor: float, notes: dict[str, None]
) -> None:
    """One value. What the whole GPU says goes before what a part of it repeats; a later partition has no power."""
    part = sample.labels.get(exporter.part, "") if exporter.part else ""
    if part:
        gpu.parts.add(part)
        if exporter is AMD and part != "0":
            return
    if field in gpu.values and (part or field not in gpu.of_part):
        return
    value, (low, high) = sample.value * factor, LIMITS[field]
    if not low <= value <= high:  # nor a NaN
        if field in ("w", "util_pct"):
            notes[f"GPU {gpu.index} says {field} = {value:.4g}, not believed"] = None
        return
    if part and field not in ("w", "limit_w", "enforced_w", "temp_c"):
        return  # use and memory of a part are not those of the GPU
    gpu.values[field] = value
    (gpu.of_part.add if part else gpu.of_part.discard)(field)
    if field == "w":
        gpu.utc_s = sample.utc_s


def _check_power(gpu: _Gpu, notes: dict[str, None]) -> None:
    if gpu.values.get("w") == 0 and gpu.values.get("util_pct", 0.0) >= BUSY_PCT:
        del gpu.values["w"]
        notes[f"GPU {gpu.index} says 0 W at {gpu.values['util_pct']:.0f} % use"] = None
    elif "w" not in gpu.values:
        notes[f"GPU {gpu.index} gives no power"] = None
    if gpu.parts:
        notes[f"GPU {gpu.index} is divided into {len(gpu.parts)}"] = None


# ── host ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _host(by_name: Mapping[str, list[Sample]], notes: list[str]) -> HostFigures:
    rapl = [s for metric in RAPL for s in by_name.get(metric, ()) if 0 <= s.value < math.inf]
    total, free = (_single(by_name, metric) for metric in MEMORY)
    stated = {s.labels.get("nodename", "") for s in by_name.get(INFO, ())}
    names = {name for name in stated if 0 < len(name) <= MOST_HOST}
    stamps = [s.utc_s for s in rapl if s.utc_s is not None]
    return HostFigures(
        name=names.pop() if len(names) == 1 else "",
        rapl_j={f"{s.name} {s.labels.get('path') or s.labels.get('index', '')}": s.value for s in rapl},
        idle_s={s.labels.get("cpu", ""): s.value for s in by_name.get(CPU, ()) if _idle(s)},
        memory_pct=None if total is None or free is None else memory_pct(total, free),
        meter_w=_power_meter(by_name, notes),
        utc_s=min(stamps, default=None),
    )


def memory_pct(total: float, free: float) -> float | None:
    """Memory in use, %, by the values of `MEMORY`; None: they cannot be."""
    return 100 * (1 - free / total) if 0 <= free <= total and 0 < total < math.inf else None


def _idle(sample: Sample) -> bool:
    return sample.labels.get("mode") == "idle" and 0 <= sample.value < math.inf


def _single(by_name: Mapping[str, list[Sample]], metric: str) -> float | None:
    samples = by_name.get(metric, ())
    return samples[0].value if len(samples) == 1 else None


def _power_meter(by_name: Mapping[str, list[Sample]], notes: list[str]) -> float | None:
    """Power of the machine by its ACPI power meter, W; None without one, with several, and where it cannot be."""
    chips = {
        s.labels.get("chip")
        for s in by_name.get("node_hwmon_chip_names", ())
        if s.labels.get("chip_name") == POWER_METER
    }
    values = [
        s.value
        for metric in ("node_hwmon_power_average_watt", "node_hwmon_power_watt")
        for s in by_name.get(metric, ())
        if s.labels.get("chip") in chips
    ]
    if len(values) > 1:
        notes.append(f"{len(values)} ACPI power meters: which is the whole machine's is not known")
    if len(values) != 1:
        return None
    if 0 < values[0] <= MOST_CHIP_W:
        return values[0]
    notes.append(f"its ACPI power meter says {values[0]:.4g} W, not believed")
    return None


def _pattern(names: Iterable[str]) -> MetricsPattern:
    return MetricsPattern(names, holding={CPU: 'mode="idle"'} | OF_PARTS)


_ANY = _pattern(WANTED)
_PATTERNS = {
    "node_exporter": _pattern(NODE_EXPORTER),
    **{e.name: _pattern((*e.fields, *e.info)) for e in GPU_EXPORTERS},
    **{e.name: _pattern((e.metric,)) for e in JOB_EXPORTERS},
    DCGM.name: _pattern((*DCGM.fields, ACTIVE)),
}
